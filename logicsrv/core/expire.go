package core

import (
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/ipc"
)

// What time does to the messages of a cursor: they expire, leases on them end, and what was
// acknowledged need not be kept any longer. One timer stands for the three.
//
// A message expires wherever it stands, but not in somebody's hand: when it comes back late it is
// dead (giveback.go). Nor does it expire before it has been visible for the length of a delivery:
// with a time to live of 0 it is for a consumer that can take it at once. So what has become
// visible in this turn is looked at behind the deliveries, everything else before them.

// maxDelayMS bounds times that clients give, in ms: ten years. What is farther away is never.
const maxDelayMS = 10 * 366 * 24 * 60 * 60 * 1000

func (k *cursor) clock() *timer { return &k.timer }

func (k *cursor) due(c *Core) {
	if k.gone() {
		return
	}
	c.endLeases(k)
	c.expireBefore(k)
	c.forgetOld(k)
	c.armExpiry(k)
}

// armExpiry sets the cursor's timer for whatever comes first.
func (c *Core) armExpiry(k *cursor) {
	if due, ok := k.expiry.next(); ok {
		c.arm(k, due)
	}
	if len(k.ends) > 0 {
		c.arm(k, k.ends[0].due)
	}
	if keep := k.queue.set.RewindMS; keep.Given && k.trimmed < k.floor {
		for _, a := range k.ages {
			if at := a.timeMS + int64(min(keep.N, maxDelayMS)); at > c.turn.timeMS {
				c.arm(k, at)
				break
			}
		}
	}
}

// shownBefore is up to where the index was visible when the turn began.
func (ix *index) shownBefore(c *Core) uint64 {
	if ix.shownTurn == c.turnNumber {
		return ix.wasVisible
	}
	return ix.visible
}

// expireBefore lets die what has expired and was visible when the turn began. What has become visible
// since is looked at behind the deliveries.
func (c *Core) expireBefore(k *cursor) {
	c.expireIn(k, k.ix.shownBefore(c))
	if len(k.hidden) > 0 {
		c.late = append(c.late, k)
	}
}

// expireIn lets die what has expired, is ready, and lies below an offset.
func (c *Core) expireIn(k *cursor, below uint64) {
	now := c.turn.timeMS
	if failpoint.Broken("expiry-early") {
		now += 1000
	}
	var later []dueRun
	for !failpoint.Broken("expiry-forgotten") {
		due, ok := k.expiry.next()
		if !ok || due > now {
			break
		}
		if !c.hasRoom() {
			break // goes on with the next turn, for which the timer is set
		}
		run, ok := k.expiry.popDue()
		if !ok {
			continue
		}
		if !c.expireRun(k, run.first, min(run.next, below)) {
			later = append(later, run)
		} else if run.next > below {
			k.hidden = append(k.hidden, run)
		}
	}
	for _, run := range later {
		k.expiry.again(run)
	}
	if !c.hasRoom() {
		c.arm(k, now)
	}
	c.touch(k.queue)
}

// expireFirst lets die what has expired by now, for somebody who is to be given messages before
// the turn ends.
func (c *Core) expireFirst(q *queue) {
	if !c.resynced {
		return // what is in hands is not known yet
	}
	for _, k := range q.cursors {
		if due, ok := k.expiry.next(); ok && due <= c.turn.timeMS {
			c.room = c.roomLeft()
			c.expireBefore(k)
			c.armExpiry(k)
		}
	}
}

// overdue tells whether something in a queue has expired for which the turn had no room: then
// nothing of it is handed out, for that could be among it.
func (c *Core) overdue(q *queue) bool {
	for _, k := range q.cursors {
		if due, ok := k.expiry.next(); ok && due <= c.turn.timeMS {
			return true
		}
	}
	return false
}

// expireRun lets die what is ready in [first, next); false: the turn has no room for all.
func (c *Core) expireRun(k *cursor, first, next uint64) (all bool) {
	ranges := c.ranges[:0]
	all = true
	k.readyIn(first, next, func(first, next uint64) bool {
		for ; first < next; first = min(next, first+maxCount) {
			if all = c.takeRoom(1); !all {
				return false
			}
			ranges = append(ranges, ipc.Range{First: first, Count: uint32(min(next, first+maxCount) - first)})
		}
		return true
	})
	c.ranges = ranges
	c.die(k, ipc.ReasonExpired, ipc.Head{}, 0, ranges)
	return all
}

// expireLate looks once more at cursors of which something that had expired was not visible,
// now that it has been offered to consumers.
func (c *Core) expireLate() {
	for _, k := range c.late {
		if !k.gone() && len(k.hidden) > 0 {
			hidden := k.hidden
			k.hidden = nil
			for _, run := range hidden {
				k.expiry.again(run)
			}
			c.expireIn(k, k.ix.visible)
			c.armExpiry(k)
		}
	}
	clear(c.late)
	c.late = c.late[:0]
}

// leaseEnds notes until when offsets are leased. It is part of apply.
func (c *Core) leaseEnds(k *cursor, first, next uint64, untilMS int64) {
	k.ends.push(dueRun{first, next, untilMS})
	c.arm(k, untilMS)
}

// endLeases gives back what has been leased for long enough.
func (c *Core) endLeases(k *cursor) {
	now := c.turn.timeMS
	if failpoint.Broken("lease-ends-early") {
		now += 1000
	}
	if len(k.ends) == 0 || k.ends[0].due > now {
		return
	}
	g := c.giving(k, ipc.ReasonLeaseOver)
	var given offsetSet // in this turn: a lease that was moved, or another before it, has two ends
	for len(k.ends) > 0 && k.ends[0].due <= now {
		run := k.ends[0]
		for i := k.leases.find(run.first); i < len(k.leases.list) && k.leases.list[i].first < run.next; i++ {
			l := k.leases.list[i]
			if l.v.until > now {
				continue // its lease was moved
			}
			for at, next := given.nextClear(max(run.first, l.first)), min(run.next, l.next); at < next && g.left > 0; at = given.nextClear(at) {
				to := g.give(at, min(next, given.nextSet(at)))
				given.add(at, to)
			}
		}
		if g.left <= 0 {
			break // goes on with the next turn
		}
		k.ends.pop()
	}
	g.done()
}

// forgetOld lets persistsrv forget what is acknowledged and was kept for long enough.
func (c *Core) forgetOld(k *cursor) {
	if k.queue.set.RewindMS.Given && k.keptFrom(c.turn.timeMS) > k.trimmed {
		c.floorMoved(k)
	}
}
