package core

import "slices"

// spans gives offsets a value: those that are leased, or dead. Few offsets have one at a time,
// and those that have come in runs; so runs are kept, in a sorted list.
//
// Invariant: sorted by first, disjoint; touching runs differ in value; n counts the offsets.
type spans[V comparable] struct {
	list []spanOf[V]
	n    uint64
}

// spanOf says that each offset of [first, next) has the value v.
type spanOf[V comparable] struct {
	first, next uint64
	v           V
}

// count is how many offsets have a value.
func (s *spans[V]) count() uint64 { return s.n }

// find returns the first run that ends above x.
func (s *spans[V]) find(x uint64) int {
	i, _ := slices.BinarySearchFunc(s.list, x, func(run spanOf[V], x uint64) int {
		if run.next <= x {
			return -1
		}
		return 1
	})
	return i
}

// at returns the run that holds x.
func (s *spans[V]) at(x uint64) (run spanOf[V], ok bool) {
	i := s.find(x)
	if i == len(s.list) || s.list[i].first > x {
		return run, false
	}
	return s.list[i], true
}

// within yields the parts of [first, next) that have a value.
func (s *spans[V]) within(first, next uint64, yield func(first, next uint64)) {
	for i := s.find(first); i < len(s.list) && s.list[i].first < next; i++ {
		yield(max(first, s.list[i].first), min(next, s.list[i].next))
	}
}

// gaps yields the parts of [first, next) that have no value; yield may give them one.
func (s *spans[V]) gaps(first, next uint64, yield func(first, next uint64)) {
	for at := first; at < next; {
		i, end := s.find(at), next
		if i < len(s.list) {
			if s.list[i].first <= at {
				at = s.list[i].next
				continue
			}
			end = min(next, s.list[i].first)
		}
		yield(at, end)
		at = end
	}
}

// set gives each offset of [first, next) the value v.
func (s *spans[V]) set(first, next uint64, v V) { s.rewrite(first, next, &v) }

// drop takes the values of [first, next) away.
func (s *spans[V]) drop(first, next uint64) {
	if len(s.list) > 0 && s.list[0].first < next && s.list[len(s.list)-1].next > first {
		s.rewrite(first, next, nil)
	}
}

// rewrite replaces [first, next), together with the runs that touch it, so that equal values
// always have one form.
func (s *spans[V]) rewrite(first, next uint64, v *V) {
	if first >= next {
		return
	}
	lo := s.find(first)
	if lo > 0 && s.list[lo-1].next == first {
		lo--
	}
	hi := lo
	for hi < len(s.list) && s.list[hi].first <= next {
		hi++
	}
	var part []spanOf[V]
	put := func(run spanOf[V]) {
		if run.first >= run.next {
			return
		}
		if k := len(part) - 1; k >= 0 && part[k].next == run.first && part[k].v == run.v {
			part[k].next = run.next
			return
		}
		part = append(part, run)
	}
	for _, run := range s.list[lo:hi] {
		s.n -= run.next - run.first
		put(spanOf[V]{run.first, min(run.next, first), run.v})
	}
	if v != nil {
		put(spanOf[V]{first, next, *v})
	}
	for _, run := range s.list[lo:hi] {
		put(spanOf[V]{max(run.first, next), run.next, run.v})
	}
	for _, run := range part {
		s.n += run.next - run.first
	}
	s.list = slices.Replace(s.list, lo, hi, part...)
}

// leaseInfo is the value of a leased offset.
type leaseInfo struct {
	lease uint64 // its number within the queue, see serial
	until int64  // Unix ms
	// The Pull that it answers, so that the same lease is told again to who asks again; none after a
	// boot.
	asker asker
}

// leases are the offsets of a cursor that were pulled and are invisible until a time.
type leases = spans[leaseInfo]

// graves are the offsets of a cursor that are dead and wait to be dead-lettered, with the reason.
type graves = spans[grave]
