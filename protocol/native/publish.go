package native

import (
	"encoding/binary"

	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/wire"
)

// Publish routes a batch through an exchange; all its records share what stands here. Body: this,
// padded with zeros to a multiple of 8 from the body's start, then one RecordBatch.
//
//	| level u8 | mandatory bool | priority u8 | zero 1 | weight u32 | txn u64 | delayMS u64 | ttlMS i64
//	| exchange string | key string | headers list of (key string, value string) | zero … | batch … |
type Publish struct {
	Level      ipc.Level // LevelUnset: the highest of the queues it reaches
	Mandatory  bool      // reaching no queue is an error
	Priority   uint8
	Weight     uint32 // bytes of keys and values, which count towards a queue's limit
	Txn        uint64 // the transaction that it is part of; 0: none
	DelayMS    uint64 // nobody sees it before; 0: at once
	TTLMS      int64  // for so long it may wait in a queue; ipc.NoTTL: for ever
	Exchange   string
	RoutingKey string
	Headers    []ipc.Header
}

// Append encodes what precedes the batch.
//
// REQUIRES: the body begins at the end of b.
func (m *Publish) Append(b []byte) []byte {
	start := len(b)
	b = append(wire.AppendBool(append(b, byte(m.Level)), m.Mandatory), m.Priority, 0)
	b = wire.AppendU64(wire.AppendU32(b, m.Weight), m.Txn)
	b = wire.AppendU64(wire.AppendU64(b, m.DelayMS), uint64(m.TTLMS))
	b = wire.AppendString(wire.AppendString(b, m.Exchange), m.RoutingKey)
	return wire.AppendPad8(ipc.AppendHeaders(b, m.Headers), start)
}

// PatchPublish sets, in a body that Append has made, what differs between batches that share all
// the rest: their weight, and what is left of their delay.
//
// REQUIRES: len(body) >= 24.
func PatchPublish(body []byte, weight uint32, delayMS uint64) {
	_ = body[publishDelayAt+7]
	binary.LittleEndian.PutUint32(body[publishWeightAt:], weight)
	binary.LittleEndian.PutUint64(body[publishDelayAt:], delayMS)
}

// Where Append puts them.
const (
	publishWeightAt = 4
	publishDelayAt  = 16
)

// DecodePublish decodes what precedes the batch; the batch begins at b[bodyOff:]. The
// strings alias b.
func DecodePublish(b []byte) (m Publish, bodyOff int, err error) {
	c := wire.Read(b)
	m = Publish{Level: ipc.Level(c.U8()), Mandatory: c.Bool(), Priority: c.U8()}
	c.Zero(1)
	m.Weight, m.Txn, m.DelayMS, m.TTLMS = c.U32(), c.U64(), c.U64(), c.I64()
	m.Exchange, m.RoutingKey = c.Alias(), c.Alias()
	checkLevel(&c, m.Level)
	if m.TTLMS < ipc.NoTTL {
		c.Fail(wire.ErrOutOfRange)
	}
	if n := c.Count(2, maxHeaders); n > 0 {
		m.Headers = make([]ipc.Header, n)
		for i := range m.Headers {
			m.Headers[i] = ipc.Header{Key: c.Alias(), Value: c.Alias()}
		}
	}
	c.Pad8()
	return m, c.Offset(), malformed(c.Ok("PUBLISH"))
}

// PublishReply tells how far the batch got. Of one in a transaction both numbers are 0: END_TXN
// tells.
//
//	| queues u32 | full u32 | duplicate bool | zero 7 |
type PublishReply struct {
	Queues    uint32 // queues and partitions that have it
	Full      uint32 // queues that did not take it, for they are full
	Duplicate bool
}

// Append encodes the body.
func (m *PublishReply) Append(b []byte) []byte {
	b = wire.AppendBool(wire.AppendU32(wire.AppendU32(b, m.Queues), m.Full), m.Duplicate)
	return append(b, 0, 0, 0, 0, 0, 0, 0)
}

// DecodePublishReply decodes it.
func DecodePublishReply(b []byte) (PublishReply, error) {
	c := wire.Read(b)
	m := PublishReply{Queues: c.U32(), Full: c.U32(), Duplicate: c.Bool()}
	c.Zero(7)
	return m, malformed(c.Done("PUBLISH response"))
}
