package core

import (
	"cmp"
	"slices"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/wire"
)

// Routing in two steps. The router of the exchange calls hit for every destination whose binding
// matches, as often as bindings match; reach adds the destination's index to the targets unless
// this routing has added it. For that each destination remembers the number of the last routing
// that reached it: no set has to be made or cleared for a message.
//
// A destination is a queue, or a topic as a whole; for a topic the message's key chooses the
// partition, so a topic bound to an exchange is partitioned as if it had been produced to
// directly with that key.

// exchange routes batches to the destinations that are bound to it.
type exchange struct {
	id       uint64
	name     string
	typ      admin.ExchangeType
	durable  bool
	bindings int
	router   router // nil for the default exchange, which routes by name
}

// destination is what can be bound: a queue, or a topic as a whole. Both share one space of
// names, so that a name in a binding, or a routing key on the default exchange, means one.
type destination struct {
	name  string
	queue *queue // one of the two is set
	topic *topic

	bindings []*binding // to it, from all exchanges, in no order that means anything
	routed   uint64     // number of the last routing that reached it: soft, see route
}

// binding is one binding; exchange, dest and the fields behind them are its identity.
type binding struct {
	exchange *exchange
	dest     *destination
	key      string
	matchAny bool
	headers  []ipc.Header // in order of key and value
}

// info is the binding as it is told to others.
func (b *binding) info() admin.CreateBinding {
	return admin.CreateBinding{
		Exchange: b.exchange.name, Queue: b.dest.name, RoutingKey: b.key,
		MatchAny: b.matchAny, Headers: b.headers,
	}
}

// orderHeaders brings the headers of a binding into the order that makes equal ones equal.
func orderHeaders(headers []ipc.Header) []ipc.Header {
	slices.SortFunc(headers, func(a, b ipc.Header) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Value, b.Value))
	})
	return slices.Compact(headers)
}

// identity is the key of a binding in state.bindings. It orders bindings by exchange, queue
// and key, none of which holds a NUL.
func identity(b *admin.CreateBinding) string {
	id := make([]byte, 0, len(b.Exchange)+len(b.Queue)+len(b.RoutingKey)+8)
	id = append(append(id, b.Exchange...), 0)
	id = append(append(id, b.Queue...), 0)
	id = append(append(id, b.RoutingKey...), 0)
	id = wire.AppendBool(id, b.MatchAny)
	return string(ipc.AppendHeaders(id, b.Headers))
}

// router is the part of an exchange that its type makes. A router keeps its bindings in
// structures whose walk depends on what is bound alone, never on the order of binding.
type router interface {
	bind(b *binding)
	unbind(b *binding)
	// match calls hit for each destination of a message, for one perhaps more than once.
	match(m *message, hit func(*destination))
}

// message is what a router looks at.
type message struct {
	key     string
	headers []ipc.Header
}

// newRouter makes the router of a type; nil where there is no such type.
func newRouter(typ admin.ExchangeType) router {
	switch typ {
	case admin.Fanout:
		return &fanoutRouter{}
	case admin.Direct:
		return &directRouter{byKey: make(map[string][]*binding)}
	case admin.Topic:
		return &topicRouter{root: &topicNode{}}
	case admin.Headers:
		return newHeadersRouter()
	}
	return nil
}

// fanoutRouter reaches everything that is bound.
type fanoutRouter struct{ bound []*binding }

func (r *fanoutRouter) bind(b *binding)   { r.bound = append(r.bound, b) }
func (r *fanoutRouter) unbind(b *binding) { r.bound = without(r.bound, b) }

// match reaches all; twice what is bound twice with different keys, which reach corrects.
func (r *fanoutRouter) match(_ *message, hit func(*destination)) {
	for _, b := range r.bound {
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

// without returns the list less b, by moving the last one into its place.
func without(list []*binding, b *binding) []*binding {
	i := slices.Index(list, b)
	if i < 0 {
		return list
	}
	last := len(list) - 1
	list[i] = list[last]
	list[last] = nil
	return list[:last]
}

// route fills c.targets with the indexes that a message reaches, each once, in order of
// their ids: the walk of a router may differ between a core that lived and one that was
// loaded, the events may not.
func (c *Core) route(x *exchange, m *message) {
	c.targets = c.targets[:0]
	c.routing++
	if x.router == nil {
		if d, ok := c.dests[m.key]; ok {
			// The key names the topic; so it cannot choose the partition as well.
			c.reach(d, "")
		}
		return
	}
	c.routeKey = m.key
	x.router.match(m, c.hit)
	if len(c.targets) > 1 {
		slices.SortFunc(c.targets, func(a, b *index) int { return cmp.Compare(a.id, b.id) })
	}
}

// reach adds a destination's index to the targets unless it is among them.
func (c *Core) reach(d *destination, key string) {
	if d.routed == c.routing {
		return
	}
	d.routed = c.routing
	if d.queue != nil {
		c.targets = append(c.targets, d.queue.own.ix)
		return
	}
	c.scratch = append(c.scratch[:0], key...)
	c.targets = append(c.targets, d.topic.choose(c.scratch))
}
