package amqpconn

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/amqp"
)

// Arguments of queues: what they ask for, which kind of queue takes which of them, and the texts of
// RabbitMQ for what is wrong.

// The kinds of queues, as x-queue-type has them.
const (
	classicQueue = "classic"
	quorumQueue  = "quorum"
	streamQueue  = "stream"
)

// queueTypes are the kinds by the core's numbers.
var queueTypes = map[admin.QueueType]string{
	admin.ClassicQueue: classicQueue, admin.QuorumQueue: quorumQueue, admin.StreamQueue: streamQueue,
}

// known are the arguments that a kind of queue takes. Others that are known are refused; what
// nobody knows is taken and means nothing.
var known = map[string][]string{
	classicQueue: {
		"x-expires", "x-message-ttl", "x-dead-letter-exchange", "x-dead-letter-routing-key", "x-max-length", "x-max-length-bytes",
		"x-max-in-memory-length", "x-max-in-memory-bytes", "x-max-priority", "x-overflow", "x-queue-mode", "x-queue-version",
		"x-single-active-consumer", "x-queue-type", "x-queue-master-locator", "x-queue-leader-locator",
	},
	quorumQueue: {
		"x-dead-letter-exchange", "x-dead-letter-routing-key", "x-dead-letter-strategy", "x-expires", "x-max-length", "x-max-length-bytes",
		"x-max-in-memory-length", "x-max-in-memory-bytes", "x-overflow", "x-single-active-consumer", "x-queue-type",
		"x-quorum-initial-group-size", "x-delivery-limit", "x-message-ttl", "x-queue-leader-locator",
	},
	streamQueue: {
		"x-max-length-bytes", "x-queue-type", "x-max-age", "x-stream-max-segment-size-bytes", "x-stream-filter-size-bytes",
		"x-initial-cluster-size", "x-queue-leader-locator",
	},
}

// isKnown tells whether some kind of queue takes the argument.
func isKnown(name string) bool {
	return slices.Contains(known[classicQueue], name) || slices.Contains(known[quorumQueue], name) || slices.Contains(known[streamQueue], name)
}

// differs says that a property is not what it was declared with.
func differs(property, what string, received, current any) *fault {
	return wrong(amqp.PreconditionFailed, "inequivalent arg '%s' for %s: received '%v' but current is '%v'", property, what, received, current)
}

// argDiffers is differs for an argument, with what textArg or valueText have made.
func argDiffers(arg, what, received, current string) *fault {
	return wrong(amqp.PreconditionFailed, "inequivalent arg '%s' for %s: received %s but current is %s", arg, what, received, current)
}

// textArg is an argument that is a text, in an error; empty: it is not there.
func textArg(s string) string {
	if s == "" {
		return "none"
	}
	return fmt.Sprintf("the value '%s' of type 'longstr'", s)
}

// queueWanted is the queue that a declare asks for, and its kind.
func (c *Conn) queueWanted(name string, m *amqp.QueueDeclare) (q *admin.CreateQueue, kind string, f *fault) {
	what := c.of("queue", name)
	invalid := func(arg, why string) *fault {
		return wrong(amqp.PreconditionFailed, "invalid arg '%s' for %s: %s", arg, what, why)
	}
	kind = classicQueue
	if v, ok := m.Arguments.Get("x-queue-type"); ok {
		kind = string(v.Raw)
		if v.Kind != amqp.KindString || known[kind] == nil {
			return nil, kind, invalid("x-queue-type", fmt.Sprintf(`"unsupported queue type '%s'"`, kind))
		}
	}
	if kind != classicQueue {
		switch {
		case !m.Durable:
			return nil, kind, wrong(amqp.PreconditionFailed, "invalid property 'non-durable' for %s", what)
		case m.Exclusive:
			return nil, kind, wrong(amqp.PreconditionFailed, "invalid property 'exclusive-owner' for %s", what)
		case m.AutoDelete:
			return nil, kind, wrong(amqp.PreconditionFailed, "invalid property 'auto-delete' for %s", what)
		}
	}
	q = &admin.CreateQueue{Name: c.full(name)}
	q.Durable, q.Exclusive, q.AutoDelete, q.Arguments = m.Durable, m.Exclusive, m.AutoDelete, string(m.Arguments)
	if kind == quorumQueue {
		q.Type = admin.QuorumQueue
	}
	for raw, v := range m.Arguments.Each {
		arg := string(raw)
		if !isKnown(arg) {
			continue
		}
		if why := c.argument(q, m.Arguments, arg, v); why != "" {
			return nil, kind, invalid(arg, why)
		}
		if !slices.Contains(known[kind], arg) {
			return nil, kind, wrong(amqp.PreconditionFailed, "invalid arg '%s' for %s of queue type rabbit_%s_queue", arg, what, kind)
		}
	}
	if q.DeadLetter && q.DeadLetterExchange == "" { // by the key it finds a queue, of this vhost
		q.DeadLetterKey = c.fullOrEmpty(q.DeadLetterKey)
	}
	return q, kind, nil
}

// argument takes an argument in; why is what is wrong with it, as RabbitMQ says it.
func (c *Conn) argument(q *admin.CreateQueue, all amqp.Table, arg string, v amqp.Value) (why string) {
	switch arg {
	case "x-message-ttl":
		return number(v, &q.MessageTTLMS, 0, math.MaxUint32)
	case "x-expires":
		return number(v, &q.ExpiresMS, 1, math.MaxUint32)
	case "x-max-length":
		return number(v, &q.MaxMessages, 0, math.MaxInt64)
	case "x-max-length-bytes":
		return number(v, &q.MaxBytes, 0, math.MaxInt64)
	case "x-delivery-limit":
		return number(v, &q.DeliveryLimit, 0, math.MaxInt64)
	case "x-max-priority":
		var n admin.Opt
		why = number(v, &n, 0, 255)
		q.MaxPriority = uint8(n.N)
		return why
	case "x-single-active-consumer":
		is, ok := v.Bool()
		q.SingleActive = is
		if !ok {
			return fmt.Sprintf(`"expected boolean, got %s"`, v.Kind)
		}
	case "x-dead-letter-exchange":
		if v.Kind != amqp.KindString {
			return fmt.Sprintf("{unacceptable_type,%s}", v.Kind)
		}
		q.DeadLetter, q.DeadLetterExchange = true, c.fullOrEmpty(string(v.Raw))
		if q.DeadLetterKey == "" {
			q.KeepKey = true
		}
	case "x-dead-letter-routing-key":
		if v.Kind != amqp.KindString {
			return fmt.Sprintf("{unacceptable_type,%s}", v.Kind)
		}
		if _, ok := all.Get("x-dead-letter-exchange"); !ok {
			return "routing_key_but_no_dlx_defined"
		}
		q.DeadLetterKey, q.KeepKey = string(v.Raw), false
	case "x-overflow":
		return overflow(v, &q.Overflow)
	case "x-max-age":
		if _, ok := maxAge(v); !ok {
			return "invalid_max_age"
		}
	}
	return ""
}

// number takes a whole number in.
func number(v amqp.Value, to *admin.Opt, least, most int64) (why string) {
	n, ok := v.Int()
	switch {
	case !ok:
		return fmt.Sprintf(`"expected integer, got %s"`, v.Kind)
	case n < 0:
		return fmt.Sprintf("{value_negative,%d}", n)
	case n < least:
		return fmt.Sprintf("{value_zero,%d}", n)
	case n > most && most == 255:
		return fmt.Sprintf("{max_value_exceeded,%d}", n)
	case n > most:
		return fmt.Sprintf("{value_too_large,%d}", n)
	}
	*to = admin.Some(uint64(n))
	return ""
}

var overflows = map[string]admin.Overflow{
	"drop-head": admin.DropHead, "reject-publish": admin.RejectPublish, "reject-publish-dlx": admin.RejectDeadLetter,
}

func overflow(v amqp.Value, to *admin.Overflow) (why string) {
	how, ok := overflows[string(v.Raw)]
	if !ok || v.Kind != amqp.KindString {
		return "invalid_overflow"
	}
	*to = how
	return ""
}

// ageUnits are the units of a stream's max-age, in ms.
var ageUnits = map[byte]int64{'s': 1000, 'm': 60_000, 'h': 3_600_000, 'D': 86_400_000, 'M': 30 * 86_400_000, 'Y': 365 * 86_400_000}

// maxAge reads a number and a unit, such as 7D.
func maxAge(v amqp.Value) (ms int64, ok bool) {
	if v.Kind != amqp.KindString || len(v.Raw) < 2 {
		return 0, false
	}
	last := len(v.Raw) - 1
	n, err := strconv.ParseInt(string(v.Raw[:last]), 10, 32)
	unit := ageUnits[v.Raw[last]]
	return n * unit, err == nil && n >= 0 && unit > 0
}

// queueDiffers says in which property or argument a queue is not what is wanted; nil: in none.
func (c *Conn) queueDiffers(name string, is *admin.QueueSettings, wanted *admin.CreateQueue) *fault {
	what := c.of("queue", name)
	switch {
	case is.Durable != wanted.Durable:
		return differs("durable", what, wanted.Durable, is.Durable)
	case is.AutoDelete != wanted.AutoDelete:
		return differs("auto_delete", what, wanted.AutoDelete, is.AutoDelete)
	case is.Type != wanted.Type:
		return argDiffers("x-queue-type", what, textArg(queueTypes[wanted.Type]), textArg(queueTypes[is.Type]))
	}
	has, not := c.arguments(is), amqp.Table(wanted.Arguments)
	for _, arg := range known[queueTypes[is.Type]] {
		a, _ := has.Get(arg)
		b, _ := not.Get(arg)
		if arg != "x-queue-type" && !sameValue(a, b) {
			return argDiffers(arg, what, valueArg(b), valueArg(a))
		}
	}
	return nil
}

// sameValue tells whether two values of an argument are the same: numbers may be of different types.
func sameValue(a, b amqp.Value) bool {
	n, whole := a.Int()
	m, alsoWhole := b.Int()
	if whole && alsoWhole {
		return n == m
	}
	return a.Kind == b.Kind && string(a.Raw) == string(b.Raw)
}

// valueArg is an argument in an error; the zero Value: it is not there.
func valueArg(v amqp.Value) string {
	if v.Kind == 0 {
		return "none"
	}
	text, _ := valueText(v)
	return fmt.Sprintf("the value '%s' of type '%s'", text, v.Kind)
}

// arguments are those with which a queue was declared, or would have been: clients of other
// protocols have their own way to say it.
func (c *Conn) arguments(s *admin.QueueSettings) (t amqp.Table) {
	if s.Arguments != "" && amqp.CheckTable(amqp.Table(s.Arguments)) == nil {
		return amqp.Table(s.Arguments)
	}
	for _, o := range []struct {
		arg string
		n   admin.Opt
	}{
		{"x-message-ttl", s.MessageTTLMS}, {"x-expires", s.ExpiresMS}, {"x-max-length", s.MaxMessages}, {"x-max-length-bytes", s.MaxBytes},
		{"x-delivery-limit", s.DeliveryLimit}, {"x-max-priority", admin.Opt{Given: s.MaxPriority > 0, N: uint64(s.MaxPriority)}},
	} {
		if o.n.Given {
			t = t.Add(o.arg, amqp.Int64(int64(o.n.N)))
		}
	}
	if s.SingleActive {
		t = t.Add("x-single-active-consumer", amqp.Bool(true))
	}
	if s.DeadLetter {
		t = t.Add("x-dead-letter-exchange", amqp.String(c.local(s.DeadLetterExchange)))
	}
	if s.DeadLetterKey != "" {
		t = t.Add("x-dead-letter-routing-key", amqp.String(c.local(s.DeadLetterKey)))
	}
	for name, n := range overflows {
		if n == s.Overflow && n != admin.DropHead {
			t = t.Add("x-overflow", amqp.String(name))
		}
	}
	return t
}
