package core

import (
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/invariant"
	"github.com/trimq/trimq/protocol/ipc"
)

// Who gets what. Queues whose messages or consumers changed are listed during the turn, each
// once, and served at its end, in the order in which they were listed. A queue's ready messages
// go out by priority and then in order of offset. One after the other, each consumer that has
// credit gets a share, ready messages / consumers with credit, as one run: with eight messages and
// two consumers it is four each, in two records. Consumers of a higher priority come first, and
// share among themselves. So the load is balanced by credit alone: a consumer that is slow to
// acknowledge uses its credit up and is passed over; it neither blocks nor slows the others.
//
// A run ends where a message is done with or taken, where the attempts change, and at maxRun.

// touch lists a queue that may have something to hand out.
func (c *Core) touch(q *queue) {
	if !q.dirty && !q.gone && (len(q.consumers) > 0 || q.pulls.first != nil) {
		q.dirty = true
		c.dirty = append(c.dirty, q)
	}
}

// deliverDirty hands out what is ready in the queues that changed. A turn has a limit of
// deliveries; the queue at which it is reached stays listed, and Busy.
func (c *Core) deliverDirty() {
	if !c.mayHand() {
		return // nobody may be given what another may hold
	}
	left := c.cfg.turnDeliveries()
	done := 0
	for _, q := range c.dirty {
		if !q.gone && !(c.servePulls(q, &left) && c.deliver(q, &left)) {
			break
		}
		q.dirty = false
		done++
	}
	rest := copy(c.dirty, c.dirty[done:])
	clear(c.dirty[rest:]) // a deleted queue must not be kept alive by this list
	c.dirty = c.dirty[:rest]
}

// deliver hands out a queue's ready messages to one consumer after the other, each getting its
// share of what is ready, within its credit. It returns false when the turn's limit came first.
func (c *Core) deliver(q *queue, left *int) bool {
	for {
		able, at := q.able()
		if able == 0 || c.overdue(q) {
			return true
		}
		if *left <= 0 {
			return false
		}
		ready := max(q.ready(), 1)
		share := min((ready+able-1)/able, maxRun)
		k := q.consumers[at]
		// A credit may be as large as 2^64 - 1.
		cur, first, next, attempts, ok := q.nextReady(min(share, k.credit()))
		if !ok {
			return true
		}
		if first < cur.floor || next > cur.ix.readable() {
			invariant.Fail("delivers [%d,%d) of index %d of queue %d, [%d,%d)", first, next, cur.ix.id, q.id, cur.floor, cur.ix.readable())
		}
		q.turn = at + 1
		cur.scan = next
		cur.take(first, next)
		k.hand(cur).add(first, next)
		k.delivered += next - first
		c.hand(k, cur, first, next, attempts)
		*left--
	}
}

// able is how many consumers of the highest priority that has any could be given messages, and
// the place of the one whose turn it is.
func (q *queue) able() (n uint64, at int) {
	if q.set.SingleActive && !failpoint.Broken("sac-two-active") {
		for i, k := range q.consumers {
			if k == q.active && k.credit() > 0 {
				return 1, i
			}
		}
		return 0, 0
	}
	first := -1
	at = -1
	for i, k := range q.consumers {
		if first >= 0 && k.wants.Priority < q.consumers[first].wants.Priority {
			break
		}
		if k.credit() == 0 {
			continue
		}
		n++
		if first < 0 {
			first = i
		}
		if at < 0 && i >= q.turn {
			at = i
		}
	}
	if at < 0 { // round: the first of its priority again
		at = first
	}
	return n, at
}

// ready is how many messages wait for a consumer.
func (q *queue) ready() (n uint64) {
	for _, k := range q.cursors {
		n += k.ready()
	}
	return n
}

// nextReady finds the next run of ready messages: of the highest priority that has any or, over
// a topic, of each partition in turn.
func (q *queue) nextReady(most uint64) (k *cursor, first, next uint64, attempts uint16, ok bool) {
	return q.nextReadyOf(nil, most)
}

// nextReadyOf is nextReady within some of the queue's indexes, which stand in order; none: all.
func (q *queue) nextReadyOf(indexes []uint64, most uint64) (k *cursor, first, next uint64, attempts uint16, ok bool) {
	n := len(q.cursors)
	for i := range n {
		if q.topic != nil {
			k = q.cursors[(q.first+i)%n]
		} else {
			k = q.cursors[n-1-i] // in order of priority, lowest first
		}
		if k.idle || indexes != nil && !listed(indexes, k.ix.id) {
			continue
		}
		if first, next, attempts, ok = k.nextReady(k.limit(), most); ok {
			if q.topic != nil {
				q.first = (q.first + i + 1) % n
			}
			return k, first, next, attempts, true
		}
		k.idle = true
	}
	return nil, 0, 0, 0, false
}

// hand tells connsrv to deliver. What is visible is safe already, so it may go at once.
func (c *Core) hand(k *consumer, cur *cursor, first, next uint64, attempts uint16) {
	m := ipc.Deliver{
		Head: ipc.Head{Epoch: c.epoch, Conn: k.conn}, Sub: k.sub, Index: cur.ix.id,
		First: first, Count: uint32(next - first), Attempts: attempts,
	}
	c.turn.sent(atOnce, ipc.TypeDeliver, m.Append(c.turn.recs))
	c.stats.Delivered += next - first
	c.mindHand(k, cur, first, next)
}
