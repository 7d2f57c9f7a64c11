package core

import (
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/journal"
)

// createExchange decides a new exchange. Equal means type and durability; what a front end would
// like to ask beyond (auto-delete, internal) becomes a property here when it comes.
func (c *Core) createExchange(m *admin.CreateExchange) (admin.Created, refused) {
	if no := checked(checkName("exchange", m.Name)); no != nil {
		return admin.Created{}, no
	}
	if m.Type < admin.Fanout || m.Type > admin.Headers {
		return admin.Created{}, errcode.New(errcode.InvalidArgument, "%d is no exchange type; fanout=1, direct=2, topic=3, headers=4", m.Type)
	}
	if x, ok := c.exchanges.get(m.Name); ok {
		if x.typ != m.Type || x.durable != m.Durable {
			return admin.Created{}, errcode.New(errcode.Inequivalent, "exchange %q has type %d, durable %t", m.Name, x.typ, x.durable)
		}
		return c.unchanged(0)
	}
	if c.exchanges.len() >= c.cfg.MaxExchanges {
		return admin.Created{}, errcode.New(errcode.LimitExceeded, "at most %d exchanges", c.cfg.MaxExchanges)
	}
	c.decided(&journal.ExchangeCreated{Pos: c.in.Pos, ID: c.lastID + 1, Name: m.Name, Type: m.Type, Durable: m.Durable})
	return admin.Created{}, nil
}

// deleteExchange decides that an exchange and its bindings go. Unused means without bindings.
func (c *Core) deleteExchange(m *admin.Delete) (admin.Created, refused) {
	x, ok := c.exchanges.get(m.Name)
	switch {
	case !ok:
		return admin.Created{}, errcode.New(errcode.NotFound, "there is no exchange %s", quoted(m.Name))
	case x.router == nil:
		return admin.Created{}, errcode.New(errcode.AccessRefused, "the default exchange cannot be deleted")
	case m.IfUnused && x.bindings > 0:
		return admin.Created{}, errcode.New(errcode.InUse, "exchange %q has %d bindings", m.Name, x.bindings)
	}
	c.decided(&journal.ExchangeDeleted{Pos: c.in.Pos, ID: x.id})
	return admin.Created{}, nil
}

// checkBinding finds the ends of a binding and brings it into the form that identifies it.
func (c *Core) checkBinding(m *admin.CreateBinding) refused {
	if no := checked(checkBindingParts(m.RoutingKey, m.Headers)); no != nil {
		return no
	}
	x, ok := c.exchanges.get(m.Exchange)
	switch {
	case !ok:
		return errcode.New(errcode.NotFound, "there is no exchange %s", quoted(m.Exchange))
	case x.router == nil:
		return errcode.New(errcode.AccessRefused, "the default exchange reaches every queue by its name and takes no bindings")
	}
	if _, ok := c.dests[m.Queue]; !ok {
		return errcode.New(errcode.NotFound, "there is no queue or topic %s", quoted(m.Queue))
	}
	// The same headers in another order are the same binding.
	m.Headers = orderHeaders(m.Headers)
	return nil
}

// createBinding decides a binding. A second one of the same parts is no other binding; one that
// differs in the key alone is, and a message that matches both still comes once.
func (c *Core) createBinding(m *admin.CreateBinding) (admin.Created, refused) {
	if no := c.checkBinding(m); no != nil {
		return admin.Created{}, no
	}
	if _, ok := c.bindings.get(identity(m)); ok {
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
	if _, ok := c.bindings.get(identity(m)); !ok {
		return admin.Created{}, errcode.New(errcode.NotFound, "%s is not bound to exchange %s with key %s and these headers", quoted(m.Queue), quoted(m.Exchange), quoted(m.RoutingKey))
	}
	c.decided(&journal.BindingDeleted{Pos: c.in.Pos, Binding: *m})
	return admin.Created{}, nil
}
