package core

import (
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// Queues that go by themselves: those of a connection that has ended, those that are not durable
// when the rings are made anew, those whose last consumer has gone, those that nobody has used for
// long enough. The first two are doomed by an event, for who knows of the reason may die; the
// others follow from what is known at any time. All are deleted at the end of a turn, so many as
// it has room for.

// owner is the connection that a record comes from, as events name it. It says itself of which
// connsrv it is: after a restart that may not be known otherwise yet.
func (c *Core) owner(h ipc.Head) journal.Owner {
	return journal.Owner{Nonce: c.ringNonce, Epoch: h.Epoch, Conn: h.Conn}
}

// locked tells whether a queue belongs to another connection than the one that a record comes from.
func (c *Core) locked(q *queue, h ipc.Head) bool {
	return q.set.Exclusive && !failpoint.Broken("exclusive-shared") && (q.doomed || q.owner != c.owner(h))
}

// own enters what belongs to a connection. Derived state: it says for whose end something has
// to be looked for.
func (c *Core) own(o journal.Owner) { c.owned[o]++ }

// disown takes it out.
func (c *Core) disown(o journal.Owner) {
	if c.owned[o]--; c.owned[o] <= 0 {
		delete(c.owned, o)
	}
}

// ownerGone dooms what a connection had, or with conn 0 what connections of earlier connsrvs had.
func (c *Core) ownerGone(conn uint64) {
	if failpoint.Broken("owner-outlived") {
		return
	}
	o := c.owner(ipc.Head{Epoch: c.epoch, Conn: conn})
	if conn == 0 && len(c.owned) == 0 || conn != 0 && c.owned[o] == 0 {
		return
	}
	ev := journal.OwnerGone{Pos: journal.NoInput, Owner: o}
	c.turn.raise(ipc.LevelPage)
	c.turn.events = ev.Append(c.turn.events)
}

// deleteDoomed deletes what is doomed, as far as the turn has room.
func (c *Core) deleteDoomed() {
	done := 0
	for _, q := range c.doomed {
		if !c.hasRoom() {
			break
		}
		if !q.gone {
			c.endQueue(q, journal.NoInput)
		}
		done++
	}
	clear(c.doomed[:done])
	c.doomed = c.doomed[done:]
	c.abortDoomed()
}

// used tells whether somebody uses the queue now.
func (q *queue) inUse() bool { return len(q.consumers) > 0 || q.pulls.first != nil }

// unused is told that somebody has stopped using a queue, or used it for a moment: the time
// until it expires begins anew.
func (c *Core) unused(q *queue) {
	if q.gone {
		return
	}
	q.unusedMS = c.turn.timeMS
	if e := q.set.ExpiresMS; e.Given && !q.inUse() {
		c.arm(q, q.unusedMS+int64(min(e.N, maxDelayMS)))
	}
	if q.set.AutoDelete && q.used && len(q.consumers) == 0 {
		c.arm(q, 1) // at the end of this turn
	}
}

func (q *queue) clock() *timer { return &q.expiry }

// due deletes the queue if it has been without use for long enough, or had a consumer and has
// none any more.
func (q *queue) due(c *Core) {
	if q.gone || failpoint.Broken("unused-stay") {
		return
	}
	switch e := q.set.ExpiresMS; {
	case q.set.AutoDelete && q.used && len(q.consumers) == 0:
	case e.Given && !q.inUse() && c.turn.timeMS >= q.unusedMS+int64(min(e.N, maxDelayMS)):
	case e.Given && !q.inUse():
		c.arm(q, q.unusedMS+int64(min(e.N, maxDelayMS)))
		return
	default:
		return
	}
	if !c.takeRoom(1 + len(q.cursors)) {
		c.arm(q, 1)
		return
	}
	c.endQueue(q, journal.NoInput)
}

// lookAtUnused begins the time of queues that nobody uses, now that it is known who does.
func (c *Core) lookAtUnused() {
	for _, q := range c.queues.all {
		if q.set.ExpiresMS.Given || q.set.AutoDelete {
			c.unused(q)
		}
	}
}

// endQueue decides that a queue goes, with whatever is parked on it and consumes from it. pos is
// of the input that asked for it; NoInput.
func (c *Core) endQueue(q *queue, pos uint64) (messages uint64) {
	messages = q.readyNow()
	c.decided(&journal.QueueDeleted{Pos: pos, Queue: q.id, Messages: messages})
	c.endUsers(q)
	for _, k := range q.cursors {
		if q.topic == nil {
			c.endIndex(k.ix)
		}
	}
	c.takeRoom(1 + len(q.cursors))
	c.applyNew()
	return messages
}

// endUsers ends consumers and pulls of a queue that goes. They have not asked for it. What they
// hold is gone with the queue; their verdicts, already on the way, will find no such queue.
func (c *Core) endUsers(q *queue) {
	for len(q.consumers) > 0 {
		k := q.consumers[0]
		c.closeSub(ipc.Head{Epoch: c.epoch, Conn: k.conn}, k.sub)
		c.leave(k)
	}
	for len(q.pullers) > 0 {
		c.leave(q.pullers[0])
	}
	c.refusePulls(q)
}
