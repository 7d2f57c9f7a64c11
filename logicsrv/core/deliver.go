package core

import (
	"github.com/trimq/trimq/protocol/invariant"
	"github.com/trimq/trimq/protocol/ipc"
)

// Who gets what. Queues whose messages or consumers changed are listed during the turn, each
// once, and served at its end, in the order in which they were listed. A queue's ready messages
// go out in order of offset. One after the other, each consumer that has credit gets a share,
// ready messages / consumers with credit, as one run: with eight messages and two consumers it
// is four each, in two records. So the load is balanced by credit alone: a consumer that is slow
// to acknowledge uses its credit up and is passed over; it neither blocks nor slows the others.
//
// A run ends where a message is done with or in hand, where the attempts change, and at maxRun.

// touch lists a queue that may have something to deliver.
func (c *Core) touch(ix *index) {
	if q := ix.queue; !q.dirty && len(q.consumers) > 0 {
		q.dirty = true
		c.dirty = append(c.dirty, ix)
	}
}

// deliverDirty hands out what is ready in the queues that changed. A turn has a limit of
// deliveries; the queue at which it is reached stays listed, and Busy.
func (c *Core) deliverDirty() {
	if !c.resynced {
		return // nobody may be given what another may hold
	}
	left := c.cfg.turnDeliveries()
	done := 0
	for _, ix := range c.dirty {
		if !ix.gone && !c.deliver(ix, &left) {
			break
		}
		ix.queue.dirty = false
		done++
	}
	rest := copy(c.dirty, c.dirty[done:])
	clear(c.dirty[rest:]) // a deleted queue must not be kept alive by this list
	c.dirty = c.dirty[:rest]
}

// deliver hands out a queue's ready messages in order of offset, to one consumer after the
// other, each getting its share of what is ready, within its credit. It returns false when
// the turn's limit came first.
func (c *Core) deliver(ix *index, left *int) bool {
	q := ix.queue
	// The sets are bounded, so what lies far above the oldest message waits for that. An ack
	// is refused beyond the same border, so nothing can be delivered that cannot be acked.
	limit := min(ix.visible, q.floor+maxSpan/2)
	for able := q.able(); able > 0; {
		if *left == 0 {
			return false
		}
		// A count that is off, as after acks of what was never delivered, costs fairness alone.
		ready := max(q.ready(limit), 1)
		share := min((ready+able-1)/able, maxRun)
		first, next, attempts, ok := q.nextReady(q.scan, limit, share)
		if !ok { // nothing is ready; the next search need not look here again
			q.scan = max(q.scan, first)
			return true
		}
		k := q.nextConsumer()
		if k.credit() < next-first { // a credit may be as large as 2^64 - 1
			next = first + k.credit()
		}
		if first < q.floor || next > ix.visible {
			invariant.Fail("delivers [%d,%d) of queue %d, [%d,%d)", first, next, ix.id, q.floor, ix.visible)
		}
		q.scan = next
		q.inHand.add(first, next)
		k.held.add(first, next)
		if k.delivered += next - first; k.credit() == 0 {
			able--
		}
		c.hand(k, first, next, attempts)
		*left--
	}
	return true
}

// able is how many consumers have credit.
func (q *queue) able() (n uint64) {
	for _, k := range q.consumers {
		if k.credit() > 0 {
			n++
		}
	}
	return n
}

// nextConsumer is the one with credit whose turn it is. REQUIRES: there is one.
func (q *queue) nextConsumer() *consumer {
	for {
		if q.turn >= len(q.consumers) { // round, or some have left
			q.turn = 0
		}
		k := q.consumers[q.turn]
		q.turn++
		if k.credit() > 0 {
			return k
		}
	}
}

// hand tells connsrv to deliver. What is visible is safe already, so it may go at once.
func (c *Core) hand(k *consumer, first, next uint64, attempts uint16) {
	m := ipc.Deliver{
		Head: ipc.Head{Epoch: c.epoch, Conn: k.conn}, Sub: k.sub, Index: k.ix.id,
		First: first, Count: uint32(next - first), Attempts: attempts,
	}
	c.turn.sent(atOnce, ipc.TypeDeliver, m.Append(c.turn.recs))
	c.stats.Delivered += next - first
	if k.autoAck {
		c.autoAcks = append(c.autoAcks, autoAck{k, first, next})
	}
}
