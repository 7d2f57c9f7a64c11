package native

import (
	"encoding/binary"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/wire"
)

// SubKind says what is subscribed to.
type SubKind uint8

const (
	SubQueue SubKind = 1 // deliveries need a verdict unless AutoAck
	SubTopic SubKind = 2 // a partition, pushed from an offset on; no verdicts
)

// Subscribe makes a consumer; Sub is the client's number for it, unique within the
// connection. Answered by an empty body, before the first DELIVER.
//
//	| sub u64 | index u64 | offset u64 | limit u64 | kind u8 | autoAck bool | exclusive bool | zero 5 |
type Subscribe struct {
	Sub       uint64
	Index     uint64
	Offset    uint64 // SubTopic: where to begin; SubQueue: 0
	Limit     uint64 // as Credit.Limit
	Kind      SubKind
	AutoAck   bool // SubQueue: delivered is acknowledged
	Exclusive bool // SubQueue: refuse other consumers
}

// Append encodes the body.
func (m *Subscribe) Append(b []byte) []byte {
	b = wire.AppendU64(b, m.Sub)
	b = wire.AppendU64(b, m.Index)
	b = wire.AppendU64(b, m.Offset)
	b = wire.AppendU64(b, m.Limit)
	b = append(b, byte(m.Kind))
	b = wire.AppendBool(b, m.AutoAck)
	b = wire.AppendBool(b, m.Exclusive)
	return append(b, 0, 0, 0, 0, 0)
}

// DecodeSubscribe decodes it.
func DecodeSubscribe(b []byte) (Subscribe, error) {
	c := wire.Read(b)
	m := Subscribe{Sub: c.U64(), Index: c.U64(), Offset: c.U64(), Limit: c.U64(), Kind: SubKind(c.U8()), AutoAck: c.Bool(), Exclusive: c.Bool()}
	c.Zero(5)
	if m.Kind != SubQueue && m.Kind != SubTopic {
		c.Fail(wire.ErrOutOfRange)
	}
	return m, malformed(c.Done("SUBSCRIBE"))
}

// Unsubscribe ends a consumer; what it holds goes back to the queue. Answered by an empty
// body, the last that is heard of Sub.
//
//	| sub u64 |
type Unsubscribe struct{ Sub uint64 }

// Append encodes the body.
func (m *Unsubscribe) Append(b []byte) []byte { return wire.AppendU64(b, m.Sub) }

// DecodeUnsubscribe decodes it.
func DecodeUnsubscribe(b []byte) (Unsubscribe, error) {
	c := wire.Read(b)
	m := Unsubscribe{Sub: c.U64()}
	return m, malformed(c.Done("UNSUBSCRIBE"))
}

// Credit sets how much may be delivered in all since the Subscribe: messages of a queue,
// bytes of batches of a topic (the last batch may exceed it). Absolute and never falling,
// so that telling it twice is harmless. Sent with FlagNoReply as a rule.
//
//	| sub u64 | limit u64 |
type Credit struct {
	Sub   uint64
	Limit uint64
}

// Append encodes the body.
func (m *Credit) Append(b []byte) []byte {
	b = wire.AppendU64(b, m.Sub)
	return wire.AppendU64(b, m.Limit)
}

// DecodeCredit decodes it.
func DecodeCredit(b []byte) (Credit, error) {
	c := wire.Read(b)
	m := Credit{Sub: c.U64(), Limit: c.U64()}
	return m, malformed(c.Done("CREDIT"))
}

// Ack passes a verdict on delivered offsets of a queue. With a response it is durable when
// that comes (at the queue's level).
//
//	| sub u64 | index u64 | verdict u8 | ranges list of (first u64, count u32) |
type Ack struct {
	Sub     uint64
	Index   uint64
	Verdict ipc.Verdict
	Ranges  []ipc.Range
}

// Append encodes the body.
func (m *Ack) Append(b []byte) []byte {
	b = wire.AppendU64(b, m.Sub)
	b = wire.AppendU64(b, m.Index)
	b = append(b, byte(m.Verdict))
	b = wire.AppendUvarint(b, uint64(len(m.Ranges)))
	for _, r := range m.Ranges {
		b = wire.AppendU64(b, r.First)
		b = wire.AppendU32(b, r.Count)
	}
	return b
}

// DecodeAck decodes it. It takes the memory for the ranges from ranges where that has room.
func DecodeAck(b []byte, ranges []ipc.Range) (Ack, error) {
	c := wire.Read(b)
	m := Ack{Sub: c.U64(), Index: c.U64(), Verdict: ipc.Verdict(c.U8())}
	if m.Verdict < ipc.VerdictAck || m.Verdict > ipc.VerdictReject {
		c.Fail(wire.ErrOutOfRange)
	}
	n := c.Count(12, maxRanges)
	if cap(ranges) < n {
		ranges = make([]ipc.Range, 0, n)
	}
	m.Ranges = ranges[:n]
	for i := range m.Ranges {
		r := ipc.Range{First: c.U64(), Count: c.U32()}
		if r.Count == 0 || r.First+uint64(r.Count) < r.First {
			c.Fail(wire.ErrOutOfRange)
		}
		m.Ranges[i] = r
	}
	return m, malformed(c.Done("ACK"))
}

// DeliverSize is the size of Deliver in front of its batches.
const DeliverSize = 40

// Deliver hands messages to a consumer: offsets [First, First+Count), the others in the
// batches are not for it. Of a queue one batch follows, and its first record has offset
// Base in the queue whatever its header says. Of a topic one or more whole batches follow,
// whose headers are right.
//
//	| sub u64 | index u64 | base u64 | first u64 | count u32 | attempts u16 | zero 2 | batches … |
type Deliver struct {
	Sub      uint64
	Index    uint64
	Base     uint64
	First    uint64
	Count    uint32
	Attempts uint16 // earlier deliveries of these messages; 0: the first
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
}

// Append encodes the prefix.
func (m *Deliver) Append(b []byte) []byte {
	var p [DeliverSize]byte
	m.Put(p[:])
	return append(b, p[:]...)
}

// DecodeDeliver decodes a whole body; batches alias it.
func DecodeDeliver(b []byte) (m Deliver, batches []byte, err error) {
	c := wire.Read(b)
	m = Deliver{Sub: c.U64(), Index: c.U64(), Base: c.U64(), First: c.U64(), Count: c.U32(), Attempts: c.U16()}
	c.Zero(2)
	batches = c.Raw(c.Left())
	return m, batches, malformed(c.Done("DELIVER"))
}

// SubClosed says that a consumer has ended without being asked to.
//
//	| sub u64 | code u16 | text string |
type SubClosed struct {
	Sub  uint64
	Code errcode.Code
	Text string
}

// Append encodes the body.
func (m *SubClosed) Append(b []byte) []byte {
	b = wire.AppendU64(b, m.Sub)
	b = wire.AppendU16(b, uint16(m.Code))
	return wire.AppendString(b, m.Text)
}

// DecodeSubClosed decodes it.
func DecodeSubClosed(b []byte) (SubClosed, error) {
	c := wire.Read(b)
	m := SubClosed{Sub: c.U64(), Code: errcode.Code(c.U16()), Text: c.String()}
	return m, malformed(c.Done("SUB_CLOSED"))
}
