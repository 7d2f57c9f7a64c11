package core

import (
	"math"
	"slices"
	"strings"

	"github.com/trimq/trimq/protocol/ipc"
)

// Transactional producers: Kafka's transactions. Unlike the parts of the transactions in txn.go, which
// lie in limbo, their batches get offsets of their partitions at once; what becomes of them is said
// later, by a control batch in each partition.
//
//	partition     … │ a b │ x │ c │ commit of a b c │ y │ abort of x y │ …
//	open:                   x begins here
//	stable end              ▲ as long as x is open
//
// Who reads committed messages alone reads up to the stable end, and passes over what was aborted
// (stable.go). The end of a transaction is one entry: the control batches of all its partitions and
// the positions of all its groups. Nothing is prepared, so nothing can be in doubt.
//
// Who has a transactional id has a producer id with it, for as long as the id is used, and an epoch
// that rises with each new owner: who bears an old one is fenced. A transaction that lasts for too long
// is aborted, and its owner fenced.

// txnal is one transactional producer.
//
// Invariant: parts, groups and held are empty unless it is open.
type txnal struct {
	// Hard state.

	id        string
	prod      *producer // which is in no order of use: it lives as long as the id
	lastEpoch int16     // before the last rise, if a request may be repeated with it; -1: none
	timeoutMS uint32
	usedMS    int64 // Unix time of the last entry about it
	phase     txnalPhase
	begunMS   int64         // of the open transaction
	parts     []txnalPart   // in order of index
	groups    []string      // whose positions it commits, in order
	held      []heldOffsets // in order of group

	// Derived state.

	timer timer
	gone  bool
}

// txnalPhase says how the last transaction stands.
type txnalPhase uint8

const (
	txnalNew       txnalPhase = 1 // there was none yet, under this owner
	txnalOpen      txnalPhase = 2
	txnalCommitted txnalPhase = 3
	txnalAborted   txnalPhase = 4
)

// txnalPart is a partition of the open transaction.
type txnalPart struct {
	index uint64
	first uint64 // offset of its first batch; noOffset: none came yet
}

// heldOffsets are positions that a group gets with the commit, in order of index.
type heldOffsets struct {
	group   string
	offsets []ipc.OffsetCommit
}

const (
	// noLastEpoch says that no request can be repeated.
	noLastEpoch = -1
	// maxTxnalID bounds a transactional id, in bytes.
	maxTxnalID = 1024
	// lastTxnalEpoch is the highest that a producer id gets, as with Kafka: then comes a new id.
	lastTxnalEpoch = math.MaxInt16 - 1
	// maxTxnalGroups bounds the groups of one transaction.
	maxTxnalGroups = 64
)

// maxTxnalParts bounds the partitions of a transaction: its end is one entry.
func (cfg *Config) maxTxnalParts() int {
	return max(1, min(ipc.MaxTxnPartitions, cfg.MaxEntryBytes/4/markerBytes))
}

// maxHeldBytes bounds the positions that one transaction holds: an eighth of an entry.
func (cfg *Config) maxHeldBytes() int { return cfg.MaxEntryBytes / 8 }

// txnalOf finds a transactional producer; nil: there is none.
func (c *Core) txnalOf(id string) *txnal {
	x, _ := c.txnals.get(id)
	return x
}

// part finds the place of a partition, and whether it is part of the open transaction.
func (x *txnal) part(index uint64) (int, bool) {
	return slices.BinarySearchFunc(x.parts, index, func(p txnalPart, index uint64) int {
		switch {
		case p.index < index:
			return -1
		case p.index > index:
			return 1
		}
		return 0
	})
}

// holds tells whether positions of a group are part of the open transaction.
func (x *txnal) holds(group string) bool {
	_, ok := slices.BinarySearch(x.groups, group)
	return ok
}

// addGroup makes a group part of it. It is part of apply.
func (x *txnal) addGroup(group string) {
	if i, ok := slices.BinarySearch(x.groups, group); !ok {
		x.groups = slices.Insert(x.groups, i, strings.Clone(group))
	}
}

// heldOf are the positions held for a group, made where there are none. It is part of apply.
func (x *txnal) heldOf(group string) *heldOffsets {
	i, ok := slices.BinarySearchFunc(x.held, group, func(h heldOffsets, group string) int { return strings.Compare(h.group, group) })
	if !ok {
		x.held = slices.Insert(x.held, i, heldOffsets{group: strings.Clone(group)})
	}
	return &x.held[i]
}

// heldBytes is what the positions held take.
func (x *txnal) heldBytes() (n int) {
	for i := range x.held {
		for _, o := range x.held[i].offsets {
			n += offsetBytes(o)
		}
	}
	return n
}

// offsetBytes is more than a position takes in an entry, besides its group's name.
func offsetBytes(o ipc.OffsetCommit) int { return 32 + len(o.Metadata) }

// forget takes partitions out that have ended. It is part of apply.
func (x *txnal) forget(gone map[uint64]bool) {
	x.parts = slices.DeleteFunc(x.parts, func(p txnalPart) bool { return gone[p.index] })
	for i := range x.held {
		h := &x.held[i]
		h.offsets = slices.DeleteFunc(h.offsets, func(o ipc.OffsetCommit) bool { return gone[o.Index] })
	}
	x.held = slices.DeleteFunc(x.held, func(h heldOffsets) bool { return len(h.offsets) == 0 })
}

// txnalDue is when it is looked at next: for its transaction, or for the id that nobody uses.
func (c *Core) txnalDue(x *txnal) int64 {
	if x.phase == txnalOpen {
		return x.begunMS + int64(x.timeoutMS)
	}
	return x.usedMS + c.cfg.TxnalExpiryMS
}

func (x *txnal) clock() *timer { return &x.timer }
