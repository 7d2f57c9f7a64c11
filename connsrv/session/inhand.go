package session

import (
	"sort"

	"github.com/trimq/trimq/protocol/ipc"
)

// InHand is the set of offsets of one index that a consumer holds: delivered, and no verdict on them put
// into the ring yet. Ranges are half-open, sorted, and do not touch one another.
type InHand struct {
	spans []span
	count uint64
}

type span struct{ first, end uint64 }

// Count is how many offsets are in hand.
func (h *InHand) Count() uint64 { return h.count }

// Gaps is how many separate ranges the set consists of.
func (h *InHand) Gaps() int { return len(h.spans) }

// at is the index of the first range that ends above offset.
func (h *InHand) at(offset uint64) int {
	if n := len(h.spans); n > 0 && h.spans[n-1].end <= offset {
		return n // the common case: deliveries rise
	}
	return sort.Search(len(h.spans), func(i int) bool { return h.spans[i].end > offset })
}

// Add puts [first, first+count) into the set; false: some of it is there already, and
// nothing was changed.
func (h *InHand) Add(first uint64, count uint32) bool {
	end := first + uint64(count)
	if count == 0 || end < first {
		return false
	}
	i := h.at(first)
	if i < len(h.spans) && h.spans[i].first < end {
		return false
	}
	h.count += uint64(count)
	before := i > 0 && h.spans[i-1].end == first
	after := i < len(h.spans) && h.spans[i].first == end
	switch {
	case before && after:
		h.spans[i-1].end = h.spans[i].end
		h.spans = append(h.spans[:i], h.spans[i+1:]...)
	case before:
		h.spans[i-1].end = end
	case after:
		h.spans[i].first = first
	default:
		h.spans = append(h.spans, span{})
		copy(h.spans[i+1:], h.spans[i:])
		h.spans[i] = span{first, end}
	}
	return true
}

// Holds tells whether all of the range is in hand.
func (h *InHand) Holds(r ipc.Range) bool {
	end := r.First + uint64(r.Count)
	i := h.at(r.First)
	return end > r.First && i < len(h.spans) && h.spans[i].first <= r.First && end <= h.spans[i].end
}

// Remove takes the range out; false: not all of it is in hand, and nothing was changed.
func (h *InHand) Remove(r ipc.Range) bool {
	if !h.Holds(r) {
		return false
	}
	i, end := h.at(r.First), r.First+uint64(r.Count)
	s := h.spans[i]
	h.count -= uint64(r.Count)
	switch {
	case s.first == r.First && s.end == end:
		h.spans = append(h.spans[:i], h.spans[i+1:]...)
	case s.first == r.First:
		h.spans[i].first = end
	case s.end == end:
		h.spans[i].end = r.First
	default:
		h.spans[i].end = r.First
		h.spans = append(h.spans, span{})
		copy(h.spans[i+2:], h.spans[i+1:])
		h.spans[i+1] = span{end, s.end}
	}
	if len(h.spans) == 0 && cap(h.spans) > 64 {
		h.spans = nil
	}
	return true
}

// within appends the parts of r that are in hand to dst.
func (h *InHand) within(dst []ipc.Range, r ipc.Range) []ipc.Range {
	end := r.First + uint64(r.Count)
	for i := h.at(r.First); i < len(h.spans) && h.spans[i].first < end; i++ {
		first := max(h.spans[i].first, r.First)
		dst = append(dst, ipc.Range{First: first, Count: uint32(min(h.spans[i].end, end) - first)})
	}
	return dst
}

// Each yields the set in order.
func (h *InHand) Each(yield func(ipc.Range) bool) {
	const most = 1<<32 - 1
	for _, s := range h.spans {
		for ; s.end-s.first > most; s.first += most {
			if !yield(ipc.Range{First: s.first, Count: most}) {
				return
			}
		}
		if !yield(ipc.Range{First: s.first, Count: uint32(s.end - s.first)}) {
			return
		}
	}
}
