package assign

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// demand is how many partitions must move between members that stay, where all subscribe to the
// same topics: what those have who have too much. As many as can may keep one above the floor.
func demand(p *Problem) int {
	n := partitions(p, p.subscribers())
	each, more := n/len(p.Members), n%len(p.Members)
	var loads []int
	for m := range p.Members {
		have := 0
		for _, t := range p.Members[m].Topics {
			for _, id := range p.Topics[t].Partitions {
				if slices.Contains(p.Members[m].Has, id) {
					have++
				}
			}
		}
		loads = append(loads, have)
	}
	slices.Sort(loads)
	slices.Reverse(loads)
	moves := 0
	for i, have := range loads {
		most := each
		if i < more {
			most++
		}
		moves += max(0, have-most)
	}
	return moves
}

// moves counts partitions that were a member's and are another's now, though it still wants them.
func moves(p *Problem, out [][]uint64) (n int) {
	topicOf := map[uint64]int{}
	for t := range p.Topics {
		for _, id := range p.Topics[t].Partitions {
			topicOf[id] = t
		}
	}
	now := owners(out)
	for m := range p.Members {
		for _, id := range p.Members[m].Has {
			if t, ok := topicOf[id]; ok && slices.Contains(p.Members[m].Topics, t) && now[id] != m {
				n++
			}
		}
	}
	return n
}

// TestStickyMovesTheLeast: where all subscribe to the same topics, exactly what must move moves.
func TestStickyMovesTheLeast(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := drawGroup(t, false, 12, 3, 20)
		if len(g.Members) == 0 {
			return
		}
		out := sticky(&g.Problem)
		if got, want := moves(&g.Problem, out), demand(&g.Problem); got != want {
			t.Fatalf("%d partitions move, %d must: %+v gives %v", got, want, g.Problem, out)
		}
	})
}

// hops finds who can be reached from each member by hand-overs: by any partition that it has, or
// only by those that moved, back to where they came from.
func hops(p *Problem, out [][]uint64, back bool) [][]bool {
	n := len(p.Members)
	direct := make([][]bool, n)
	had := map[uint64]int{}
	topicOf := map[uint64]int{}
	for t := range p.Topics {
		for _, id := range p.Topics[t].Partitions {
			topicOf[id] = t
		}
	}
	for m := range p.Members {
		direct[m] = make([]bool, n)
		for _, id := range p.Members[m].Has {
			if _, taken := had[id]; !taken && slices.Contains(p.Members[m].Topics, topicOf[id]) {
				had[id] = m
			}
		}
	}
	for m, share := range out {
		for _, id := range share {
			if home, ok := had[id]; back && ok && home != m {
				direct[m][home] = true
			}
			for y := range p.Members {
				if !back && slices.Contains(p.Members[y].Topics, topicOf[id]) {
					direct[m][y] = true
				}
			}
		}
	}
	for k := range n {
		for i := range n {
			for j := range n {
				direct[i][j] = direct[i][j] || direct[i][k] && direct[k][j]
			}
		}
	}
	return direct
}

// TestStickyMixed: with any mixture of subscriptions no chain of hand-overs improves the balance,
// and no chain of moves can be undone without making it worse.
func TestStickyMixed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := drawGroup(t, true, 10, 5, 10)
		out := sticky(&g.Problem)
		forth, back := hops(&g.Problem, out, false), hops(&g.Problem, out, true)
		for x := range out {
			for y := range out {
				if forth[x][y] && len(out[x]) > len(out[y])+1 {
					t.Fatalf("member %d has %d, and could give to %d, which has %d", x, len(out[x]), y, len(out[y]))
				}
				if back[x][y] && (x == y || len(out[x]) > len(out[y])) {
					t.Fatalf("moves from %d, with %d now, to %d, with %d, were needless: %v", y, len(out[y]), x, len(out[x]), out)
				}
			}
		}
	})
}

// TestStickyAgainstAll: of all ways to share out a small problem, none is better balanced. Of those
// that are as well balanced hardly any moves less: one move, in a few of ten thousand mixtures.
func TestStickyAgainstAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := drawGroup(t, true, 4, 3, 3)
		p := &g.Problem
		out := sticky(p)
		best, fewest := 1<<30, 1<<30
		everyWay(p, func(out [][]uint64) {
			if s, k := squares(out), moves(p, out); s < best || s == best && k < fewest {
				best, fewest = s, k
			}
		})
		if got := squares(out); got != best {
			t.Fatalf("squares of the loads sum up to %d, %d is possible: %+v gives %v", got, best, *p, out)
		}
		if got := moves(p, out); got > fewest+1 {
			t.Fatalf("moves %d, %d is enough: %+v gives %v", got, fewest, *p, out)
		}
	})
}

// squares is the smaller, the better the loads are balanced.
func squares(out [][]uint64) (n int) {
	for _, share := range out {
		n += len(share) * len(share)
	}
	return n
}

// everyWay calls f with every way to share out.
func everyWay(p *Problem, f func(out [][]uint64)) {
	out := make([][]uint64, len(p.Members))
	subscribers := p.subscribers()
	type card struct {
		id uint64
		to []int
	}
	var cards []card
	for t := range p.Topics {
		for _, id := range p.Topics[t].Partitions {
			if len(subscribers[t]) > 0 {
				cards = append(cards, card{id, subscribers[t]})
			}
		}
	}
	var deal func(i int)
	deal = func(i int) {
		if i == len(cards) {
			f(out)
			return
		}
		for _, m := range cards[i].to {
			out[m] = append(out[m], cards[i].id)
			deal(i + 1)
			out[m] = out[m][:len(out[m])-1]
		}
	}
	deal(0)
}
