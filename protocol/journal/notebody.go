package journal

// What stands in an event that is a note (note.go), behind the fields of its own: the keys that nobody is told
// of, an ipc.Note, and then the check of the whole event.

import (
	"fmt"

	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/wire"
)

// Encoded sizes of what events have in front of their notes.
const (
	sentSize   = 38
	laterSize  = 24
	targetSize = 16
)

// AppendNoteBody appends a note as it stands in the log: its further keys, and the note.
func AppendNoteBody(b []byte, n *ipc.Note) []byte {
	b = wire.AppendUvarint(b, uint64(len(n.More)))
	for _, key := range n.More {
		b = wire.AppendString(b, key)
	}
	return n.Append(b)
}

// ReadNoteBody reads what AppendNoteBody has appended.
func ReadNoteBody(c *wire.Cursor) ipc.Note {
	var more []string
	if keys := c.Count(1, ipc.MaxHeaders); keys > 0 {
		more = make([]string, keys)
	}
	for i := range more {
		more[i] = c.String()
	}
	n := ipc.ReadNote(c)
	n.More = more
	return n
}

// DecodeNote reads the note of an event that is one.
func DecodeNote(ev Event) (ipc.Note, error) {
	switch ev.Type {
	case EvRouted:
		return decodeRoutedNote(ev)
	case EvDeadLettered:
		e, err := DecodeDeadLettered(ev)
		return e.Note, err
	case EvDelayed:
		e, err := DecodeDelayed(ev)
		return e.Note, err
	case EvTxnHeld:
		e, err := DecodeTxnHeld(ev)
		return e.Note, err
	}
	return ipc.Note{}, fmt.Errorf("%w: type %d is no note", ErrEvent, ev.Type)
}

// NoteWeight tells what the records weigh that a note is about, as their publisher has stated it,
// and how many they are; 0 records: it is not known.
func NoteWeight(ev Event) (weight, records uint32) {
	switch ev.Type {
	case EvRouted:
		var e Routed
		if e.Decode(ev) == nil {
			return e.Weight, e.Count
		}
	case EvDeadLettered:
		if e, err := DecodeDeadLettered(ev); err == nil {
			return e.Weight, e.Count
		}
	case EvDelayed:
		if e, err := DecodeDelayed(ev); err == nil {
			return e.Weight, e.Count
		}
	case EvTxnHeld:
		if e, err := DecodeTxnHeld(ev); err == nil {
			return e.Weight, e.Count
		}
	}
	return 0, 0
}

func decodeRoutedNote(ev Event) (ipc.Note, error) {
	body, err := expectNoted(ev, EvRouted)
	if err != nil {
		return ipc.Note{}, err
	}
	c := wire.Read(body)
	readSent(&c)
	c.Raw(8) // full, dying
	c.Raw(16 * c.Count(16, maxListed))
	n := ReadNoteBody(&c)
	return n, eventErr(c.Done("routed"))
}

// expectNoted is expect for an event that is a note: its body without the check.
func expectNoted(ev Event, want EventType) ([]byte, error) {
	if err := ev.expect(want); err != nil {
		return nil, err
	}
	checked, err := ev.noted()
	return checked.Body, err
}

// NoteWithin tells where the note of an event that is one lies: ev.Raw[from:to] is what consumers are told of
// what DecodeNote decodes, still encoded.
//
// REQUIRES: ReadNote has given ev, so that its check is right.
func NoteWithin(ev Event) (from, to int, err error) {
	n := len(ev.Body) - noteSumSize
	if n < 0 {
		return 0, 0, fmt.Errorf("%w: a note of %d bytes", ErrEvent, len(ev.Body))
	}
	c := wire.Read(ev.Body[:n:n])
	switch ev.Type {
	case EvRouted:
		c.Raw(sentSize + 8) // full, dying
		c.Raw(targetSize * c.Count(targetSize, maxListed))
	case EvDeadLettered:
		c.Raw(3*8 + 3*4)
		c.Raw(targetSize * c.Count(targetSize, maxListed))
	case EvDelayed:
		c.Raw(sentSize + laterSize)
		c.Raw(8 * c.Count(8, maxListed))
	case EvTxnHeld:
		c.Raw(2*8 + 1 + sentSize + laterSize)
	default:
		return 0, 0, fmt.Errorf("%w: type %d is no note", ErrEvent, ev.Type)
	}
	for range c.Count(1, ipc.MaxHeaders) {
		c.Alias() // a key that nobody is told of
	}
	return EventHeaderSize + c.Offset(), EventHeaderSize + n, eventErr(c.Err())
}
