package assign

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestShared: only what is subscribed to, every partition of that, nothing twice, nobody idle, and no
// two members of equal subscriptions whose loads differ by more than one for each topic.
func TestShared(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := &group{}
		for i := range rapid.IntRange(0, 3).Draw(t, "topics") {
			g.topic(string(rune('a'+i)), rapid.IntRange(0, 7).Draw(t, "partitions"))
		}
		for range rapid.IntRange(0, 9).Draw(t, "members") {
			var topics []int
			for i := range g.Topics {
				if rapid.Bool().Draw(t, "subscribes") {
					topics = append(topics, i)
				}
			}
			g.join(topics...)
		}
		checkShared(t, &g.Problem, Shared(&g.Problem))
	})
}

func checkShared(t *rapid.T, p *Problem, got [][]uint64) {
	for i, members := range p.subscribers() {
		had := map[uint64]bool{}
		least, most := len(p.Topics[i].Partitions), 0
		for _, m := range members {
			n := 0
			for _, id := range p.Topics[i].Partitions {
				if slices.Contains(got[m], id) {
					had[id] = true
					n++
				}
			}
			least, most = min(least, n), max(most, n)
		}
		switch n := len(p.Topics[i].Partitions); {
		case len(members) == 0 || n == 0:
		case len(had) != n:
			t.Fatalf("topic %d: %d of %d partitions are somebody's", i, len(had), n)
		case least == 0 || most-least > 1:
			t.Fatalf("topic %d: from %d to %d partitions", i, least, most)
		}
	}
	for m, ids := range got {
		if !slices.IsSorted(ids) || len(slices.Compact(slices.Clone(ids))) != len(ids) {
			t.Fatalf("member %d gets %d", m, ids)
		}
		n := 0
		for _, topic := range p.Members[m].Topics {
			for _, id := range p.Topics[topic].Partitions {
				if slices.Contains(ids, id) {
					n++
				}
			}
		}
		if n != len(ids) {
			t.Fatalf("member %d gets %d, of which it has subscribed to %d", m, ids, n)
		}
	}
}
