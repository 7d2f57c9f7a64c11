package assign

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

var names = []string{Range, RoundRobin, Sticky, Hash}

// group is a problem that changes: members come and go, and keep what they were given.
type group struct {
	Problem
	next int    // number of the next member
	id   uint64 // of the next partition
}

func (g *group) topic(name string, partitions int) {
	g.Topics = append(g.Topics, Topic{Name: name})
	g.grow(len(g.Topics)-1, partitions)
}

func (g *group) grow(t, partitions int) {
	for range partitions {
		g.id++
		g.Topics[t].Partitions = append(g.Topics[t].Partitions, g.id)
	}
}

func (g *group) join(topics ...int) {
	g.next++
	g.Members = append(g.Members, Member{ID: fmt.Sprintf("member-%04d", g.next), Topics: topics})
}

func (g *group) leave(m int) { g.Members = slices.Delete(g.Members, m, m+1) }

// solve lets everybody have what an assignor gives, and returns it.
func (g *group) solve(name string) [][]uint64 {
	out := Named(name)(&g.Problem)
	for m := range g.Members {
		g.Members[m].Has = out[m]
	}
	return out
}

// owners is who has which partition.
func owners(out [][]uint64) map[uint64]int {
	of := map[uint64]int{}
	for m, share := range out {
		for _, id := range share {
			of[id] = m
		}
	}
	return of
}

// check holds a solution against invariants 1, 2 and 4.
func check(t rapid.TB, name string, p *Problem, out [][]uint64) {
	t.Helper()
	if len(out) != len(p.Members) {
		t.Fatalf("%s: %d shares for %d members", name, len(out), len(p.Members))
	}
	topicOf := map[uint64]int{}
	for i := range p.Topics {
		for _, id := range p.Topics[i].Partitions {
			topicOf[id] = i
		}
	}
	given := map[uint64]bool{}
	uniform := true
	for m, share := range out {
		if !slices.IsSorted(share) {
			t.Fatalf("%s: the share of %s is in no order: %v", name, p.Members[m].ID, share)
		}
		for _, id := range share {
			topic, ok := topicOf[id]
			if !ok || given[id] || !slices.Contains(p.Members[m].Topics, topic) {
				t.Fatalf("%s: %s gets partition %d of topic %d (known %t, given before %t)", name, p.Members[m].ID, id, topic, ok, given[id])
			}
			given[id] = true
		}
		uniform = uniform && slices.Equal(p.Members[m].Topics, p.Members[0].Topics)
	}
	n := partitions(p, p.subscribers())
	if len(given) != n {
		t.Fatalf("%s: %d of %d partitions are given", name, len(given), n)
	}
	if !uniform || len(out) == 0 {
		return
	}
	least, most := 1<<30, 0
	for _, share := range out {
		least, most = min(least, len(share)), max(most, len(share))
	}
	if name == Hash {
		if room := roomEach(n, len(out)); most > room {
			t.Fatalf("hash: a load of %d, there is room for %d", most, room)
		}
	} else if most-least > 1 {
		t.Fatalf("%s: loads from %d to %d", name, least, most)
	}
}

// drawGroup makes a group with a history: what members have is what they were given before some
// changes. mixed lets members subscribe to different topics.
func drawGroup(t *rapid.T, mixed bool, members, topics, parts int) *group {
	g := &group{}
	for i := range rapid.IntRange(1, topics).Draw(t, "topics") {
		g.topic(fmt.Sprintf("topic-%d", i), rapid.IntRange(0, parts).Draw(t, "partitions"))
	}
	all := make([]int, len(g.Topics))
	for i := range all {
		all[i] = i
	}
	join := func() {
		wants := all
		if mixed {
			wants = nil
			for _, topic := range all {
				if rapid.Bool().Draw(t, "wants") {
					wants = append(wants, topic)
				}
			}
		}
		g.join(wants...)
	}
	for range rapid.IntRange(0, members).Draw(t, "members") {
		join()
	}
	g.solve(rapid.SampledFrom(names).Draw(t, "before"))
	for range rapid.IntRange(0, 4).Draw(t, "changes") {
		switch k := rapid.IntRange(0, 3).Draw(t, "change"); {
		case k == 0 && len(g.Members) < members:
			join()
		case k == 1 && len(g.Members) > 1:
			g.leave(rapid.IntRange(0, len(g.Members)-1).Draw(t, "leaves"))
		case k == 2:
			g.grow(rapid.IntRange(0, len(all)-1).Draw(t, "grows"), rapid.IntRange(1, 3).Draw(t, "by"))
		case k == 3 && mixed && len(g.Members) > 0:
			m := &g.Members[rapid.IntRange(0, len(g.Members)-1).Draw(t, "turns")]
			m.Topics = nil
			for _, topic := range all {
				if rapid.Bool().Draw(t, "wants now") {
					m.Topics = append(m.Topics, topic)
				}
			}
		}
	}
	return g
}

// TestSolutions: whatever the problem, every assignor solves it, and solves it the same way again.
func TestSolutions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := drawGroup(t, rapid.Bool().Draw(t, "mixed"), 9, 4, 12)
		for _, name := range names {
			out := Named(name)(&g.Problem)
			check(t, name, &g.Problem, out)
			if again := Named(name)(&g.Problem); !reflect.DeepEqual(out, again) {
				t.Fatalf("%s: %v, then %v", name, out, again)
			}
		}
	})
}

// TestSolvedStaysSolved: a sticky solution is its own solution.
func TestSolvedStaysSolved(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := drawGroup(t, rapid.Bool().Draw(t, "mixed"), 9, 4, 12)
		out := slices.Clone(g.solve(Sticky))
		if again := g.solve(Sticky); !reflect.DeepEqual(out, again) {
			t.Fatalf("%v, then %v", out, again)
		}
	})
}

func TestNamed(t *testing.T) {
	for _, name := range names {
		if Named(name) == nil {
			t.Errorf("there is no assignor %s", name)
		}
	}
	if Named("uniform") != nil || Named("") != nil {
		t.Error("there are assignors of other names")
	}
}

// TestByHand shows what each of them does with two topics, and when a third member comes.
func TestByHand(t *testing.T) {
	for _, k := range []struct {
		name          string
		before, after [][]uint64
	}{
		{Range, [][]uint64{{1, 2, 5, 6}, {3, 4, 7, 8}}, [][]uint64{{1, 2, 5}, {3, 6, 7}, {4, 8}}},
		{RoundRobin, [][]uint64{{1, 3, 5, 7}, {2, 4, 6, 8}}, [][]uint64{{1, 4, 7}, {2, 5, 8}, {3, 6}}},
		{Sticky, [][]uint64{{1, 3, 5, 7}, {2, 4, 6, 8}}, [][]uint64{{1, 5, 7}, {2, 6, 8}, {3, 4}}},
		{Hash, nil, nil},
	} {
		g := &group{}
		g.topic("a", 4)
		g.topic("b", 4)
		g.join(0, 1)
		g.join(0, 1)
		before := g.solve(k.name)
		g.join(0, 1)
		after := g.solve(k.name)
		if k.before != nil && (!reflect.DeepEqual(before, k.before) || !reflect.DeepEqual(after, k.after)) {
			t.Errorf("%s: %v, then %v", k.name, before, after)
		}
	}
}
