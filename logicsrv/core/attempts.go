package core

import "slices"

// How often a message came back is told with its next delivery: clients use it to set a poisoned
// message aside. Most messages never come back, and those that do come in runs: what a consumer
// held when its connection closed. So runs are kept, in a sorted list; one that is changed is
// rewritten with its neighbours.

// attemptRun says that each offset of [first, next) has been delivered, and come back,
// attempts times.
type attemptRun struct {
	first, next uint64
	attempts    uint16
}

// attemptRuns counts the attempts of the messages of a queue. Only those that came back at
// least once are in it, and neighbours with equal counts share a run.
//
// Invariant: sorted by first, disjoint, attempts > 0, touching runs differ in attempts.
type attemptRuns []attemptRun

// maxAttempts is where the count stays.
const maxAttempts = ^uint16(0)

// find returns the first run that ends above x.
func (r attemptRuns) find(x uint64) int {
	i, _ := slices.BinarySearchFunc(r, x, func(run attemptRun, x uint64) int {
		if run.next <= x {
			return -1
		}
		return 1
	})
	return i
}

// at returns the attempts of x, and where that number may change.
func (r attemptRuns) at(x uint64) (attempts uint16, until uint64) {
	if len(r) == 0 {
		return 0, noOffset
	}
	i := r.find(x)
	switch {
	case i == len(r):
		return 0, noOffset
	case r[i].first > x:
		return 0, r[i].first
	default:
		return r[i].attempts, r[i].next
	}
}

// raise counts one more attempt for each of [first, next).
func (r attemptRuns) raise(first, next uint64) attemptRuns {
	return r.rewrite(first, next, func(n uint16) uint16 { return min(n, maxAttempts-1) + 1 })
}

// drop forgets [first, next).
func (r attemptRuns) drop(first, next uint64) attemptRuns {
	if len(r) == 0 || r[len(r)-1].next <= first || r[0].first >= next {
		return r
	}
	return r.rewrite(first, next, func(uint16) uint16 { return 0 })
}

// rewrite replaces the count of each offset of [first, next) by f of it. Adjacent runs are
// merged across the edges, so equal counts always have one form, and a digest too.
func (r attemptRuns) rewrite(first, next uint64, f func(uint16) uint16) attemptRuns {
	if first >= next {
		return r
	}
	lo := r.find(first)
	if lo > 0 && r[lo-1].next == first {
		lo--
	}
	hi := lo
	var part attemptRuns
	put := func(first, next uint64, n uint16) {
		if first >= next || n == 0 {
			return
		}
		if k := len(part) - 1; k >= 0 && part[k].next == first && part[k].attempts == n {
			part[k].next = next
			return
		}
		part = append(part, attemptRun{first, next, n})
	}
	at := first
	for ; hi < len(r) && r[hi].first <= next; hi++ {
		run := r[hi]
		put(run.first, min(run.next, first), run.attempts)
		put(at, min(run.first, next), f(0))
		put(max(run.first, first), min(run.next, next), f(run.attempts))
		at = max(at, min(run.next, next))
		if run.next > next {
			put(at, next, f(0))
			at = next
			put(max(run.first, next), run.next, run.attempts)
		}
	}
	put(at, next, f(0))
	return slices.Replace(r, lo, hi, part...)
}
