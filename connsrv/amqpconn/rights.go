package amqpconn

import (
	"net/netip"

	"github.com/trimq/trimq/connsrv/access"
	"github.com/trimq/trimq/protocol/amqp"
)

// What the user of a connection may do. It is looked up for each method anew, in the newest table: what
// has changed counts at once.

// login lets the user in, or not.
func (c *Conn) login(user, password string) bool {
	from, err := netip.ParseAddrPort(c.link.Remote())
	if err != nil {
		return false
	}
	_, err = c.settings.Access.Load().Login(user, password, from.Addr())
	return err == nil
}

// impersonates tells whether the user may publish in the name of others.
func (c *Conn) impersonates() bool {
	u := c.settings.Access.Load().User(c.user)
	return u != nil && u.Has("impersonator")
}

// awaitUsers tells whether it is not known yet who there is. It is a moment after a start.
func (c *Conn) awaitUsers() bool {
	if c.state != stateStart || c.settings.Access.Load() != nil {
		return false
	}
	c.unknown = true
	c.schedule()
	return true
}

// may tells whether the user may do something with what is called so; kind says what that is.
func (c *Conn) may(what access.Op, kind, name string) *fault {
	t := c.settings.Access.Load()
	if t == nil || !t.May(c.user, c.vhost, what, name) {
		return wrong(amqp.AccessRefused, "access to %s refused for user '%s'", c.of(kind, name), c.user)
	}
	return nil
}

// mayAll is may for several things.
func (c *Conn) mayAll(asks ...right) *fault {
	for _, a := range asks {
		if f := c.may(a.what, a.kind, a.name); f != nil {
			return f
		}
	}
	return nil
}

// right is one thing that a method needs.
type right struct {
	what       access.Op
	kind, name string
}

func exchangeRight(what access.Op, name []byte) right {
	return right{what, "exchange", exchangeTitle(plain(name))}
}

func queueRight(what access.Op, name string) right { return right{what, "queue", name} }

// exchangeTitle is what permissions call an exchange: the one without a name has one there.
func exchangeTitle(name string) string {
	if name == "" {
		return "amq.default"
	}
	return name
}

// forbidden says what of a method the user has no right to; nil: nothing. Whether there is what is
// named is the method's own matter.
func (ch *channel) forbidden(m amqp.Arguments) *fault {
	c := ch.conn
	switch m := m.(type) {
	case *amqp.ExchangeDeclare:
		if m.Passive {
			return nil
		}
		needs := []right{exchangeRight(access.Configure, m.Exchange)}
		if v, ok := m.Arguments.Get("alternate-exchange"); ok {
			needs = append(needs, exchangeRight(access.Read, m.Exchange), exchangeRight(access.Write, v.Raw))
		}
		return c.mayAll(needs...)
	case *amqp.ExchangeDelete:
		return c.mayAll(exchangeRight(access.Configure, m.Exchange))
	case *amqp.ExchangeBind:
		return c.mayAll(exchangeRight(access.Write, m.Destination), exchangeRight(access.Read, m.Source))
	case *amqp.ExchangeUnbind:
		return c.mayAll(exchangeRight(access.Write, m.Destination), exchangeRight(access.Read, m.Source))
	case *amqp.QueueDeclare:
		return ch.forbiddenQueue(m)
	case *amqp.QueueBind:
		return ch.forbiddenBinding(m.Queue, m.Exchange, m.RoutingKey)
	case *amqp.QueueUnbind:
		return ch.forbiddenBinding(m.Queue, m.Exchange, m.RoutingKey)
	case *amqp.QueueDelete:
		return c.mayAll(queueRight(access.Configure, ch.named(m.Queue)))
	case *amqp.QueuePurge:
		return c.mayAll(queueRight(access.Read, ch.named(m.Queue)))
	case *amqp.BasicGet:
		return c.mayAll(queueRight(access.Read, ch.named(m.Queue)))
	case *amqp.BasicConsume:
		if ch.named(m.Queue) == replyQueue {
			return nil
		}
		return c.mayAll(queueRight(access.Read, ch.named(m.Queue)))
	}
	return nil
}

// named is the name of a queue as a method means it: an empty one is that which was declared last.
func (ch *channel) named(name []byte) string {
	if len(name) == 0 {
		return ch.queue
	}
	return plain(name)
}

// forbiddenQueue is forbidden for the declaration of a queue. A name that the broker is to choose
// begins as all of those do.
func (ch *channel) forbiddenQueue(m *amqp.QueueDeclare) *fault {
	name := plain(m.Queue)
	if m.Passive || name == replyQueue {
		return nil
	}
	if name == "" {
		name = reserved + "gen-"
	}
	needs := []right{queueRight(access.Configure, name)}
	if v, ok := m.Arguments.Get("x-dead-letter-exchange"); ok {
		needs = append(needs, queueRight(access.Read, name), exchangeRight(access.Write, v.Raw))
	}
	return ch.conn.mayAll(needs...)
}

// forbiddenBinding is forbidden for a binding of a queue.
func (ch *channel) forbiddenBinding(queue, exchange, key []byte) *fault {
	c := ch.conn
	if f := c.mayAll(queueRight(access.Write, ch.named(queue)), exchangeRight(access.Read, exchange)); f != nil {
		return f
	}
	return c.mayRoute(access.Read, plain(exchange), key)
}

// mayRoute looks at what is said of routing keys of an exchange.
func (c *Conn) mayRoute(what access.Op, exchange string, key []byte) *fault {
	if !c.settings.Access.Load().MayTopic(c.user, c.vhost, exchange, what, string(key)) {
		verb := "write"
		if what == access.Read {
			verb = "read"
		}
		return wrong(amqp.AccessRefused, "%s access to topic '%s' in %s refused for user '%s'", verb, key, c.of("exchange", exchange), c.user)
	}
	return nil
}

// mayPublish tells whether the user may publish to an exchange. The answer for the one that was asked
// about last is kept, as long as the table is the same, where nothing is said of routing keys.
func (ch *channel) mayPublish(exchange, key []byte) *fault {
	c := ch.conn
	t := c.settings.Access.Load()
	if ch.permit.table == t && t != nil && ch.permit.exchange == string(exchange) {
		return nil
	}
	name := string(exchange)
	if f := c.may(access.Write, "exchange", exchangeTitle(name)); f != nil {
		return f
	}
	if t.HasTopics(c.user, c.vhost, name) {
		return c.mayRoute(access.Write, name, key)
	}
	ch.permit = permit{t, name}
	return nil
}

// permit is an exchange to which a channel may publish, by a table.
type permit struct {
	table    *access.Table
	exchange string
}
