package assign

import (
	"cmp"
	"slices"
)

// byRange cuts each topic into contiguous ranges, one for each of its subscribers, in order of
// their names. Where the partitions are no multiple of the members, the remainder goes, one each,
// to those that have least so far, so that the remainders of many topics do not gather with the
// first members.
//
//	2 topics of 4 partitions, members a, b, c:
//	            a        b        c
//	  first     0 1      2        3
//	  second    0        1 2      3
func byRange(p *Problem) [][]uint64 {
	out := make(shares, len(p.Members))
	var long []bool
	for t, members := range p.subscribers() {
		if len(members) == 0 {
			continue
		}
		rest := p.Topics[t].Partitions
		each, more := len(rest)/len(members), len(rest)%len(members)
		long = longShares(long, out, members, more)
		for i, m := range members {
			n := each
			if long[i] {
				n++
			}
			out[m] = append(out[m], rest[:n]...)
			rest = rest[n:]
		}
	}
	return out.done()
}

// longShares chooses the members whose share of a topic is one partition longer.
func longShares(long []bool, out shares, members []int, n int) []bool {
	order := make([]int, len(members))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Compare(len(out[members[a]]), len(out[members[b]]))
	})
	long = append(long[:0], make([]bool, len(members))...)
	for _, i := range order[:n] {
		long[i] = true
	}
	return long
}
