package session

import (
	"slices"

	"github.com/trimq/trimq/protocol/ipc"
)

// Hands is what a consumer of a queue holds, index by index: a queue with priorities has one for
// each of them, and one over a topic has the topic's partitions. The zero Hands are empty.
type Hands struct {
	list  []hand // in order of index
	count uint64
	gaps  int
}

type hand struct {
	index uint64
	InHand
}

// idleHands is how many hands are kept that hold nothing.
const idleHands = 8

// Count is how many messages are in hand.
func (h *Hands) Count() uint64 { return h.count }

// Gaps is how many separate ranges they are.
func (h *Hands) Gaps() int { return h.gaps }

// at is the place of an index in the list, whether it is there or not.
func (h *Hands) at(index uint64) (i int, found bool) {
	if len(h.list) == 1 && h.list[0].index == index {
		return 0, true
	}
	return slices.BinarySearchFunc(h.list, index, func(x hand, index uint64) int {
		switch {
		case x.index < index:
			return -1
		case x.index > index:
			return 1
		}
		return 0
	})
}

// Add puts offsets [first, first+count) of an index into the hand; false: some are there already,
// and nothing was changed.
func (h *Hands) Add(index, first uint64, count uint32) bool {
	i, found := h.at(index)
	if !found {
		h.list = slices.Insert(h.list, i, hand{index: index})
	}
	x := &h.list[i]
	before := x.Gaps()
	if !x.Add(first, count) {
		return false
	}
	h.count += uint64(count)
	h.gaps += x.Gaps() - before
	return true
}

// Holds tells whether all of a range is in hand.
func (h *Hands) Holds(index uint64, r ipc.Range) bool {
	i, found := h.at(index)
	return found && h.list[i].Holds(r)
}

// Remove takes a range out; false: not all of it is in hand, and nothing was changed.
func (h *Hands) Remove(index uint64, r ipc.Range) bool {
	i, found := h.at(index)
	return found && h.remove(i, r)
}

func (h *Hands) remove(i int, r ipc.Range) bool {
	x := &h.list[i]
	before := x.Gaps()
	if !x.Remove(r) {
		return false
	}
	h.count -= uint64(r.Count)
	h.gaps += x.Gaps() - before
	if x.Gaps() == 0 && len(h.list) > idleHands {
		h.list = slices.Delete(h.list, i, i+1)
	}
	return true
}

// Take takes out what of a range is in hand, and appends it to dst.
func (h *Hands) Take(dst []ipc.Range, index uint64, r ipc.Range) []ipc.Range {
	i, found := h.at(index)
	if !found {
		return dst
	}
	own := len(dst)
	dst = h.list[i].within(dst, r)
	for _, part := range dst[own:] {
		h.Remove(index, part)
	}
	return dst
}

// Drop forgets all of an index.
func (h *Hands) Drop(index uint64) {
	if i, found := h.at(index); found {
		h.count -= h.list[i].Count()
		h.gaps -= h.list[i].Gaps()
		h.list = slices.Delete(h.list, i, i+1)
	}
}

// Held appends all that is in hand to dst, in order.
func (h *Hands) Held(dst []ipc.Held) []ipc.Held {
	for i := range h.list {
		for r := range h.list[i].Each {
			dst = append(dst, ipc.Held{Index: h.list[i].index, Range: r})
		}
	}
	return dst
}
