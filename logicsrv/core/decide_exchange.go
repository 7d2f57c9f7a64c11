package core

import (
	"strings"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/journal"
)

// createExchange decides a new exchange. One that exists is compared before anything else is
// looked at, so that clients may declare what is predeclared.
func (c *Core) createExchange(m *admin.CreateExchange) (admin.Created, refused) {
	if !m.Type.Known() {
		return admin.Created{}, errcode.New(errcode.InvalidArgument, "there is no exchange of type %d; %s are numbered from 1", m.Type, strings.Join(admin.TypeNames(), ", "))
	}
	if x, ok := c.exchanges.get(m.Name); ok {
		switch other := x.difference(m); {
		case x.router == nil:
			return admin.Created{}, errcode.New(errcode.AccessRefused, "the default exchange is there; nobody creates it")
		case other != "":
			return admin.Created{}, errcode.New(errcode.Inequivalent, "exchange %q: %s", m.Name, other)
		}
		return c.unchanged(0)
	}
	if no := c.checkExchange(m); no != nil {
		return admin.Created{}, no
	}
	if c.clientExchanges() >= c.cfg.MaxExchanges {
		return admin.Created{}, errcode.New(errcode.LimitExceeded, "at most %d exchanges", c.cfg.MaxExchanges)
	}
	c.decided(&journal.ExchangeCreated{Pos: c.in.Pos, ID: c.lastID + 1, Exchange: *m})
	return admin.Created{}, nil
}

// checkExchange tells whether an exchange can be as it is asked for. The alternate exchange need
// not exist, but its name must be one.
func (c *Core) checkExchange(m *admin.CreateExchange) refused {
	if no := c.checkWholeName("exchange", m.Name); no != nil {
		return no
	}
	if reserved(m.Name) {
		return errcode.New(errcode.AccessRefused, "exchange %q: names that begin with %s are the broker's; choose another", m.Name, reservedPrefix)
	}
	if m.Alternate != "" {
		if no := c.checkWholeName("alternate exchange", m.Alternate); no != nil {
			return no
		}
	}
	switch {
	case m.HashHeader == "":
		return nil
	case m.Type != admin.ConsistentHash:
		return errcode.New(errcode.InvalidArgument, "exchange %q: a hash header is for type %s, not %s", m.Name, admin.ConsistentHash, m.Type)
	}
	return checked(checkName("hash header", m.HashHeader))
}

// deleteExchange decides that an exchange goes, with the bindings from it and to it. Unused means
// without bindings from it.
func (c *Core) deleteExchange(m *admin.Delete) (admin.Created, refused) {
	x, ok := c.exchanges.get(m.Name)
	switch {
	case !ok:
		return admin.Created{}, errcode.New(errcode.NotFound, "there is no exchange %s", quoted(m.Name))
	case x.router == nil:
		return admin.Created{}, errcode.New(errcode.AccessRefused, "the default exchange cannot be deleted")
	case x.predeclared, reserved(x.spec.Name):
		return admin.Created{}, errcode.New(errcode.AccessRefused, "exchange %q is predeclared and cannot be deleted", m.Name)
	case m.IfUnused && len(x.bindings) > 0:
		return admin.Created{}, errcode.New(errcode.InUse, "exchange %q has %d bindings", m.Name, len(x.bindings))
	}
	c.decided(&journal.ExchangeDeleted{Pos: c.in.Pos, ID: x.id})
	return admin.Created{}, nil
}
