package journal

// What stands in an event that is a note (note.go), behind the fields of its own: an ipc.Note,
// and then the check of the whole event.

import (
	"fmt"

	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/wire"
)

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
	n := ipc.ReadNote(&c)
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
