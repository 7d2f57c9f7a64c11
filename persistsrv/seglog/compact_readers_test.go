package seglog

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

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
