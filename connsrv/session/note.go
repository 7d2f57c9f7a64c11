package session

import (
	"fmt"
	"runtime/debug"

	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/journal"
)

// Note is what is told of a batch besides it: how its messages came where they are, encoded as an
// ipc.Note. Its zero value: there is none.
type Note struct {
	Len   int
	Bytes []byte // the note, until the lane's next; nil where it is long:
	seg   *commitlog.Segment
	off   int64
}

// copiedNote is up to which size, in bytes, a note is copied to be sent. A longer one is sent from
// the log: it costs no memory while it waits for a slow client.
const copiedNote = 2 << 10

// Source is where a note lies that was not copied.
func (n *Note) Source() (src Source, off int64) { return n.seg, n.off }

// Release lets go of the note.
func (n *Note) Release() {
	if n.seg != nil {
		n.seg.Release()
	}
	*n = Note{}
}

// noteCache keeps the note that was read last: parts of one batch follow one another.
type noteCache struct {
	position uint64 // 0: none is kept
	buf      []byte
	lost     uint64 // position of the last one that could not be read
}

// LostNote tells whether it is news that the note at a position cannot be read: consumers may
// come to it over and over.
func (l *Lane) LostNote(position uint64) (news bool) {
	news = l.note.lost != position
	l.note.lost = position
	return news
}

// Note reads the note of a span's first batch, if it has one. Its check was right. An error wraps
// commitlog.ErrDamaged, or is that of the disk.
//
// REQUIRES: the span's segment is retained.
func (l *Lane) Note(s *commitlog.Span) (Note, error) {
	switch {
	case s.Note == 0:
		return Note{}, nil
	case s.Note == l.note.position:
		return Note{Len: len(l.note.buf), Bytes: l.note.buf}, nil
	}
	l.note.position = 0
	var n Note
	off, own := s.NoteOffset()
	var err error
	if own { // in the log entry that the batch is in
		n, err = l.note.mapped(s.Seg, off)
	} else {
		n, err = l.noteElsewhere(s.Note)
	}
	if err == nil && n.Len == 0 {
		return l.unmapped(s.Note)
	}
	if n.Bytes != nil {
		l.note.position = s.Note
	}
	return n, err
}

// noteElsewhere reads the note of a batch that stands in the log since long before.
func (l *Lane) noteElsewhere(position uint64) (Note, error) {
	seg, off, err := l.View.At(position, journal.EventHeaderSize)
	if err != nil {
		return Note{}, err
	}
	defer seg.Release()
	return l.note.mapped(seg, off)
}

// mapped reads a note from the mapped segment; an empty one: it is not mapped that far.
func (k *noteCache) mapped(seg *commitlog.Segment, off int64) (n Note, err error) {
	before := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(before)
		if fault := asFault(recover()); fault != nil {
			n, err = Note{}, fmt.Errorf("mapped note: %w", fault)
		}
	}()
	head := seg.Bytes(off, journal.EventHeaderSize)
	if head == nil {
		return Note{}, nil
	}
	size, err := journal.PeekNote(head)
	if err != nil {
		return Note{}, damagedNote(off, err)
	}
	whole := seg.Bytes(off, size)
	if whole == nil {
		return Note{}, nil
	}
	from, to, err := noteWithin(whole)
	if err != nil {
		return Note{}, damagedNote(off, err)
	}
	if to-from > copiedNote {
		seg.Retain()
		return Note{Len: to - from, seg: seg, off: off + int64(from)}, nil
	}
	k.buf = append(k.buf[:0], whole[from:to]...)
	return Note{Len: len(k.buf), Bytes: k.buf}, nil
}

// unmapped reads a note by a system call.
func (l *Lane) unmapped(position uint64) (Note, error) {
	_, whole, err := l.View.Note(position, nil)
	if err != nil {
		return Note{}, err
	}
	from, to, err := noteWithin(whole)
	if err != nil {
		return Note{}, damagedNote(int64(position), err)
	}
	return Note{Len: to - from, Bytes: whole[from:to]}, nil
}

// noteWithin finds the note in the event that begins at b.
func noteWithin(b []byte) (from, to int, err error) {
	ev, err := journal.ReadNote(b)
	if err != nil {
		return 0, 0, err
	}
	return journal.NoteWithin(ev)
}

func damagedNote(at int64, err error) error {
	return fmt.Errorf("%w: the note at %d: %w", commitlog.ErrDamaged, at, err)
}
