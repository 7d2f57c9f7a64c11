package core

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestRegistry compares the order that is kept with one that is made anew.
func TestRegistry(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRegistry[int, int]()
		m := map[int]int{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			key := rapid.IntRange(0, 12).Draw(t, "key")
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0, 1:
				r.add(key, key*2)
				m[key] = key * 2
			case 2:
				r.remove(key)
				delete(m, key)
			default:
				if got, want := r.keys(), slices.Sorted(maps.Keys(m)); !slices.Equal(got, want) {
					t.Fatalf("keys %v, want %v", got, want)
				}
			}
		}
		for key, v := range r.all {
			if m[key] != v {
				t.Fatalf("%d is %d, want %d", key, v, m[key])
			}
			delete(m, key)
		}
		if len(m) > 0 || r.len() != len(r.keys()) {
			t.Fatalf("not listed: %v", m)
		}
	})
}
