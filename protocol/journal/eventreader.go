package journal

// Events are encoded one behind another, each
//
//	| length u32 | type u8 | 0 0 0 | pos u64 | body, length bytes | 0 … to a multiple of 8 |
//
// little-endian, so each begins on a multiple of 8 within Entry.Events. length counts the
// body alone. There is no CRC of their own: the entry's head CRC covers them.
// Version ladder (the entry's): 1; 2, with version 2 of package admin in the events of exchanges and
// bindings.

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/trimq/trimq/protocol/wire"
)

// EventHeaderSize is what comes before an event's body.
const EventHeaderSize = 16

// ErrEvent is wrapped by every error of an event's decoding.
var ErrEvent = errors.New("malformed event")

// Event is one event, not yet decoded. Body aliases what is read.
type Event struct {
	Type EventType
	Pos  uint64
	Body []byte
	Raw  []byte // header, body and padding
}

// EventReader walks over encoded events without allocating.
type EventReader struct {
	rest []byte
	off  int
	err  error
}

// Events reads the events of an entry.
func Events(b []byte) EventReader { return EventReader{rest: b} }

// Next returns the next event; false at the end and at the first malformed one (see Err).
func (r *EventReader) Next() (Event, bool) {
	if len(r.rest) == 0 || r.err != nil {
		return Event{}, false
	}
	if len(r.rest) < EventHeaderSize {
		return r.fail("header cut short")
	}
	n := uint64(binary.LittleEndian.Uint32(r.rest))
	whole := (EventHeaderSize + n + 7) &^ 7
	if whole > uint64(len(r.rest)) {
		return r.fail("longer than what is left")
	}
	if binary.LittleEndian.Uint32(r.rest[4:])>>8 != 0 {
		return r.fail("header padding is not zero")
	}
	for _, v := range r.rest[EventHeaderSize+n : whole] {
		if v != 0 {
			return r.fail("padding is not zero")
		}
	}
	ev := Event{
		Type: EventType(r.rest[4]),
		Pos:  binary.LittleEndian.Uint64(r.rest[8:]),
		Body: r.rest[EventHeaderSize : EventHeaderSize+n : EventHeaderSize+n],
		Raw:  r.rest[:whole:whole],
	}
	r.rest = r.rest[whole:]
	r.off += int(whole)
	return ev, true
}

// Err says what stopped Next before the end.
func (r *EventReader) Err() error { return r.err }

func (r *EventReader) fail(why string) (Event, bool) {
	r.err = fmt.Errorf("%w at byte %d: %s", ErrEvent, r.off, why)
	return Event{}, false
}

// beginEvent appends a header whose length endEvent fills in.
func beginEvent(b []byte, typ EventType, pos uint64) []byte {
	b = wire.AppendU64(b, uint64(typ)<<32)
	return wire.AppendU64(b, pos)
}

// endEvent completes the event that began at start.
func endEvent(b []byte, start int) []byte {
	binary.LittleEndian.PutUint32(b[start:], uint32(len(b)-start-EventHeaderSize))
	return wire.AppendPad8(b, start)
}

// eventErr wraps what a cursor found.
func eventErr(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrEvent, err)
}

// expect guards a decoder against a body of another type.
func (ev *Event) expect(want EventType) error {
	if ev.Type != want {
		return fmt.Errorf("%w: type %d where %d belongs", ErrEvent, ev.Type, want)
	}
	return nil
}
