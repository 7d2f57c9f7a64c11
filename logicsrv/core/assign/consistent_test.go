package assign

import (
	"fmt"
	"testing"
)

// TestHashMovesFew: when one of many members comes or goes, partitions move from or to it, and few
// others do, because a bound is met elsewhere.
func TestHashMovesFew(t *testing.T) {
	const members, parts = 50, 1000
	g := &group{}
	g.topic("a", parts/2)
	g.topic("b", parts/2)
	for range members {
		g.join(0, 1)
	}
	g.solve(Hash)
	for i := range 20 {
		what := "came"
		if i%2 == 0 {
			g.join(0, 1)
		} else {
			what = "went"
			g.leave((7 * i) % len(g.Members))
		}
		// What a newcomer gets, and what somebody had who has gone, has to move; as much again may.
		before := map[uint64]string{}
		for m := range g.Members {
			for _, id := range g.Members[m].Has {
				before[id] = g.Members[m].ID
			}
		}
		moved := 0
		for m, share := range g.solve(Hash) {
			for _, id := range share {
				if who, ok := before[id]; ok && who != g.Members[m].ID {
					moved++
				}
			}
		}
		if limit := 3 * parts / members; moved > limit {
			t.Errorf("one %s: %d of %d partitions move, at most %d were expected", what, moved, parts, limit)
		}
	}
}

// TestHashKeepsPlaces: a partition's place follows from names alone, so a topic that is made again
// under its name has its partitions where they were.
func TestHashKeepsPlaces(t *testing.T) {
	solve := func(first uint64) string {
		g := &group{id: first}
		g.topic("orders", 30)
		for range 4 {
			g.join(0)
		}
		s := ""
		for _, share := range g.solve(Hash) {
			for _, id := range share {
				s += fmt.Sprint(id-first, " ")
			}
			s += "| "
		}
		return s
	}
	if a, b := solve(0), solve(1000); a != b {
		t.Errorf("%s\n%s", a, b)
	}
}

// TestHashWithoutRoom: a topic with one subscriber goes to it, whatever the mean.
func TestHashWithoutRoom(t *testing.T) {
	g := &group{}
	g.topic("a", 40)
	g.topic("b", 1)
	g.join(0, 1)
	g.join(1)
	out := g.solve(Hash)
	check(t, Hash, &g.Problem, out)
	if len(out[0]) < 40 {
		t.Errorf("%v", out)
	}
}
