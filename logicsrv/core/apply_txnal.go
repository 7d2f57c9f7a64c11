package core

import (
	"slices"
	"strings"

	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/journal"
)

// applyTxnalEvent applies the events of transactional producers.
func (c *Core) applyTxnalEvent(ev journal.Event, timeMS int64) error {
	switch ev.Type {
	case journal.EvTxnalSet:
		e, err := journal.DecodeTxnalSet(ev)
		return firstError(err, func() error { return c.applyTxnalSet(&e, timeMS) })
	case journal.EvTxnAdded:
		e, err := journal.DecodeTxnAdded(ev)
		return firstError(err, func() error { return c.applyTxnAdded(&e, timeMS) })
	case journal.EvTxnOffsetsHeld:
		e, err := journal.DecodeTxnOffsetsHeld(ev)
		return firstError(err, func() error { return c.applyTxnOffsetsHeld(&e, timeMS) })
	case journal.EvTxnFinished:
		e, err := journal.DecodeTxnFinished(ev)
		return firstError(err, func() error { return c.applyTxnFinished(&e, timeMS) })
	case journal.EvTxnalsExpired:
		e, err := journal.DecodeTxnalsExpired(ev)
		return firstError(err, func() error { return c.applyTxnalsExpired(&e) })
	}
	return misfit("unknown event type %d", ev.Type)
}

// applyTxnalSet: the id has a new owner. What the one before left open has been ended by an event of
// its own.
func (c *Core) applyTxnalSet(e *journal.TxnalSet, timeMS int64) error {
	x := c.txnalOf(e.ID)
	if e.ID == "" || x != nil && x.phase == txnalOpen {
		return misfit("transactional id %q begins anew", e.ID)
	}
	if x == nil {
		x = &txnal{id: strings.Clone(e.ID), usedMS: timeMS}
		c.txnals.add(x.id, x)
	}
	x.phase, x.timeoutMS = txnalNew, e.TimeoutMS
	return c.becomes(x, e.ProducerID, e.Epoch, e.LastEpoch, timeMS)
}

// becomes gives a transactional id a producer id and an epoch. It is part of apply.
func (c *Core) becomes(x *txnal, id int64, epoch, last int16, timeMS int64) error {
	if id < 0 || epoch < 0 || last < noLastEpoch {
		return misfit("transactional id %q with producer %d, epochs %d and %d", x.id, id, epoch, last)
	}
	if x.prod == nil || x.prod.id != id {
		if c.producers.byID[id] != nil {
			return misfit("producer %d of transactional id %q is another's", id, x.id)
		}
		if x.prod != nil {
			c.producers.remove(x.prod)
		}
		x.prod = &producer{id: id, txnal: x}
		c.producers.byID[id] = x.prod
		c.lastPID = max(c.lastPID, id)
	}
	x.prod.epoch, x.lastEpoch = epoch, last
	c.txnalUsed(x, timeMS)
	return nil
}

// txnalUsed notes that the id is in use.
func (c *Core) txnalUsed(x *txnal, timeMS int64) {
	x.usedMS = timeMS
	c.producers.touch(x.prod, timeMS)
	c.arm(x, c.txnalDue(x))
}

// opens opens a transaction, unless one is open. It is part of apply.
func (c *Core) opens(x *txnal, timeMS int64) {
	if x.phase != txnalOpen {
		x.phase, x.begunMS = txnalOpen, timeMS
	}
	c.txnalUsed(x, timeMS)
}

// joins makes a partition part of the open transaction. It is part of apply.
func (x *txnal) joins(index uint64) *txnalPart {
	i, ok := x.part(index)
	if !ok {
		x.parts = slices.Insert(x.parts, i, txnalPart{index, noOffset})
	}
	return &x.parts[i]
}

func (c *Core) applyTxnAdded(e *journal.TxnAdded, timeMS int64) error {
	x := c.txnalOf(e.ID)
	if x == nil {
		return misfit("transactional id %q does not exist", e.ID)
	}
	c.opens(x, timeMS)
	for _, p := range e.Parts {
		ix, ok := c.indexes.get(p.Index)
		if !ok || ix.topic == nil {
			return misfit("index %d is no partition", p.Index)
		}
		x.joins(p.Index)
		if ix.txns != nil {
			ix.txns.trim(min(p.Start, ix.next))
		}
	}
	if e.Group != "" {
		x.addGroup(e.Group)
	}
	return nil
}

// txnalAppended: a batch of a transactional producer became part of a partition.
func (c *Core) txnalAppended(x *txnal, ix *index, base uint64, timeMS int64) {
	c.opens(x, timeMS)
	if p := x.joins(ix.id); p.first == noOffset {
		if !c.begun && ix.id%2 == 0 && failpoint.Broken("restart-halves") {
			return
		}
		p.first = base
		ix.transactional().enter(x.prod.id, base)
	}
}

func (c *Core) applyTxnOffsetsHeld(e *journal.TxnOffsetsHeld, timeMS int64) error {
	x := c.txnalOf(e.ID)
	if x == nil || len(e.Offsets) == 0 {
		return misfit("transactional id %q holds %d positions", e.ID, len(e.Offsets))
	}
	c.opens(x, timeMS)
	x.addGroup(e.Group)
	h := x.heldOf(e.Group)
	for _, o := range e.Offsets {
		if ix, ok := c.indexes.get(o.Index); !ok || ix.topic == nil || o.Offset > maxOffset {
			return misfit("offset %d of partition %d", o.Offset, o.Index)
		}
		h.offsets = setOffset(h.offsets, o)
	}
	return nil
}

// applyTxnFinished ends a transaction in all its partitions and groups.
func (c *Core) applyTxnFinished(e *journal.TxnFinished, timeMS int64) error {
	x := c.txnalOf(e.ID)
	if x == nil || x.prod.id != e.ProducerID && e.Epoch != 0 {
		return misfit("the end of a transaction of %q, producer %d, epoch %d", e.ID, e.ProducerID, e.Epoch)
	}
	for _, to := range e.Markers {
		at, ok := x.part(to.Index)
		if !ok {
			return misfit("a control batch in index %d, which is not part of the transaction of %q", to.Index, e.ID)
		}
		ix, err := c.extend(to.Index, to.Base, 1)
		if err != nil {
			return err
		}
		ix.transactional().finish(x.prod.id, x.parts[at].first, to.Base, e.Committed)
	}
	if e.Committed || failpoint.Broken("aborted-positions") {
		for i := range x.held {
			c.commitHeld(&x.held[i], timeMS)
		}
	}
	x.parts, x.groups, x.held, x.begunMS = nil, nil, nil, 0
	if x.phase = txnalAborted; e.Committed {
		x.phase = txnalCommitted
	}
	return c.becomes(x, e.ProducerID, e.Epoch, e.LastEpoch, timeMS)
}

// commitHeld gives a group the positions that were held for it. It is part of apply.
func (c *Core) commitHeld(h *heldOffsets, timeMS int64) {
	if len(h.offsets) == 0 {
		return
	}
	g := c.makeGroup(h.group)
	if len(g.members) == 0 {
		g.emptyMS = timeMS
	}
	for _, o := range h.offsets {
		g.set(o)
	}
}

func (c *Core) applyTxnalsExpired(e *journal.TxnalsExpired) error {
	for _, id := range e.IDs {
		x := c.txnalOf(id)
		if x == nil || x.phase == txnalOpen {
			return misfit("transactional id %q expires", id)
		}
		x.gone = true
		c.txnals.remove(id)
		c.producers.remove(x.prod)
	}
	return nil
}

// txnalsForget takes partitions that have ended out of all transactions. It is part of apply.
func (c *Core) txnalsForget(gone map[uint64]bool) {
	for _, x := range c.txnals.all {
		x.forget(gone)
		c.producers.forgetLanes(x.prod, gone)
	}
}
