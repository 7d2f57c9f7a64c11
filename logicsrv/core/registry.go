package core

import (
	"cmp"
	"slices"
)

// registry is a map whose keys can be listed in order. The order is made when it is asked
// for, from the last one and what came since: ten thousand creates cost one sort of ten
// thousand names, and a checkpoint after one more create costs a merge.
type registry[K cmp.Ordered, V any] struct {
	byKey  map[K]V
	sorted []K // the keys in order, as of the last call of keys
	added  []K // since then, in order of coming; may repeat what is in sorted
	// removed tells that sorted or added may hold keys that are gone.
	removed bool
}

// newRegistry makes an empty one.
func newRegistry[K cmp.Ordered, V any]() registry[K, V] {
	return registry[K, V]{byKey: make(map[K]V)}
}

// get is a map lookup.
func (r *registry[K, V]) get(key K) (V, bool) { v, ok := r.byKey[key]; return v, ok }

// len is how many there are.
func (r *registry[K, V]) len() int { return len(r.byKey) }

// add enters v, or replaces what the key had.
func (r *registry[K, V]) add(key K, v V) {
	r.byKey[key] = v
	r.added = append(r.added, key)
}

// remove takes a key out, if it is there.
func (r *registry[K, V]) remove(key K) {
	delete(r.byKey, key)
	r.removed = true
}

// keys lists the keys in order. Valid until the next add or remove.
func (r *registry[K, V]) keys() []K {
	if r.removed {
		gone := func(key K) bool { _, ok := r.byKey[key]; return !ok }
		r.sorted = slices.DeleteFunc(r.sorted, gone)
		r.added = slices.DeleteFunc(r.added, gone)
		r.removed = false
	}
	if len(r.added) > 0 {
		slices.Sort(r.added)
		r.sorted = merge(r.sorted, r.added)
		r.added = nil
	}
	return r.sorted
}

// merge joins two ordered lists; what is in both, or twice in one, comes once.
func merge[K cmp.Ordered](a, b []K) []K {
	out := make([]K, 0, len(a)+len(b))
	for len(a)+len(b) > 0 {
		from := &a
		if len(a) == 0 || (len(b) > 0 && b[0] < a[0]) {
			from = &b
		}
		if key := (*from)[0]; len(out) == 0 || out[len(out)-1] != key {
			out = append(out, key)
		}
		*from = (*from)[1:]
	}
	return out
}

// all yields keys and values in order of the keys.
func (r *registry[K, V]) all(yield func(K, V) bool) {
	for _, key := range r.keys() {
		if !yield(key, r.byKey[key]) {
			return
		}
	}
}
