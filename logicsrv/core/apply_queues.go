package core

import (
	"slices"
	"strings"

	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// applyQueueEvent applies the events of what messages go through in queues.
func (c *Core) applyQueueEvent(ev journal.Event, timeMS int64) error {
	switch ev.Type {
	case journal.EvLaneAdded:
		e, err := journal.DecodeLaneAdded(ev)
		return firstError(err, func() error { return c.applyLaneAdded(&e) })
	case journal.EvDeadLettered:
		e, err := journal.DecodeDeadLettered(ev)
		return firstError(err, func() error { return c.applyDeadLettered(&e, timeMS) })
	case journal.EvLeased:
		e, err := journal.DecodeLeased(ev)
		return firstError(err, func() error { return c.applyLeased(&e) })
	case journal.EvLeaseMoved:
		e, err := journal.DecodeLeaseMoved(ev)
		return firstError(err, func() error { return c.applyLeaseMoved(&e) })
	case journal.EvPurged:
		e, err := journal.DecodePurged(ev)
		return firstError(err, func() error { return c.applyPurged(&e) })
	case journal.EvSought:
		e, err := journal.DecodeSought(ev)
		return firstError(err, func() error { return c.applySought(&e) })
	case journal.EvDelayed:
		e, err := journal.DecodeDelayed(ev)
		return firstError(err, func() error { return c.applyDelayed(&e, timeMS) })
	case journal.EvLimboAdded:
		e, err := journal.DecodeLimboAdded(ev)
		return firstError(err, func() error { return c.applyLimboAdded(&e) })
	case journal.EvJoined:
		e, err := journal.DecodeJoined(ev)
		return firstError(err, func() error { return c.applyJoined(&e) })
	case journal.EvOwnerGone:
		e, err := journal.DecodeOwnerGone(ev)
		return firstError(err, func() error { return c.applyOwnerGone(&e) })
	case journal.EvHanding:
		e, err := journal.DecodeHanding(ev)
		return firstError(err, func() error { return c.applyHanding(&e) })
	case journal.EvTransientsGone:
		e, err := journal.DecodeTransientsGone(ev)
		return firstError(err, func() error { return c.applyTransientsGone(&e) })
	}
	return c.applyTxnEvent(ev, timeMS)
}

// came is what apply does for records that a queue got: [base, base+count) of its index.
func (k *cursor) came(c *Core, base, count, weight uint64, ttlMS, timeMS int64) {
	set := k.queue.set
	if set.MaxBytes.Given {
		if n := len(k.sizes); n > 0 && k.sizes[n-1].next < base {
			k.sizes.add(k.sizes[n-1].next, base, 0) // they came when no policy limited the bytes
		}
		k.sizes.add(base, base+count, weight)
	}
	if set.RewindMS.Given {
		k.ages.note(timeMS, base+count, set.RewindMS.N)
	}
	if due, ok := deadline(set.MessageTTLMS.Given, set.MessageTTLMS.N, ttlMS, timeMS); ok {
		k.expiry.add(base, base+count, due)
		c.armExpiry(k)
	}
}

// deadline is when a message expires that came at timeMS: by the queue's time to live or, if that
// is shorter, its own. The queue's is rounded up; own ones are kept to the millisecond.
func deadline(limited bool, queueMS uint64, ownMS, timeMS int64) (due int64, ok bool) {
	if limited {
		step := dueStep(queueMS)
		due, ok = (timeMS+int64(min(queueMS, maxDelayMS))+step-1)/step*step, true
	}
	if ownMS != ipc.NoTTL {
		if own := timeMS + min(ownMS, maxDelayMS); !ok || own < due {
			due, ok = own, true
		}
	}
	return due, ok
}

// cursorOf finds the cursor that an event names, and checks its offsets.
func (c *Core) cursorOf(queue, index uint64, ranges []ipc.Range) (*cursor, error) {
	q := c.queueByID[queue]
	if q == nil {
		return nil, misfit("queue %d does not exist", queue)
	}
	k := q.cursor(index)
	if k == nil {
		return nil, misfit("queue %d has no index %d", queue, index)
	}
	for _, r := range ranges {
		if k.beyond(r) {
			return nil, misfit("offsets [%d,%d) of queue %d, [%d,%d)", r.First, r.First+uint64(r.Count), queue, k.floor, k.ix.next)
		}
	}
	return k, nil
}

// settled takes ranges out of a queue, and notes it for the trim at the end of the turn where
// the floor has moved.
func (c *Core) settled(k *cursor, ranges []ipc.Range) {
	floor := k.floor
	for _, r := range ranges {
		next := r.First + uint64(r.Count)
		k.settle(r.First, next)
		k.taken.remove(r.First, next)
	}
	if k.floor != floor {
		c.floorMoved(k)
	}
}

// floorMoved notes a cursor for the trim at the end of the turn; one over a topic's partition,
// which others read too, trims nothing.
func (c *Core) floorMoved(k *cursor) {
	if k.queue.topic == nil {
		c.turn.floors = append(c.turn.floors, k)
	}
}

// applyAcked takes messages out of a queue for good, for whatever reason. That the ranges overlap,
// or repeat what is done with, is harmless.
func (c *Core) applyAcked(e *journal.Acked) error {
	k, err := c.cursorOf(e.Queue, e.Index, e.Ranges)
	if err != nil {
		return err
	}
	c.settled(k, e.Ranges)
	return nil
}

// applyReturned counts an attempt for each message that came back, unless it was not even sent. What has been acknowledged by
// the time of this event is left out here rather than in the event, which stays short even where
// the range is full of holes. A lease ends with it.
func (c *Core) applyReturned(e *journal.Returned) error {
	k, err := c.cursorOf(e.Queue, e.Index, e.Ranges)
	if err != nil {
		return err
	}
	for _, r := range e.Ranges {
		k.pending(r.First, r.First+uint64(r.Count), func(first, next uint64) {
			if e.Reason != ipc.ReasonUnsent && !failpoint.Broken("attempts-not-counted") {
				k.attempts = k.attempts.raise(first, next)
			}
			if e.Reason == ipc.ReasonLeaseOver || e.Reason == ipc.ReasonUnsent {
				k.leases.drop(first, next)
				k.free(first, next)
			}
		})
	}
	return nil
}

// applyDied moves messages into their queue's graves.
func (c *Core) applyDied(e *journal.Died) error {
	k, err := c.cursorOf(e.Queue, e.Index, e.Ranges)
	if err != nil {
		return err
	}
	for _, r := range e.Ranges {
		c.bury(k, r.First, r.First+uint64(r.Count), e.Reason)
	}
	return nil
}

// applyDeadLettered: the dead are done with here, and new where they went. They keep no time to
// live of their own.
func (c *Core) applyDeadLettered(e *journal.DeadLettered, timeMS int64) error {
	ranges := []ipc.Range{{First: e.Offset, Count: e.Count}}
	k, err := c.cursorOf(e.Queue, e.Index, ranges)
	if err != nil {
		return err
	}
	if err := c.growAll(e.Targets, e.Count, e.Weight, ipc.NoTTL, timeMS); err != nil {
		return err
	}
	if !failpoint.Broken("dead-letter-twice") {
		c.settled(k, ranges)
	}
	return nil
}

// applyLaneAdded gives a queue an index for a priority.
func (c *Core) applyLaneAdded(e *journal.LaneAdded) error {
	q := c.queueByID[e.Queue]
	if q == nil || q.topic != nil || e.Priority == 0 || e.Priority > q.set.MaxPriority || q.lane(e.Priority) != nil {
		return misfit("priority %d for queue %d", e.Priority, e.Queue)
	}
	if err := c.claimID(e.Index); err != nil {
		return err
	}
	k := &cursor{queue: q, number: uint32(e.Priority)}
	k.ix = &index{id: e.Index, level: q.level, cursor: k}
	c.indexes.add(e.Index, k.ix)
	q.addCursor(k)
	return nil
}

// applyLeased gives a lease to what was pulled.
func (c *Core) applyLeased(e *journal.Leased) error {
	q := c.queueByID[e.Queue]
	if q == nil || e.Lease <= q.lease {
		return misfit("lease %d of queue %d", e.Lease, e.Queue)
	}
	q.lease = e.Lease
	info := leaseInfo{lease: e.Lease, until: e.UntilMS, asker: asker{e.Epoch, e.Req}}
	for i := range e.Runs {
		run := &e.Runs[i]
		k, err := c.cursorOf(e.Queue, run.Index, []ipc.Range{run.Range})
		if err != nil {
			return err
		}
		k.pending(run.Range.First, run.Range.First+uint64(run.Range.Count), func(first, next uint64) {
			k.leases.set(first, next, info)
			k.take(first, next)
		})
		c.leaseEnds(k, run.Range.First, run.Range.First+uint64(run.Range.Count), e.UntilMS)
	}
	return nil
}

// applyLeaseMoved gives a leased message another end.
func (c *Core) applyLeaseMoved(e *journal.LeaseMoved) error {
	k, err := c.cursorOf(e.Queue, e.Index, []ipc.Range{{First: e.Offset, Count: 1}})
	if err != nil {
		return err
	}
	run, ok := k.leases.at(e.Offset)
	if !ok || run.v.lease != e.Lease {
		return misfit("offset %d of queue %d has no lease %d", e.Offset, e.Queue, e.Lease)
	}
	run.v.until = e.UntilMS
	k.leases.set(e.Offset, e.Offset+1, run.v)
	c.leaseEnds(k, e.Offset, e.Offset+1, e.UntilMS)
	return nil
}

// applyPurged drops all below an offset of each index but what was kept.
func (c *Core) applyPurged(e *journal.Purged) error {
	for i := range e.Indexes {
		x := &e.Indexes[i]
		k, err := c.cursorOf(e.Queue, x.Index, nil)
		if err != nil {
			return err
		}
		floor, at := k.floor, k.floor
		for _, kept := range x.Kept {
			next := kept.First + uint64(kept.Count)
			if kept.First < at || kept.Count == 0 || next > x.Next || next < kept.First {
				return misfit("a purge of queue %d that keeps [%d,%d)", e.Queue, kept.First, next)
			}
			k.settle(at, kept.First)
			at = next
		}
		if x.Next > k.ix.next || x.Next > k.floor+maxSpan/2 || at > x.Next {
			return misfit("a purge of queue %d up to %d", e.Queue, x.Next)
		}
		k.settle(at, x.Next)
		if k.floor != floor {
			c.floorMoved(k)
		}
	}
	return nil
}

// applySought sets cursors to other offsets: all below is done with, all above is not.
func (c *Core) applySought(e *journal.Sought) error {
	for _, to := range e.To {
		k, err := c.cursorOf(e.Queue, to.Index, nil)
		if err != nil {
			return err
		}
		if to.Offset > k.ix.next {
			return misfit("queue %d goes on from %d of index %d, which ends at %d", e.Queue, to.Offset, to.Index, k.ix.next)
		}
		// Going back, what is leased or dead stays so, as what is in hand does; and what was not done
		// with keeps its attempts, its deadline and its weight. What comes back into the queue has none.
		c.dropDone(k)
		k.acked.clear()
		k.settle(k.floor, to.Offset)
		k.floor = to.Offset
		c.floorMoved(k)
		c.sought(k)
	}
	return nil
}

// applyJoined remembers that a queue had a consumer.
func (c *Core) applyJoined(e *journal.Joined) error {
	q := c.queueByID[e.Queue]
	if q == nil {
		return misfit("queue %d does not exist", e.Queue)
	}
	q.used = true
	return nil
}

// applyOwnerGone dooms what belonged to a connection, or to all of earlier connsrvs: a Hello may be
// read again when what belongs to its successor is there already.
func (c *Core) applyOwnerGone(e *journal.OwnerGone) error {
	c.doom(func(o journal.Owner) bool {
		if e.Owner.Conn == 0 {
			return o.Nonce != e.Owner.Nonce || o.Epoch < e.Owner.Epoch
		}
		return o == e.Owner
	})
	return nil
}

// doom marks what belongs to owners that are gone; the turns that follow delete it.
func (c *Core) doom(gone func(journal.Owner) bool) {
	for _, q := range c.queues.all {
		if q.set.Exclusive && gone(q.owner) {
			c.doomQueue(q)
		}
	}
	for _, x := range c.txns.all {
		if x.group == "" && gone(x.owner) {
			c.doomTxn(x)
		}
	}
}

func (c *Core) doomQueue(q *queue) {
	if !q.doomed {
		q.doomed = true
		c.doomed = append(c.doomed, q)
	}
}

// applyTransientsGone dooms what is not durable: the memory in which it was is gone. Leases stay, but
// whoever asks from now on is not the one who got them, though connsrv counts from 1 on again.
func (c *Core) applyTransientsGone(*journal.TransientsGone) error {
	for _, q := range c.queues.all {
		for _, k := range q.cursors {
			for i := range k.leases.list {
				k.leases.list[i].v.asker = asker{}
			}
		}
		if !q.set.Durable || q.set.Exclusive {
			c.doomQueue(q)
		}
	}
	c.doom(func(journal.Owner) bool { return true })
	for _, name := range slices.Clone(c.exchanges.keys()) {
		if x, ok := c.exchanges.get(name); ok && !x.spec.Durable { // others may have gone with it
			c.emptied = append(c.emptied, x)
			c.dropEmptied()
		}
	}
	return nil
}

// cloneNote keeps a note whose strings alias an event.
func cloneNote(n *ipc.Note) ipc.Note {
	out := ipc.Note{Exchange: strings.Clone(n.Exchange), Key: strings.Clone(n.Key), Priority: n.Priority}
	for _, h := range n.Headers {
		out.Headers = append(out.Headers, ipc.Header{Key: strings.Clone(h.Key), Value: strings.Clone(h.Value)})
	}
	for _, key := range n.More {
		out.More = append(out.More, strings.Clone(key))
	}
	return out
}
