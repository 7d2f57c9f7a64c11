package model

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
)

// binding is one binding, by the names of what it binds.
type binding struct {
	admin.CreateBinding
	id string
}

// predeclared are the exchanges that nobody makes.
func predeclared() map[string]*exchange {
	all := map[string]*exchange{}
	for name, typ := range map[string]admin.ExchangeType{
		"": admin.Direct, "amq.direct": admin.Direct, "amq.fanout": admin.Fanout, "amq.topic": admin.Topic,
		"amq.headers": admin.Headers, "amq.match": admin.Headers,
	} {
		all[name] = &exchange{spec: admin.CreateExchange{Name: name, Type: typ, Durable: true}}
	}
	return all
}

// router finds the destinations of one message.
type router struct {
	walked map[string]bool
	queues []*queue
	topics []*topic
	vague  bool // it went through an exchange whose choice the model does not know
	// headers says that it went through an exchange that looks at them.
	headers bool
}

// routeLetter finds where a message goes that was noted before, by the bindings of now.
func (m *Model) routeLetter(t *letter) *router {
	return m.routeKeys(&ipc.Publish{Exchange: t.exchange, RoutingKey: t.key, MoreKeys: t.more, Headers: t.headers})
}

// routeKeys is route for a batch that may have more keys than one: each exchange on its way looks by all of them.
func (m *Model) routeKeys(p *ipc.Publish) *router {
	r := &m.routes
	keys := append([]string{p.RoutingKey}, p.MoreKeys...)
	one := r.from(m, p, keys[:1])
	if len(p.MoreKeys) > 0 && r.from(m, p, keys) > one {
		m.saw(RuleMoreKeys)
	}
	slices.SortFunc(r.queues, func(a, b *queue) int { return cmp.Compare(a.id, b.id) })
	return r
}

// from finds what a batch reaches by some keys, and tells how many queues and topics that are.
func (r *router) from(m *Model, p *ipc.Publish, keys []string) int {
	*r = router{queues: r.queues[:0], topics: r.topics[:0], walked: map[string]bool{}}
	if p.Exchange != "" {
		m.routeThrough(r, p.Exchange, keys, p.Headers)
		return len(r.queues) + len(r.topics)
	}
	for _, key := range keys {
		m.reach(r, key)
	}
	return len(r.queues) + len(r.topics)
}

// routeThrough lets one exchange find destinations, unless the message has been there.
func (m *Model) routeThrough(r *router, name string, keys []string, headers []ipc.Header) {
	x := m.exchanges[name]
	if x == nil || r.walked[name] {
		return
	}
	r.walked[name] = true
	r.headers = r.headers || x.spec.Type == admin.Headers || x.spec.HashHeader != ""
	matched := false
	for i := range m.bindings {
		b := &m.bindings[i]
		if b.Exchange != name || !slices.ContainsFunc(keys, func(key string) bool { return matches(x.spec.Type, b, key, headers) }) {
			continue
		}
		matched = true
		r.vague = r.vague || x.spec.Type == admin.ConsistentHash
		if b.ToExchange {
			m.routeThrough(r, b.Queue, keys, headers)
		} else {
			m.reach(r, b.Queue)
		}
	}
	if other := m.alternate(x); !matched && other != "" {
		m.routeThrough(r, other, keys, headers)
	}
}

// reach adds the queue or topic of a name.
func (m *Model) reach(r *router, name string) {
	if q := m.queueNamed(name); q != nil && q.set.Topic == "" && !slices.Contains(r.queues, q) {
		r.queues = append(r.queues, q)
	}
	for _, t := range m.topics {
		if t.name == name && !slices.Contains(r.topics, t) {
			r.topics = append(r.topics, t)
		}
	}
}

func (m *Model) queueNamed(name string) *queue {
	for _, q := range m.queues {
		if q.name == name {
			return q
		}
	}
	return nil
}

// matches tells whether a binding matches a message.
func matches(typ admin.ExchangeType, b *binding, key string, headers []ipc.Header) bool {
	switch typ {
	case admin.Direct:
		return b.RoutingKey == key
	case admin.Topic:
		return matchWords(words(b.RoutingKey), words(key))
	case admin.Headers:
		return matchHeaders(b, headers)
	}
	return true
}

func words(key string) []string {
	if key == "" {
		return nil
	}
	return strings.Split(key, ".")
}

func matchWords(pattern, key []string) bool {
	switch {
	case len(pattern) == 0:
		return len(key) == 0
	case pattern[0] == "#":
		return matchWords(pattern[1:], key) || len(key) > 0 && matchWords(pattern, key[1:])
	}
	return len(key) > 0 && (pattern[0] == "*" || pattern[0] == key[0]) && matchWords(pattern[1:], key[1:])
}

func matchHeaders(b *binding, headers []ipc.Header) bool {
	wanted, found := 0, 0
	look := func(key string, same func(value string) bool) {
		if strings.HasPrefix(key, "x-") && !b.WithX {
			return
		}
		wanted++
		if slices.ContainsFunc(headers, func(h ipc.Header) bool { return h.Key == key && same(h.Value) }) {
			found++
		}
	}
	for _, h := range b.Headers {
		look(h.Key, func(value string) bool { return value == h.Value })
	}
	for _, key := range b.Present {
		look(key, func(string) bool { return true })
	}
	if b.MatchAny {
		return found > 0
	}
	return found == wanted
}

// bind adds a binding, unbind takes those away for which gone holds, and with them the exchanges
// that go with their last one.
func (m *Model) bind(b admin.CreateBinding) {
	b.Canonical()
	m.bindings = append(m.bindings, binding{b, b.Identity()})
}

func (m *Model) unbind(gone func(b *binding) bool) {
	lost := map[string]bool{}
	m.bindings = slices.DeleteFunc(m.bindings, func(b binding) bool {
		if !gone(&b) {
			return false
		}
		lost[b.Exchange] = true
		return true
	})
	for _, name := range slices.Sorted(maps.Keys(lost)) {
		x := m.exchanges[name]
		if x != nil && x.spec.AutoDelete && !slices.ContainsFunc(m.bindings, func(b binding) bool { return b.Exchange == name }) {
			m.endExchange(name)
		}
	}
}

// endExchange takes an exchange away, with the bindings from it and to it.
func (m *Model) endExchange(name string) {
	delete(m.exchanges, name)
	m.bindings = slices.DeleteFunc(m.bindings, func(b binding) bool { return b.Exchange == name })
	m.unbind(func(b *binding) bool { return b.ToExchange && b.Queue == name })
}

// endQueue takes a queue away, with the bindings to it.
func (m *Model) endQueue(q *queue) {
	delete(m.queues, q.id)
	for _, l := range q.lanes {
		delete(m.lanes, l.index)
	}
	m.unbind(func(b *binding) bool { return !b.ToExchange && b.Queue == q.name })
}
