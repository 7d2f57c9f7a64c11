package core

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// Limbo is where batches lie that are stored and belong to nobody yet: delayed ones until they are
// due, those of a transaction until it is committed. They are in the log like all others, in
// indexes that nobody reads; once their time has come, references make them part of the indexes
// that they are for, without another byte of them being stored.
//
//	delayed by      < 4 s   < 16 s   < 64 s   …   < 12 days   …        of transactions
//	index           class 1       2        3               10              txnClass
//
// An index can be trimmed from its front alone. So what is delayed for long does not lie in front of
// what is delayed for a moment: a batch that has been released stays in the index of its class for
// four times its delay at most.

const (
	delayClasses = 16
	txnClass     = 255
)

// delayClass is the class of a delay, in ms.
func delayClass(delayMS int64) uint8 {
	return uint8(min(delayClasses-1, (bits.Len64(uint64(delayMS)/1000)+1)/2))
}

// limbo is one index of limbo.
//
// Invariant: every offset in [floor, index.next) is in done or belongs to a batch in held, or
// to one of an open transaction.
type limbo struct {
	// Hard state.

	ix    *index
	class uint8
	floor uint64
	done  offsetSet
	held  []heldBatch // delayed ones, in order of offset; released ones have no records
	alive int         // of held: not released

	// Derived state.

	wheel   wheel[uint64] // offsets of delayed batches
	timer   timer
	trimmed uint64
}

// heldBatch is a batch that is delayed: 48 bytes.
type heldBatch struct {
	offset uint64
	due    int64 // Unix ms
	ttlMS  int64
	count  uint32
	weight uint32
	prio   uint8
	dests  *destSet
}

// destSet is where delayed batches are to go, shared by those that go to the same.
type destSet struct {
	key  string
	ids  []uint64 // of queues, and indexes of partitions
	refs int
}

// limboOf is the limbo of a class, made by an event of its own where there is none yet.
func (c *Core) limboOf(class uint8) *limbo {
	if l := c.limbos[class]; l != nil {
		return l
	}
	id := c.lastID + 1
	ev := journal.LimboAdded{Pos: journal.NoInput, Index: id, Class: class}
	c.turn.raise(ipc.LevelPage)
	c.turn.events = ev.Append(c.turn.events)
	c.op(journal.OpCreate, ipc.IndexSettings{Index: id})
	c.applyNew()
	return c.limbos[class]
}

// applyLimboAdded makes the limbo of a class.
func (c *Core) applyLimboAdded(e *journal.LimboAdded) error {
	if c.limbos[e.Class] != nil || e.Class >= delayClasses && e.Class != txnClass {
		return misfit("a second limbo of class %d", e.Class)
	}
	if err := c.claimID(e.Index); err != nil {
		return err
	}
	l := &limbo{class: e.Class}
	l.ix = &index{id: e.Index, level: ipc.LevelMemory, limbo: l}
	c.indexes.add(e.Index, l.ix)
	c.limbos[e.Class] = l
	return nil
}

// enter decides the place of a batch in limbo.
func (l *limbo) enter(c *Core, bodyOff int, m *ipc.BatchMeta, note uint32) {
	t := c.turn
	body := t.addBody(&c.in, bodyOff, m, l.ix.next, note)
	t.items = append(t.items, journal.IndexItem{
		Index: l.ix.id, Base: l.ix.next, Count: m.Count, Body: body, MaxTimeMS: m.MaxTimeMS,
	})
}

// delayBatch decides that the batch is held back until it is due. Where it goes is decided now:
// who publishes is told, and what is bound later does not get it.
func (c *Core) delayBatch(m *ipc.Publish, bodyOff int, x *exchange) {
	t := c.turn
	switch {
	case m.DueMS > t.timeMS+maxDelayMS:
		c.reject(m.Head, errcode.InvalidArgument, "a message cannot be delayed for more than ten years")
		return
	case c.delayed >= c.cfg.MaxDelayed:
		c.reject(m.Head, errcode.LimitExceeded, "too many delayed messages: max_delayed are waiting")
		return
	}
	l := c.limboOf(delayClass(m.DueMS - t.timeMS))
	ev := journal.Delayed{
		Pos: c.in.Pos, Sent: sent(m, x), Later: journal.Later{Limbo: l.ix.id, Offset: l.ix.next, DueMS: m.DueMS}, Note: noteOf(m),
	}
	level := ipc.LevelPage
	for _, ix := range c.targets {
		if q := ix.owner(); q != nil {
			ev.Dests = append(ev.Dests, q.id)
		} else {
			ev.Dests = append(ev.Dests, ix.id)
		}
		level = max(level, ix.level)
	}
	answer := m.Level
	if answer == ipc.LevelUnset {
		answer = level
	}
	x.count(m.Batch.Count, len(ev.Dests))
	t.raise(max(level, answer))
	note := journal.NoteAt(len(t.events))
	t.events = ev.Append(t.events)
	l.enter(c, bodyOff, &m.Batch, note)
	c.stats.Routed++
	c.stats.Records += uint64(m.Batch.Count)
	if m.Req != 0 {
		reply := ipc.Published{Head: m.Head, Queues: uint32(len(ev.Dests))}
		t.sent(c.ownGate(answer), ipc.TypePublished, reply.Append(t.recs))
	}
}

// applyDelayed: the batch is in limbo.
func (c *Core) applyDelayed(e *journal.Delayed, timeMS int64) error {
	ix, err := c.extend(e.Limbo, e.Offset, e.Count)
	if err != nil {
		return err
	}
	if ix.limbo == nil || ix.limbo.class == txnClass || c.exchByID[e.Exchange] == nil || len(e.Dests) == 0 {
		return misfit("a delayed batch in index %d", e.Limbo)
	}
	l := ix.limbo
	l.hold(c, heldBatch{
		offset: e.Offset, due: e.DueMS, ttlMS: e.TTLMS, count: e.Count, weight: e.Weight, prio: e.Note.Priority,
		dests: c.destSet(e.Dests),
	})
	return c.applyProduced(e.Exchange, e.ProducerID, e.Epoch, e.BaseSeq, e.Count, routedResult(uint32(len(e.Dests)), 0), timeMS)
}

// hold enters a delayed batch behind all others.
func (l *limbo) hold(c *Core, b heldBatch) {
	l.held = append(l.held, b)
	l.alive++
	c.delayed++
	l.wheel.add(b.due, b.offset)
	c.arm(l, b.due)
}

// destSet is the one set of these destinations.
func (c *Core) destSet(ids []uint64) *destSet {
	key := make([]byte, 0, 64)
	for _, id := range ids {
		key = append(key, byte(id), byte(id>>8), byte(id>>16), byte(id>>24), byte(id>>32), byte(id>>40), byte(id>>48), byte(id>>56))
	}
	s := c.destSets[string(key)]
	if s == nil {
		s = &destSet{key: string(key), ids: slices.Clone(ids)}
		c.destSets[s.key] = s
	}
	s.refs++
	return s
}

func (c *Core) dropDestSet(s *destSet) {
	if s.refs--; s.refs == 0 {
		delete(c.destSets, s.key)
	}
}

func (l *limbo) clock() *timer { return &l.timer }

// due releases what is due, as far as the turn has room: of all classes, for what has waited in
// different ones comes in order of time, too.
func (l *limbo) due(c *Core) {
	now := c.turn.timeMS
	if failpoint.Broken("delay-early") {
		now += 1000
	}
	due := c.dueBatches[:0]
	for _, l := range c.limbos[:delayClasses] {
		if l != nil {
			l.wheel.advance(now, func(offset uint64) {
				if b := l.find(offset); b != nil {
					due = append(due, dueBatch{l, offset, b.due})
				}
			})
		}
	}
	slices.SortStableFunc(due, func(a, b dueBatch) int { return cmp.Compare(a.due, b.due) })
	if failpoint.Broken("delay-order-ignored") {
		slices.Reverse(due)
	}
	for _, d := range due {
		if b := d.limbo.find(d.offset); !c.hasRoom() || !c.fits(releasedBytes+len(b.dests.ids)*placedBytes) {
			c.room = 0 // in order of time: what comes behind it waits as well
			d.limbo.wheel.add(d.due, d.offset)
		} else {
			c.release(d.limbo, b)
		}
	}
	clear(due)
	c.dueBatches = due[:0]
	for _, l := range c.limbos[:delayClasses] {
		if l != nil {
			if at, ok := l.wheel.wake(); ok {
				c.arm(l, at)
			}
		}
	}
}

// releasedBytes is what the event of a release takes besides its targets, and more.
const releasedBytes = 128

// dueBatch is a delayed batch that is due.
type dueBatch struct {
	limbo  *limbo
	offset uint64
	due    int64 // Unix ms
}

// find is the delayed batch at an offset; nil where it has been released.
func (l *limbo) find(offset uint64) *heldBatch {
	i, ok := slices.BinarySearchFunc(l.held, offset, func(b heldBatch, offset uint64) int {
		switch {
		case b.offset < offset:
			return -1
		case b.offset > offset:
			return 1
		}
		return 0
	})
	if !ok || l.held[i].count == 0 {
		return nil
	}
	return &l.held[i]
}

// release decides that a delayed batch becomes part of its queues and partitions, those of them
// that are still there.
func (c *Core) release(l *limbo, b *heldBatch) {
	c.targets = c.targets[:0]
	for _, id := range b.dests.ids {
		if q := c.queueByID[id]; q != nil {
			c.targets = append(c.targets, q.own.ix)
		} else if ix, ok := c.indexes.get(id); ok {
			c.targets = append(c.targets, ix)
		}
	}
	c.releaseTo(l, journal.Released{
		Pos: journal.NoInput, Limbo: l.ix.id, Offset: b.offset, Count: b.count, Weight: b.weight, TTLMS: b.ttlMS,
	}, b.prio)
}

// releaseTo decides that a batch of limbo becomes part of c.targets.
func (c *Core) releaseTo(l *limbo, ev journal.Released, priority uint8) *placing {
	t := c.turn
	p := c.place(arrival{priority: priority, count: ev.Count, weight: ev.Weight, promised: true})
	ev.Targets, ev.Full = p.targets, p.full
	t.raise(max(p.level, ipc.LevelPage))
	t.events = ev.Append(t.events)
	for _, to := range p.targets {
		t.addRef(to, l.ix.id, ev.Offset, ev.Count, 0)
	}
	c.takeRoom(1 + len(p.targets))
	c.stats.Released++
	c.applyNew()
	c.killNewborn(p.newborn)
	return p
}

// applyReleased: the batch is where it was for, and no longer in limbo.
func (c *Core) applyReleased(e *journal.Released, timeMS int64) error {
	ix, ok := c.indexes.get(e.Limbo)
	if !ok || ix.limbo == nil || e.Count == 0 || e.Offset < ix.limbo.floor || e.Offset+uint64(e.Count) > ix.next || e.Offset+uint64(e.Count) < e.Offset {
		return misfit("a batch at %d of limbo %d", e.Offset, e.Limbo)
	}
	if err := c.growAll(e.Targets, e.Count, e.Weight, e.TTLMS, timeMS); err != nil {
		return err
	}
	ix.limbo.settle(c, e.Offset, e.Count)
	return nil
}

// settle takes a batch out of limbo.
func (l *limbo) settle(c *Core, offset uint64, count uint32) {
	if b := l.find(offset); b != nil {
		c.dropDestSet(b.dests)
		*b = heldBatch{offset: offset}
		l.alive--
		c.delayed--
		l.tidy()
	}
	next := offset + uint64(count)
	if offset > l.floor {
		l.done.add(offset, next)
		return
	}
	l.floor = l.done.nextClear(next)
	l.done.remove(0, l.floor)
	c.turn.limbos = append(c.turn.limbos, l)
}

// tidy forgets released batches at the front and, once they are the most, all.
func (l *limbo) tidy() {
	i := 0
	for i < len(l.held) && l.held[i].count == 0 {
		i++
	}
	l.held = l.held[i:]
	if len(l.held) > 64 && l.alive < len(l.held)/2 {
		l.held = slices.DeleteFunc(l.held, func(b heldBatch) bool { return b.count == 0 })
	}
	if len(l.held) == 0 {
		l.held = nil
	}
}
