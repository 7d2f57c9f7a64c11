package ipc

// Records of transactions, in the terms of codec.go:
//
//	BeginTxn  | head | group string | key string | checkMS u64 |
//	TxnBegun  | head | txn u64 |
//	EndTxn    | head | txn u64 | commit bool | unheld bool | list of (sub u64 | queue u64 | index u64 | verdict u8 | first u64 | count u32) |
//	TxnEnded  | head | committed bool | queues u32 |
//	TxnMember | head | group string | join bool |
//	CheckTxn  | head | txn u64 | group string | key string | checks u32 |

import "github.com/trimq/trimq/protocol/wire"

// MaxTxnVerdicts is how many verdicts one EndTxn can bear.
const MaxTxnVerdicts = 4096

// txnVerdictSize is the encoded size of a TxnVerdict.
const txnVerdictSize = 37

// Append appends the record.
func (m *BeginTxn) Append(b []byte) []byte {
	b = wire.AppendString(wire.AppendString(m.append(b), m.Group), m.Key)
	return wire.AppendU64(b, m.CheckMS)
}

// DecodeBeginTxn reads the record.
func DecodeBeginTxn(b []byte) (BeginTxn, error) {
	c := wire.Read(b)
	m := BeginTxn{readHead(&c), c.String(), c.String(), c.U64()}
	return m, done(&c, "begin txn")
}

// Append appends the record.
func (m *TxnBegun) Append(b []byte) []byte { return wire.AppendU64(m.append(b), m.Txn) }

// DecodeTxnBegun reads the record.
func DecodeTxnBegun(b []byte) (TxnBegun, error) {
	c := wire.Read(b)
	m := TxnBegun{readHead(&c), c.U64()}
	return m, done(&c, "txn begun")
}

// Append appends the record.
func (m *EndTxn) Append(b []byte) []byte {
	b = wire.AppendBool(wire.AppendU64(m.append(b), m.Txn), m.Commit)
	return AppendTxnVerdicts(wire.AppendBool(b, m.Unheld), m.Verdicts)
}

// DecodeEndTxn reads the record.
func DecodeEndTxn(b []byte) (EndTxn, error) {
	c := wire.Read(b)
	m := EndTxn{Head: readHead(&c), Txn: c.U64(), Commit: c.Bool(), Unheld: c.Bool()}
	m.Verdicts = ReadTxnVerdicts(&c)
	return m, done(&c, "end txn")
}

// AppendTxnVerdicts appends a list of verdicts; package native uses it too.
func AppendTxnVerdicts(b []byte, verdicts []TxnVerdict) []byte {
	b = wire.AppendUvarint(b, uint64(len(verdicts)))
	for i := range verdicts {
		v := &verdicts[i]
		b = wire.AppendU64(wire.AppendU64(wire.AppendU64(b, v.Sub), v.Queue), v.Index)
		b = appendRange(append(b, byte(v.Verdict)), v.Range)
	}
	return b
}

// ReadTxnVerdicts reads a list of verdicts: acknowledgements and rejections.
func ReadTxnVerdicts(c *wire.Cursor) []TxnVerdict {
	n := c.Count(txnVerdictSize, MaxTxnVerdicts)
	if n == 0 {
		return nil
	}
	verdicts := make([]TxnVerdict, n)
	for i := range verdicts {
		verdicts[i] = TxnVerdict{c.U64(), c.U64(), c.U64(), Verdict(c.U8()), readRange(c)}
		if v := verdicts[i].Verdict; v != VerdictAck && v != VerdictReject {
			c.Fail(wire.ErrOutOfRange)
		}
	}
	return verdicts
}

// Append appends the record.
func (m *TxnEnded) Append(b []byte) []byte {
	return wire.AppendU32(wire.AppendBool(m.append(b), m.Committed), m.Queues)
}

// DecodeTxnEnded reads the record.
func DecodeTxnEnded(b []byte) (TxnEnded, error) {
	c := wire.Read(b)
	m := TxnEnded{readHead(&c), c.Bool(), c.U32()}
	return m, done(&c, "txn ended")
}

// Append appends the record.
func (m *TxnMember) Append(b []byte) []byte {
	return wire.AppendBool(wire.AppendString(m.append(b), m.Group), m.Join)
}

// DecodeTxnMember reads the record.
func DecodeTxnMember(b []byte) (TxnMember, error) {
	c := wire.Read(b)
	m := TxnMember{readHead(&c), c.String(), c.Bool()}
	return m, done(&c, "txn member")
}

// Append appends the record.
func (m *CheckTxn) Append(b []byte) []byte {
	b = wire.AppendString(wire.AppendU64(m.append(b), m.Txn), m.Group)
	return wire.AppendU32(wire.AppendString(b, m.Key), m.Checks)
}

// DecodeCheckTxn reads the record.
func DecodeCheckTxn(b []byte) (CheckTxn, error) {
	c := wire.Read(b)
	m := CheckTxn{readHead(&c), c.U64(), c.String(), c.String(), c.U32()}
	return m, done(&c, "check txn")
}
