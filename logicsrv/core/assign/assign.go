package assign

import (
	"slices"
)

// Names of the assignors, as members ask for them.
const (
	Range      = "range"
	RoundRobin = "roundrobin"
	Sticky     = "sticky"
	Hash       = "hash"
)

// Problem is what there is to share out, and among whom.
type Problem struct {
	Members []Member // in order of ID
	Topics  []Topic
}

// Member is one member of the group.
type Member struct {
	ID     string   // unique; what a static member is called by must outlive its restart
	Topics []int    // those it subscribes to, as places in Problem.Topics, ascending
	Has    []uint64 // partitions that are its own so far, by index; what it no longer subscribes to counts for nothing
}

// Topic is one topic that somebody subscribes to.
type Topic struct {
	Name       string
	Partitions []uint64 // their indexes, in order of the partitions' numbers
}

// Assignor solves a problem: for each member the partitions that it gets, in order of index.
type Assignor func(p *Problem) [][]uint64

// Named finds an assignor; nil where there is none of that name.
func Named(name string) Assignor {
	switch name {
	case Range:
		return byRange
	case RoundRobin:
		return inTurn
	case Sticky:
		return sticky
	case Hash:
		return byHash
	}
	return nil
}

// subscribers lists, for each topic, the members that subscribe to it, in order.
func (p *Problem) subscribers() [][]int {
	of := make([][]int, len(p.Topics))
	for m := range p.Members {
		for _, t := range p.Members[m].Topics {
			of[t] = append(of[t], m)
		}
	}
	return of
}

// partitions counts those of topics that somebody subscribes to.
func partitions(p *Problem, subscribers [][]int) (n int) {
	for t := range p.Topics {
		if len(subscribers[t]) > 0 {
			n += len(p.Topics[t].Partitions)
		}
	}
	return n
}

// shares is a solution in the making.
type shares [][]uint64

// done puts each share in order.
func (s shares) done() [][]uint64 {
	for _, share := range s {
		slices.Sort(share)
	}
	return s
}
