package session

import (
	"bytes"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/trimq/trimq/connsrv/handover"
	"github.com/trimq/trimq/protocol/ipc"
)

// Whatever a consumer holds comes back as it was, in one form only.
func TestPassHands(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var h, back Hands
		for range rapid.IntRange(0, 30).Draw(rt, "ranges") {
			count := rapid.SampledFrom([]uint32{1, 2, 7, 1<<32 - 1}).Draw(rt, "count")
			h.Add(rapid.Uint64Range(1, 3).Draw(rt, "index"), rapid.Uint64Range(0, 50).Draw(rt, "first")*rapid.SampledFrom([]uint64{1, 1 << 32}).Draw(rt, "scale"), count)
		}
		w := handover.Write(nil)
		h.Pass(w)
		r := handover.Read(w.Written())
		back.Pass(r)
		if err := r.Done("the hands"); err != nil {
			rt.Fatal(err)
		}
		if !reflect.DeepEqual(h.Held(nil), back.Held(nil)) || h.Count() != back.Count() || h.Gaps() != back.Gaps() {
			rt.Fatalf("%+v came back as %+v", h, back)
		}
	})
}

func TestPassHandsRefused(t *testing.T) {
	for name, list := range map[string][]ipc.Held{
		"none":           {{Index: 1, Range: ipc.Range{First: 5}}},
		"twice":          {{Index: 1, Range: ipc.Range{First: 5, Count: 2}}, {Index: 1, Range: ipc.Range{First: 6, Count: 1}}},
		"one in two":     {{Index: 1, Range: ipc.Range{First: 5, Count: 2}}, {Index: 1, Range: ipc.Range{First: 7, Count: 1}}},
		"out of order":   {{Index: 2, Range: ipc.Range{First: 5, Count: 2}}, {Index: 1, Range: ipc.Range{First: 7, Count: 1}}},
		"beyond the end": {{Index: 2, Range: ipc.Range{First: 1<<64 - 1, Count: 2}}},
	} {
		w := handover.Write(nil)
		handover.List(w, &list, 3, func(c *handover.Codec, x *ipc.Held) {
			handover.Uint(c, &x.Index)
			passRange(c, &x.Range)
		})
		var h Hands
		r := handover.Read(w.Written())
		if h.Pass(r); r.Done("the hands") == nil {
			t.Errorf("%s: taken as %+v", name, h)
		}
	}
}

// namedRoom and namedLink are connections of which only the name counts.
type namedRoom struct {
	Protocol
	id uint64
}

type namedLink struct {
	Link
	id uint64
}

func (l *namedLink) ID() uint64 { return l.id }

// Of what a lane has under way all comes back, but for connections that are gone: also where an
// answer to a Marker had stopped at one of them.
func TestPassLane(t *testing.T) {
	for _, x := range []struct {
		gone      uint64 // connection, before it is written or behind it; 0: none
		next      int
		wantRooms []uint64
		wantNext  int
		wantBegun bool
	}{
		{0, 2, []uint64{1, 2, 3, 4}, 2, true},
		{1, 2, []uint64{2, 3, 4}, 1, true},
		{3, 2, []uint64{1, 2, 4}, 2, false},
		{4, 2, []uint64{1, 2, 3}, 2, true},
		{4, 4, []uint64{1, 2, 3}, 3, true},
	} {
		for _, late := range []bool{false, true} {
			l := &Lane{Rings: &Rings{MaxRecord: 100}, Ends: Ends{7: 70, 3: 30}, nextReq: 99}
			dir, behind := Directory{IDs: map[Protocol]uint64{}}, Directory{Rooms: map[uint64]Protocol{}, Links: map[uint64]Link{}}
			l.resync = resync{busy: true, begun: true, ended: true, marker: ipc.Marker{Term: 5, Ask: 6}, next: x.next}
			for id := uint64(1); id <= 4; id++ {
				room, link := &namedRoom{id: id}, &namedLink{id: id}
				l.resync.rooms, l.waiting = append(l.resync.rooms, room), append(l.waiting, link)
				if id != x.gone || late {
					dir.IDs[room] = id
				}
				if id != x.gone {
					behind.Rooms[id], behind.Links[id] = room, link
				}
			}
			l.backlog, l.types = [][]byte{{1, 2}, {3}}, []ipc.Type{ipc.TypeUnwait, ipc.TypeConnClosed}
			w := handover.Write(nil)
			l.Pass(w, dir)
			next := NewLane(l.Rings, 0)
			r := handover.Read(w.Written())
			next.Pass(r, behind)
			if err := r.Done("the lane"); err != nil {
				t.Fatal(err)
			}
			if next.nextReq != 99 || !reflect.DeepEqual(next.Ends, l.Ends) || !reflect.DeepEqual(next.backlog, l.backlog) || !reflect.DeepEqual(next.types, l.types) || next.Wants() != 1 {
				t.Errorf("%+v: %+v", x, next)
			}
			var rooms []uint64
			for _, room := range next.resync.rooms {
				rooms = append(rooms, room.(*namedRoom).id)
			}
			s := &next.resync
			if !reflect.DeepEqual(rooms, x.wantRooms) || s.next != x.wantNext || s.begun != x.wantBegun || !s.busy || !s.ended || s.marker != l.resync.marker {
				t.Errorf("gone %d, late %v: rooms %v next %d begun %v", x.gone, late, rooms, s.next, s.begun)
			}
			if len(next.waiting) != len(behind.Links) {
				t.Errorf("gone %d: %d wait", x.gone, len(next.waiting))
			}
		}
	}
}

// Whatever bytes come, a lane is read or refused; what is read is written, and read, as the same
// again, but for connections that are not there.
func FuzzPassLane(f *testing.F) {
	l := &Lane{Rings: &Rings{MaxRecord: 100}, Ends: Ends{7: 70, 3: 30}, nextReq: 99, backlog: [][]byte{{1}}, types: []ipc.Type{9}}
	w := handover.Write(nil)
	l.Pass(w, Directory{})
	f.Add(w.Written())
	dir := Directory{IDs: map[Protocol]uint64{}, Rooms: map[uint64]Protocol{}, Links: map[uint64]Link{}}
	for id := range uint64(64) {
		room := &namedRoom{id: id}
		dir.IDs[room], dir.Rooms[id], dir.Links[id] = id, room, &namedLink{id: id}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var text [2][]byte
		for i := range text {
			l := NewLane(&Rings{MaxRecord: 100}, 0)
			r := handover.Read(b)
			if l.Pass(r, dir); r.Done("the lane") != nil {
				if i > 0 {
					t.Errorf("%x cannot be read", b)
				}
				return
			}
			w := handover.Write(nil)
			l.Pass(w, dir)
			b, text[i] = w.Written(), w.Written()
		}
		if !bytes.Equal(text[0], text[1]) {
			t.Errorf("%x is written as %x", text[0], text[1])
		}
	})
}
