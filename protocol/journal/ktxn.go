package journal

// Events of transactional producers, in the terms of eventcodec.go; types 51 to 57 are theirs.
//
//	TxnalSet       | id string | producer i64 | epoch i16 | lastEpoch i16 | timeoutMS u32 |
//	TxnAdded       | id string | group string | list of (index u64 | start u64) |
//	TxnOffsetsHeld | id string | group string | list of (index u64 | offset u64 | metadata string | leader u32) |
//	TxnFinished    | id string | committed bool | producer i64 | epoch i16 | lastEpoch i16 | list of target |
//	TxnalsExpired  | list of id string |
//
// Version ladder: the entry's.

import (
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/wire"
)

// Events of transactional producers.
const (
	EvTxnalSet       EventType = 51 // TxnalSet
	EvTxnAdded       EventType = 52 // TxnAdded
	EvTxnOffsetsHeld EventType = 53 // TxnOffsetsHeld
	EvTxnFinished    EventType = 54 // TxnFinished
	EvTxnalsExpired  EventType = 55 // TxnalsExpired
)

// TxnalSet: a transactional id has this producer id and epoch from now on. LastEpoch is the one
// before, with which a repeated request is known; -1: none is.
type TxnalSet struct {
	Pos        uint64
	ID         string
	ProducerID int64
	Epoch      int16
	LastEpoch  int16
	TimeoutMS  uint32
}

// TxnAdded: partitions, or a group, are part of the transaction that is open under the id; the first
// such event opens it. Batches go into partitions with Appended. What was aborted in a partition
// below its Start is forgotten.
type TxnAdded struct {
	Pos   uint64
	ID    string
	Group string // empty: none
	Parts []ipc.TxnPart
}

// TxnOffsetsHeld: positions that a group has once the transaction is committed.
type TxnOffsetsHeld struct {
	Pos     uint64
	ID      string
	Group   string
	Offsets []ipc.OffsetCommit
}

// TxnFinished ends a transaction: its positions are the groups', or forgotten. Markers are the
// control batches that say so, one in each of its partitions.
type TxnFinished struct {
	Pos        uint64
	ID         string
	Committed  bool
	ProducerID int64 // that, and the epochs, which the id has from now on
	Epoch      int16
	LastEpoch  int16
	Markers    []Target
}

// TxnalsExpired: transactional ids that nobody has used for long are forgotten.
type TxnalsExpired struct {
	Pos uint64
	IDs []string
}

// Append appends the event.
func (ev *TxnalSet) Append(b []byte) []byte {
	start := len(b)
	b = wire.AppendString(beginEvent(b, EvTxnalSet, ev.Pos), ev.ID)
	b = appendEpochs(b, ev.ProducerID, ev.Epoch, ev.LastEpoch)
	return endEvent(wire.AppendU32(b, ev.TimeoutMS), start)
}

func appendEpochs(b []byte, id int64, epoch, last int16) []byte {
	return wire.AppendU16(wire.AppendU16(wire.AppendU64(b, uint64(id)), uint16(epoch)), uint16(last))
}

// DecodeTxnalSet reads the event's body.
func DecodeTxnalSet(ev Event) (TxnalSet, error) {
	if err := ev.expect(EvTxnalSet); err != nil {
		return TxnalSet{}, err
	}
	c := wire.Read(ev.Body)
	m := TxnalSet{ev.Pos, c.String(), c.I64(), c.I16(), c.I16(), c.U32()}
	return m, eventErr(c.Done("txnal set"))
}

// Append appends the event.
func (ev *TxnAdded) Append(b []byte) []byte {
	start := len(b)
	b = wire.AppendString(beginEvent(b, EvTxnAdded, ev.Pos), ev.ID)
	return endEvent(ipc.AppendTxnParts(wire.AppendString(b, ev.Group), ev.Parts), start)
}

// DecodeTxnAdded reads the event's body.
func DecodeTxnAdded(ev Event) (TxnAdded, error) {
	if err := ev.expect(EvTxnAdded); err != nil {
		return TxnAdded{}, err
	}
	c := wire.Read(ev.Body)
	m := TxnAdded{ev.Pos, c.String(), c.String(), ipc.ReadTxnParts(&c)}
	return m, eventErr(c.Done("txn added"))
}

// Append appends the event.
func (ev *TxnOffsetsHeld) Append(b []byte) []byte {
	start := len(b)
	b = wire.AppendString(beginEvent(b, EvTxnOffsetsHeld, ev.Pos), ev.ID)
	return endEvent(ipc.AppendOffsetCommits(wire.AppendString(b, ev.Group), ev.Offsets), start)
}

// DecodeTxnOffsetsHeld reads the event's body.
func DecodeTxnOffsetsHeld(ev Event) (TxnOffsetsHeld, error) {
	if err := ev.expect(EvTxnOffsetsHeld); err != nil {
		return TxnOffsetsHeld{}, err
	}
	c := wire.Read(ev.Body)
	m := TxnOffsetsHeld{ev.Pos, c.String(), c.String(), ipc.ReadOffsetCommits(&c)}
	return m, eventErr(c.Done("txn offsets held"))
}

// Append appends the event.
func (ev *TxnFinished) Append(b []byte) []byte {
	start := len(b)
	b = wire.AppendBool(wire.AppendString(beginEvent(b, EvTxnFinished, ev.Pos), ev.ID), ev.Committed)
	b = appendEpochs(b, ev.ProducerID, ev.Epoch, ev.LastEpoch)
	return endEvent(appendTargets(b, ev.Markers), start)
}

// DecodeTxnFinished reads the event's body.
func DecodeTxnFinished(ev Event) (TxnFinished, error) {
	if err := ev.expect(EvTxnFinished); err != nil {
		return TxnFinished{}, err
	}
	c := wire.Read(ev.Body)
	m := TxnFinished{ev.Pos, c.String(), c.Bool(), c.I64(), c.I16(), c.I16(), readTargets(&c, nil)}
	return m, eventErr(c.Done("txn finished"))
}

// Append appends the event.
func (ev *TxnalsExpired) Append(b []byte) []byte {
	start := len(b)
	b = wire.AppendUvarint(beginEvent(b, EvTxnalsExpired, ev.Pos), uint64(len(ev.IDs)))
	return endEvent(appendStrings(b, ev.IDs...), start)
}

// DecodeTxnalsExpired reads the event's body.
func DecodeTxnalsExpired(ev Event) (TxnalsExpired, error) {
	if err := ev.expect(EvTxnalsExpired); err != nil {
		return TxnalsExpired{}, err
	}
	c := wire.Read(ev.Body)
	m := TxnalsExpired{Pos: ev.Pos}
	for range c.Count(1, maxListed) {
		m.IDs = append(m.IDs, c.String())
	}
	return m, eventErr(c.Done("txnals expired"))
}
