package journal

// What stands in an event that is a note (note.go), behind the fields of its own, in the terms
// of eventcodec.go:
//
//	note   | exchange string | key string | list of (key string | value string) | priority u8 | list of death |
//	death  | queue string | reason u8 | count u64 | firstMS i64 | exchange string | list of key string |
//
// and then the check of the whole event.

import (
	"fmt"

	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/wire"
)

// MaxDeaths bounds the rows of a note: a message that has died in more queues or of more
// reasons keeps the latest ones.
const MaxDeaths = 64

// maxDeathKeys bounds the keys of a death.
const maxDeathKeys = 1 << 12

// append appends a note.
func (n *Note) append(b []byte) []byte {
	b = wire.AppendString(wire.AppendString(b, n.Exchange), n.Key)
	b = append(ipc.AppendHeaders(b, n.Headers), n.Priority)
	b = wire.AppendUvarint(b, uint64(len(n.Deaths)))
	for i := range n.Deaths {
		d := &n.Deaths[i]
		b = wire.AppendU64(append(wire.AppendString(b, d.Queue), byte(d.Reason)), d.Count)
		b = wire.AppendString(wire.AppendU64(b, uint64(d.FirstMS)), d.Exchange)
		b = wire.AppendUvarint(b, uint64(len(d.Keys)))
		for _, key := range d.Keys {
			b = wire.AppendString(b, key)
		}
	}
	return b
}

// readNote reads a note.
func readNote(c *wire.Cursor) Note {
	n := Note{Exchange: c.String(), Key: c.String(), Headers: ipc.ReadHeaders(c), Priority: c.U8()}
	if rows := c.Count(20, MaxDeaths); rows > 0 {
		n.Deaths = make([]Death, rows)
	}
	for i := range n.Deaths {
		n.Deaths[i] = readDeath(c)
	}
	return n
}

func readDeath(c *wire.Cursor) Death {
	d := Death{Queue: c.String(), Reason: Reason(c.U8()), Count: c.U64(), FirstMS: c.I64(), Exchange: c.String()}
	if keys := c.Count(1, maxDeathKeys); keys > 0 {
		d.Keys = make([]string, keys)
	}
	for i := range d.Keys {
		d.Keys[i] = c.String()
	}
	if !d.Reason.Kills() {
		c.Fail(wire.ErrOutOfRange)
	}
	return d
}

// Append appends the note alone; package native and connsrv's protocols use it.
func (n *Note) Append(b []byte) []byte { return n.append(b) }

// ReadNoteBody reads a note that Append has appended.
func ReadNoteBody(c *wire.Cursor) Note { return readNote(c) }

// DecodeNote reads the note of an event that is one.
func DecodeNote(ev Event) (Note, error) {
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
	return Note{}, fmt.Errorf("%w: type %d is no note", ErrEvent, ev.Type)
}

func decodeRoutedNote(ev Event) (Note, error) {
	body, err := expectNoted(ev, EvRouted)
	if err != nil {
		return Note{}, err
	}
	c := wire.Read(body)
	readSent(&c)
	c.U32()
	c.Raw(16 * c.Count(16, maxListed))
	n := readNote(&c)
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
