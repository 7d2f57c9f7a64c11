package session

import (
	"maps"
	"testing"

	"github.com/trimq/trimq/connsrv/handover"
	"github.com/trimq/trimq/protocol/ipc"
)

// What was given to consumers of a loop is told before its ResyncEnd, all of it, however little room
// the ring has at a time, and over a hand-over in between; nothing is told of indexes that are gone.
func TestHandedIsTold(t *testing.T) {
	r := newLaneRig(t, 4096)
	want := map[givenUpTo]uint64{} // index, by queue and end
	for i := range uint64(300) {
		s := &Sub{Index: 1000 + i%7, Queue: true}
		if !r.Hand(s, i+1, 10, 5) || !r.Hand(s, i+1, 20, uint32(1+i)) || r.Hand(s, i+1, 12, 1) {
			t.Fatal("not into the hand, or twice")
		}
		want[givenUpTo{s.Index, 21 + i}] = i + 1
	}
	other := &Sub{Index: 2000, Queue: true} // over the same topic
	r.Hand(other, 5, 100, 1)
	r.Hand(other, 5, 3, 1)
	want[givenUpTo{2000, 101}] = 5
	r.IndexGone(300)
	delete(want, givenUpTo{1000 + 299%7, 21 + 299})
	r.Marked(ipc.Marker{Term: 7, Ask: 2}, nil)
	got := map[givenUpTo]uint64{}
	for ended := false; !ended; {
		for {
			rec, ok := r.in.Next()
			if !ok {
				break
			}
			if ipc.Type(rec.Type) == ipc.TypeResyncEnd {
				ended = true
				continue
			}
			m, err := ipc.DecodeHanded(rec.Payload)
			if err != nil || ended || m.Term != 7 || m.Ask != 2 {
				t.Fatalf("%+v: %v", m, err)
			}
			for _, x := range m.List {
				got[givenUpTo{x.Queue, x.Next}] = x.Index
			}
		}
		r.releaseAll()
		w := handover.Write(nil)
		r.Pass(w, Directory{})
		r.Lane = NewLane(r.Rings, r.Loop)
		c := handover.Read(w.Written())
		if r.Pass(c, Directory{}); c.Done("the lane") != nil {
			t.Fatal(c.Done("the lane"))
		}
		r.Advance()
	}
	if !maps.Equal(got, want) {
		t.Errorf("told %d of %d, or others", len(got), len(want))
	}
}
