package core

import (
	"slices"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// A message of a queue, as its consumers see it:
//
//	              deliver                      ack, reject
//	  ready ────────────────────► in hand ────────────────────► done with
//	    ▲                            │
//	    └────────────────────────────┘
//	     requeue, end of the consumer: one more attempt
//
// Only "done with" and the attempts are hard state. In hand is soft: it is connsrv that knows
// what it has handed to whom, over the death of logicsrv, and after its own death nobody holds
// anything. A message's place in the queue is its offset and never changes, so what comes back
// is in front of what is newer without being moved.

// subID names a consumer: the connection's number, and its own within the connection.
type subID struct{ conn, sub uint64 }

// consumer is one subscription to a queue. Soft state: connsrv tells it again.
//
// Invariant: held is a subset of ix.queue.inHand, but for what others acknowledged; the
// held sets of two consumers are disjoint.
type consumer struct {
	subID
	ix        *index
	limit     uint64 // messages that may be delivered in all
	delivered uint64 // messages delivered so far
	held      offsetSet
	autoAck   bool
	exclusive bool
}

// credit is how many more messages may be delivered.
func (k *consumer) credit() uint64 {
	if k.limit <= k.delivered {
		return 0
	}
	return k.limit - k.delivered
}

// conn is what is known of one of connsrv's connections.
type conn struct {
	subs  []*consumer
	waits *wait // list of its parked waits
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
	if k != nil && len(k.subs) == 0 && k.waits == nil {
		delete(c.conns, id)
	}
}

// holder is the consumer that a verdict comes from; nil where it is not known (yet).
func (c *Core) holder(h ipc.Head, sub uint64, ix *index) *consumer {
	if h.Epoch != c.epoch {
		return nil
	}
	if k := c.consumers[subID{h.Conn, sub}]; k != nil && k.ix == ix {
		return k
	}
	return nil
}

// join makes k a consumer of its queue.
func (c *Core) join(k *consumer) {
	q := k.ix.queue
	q.consumers = append(q.consumers, k)
	c.consumers[k.subID] = k
	owner := c.connOf(k.conn)
	owner.subs = append(owner.subs, k)
	c.touch(k.ix)
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
	q := k.ix.queue
	q.consumers = slices.DeleteFunc(q.consumers, func(o *consumer) bool { return o == k })
	if !k.held.empty() && !k.ix.gone {
		// Still in hand for the queue until the event is applied: nobody else gets it so long.
		c.returning = append(c.returning, k)
	}
}

// giveBackLater lists [first, next), which nobody holds any more, for applyReturns.
func (c *Core) giveBackLater(ix *index, first, next uint64) {
	if n := len(c.returning) - 1; n >= 0 && c.returning[n].ix == ix {
		c.returning[n].held.add(first, next)
		return
	}
	k := &consumer{ix: ix}
	k.held.add(first, next)
	c.returning = append(c.returning, k)
}

// exclude tells why a consumer cannot join the queue; OK if it can.
func (q *queue) exclude(exclusive bool) (errcode.Code, string) {
	if len(q.consumers) == 0 {
		return errcode.OK, ""
	}
	if exclusive {
		return errcode.InUse, "the queue has consumers; an exclusive one cannot join them"
	}
	if q.consumers[0].exclusive {
		return errcode.InUse, "an exclusive consumer has the queue"
	}
	return errcode.OK, ""
}

// release takes [first, next) out of the consumers' hands.
func (q *queue) release(first, next uint64) {
	q.inHand.remove(first, next)
	q.scan = min(q.scan, first)
}

// applyReturns gives back what consumers held that have ended, at most turnReturns
// ranges a turn: an entry has a limit, what a connection held has none.
func (c *Core) applyReturns() {
	if len(c.returning) == 0 {
		return
	}
	t := c.turn
	ev := &c.returned
	left := c.cfg.turnReturns()
	done := 0
	for _, k := range c.returning {
		// One event for each consumer: it names one queue.
		*ev = journal.Returned{Pos: journal.NoInput, Index: k.ix.id, Ranges: ev.Ranges[:0]}
		if k.ix.gone {
			k.held.clear()
		}
		for first := k.held.nextSet(0); first != noOffset && left > 0; first = k.held.nextSet(first) {
			next := k.held.nextClear(first)
			k.held.remove(first, next)
			c.giveBack(k.ix, first, next, ev)
			left--
		}
		if len(ev.Ranges) > 0 {
			t.raise(ipc.LevelPage)
			t.events = ev.Append(t.events)
			c.touch(k.ix)
		}
		if !k.held.empty() {
			break // the turn's limit; Busy asks for another turn
		}
		done++
	}
	c.returning = slices.Delete(c.returning, 0, done)
	c.applyNew()
}

// autoAck is a delivery to a consumer that acknowledges by taking.
type autoAck struct {
	k           *consumer
	first, next uint64
}

// applyAutoAcks acknowledges what the turn before handed to such consumers: the record had
// to leave first, or a kill between the two would lose the message.
func (c *Core) applyAutoAcks() {
	t := c.turn
	ev := &c.acked
	for _, a := range c.autoAcks {
		if a.k.ix.gone {
			continue
		}
		// What was acknowledged or returned meanwhile is no longer held.
		*ev = journal.Acked{Pos: journal.NoInput, Index: a.k.ix.id, Verdict: ipc.VerdictAck, Ranges: ev.Ranges[:0]}
		for at := a.k.held.nextSet(a.first); at < a.next; at = a.k.held.nextSet(at) {
			end := min(a.k.held.nextClear(at), a.next)
			a.k.held.remove(at, end)
			a.k.ix.queue.inHand.remove(at, end)
			ev.Ranges = append(ev.Ranges, ipc.Range{First: at, Count: uint32(end - at)})
			c.stats.Acked += end - at
		}
		if len(ev.Ranges) > 0 {
			t.raise(ipc.LevelPage)
			t.events = ev.Append(t.events)
			c.touch(a.k.ix)
		}
	}
	c.autoAcks = c.autoAcks[:0]
	c.applyNew()
}
