package native

import (
	"encoding/binary"

	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/wire"
)

// Sizes of the fixed prefixes in front of a batch, and of their responses.
const (
	ProduceSize      = 24
	ProduceReplySize = 16
)

// Produce stores a batch in a partition. Body: this prefix, then one RecordBatch.
//
//	| index u64 | level u8 | zero 7 | txn u64 | batch … |
type Produce struct {
	Index uint64    // the partition's, from DESCRIBE
	Level ipc.Level // LevelUnset: the topic's
	Txn   uint64    // the transaction that it is part of; 0: none
}

// Put writes the prefix.
//
// REQUIRES: len(b) >= ProduceSize.
func (m *Produce) Put(b []byte) {
	_ = b[ProduceSize-1]
	binary.LittleEndian.PutUint64(b, m.Index)
	binary.LittleEndian.PutUint64(b[8:], uint64(m.Level))
	binary.LittleEndian.PutUint64(b[16:], m.Txn)
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
	m.Txn = c.U64()
	checkLevel(&c, m.Level)
	return m, malformed(c.Ok("PRODUCE"))
}

func checkLevel(c *wire.Cursor, l ipc.Level) {
	if l > ipc.LevelQuorum {
		c.Fail(wire.ErrOutOfRange)
	}
}

// ProduceReply tells where the batch lies. Of a batch in a transaction it tells nothing: Base is 0.
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
