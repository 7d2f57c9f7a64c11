package commitlog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sort"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// NoteReader finds how messages came to their index: their notes, by index and offset. logicsrv
// reads those of dead messages with it, in a goroutine that may wait for the disk. It reads by
// system calls, not through maps: a page that cannot be read is an error and ends nobody.
//
// It belongs to one goroutine.
type NoteReader struct {
	fs  FS
	log logBytes

	index uint64 // of the file below
	base  uint64
	file  File
	slots int  // of it
	gaps  bool // it was compacted
}

// NewNoteReader reads below a data directory.
func NewNoteReader(fsys FS) *NoteReader { return &NoteReader{fs: fsys, log: logBytes{fs: fsys}} }

// Noted is one batch, or part of one, of an index.
type Noted struct {
	Entry Entry
	Note  ipc.Note // empty where the batch has none
	Err   error    // ErrDamaged where the batch or its note cannot be read

	weight, records uint32 // as the note has it
}

// Weight is what records [first, next) of the index weigh: payload bytes as their publisher has
// stated them or, where there is no note, roughly their share of the batch.
func (n *Noted) Weight(first, next uint64) uint32 {
	if n.records > 0 {
		return uint32(uint64(n.weight) * (next - first) / uint64(n.records))
	}
	return uint32(uint64(n.Entry.Length) * (next - first) / uint64(max(n.Entry.Count, 1)))
}

// Range yields the batches that hold offsets [first, next) of an index, in order, each with its
// note. An error says that it is not known what lies there, and may be worth another try: the
// files may be on their way.
func (r *NoteReader) Range(index, first, next uint64, yield func(Noted)) error {
	r.closeFile() // compaction may have put another one in its place
	for first < next {
		e, err := r.find(index, first)
		if errors.Is(err, ErrDamaged) {
			yield(Noted{Entry: Entry{Offset: first, Count: uint32(min(next-first, journal.MaxCount))}, Err: err})
			return nil
		}
		if err != nil {
			return err
		}
		if e.Offset > first {
			first = gone(first, min(e.Offset, next), yield)
			continue
		}
		n := Noted{Entry: e}
		if e.Flags&FlagDamaged != 0 {
			n.Err = fmt.Errorf("%w: offset %d of index %#x", ErrDamaged, e.Offset, index)
		} else if e.Note != 0 {
			n.Err = r.note(e.Note, &n)
		}
		var runs []denseRun
		if n.Err == nil && e.Flags&FlagSparse != 0 {
			runs, n.Err = r.sparse(&e)
		}
		if n.Err != nil && r.moved(index, first, e) {
			continue
		}
		if n.Err == nil && e.Flags&FlagSparse != 0 {
			yieldRuns(&n, runs, first, yield)
		} else {
			yield(n)
		}
		first = e.End()
	}
	return nil
}

// gone yields that compaction, or what trims an index, has left nothing of [first, end), or of as much of it as an entry may have.
func gone(first, end uint64, yield func(Noted)) (next uint64) {
	n := min(end-first, journal.MaxCount)
	if n > 0 {
		yield(Noted{Entry: Entry{Offset: first, Count: uint32(n)}, Err: ErrGap})
	}
	return first + n
}

// denseRun is a run of records of a sparse batch that are there, by their offsets beyond the first one.
type denseRun struct{ delta, count uint32 }

// sparse reads which records of a sparse batch are there.
func (r *NoteReader) sparse(e *Entry) (runs []denseRun, err error) {
	b, err := r.log.readAgain(e.Position, int(e.Length))
	var reader batch.Reader
	if err == nil {
		err = reader.Runs(b, func(delta, _, count uint32) bool {
			runs = append(runs, denseRun{delta, count})
			return true
		})
	}
	if err != nil {
		return nil, fmt.Errorf("%w: offset %d of index %#x: %w", ErrDamaged, e.Offset, r.index, err)
	}
	return runs, nil
}

// yieldRuns yields what there is of a sparse batch from an offset on, and what is gone, in order.
func yieldRuns(n *Noted, runs []denseRun, first uint64, yield func(Noted)) {
	for _, run := range runs {
		part := *n
		part.Entry.Offset, part.Entry.Count = n.Entry.Offset+uint64(run.delta), run.count
		if part.Entry.End() > first {
			gone(first, max(first, part.Entry.Offset), yield)
			yield(part)
			first = part.Entry.End()
		}
	}
	gone(first, n.Entry.End(), yield)
}

// moved tells whether compaction has put another entry in the place of one that leads to nothing: a file that
// was opened before that has the old one.
func (r *NoteReader) moved(index, offset uint64, was Entry) bool {
	r.closeFile()
	e, err := r.find(index, offset)
	return err == nil && e != was
}

// note reads a note into n.
func (r *NoteReader) note(position uint64, n *Noted) error {
	b, err := r.noteBytes(position)
	if err != nil {
		return err
	}
	ev, err := journal.ReadNote(b)
	if err == nil {
		if n.Note, err = journal.DecodeNote(ev); err == nil {
			n.weight, n.records = journal.NoteWeight(ev)
			return nil
		}
	}
	return fmt.Errorf("%w: the note at position %d: %w", ErrDamaged, position, err)
}

func (r *NoteReader) noteBytes(position uint64) ([]byte, error) {
	head, err := r.log.readAgain(position, journal.EventHeaderSize)
	if err != nil {
		return nil, err
	}
	size, err := journal.PeekNote(head)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return r.log.readAgain(position, size)
}

// find looks for the entry that holds an offset or, where compaction has left nothing there, for a later
// one, or for where one may be: then it holds nothing. A file that compaction has removed since the directory was read is
// looked for again.
func (r *NoteReader) find(index, offset uint64) (e Entry, err error) {
	for range maxLooks {
		if e, err = r.lookFor(index, offset); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return e, err
}

func (r *NoteReader) lookFor(index, offset uint64) (Entry, error) {
	if r.file != nil && r.index == index {
		if e, err := r.search(offset); err == nil && e.Count > 0 {
			return e, nil
		}
	}
	bases, err := ListIndexFiles(r.fs, index)
	if err != nil {
		return Entry{}, err
	}
	i := sort.Search(len(bases), func(i int) bool { return bases[i] > offset }) - 1
	switch {
	case i < 0 && len(bases) > 0:
		return Entry{Offset: bases[0]}, nil // it was trimmed
	case i < 0:
		return Entry{}, fmt.Errorf("%w: no file of index %#x holds offset %d", ErrDamaged, index, offset)
	}
	if err := r.open(index, bases[i]); err != nil {
		return Entry{}, err
	}
	e, err := r.search(offset)
	if err == nil && e.Count == 0 { // what follows is in another file
		if i+1 == len(bases) {
			return e, fmt.Errorf("%w: offset %d of index %#x", ErrDamaged, offset, index)
		}
		e.Offset = bases[i+1]
	}
	return e, err
}

// open opens a file of an index.
func (r *NoteReader) open(index, base uint64) error {
	r.closeFile()
	name := IndexName(index, base)
	f, err := r.fs.Open(name)
	if err != nil {
		return fmt.Errorf("open %s: %w", name, err)
	}
	h, err := readIndexHeader(f)
	if err != nil {
		f.Close()
		return fmt.Errorf("%w: %s: %w", ErrDamaged, name, err)
	}
	r.file, r.index, r.base, r.slots, r.gaps = f, index, base, int(h.Slots), h.Compacted
	return nil
}

// search looks for the entry in the open file. One that holds nothing: it ends before the offset.
func (r *NoteReader) search(offset uint64) (Entry, error) {
	size, err := r.file.Size()
	if err != nil {
		return Entry{}, fmt.Errorf("read index %#x: %w", r.index, err)
	}
	count := min(int((size-IndexHeaderSize)/IndexEntrySize), r.slots)
	var b [IndexEntrySize]byte
	var failed error
	read := func(slot int) (Entry, bool) {
		if _, err := r.file.ReadAt(b[:], IndexHeaderSize+int64(slot)*IndexEntrySize); err != nil && !errors.Is(err, io.EOF) {
			failed = fmt.Errorf("read index %#x: %w", r.index, err)
		}
		return DecodeEntry(b[:])
	}
	// Slots that are not in use end the entries; they count as beyond every offset.
	slot := sort.Search(count, func(i int) bool {
		e, ok := read(i)
		return !ok || e.End() > offset
	})
	e, ok := Entry{}, false
	if slot < count {
		e, ok = read(slot)
	}
	switch {
	case failed != nil:
		return Entry{}, failed
	case !ok && r.gaps && slot == count:
		return Entry{}, nil
	case !ok || e.Offset > offset && !r.gaps:
		return Entry{}, fmt.Errorf("%w: offset %d of index %#x", ErrDamaged, offset, r.index)
	}
	return e, nil
}

func (r *NoteReader) closeFile() {
	if r.file != nil {
		r.file.Close()
		r.file = nil
	}
}

// Close lets go of files.
func (r *NoteReader) Close() {
	r.closeFile()
	r.log.close()
}

// Part is what of the batch is asked for: records [first, next) of the index.
func (n *Noted) Part(first, next uint64) (from, to uint64) {
	return max(first, n.Entry.Offset), min(next, n.Entry.End())
}
