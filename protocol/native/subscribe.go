package native

import (
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/wire"
)

// SubKind says what is subscribed to.
type SubKind uint8

const (
	SubQueue SubKind = 1 // deliveries need a verdict unless AutoAck
	SubTopic SubKind = 2 // a partition, pushed from an offset on; no verdicts
)

// Subscribe makes a consumer; Sub is the client's number for it, unique within the
// connection and below 1 << 63. Answered by an empty body, before the first DELIVER.
//
//	| sub u64 | index u64 | offset u64 | limit u64 | kind u8 | autoAck bool | exclusive bool | zero 1
//	| priority i32 | ackTimeoutMS u64 | tag string |
type Subscribe struct {
	Sub          uint64
	Index        uint64 // SubQueue: the queue; SubTopic: the partition
	Offset       uint64 // SubTopic: where to begin; SubQueue: 0
	Limit        uint64 // as Credit.Limit
	Kind         SubKind
	AutoAck      bool   // SubQueue: delivered is acknowledged
	Exclusive    bool   // SubQueue: refuse other consumers
	Priority     int32  // SubQueue: consumers with higher ones are served first
	AckTimeoutMS uint64 // SubQueue: a message that waits for its verdict longer goes back; 0: never
	Tag          string // who it is, for people and in the log
}

// Append encodes the body.
func (m *Subscribe) Append(b []byte) []byte {
	b = wire.AppendU64(b, m.Sub)
	b = wire.AppendU64(b, m.Index)
	b = wire.AppendU64(b, m.Offset)
	b = wire.AppendU64(b, m.Limit)
	b = append(b, byte(m.Kind))
	b = wire.AppendBool(b, m.AutoAck)
	b = append(wire.AppendBool(b, m.Exclusive), 0)
	b = wire.AppendU32(b, uint32(m.Priority))
	b = wire.AppendU64(b, m.AckTimeoutMS)
	return wire.AppendString(b, m.Tag)
}

// DecodeSubscribe decodes it.
func DecodeSubscribe(b []byte) (Subscribe, error) {
	c := wire.Read(b)
	m := Subscribe{Sub: c.U64(), Index: c.U64(), Offset: c.U64(), Limit: c.U64(), Kind: SubKind(c.U8()), AutoAck: c.Bool(), Exclusive: c.Bool()}
	c.Zero(1)
	m.Priority, m.AckTimeoutMS, m.Tag = c.I32(), c.U64(), c.String()
	if m.Kind != SubQueue && m.Kind != SubTopic || m.Sub&PullerBit != 0 {
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
