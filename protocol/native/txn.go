package native

import (
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/wire"
)

// BeginTxn begins a transaction. One of a group outlives its connection: if it is not ended, a
// member of the group is asked (CheckTxn). One without is rolled back when its connection ends.
//
//	| group string | key string | checkMS u64 |
type BeginTxn struct {
	Group   string
	Key     string // the client's name for it, told with each check
	CheckMS uint64 // time until the first check, and between two; 0: the broker's
}

// Append encodes the body.
func (m *BeginTxn) Append(b []byte) []byte {
	return wire.AppendU64(wire.AppendString(wire.AppendString(b, m.Group), m.Key), m.CheckMS)
}

// DecodeBeginTxn decodes it.
func DecodeBeginTxn(b []byte) (BeginTxn, error) {
	c := wire.Read(b)
	m := BeginTxn{Group: c.String(), Key: c.String(), CheckMS: c.U64()}
	return m, malformed(c.Done("BEGIN_TXN"))
}

// BeginTxnReply tells the transaction's number.
//
//	| txn u64 |
type BeginTxnReply struct{ Txn uint64 }

// Append encodes the body.
func (m *BeginTxnReply) Append(b []byte) []byte { return wire.AppendU64(b, m.Txn) }

// DecodeBeginTxnReply decodes it.
func DecodeBeginTxnReply(b []byte) (BeginTxnReply, error) {
	c := wire.Read(b)
	m := BeginTxnReply{Txn: c.U64()}
	return m, malformed(c.Done("BEGIN_TXN response"))
}

// EndTxn ends a transaction one way or the other. Its messages become visible, and its verdicts
// count, all at once; or none of them.
//
//	| txn u64 | commit bool | verdicts list of (sub u64, queue u64, index u64, verdict u8, first u64, count u32) |
type EndTxn struct {
	Txn      uint64
	Commit   bool
	Verdicts []ipc.TxnVerdict // on what is in the connection's hands
}

// Append encodes the body.
func (m *EndTxn) Append(b []byte) []byte {
	return ipc.AppendTxnVerdicts(wire.AppendBool(wire.AppendU64(b, m.Txn), m.Commit), m.Verdicts)
}

// DecodeEndTxn decodes it.
func DecodeEndTxn(b []byte) (EndTxn, error) {
	c := wire.Read(b)
	m := EndTxn{Txn: c.U64(), Commit: c.Bool(), Verdicts: ipc.ReadTxnVerdicts(&c)}
	return m, malformed(c.Done("END_TXN"))
}

// EndTxnReply tells what came of the transaction, which may have been ended before.
//
//	| committed bool | zero 3 | queues u32 |
type EndTxnReply struct {
	Committed bool
	Queues    uint32 // queues and partitions that have its messages
}

// Append encodes the body.
func (m *EndTxnReply) Append(b []byte) []byte {
	return wire.AppendU32(append(wire.AppendBool(b, m.Committed), 0, 0, 0), m.Queues)
}

// DecodeEndTxnReply decodes it.
func DecodeEndTxnReply(b []byte) (EndTxnReply, error) {
	c := wire.Read(b)
	m := EndTxnReply{Committed: c.Bool()}
	c.Zero(3)
	m.Queues = c.U32()
	return m, malformed(c.Done("END_TXN response"))
}

// TxnMember says whether the connection answers checks of a group's transactions. Answered by an
// empty body.
//
//	| group string | join bool |
type TxnMember struct {
	Group string
	Join  bool
}

// Append encodes the body.
func (m *TxnMember) Append(b []byte) []byte {
	return wire.AppendBool(wire.AppendString(b, m.Group), m.Join)
}

// DecodeTxnMember decodes it.
func DecodeTxnMember(b []byte) (TxnMember, error) {
	c := wire.Read(b)
	m := TxnMember{Group: c.String(), Join: c.Bool()}
	return m, malformed(c.Done("TXN_MEMBER"))
}

// CheckTxn asks a member of a group what has become of a transaction; it answers with an EndTxn,
// or not at all if it does not know: it will be asked again.
//
//	| txn u64 | group string | key string | checks u32 |
type CheckTxn struct {
	Txn    uint64
	Group  string
	Key    string
	Checks uint32 // how often it was asked before
}

// Append encodes the body.
func (m *CheckTxn) Append(b []byte) []byte {
	b = wire.AppendString(wire.AppendString(wire.AppendU64(b, m.Txn), m.Group), m.Key)
	return wire.AppendU32(b, m.Checks)
}

// DecodeCheckTxn decodes it.
func DecodeCheckTxn(b []byte) (CheckTxn, error) {
	c := wire.Read(b)
	m := CheckTxn{Txn: c.U64(), Group: c.String(), Key: c.String(), Checks: c.U32()}
	return m, malformed(c.Done("CHECK_TXN"))
}
