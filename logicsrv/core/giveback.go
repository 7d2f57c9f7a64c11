package core

import (
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// How messages come back. Each counts one more attempt, and is ready again at its place; unless
// it has come back too often, or has expired meanwhile: then it is dead.

// giver collects what of one index comes back at one time, for one reason.
type giver struct {
	c      *Core
	cur    *cursor
	pos    uint64 // of the input that asked for it; NoInput
	reason ipc.Reason
	level  ipc.Level
	left   int         // ranges that there is room for
	back   []ipc.Range // to be ready again
	worn   []ipc.Range // came back too often
	late   []ipc.Range // have expired
}

// giving begins to give back what the turn itself has found, within its room.
func (c *Core) giving(cur *cursor, reason ipc.Reason) *giver {
	return c.givingFor(cur, journal.NoInput, reason, ipc.LevelPage, int(c.roomNow()))
}

// givingFor begins to give back what an input asks for, at most so many ranges.
func (c *Core) givingFor(cur *cursor, pos uint64, reason ipc.Reason, level ipc.Level, left int) *giver {
	g := &c.giver
	*g = giver{c: c, cur: cur, pos: pos, reason: reason, level: level, left: left, back: g.back[:0], worn: g.worn[:0], late: g.late[:0]}
	return g
}

// give gives [first, next) back, which nobody holds any more, as far as there is room. It
// returns how far it came.
func (g *giver) give(first, next uint64) uint64 {
	k := g.cur
	at := first
	for at < next && g.left > 0 {
		from := k.acked.nextClear(max(at, k.floor))
		if from >= next {
			k.free(at, next)
			return next
		}
		end := min(next, from+maxCount, k.acked.nextSet(from))
		if grave, dead := k.dead.at(from); dead {
			at = min(end, grave.next) // it does not come back any more
			k.free(from, at)
			continue
		}
		k.dead.within(from, end, func(first, _ uint64) { end = min(end, first) })
		list := &g.back
		if due, until := k.expiry.at(from); until < end || due != 0 {
			end = min(end, until)
			if due != 0 && due <= g.c.turn.timeMS {
				list = &g.late
			}
		}
		if n := k.queue.set.DeliveryLimit; n.N > 0 && g.reason != ipc.ReasonUnsent && g.reason != ipc.ReasonLost && !failpoint.Broken("delivery-limit-ignored") {
			attempts, until := k.attempts.at(from)
			end = min(end, until)
			if uint64(attempts)+1 > n.N {
				list = &g.worn
			}
		}
		*list = append(*list, ipc.Range{First: from, Count: uint32(end - from)})
		g.left--
		g.c.stats.Returned += end - from
		k.free(at, end)
		at = end
	}
	return at
}

// done decides what has been collected: the event Returned, which may be empty where an input is
// to be answered from it, and the deaths.
func (g *giver) done() {
	c, t := g.c, g.c.turn
	if g.pos == journal.NoInput {
		c.room = room(g.left)
	}
	if len(g.back) > 0 || g.pos != journal.NoInput {
		t.raise(g.level)
		ev := journal.Returned{Pos: g.pos, Queue: g.cur.queue.id, Index: g.cur.ix.id, Reason: g.reason, Ranges: g.back}
		t.events = ev.Append(t.events)
		c.applyNew()
		c.overflows(g.cur.queue)
	}
	c.die(g.cur, ipc.ReasonDeliveryLimit, ipc.Head{}, 0, g.worn)
	c.die(g.cur, ipc.ReasonExpired, ipc.Head{}, 0, g.late)
	c.touch(g.cur.queue)
}
