package core

import (
	"fmt"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// decideAck passes a verdict on offsets of a queue. The record says all that is needed:
// whether the consumer is known yet, as it is not before the end of a resync, makes no
// difference to what is acknowledged.
func (c *Core) decideAck() {
	m := &c.ack
	if err := m.Decode(c.in.Payload); err != nil {
		c.malformed()
		return
	}
	ix, ok := c.indexes.get(m.Index)
	if !ok || ix.queue == nil {
		c.reject(m.Head, errcode.UnknownIndex, fmt.Sprintf("index %d is no queue", m.Index))
		return
	}
	if code, text := checkRanges(ix, m.Ranges); code != errcode.OK {
		c.reject(m.Head, code, text)
		return
	}
	if m.Verdict == ipc.VerdictRequeue {
		c.requeue(ix, m)
	} else {
		c.acknowledge(ix, m)
	}
	c.touch(ix)
}

// checkRanges refuses offsets that no consumer can have.
func checkRanges(ix *index, ranges []ipc.Range) (errcode.Code, string) {
	if len(ranges) == 0 || len(ranges) > maxRanges {
		return errcode.InvalidArgument, fmt.Sprintf("%d ranges; 1 to %d are allowed", len(ranges), maxRanges)
	}
	for _, r := range ranges {
		next := r.First + uint64(r.Count) // may wrap: then First is not below the end either
		if r.Count == 0 || r.First >= ix.next || next > ix.next {
			return errcode.OffsetOutOfRange, fmt.Sprintf("offsets [%d,%d) of a queue that ends at %d", r.First, next, ix.next)
		}
		if next > ix.queue.floor && next-ix.queue.floor > maxSpan/2 {
			return errcode.LimitExceeded, fmt.Sprintf("offset %d lies more than %d above the oldest message", r.First, uint64(maxSpan/2))
		}
	}
	return errcode.OK, ""
}

// acknowledge decides that the messages are done with.
func (c *Core) acknowledge(ix *index, m *ipc.Ack) {
	t, q := c.turn, ix.queue
	holder := c.holder(m.Head, m.Sub, ix)
	ev := &c.acked
	*ev = journal.Acked{Pos: c.in.Pos, Index: ix.id, Verdict: m.Verdict, Ranges: ev.Ranges[:0]}
	for _, r := range m.Ranges {
		first, next := max(r.First, q.floor), r.First+uint64(r.Count)
		// Out of all hands: what is done with is not delivered again, even where it was
		// somebody else who held it. That consumer's own set learns of it when it ends.
		q.inHand.remove(r.First, next)
		if holder != nil {
			holder.held.remove(r.First, next)
		}
		if first < next { // below the floor all is acknowledged
			ev.Ranges = append(ev.Ranges, ipc.Range{First: first, Count: uint32(next - first)})
			c.stats.Acked += next - first
		}
	}
	level := c.ackLevel(m, ix)
	t.raise(level)
	t.events = ev.Append(t.events)
	c.answerAck(m, level)
}

// requeue decides that the messages go back to their places: those that this consumer
// holds, so that nothing comes back while it is in another's hand.
func (c *Core) requeue(ix *index, m *ipc.Ack) {
	t := c.turn
	holder := c.holder(m.Head, m.Sub, ix)
	// The event may end up without a range. It is there all the same: the input could have
	// changed the state, and is answered from it after a restart.
	ev := &c.returned
	*ev = journal.Returned{Pos: c.in.Pos, Index: ix.id, Ranges: ev.Ranges[:0]}
	for _, r := range m.Ranges {
		switch next := r.First + uint64(r.Count); {
		case holder != nil:
			c.giveBackHeld(holder, r.First, next, ev)
		case !c.resynced:
			// A verdict that overtakes the resync. In this term nothing was in hand yet.
			c.giveBack(ix, r.First, next, ev)
		}
	}
	level := c.ackLevel(m, ix)
	t.raise(level)
	t.events = ev.Append(t.events)
	c.answerAck(m, level)
}

// giveBackHeld gives back what of [first, next) the consumer holds. An event takes so many
// ranges; what is left when it is full goes back with the next turns.
func (c *Core) giveBackHeld(k *consumer, first, next uint64, ev *journal.Returned) {
	for at := k.held.nextSet(first); at < next; at = k.held.nextSet(at) {
		end := min(k.held.nextClear(at), next)
		k.held.remove(at, end)
		if len(ev.Ranges) < maxRanges {
			c.giveBack(k.ix, at, end, ev)
		} else {
			c.giveBackLater(k.ix, at, end)
		}
	}
}

// giveBack makes [first, next) ready again, less what is acknowledged.
func (c *Core) giveBack(ix *index, first, next uint64, ev *journal.Returned) {
	ix.queue.release(first, next)
	ev.Ranges = append(ev.Ranges, ipc.Range{First: first, Count: uint32(next - first)})
	c.stats.Returned += next - first
}

// ackLevel: an acknowledgement that nobody waits for need not be synced, for what is lost
// of it in a power cut is delivered again.
func (c *Core) ackLevel(m *ipc.Ack, ix *index) ipc.Level {
	if m.Req == 0 {
		return ipc.LevelPage
	}
	return max(ipc.LevelPage, ix.level)
}

// answerAck answers where an answer was asked for; most consumers ask for none.
func (c *Core) answerAck(m *ipc.Ack, level ipc.Level) {
	if m.Req != 0 {
		reply := ipc.Done{Head: m.Head}
		c.turn.sent(c.ownGate(level), ipc.TypeAcked, reply.Append(c.turn.recs))
	}
}
