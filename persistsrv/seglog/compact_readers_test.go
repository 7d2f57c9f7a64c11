package seglog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trimq/trimq/protocol/commitlog"
)

// notesOf reads the notes of an index up to an end, and returns the offsets of what is there. It fails where
// something is told to be damaged.
func notesOf(t *testing.T, r *commitlog.NoteReader, end uint64) (offsets []uint64) {
	t.Helper()
	err := r.Range(compactedIndex, 0, end, func(n commitlog.Noted) {
		switch {
		case errors.Is(n.Err, commitlog.ErrGap):
		case n.Err != nil:
			t.Errorf("offset %d: %v", n.Entry.Offset, n.Err)
		default:
			for o, next := n.Part(0, end); o < next; o++ {
				offsets = append(offsets, o)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return offsets
}

// TestNoteReadersLookAgain: who reads notes all the time finds what compaction has left, and does not take what is
// gone for damaged.
func TestNoteReadersLookAgain(t *testing.T) {
	dir := t.TempDir()
	d := newLaundry(t, dir)
	r := commitlog.NewNoteReader(commitlog.DirFS(dir))
	defer r.Close()
	const n = 100
	for round := range 3 {
		for i := range n {
			d.put(round*n + i)
		}
		end := uint64(2 * n * (round + 1))
		if got := notesOf(t, r, end); len(got) < 2*n { // it has files open now
			t.Fatalf("%d records, %d were stored last", len(got), 2*n)
		}
		d.wash()
		if got, want := notesOf(t, r, end), lastOffsets(n*(round+1)); !slices.Equal(got, want) {
			t.Fatalf("round %d: %v, want %v", round, got, want)
		}
	}
}

// TestNoteReadersPassOverWhatIsTrimmed: what lies below the first file is gone, and not damaged.
func TestNoteReadersPassOverWhatIsTrimmed(t *testing.T) {
	dir := t.TempDir()
	d := newLaundry(t, dir)
	for i := range 30 {
		d.put(i)
	}
	d.trim(40)
	d.wash()
	if got := notesOf(t, commitlog.NewNoteReader(commitlog.DirFS(dir)), 60); len(got) == 0 || got[0] < 40 {
		t.Fatalf("what is there: %v", got)
	}
}

// TestVerifyKnowsFilesThatWereClosedEarly: slots that recovery has zeroed may be left in a file when a pass of
// compaction begins the next one.
func TestVerifyKnowsFilesThatWereClosedEarly(t *testing.T) {
	dir := t.TempDir()
	d := newLaundry(t, dir)
	for i := range 3 {
		d.put(i)
	}
	grow := func(what []byte) {
		t.Helper()
		f, err := os.OpenFile(filepath.Join(dir, commitlog.IndexName(compactedIndex, 0)), os.O_APPEND|os.O_WRONLY, 0)
		if err == nil {
			_, err = f.Write(what)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	verify := func() uint64 {
		t.Helper()
		sum, err := commitlog.Verify(commitlog.DirFS(dir), func(f commitlog.Finding) { t.Logf("%+v", f) })
		if err != nil {
			t.Fatal(err)
		}
		return sum.Errors
	}
	grow(make([]byte, 2*commitlog.IndexEntrySize))
	d.hasty = true
	d.now += 1000
	if err := d.log.Compact(d.sync); err != nil {
		t.Fatal(err)
	}
	if bases, err := commitlog.ListIndexFiles(commitlog.DirFS(dir), compactedIndex); err != nil || len(bases) != 2 {
		t.Fatalf("the index has the files %v, want two: %v", bases, err)
	}
	if n := verify(); n > 0 {
		t.Errorf("%d errors where there are none", n)
	}
	grow([]byte("something that is no entry, and is as long as one of them"))
	if verify() == 0 {
		t.Error("a slot that is neither an entry nor zero is not noticed")
	}
}

// TestViewsTellWhatThereIsNow: start, size and times of an index are those of the files that are there, though others
// are mapped.
func TestViewsTellWhatThereIsNow(t *testing.T) {
	dir := t.TempDir()
	d := newLaundry(t, dir)
	v := viewOf(t, dir)
	for i := range 5 {
		d.put(i)
		d.now += 1000
	}
	walk(t, v, 0, 10, 1<<20)
	d.wash()
	d.trim(5)
	for _, tell := range []struct {
		what string
		of   func(ix *commitlog.IndexView) (uint64, error)
	}{
		{"start", func(ix *commitlog.IndexView) (uint64, error) { return ix.Start() }},
		{"size", func(ix *commitlog.IndexView) (uint64, error) { n, err := ix.Bytes(); return uint64(n), err }},
		{"first offset by time", func(ix *commitlog.IndexView) (uint64, error) {
			e, err := ix.ByTime(1_000_000)
			return e.Position, err
		}},
	} {
		now := func(v *commitlog.View) uint64 {
			t.Helper()
			ix, err := v.Index(compactedIndex)
			if err != nil {
				t.Fatal(err)
			}
			n, err := tell.of(ix)
			if err != nil {
				t.Fatalf("%s: %v", tell.what, err)
			}
			return n
		}
		fresh, err := commitlog.OpenView(dir)
		if err != nil {
			t.Fatal(err)
		}
		want := now(fresh)
		if err := fresh.Close(); err != nil {
			t.Fatal(err)
		}
		for until := time.Now().Add(10 * time.Second); now(v) != want; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(until) {
				t.Errorf("%s is told as %d, it is %d", tell.what, now(v), want)
				break
			}
		}
	}
}

// TestViewsWhileFilesAreReplaced reads an index all the time while it is compacted, and what is not needed any more
// removed: nothing of it looks damaged, and what is last is not passed over.
func TestViewsWhileFilesAreReplaced(t *testing.T) {
	dir := t.TempDir()
	d := newLaundry(t, dir)
	d.put(0)
	var end atomic.Uint64
	var done atomic.Bool
	end.Store(2)
	failures := make(chan error, 3)
	for range cap(failures) {
		go func() { failures <- readAllTheTime(dir, &end, &done) }()
	}
	for round := range 15 {
		for i := range 10 {
			d.put(1 + round*10 + i)
		}
		end.Store(uint64(2 * (1 + (round+1)*10)))
		d.wash()
	}
	done.Store(true)
	for range cap(failures) {
		if err := <-failures; err != nil {
			t.Error(err)
		}
	}
}

// readAllTheTime reads to the end that there is, over and over: as long as nothing has come behind it, there is something.
func readAllTheTime(dir string, end *atomic.Uint64, done *atomic.Bool) error {
	v, err := commitlog.OpenView(dir)
	if err != nil {
		return err
	}
	defer v.Close()
	ix, err := v.Index(compactedIndex)
	for rounds := 0; err == nil && (!done.Load() || rounds == 0); rounds++ {
		to := end.Load()
		for at := uint64(0); at < to && err == nil; {
			var spans []commitlog.Span
			spans, err = ix.Spans(at, to, 300, nil)
			if errors.Is(err, commitlog.ErrGap) && end.Load() > to { // of each key there is a later record by now
				at, err = to, nil
			}
			if err != nil {
				err = fmt.Errorf("offset %d of %d: %w", at, to, err)
			}
			for i := range spans {
				at = spans[i].End
				spans[i].Seg.Release()
			}
		}
	}
	return err
}
