package journal

// A note is the event that tells, for whoever is given a batch later, how it was published:
// with which exchange, routing key, headers. Index entries lead to it, so that nothing is
// stored twice. As it is read alone, without the head whose CRC covers it, its body ends with
// a check of its own:
//
//	| length u32 | type u8 | 0 0 0 | pos u64 | …, length - 4 bytes | crc u32 | 0 … to a multiple of 8 |
//
// crc is the CRC32C of all before it, the header included.
// Version ladder: 2 (the entry's), the first that has notes.

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/trimq/trimq/protocol/wire"
)

const noteSumSize = 4

// MaxNoteBytes bounds a note, header and padding included. An entry of logicsrv is not larger.
const MaxNoteBytes = 1 << 20

// NoteAt is how a body or a reference names the event that begins off bytes into the entry's
// Events.
func NoteAt(off int) uint32 { return uint32(off/8) + 1 }

// NotePosition is the log position of a note of the entry that lies at a log position; 0: none.
func NotePosition(entry uint64, note uint32) uint64 {
	if note == 0 {
		return 0
	}
	return entry + DiskHeaderSize + 8*uint64(note-1)
}

// holdsNote says whether an event can begin where a note is said to lie.
func (e *Entry) holdsNote(note uint32) bool {
	return note == 0 || 8*uint64(note-1)+EventHeaderSize <= uint64(len(e.Events))
}

// endNoted completes the event that began at start as one that can be a note.
func endNoted(b []byte, start int) []byte {
	at := len(b)
	b = wire.AppendU32(b, 0)
	binary.LittleEndian.PutUint32(b[start:], uint32(len(b)-start-EventHeaderSize))
	binary.LittleEndian.PutUint32(b[at:], crc32.Checksum(b[start:at], castagnoli))
	return wire.AppendPad8(b, start)
}

// AppendNote appends an event that can be a note, with any body: for tests of those who read
// notes. The events that are notes in truth have Append methods, which complete them in the same way.
func AppendNote(b []byte, typ EventType, pos uint64, body []byte) []byte {
	start := len(b)
	return endNoted(append(beginEvent(b, typ, pos), body...), start)
}

// noted checks an event that endNoted has completed; its body then ends before the check.
func (ev Event) noted() (Event, error) {
	n := len(ev.Body) - noteSumSize
	if n < 0 {
		return ev, fmt.Errorf("%w: a note of %d bytes", ErrEvent, len(ev.Body))
	}
	have, want := crc32.Checksum(ev.Raw[:EventHeaderSize+n], castagnoli), le.Uint32(ev.Body[n:])
	if have != want {
		return ev, fmt.Errorf("%w: a note with CRC %08x, its bytes give %08x", ErrEvent, want, have)
	}
	ev.Body = ev.Body[:n:n]
	return ev, nil
}

// PeekNote reads the size of the note whose first EventHeaderSize bytes b holds, header and
// padding included, so that the rest can be read; of the rest nothing is verified.
func PeekNote(b []byte) (size int, err error) {
	if len(b) < EventHeaderSize {
		return 0, fmt.Errorf("%w: a note of %d bytes", ErrEvent, len(b))
	}
	whole := pad8(EventHeaderSize + uint64(le.Uint32(b)))
	if whole > MaxNoteBytes {
		return 0, fmt.Errorf("%w: a note of %d bytes", ErrEvent, whole)
	}
	return int(whole), nil
}

// ReadNote reads the note at the front of b and checks it. The event aliases b, and decodes as
// one of an entry does.
func ReadNote(b []byte) (Event, error) {
	size, err := PeekNote(b)
	if err != nil {
		return Event{}, err
	}
	if size > len(b) {
		return Event{}, fmt.Errorf("%w: a note of %d bytes in %d", ErrEvent, size, len(b))
	}
	r := Events(b[:size])
	ev, ok := r.Next()
	if !ok {
		return Event{}, r.Err()
	}
	_, err = ev.noted()
	return ev, err
}
