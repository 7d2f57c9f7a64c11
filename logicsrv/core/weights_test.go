package core

import (
	"testing"

	"pgregory.net/rapid"
)

// TestWeights: the sum of all is exact, that of a part is off by what 1/256 of the messages weigh,
// and no more than maxWeights runs are kept.
func TestWeights(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w weights
		var each []uint64 // of every message
		floor := uint64(0)
		for range rapid.IntRange(1, 3000).Draw(t, "batches") {
			count, bytes := rapid.Uint64Range(1, 3).Draw(t, "count"), rapid.Uint64Range(0, 100).Draw(t, "bytes")
			w.add(uint64(len(each)), uint64(len(each))+count, bytes*count)
			for range count {
				each = append(each, bytes)
			}
		}
		if rapid.Bool().Draw(t, "drop") {
			floor = rapid.Uint64Range(0, uint64(len(each))).Draw(t, "floor")
			w.dropBelow(floor)
		}
		if len(w) > maxWeights {
			t.Fatalf("%d runs", len(w))
		}
		first := rapid.Uint64Range(floor, uint64(len(each))).Draw(t, "first")
		next := rapid.Uint64Range(first, uint64(len(each))).Draw(t, "next")
		allowed := 2 * 100 * (uint64(len(each))/256 + 3) // at each end of the part
		if got, want := w.sum(first, next), sumOf(each[first:next]); got > want+allowed || want > got+allowed {
			t.Fatalf("[%d, %d) of %d weighs %d, got %d", first, next, len(each), want, got)
		}
		if floor == 0 {
			if got, want := w.sum(0, uint64(len(each))), sumOf(each); got != want {
				t.Fatalf("all weighs %d, got %d", want, got)
			}
		}
	})
}

// TestWeightsCovering: so many messages weigh at least that, or there are no more.
func TestWeightsCovering(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w weights
		next := uint64(0)
		for range rapid.IntRange(1, 20).Draw(t, "batches") {
			count := rapid.Uint64Range(1, 5).Draw(t, "count")
			w.add(next, next+count, count*rapid.Uint64Range(0, 9).Draw(t, "bytes"))
			next += count
		}
		first, bytes := rapid.Uint64Range(0, next).Draw(t, "first"), rapid.Uint64Range(1, 100).Draw(t, "want")
		n := w.covering(first, bytes)
		switch got := w.sum(first, first+n); {
		case n == 0:
			t.Fatal("none")
		case got < bytes && first+n < next:
			t.Fatalf("%d messages from %d on weigh %d, not %d", n, first, got, bytes)
		case n > 1 && w.sum(first, first+n-1) >= bytes:
			t.Fatalf("%d messages from %d on; %d would do", n, first, n-1)
		}
	})
}

func sumOf(list []uint64) (sum uint64) {
	for _, n := range list {
		sum += n
	}
	return sum
}
