package ipc

// Records of transactional producers, in the terms of codec.go. Their batches lie in partitions
// before it is known what becomes of them, unlike the parts of a transaction in txn.go.
//
//	InitTxnal  | head | id string | timeoutMS u32 | producer i64 | epoch i16 |
//	TxnAdd     | head | txnal | group string | list of (index u64 | start u64) |
//	TxnOffsets | head | txnal | group string | member string | instance string | generation i32 | joins bool | list of (index u64 | offset u64 | metadata string | leader u32) |
//	TxnFinish  | head | txnal | commit bool | bump bool |
//	WaitStable | head | index u64 | beyond u64 | from u64 |
//	Stable     | head | index u64 | end u64 | stable u64 | from u64 | to u64 | list of (producer i64 | first u64 | last u64) |
//
//	txnal      | id string | producer i64 | epoch i16 |

import "github.com/trimq/trimq/protocol/wire"

// Records of transactional producers from connsrv to logicsrv (ring 12345).
const (
	TypeInitTxnal  Type = 20 // InitTxnal: an id for a transactional producer, or its next epoch
	TypeTxnAdd     Type = 21 // TxnAdd: partitions, or a group, are part of the transaction
	TypeTxnOffsets Type = 22 // TxnOffsets: positions that are committed with it
	TypeTxnFinish  Type = 23 // TxnFinish: commit or abort
	TypeWaitStable Type = 24 // WaitStable: park until more than Beyond is stable
)

// TypeStable is from logicsrv to connsrv (ring 54321). It answers WaitStable, and Wait where an index
// has, or had, batches of transactions.
const TypeStable Type = 80

// Limits of lists.
const (
	MaxTxnPartitions = 4096 // of one transaction, and of one TxnAdd
	MaxAborted       = 1 << 16
)

// InitTxnal asks for the producer id and epoch of a transactional id. A transaction that is open
// under it is aborted. Answered by Producer.
type InitTxnal struct {
	Head
	ID         string
	TimeoutMS  uint32 // an open transaction is aborted after so long
	ProducerID int64  // what the client had before, if it goes on behind an error; -1: it begins
	Epoch      int16
}

// Txnal says which producer speaks: one with another epoch than the present one is fenced.
type Txnal struct {
	ID         string // transactional
	ProducerID int64
	Epoch      int16
}

// TxnAdd makes partitions part of the open transaction, or opens one with them; or a group, whose
// positions it is to commit. Answered by Done.
type TxnAdd struct {
	Head
	Txnal
	Group string // empty: none
	Parts []TxnPart
}

// TxnPart is a partition, and where its log begins: what was aborted below is of no interest any more.
type TxnPart struct {
	Index uint64
	Start uint64
}

// TxnOffsets holds positions of a group until the transaction ends. Answered by Done.
type TxnOffsets struct {
	Head
	Txnal
	Group      string
	Member     string
	Instance   string
	Generation int32 // -1: not for a member
	Joins      bool  // the group becomes part of the transaction, if it was not added before
	Offsets    []OffsetCommit
}

// TxnFinish ends the open transaction. Answered by Producer.
type TxnFinish struct {
	Head
	Txnal
	Commit bool
	Bump   bool // the producer goes on with the next epoch, and is told it
}

// WaitStable asks to be told once the stable end of an index is greater than Beyond (at once where
// it is already, or with WaitNow), and what was aborted from an offset on. Parked, and told again,
// as a Wait.
type WaitStable struct {
	Head
	Index  uint64
	Beyond uint64
	From   uint64
}

// Stable tells the ends of an index, and the aborted transactions that a reader of [From, To) has to
// know of. To <= Stable, but for an index that no transaction can have batches in: there it is
// everything.
type Stable struct {
	Head
	Index    uint64
	End      uint64 // as in Visible
	Stable   uint64 // whatever is open begins at or behind it
	From, To uint64
	Aborted  []AbortedTxn // in order of First
}

// AbortedTxn says that all batches of a producer in [First, Last) were aborted; at Last stands the
// control batch that says so.
type AbortedTxn struct {
	ProducerID int64
	First      uint64
	Last       uint64
}

func (t *Txnal) appendTo(b []byte) []byte {
	return wire.AppendU16(wire.AppendU64(wire.AppendString(b, t.ID), uint64(t.ProducerID)), uint16(t.Epoch))
}

func readTxnal(c *wire.Cursor) Txnal { return Txnal{c.String(), c.I64(), c.I16()} }

// Append appends the record.
func (m *InitTxnal) Append(b []byte) []byte {
	b = wire.AppendU32(wire.AppendString(m.append(b), m.ID), m.TimeoutMS)
	return wire.AppendU16(wire.AppendU64(b, uint64(m.ProducerID)), uint16(m.Epoch))
}

// DecodeInitTxnal reads the record.
func DecodeInitTxnal(b []byte) (InitTxnal, error) {
	c := wire.Read(b)
	m := InitTxnal{readHead(&c), c.String(), c.U32(), c.I64(), c.I16()}
	return m, done(&c, "init txnal")
}

// Append appends the record.
func (m *TxnAdd) Append(b []byte) []byte {
	b = wire.AppendString(m.appendTo(m.append(b)), m.Group)
	return AppendTxnParts(b, m.Parts)
}

// DecodeTxnAdd reads the record.
func DecodeTxnAdd(b []byte) (TxnAdd, error) {
	c := wire.Read(b)
	m := TxnAdd{readHead(&c), readTxnal(&c), c.String(), ReadTxnParts(&c)}
	return m, done(&c, "txn add")
}

// AppendTxnParts appends a list of partitions; package journal uses it too.
func AppendTxnParts(b []byte, parts []TxnPart) []byte {
	b = wire.AppendUvarint(b, uint64(len(parts)))
	for _, p := range parts {
		b = wire.AppendU64(wire.AppendU64(b, p.Index), p.Start)
	}
	return b
}

// ReadTxnParts reads a list of partitions.
func ReadTxnParts(c *wire.Cursor) []TxnPart {
	n := c.Count(16, MaxTxnPartitions)
	if n == 0 {
		return nil
	}
	parts := make([]TxnPart, n)
	for i := range parts {
		parts[i] = TxnPart{c.U64(), c.U64()}
	}
	return parts
}

// Append appends the record.
func (m *TxnOffsets) Append(b []byte) []byte {
	b = wire.AppendString(m.appendTo(m.append(b)), m.Group)
	b = wire.AppendString(wire.AppendString(b, m.Member), m.Instance)
	b = wire.AppendBool(wire.AppendU32(b, uint32(m.Generation)), m.Joins)
	return AppendOffsetCommits(b, m.Offsets)
}

// DecodeTxnOffsets reads the record.
func DecodeTxnOffsets(b []byte) (TxnOffsets, error) {
	c := wire.Read(b)
	m := TxnOffsets{readHead(&c), readTxnal(&c), c.String(), c.String(), c.String(), c.I32(), c.Bool(), ReadOffsetCommits(&c)}
	return m, done(&c, "txn offsets")
}

// Append appends the record.
func (m *TxnFinish) Append(b []byte) []byte {
	return wire.AppendBool(wire.AppendBool(m.appendTo(m.append(b)), m.Commit), m.Bump)
}

// DecodeTxnFinish reads the record.
func DecodeTxnFinish(b []byte) (TxnFinish, error) {
	c := wire.Read(b)
	m := TxnFinish{readHead(&c), readTxnal(&c), c.Bool(), c.Bool()}
	return m, done(&c, "txn finish")
}

// Append appends the record.
func (m *WaitStable) Append(b []byte) []byte {
	return wire.AppendU64(appendPair(b, &m.Head, m.Index, m.Beyond), m.From)
}

// DecodeWaitStable reads the record.
func DecodeWaitStable(b []byte) (WaitStable, error) {
	c := wire.Read(b)
	m := WaitStable{readHead(&c), c.U64(), c.U64(), c.U64()}
	return m, done(&c, "wait stable")
}

// Append appends the record.
func (m *Stable) Append(b []byte) []byte {
	b = wire.AppendU64(appendPair(b, &m.Head, m.Index, m.End), m.Stable)
	b = wire.AppendU64(wire.AppendU64(b, m.From), m.To)
	b = wire.AppendUvarint(b, uint64(len(m.Aborted)))
	for _, x := range m.Aborted {
		b = wire.AppendU64(wire.AppendU64(wire.AppendU64(b, uint64(x.ProducerID)), x.First), x.Last)
	}
	return b
}

// DecodeStable reads the record.
func DecodeStable(b []byte) (Stable, error) {
	c := wire.Read(b)
	m := Stable{Head: readHead(&c), Index: c.U64(), End: c.U64(), Stable: c.U64(), From: c.U64(), To: c.U64()}
	if n := c.Count(24, MaxAborted); n > 0 {
		m.Aborted = make([]AbortedTxn, n)
		for i := range m.Aborted {
			m.Aborted[i] = AbortedTxn{c.I64(), c.U64(), c.U64()}
		}
	}
	return m, done(&c, "stable")
}
