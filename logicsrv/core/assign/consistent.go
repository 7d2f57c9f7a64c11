package assign

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/trimq/trimq/protocol/hash"
)

// Consistent hashing with bounded loads. Every member stands at points of a circle of hashes;
// a partition belongs to the first member at or behind its own hash that subscribes to its topic
// and has room. Room is a quarter more than the mean, so the load is bounded, and when a member
// comes or goes, partitions move from or to that member and, here and there, where a bound is met.

// points is at how many places of the circle each member stands.
const points = 32

// point is one of a member's places.
type point struct {
	hash   uint64
	member int
}

// byHash shares out by consistent hash.
func byHash(p *Problem) [][]uint64 {
	out := make(shares, len(p.Members))
	subscribers := p.subscribers()
	all := circle(p)
	room := roomEach(partitions(p, subscribers), len(p.Members))
	wanted := make([]bool, len(p.Members))
	var of []point // the points of those who subscribe to a topic,
	var as []int   // which are these
	for t, members := range subscribers {
		if len(members) == 0 {
			continue
		}
		// Topics mostly have the same subscribers as the one before.
		if !slices.Equal(members, as) {
			of, as = pointsOf(all, members, wanted), members
		}
		var key []byte
		for number, id := range p.Topics[t].Partitions {
			key = binary.LittleEndian.AppendUint32(append(key[:0], p.Topics[t].Name...), uint32(number))
			m := place(of, hash.Murmur3(key), out, room)
			if m < 0 {
				m = lightest(out, members)
			}
			out[m] = append(out[m], id)
		}
	}
	return out.done()
}

// roomEach is how many of n partitions one of so many members may have: a quarter above the mean.
func roomEach(n, members int) int { return (5*n + 4*members - 1) / max(1, 4*members) }

// circle lists the points of all members, in order of hash.
func circle(p *Problem) []point {
	all := make([]point, 0, points*len(p.Members))
	var key []byte
	for m := range p.Members {
		for i := range uint32(points) {
			key = binary.LittleEndian.AppendUint32(append(key[:0], p.Members[m].ID...), i)
			all = append(all, point{hash.Murmur3(key), m})
		}
	}
	slices.SortFunc(all, func(a, b point) int {
		if a.hash != b.hash {
			return cmp.Compare(a.hash, b.hash)
		}
		return a.member - b.member
	})
	return all
}

// pointsOf keeps the points of some members; wanted has a place for each member there is.
func pointsOf(all []point, members []int, wanted []bool) []point {
	clear(wanted)
	for _, m := range members {
		wanted[m] = true
	}
	of := make([]point, 0, points*len(members))
	for _, k := range all {
		if wanted[k.member] {
			of = append(of, k)
		}
	}
	return of
}

// place finds the first member with room at or behind a hash; -1 where none has.
func place(of []point, at uint64, out shares, room int) int {
	first, _ := slices.BinarySearchFunc(of, at, func(k point, at uint64) int { return cmp.Compare(k.hash, at) })
	for i := range of {
		if m := of[(first+i)%len(of)].member; len(out[m]) < room {
			return m
		}
	}
	return -1
}

// lightest is the first of those members that have least.
func lightest(out shares, members []int) int {
	return slices.MinFunc(members, func(a, b int) int { return cmp.Compare(len(out[a]), len(out[b])) })
}
