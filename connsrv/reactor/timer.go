package reactor

// timer is one entry of a loop's heap: look at that connection at that time. Entries are
// never taken out early: one that its connection no longer waits for is dropped when it fires.
type timer struct {
	atMS int64
	id   uint64
}

// timers is a binary min-heap.
type timers []timer

// roundMS makes deadlines coarse, so that many connections are looked at in one wake-up.
const roundMS = 8

// roundUp is the time at which an entry for atMS fires.
func roundUp(atMS int64) int64 { return (atMS + roundMS - 1) / roundMS * roundMS }

func (h *timers) push(atMS int64, id uint64) {
	atMS = roundUp(atMS)
	s := append(*h, timer{atMS, id})
	i := len(s) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if s[parent].atMS <= s[i].atMS {
			break
		}
		s[parent], s[i] = s[i], s[parent]
		i = parent
	}
	*h = s
}

// next is the earliest time, or -1.
func (h timers) next() int64 {
	if len(h) == 0 {
		return -1
	}
	return h[0].atMS
}

func (h *timers) pop() timer {
	s := *h
	top := s[0]
	last := len(s) - 1
	s[0] = s[last]
	s = s[:last]
	for i := 0; ; {
		child := 2*i + 1
		if child >= last {
			break
		}
		if child+1 < last && s[child+1].atMS < s[child].atMS {
			child++
		}
		if s[i].atMS <= s[child].atMS {
			break
		}
		s[i], s[child] = s[child], s[i]
		i = child
	}
	if cap(s) > 1024 && len(s) < cap(s)/4 {
		s = append(make(timers, 0, cap(s)/2), s...)
	}
	*h = s
	return top
}
