package core

import (
	"fmt"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// decideAck passes a verdict on offsets of a queue. The record says all that is needed:
// whether the consumer is known yet, as it is not before the end of a resync, makes no
// difference to what is acknowledged. A verdict on leased messages holds only with their lease.
func (c *Core) decideAck() {
	m := &c.ack
	if err := m.Decode(c.in.Payload); err != nil {
		c.malformed()
		return
	}
	var k *cursor
	code, text := checkCount(m.Ranges)
	if code == errcode.OK && m.Lease != 0 {
		k, code, text = c.leased(m.Queue, m.Index, m.Lease, m.Ranges)
	} else if code == errcode.OK {
		k, code, text = c.cursorFor(m.Queue, m.Index, m.Ranges)
	}
	if code != errcode.OK {
		c.reject(m.Head, code, text)
		return
	}
	if holder := c.holder(m.Head, m.Sub, k.queue); holder != nil {
		holder.heard(m.Recalls)
	}
	switch m.Verdict {
	case ipc.VerdictRequeue, ipc.VerdictUnsent:
		c.requeue(k, m)
	case ipc.VerdictReject:
		c.rejectMessages(k, m)
	default:
		c.acknowledge(k, m)
	}
	c.touch(k.queue)
}

// checkCount bounds the ranges of a verdict.
func checkCount(ranges []ipc.Range) (errcode.Code, string) {
	if len(ranges) == 0 || len(ranges) > maxRanges {
		return errcode.InvalidArgument, fmt.Sprintf("%d ranges; 1 to %d are allowed", len(ranges), maxRanges)
	}
	return errcode.OK, ""
}

// cursorFor finds the cursor that a request names, and refuses offsets that nobody can have.
func (c *Core) cursorFor(queue, index uint64, ranges []ipc.Range) (*cursor, errcode.Code, string) {
	q := c.queueByID[queue]
	if q == nil {
		return nil, errcode.UnknownIndex, fmt.Sprintf("there is no queue with the id %d", queue)
	}
	k := q.cursor(index)
	if k == nil {
		return nil, errcode.UnknownIndex, fmt.Sprintf("queue %s has no index %d", quoted(q.name), index)
	}
	for _, r := range ranges {
		next := r.First + uint64(r.Count)
		switch {
		case !k.beyond(r):
		case r.Count == 0 || r.First >= k.ix.next || next > k.ix.next:
			return nil, errcode.OffsetOutOfRange, fmt.Sprintf("offsets [%d,%d) of a queue that ends at %d", r.First, next, k.ix.next)
		default:
			return nil, errcode.LimitExceeded, fmt.Sprintf("offset %d lies more than %d above the oldest message", r.First, uint64(maxSpan/2))
		}
	}
	return k, errcode.OK, ""
}

// takeOver takes the ranges of a verdict out of all hands, and returns the parts of them that
// are above the floor. What is leased is only for who has the lease.
func (c *Core) takeOver(k *cursor, m *ipc.Ack) []ipc.Range {
	holder := c.holder(m.Head, m.Sub, k.queue)
	ranges := c.ranges[:0]
	for _, r := range m.Ranges {
		first, next := max(r.First, k.floor), r.First+uint64(r.Count)
		// Out of all hands: what is done with is not delivered again, even where it was
		// somebody else who held it. That consumer's own set learns of it when it ends.
		holder.letGo(k, r.First, next)
		if first < next { // below the floor all is done with
			ranges = append(ranges, ipc.Range{First: first, Count: uint32(next - first)})
		}
	}
	c.ranges = ranges
	return ranges
}

// acknowledge decides that the messages are done with.
func (c *Core) acknowledge(k *cursor, m *ipc.Ack) {
	t := c.turn
	ev := journal.Acked{
		Pos: c.in.Pos, Queue: k.queue.id, Index: k.ix.id, Reason: ipc.Reason(m.Verdict), Conn: m.Conn, Sub: m.Sub,
		Ranges: c.takeOver(k, m),
	}
	level := c.ackLevel(m.Head, k.queue)
	if m.Verdict == ipc.VerdictSkip && failpoint.Broken("skip-not-journaled") {
		return
	}
	t.raise(level)
	t.events = ev.Append(t.events)
	c.stats.Acked += countOf(ev.Ranges)
	c.answerAck(m.Head, c.ownGate(level))
}

// rejectMessages decides that the messages are dead.
func (c *Core) rejectMessages(k *cursor, m *ipc.Ack) {
	if !k.queue.set.DeadLetter {
		c.acknowledge(k, m)
		return
	}
	t := c.turn
	ev := journal.Died{
		Pos: c.in.Pos, Queue: k.queue.id, Index: k.ix.id, Reason: ipc.ReasonRejected, Conn: m.Conn, Sub: m.Sub,
		Ranges: c.takeOver(k, m),
	}
	level := c.ackLevel(m.Head, k.queue)
	t.raise(level)
	t.events = ev.Append(t.events)
	c.stats.Died += countOf(ev.Ranges)
	c.answerAck(m.Head, c.ownGate(level))
}

func countOf(ranges []ipc.Range) (n uint64) {
	for _, r := range ranges {
		n += uint64(r.Count)
	}
	return n
}

// requeue decides that the messages go back to their places: those that this consumer
// holds, so that nothing comes back while it is in another's hand.
func (c *Core) requeue(k *cursor, m *ipc.Ack) {
	holder := c.holder(m.Head, m.Sub, k.queue)
	// The event may end up without a range. It is there all the same: the input could have
	// changed the state, and is answered from it after a restart.
	level := c.ackLevel(m.Head, k.queue)
	reason := ipc.ReasonRequeued
	if m.Lease != 0 {
		if reason = ipc.ReasonLeaseOver; m.Verdict == ipc.VerdictUnsent {
			reason = ipc.ReasonUnsent
		}
	}
	g := c.givingFor(k, c.in.Pos, reason, level, maxRanges)
	for _, r := range m.Ranges {
		switch next := r.First + uint64(r.Count); {
		case m.Lease != 0:
			g.give(r.First, next)
		case holder != nil:
			c.giveBackHeld(holder, g, r.First, next)
		case !c.resynced:
			// A verdict that overtakes the resync. In this term nothing was in hand yet; but what is
			// leased or dead, or was told to be in another's hand, stays so.
			k.readyIn(r.First, next, func(first, next uint64) bool { return g.give(first, next) == next })
		}
	}
	g.done()
	c.answerAck(m.Head, c.ownGate(level))
}

// giveBackHeld gives back what of [first, next) the consumer holds. An event takes so many
// ranges; what is left when it is full goes back with the next turns.
func (c *Core) giveBackHeld(k *consumer, g *giver, first, next uint64) {
	held := k.held(g.cur)
	if held == nil {
		return
	}
	crossed := k.crossed(g.cur)
	for at := held.nextSet(first); at < next; at = held.nextSet(at) {
		end := min(held.nextClear(at), next, crossed.nextSet(at))
		if end == at {
			at = crossed.nextClear(at) // it is another delivery that is in hand
			continue
		}
		held.remove(at, end)
		if to := g.give(at, end); to < end {
			c.giveBackLater(g.cur, to, end, g.reason)
		}
	}
}

// ackLevel: an acknowledgement that nobody waits for need not be synced, for what is lost
// of it in a power cut is delivered again.
func (c *Core) ackLevel(h ipc.Head, q *queue) ipc.Level {
	if h.Req == 0 {
		return ipc.LevelPage
	}
	return max(ipc.LevelPage, q.level)
}

// answerAck answers where an answer was asked for; most consumers ask for none.
func (c *Core) answerAck(h ipc.Head, g gate) {
	if h.Req != 0 {
		reply := ipc.Done{Head: h}
		c.turn.sent(g, ipc.TypeAcked, reply.Append(c.turn.recs))
	}
}
