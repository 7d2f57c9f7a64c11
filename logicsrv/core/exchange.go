package core

import (
	"fmt"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/invariant"
	"github.com/trimq/trimq/protocol/ipc"
)

// exchange hands batches on to the destinations that are bound to it.
type exchange struct {
	id          uint64
	spec        admin.CreateExchange // what it was created with
	predeclared bool                 // there from the start: no event makes it, none ends it
	router      router               // nil for the default exchange, which routes by name
	bindings    []*binding           // that lead from it, in no order that means anything
	alternate   string               // what counts: that of the spec, or the policy's
	policy      *policy
	onward      int         // how many of them lead to exchanges
	dest        destination // where bindings to it lead

	// Soft state, counted from the start of the term: messages that were published to it or came as
	// dead letters, and how often one of them has reached a queue or topic.
	published, reached uint64
}

// count counts a batch that the exchange was given, and how many queues and topics it has reached.
func (x *exchange) count(records uint32, reached int) {
	x.published += uint64(records)
	x.reached += uint64(records) * uint64(reached)
}

// newExchange makes one without bindings. REQUIRES: the type is known.
func newExchange(id uint64, spec admin.CreateExchange) *exchange {
	x := &exchange{id: id, spec: spec, alternate: spec.Alternate}
	x.dest = destination{name: spec.Name, exchange: x}
	x.router = newRouter(x)
	return x
}

// amqpExchanges are those that AMQP wants to be there, besides the default one.
var amqpExchanges = [...]struct {
	name string
	typ  admin.ExchangeType
}{
	{"amq.direct", admin.Direct},
	{"amq.fanout", admin.Fanout},
	{"amq.topic", admin.Topic},
	{"amq.headers", admin.Headers},
	{"amq.match", admin.Headers},
}

// reservedPrefix begins the names of things that only the broker makes.
const reservedPrefix = "amq."

// reservedIDs are the last ids of a shard, which belong to amqpExchanges and are given to nothing
// else: a list that grows moves none of the ids that stand in logs.
const reservedIDs = 256

// predeclare makes the exchanges that were there before the first event. The default one has the
// id before the first, the others the last ones.
func (c *Core) predeclare() {
	base := uint64(c.cfg.Shard) << shardShift
	c.addExchange(&exchange{id: base, predeclared: true, spec: admin.CreateExchange{Type: admin.Direct, Durable: true}})
	for i, a := range amqpExchanges {
		x := newExchange(base+1<<shardShift-1-uint64(i), admin.CreateExchange{Name: a.name, Type: a.typ, Durable: true})
		x.predeclared = true
		c.addExchange(x)
	}
}

// clientExchanges is how many exchanges clients have made.
func (c *Core) clientExchanges() int { return c.exchanges.len() - len(amqpExchanges) - 1 }

// difference words the first property in which an exchange is not what was asked for; empty: it
// is that in all of them.
func (x *exchange) difference(m *admin.CreateExchange) string {
	switch have := &x.spec; {
	case have.Type != m.Type:
		return fmt.Sprintf("type is %s, not %s", have.Type, m.Type)
	case have.Durable != m.Durable:
		return fmt.Sprintf("durable is %t, not %t", have.Durable, m.Durable)
	case have.AutoDelete != m.AutoDelete:
		return fmt.Sprintf("auto-delete is %t, not %t", have.AutoDelete, m.AutoDelete)
	case have.Internal != m.Internal:
		return fmt.Sprintf("internal is %t, not %t", have.Internal, m.Internal)
	case have.Alternate != m.Alternate:
		return fmt.Sprintf("alternate exchange is %s, not %s", quoted(have.Alternate), quoted(m.Alternate))
	case have.Delayed != m.Delayed:
		return fmt.Sprintf("delayed is %t, not %t", have.Delayed, m.Delayed)
	case have.HashHeader != m.HashHeader:
		return fmt.Sprintf("hash header is %s, not %s", quoted(have.HashHeader), quoted(m.HashHeader))
	}
	return ""
}

// destination is what can be bound: a queue, a topic as a whole, or an exchange. Queues and topics
// share one space of names, so that a name in a binding, or a routing key on the default
// exchange, means one; exchanges have another.
type destination struct {
	name     string
	queue    *queue // one of the three is set
	topic    *topic
	exchange *exchange

	bindings []*binding // to it, from all exchanges, in no order that means anything
	routed   uint64     // number of the last routing that reached it: soft, see route
}

// binding is one binding.
type binding struct {
	exchange *exchange
	dest     *destination
	id       string // admin.CreateBinding.Identity: the key in state.bindings
	key      string // the routing key
	terms    *terms // nil where there are none, as outside of headers exchanges

	fromAt, toAt uint32 // its places in exchange.bindings and dest.bindings
}

// terms are what a binding asks of the headers of a message.
type terms struct {
	any     bool         // one of them is enough
	withX   bool         // those whose names begin with x- count
	headers []ipc.Header // in order of key and value, each once
	present []string     // in order, each once

	arguments string
}

// newBinding makes a binding of these parts. REQUIRES: m is canonical, its strings stay.
func newBinding(m *admin.CreateBinding, x *exchange, d *destination) *binding {
	b := &binding{exchange: x, dest: d, id: m.Identity()}
	at := len(m.Exchange) + len(m.Queue) + 2
	b.key = b.id[at : at+len(m.RoutingKey)]
	if m.MatchAny || m.WithX || len(m.Headers)+len(m.Present)+len(m.Arguments) > 0 {
		b.terms = &terms{m.MatchAny, m.WithX, m.Headers, m.Present, m.Arguments}
	}
	return b
}

// arguments is what an AMQP client gave with the binding.
func (b *binding) arguments() string {
	if b.terms == nil {
		return ""
	}
	return b.terms.arguments
}

// info is the binding as it is told to others.
func (b *binding) info() admin.CreateBinding {
	m := admin.CreateBinding{
		Exchange: b.exchange.spec.Name, Queue: b.dest.name, ToExchange: b.dest.exchange != nil, RoutingKey: b.key,
	}
	if t := b.terms; t != nil {
		m.MatchAny, m.WithX, m.Headers, m.Present, m.Arguments = t.any, t.withX, t.headers, t.present, t.arguments
	}
	return m
}

// enter lists the binding with the exchange from which it leads and the destination to which.
func (b *binding) enter() {
	x, d := b.exchange, b.dest
	b.fromAt, b.toAt = uint32(len(x.bindings)), uint32(len(d.bindings))
	x.bindings, d.bindings = append(x.bindings, b), append(d.bindings, b)
	if d.exchange != nil {
		x.onward++
	}
}

// leave is the reverse of enter. The last of each list takes the free place, so that what has a
// hundred thousand bindings loses one as fast as what has two.
func (b *binding) leave() {
	x, d := b.exchange, b.dest
	invariant.Check(x.bindings[b.fromAt] == b && d.bindings[b.toAt] == b, "binding %q stands elsewhere", b.id)
	last := x.bindings[len(x.bindings)-1]
	x.bindings[b.fromAt], last.fromAt = last, b.fromAt
	x.bindings = shortened(x.bindings)
	last = d.bindings[len(d.bindings)-1]
	d.bindings[b.toAt], last.toAt = last, b.toAt
	d.bindings = shortened(d.bindings)
	if d.exchange != nil {
		x.onward--
	}
}

// shortened is the list without its last element, which it no longer keeps alive.
func shortened(list []*binding) []*binding {
	last := len(list) - 1
	list[last] = nil
	return list[:last]
}
