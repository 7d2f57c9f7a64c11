package admin

// What Describe lists of transactional producers (notation as in codec.go):
//
//	txnal     | id string | producer i64 | epoch i16 | timeoutMS u32 | begunMS i64 | phase u8 | list of (topic string | partition u32) |
//	producers | topic string | list of (partition u32 | producer i64 | epoch i16 | sequence i32 | usedMS i64 | open bool | first u64) |
//	held      | group string | list of index u64 |

import "github.com/trimq/trimq/protocol/wire"

// Kinds of Describe; numbers from 80 on are theirs.
const (
	KindTxnal     Kind = 80 // TxnalInfo: by transactional id
	KindProducers Kind = 81 // ProducersInfo: by topic
	KindHeld      Kind = 82 // HeldInfo: by group, those that some open transaction holds positions of
)

// CmdAbortTxnal aborts the open transaction of a transactional id (Delete: its name), and fences its producer.
const CmdAbortTxnal Command = 70

// TxnalPhase says how the last transaction under an id stands.
type TxnalPhase uint8

// Phases.
const (
	TxnalNew       TxnalPhase = 1 // there was none yet, under its present owner
	TxnalOpen      TxnalPhase = 2
	TxnalCommitted TxnalPhase = 3
	TxnalAborted   TxnalPhase = 4
)

// TxnalInfo is a transactional producer.
type TxnalInfo struct {
	ID         string
	ProducerID int64
	Epoch      int16
	TimeoutMS  uint32
	BegunMS    int64 // of the open transaction, Unix time
	Phase      TxnalPhase
	Parts      []TxnalPart // of the open transaction
}

// TxnalPart is a partition by its topic.
type TxnalPart struct {
	Topic  string
	Number uint32
}

// ProducersInfo is the idempotent producers that a topic knows.
type ProducersInfo struct {
	Topic string
	List  []ProducerInfo
}

// ProducerInfo is what one partition knows of one producer.
type ProducerInfo struct {
	Partition  uint32
	ProducerID int64
	Epoch      int16
	Sequence   int32  // the last one
	UsedMS     int64  // when it was heard last, by any partition; Unix time
	Open       bool   // it has a transaction open here, …
	First      uint64 // … which begins with this offset
}

// HeldInfo is the partitions of which open transactions hold positions for a group.
type HeldInfo struct {
	Group   string
	Indexes []uint64 // in order
}

func (m *TxnalInfo) append(b []byte) []byte {
	b = wire.AppendU64(wire.AppendString(b, m.ID), uint64(m.ProducerID))
	b = wire.AppendU32(wire.AppendU16(b, uint16(m.Epoch)), m.TimeoutMS)
	b = append(wire.AppendU64(b, uint64(m.BegunMS)), byte(m.Phase))
	b = wire.AppendUvarint(b, uint64(len(m.Parts)))
	for _, p := range m.Parts {
		b = wire.AppendU32(wire.AppendString(b, p.Topic), p.Number)
	}
	return b
}

func readTxnal(c *wire.Cursor) TxnalInfo {
	return TxnalInfo{
		c.String(), c.I64(), c.I16(), c.U32(), c.I64(), TxnalPhase(c.U8()),
		readList(c, 5, func(c *wire.Cursor) TxnalPart { return TxnalPart{c.String(), c.U32()} }),
	}
}

func (m *ProducersInfo) append(b []byte) []byte {
	b = wire.AppendUvarint(wire.AppendString(b, m.Topic), uint64(len(m.List)))
	for i := range m.List {
		p := &m.List[i]
		b = wire.AppendU16(wire.AppendU64(wire.AppendU32(b, p.Partition), uint64(p.ProducerID)), uint16(p.Epoch))
		b = wire.AppendU64(wire.AppendU32(b, uint32(p.Sequence)), uint64(p.UsedMS))
		b = wire.AppendU64(wire.AppendBool(b, p.Open), p.First)
	}
	return b
}

func readProducers(c *wire.Cursor) ProducersInfo {
	return ProducersInfo{c.String(), readList(c, 35, func(c *wire.Cursor) ProducerInfo {
		return ProducerInfo{c.U32(), c.I64(), c.I16(), c.I32(), c.I64(), c.Bool(), c.U64()}
	})}
}

func (m *HeldInfo) append(b []byte) []byte {
	b = wire.AppendUvarint(wire.AppendString(b, m.Group), uint64(len(m.Indexes)))
	for _, index := range m.Indexes {
		b = wire.AppendU64(b, index)
	}
	return b
}

func readHeld(c *wire.Cursor) HeldInfo {
	return HeldInfo{c.String(), readList(c, 8, func(c *wire.Cursor) uint64 { return c.U64() })}
}
