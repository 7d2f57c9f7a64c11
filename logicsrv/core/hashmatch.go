package core

import (
	"cmp"
	"math"
	"slices"
	"strconv"

	"github.com/trimq/trimq/protocol/hash"
)

// A consistent-hash exchange gives each message to one of its destinations, chosen by the hash of
// the routing key, or of a header: equal ones go to the same, in shares as the weights say, and a
// destination that comes or goes moves no message between two others.
//
// It is weighted rendezvous hashing. The hash is one of 2^16 slots, and for each slot every
// destination draws a number between 0 and 1, made of slot and name. Its negative logarithm is
// divided by the weight, and who has the smallest has the slot. No order, of binding or of anything
// else, goes in: a core that was loaded from a checkpoint chooses as the one that wrote it did.
//
// Of equal weights the highest number wins, so logarithms are for the best of each weight alone.

const (
	hashSlotBits = 16
	// hashTableFrom is how many bindings an exchange has before the owners of its slots are kept
	// in a table of 256 KiB: to draw for fewer costs less than 200 ns.
	hashTableFrom = 64
	maxWeight     = 1_000_000
)

// hashRouter is the router of a consistent-hash exchange.
type hashRouter struct {
	header string  // whose value is hashed; empty: the routing key is
	shares []share // one for each binding, in order of weight; among equals no order means anything
	// owners holds, for each slot, which of shares has it, counted from 1; 0: it was not asked
	// for yet. stale: what is bound has changed since.
	owners  []uint32
	stale   bool
	scratch []byte
}

// share is what one binding draws with.
type share struct {
	b      *binding
	seed   uint64 // of the destination: its bindings draw alike, and the heaviest counts
	weight uint32
}

// parseWeight reads the key of a binding to a consistent-hash exchange.
func parseWeight(key string) (weight uint32, ok bool) {
	n, err := strconv.ParseUint(key, 10, 32)
	return uint32(n), err == nil && n >= 1 && n <= maxWeight
}

// bind adds a share. REQUIRES: the key is a weight.
func (r *hashRouter) bind(b *binding) {
	weight, _ := parseWeight(b.key)
	seed := hash.Murmur3([]byte(b.dest.name))
	if b.dest.exchange != nil {
		seed = ^seed // a queue may have the same name
	}
	at, _ := slices.BinarySearchFunc(r.shares, weight, func(s share, w uint32) int { return cmp.Compare(s.weight, w) })
	r.shares = slices.Insert(r.shares, at, share{b, seed, weight})
	r.stale = true
}

// unbind takes a share away, and the table where few are left.
func (r *hashRouter) unbind(b *binding) {
	r.shares = slices.DeleteFunc(r.shares, func(s share) bool { return s.b == b })
	if r.stale = true; len(r.shares) < hashTableFrom {
		r.owners = nil
	}
}

// match chooses one destination, or none where none is bound.
func (r *hashRouter) match(m *message, hit func(*destination)) {
	if len(r.shares) == 0 {
		return
	}
	r.scratch = append(r.scratch[:0], r.hashed(m)...)
	slot := hash.Murmur3(r.scratch) >> (64 - hashSlotBits)
	hit(r.shares[r.owner(slot)].b.dest)
}

// hashed is the part of a message that chooses. A message without the header counts as one in
// which it is empty, so all of these go to one place.
func (r *hashRouter) hashed(m *message) string {
	if r.header == "" {
		return m.key
	}
	for i := range m.headers {
		if m.headers[i].Key == r.header {
			return m.headers[i].Value // of several the first
		}
	}
	return ""
}

// owner finds which of the shares has a slot. With many of them it is remembered.
func (r *hashRouter) owner(slot uint64) int {
	if len(r.shares) < hashTableFrom {
		return r.draw(slot)
	}
	if r.owners == nil {
		r.owners = make([]uint32, 1<<hashSlotBits)
	} else if r.stale {
		clear(r.owners)
	}
	r.stale = false
	at := &r.owners[slot]
	if *at == 0 {
		*at = uint32(r.draw(slot)) + 1
	}
	return int(*at) - 1
}

// draw compares what all shares draw for a slot.
func (r *hashRouter) draw(slot uint64) (best int) {
	mixed, least := hash.Mix(slot), math.Inf(1)
	for next := 0; next < len(r.shares); {
		var top int
		top, next = r.highest(mixed, next)
		s := &r.shares[top]
		// 53 bits between 0 and 1, neither of which can come out, so the logarithm is finite.
		x := (float64(hash.Mix(s.seed+mixed)>>11) + 0.5) / (1 << 53)
		drawn := -math.Log(x) / float64(s.weight)
		if drawn < least || drawn == least && s.before(&r.shares[best]) {
			best, least = top, drawn
		}
	}
	return best
}

// highest finds the highest draw among the shares of one weight, which begin at first, and where
// those of the next weight begin.
func (r *hashRouter) highest(mixed uint64, first int) (top, next int) {
	top, next = first, first
	highest := uint64(0)
	for ; next < len(r.shares) && r.shares[next].weight == r.shares[first].weight; next++ {
		s := &r.shares[next]
		drawn := hash.Mix(s.seed + mixed)
		if drawn > highest || drawn == highest && s.before(&r.shares[top]) {
			top, highest = next, drawn
		}
	}
	return top, next
}

// before decides between equal draws.
func (s *share) before(other *share) bool {
	a, b := s.b.dest, other.b.dest
	return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(s.seed, other.seed)) < 0
}
