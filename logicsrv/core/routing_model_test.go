package core

import (
	"maps"
	"slices"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
)

// routingModel is what exchanges do, in the plainest words: lists, looked through from front to
// back for each question.
type routingModel struct {
	exchanges map[string]admin.CreateExchange // but the default one
	queues    map[string]bool
	bindings  []admin.CreateBinding
}

func newRoutingModel() *routingModel {
	m := &routingModel{exchanges: map[string]admin.CreateExchange{}, queues: map[string]bool{}}
	for _, x := range amqpExchanges {
		m.exchanges[x.name] = admin.CreateExchange{Name: x.name, Type: x.typ, Durable: true}
	}
	return m
}

// createExchange answers as the broker should.
func (m *routingModel) createExchange(x admin.CreateExchange) errcode.Code {
	old, ok := m.exchanges[x.Name]
	switch {
	case ok && old != x:
		return errcode.Inequivalent
	case !ok && x.HashHeader != "" && x.Type != admin.ConsistentHash:
		return errcode.InvalidArgument
	}
	m.exchanges[x.Name] = x
	return errcode.OK
}

func (m *routingModel) deleteExchange(d admin.Delete) errcode.Code {
	_, ok := m.exchanges[d.Name]
	switch {
	case !ok:
		return errcode.NotFound
	case d.Name == "amq.topic":
		return errcode.AccessRefused
	case d.IfUnused && slices.ContainsFunc(m.bindings, func(b admin.CreateBinding) bool { return b.Exchange == d.Name }):
		return errcode.InUse
	}
	m.endExchange(d.Name)
	return errcode.OK
}

// endExchange ends an exchange with its bindings.
func (m *routingModel) endExchange(name string) {
	delete(m.exchanges, name)
	m.endBindings(func(b admin.CreateBinding) bool {
		return b.Exchange == name || b.ToExchange && b.Queue == name
	})
}

// endBindings ends those that are gone, and the exchanges that lose their last one by it.
func (m *routingModel) endBindings(gone func(admin.CreateBinding) bool) {
	lost := map[string]bool{}
	m.bindings = slices.DeleteFunc(m.bindings, func(b admin.CreateBinding) bool {
		if gone(b) {
			lost[b.Exchange] = true
			return true
		}
		return false
	})
	for name := range lost {
		x, there := m.exchanges[name]
		if there && x.AutoDelete && !slices.ContainsFunc(m.bindings, func(b admin.CreateBinding) bool { return b.Exchange == name }) {
			m.endExchange(name)
		}
	}
}

// bindable tells what is wrong with the ends and the key of a binding.
func (m *routingModel) bindable(b admin.CreateBinding) errcode.Code {
	x, ok := m.exchanges[b.Exchange]
	_, to := m.exchanges[b.Queue]
	if !b.ToExchange {
		to = m.queues[b.Queue]
	}
	switch _, weight := parseWeight(b.RoutingKey); {
	case !ok || !to:
		return errcode.NotFound
	case x.Type == admin.ConsistentHash && !weight:
		return errcode.InvalidArgument
	}
	return errcode.OK
}

func (m *routingModel) find(b admin.CreateBinding) int {
	return slices.IndexFunc(m.bindings, func(o admin.CreateBinding) bool { return o.Identity() == b.Identity() })
}

func (m *routingModel) bind(b admin.CreateBinding) errcode.Code {
	code := m.bindable(b)
	if code == errcode.OK && m.find(b) < 0 {
		m.bindings = append(m.bindings, b)
	}
	return code
}

func (m *routingModel) unbind(b admin.CreateBinding) errcode.Code {
	if code := m.bindable(b); code != errcode.OK {
		return code
	}
	if m.find(b) < 0 {
		return errcode.NotFound
	}
	id := b.Identity()
	m.endBindings(func(o admin.CreateBinding) bool { return o.Identity() == id })
	return errcode.OK
}

func (m *routingModel) deleteQueue(name string) errcode.Code {
	if !m.queues[name] {
		return errcode.NotFound
	}
	delete(m.queues, name)
	m.endBindings(func(b admin.CreateBinding) bool { return !b.ToExchange && b.Queue == name })
	return errcode.OK
}

// dropTransient ends what does not outlive the rings.
func (m *routingModel) dropTransient() {
	for _, name := range slices.Sorted(maps.Keys(m.exchanges)) {
		if x, ok := m.exchanges[name]; ok && !x.Durable {
			m.endExchange(name)
		}
	}
	for name := range m.queues {
		if !durableInModel(name) {
			m.deleteQueue(name)
		}
	}
}

// durableInModel is a property that the queues of histories have by their names.
func durableInModel(queue string) bool { return queue != "q3" && queue != "q5" }

// publish answers which queues a message reaches, in order of name.
func (m *routingModel) publish(p *ipc.Publish) ([]string, errcode.Code) {
	x, ok := m.exchanges[p.Exchange]
	switch {
	case !ok:
		return nil, errcode.NotFound
	case x.Internal:
		return nil, errcode.AccessRefused
	}
	reached := map[string]bool{}
	m.route(p.Exchange, p, map[string]bool{}, reached)
	if len(reached) == 0 && p.Mandatory {
		return nil, errcode.Unroutable
	}
	return slices.Sorted(maps.Keys(reached)), errcode.OK
}

// route goes through one exchange, and through those behind it.
func (m *routingModel) route(name string, p *ipc.Publish, been, reached map[string]bool) {
	x, ok := m.exchanges[name]
	if !ok || been[name] {
		return
	}
	been[name] = true
	matched := false
	for _, b := range m.matching(x, p) {
		matched = true
		if b.ToExchange {
			m.route(b.Queue, p, been, reached)
		} else {
			reached[b.Queue] = true
		}
	}
	if !matched && x.Alternate != "" {
		m.route(x.Alternate, p, been, reached)
	}
}

// matching lists the bindings of an exchange that a message matches.
func (m *routingModel) matching(x admin.CreateExchange, p *ipc.Publish) (out []admin.CreateBinding) {
	for _, b := range m.bindings {
		if b.Exchange == x.Name && matchesBinding(x, &b, p) {
			out = append(out, b)
		}
	}
	if x.Type == admin.ConsistentHash && len(out) > 0 {
		return []admin.CreateBinding{hashChoice(x, out, p)}
	}
	return out
}

// matchesBinding is the rule of each type; on a consistent-hash exchange all bindings take part.
func matchesBinding(x admin.CreateExchange, b *admin.CreateBinding, p *ipc.Publish) bool {
	switch x.Type {
	case admin.Direct:
		return b.RoutingKey == p.RoutingKey
	case admin.Topic:
		return matches(splitKey(b.RoutingKey), splitKey(p.RoutingKey))
	case admin.Headers:
		return headersMatch(b, p.Headers)
	}
	return true
}

// hashChoice asks a router of its own, to which all is bound in another order: what it chooses, and
// that the order does not matter, is shown by TestHashShares and others.
func hashChoice(x admin.CreateExchange, among []admin.CreateBinding, p *ipc.Publish) (chosen admin.CreateBinding) {
	alone := newExchange(1, x)
	for i := range among {
		b := among[len(among)-1-i]
		d := &destination{name: b.Queue}
		if b.ToExchange {
			d = &newExchange(2, admin.CreateExchange{Name: b.Queue, Type: admin.Fanout}).dest
		}
		alone.router.bind(newBinding(&b, alone, d))
	}
	alone.router.match(&message{key: p.RoutingKey, headers: p.Headers}, func(d *destination) {
		chosen = admin.CreateBinding{Queue: d.name, ToExchange: d.exchange != nil}
	})
	return chosen
}
