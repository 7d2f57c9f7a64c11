package native

import (
	"encoding/binary"

	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/wire"
)

// DeliverSize is the size of Deliver in front of its note and batches.
const DeliverSize = 48

// Deliver hands messages to a consumer, or to a PULL, whose correlation it then bears: offsets
// [First, First+Count), the others in the batches are not for it. Of a queue one batch follows, and
// its first record has offset Base in the queue whatever its header says; of a topic one or more
// whole batches follow, whose headers are right.
//
//	| sub u64 | index u64 | base u64 | first u64 | count u32 | attempts u16 | zero 2 | noteBytes u32 | zero 4
//	| note | batches … |
type Deliver struct {
	Sub       uint64 // with PullerBit: in the hand of a puller; 0: leased
	Index     uint64
	Base      uint64
	First     uint64
	Count     uint32
	Attempts  uint16 // earlier deliveries of these messages; 0: the first
	NoteBytes uint32 // of the note, see DecodeNote; 0: there is none
}

// Put writes the prefix.
//
// REQUIRES: len(b) >= DeliverSize.
func (m *Deliver) Put(b []byte) {
	_ = b[DeliverSize-1]
	binary.LittleEndian.PutUint64(b, m.Sub)
	binary.LittleEndian.PutUint64(b[8:], m.Index)
	binary.LittleEndian.PutUint64(b[16:], m.Base)
	binary.LittleEndian.PutUint64(b[24:], m.First)
	binary.LittleEndian.PutUint32(b[32:], m.Count)
	binary.LittleEndian.PutUint32(b[36:], uint32(m.Attempts))
	binary.LittleEndian.PutUint64(b[40:], uint64(m.NoteBytes))
}

// Append encodes the prefix.
func (m *Deliver) Append(b []byte) []byte {
	var p [DeliverSize]byte
	m.Put(p[:])
	return append(b, p[:]...)
}

// DecodeDeliver decodes a whole body; note and batches alias it.
func DecodeDeliver(b []byte) (m Deliver, note, batches []byte, err error) {
	c := wire.Read(b)
	m = Deliver{Sub: c.U64(), Index: c.U64(), Base: c.U64(), First: c.U64(), Count: c.U32(), Attempts: c.U16()}
	c.Zero(2)
	m.NoteBytes = c.U32()
	c.Zero(4)
	note = c.Raw(int(m.NoteBytes))
	batches = c.Raw(c.Left())
	return m, note, batches, malformed(c.Done("DELIVER"))
}

// DecodeNote decodes what stands between a Deliver and its batches: how the messages came into
// their queue. Those that were produced to a partition have no note.
func DecodeNote(b []byte) (ipc.Note, error) {
	c := wire.Read(b)
	m := ipc.ReadNote(&c)
	return m, malformed(c.Done("note"))
}

// Recall takes back what a consumer holds, for it held it for too long: others get it, and a
// verdict on it has no effect.
//
//	| sub u64 | index u64 | ranges list of (first u64, count u32) |
type Recall struct {
	Sub    uint64
	Index  uint64
	Ranges []ipc.Range
}

// Append encodes the body.
func (m *Recall) Append(b []byte) []byte {
	return appendRanges(wire.AppendU64(wire.AppendU64(b, m.Sub), m.Index), m.Ranges)
}

// DecodeRecall decodes it.
func DecodeRecall(b []byte) (Recall, error) {
	c := wire.Read(b)
	m := Recall{Sub: c.U64(), Index: c.U64(), Ranges: readRanges(&c, nil)}
	return m, malformed(c.Done("RECALL"))
}

// Ack passes a verdict on messages of a queue, which were delivered, or pulled with a lease. With
// a response it is durable when that comes (at the queue's level).
//
//	| sub u64 | queue u64 | index u64 | lease u64 | verdict u8 | ranges list of (first u64, count u32) |
type Ack struct {
	Sub     uint64 // 0 with Lease
	Queue   uint64
	Index   uint64
	Lease   uint64 // 0: they were delivered to Sub
	Verdict ipc.Verdict
	Ranges  []ipc.Range
}

// Append encodes the body.
func (m *Ack) Append(b []byte) []byte {
	b = wire.AppendU64(wire.AppendU64(b, m.Sub), m.Queue)
	b = wire.AppendU64(wire.AppendU64(b, m.Index), m.Lease)
	return appendRanges(append(b, byte(m.Verdict)), m.Ranges)
}

// DecodeAck decodes it. It takes the memory for the ranges from ranges where that has room.
func DecodeAck(b []byte, ranges []ipc.Range) (Ack, error) {
	c := wire.Read(b)
	m := Ack{Sub: c.U64(), Queue: c.U64(), Index: c.U64(), Lease: c.U64(), Verdict: readVerdict(&c)}
	if m.Lease != 0 && m.Sub != 0 {
		c.Fail(wire.ErrOutOfRange)
	}
	m.Ranges = readRanges(&c, ranges)
	return m, malformed(c.Done("ACK"))
}

// readVerdict reads a verdict that clients may pass.
func readVerdict(c *wire.Cursor) ipc.Verdict {
	v := ipc.Verdict(c.U8())
	if v < ipc.VerdictAck || v > ipc.VerdictReject {
		c.Fail(wire.ErrOutOfRange)
	}
	return v
}

func appendRanges(b []byte, ranges []ipc.Range) []byte {
	b = wire.AppendUvarint(b, uint64(len(ranges)))
	for _, r := range ranges {
		b = wire.AppendU32(wire.AppendU64(b, r.First), r.Count)
	}
	return b
}

// readRanges reads a list of ranges into into, where that has room.
func readRanges(c *wire.Cursor, into []ipc.Range) []ipc.Range {
	n := c.Count(12, maxRanges)
	if cap(into) < n {
		into = make([]ipc.Range, n)
	}
	into = into[:n]
	for i := range into {
		r := ipc.Range{First: c.U64(), Count: c.U32()}
		if r.Count == 0 || r.First+uint64(r.Count) < r.First {
			c.Fail(wire.ErrOutOfRange)
		}
		into[i] = r
	}
	return into
}
