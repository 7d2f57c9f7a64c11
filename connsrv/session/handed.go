package session

import (
	"maps"
	"slices"

	"github.com/trimq/trimq/connsrv/handover"
	"github.com/trimq/trimq/protocol/ipc"
)

// handed is how far messages were given to consumers of this loop since the epoch began, by index and
// then by queue: several may be over one topic. logicsrv is told of it in answer to a Marker: what
// lies below and is in nobody's hand was in that of somebody who is gone. It grows with the queues
// that have given anything to anybody, and shrinks with the indexes that end.
type handed map[uint64][]givenUpTo

// givenUpTo: of a queue, messages below next.
type givenUpTo struct{ queue, next uint64 }

// note notes that messages below next were given to somebody.
func (h handed) note(queue, index, next uint64) {
	list := h[index]
	for i := range list {
		if list[i].queue == queue {
			list[i].next = max(list[i].next, next)
			return
		}
	}
	h[index] = append(list, givenUpTo{queue, next})
}

// Hand puts what logicsrv has given to a consumer into its hand; false: some of it is there already,
// and nothing was changed.
func (l *Lane) Hand(s *Sub, index, first uint64, count uint32) bool {
	if !s.InHand.Add(index, first, count) {
		return false
	}
	l.handed.note(s.Index, index, first+uint64(count))
	return true
}

// tellHanded tells in answer to a Marker what was given out, behind the indexes that were told
// already; false: the ring is full.
func (l *Lane) tellHanded() bool {
	r := &l.resync
	most := min(ipc.MaxHanded, (l.MaxRecord-64)/24)
	m := ipc.Handed{Head: l.Head(uint64(l.Loop), 0), Term: r.marker.Term, Ask: r.marker.Ask}
	upTo := r.given
	put := func() bool {
		if len(m.List) > 0 && !l.Put(nil, ipc.TypeHanded, m.Append(l.Scratch())) {
			return false
		}
		r.given, m.List = upTo, m.List[:0]
		return true
	}
	for _, index := range slices.Sorted(maps.Keys(l.handed)) {
		if index <= r.given {
			continue
		}
		if len(m.List) > 0 && len(m.List)+len(l.handed[index]) > most && !put() {
			return false
		}
		for _, x := range l.handed[index] {
			if len(m.List) == most && !put() {
				return false
			}
			m.List = append(m.List, ipc.HandedUpTo{Queue: x.queue, Index: index, Next: x.next})
		}
		upTo = index
	}
	return put()
}

// pass goes over all of it, in order of indexes.
func (h *handed) pass(c *handover.Codec) {
	indexes := slices.Sorted(maps.Keys(*h))
	n := c.Count(len(indexes), 2)
	if c.Reading() {
		*h, indexes = make(handed, n), make([]uint64, n)
	}
	for i := range indexes {
		handover.Uint(c, &indexes[i])
		c.Check(i == 0 || indexes[i] > indexes[i-1])
		list := (*h)[indexes[i]]
		handover.List(c, &list, 2, func(c *handover.Codec, x *givenUpTo) {
			handover.Uint(c, &x.queue)
			handover.Uint(c, &x.next)
		})
		if c.Reading() && !c.Failed() {
			(*h)[indexes[i]] = list
		}
	}
}

// IndexGone forgets an index that was deleted.
func (l *Lane) IndexGone(index uint64) {
	l.forgetEnds(index)
	delete(l.handed, index)
}
