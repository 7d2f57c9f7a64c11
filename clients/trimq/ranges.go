package trimq

import (
	"slices"

	"github.com/trimq/trimq/protocol/ipc"
)

// rangeSet is a set of offsets as sorted, disjoint, non-adjacent ranges [first, next).
type rangeSet struct{ list []span }

type span struct{ first, next uint64 }

// find is the index of the first range that ends at or behind offset.
func (r *rangeSet) find(offset uint64) int {
	if n := len(r.list); n > 0 && r.list[n-1].next < offset {
		return n // the usual case: in order
	}
	i, _ := slices.BinarySearchFunc(r.list, offset, func(s span, at uint64) int {
		if s.next < at {
			return -1
		}
		return 1
	})
	return i
}

// add puts [first, next) in and tells how many of them were not in before.
func (r *rangeSet) add(first, next uint64) (added uint64) {
	if first >= next {
		return 0
	}
	i := r.find(first)
	j, had := i, uint64(0)
	for j < len(r.list) && r.list[j].first <= next {
		first, next = min(first, r.list[j].first), max(next, r.list[j].next)
		had += r.list[j].next - r.list[j].first
		j++
	}
	if j == i {
		r.list = slices.Insert(r.list, i, span{first, next})
	} else {
		r.list[i] = span{first, next}
		r.list = slices.Delete(r.list, i+1, j)
	}
	return next - first - had
}

// remove takes [first, next) out and tells how many of them were in.
func (r *rangeSet) remove(first, next uint64) (removed uint64) {
	for i := r.find(first); i < len(r.list) && r.list[i].first < next; {
		s := r.list[i]
		a, b := max(s.first, first), min(s.next, next)
		if a >= b {
			i++
			continue
		}
		removed += b - a
		switch {
		case a == s.first && b == s.next:
			r.list = slices.Delete(r.list, i, i+1)
		case a == s.first:
			r.list[i].first = b
			i++
		case b == s.next:
			r.list[i].next = a
			i++
		default:
			r.list[i].next = a
			r.list = slices.Insert(r.list, i+1, span{b, s.next})
			return removed
		}
	}
	return removed
}

// split calls f for the parts of [first, next), in order, and tells which are in the set.
func (r *rangeSet) split(first, next uint64, f func(first, next uint64, in bool)) {
	for i := r.find(first); first < next && i < len(r.list) && r.list[i].first < next; i++ {
		s := r.list[i]
		if first < s.first {
			f(first, s.first, false)
			first = s.first
		}
		if end := min(s.next, next); first < end {
			f(first, end, true)
			first = end
		}
	}
	if first < next {
		f(first, next, false)
	}
}

// count is how many offsets are in.
func (r *rangeSet) count() (n uint64) {
	for _, s := range r.list {
		n += s.next - s.first
	}
	return n
}

func (r *rangeSet) empty() bool { return len(r.list) == 0 }
func (r *rangeSet) clear()      { r.list = r.list[:0] }

// keepLast forgets the lowest ranges until at most n are left.
func (r *rangeSet) keepLast(n int) {
	if more := len(r.list) - n; more > 0 {
		r.remove(0, r.list[more-1].next)
	}
}

// take moves at most n ranges out, in the form of an ACK.
func (r *rangeSet) take(n int) []ipc.Range {
	const most = 1<<32 - 1 // a Range counts 32 bits
	var out []ipc.Range
	used := 0
	for used < len(r.list) && len(out) < n {
		s := &r.list[used]
		count := min(s.next-s.first, most)
		out = append(out, ipc.Range{First: s.first, Count: uint32(count)})
		if s.first += count; s.first == s.next {
			used++
		}
	}
	r.list = slices.Delete(r.list, 0, used)
	return out
}
