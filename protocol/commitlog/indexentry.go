package commitlog

// An entry of an index is drawn at the top of format.go.

import (
	"hash/crc32"

	"github.com/trimq/trimq/protocol/journal"
)

// Entry is one slot of an index: where one batch of it lies.
type Entry struct {
	Offset    uint64 // of the batch's first record that is in this index
	Position  uint64 // log position of the batch's first byte; 0: it could not be found (FlagDamaged)
	Note      uint64 // log position of the event that tells how the batch was published; 0: none does
	Origin    uint64 // log position of the log entry that has put it into this index
	MaxTimeMS int64  // latest record time in the index up to here, so that it never falls
	Length    uint32 // bytes of the batch
	Count     uint32 // records of it that are in this index; at least 1
	Skip      uint32 // records of the batch before those
	Flags     uint32 // 8 bits
}

// Invariant: Skip fits into skipBits, and an entry is partial if it skips records.
const skipBits = 24

// End is the offset after the batch.
func (e *Entry) End() uint64 { return e.Offset + uint64(e.Count) }

// Base is the offset that the batch's first record has in this index, or would have if it were
// in it; then it may lie below 0, and wraps.
func (e *Entry) Base() uint64 { return e.Offset - uint64(e.Skip) }

// Append encodes the entry.
func (e *Entry) Append(b []byte) []byte {
	at := len(b)
	b = le.AppendUint64(b, e.Offset)
	b = le.AppendUint64(b, e.Position)
	b = le.AppendUint64(b, e.Note)
	b = le.AppendUint64(b, e.Origin)
	b = le.AppendUint64(b, uint64(e.MaxTimeMS))
	b = le.AppendUint32(b, e.Length)
	b = le.AppendUint32(b, e.Count)
	b = le.AppendUint32(b, e.Skip|e.Flags<<skipBits)
	return le.AppendUint32(b, crc32.Checksum(b[at:], castagnoli))
}

// DecodeEntry decodes one slot; ok tells whether it is used and whole.
func DecodeEntry(b []byte) (e Entry, ok bool) {
	if len(b) < IndexEntrySize || crc32.Checksum(b[:52], castagnoli) != le.Uint32(b[52:]) {
		return Entry{}, false
	}
	e = Entry{
		Offset:    le.Uint64(b),
		Position:  le.Uint64(b[8:]),
		Note:      le.Uint64(b[16:]),
		Origin:    le.Uint64(b[24:]),
		MaxTimeMS: int64(le.Uint64(b[32:])),
		Length:    le.Uint32(b[40:]),
		Count:     le.Uint32(b[44:]),
		Skip:      le.Uint32(b[48:]) & (1<<skipBits - 1),
		Flags:     le.Uint32(b[48:]) >> skipBits,
	}
	return e, e.Count > 0
}

// ItemEntry is the index entry that an item of a log entry asks for. The log entry lies at
// origin, the item's batch at position.
func ItemEntry(e *journal.Entry, it *journal.IndexItem, origin, position uint64) Entry {
	b := &e.Bodies[it.Body]
	x := Entry{
		Offset: it.Base, Position: position, Note: journal.NotePosition(origin, b.Note), Origin: origin,
		MaxTimeMS: timeOf(it.MaxTimeMS, e), Length: b.Length, Count: it.Count,
	}
	if it.Base != b.Base {
		x.Flags = FlagRebase
	}
	return x
}

// RefEntry is the index entry that a reference asks for, as persistsrv has found it. The log
// entry lies at origin.
func RefEntry(e *journal.Entry, r *journal.Ref, origin uint64) Entry {
	return Entry{
		Offset: r.Base, Position: r.Position, Note: r.NotePosition, Origin: origin,
		MaxTimeMS: timeOf(r.MaxTimeMS, e), Length: r.Length, Count: r.Count, Skip: r.Skip, Flags: r.Flags,
	}
}

// timeOf is the time of the records, where logicsrv knows it; otherwise that of the log entry.
func timeOf(maxTimeMS int64, e *journal.Entry) int64 {
	if maxTimeMS < 0 {
		return e.TimeMS
	}
	return maxTimeMS
}
