package trimq

import (
	"fmt"

	"github.com/trimq/trimq/protocol/ipc"
)

// hand is what a queue consumer knows of one index of its queue. Guarded by QueueConsumer.mu.
//
// A message that was delivered is held until a verdict is passed; it is recalled when the broker
// has taken it back because the verdict took too long. Verdicts gather as ranges until they are
// sent. Those on messages that came over an earlier connection are stale: the messages went back
// to the queue with it, and what is settled here must not be delivered again.
type hand struct {
	index    uint64
	held     rangeSet
	bound    rangeSet    // settled by a transaction that has not ended
	verdicts [4]rangeSet // by ipc.Verdict: not sent
	stale    [4]rangeSet // the same, on messages that came over an earlier connection
	recalled rangeSet    // and not delivered again since
	behind   rangeSet    // received over an earlier connection, without a verdict, and not received again since
	queued   bool        // in QueueConsumer.unsent
}

// maxRecalled bounds the ranges of recalled messages that are remembered, and of those that are behind;
// the lowest are forgotten first. A verdict on a forgotten one counts as stale.
const maxRecalled = 1 << 14

// settle notes a verdict on [first, next). It tells how many of them were held, and how many had
// been recalled: the verdict on those comes too late.
func (h *hand) settle(v ipc.Verdict, first, next uint64) (settled, late uint64) {
	h.behind.split(first, next, func(a, b uint64, behind bool) {
		if behind && v == ipc.VerdictRequeue {
			return // that has come to pass by itself: what has come anew is not meant
		}
		s, l := h.settlePart(v, a, b)
		settled, late = settled+s, late+l
	})
	h.behind.remove(first, next)
	return settled, late
}

func (h *hand) settlePart(v ipc.Verdict, first, next uint64) (settled, late uint64) {
	h.held.split(first, next, func(a, b uint64, held bool) {
		if held {
			settled += b - a
			h.verdicts[v].add(a, b)
			return
		}
		h.recalled.split(a, b, func(a, b uint64, recalled bool) {
			switch {
			case recalled:
				late += b - a
			case v != ipc.VerdictRequeue: // that has come to pass by itself
				h.stale[v].add(a, b)
			}
		})
	})
	h.held.remove(first, next)
	return settled, late
}

// recall takes [first, next) back. It tells how many of them were held, and on how many a verdict
// waited to be sent.
func (h *hand) recall(first, next uint64) (held, late uint64) {
	held = h.held.remove(first, next)
	for v := range h.verdicts {
		late += h.verdicts[v].remove(first, next)
	}
	h.recalled.add(first, next)
	h.recalled.keepLast(maxRecalled)
	return held, late
}

// deliver notes messages that have come; it tells how many were not held before.
func (h *hand) deliver(first, next uint64) (added uint64) {
	h.recalled.remove(first, next)
	return h.held.add(first, next)
}

// received notes that messages are given to the application: verdicts are on these from now on.
func (h *hand) received(first, next uint64) {
	if !h.behind.empty() {
		h.behind.remove(first, next)
	}
}

// forget makes unsent verdicts stale. What was put back has gone back by itself. REQUIRES: all that is
// held was received.
func (h *hand) forget() {
	for _, set := range [...]*rangeSet{&h.held, &h.bound} {
		for _, s := range set.list {
			h.behind.add(s.first, s.next)
		}
	}
	h.behind.keepLast(maxRecalled)
	for _, v := range [...]ipc.Verdict{ipc.VerdictAck, ipc.VerdictReject} {
		for _, s := range h.verdicts[v].list {
			h.stale[v].add(s.first, s.next)
		}
		h.verdicts[v].clear()
	}
	h.verdicts[ipc.VerdictRequeue].clear()
	h.held.clear()
	h.bound.clear()
}

// idle tells whether nothing waits to be sent.
func (h *hand) idle() bool {
	for v := range h.verdicts {
		if !h.verdicts[v].empty() || !h.stale[v].empty() {
			return false
		}
	}
	return true
}

// ackRequest is an ACK on the wire.
type ackRequest struct {
	h       *hand
	verdict ipc.Verdict
	stale   bool
	ranges  []ipc.Range
	late    rangeSet // what of it has been recalled meanwhile
}

// recall notes what of a request comes too late.
func (a *ackRequest) recall(first, next uint64) {
	for _, r := range a.ranges {
		a.late.add(max(first, r.First), min(next, r.First+uint64(r.Count)))
	}
}

// putBack makes the verdict unsent again, but for what comes too late.
func (a *ackRequest) putBack() {
	to := &a.h.verdicts[a.verdict]
	if a.stale {
		to = &a.h.stale[a.verdict]
	}
	for _, r := range a.ranges {
		a.late.split(r.First, r.First+uint64(r.Count), func(first, next uint64, late bool) {
			if !late {
				to.add(first, next)
			}
		})
	}
}

// recalledError says that a verdict comes too late.
func recalledError(queue string, index, n uint64) error {
	return fmt.Errorf("queue %s, index %d: %d messages: %w", queue, index, n, ErrRecalled)
}
