package core

import (
	"testing"

	"pgregory.net/rapid"
)

// TestSpans compares spans with a map.
func TestSpans(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s spans[int]
		model := map[uint64]int{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			first := rapid.Uint64Range(0, 40).Draw(t, "first")
			next := first + rapid.Uint64Range(0, 12).Draw(t, "count")
			if v := rapid.IntRange(0, 3).Draw(t, "value"); v == 0 {
				s.drop(first, next)
				for x := first; x < next; x++ {
					delete(model, x)
				}
			} else {
				s.set(first, next, v)
				for x := first; x < next; x++ {
					model[x] = v
				}
			}
			checkSpans(t, &s, model)
		}
	})
}

func checkSpans(t *rapid.T, s *spans[int], model map[uint64]int) {
	if s.count() != uint64(len(model)) {
		t.Fatalf("%d offsets, want %d", s.count(), len(model))
	}
	for x := range uint64(60) {
		run, ok := s.at(x)
		if v, want := model[x]; ok != want || ok && (run.v != v || x < run.first || x >= run.next) {
			t.Fatalf("%d: %+v %v, want %d", x, run, ok, v)
		}
	}
	for i := 1; i < len(s.list); i++ {
		if a, b := s.list[i-1], s.list[i]; a.next > b.first || a.next == b.first && a.v == b.v {
			t.Fatalf("%+v and %+v", a, b)
		}
	}
	seen := 0
	s.within(10, 30, func(first, next uint64) {
		for x := first; x < next; x++ {
			if _, ok := model[x]; !ok || x < 10 || x >= 30 {
				t.Fatalf("%d is not within", x)
			}
			seen++
		}
	})
	for x := range model {
		if x >= 10 && x < 30 {
			seen--
		}
	}
	if seen != 0 {
		t.Fatalf("%d too many within", seen)
	}
}
