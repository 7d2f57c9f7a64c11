package core

import (
	"slices"

	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/ipc"
)

// Acknowledgement time-outs. What a consumer has been handed and has not settled within its time
// comes back, and goes to whoever has credit. The consumer is told (Recall), so that connsrv does
// not count it as in hand any more; its own credit is not given back, so one that hangs gets
// nothing more until it has caught up.
//
// Who holds what since when is soft state, of which connsrv tells the what. So after a restart of
// logicsrv each time begins anew: never early, at most one time-out late.

// A verdict may cross with the Recall. To acknowledge or reject what has come back is still a
// verdict, of who has had it longest. To give it back has happened already: should the message be in
// somebody's hand again by then, it may even be the same consumer's, it must stay there, or two would
// have it. So each verdict says how many Recalls had been heard of.

// lateRun is one delivery and when it is to come back. Those of a consumer stand in order of
// time. What has been settled meanwhile is still listed, for a while.
type lateRun struct {
	cur         *cursor
	first, next uint64
	due         int64 // Unix ms
}

// lateAt lists a delivery. The list is kept as short as what is in hand.
func (k *consumer) lateAt(cur *cursor, first, next uint64, due int64) {
	if failpoint.Broken("ack-timeout-early") {
		due -= 1000
	}
	if n := len(k.late); n >= 64 && n >= 2*k.lateKept {
		k.late = slices.DeleteFunc(k.late, func(l lateRun) bool {
			held := k.held(l.cur)
			return held == nil || held.nextSet(l.first) >= l.next
		})
		k.lateKept = len(k.late)
	}
	k.late = append(k.late, lateRun{cur, first, next, due})
}

func (k *consumer) clock() *timer { return &k.timer }

// due takes back what the consumer has held for too long, and tells it.
func (k *consumer) due(c *Core) {
	now := c.turn.timeMS
	for len(k.late) > 0 && k.late[0].due <= now && c.consumers[k.subID] == k {
		if !c.hasRoom() || !c.recall(k) {
			break // goes on with the next turn
		}
		k.late = k.late[1:]
	}
	if c.consumers[k.subID] != k || len(k.late) == 0 {
		k.late = nil
		return
	}
	c.arm(k, k.late[0].due)
}

// recall takes back what is left of a consumer's first delivery; false: the turn has no room
// for all.
func (c *Core) recall(k *consumer) (all bool) {
	l := &k.late[0]
	held := k.held(l.cur)
	if held == nil || l.cur.gone() {
		return true
	}
	ranges := c.recalled[:0]
	g := c.giving(l.cur, ipc.ReasonTimeout)
	all = true
	for at := held.nextSet(l.first); at < l.next && all; at = held.nextSet(at) {
		end, again := k.handedAgain(at, min(held.nextClear(at), l.next))
		if again {
			at = end
			continue
		}
		to := g.give(at, end)
		held.remove(at, to)
		if to > at {
			ranges = append(ranges, ipc.Range{First: at, Count: uint32(to - at)})
		}
		all = to == end
	}
	g.done()
	c.recalled = ranges
	if len(ranges) > 0 {
		c.tellRecall(k, l.cur, ranges)
	}
	return all
}

// tellRecall tells a consumer what was taken from it.
func (c *Core) tellRecall(k *consumer, cur *cursor, ranges []ipc.Range) {
	k.recalls++
	for _, r := range ranges {
		k.crossed(cur).add(r.First, r.First+uint64(r.Count))
	}
	if failpoint.Broken("recall-not-told") {
		return
	}
	m := ipc.Recall{Head: ipc.Head{Epoch: c.epoch, Conn: k.conn}, Sub: k.sub, Index: cur.ix.id, Ranges: ranges}
	c.turn.sent(atOnce, ipc.TypeRecall, m.Append(c.turn.recs))
	c.stats.Recalled += countOf(ranges)
}

// crossed is what was recalled of an index since connsrv last had heard of all Recalls.
func (k *consumer) crossed(cur *cursor) *offsetSet {
	for i := range k.crossing {
		if k.crossing[i].cursor == cur {
			return &k.crossing[i].held
		}
	}
	k.crossing = append(k.crossing, hand{cursor: cur})
	return &k.crossing[len(k.crossing)-1].held
}

// heard notes how many Recalls connsrv had heard of when it passed a verdict.
func (k *consumer) heard(recalls uint16) {
	if recalls == k.recalls || failpoint.Broken("crossing-ignored") {
		k.crossing = nil
	}
}

// handedAgain tells whether what lies at an offset of the first delivery came back meanwhile
// and was handed to the same consumer once more, and up to where the answer holds.
func (k *consumer) handedAgain(at, next uint64) (end uint64, again bool) {
	cur := k.late[0].cur
	for i := range k.late[1:] {
		l := &k.late[1+i]
		switch {
		case l.cur != cur || l.next <= at || l.first >= next:
		case l.first <= at:
			return min(l.next, next), true
		default:
			next = l.first
		}
	}
	return next, false
}

// mindHand notes that a consumer holds [first, next) from now on.
func (c *Core) mindHand(k *consumer, cur *cursor, first, next uint64) {
	if k.wants.AckTimeoutMS > 0 {
		k.lateAt(cur, first, next, c.turn.timeMS+int64(min(k.wants.AckTimeoutMS, maxDelayMS)))
		c.arm(k, k.late[0].due)
	}
}
