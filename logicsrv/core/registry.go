package core

import (
	"cmp"
	"maps"
	"slices"
)

// registry is a map whose keys can be listed in order. The order is made when it is asked
// for, so that ten thousand creates cost no sorting.
type registry[K cmp.Ordered, V any] struct {
	byKey  map[K]V
	sorted []K // nil: to be made again
}

func newRegistry[K cmp.Ordered, V any]() registry[K, V] {
	return registry[K, V]{byKey: make(map[K]V)}
}

func (r *registry[K, V]) get(key K) (V, bool) { v, ok := r.byKey[key]; return v, ok }

func (r *registry[K, V]) len() int { return len(r.byKey) }

func (r *registry[K, V]) add(key K, v V) { r.byKey[key], r.sorted = v, nil }

func (r *registry[K, V]) remove(key K) {
	delete(r.byKey, key)
	r.sorted = nil
}

// keys lists the keys in order. Valid until the next add or remove.
func (r *registry[K, V]) keys() []K {
	if r.sorted == nil && len(r.byKey) > 0 {
		r.sorted = slices.Sorted(maps.Keys(r.byKey))
	}
	return r.sorted
}

// all yields keys and values in order of the keys.
func (r *registry[K, V]) all(yield func(K, V) bool) {
	for _, key := range r.keys() {
		if !yield(key, r.byKey[key]) {
			return
		}
	}
}
