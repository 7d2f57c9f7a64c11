package amqpconn

import (
	"slices"
	"strings"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/amqp"
	"github.com/trimq/trimq/protocol/errcode"
)

// Class exchange.

// reserved begins the names that are the broker's to give.
const reserved = "amq."

// plain is a name without the line ends that some clients leave in it, as RabbitMQ takes it.
func plain(name []byte) string {
	return strings.NewReplacer("\r", "", "\n", "").Replace(string(name))
}

// of says what and where a thing is, for texts.
func (c *Conn) of(kind, name string) string {
	return kind + " '" + name + "' in vhost '" + c.vhost + "'"
}

func (c *Conn) missing(kind, name string) *fault {
	return wrong(amqp.NotFound, "no %s", c.of(kind, name))
}

// onDefault refuses what cannot be done with the default exchange.
func onDefault() *fault {
	return wrong(amqp.AccessRefused, "operation not permitted on the default exchange")
}

// failed makes a fault of a refusal that has no text of RabbitMQ's.
func failed(err *errcode.Error) *fault {
	switch err.Code {
	case errcode.NotFound:
		return wrong(amqp.NotFound, "%s", err.Text)
	case errcode.AccessRefused:
		return wrong(amqp.AccessRefused, "%s", err.Text)
	case errcode.Locked:
		return wrong(amqp.ResourceLocked, "%s", err.Text)
	case errcode.Internal:
		return wrong(amqp.InternalError, "%s", err.Text)
	case errcode.LimitExceeded:
		return wrong(amqp.ResourceError, "%s", err.Text)
	}
	return wrong(amqp.PreconditionFailed, "%s", err.Text)
}

// exchangeNamed finds an exchange, and goes on with it; nil: there is none.
func (ch *channel) exchangeNamed(m amqp.Method, name string, then func(x *admin.ExchangeInfo)) {
	ch.describe(admin.KindExchange, []string{ch.conn.full(name)}, func(d *admin.Description, err *errcode.Error) {
		switch {
		case err != nil:
			ch.fail(m, failed(err))
		case len(d.Exchanges) == 0:
			then(nil)
		default:
			then(&d.Exchanges[0])
		}
	})
}

// exchangeDeclare makes an exchange, or compares one that is there.
func (ch *channel) exchangeDeclare(m *amqp.ExchangeDeclare) {
	name := plain(m.Exchange)
	if name == "" {
		ch.fail(m.Method(), onDefault())
		return
	}
	wanted, f := ch.conn.exchangeWanted(name, m)
	if f != nil && !m.Passive {
		ch.fail(m.Method(), f)
		return
	}
	ch.exchangeNamed(m.Method(), name, func(x *admin.ExchangeInfo) {
		switch {
		case x == nil && m.Passive:
			ch.fail(m.Method(), ch.conn.missing("exchange", name))
		case x == nil && strings.HasPrefix(name, reserved):
			ch.fail(m.Method(), wrong(amqp.AccessRefused, "exchange name '%s' contains reserved prefix 'amq.*'", name))
		case x == nil:
			ch.exchangeCreate(m, wanted)
		default:
			if f := ch.conn.exchangeDiffers(name, x, wanted); f != nil && !m.Passive {
				ch.fail(m.Method(), f)
				return
			}
			ch.answer(m.NoWait, &amqp.ExchangeDeclareOk{})
		}
	})
}

func (ch *channel) exchangeCreate(m *amqp.ExchangeDeclare, wanted *admin.CreateExchange) {
	ch.create(admin.CmdCreateExchange, wanted, func(_ admin.Created, err *errcode.Error) {
		if err != nil {
			ch.fail(m.Method(), failed(err))
			return
		}
		ch.answer(m.NoWait, &amqp.ExchangeDeclareOk{})
	})
}

// delayedType is the type of exchanges that hold messages back for as long as their x-delay says.
const delayedType = "x-delayed-message"

// typeOf is the type of an exchange, as clients have it.
func typeOf(x *admin.CreateExchange) string {
	if x.Delayed {
		return delayedType
	}
	return x.Type.String()
}

// exchangeWanted is the exchange that a declare asks for.
func (c *Conn) exchangeWanted(name string, m *amqp.ExchangeDeclare) (*admin.CreateExchange, *fault) {
	x := &admin.CreateExchange{Name: c.full(name), Durable: m.Durable, AutoDelete: m.AutoDelete, Internal: m.Internal}
	x.Arguments = string(m.Arguments)
	kind := string(m.Type)
	if kind == delayedType {
		x.Delayed = true
		v, _ := m.Arguments.Get("x-delayed-type")
		if kind = string(v.Raw); v.Kind != amqp.KindString {
			return nil, wrong(amqp.PreconditionFailed, "Invalid argument, 'x-delayed-type' must be an existing exchange type")
		}
	}
	var known bool
	if x.Type, known = admin.TypeNamed(kind); !known {
		return nil, wrong(amqp.PreconditionFailed, "unknown exchange type '%s'", kind)
	}
	for _, a := range []struct {
		name string
		to   *string
	}{{"alternate-exchange", &x.Alternate}, {"hash-header", &x.HashHeader}} {
		v, ok := m.Arguments.Get(a.name)
		if ok && v.Kind != amqp.KindString {
			return nil, wrong(amqp.PreconditionFailed, "invalid arg '%s' for %s: {unacceptable_type,%s}", a.name, c.of("exchange", name), v.Kind)
		}
		*a.to = string(v.Raw)
	}
	if x.Alternate != "" {
		x.Alternate = c.full(x.Alternate)
	}
	return x, nil
}

// exchangeDiffers says in what an exchange is not what is wanted; nil: in nothing.
func (c *Conn) exchangeDiffers(name string, x *admin.ExchangeInfo, wanted *admin.CreateExchange) *fault {
	if wanted == nil {
		return nil
	}
	what := c.of("exchange", name)
	switch {
	case typeOf(&x.CreateExchange) != typeOf(wanted):
		return differs("type", what, typeOf(wanted), typeOf(&x.CreateExchange))
	case x.Durable != wanted.Durable:
		return differs("durable", what, wanted.Durable, x.Durable)
	case x.AutoDelete != wanted.AutoDelete:
		return differs("auto_delete", what, wanted.AutoDelete, x.AutoDelete)
	case x.Internal != wanted.Internal:
		return differs("internal", what, wanted.Internal, x.Internal)
	case x.Type != wanted.Type:
		return argDiffers("x-delayed-type", what, textArg(wanted.Type.String()), textArg(x.Type.String()))
	case x.Alternate != wanted.Alternate:
		return argDiffers("alternate-exchange", what, textArg(c.local(wanted.Alternate)), textArg(c.local(x.Alternate)))
	case x.HashHeader != wanted.HashHeader:
		return argDiffers("hash-header", what, textArg(wanted.HashHeader), textArg(x.HashHeader))
	}
	return nil
}

// exchangeDelete deletes an exchange. One that is not there is deleted already.
func (ch *channel) exchangeDelete(m *amqp.ExchangeDelete) {
	name := plain(m.Exchange)
	switch {
	case name == "":
		ch.fail(m.Method(), onDefault())
		return
	case strings.HasPrefix(name, reserved):
		ch.fail(m.Method(), wrong(amqp.AccessRefused, "deletion of system %s not allowed", ch.conn.of("exchange", name)))
		return
	}
	body := &admin.Delete{Name: ch.conn.full(name), IfUnused: m.IfUnused}
	ch.create(admin.CmdDeleteExchange, body, func(_ admin.Created, err *errcode.Error) {
		switch {
		case err == nil || err.Code == errcode.NotFound:
			ch.answer(m.NoWait, &amqp.ExchangeDeleteOk{})
		case err.Code == errcode.InUse:
			ch.fail(m.Method(), wrong(amqp.PreconditionFailed, "%s in use", ch.conn.of("exchange", name)))
		default:
			ch.fail(m.Method(), failed(err))
		}
	})
}

// exchangeBind binds an exchange to another.
func (ch *channel) exchangeBind(m *amqp.ExchangeBind) {
	ch.joinExchanges(m.Method(), m.Source, m.Destination, m.RoutingKey, m.Arguments, admin.CmdCreateBinding, func() {
		ch.answer(m.NoWait, &amqp.ExchangeBindOk{})
	})
}

// exchangeUnbind takes such a binding away.
func (ch *channel) exchangeUnbind(m *amqp.ExchangeUnbind) {
	ch.joinExchanges(m.Method(), m.Source, m.Destination, m.RoutingKey, m.Arguments, admin.CmdDeleteBinding, func() {
		ch.answer(m.NoWait, &amqp.ExchangeUnbindOk{})
	})
}

// joinExchanges makes or deletes a binding between two exchanges. To be bound they must be there; where one
// is not, there is nothing to delete.
func (ch *channel) joinExchanges(m amqp.Method, source, destination, key []byte, args amqp.Table, cmd admin.Command, done func()) {
	c := ch.conn
	from, to := plain(source), plain(destination)
	if from == "" || to == "" {
		ch.fail(m, onDefault())
		return
	}
	ch.describe(admin.KindExchange, []string{c.full(from), c.full(to)}, func(d *admin.Description, err *errcode.Error) {
		if err != nil {
			ch.fail(m, failed(err))
			return
		}
		for _, name := range []string{from, to} {
			if !slices.Contains(d.Missing, c.full(name)) {
				continue
			}
			if cmd == admin.CmdDeleteBinding {
				done()
				return
			}
			ch.fail(m, c.missing("exchange", name))
			return
		}
		i := slices.IndexFunc(d.Exchanges, func(x admin.ExchangeInfo) bool { return x.Name == c.full(from) })
		b, f := binding(&d.Exchanges[i].CreateExchange, key, args)
		if f != nil {
			ch.fail(m, f)
			return
		}
		b.Queue, b.ToExchange = c.full(to), true
		ch.bind(m, cmd, b, done)
	})
}

// bind makes or deletes a binding. One that is not there is deleted already.
func (ch *channel) bind(m amqp.Method, cmd admin.Command, b *admin.CreateBinding, done func()) {
	ch.create(cmd, b, func(_ admin.Created, err *errcode.Error) {
		if err != nil && (cmd != admin.CmdDeleteBinding || err.Code != errcode.NotFound) {
			ch.fail(m, failed(err))
			return
		}
		done()
	})
}

// binding is one from an exchange, without its destination; a fault says what is wrong with its arguments.
func binding(x *admin.CreateExchange, key []byte, args amqp.Table) (*admin.CreateBinding, *fault) {
	b := &admin.CreateBinding{Exchange: x.Name, RoutingKey: string(key), Arguments: string(args)}
	for name, v := range args.Each {
		switch {
		case x.Type == admin.Headers && string(name) == "x-match":
			if f := checkMatch(v); f != nil {
				return nil, f
			}
			b.MatchAny = strings.HasPrefix(string(v.Raw), "any")
			b.WithX = strings.HasSuffix(string(v.Raw), "-with-x")
		case v.Kind == amqp.KindVoid:
			b.Present = append(b.Present, string(name))
		default:
			b.Headers = append(b.Headers, headerOf(name, v))
		}
	}
	return b, nil
}

// checkMatch says what is wrong with how headers are to match.
func checkMatch(v amqp.Value) *fault {
	if v.Kind != amqp.KindString {
		text, _ := valueText(v)
		return wrong(amqp.PreconditionFailed, "Invalid x-match field type %s (value %s); expected longstr", v.Kind, text)
	}
	switch string(v.Raw) {
	case "all", "any", "all-with-x", "any-with-x":
		return nil
	}
	return wrong(amqp.PreconditionFailed, "Invalid x-match field value <<%q>>; expected all, any, all-with-x, or any-with-x", v.Raw)
}
