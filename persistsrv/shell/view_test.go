package shell

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/trimq/trimq/persistsrv/vfs"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/journal"
	"github.com/trimq/trimq/shmqueue"
	"golang.org/x/sys/unix"
)

// osRig is a rig on a real directory.
func osRig(t *testing.T, turns []turn) (*rig, string) {
	dir := t.TempDir()
	fs, err := vfs.NewOS(dir)
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, turns)
	r.mem, r.fs = nil, fs
	return r, dir
}

// fetch reads an index from its start to an end through a view, as connsrv does, and checks
// every batch. It returns the offset behind the last one.
func fetch(ix *commitlog.IndexView, end uint64, maxBytes int) (uint64, error) {
	at, err := ix.Start()
	if err != nil {
		return 0, err
	}
	return fetchFrom(ix, at, end, maxBytes)
}

func fetchFrom(ix *commitlog.IndexView, at, end uint64, maxBytes int) (uint64, error) {
	for at < end {
		spans, err := ix.Spans(at, end, maxBytes, nil)
		if errors.Is(err, commitlog.ErrBelowStart) {
			if at, err = ix.Start(); err != nil {
				return at, err
			}
			continue
		}
		if err != nil {
			return at, err
		}
		for _, s := range spans {
			if at, err = checkSpan(s, at); err != nil {
				return at, err
			}
			s.Seg.Release()
		}
	}
	return at, nil
}

// checkSpan reads the batches of a span both ways, from the map and from the descriptor.
func checkSpan(s commitlog.Span, at uint64) (uint64, error) {
	mapped := s.Seg.Bytes(s.Off, s.Len)
	b := make([]byte, s.Len)
	n, err := unix.Pread(s.Seg.Fd(), b, s.Off)
	if err != nil || n != s.Len || string(mapped) != string(b) {
		return at, errors.New("map and file differ")
	}
	if s.Partial || s.Rebase {
		meta, err := batch.Validate(b)
		switch {
		case err != nil:
			return at, err
		case s.First() > at || s.End <= at || meta.Count < s.Skip+s.Count || s.End-s.First() != uint64(s.Count):
			return at, fmt.Errorf("records %d to %d of %d, skipped %d, where %d belongs", s.First(), s.End, meta.Count, s.Skip, at)
		case !s.Partial && (s.Skip != 0 || meta.Count != s.Count):
			return at, errors.New("a partial batch is called whole")
		}
		return s.End, nil
	}
	for len(b) > 0 {
		length := 12 + int(b[8])<<24 + int(b[9])<<16 + int(b[10])<<8 + int(b[11])
		if length > len(b) {
			return at, io.ErrUnexpectedEOF
		}
		meta, err := batch.Validate(b[:length])
		if err != nil {
			return at, err
		}
		base := beUint64(b)
		if base > at {
			return at, errors.New("a batch is missing")
		}
		at = base + uint64(meta.Count)
		b = b[length:]
	}
	return at, nil
}

// TestView fetches all indexes while persistsrv appends to them, rolls, trims, and is killed
// and started again; under the race detector as well.
func TestView(t *testing.T) {
	r, dir := osRig(t, script(30, 100))
	v, err := commitlog.OpenView(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	var visible [4]atomic.Uint64
	var stop atomic.Bool
	var readers sync.WaitGroup
	var fetched atomic.Int64
	for id := uint64(1); id <= 3; id++ {
		readers.Go(func() {
			for !stop.Load() {
				end := visible[id].Load()
				if end == 0 {
					continue
				}
				ix, err := v.Index(id)
				if err == nil {
					_, err = fetch(ix, end, 900)
				}
				if err != nil {
					t.Errorf("index %d below %d: %v", id, end, err)
					return
				}
				fetched.Add(1)
			}
		})
	}
	for n := 0; !r.done() && !t.Failed(); n++ {
		if r.sh == nil {
			if err := r.start(); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.step(n); err != nil {
			t.Fatal(err)
		}
		for id, x := range r.model(int(r.told)) {
			if id <= 3 {
				visible[id].Store(x.next)
			}
		}
		if n%20 == 19 { // as if killed: nothing is synced, the lock goes with the descriptors
			if n%40 == 39 {
				r.ringC.Word(statusWord).Or(StatusSyncFailed) // so that segments are replaced
			}
			if err := r.sh.Close(); err != nil {
				t.Fatal(err)
			}
			r.sh = nil
		}
	}
	stop.Store(true)
	readers.Wait()
	if fetched.Load() == 0 {
		t.Fatal("nothing was fetched")
	}
	r.checkView(v)
}

// checkView compares what a view finds with the model.
func (r *rig) checkView(v *commitlog.View) {
	r.t.Helper()
	for id, x := range r.model(len(r.turns)) {
		ix, err := v.Index(id)
		if err != nil {
			r.t.Fatal(err)
		}
		if start, err := ix.Start(); err != nil || start != x.start {
			r.t.Fatalf("index %d starts at %d (%v), the model says %d", id, start, err, x.start)
		}
		for _, want := range x.entries {
			for o := want.Offset; o < want.End(); o++ {
				got, err := ix.Find(o)
				if o < x.start {
					if !errors.Is(err, commitlog.ErrBelowStart) {
						r.t.Fatalf("index %d offset %d below the start: %v", id, o, err)
					}
					continue
				}
				if err != nil || got.Offset != want.Offset || got.Length != want.Length {
					r.t.Fatalf("index %d offset %d: %+v %v, want %+v", id, o, got, err, want)
				}
			}
			if want.Offset >= x.start {
				r.checkOneSpan(v, ix, &want)
			}
			got, err := ix.ByTime(want.MaxTimeMS)
			if want.End() > x.start && (err != nil || got.MaxTimeMS != want.MaxTimeMS || got.Offset > want.Offset) {
				r.t.Fatalf("index %d at time %d: %+v %v", id, want.MaxTimeMS, got, err)
			}
		}
		if _, err := ix.Find(x.next); !errors.Is(err, commitlog.ErrBeyondEnd) {
			r.t.Fatalf("index %d beyond its end: %v", id, err)
		}
		if _, err := ix.ByTime(1 << 60); !errors.Is(err, commitlog.ErrBeyondEnd) {
			r.t.Fatalf("index %d in the far future: %v", id, err)
		}
	}
	if _, err := v.Index(0xdead); !errors.Is(err, commitlog.ErrUnknownIndex) {
		r.t.Fatalf("an index that is not there: %v", err)
	}
}

// checkOneSpan reads one entry as a consumer of a queue does: one batch with its note.
func (r *rig) checkOneSpan(v *commitlog.View, ix *commitlog.IndexView, want *modelEntry) {
	r.t.Helper()
	spans, err := ix.Spans(want.Offset, want.End(), 1, nil)
	if err != nil || len(spans) != 1 {
		r.t.Fatalf("%+v: %v %v", want.Entry, spans, err)
	}
	s := &spans[0]
	defer s.Seg.Release()
	if s.First() != want.Offset || s.End != want.End() || s.Skip != want.Skip || s.Count != want.Count || s.Len != int(want.Length) ||
		s.Partial != (want.Flags&commitlog.FlagPartial != 0) || s.Rebase != (want.Flags&commitlog.FlagRebase != 0) || (s.Note != 0) != (want.note != nil) {
		r.t.Fatalf("%+v for %+v", s, want.Entry)
	}
	if b := s.Seg.Bytes(s.Off, s.Len); !bytes.Equal(b[16:], want.raw[16:]) {
		r.t.Fatalf("%+v leads to another batch", want.Entry)
	}
	if want.note == nil {
		return
	}
	ev, _, err := v.Note(s.Note, make([]byte, 0, 40))
	if err != nil || !bytes.Equal(ev.Raw, want.note) {
		r.t.Fatalf("%+v has the note %q (%v), want %q", want.Entry, ev.Raw, err, want.note)
	}
}

// TestViewNote reads notes of all sizes, and what is none.
func TestViewNote(t *testing.T) {
	long := bytes.Repeat([]byte("x"), 3000)
	turns := script(32, 3)
	e := &turns[2].entry
	var want [][]byte
	var at []uint64
	for _, n := range []int{0, 1, 400, 500, 3000} {
		off := len(e.Events)
		e.Events = journal.AppendNote(e.Events, journal.EvRouted, 5, long[:n])
		want, at = append(want, e.Events[off:]), append(at, uint64(off))
	}
	r, dir := osRig(t, turns)
	r.run(func() { t.Fatal("died") })
	v, err := commitlog.OpenView(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	rd, err := commitlog.NewReader(vfs.Reading(r.fs), 3)
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	_, place, err := rd.Next()
	if err != nil {
		t.Fatal(err)
	}
	var buf []byte
	first := place.Position + journal.DiskHeaderSize
	for i := range want {
		var ev journal.Event
		if ev, buf, err = v.Note(first+at[i], buf); err != nil || !bytes.Equal(ev.Raw, want[i]) {
			t.Errorf("note %d: %d bytes, %v", i, len(ev.Raw), err)
		}
	}
	if n := testing.AllocsPerRun(20, func() { _, buf, err = v.Note(first+at[4], buf) }); err != nil || n > 2 {
		t.Errorf("%v allocs, %v", n, err)
	}
	for _, none := range []uint64{first + at[1] + 8, place.Position, place.Position + uint64(place.Length) - 8, 1 << 50} {
		if _, _, err := v.Note(none, buf); !errors.Is(err, commitlog.ErrDamaged) {
			t.Errorf("position %d: %v", none, err)
		}
	}
	harm(t, r.fs, place.Segment, place.Offset+int64(journal.DiskHeaderSize+at[4])+1000)
	if _, _, err := v.Note(first+at[4], buf); !errors.Is(err, commitlog.ErrDamaged) {
		t.Errorf("a changed byte: %v", err)
	}
}

// TestViewBounds shows what Spans makes of its limits.
func TestViewBounds(t *testing.T) {
	r, dir := osRig(t, script(31, 60))
	r.run(func() { t.Fatal("died") })
	v, err := commitlog.OpenView(filepath.Clean(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	ix, err := v.Index(1)
	if err != nil {
		t.Fatal(err)
	}
	x := r.model(60)[1]
	e := x.entries[len(x.entries)-3]
	if e.Offset < x.start {
		t.Fatal("the script trims too much for this test")
	}
	for _, c := range []struct {
		visible uint64
		max     int
		ends    uint64
	}{
		{x.next, 0, e.End()},                                      // the first batch whole, even over the limit
		{x.next, int(e.Length), e.End()},                          // and that one only
		{x.next, 1 << 20, x.next},                                 // everything
		{e.End(), 1 << 20, e.End()},                               // nothing that is not visible
		{x.next - 1, 1 << 20, x.entries[len(x.entries)-1].Offset}, // no part of a batch
	} {
		spans, err := ix.Spans(e.Offset, c.visible, c.max, nil)
		if err != nil {
			t.Fatal(err)
		}
		at := e.Offset
		for _, s := range spans {
			if at, err = checkSpan(s, at); err != nil {
				t.Fatal(err)
			}
			s.Seg.Release()
		}
		if at != c.ends {
			t.Errorf("visible %d, at most %d bytes: ends at %d, want %d", c.visible, c.max, at, c.ends)
		}
	}
	if _, err := ix.Spans(e.Offset, e.Offset, 100, nil); !errors.Is(err, commitlog.ErrBeyondEnd) {
		t.Fatal(err)
	}
}

const statusWord = shmqueue.WordStatus
