package core

import (
	"cmp"
	"math"
	"slices"

	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/wire"
)

// The transactional producers in a checkpoint, and what partitions know of transactions; notation as in
// snapshot.go:
//
//	| list of producers   in order of transactional id:
//	|     id str | producer, as there | lastEpoch + 1 v | timeoutMS v | usedMS v | phase u8 |
//	|     and of an open transaction: begunMS v | list of partitions (index v | first + 1 v; 0: nothing came yet)
//	|     | list of group str | list of (group str | list of (index v | offset v | metadata str | leader v))
//	| list of partitions  in order of index, those in which there ever was a transaction:
//	|     index v | list of aborted ones (producer v | first v | last − first v)
//
// What is open in a partition follows from the producers.

// appendTxnals encodes both lists.
func (c *Core) appendTxnals(b []byte) []byte {
	b = wire.AppendUvarint(b, uint64(c.txnals.len()))
	for _, x := range c.txnals.all {
		b = x.prod.append(wire.AppendString(b, x.id))
		b = wire.AppendUvarint(wire.AppendUvarint(b, uint64(x.lastEpoch+1)), uint64(x.timeoutMS))
		b = append(wire.AppendUvarint(b, uint64(x.usedMS)), byte(x.phase))
		if x.phase == txnalOpen {
			b = x.appendOpen(b)
		}
	}
	n := 0
	for _, ix := range c.indexes.all {
		if ix.txns != nil {
			n++
		}
	}
	b = wire.AppendUvarint(b, uint64(n))
	for _, ix := range c.indexes.all {
		if ix.txns == nil {
			continue
		}
		b = wire.AppendUvarint(wire.AppendUvarint(b, ix.id), uint64(len(ix.txns.aborted)))
		for _, a := range ix.txns.aborted {
			b = wire.AppendUvarint(wire.AppendUvarint(wire.AppendUvarint(b, uint64(a.ProducerID)), a.First), a.Last-a.First)
		}
	}
	return b
}

// appendOpen encodes the open transaction.
func (x *txnal) appendOpen(b []byte) []byte {
	b = wire.AppendUvarint(wire.AppendUvarint(b, uint64(x.begunMS)), uint64(len(x.parts)))
	for _, p := range x.parts {
		b = wire.AppendUvarint(wire.AppendUvarint(b, p.index), p.first+1) // noOffset wraps to 0
	}
	b = wire.AppendUvarint(b, uint64(len(x.groups)))
	for _, g := range x.groups {
		b = wire.AppendString(b, g)
	}
	b = wire.AppendUvarint(b, uint64(len(x.held)))
	for i := range x.held {
		h := &x.held[i]
		b = wire.AppendUvarint(wire.AppendString(b, h.group), uint64(len(h.offsets)))
		for _, o := range h.offsets {
			b = wire.AppendString(wire.AppendUvarint(wire.AppendUvarint(b, o.Index), o.Offset), o.Metadata)
			b = wire.AppendUvarint(b, uint64(o.Leader))
		}
	}
	return b
}

// txnals reads both lists.
func (l *loader) txnals() {
	last := ""
	for range l.Count(10, loadThings) {
		x := &txnal{id: l.String()}
		if x.prod = l.producer(); x.prod == nil || !l.ensure(x.id > last) {
			return
		}
		last, x.prod.txnal = x.id, x
		x.lastEpoch = int16(l.small(math.MaxInt16)) - 1
		x.timeoutMS, x.usedMS, x.phase = uint32(l.small(math.MaxUint32)), l.signed(), txnalPhase(l.U8())
		l.ensure(x.phase >= txnalNew && x.phase <= txnalAborted)
		if x.phase == txnalOpen {
			l.openTxnal(x)
		}
		if l.Err() != nil {
			return
		}
		l.c.txnals.add(x.id, x)
		l.c.arm(x, l.c.txnalDue(x))
	}
	l.partitionTxns()
}

// openTxnal reads an open transaction.
func (l *loader) openTxnal(x *txnal) {
	x.begunMS = l.signed()
	for range l.Count(2, ipc.MaxTxnPartitions) {
		p := txnalPart{l.Uvarint(), l.Uvarint() - 1}
		ix, ok := l.c.indexes.get(p.index)
		if !l.ensure(ok && ix.topic != nil && (len(x.parts) == 0 || x.parts[len(x.parts)-1].index < p.index) && (p.first == noOffset || p.first < ix.next)) {
			return
		}
		if x.parts = append(x.parts, p); p.first != noOffset {
			ix.transactional().enter(x.prod.id, p.first)
		}
	}
	for range l.Count(1, maxTxnalGroups) {
		group := l.String()
		l.ensure(len(x.groups) == 0 || x.groups[len(x.groups)-1] < group)
		x.groups = append(x.groups, group)
	}
	for range l.Count(2, maxTxnalGroups) {
		h := heldOffsets{group: l.String()}
		l.ensure(x.holds(h.group) && (len(x.held) == 0 || x.held[len(x.held)-1].group < h.group))
		for range l.Count(4, ipc.MaxOffsets) {
			o := ipc.OffsetCommit{Index: l.Uvarint(), Offset: l.small(maxOffset), Metadata: l.String(), Leader: uint32(l.small(math.MaxUint32))}
			ix, ok := l.c.indexes.get(o.Index)
			l.ensure(ok && ix.topic != nil && (len(h.offsets) == 0 || h.offsets[len(h.offsets)-1].Index < o.Index))
			h.offsets = append(h.offsets, o)
		}
		l.ensure(len(h.offsets) > 0)
		x.held = append(x.held, h)
	}
}

// partitionTxns reads what partitions know.
func (l *loader) partitionTxns() {
	last := uint64(0)
	known := map[uint64]bool{}
	for range l.Count(2, loadThings) {
		id := l.Uvarint()
		ix, ok := l.c.indexes.get(id)
		if !l.ensure(ok && ix.topic != nil && id > last) {
			return
		}
		last, known[id] = id, true
		t := ix.transactional()
		for range l.Count(3, loadThings) {
			a := ipc.AbortedTxn{ProducerID: l.signed(), First: l.small(maxOffset)}
			a.Last = a.First + l.small(maxOffset)
			if !l.ensure(a.First < a.Last && a.Last < ix.next && (len(t.aborted) == 0 || t.aborted[len(t.aborted)-1].Last < a.Last)) {
				return
			}
			t.aborted = append(t.aborted, a)
		}
	}
	for id, ix := range l.c.indexes.all {
		if ix.txns != nil {
			l.ensure(known[id])
			slices.SortFunc(ix.txns.open, func(a, b openTxn) int { return cmp.Compare(a.first, b.first) })
			for i := 1; i < len(ix.txns.open); i++ {
				l.ensure(ix.txns.open[i-1].first < ix.txns.open[i].first)
			}
		}
	}
}
