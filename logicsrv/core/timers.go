package core

import pile "container/heap"

// What falls due by the clock. Timers are derived and soft state alike: none is in a checkpoint,
// none outlives the term, and what a timer does to hard state it does by an event that bears no
// input, so that a replay, which sees other clocks, does the same.
//
// A timer is part of what it is for, armed and disarmed as often as is wanted. Those that are
// moved with every sign of life (a member's session) are left where they stand: when one falls due
// and there was a sign meanwhile, it is armed again for the rest.
//
// They are looked at in EndTurn, behind all inputs of the turn; NextTimer tells the shell when
// to come again without any.

// timer is one moment at which something falls due. Its zero value is not armed.
type timer struct {
	due  int64  // Unix ms
	seq  uint64 // counts the arming; of equal moments the one armed first comes first
	at   int    // place in the heap, from 1; 0: not armed
	what deadline
}

// deadline is what a timer is for.
type deadline interface {
	// passed is called once the moment has come, within EndTurn; dueMS is when it was.
	passed(c *Core, dueMS int64)
}

// timers is all that are armed, the next one first.
type timers struct {
	heap timerHeap
	seq  uint64
}

// arm lets t fall due at dueMS, whether or not it was armed before.
func (s *timers) arm(t *timer, dueMS int64, what deadline) {
	s.seq++
	t.due, t.seq, t.what = dueMS, s.seq, what
	if t.at > 0 {
		pile.Fix(&s.heap, t.at-1)
		return
	}
	pile.Push(&s.heap, t)
}

// disarm takes t back, if it is armed.
func (s *timers) disarm(t *timer) {
	if t.at > 0 {
		pile.Remove(&s.heap, t.at-1)
		t.what = nil
	}
}

// next is the moment of the timer that falls due first; false: none is armed.
func (s *timers) next() (ms int64, ok bool) {
	if len(s.heap) == 0 {
		return 0, false
	}
	return s.heap[0].due, true
}

// pop takes the first timer out if its moment has come.
func (s *timers) pop(nowMS int64) (what deadline, dueMS int64, ok bool) {
	if ms, armed := s.next(); !armed || ms > nowMS {
		return nil, 0, false
	}
	t := pile.Pop(&s.heap).(*timer)
	what, t.what = t.what, nil
	return what, t.due, true
}

// NextTimer is when the core wants a turn even without an input, in Unix ms: at once where that
// has passed. false: nothing falls due.
func (c *Core) NextTimer() (ms int64, ok bool) { return c.timers.next() }

// fireTimers does what has fallen due, in order of the moments, as far as the entry has room;
// the rest stays due, and NextTimer asks for another turn.
func (c *Core) fireTimers() {
	t := c.turn
	for t.entrySize() < c.cfg.MaxEntryBytes/4 && len(t.recs) < maxTurnOutputBytes {
		what, dueMS, ok := c.timers.pop(t.timeMS)
		if !ok {
			return
		}
		what.passed(c, dueMS)
	}
}

// timerHeap is container/heap's view of the timers.
type timerHeap []*timer

func (h timerHeap) Len() int { return len(h) }

func (h timerHeap) Less(i, k int) bool {
	if h[i].due != h[k].due {
		return h[i].due < h[k].due
	}
	return h[i].seq < h[k].seq
}

func (h timerHeap) Swap(i, k int) {
	h[i], h[k] = h[k], h[i]
	h[i].at, h[k].at = i+1, k+1
}

// Push appends; the place is right once the heap has moved it up.
func (h *timerHeap) Push(x any) {
	t := x.(*timer)
	*h = append(*h, t)
	t.at = len(*h)
}

// Pop takes the last one out, which the heap has put there.
func (h *timerHeap) Pop() any {
	n := len(*h) - 1
	t := (*h)[n]
	(*h)[n] = nil
	*h = (*h)[:n]
	t.at = 0
	return t
}
