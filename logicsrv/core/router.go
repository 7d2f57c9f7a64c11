package core

import (
	"slices"

	"github.com/trimq/trimq/protocol/admin"
)

// router is the part of an exchange that its type makes. A router keeps its bindings in
// structures whose walk depends on what is bound alone, never on the order of binding.
type router interface {
	// bind is called when b stands in its exchange's list, unbind when it no longer does.
	bind(b *binding)
	unbind(b *binding)
	// match calls hit for each destination of a message, for one perhaps more than once.
	match(m *message, hit func(*destination))
}

// newRouter makes the router of an exchange. REQUIRES: the type is known.
func newRouter(x *exchange) router {
	switch x.spec.Type {
	case admin.Fanout:
		return fanoutRouter{x}
	case admin.Direct:
		return &directRouter{byKey: make(map[string][]*binding)}
	case admin.Topic:
		return newTopicRouter()
	case admin.Headers:
		return newHeadersRouter()
	default:
		return &hashRouter{header: x.spec.HashHeader}
	}
}

// fanoutRouter reaches everything that is bound: the exchange's own list is all it needs.
type fanoutRouter struct{ x *exchange }

func (fanoutRouter) bind(*binding)   {}
func (fanoutRouter) unbind(*binding) {}

// match reaches all; twice what is bound twice with different keys, which reach corrects.
func (r fanoutRouter) match(_ *message, hit func(*destination)) {
	for _, b := range r.x.bindings {
		hit(b.dest)
	}
}

// directRouter reaches what is bound with exactly the message's key.
type directRouter struct{ byKey map[string][]*binding }

func (r *directRouter) bind(b *binding) { r.byKey[b.key] = append(r.byKey[b.key], b) }

// unbind drops the key with its last binding, so that keys that came and went take no memory.
func (r *directRouter) unbind(b *binding) {
	if rest := without(r.byKey[b.key], b); len(rest) > 0 {
		r.byKey[b.key] = rest
	} else {
		delete(r.byKey, b.key)
	}
}

// match looks the key up: its cost does not grow with the bindings of other keys.
func (r *directRouter) match(m *message, hit func(*destination)) {
	for _, b := range r.byKey[m.key] {
		hit(b.dest)
	}
}

// without returns the list less one that is in it, by moving the last into its place.
func without[T comparable](list []T, gone T) []T {
	var none T
	last := len(list) - 1
	list[slices.Index(list, gone)] = list[last]
	list[last] = none
	return list[:last]
}
