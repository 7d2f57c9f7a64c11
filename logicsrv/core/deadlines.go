package core

import "slices"

// When messages expire. Most queues have no time to live; in most that have one, all messages
// have the same, and what came within 1/1024 of it shares a deadline, rounded up. Then a run costs 40
// bytes and there are a thousand runs at most. Where each message has a time of its own, so has
// each a run.

// dueRun says that each offset of [first, next) expires at due, in Unix ms.
type dueRun struct {
	first, next uint64
	due         int64
}

// deadlines is when the messages of a cursor expire. A message that is done with may still
// stand in it, until the floor has passed it.
//
// Invariant: runs are sorted by offset and disjoint; touching runs differ in due. The heap is
// derived: it holds each run that has not been looked at since it was due.
type deadlines struct {
	runs   []dueRun
	heap   dueHeap // next is not kept up to date
	looked bool    // the last run is not in the heap any more
}

// dueStep rounds the deadlines of a time to live, in ms, so that a thousand runs do for it.
func dueStep(ttlMS uint64) int64 { return max(1, int64(ttlMS/1024)) }

// add enters a deadline for offsets behind all others.
func (d *deadlines) add(first, next uint64, due int64) {
	if n := len(d.runs); n > 0 && d.runs[n-1].next == first && d.runs[n-1].due == due {
		d.runs[n-1].next = next
		if d.looked { // due in the very millisecond in which it is added to
			d.heap.push(d.runs[n-1])
			d.looked = false
		}
		return
	}
	run := dueRun{first, next, due}
	d.runs = append(d.runs, run)
	d.heap.push(run)
	d.looked = false
}

// find returns the first run that ends above x.
func (d *deadlines) find(x uint64) int {
	i, _ := slices.BinarySearchFunc(d.runs, x, func(run dueRun, x uint64) int {
		if run.next <= x {
			return -1
		}
		return 1
	})
	return i
}

// at returns when x expires (0: never), and up to where that is so.
func (d *deadlines) at(x uint64) (due int64, until uint64) {
	i := d.find(x)
	switch {
	case i == len(d.runs):
		return 0, noOffset
	case d.runs[i].first > x:
		return 0, d.runs[i].first
	}
	return d.runs[i].due, d.runs[i].next
}

// dropBelow forgets what lies below the floor.
func (d *deadlines) dropBelow(floor uint64) {
	i := d.find(floor)
	if i > 0 {
		d.runs = d.runs[i:]
	}
	if len(d.runs) == 0 {
		d.runs, d.heap = nil, nil
		return
	}
	d.runs[0].first = max(d.runs[0].first, floor)
}

// next is the earliest deadline that has not been looked at.
func (d *deadlines) next() (due int64, ok bool) {
	if len(d.heap) == 0 {
		return 0, false
	}
	return d.heap[0].due, true
}

// popDue takes out the run that is due first, as far as it is still there.
func (d *deadlines) popDue() (run dueRun, ok bool) {
	top := d.heap.pop()
	// The floor may have moved into the run, or over it. Then the first one stands for it, which
	// is due as well or another one.
	i := d.find(top.first)
	if i == len(d.runs) || d.runs[i].due != top.due {
		return dueRun{}, false
	}
	d.looked = d.looked || i == len(d.runs)-1
	return d.runs[i], true
}

// again enters a run into the heap that was taken out and could not be dealt with, unless all
// deadlines lie below the floor meanwhile.
func (d *deadlines) again(run dueRun) {
	if len(d.runs) == 0 {
		return
	}
	d.heap.push(run)
	if run.next == d.runs[len(d.runs)-1].next {
		d.looked = false
	}
}

// dueHeap is a heap of ranges by the time at which they are due.
type dueHeap []dueRun

// push enters a range.
func (h *dueHeap) push(run dueRun) {
	*h = append(*h, run)
	s := *h
	for i := len(s) - 1; i > 0; {
		up := (i - 1) / 2
		if s[up].due <= s[i].due {
			return
		}
		s[up], s[i] = s[i], s[up]
		i = up
	}
}

// pop takes out the range that is due first. REQUIRES: there is one.
func (h *dueHeap) pop() dueRun {
	s := *h
	top, last := s[0], len(s)-1
	s[0] = s[last]
	s = s[:last]
	for i := 0; ; {
		least, left := i, 2*i+1
		for k := left; k <= left+1 && k < len(s); k++ {
			if s[k].due < s[least].due {
				least = k
			}
		}
		if least == i {
			break
		}
		s[least], s[i] = s[i], s[least]
		i = least
	}
	if *h = s; last == 0 {
		*h = nil
	}
	return top
}
