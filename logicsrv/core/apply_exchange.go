package core

import (
	"slices"
	"strings"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/journal"
)

// The rules are those of apply.go. What an event ends, it ends with all that follows from it: an
// exchange takes its bindings along, a binding that was the last of an exchange that is deleted
// automatically takes that exchange along, and so on. What is left when nothing more follows does
// not depend on the order in which that is gone through.

// applyExchangeCreated: an exchange without bindings.
func (c *Core) applyExchangeCreated(e *journal.ExchangeCreated) error {
	spec := e.Exchange
	if _, ok := c.exchanges.get(spec.Name); ok || !spec.Type.Known() {
		return misfit("exchange %q of type %d", spec.Name, spec.Type)
	}
	if err := c.claimID(e.ID); err != nil {
		return err
	}
	c.addExchange(newExchange(e.ID, spec))
	return nil
}

// addExchange enters an exchange under its id, which events name, and its name.
func (c *Core) addExchange(x *exchange) {
	c.exchanges.add(x.spec.Name, x)
	c.exchByID[x.id] = x
	c.governExchange(x)
}

// applyExchangeDeleted forgets the exchange, its bindings and the lanes of producers to it. Those
// that are predeclared stay.
func (c *Core) applyExchangeDeleted(e *journal.ExchangeDeleted) error {
	x := c.exchByID[e.ID]
	if x == nil || x.predeclared {
		return misfit("exchange %d does not exist", e.ID)
	}
	c.emptied = append(c.emptied, x)
	c.dropEmptied()
	return nil
}

// applyBindingCreated binds. The event bears names, which are resolved again here: no id of a
// binding exists, its parts are its identity.
func (c *Core) applyBindingCreated(m *admin.CreateBinding) error {
	x, known := c.exchanges.get(m.Exchange)
	d := c.boundTo(m)
	if !known || d == nil || x.router == nil || d.exchange != nil && d.exchange.router == nil || strings.IndexByte(m.RoutingKey, 0) >= 0 {
		return misfit("binding of %q to %q", m.Queue, m.Exchange)
	}
	if _, ok := parseWeight(m.RoutingKey); !ok && x.spec.Type == admin.ConsistentHash {
		return misfit("binding of %q to %q with weight %q", m.Queue, m.Exchange, m.RoutingKey)
	}
	m.Canonical()
	b := newBinding(m, x, d)
	if _, ok := c.bindings.get(b.id); ok {
		return misfit("%q is bound to %q already", m.Queue, m.Exchange)
	}
	c.bindings.add(b.id, b)
	b.enter()
	x.router.bind(b)
	return nil
}

// applyBindingDeleted finds the binding by its parts.
func (c *Core) applyBindingDeleted(m *admin.CreateBinding) error {
	m.Canonical()
	b, ok := c.bindings.get(m.Identity())
	if !ok {
		return misfit("%q is not bound to %q", m.Queue, m.Exchange)
	}
	c.unbind(b)
	c.dropEmptied()
	return nil
}

// unbind is the reverse of applyBindingCreated. Whoever calls it calls dropEmptied then.
func (c *Core) unbind(b *binding) {
	x := b.exchange
	c.bindings.remove(b.id)
	b.leave()
	x.router.unbind(b)
	if x.spec.AutoDelete && len(x.bindings) == 0 {
		c.emptied = append(c.emptied, x)
	}
}

// dropDestination forgets the name of a queue or topic and all bindings to it.
func (c *Core) dropDestination(d *destination) {
	c.unbindAll(d)
	delete(c.dests, d.name)
	c.dropEmptied()
}

// unbindAll ends all bindings to a destination.
func (c *Core) unbindAll(d *destination) {
	for len(d.bindings) > 0 {
		c.unbind(d.bindings[len(d.bindings)-1])
	}
}

// dropEmptied ends the exchanges in c.emptied, and those which that adds to the list.
func (c *Core) dropEmptied() {
	if len(c.emptied) == 0 {
		return
	}
	gone := make(map[uint64]bool)
	for len(c.emptied) > 0 {
		last := len(c.emptied) - 1
		x := c.emptied[last]
		c.emptied[last] = nil
		c.emptied = c.emptied[:last]
		if !gone[x.id] && !(len(gone) > 0 && failpoint.Broken("auto-delete-once")) {
			gone[x.id] = true
			c.dropExchange(x)
		}
	}
	c.producers.forget(gone)
}

// dropExchange forgets an exchange and the bindings from it and to it.
func (c *Core) dropExchange(x *exchange) {
	c.exchanges.remove(x.spec.Name)
	delete(c.exchByID, x.id)
	for _, b := range slices.Clone(x.bindings) { // its router goes as a whole
		c.bindings.remove(b.id)
		b.leave()
	}
	c.unbindAll(&x.dest)
}
