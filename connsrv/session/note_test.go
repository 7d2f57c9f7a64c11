package session

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// notedLog is a log that holds notes alone, and a lane that reads it.
type notedLog struct {
	*Lane
	tb   testing.TB
	path string
	end  int64
}

func newNotedLog(tb testing.TB) *notedLog {
	dir := tb.TempDir()
	view, err := commitlog.OpenView(dir)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { view.Close() })
	l := &notedLog{Lane: NewLane(&Rings{View: view}, 0), tb: tb, path: filepath.Join(dir, commitlog.SegmentName(0)), end: commitlog.SegmentHeaderSize}
	if err := os.MkdirAll(filepath.Dir(l.path), 0o700); err != nil {
		tb.Fatal(err)
	}
	l.write(0, (&commitlog.SegmentHeader{BaseLSN: 1, Capacity: 1 << 24}).Append(nil))
	l.add(make([]byte, 8)) // position 0 would be none
	return l
}

func (l *notedLog) write(off int64, b []byte) {
	f, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		_, err = f.WriteAt(b, off)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		l.tb.Fatal(err)
	}
}

// add appends bytes and returns their position.
func (l *notedLog) add(b []byte) uint64 {
	at := l.end
	l.write(at, b)
	l.end += int64(len(b)+7) &^ 7
	return uint64(at - commitlog.SegmentHeaderSize)
}

// note reads the note at a position, as that of a batch which lies behind it in the same segment,
// or somewhere else.
func (l *notedLog) note(position uint64, own bool) (Note, error) {
	seg, off, err := l.View.At(position, 8)
	if err != nil { // nothing is there: the batch is, all the same
		seg, off, err = l.View.At(0, 8)
	}
	if err != nil {
		l.tb.Fatal(err)
	}
	defer seg.Release()
	if own {
		off = 1 << 40
	}
	return l.Lane.Note(&commitlog.Span{Seg: seg, Off: off, Note: position})
}

// bytesOf is a note as a client would get it.
func (l *notedLog) bytesOf(n *Note) []byte {
	l.tb.Helper()
	if n.Bytes != nil || n.Len == 0 {
		return n.Bytes
	}
	src, off := n.Source()
	b := src.Bytes(off, n.Len)
	if b == nil {
		l.tb.Fatal("the note's range is not there")
	}
	return bytes.Clone(b)
}

func TestNotes(t *testing.T) {
	l := newNotedLog(t)
	short := ipc.Note{Exchange: "orders", Key: "eu", Priority: 3, Headers: []ipc.Header{{Key: "a", Value: "b"}}}
	long := ipc.Note{Exchange: "orders", Key: strings.Repeat("k", 3*copiedNote)}
	died := short
	died.Deaths = []ipc.Death{{Queue: "q", Reason: ipc.ReasonExpired, Count: 2, FirstMS: 5, Exchange: "x", Keys: []string{"y"}}}
	for name, c := range map[string]struct {
		note  ipc.Note
		event []byte
	}{
		"routed":        {short, (&journal.Routed{Targets: []journal.Target{{Index: 1}, {Index: 2}}, Note: short}).Append(nil)},
		"long":          {long, (&journal.Routed{Note: long}).Append(nil)},
		"dead-lettered": {died, (&journal.DeadLettered{Targets: []journal.Target{{Index: 1}}, Note: died}).Append(nil)},
		"delayed":       {short, (&journal.Delayed{Dests: []uint64{1, 2, 3}, Note: short}).Append(nil)},
		"in a txn":      {short, (&journal.TxnHeld{Note: short}).Append(nil)},
	} {
		at := l.add(c.event)
		for _, own := range []bool{true, true, false} { // the second time from what is remembered
			if !own {
				l.Lane.note.position = 0
			}
			n, err := l.note(at, own)
			if got := l.bytesOf(&n); err != nil || n.Len != len(got) || !bytes.Equal(got, c.note.Append(nil)) {
				t.Errorf("%s: %q %v", name, got, err)
			}
			if (n.Bytes == nil) != (name == "long") {
				t.Errorf("%s: %d bytes were copied", name, len(n.Bytes))
			}
			n.Release()
		}
	}
	if n, err := l.note(0, true); err != nil || n.Len != 0 {
		t.Errorf("no note: %+v %v", n, err)
	}
}

// TestDamagedNotes: whatever lies there, it is an error, and what was read before is not told in
// its place.
func TestDamagedNotes(t *testing.T) {
	l := newNotedLog(t)
	good := (&journal.Routed{Note: ipc.Note{Key: "good"}}).Append(nil)
	before := l.add(good)
	flipped := bytes.Clone(good)
	flipped[30] ^= 1
	huge := bytes.Clone(good)
	huge[2] = 0xff
	for name, b := range map[string][]byte{
		"a flipped bit": flipped, "a length beyond all bounds": huge, "an event that is no note": (&journal.Acked{}).Append(nil),
		"nothing": make([]byte, 64), "another kind of note": journal.AppendNote(nil, journal.EvAcked, 1, []byte("x")),
		"a note of other bytes": journal.AppendNote(nil, journal.EvRouted, 1, []byte("short")),
	} {
		if _, err := l.note(before, true); err != nil {
			t.Fatal(err)
		}
		at := l.add(b)
		n, err := l.note(at, len(name)%2 == 0)
		if !errors.Is(err, commitlog.ErrDamaged) || n.Len != 0 {
			t.Errorf("%s: %+v %v", name, n, err)
		}
		if !l.LostNote(at) || l.LostNote(at) {
			t.Errorf("%s: it is news once", name)
		}
	}
	end := l.add(good[:journal.EventHeaderSize])
	if n, err := l.note(end, true); !errors.Is(err, commitlog.ErrDamaged) {
		t.Errorf("cut off: %+v %v", n, err)
	}
	if n, err := l.note(1<<41, true); !errors.Is(err, commitlog.ErrDamaged) {
		t.Errorf("beyond the log: %+v %v", n, err)
	}
}

// A page that the disk does not give is an error too.
func TestNoteOnAnUnreadablePage(t *testing.T) {
	l := newNotedLog(t)
	l.add(make([]byte, 16<<10))
	event := (&journal.Routed{Note: ipc.Note{Key: "k"}}).Append(nil)
	first, second := l.add(event), l.add(event)
	if _, err := l.note(first, true); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(l.path, 4096); err != nil {
		t.Fatal(err)
	}
	if n, err := l.note(second, true); err == nil {
		t.Errorf("%+v", n)
	}
}

func BenchmarkNote(b *testing.B) {
	l := newNotedLog(b)
	n := ipc.Note{Exchange: "orders", Key: "eu.de.hamburg", Headers: []ipc.Header{{Key: "area", Value: "hh"}}}
	var at [64]uint64
	for i := range at {
		at[i] = l.add((&journal.Routed{Targets: []journal.Target{{Index: 1}}, Note: n}).Append(nil))
	}
	seg, _, err := l.View.At(0, 8)
	if err != nil {
		b.Fatal(err)
	}
	defer seg.Release()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := l.Note(&commitlog.Span{Seg: seg, Off: 1 << 40, Note: at[i%len(at)]}); err != nil {
			b.Fatal(err)
		}
	}
}
