package native

import (
	"encoding/binary"

	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/wire"
)

// Sizes of the fixed prefixes in front of a batch, and of their responses.
const (
	ProduceSize      = 16
	ProduceReplySize = 16
)

// Produce stores a batch in a partition. Body: this prefix, then one RecordBatch.
//
//	| index u64 | level u8 | zero 7 | batch … |
type Produce struct {
	Index uint64    // the partition's, from DESCRIBE
	Level ipc.Level // LevelUnset: the topic's
}

// Put writes the prefix.
//
// REQUIRES: len(b) >= ProduceSize.
func (m *Produce) Put(b []byte) {
	_ = b[ProduceSize-1]
	binary.LittleEndian.PutUint64(b, m.Index)
	binary.LittleEndian.PutUint64(b[8:], uint64(m.Level))
}

// Append encodes the prefix; the batch follows.
func (m *Produce) Append(b []byte) []byte {
	var p [ProduceSize]byte
	m.Put(p[:])
	return append(b, p[:]...)
}

// DecodeProduce decodes the prefix, the first ProduceSize bytes of a body.
func DecodeProduce(b []byte) (Produce, error) {
	c := wire.Read(b)
	m := Produce{Index: c.U64(), Level: ipc.Level(c.U8())}
	c.Zero(7)
	checkLevel(&c, m.Level)
	return m, malformed(c.Ok("PRODUCE"))
}

func checkLevel(c *wire.Cursor, l ipc.Level) {
	if l > ipc.LevelQuorum {
		c.Fail(wire.ErrOutOfRange)
	}
}

// ProduceReply tells where the batch lies.
//
//	| base u64 | duplicate bool | zero 7 |
type ProduceReply struct {
	Base      uint64 // offset of its first record
	Duplicate bool   // it had been stored before
}

// Append encodes the body.
func (m *ProduceReply) Append(b []byte) []byte {
	b = wire.AppendU64(b, m.Base)
	b = wire.AppendBool(b, m.Duplicate)
	return append(b, 0, 0, 0, 0, 0, 0, 0)
}

// DecodeProduceReply decodes it.
func DecodeProduceReply(b []byte) (ProduceReply, error) {
	c := wire.Read(b)
	m := ProduceReply{Base: c.U64(), Duplicate: c.Bool()}
	c.Zero(7)
	return m, malformed(c.Done("PRODUCE response"))
}

// Publish routes a batch through an exchange; all its records share key and headers.
// Body: this, padded with zeros to a multiple of 8 from the body's start, then one RecordBatch.
//
//	| level u8 | mandatory bool | exchange string | key string | headers list of (key string, value string) | zero … | batch … |
type Publish struct {
	Level      ipc.Level // LevelUnset: the highest of the queues it reaches
	Mandatory  bool      // reaching no queue is an error
	Exchange   string
	RoutingKey string
	Headers    []ipc.Header
}

// Append encodes what precedes the batch.
//
// REQUIRES: the body begins at the end of b.
func (m *Publish) Append(b []byte) []byte {
	start := len(b)
	b = append(b, byte(m.Level))
	b = wire.AppendBool(b, m.Mandatory)
	b = wire.AppendString(b, m.Exchange)
	b = wire.AppendString(b, m.RoutingKey)
	b = wire.AppendUvarint(b, uint64(len(m.Headers)))
	for i := range m.Headers {
		b = wire.AppendString(b, m.Headers[i].Key)
		b = wire.AppendString(b, m.Headers[i].Value)
	}
	return wire.AppendPad8(b, start)
}

// DecodePublish decodes what precedes the batch; the batch begins at b[bodyOff:]. The
// strings alias b.
func DecodePublish(b []byte) (m Publish, bodyOff int, err error) {
	c := wire.Read(b)
	m = Publish{Level: ipc.Level(c.U8()), Mandatory: c.Bool(), Exchange: c.Alias(), RoutingKey: c.Alias()}
	checkLevel(&c, m.Level)
	if n := c.Count(2, maxHeaders); n > 0 {
		m.Headers = make([]ipc.Header, n)
		for i := range m.Headers {
			m.Headers[i] = ipc.Header{Key: c.Alias(), Value: c.Alias()}
		}
	}
	c.Pad8()
	return m, c.Offset(), malformed(c.Ok("PUBLISH"))
}

// PublishReply tells how far the batch got.
//
//	| queues u32 | duplicate bool | zero 3 |
type PublishReply struct {
	Queues    uint32 // queues and partitions reached
	Duplicate bool
}

// Append encodes the body.
func (m *PublishReply) Append(b []byte) []byte {
	b = wire.AppendU32(b, m.Queues)
	b = wire.AppendBool(b, m.Duplicate)
	return append(b, 0, 0, 0)
}

// DecodePublishReply decodes it.
func DecodePublishReply(b []byte) (PublishReply, error) {
	c := wire.Read(b)
	m := PublishReply{Queues: c.U32(), Duplicate: c.Bool()}
	c.Zero(3)
	return m, malformed(c.Done("PUBLISH response"))
}

// InitProducer asks for the id of an idempotent producer. The response is the same body
// with what was given.
//
//	| producerID i64 | epoch i16 | zero 6 |
type InitProducer struct {
	ProducerID int64 // -1: a new one; otherwise its epoch is raised
	Epoch      int16
}

// Append encodes the body.
func (m *InitProducer) Append(b []byte) []byte {
	b = wire.AppendU64(b, uint64(m.ProducerID))
	b = wire.AppendU16(b, uint16(m.Epoch))
	return append(b, 0, 0, 0, 0, 0, 0)
}

// DecodeInitProducer decodes request and response.
func DecodeInitProducer(b []byte) (InitProducer, error) {
	c := wire.Read(b)
	m := InitProducer{ProducerID: c.I64(), Epoch: c.I16()}
	c.Zero(6)
	return m, malformed(c.Done("INIT_PRODUCER"))
}
