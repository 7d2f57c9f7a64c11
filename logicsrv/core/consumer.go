package core

import (
	"slices"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/ipc"
)

// A message of a queue, as its consumers see it:
//
//	              deliver, pull                ack
//	  ready ────────────────────► in hand ────────────────────► done with
//	    ▲                            │  │                           ▲
//	    └────────────────────────────┘  └──────► dead ──────────────┘
//	     requeue, end of the consumer,    reject,    dead-lettered,
//	     time-out: one more attempt       …          or dropped
//
// What is done with, dead or leased and the attempts are hard state. In hand is soft: it is connsrv
// that knows what it has handed to whom, over the death of logicsrv, and after its own death nobody
// holds anything. A message's place in the queue is its offset and never changes, so what comes
// back is in front of what is newer without being moved.

// subID names a consumer: the connection's number, and its own within the connection.
type subID struct{ conn, sub uint64 }

// consumer is one subscription to a queue, or who pulls from one. Soft state: connsrv tells it
// again.
//
// Invariant: what is held is taken, but for what others acknowledged; the hands of two
// consumers are disjoint.
type consumer struct {
	subID
	queue     *queue
	wants     ipc.Consumer
	limit     uint64 // messages that may be delivered in all
	delivered uint64 // messages delivered so far
	hands     []hand
	late      []lateRun // when what was delivered is to come back; only with an acknowledgement time-out
	lateKept  int       // how long the list was when it was tidied last
	recalls   uint16    // Recalls sent, modulo 65,536
	crossing  []hand    // what was recalled, and connsrv has perhaps not heard of it yet; see recall.go
	timer     timer
}

// hand is what a consumer holds of one index.
type hand struct {
	cursor *cursor
	held   offsetSet
}

// credit is how many more messages may be delivered.
func (k *consumer) credit() uint64 {
	if k.limit <= k.delivered {
		return 0
	}
	return k.limit - k.delivered
}

// serves tells whether it is for this consumer to get messages: where only one may, for that.
func (q *queue) serves(k *consumer) bool { return !q.set.SingleActive || q.active == k }

// hand is what the consumer holds of an index, made where there is nothing yet.
func (k *consumer) hand(cur *cursor) *offsetSet {
	if h := k.held(cur); h != nil {
		return h
	}
	k.hands = append(k.hands, hand{cursor: cur})
	return &k.hands[len(k.hands)-1].held
}

// held is hand, or nil where there is nothing.
func (k *consumer) held(cur *cursor) *offsetSet {
	for i := range k.hands {
		if k.hands[i].cursor == cur {
			return &k.hands[i].held
		}
	}
	return nil
}

// holding is how many messages the consumer holds.
func (k *consumer) holding() (n uint64) {
	for i := range k.hands {
		n += k.hands[i].held.n
	}
	return n
}

// letGo takes [first, next) out of the hand, as far as it is there.
func (k *consumer) letGo(cur *cursor, first, next uint64) {
	if k == nil {
		return
	}
	if h := k.held(cur); h != nil {
		h.remove(first, next)
	}
}

// conn is what is known of one of connsrv's connections.
type conn struct {
	subs  []*consumer
	waits *wait // list of its parked waits
	pulls pullList
	txns  []string // the groups of producers that it answers for
}

// connOf returns the connection's entry, made where there is none.
func (c *Core) connOf(id uint64) *conn {
	k := c.conns[id]
	if k == nil {
		k = &conn{}
		c.conns[id] = k
	}
	return k
}

// dropConn forgets a connection that has nothing any more.
func (c *Core) dropConn(id uint64, k *conn) {
	if k != nil && len(k.subs) == 0 && k.waits == nil && k.pulls.first == nil && len(k.txns) == 0 {
		delete(c.conns, id)
	}
}

// holder is the consumer that a verdict comes from; nil where it is not known (yet).
func (c *Core) holder(h ipc.Head, sub uint64, q *queue) *consumer {
	if h.Epoch != c.epoch {
		return nil
	}
	if k := c.consumers[subID{h.Conn, sub}]; k != nil && k.queue == q {
		return k
	}
	return nil
}

// join makes k a consumer of its queue. One that only pulls is not served, but its hand counts.
func (c *Core) join(k *consumer) {
	q := k.queue
	c.consumers[k.subID] = k
	owner := c.connOf(k.conn)
	owner.subs = append(owner.subs, k)
	if k.wants.Puller {
		q.pullers = append(q.pullers, k)
		return
	}
	// Behind those of its priority.
	i, _ := slices.BinarySearchFunc(q.consumers, k, func(a, b *consumer) int {
		if a.wants.Priority >= b.wants.Priority || failpoint.Broken("consumer-priority-ignored") {
			return -1
		}
		return 1
	})
	q.consumers = slices.Insert(q.consumers, i, k)
	if q.active == nil {
		q.active = k
	}
	c.touch(q)
}

// leave ends k: what it holds goes back to the queue with the next turns.
func (c *Core) leave(k *consumer) {
	c.detach(k)
	owner := c.conns[k.conn]
	owner.subs = slices.DeleteFunc(owner.subs, func(o *consumer) bool { return o == k })
	c.dropConn(k.conn, owner)
}

// detach is leave without the connection's list.
func (c *Core) detach(k *consumer) {
	delete(c.consumers, k.subID)
	q := k.queue
	if k.wants.Puller {
		q.pullers = slices.DeleteFunc(q.pullers, func(o *consumer) bool { return o == k })
	} else {
		c.unserve(k)
	}
	if k.holding() > 0 && !q.gone {
		// Still in hand for the queue until the event is applied: nobody else gets it so long.
		c.returning = append(c.returning, returning{k, ipc.ReasonEnded})
	}
	c.unused(q)
}

// unserve takes k off those whom its queue serves.
func (c *Core) unserve(k *consumer) {
	q := k.queue
	q.consumers = slices.DeleteFunc(q.consumers, func(o *consumer) bool { return o == k })
	if q.active == k {
		q.active = nil
		if len(q.consumers) > 0 {
			q.active = q.consumers[0]
			c.touch(q)
		}
	}
}

// retire ends k as a consumer, and leaves it what it holds: it is one that pulls from now on.
func (c *Core) retire(k *consumer) {
	if !k.wants.Puller {
		c.unserve(k)
		k.wants.Puller = true
		k.queue.pullers = append(k.queue.pullers, k)
		c.unused(k.queue)
	}
}

// returning is a consumer that gives back all it holds, by and by.
type returning struct {
	k      *consumer
	reason ipc.Reason
}

// giveBackLater lists [first, next), which nobody holds any more, for applyReturns.
func (c *Core) giveBackLater(cur *cursor, first, next uint64, reason ipc.Reason) {
	if n := len(c.returning) - 1; n >= 0 && c.returning[n].reason == reason && c.returning[n].k.queue == cur.queue {
		c.returning[n].k.hand(cur).add(first, next)
		return
	}
	k := &consumer{queue: cur.queue}
	k.hand(cur).add(first, next)
	c.returning = append(c.returning, returning{k, reason})
}

// exclude tells why a consumer cannot join the queue; OK if it can.
func (q *queue) exclude(exclusive bool) (errcode.Code, string) {
	if len(q.consumers) == 0 {
		return errcode.OK, ""
	}
	if failpoint.Broken("exclusive-joined") {
		return errcode.OK, ""
	}
	if exclusive {
		return errcode.InUse, "the queue has consumers; an exclusive one cannot join them"
	}
	if q.consumers[0].wants.Exclusive {
		return errcode.InUse, "an exclusive consumer has the queue"
	}
	return errcode.OK, ""
}

// applyReturns gives back what consumers held that have ended, and what was held for too long,
// as far as the turn has room: an entry has a limit, what a connection held has none.
func (c *Core) applyReturns() {
	done := 0
	for i := range c.returning {
		r := &c.returning[i]
		for h := range r.k.hands {
			c.returnHand(r.k, &r.k.hands[h], r.reason)
		}
		if r.k.holding() > 0 {
			break // the turn's limit; Busy asks for another turn
		}
		done++
	}
	c.returning = slices.Delete(c.returning, 0, done)
}

// returnHand gives back what a consumer holds of one index.
func (c *Core) returnHand(k *consumer, h *hand, reason ipc.Reason) {
	if k.queue.gone {
		h.held.clear()
		return
	}
	g := c.giving(h.cursor, reason)
	for first := h.held.nextSet(0); first != noOffset; first = h.held.nextSet(first) {
		to := g.give(first, h.held.nextClear(first))
		h.held.remove(first, to)
		if to == first {
			break
		}
	}
	g.done()
}
