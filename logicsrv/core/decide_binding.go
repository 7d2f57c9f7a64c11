package core

import (
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/journal"
)

// boundTo finds the destination of a binding; nil where it does not exist.
func (c *Core) boundTo(m *admin.CreateBinding) *destination {
	if !m.ToExchange {
		return c.dests[m.Queue]
	}
	if x, ok := c.exchanges.get(m.Queue); ok {
		return &x.dest
	}
	return nil
}

// checkBinding finds the ends of a binding and brings it into the form that identifies it.
func (c *Core) checkBinding(m *admin.CreateBinding) refused {
	if no := checked(checkBindingParts(m)); no != nil {
		return no
	}
	x, ok := c.exchanges.get(m.Exchange)
	switch {
	case !ok:
		return errcode.New(errcode.NotFound, "there is no exchange %s", quoted(m.Exchange))
	case x.router == nil:
		return errcode.New(errcode.AccessRefused, "the default exchange reaches every queue by its name and takes no bindings")
	case m.ToExchange && m.Queue == "":
		return errcode.New(errcode.AccessRefused, "the default exchange cannot be bound")
	case c.boundTo(m) == nil && m.ToExchange:
		return errcode.New(errcode.NotFound, "there is no exchange %s", quoted(m.Queue))
	case c.boundTo(m) == nil:
		return errcode.New(errcode.NotFound, "there is no queue or topic %s", quoted(m.Queue))
	}
	// The same headers in another order are the same binding.
	m.Canonical()
	if _, ok := parseWeight(m.RoutingKey); !ok && x.spec.Type == admin.ConsistentHash {
		return errcode.New(errcode.InvalidArgument, "exchange %q hashes: the routing key of a binding is its weight, a number from 1 to %d, not %s", m.Exchange, maxWeight, quoted(m.RoutingKey))
	}
	return nil
}

// createBinding decides a binding. A second one of the same parts is no other binding; one that
// differs in the key alone is, and a message that matches both still comes once.
func (c *Core) createBinding(m *admin.CreateBinding) (admin.Created, refused) {
	if no := c.checkBinding(m); no != nil {
		return admin.Created{}, no
	}
	if _, ok := c.bindings.get(m.Identity()); ok {
		return c.unchanged(0) // as AMQP has it: to bind twice is to bind once
	}
	if c.bindings.len() >= c.cfg.MaxBindings {
		return admin.Created{}, errcode.New(errcode.LimitExceeded, "at most %d bindings", c.cfg.MaxBindings)
	}
	c.decided(&journal.BindingCreated{Pos: c.in.Pos, Binding: *m})
	return admin.Created{}, nil
}

// deleteBinding decides that the binding of exactly these parts goes.
func (c *Core) deleteBinding(m *admin.CreateBinding) (admin.Created, refused) {
	if no := c.checkBinding(m); no != nil {
		return admin.Created{}, no
	}
	if _, ok := c.bindings.get(m.Identity()); !ok {
		return admin.Created{}, errcode.New(errcode.NotFound, "%s is not bound to exchange %s with key %s and these headers", quoted(m.Queue), quoted(m.Exchange), quoted(m.RoutingKey))
	}
	c.decided(&journal.BindingDeleted{Pos: c.in.Pos, Binding: *m})
	return admin.Created{}, nil
}
