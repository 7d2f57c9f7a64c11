package definitions

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/amqp"
	"github.com/trimq/trimq/protocol/ipc"
)

// Queues, exchanges and bindings with AMQP's arguments, and the commands that make them.

// queueTypes are the words for types of queues.
var queueTypes = [...]string{admin.ClassicQueue: "classic", admin.QuorumQueue: "quorum", admin.StreamQueue: "stream"}

// TypeName is the word for a type of queue.
func TypeName(t admin.QueueType) string { return queueTypes[t] }

// Command makes the queue, or, of type stream, the topic.
func (q *Queue) Command() (Command, error) {
	args := Arguments(nil)
	for key, x := range q.Arguments {
		args[key] = x
	}
	if q.Type != "" && args["x-queue-type"] == nil && q.Type != queueTypes[admin.ClassicQueue] {
		args["x-queue-type"] = q.Type
	}
	t, err := Table(args)
	if err != nil {
		return Command{}, fmt.Errorf("queue %q: %w", q.Name, err)
	}
	what := fmt.Sprintf("queue %q in vhost %q", q.Name, q.VHost)
	m := &admin.CreateQueue{Name: admin.InVHost(q.VHost, q.Name)}
	m.Durable, m.AutoDelete, m.Arguments = bool(q.Durable), bool(q.AutoDelete), string(t)
	for name, v := range t.Each {
		if err := setArgument(&m.QueueSettings, q.VHost, string(name), v); err != nil {
			return Command{}, fmt.Errorf("%s: argument %q: %w", what, name, err)
		}
	}
	if m.DeadLetterKey != "" && !m.DeadLetter {
		return Command{}, fmt.Errorf("%s: x-dead-letter-routing-key without x-dead-letter-exchange", what)
	}
	if m.DeadLetter {
		m.KeepKey = m.DeadLetterKey == ""
		if m.DeadLetterExchange == "" && m.DeadLetterKey != "" {
			m.DeadLetterKey = admin.InVHost(q.VHost, m.DeadLetterKey)
		}
	}
	if m.Type == admin.StreamQueue {
		return streamCommand(what, q, t)
	}
	return Command{what, admin.CmdCreateQueue, m}, nil
}

// streamCommand makes the topic of a stream: one partition.
func streamCommand(what string, q *Queue, t amqp.Table) (Command, error) {
	m := &admin.CreateTopic{Name: admin.InVHost(q.VHost, q.Name), Partitions: 1}
	if v, ok := t.Get("x-max-length-bytes"); ok {
		m.RetentionBytes, _ = v.Int()
	}
	if v, ok := t.Get("x-max-age"); ok {
		ms, ok := maxAge(string(v.Raw))
		if !ok {
			return Command{}, fmt.Errorf("%s: x-max-age %q is no number with Y, M, D, h, m or s behind it", what, v.Raw)
		}
		m.RetentionMS = ms
	}
	return Command{what, admin.CmdCreateTopic, m}, nil
}

// ageUnits are those of x-max-age, in ms.
var ageUnits = map[byte]int64{'s': 1000, 'm': 60_000, 'h': 3_600_000, 'D': 86_400_000, 'M': 30 * 86_400_000, 'Y': 365 * 86_400_000}

func maxAge(s string) (ms int64, ok bool) {
	if len(s) < 2 {
		return 0, false
	}
	n, err := strconv.ParseInt(s[:len(s)-1], 10, 32)
	unit := ageUnits[s[len(s)-1]]
	return n * unit, err == nil && n >= 0 && unit > 0
}

// overflows are the words of x-overflow.
var overflows = map[string]admin.Overflow{
	"drop-head": admin.DropHead, "reject-publish": admin.RejectPublish, "reject-publish-dlx": admin.RejectDeadLetter,
}

// setArgument sets what an argument means; what nobody knows means nothing, and is kept.
func setArgument(set *admin.QueueSettings, vhost, name string, v amqp.Value) error {
	limit := func(to *admin.Opt, most int64) error {
		n, ok := v.Int()
		if !ok || n < 0 || n > most {
			return fmt.Errorf("it is a %s; a number from 0 to %d is wanted", v.Kind, most)
		}
		*to = admin.Some(uint64(n))
		return nil
	}
	text := func(to *string) error {
		s, ok := v.Text()
		if !ok {
			return fmt.Errorf("it is a %s; a text is wanted", v.Kind)
		}
		*to = string(s)
		return nil
	}
	switch name {
	case "x-message-ttl":
		return limit(&set.MessageTTLMS, math.MaxUint32)
	case "x-expires":
		return limit(&set.ExpiresMS, math.MaxUint32)
	case "x-max-length":
		return limit(&set.MaxMessages, math.MaxInt64)
	case "x-max-length-bytes":
		return limit(&set.MaxBytes, math.MaxInt64)
	case "x-delivery-limit":
		return limit(&set.DeliveryLimit, math.MaxInt64)
	case "x-max-priority":
		var n admin.Opt
		err := limit(&n, math.MaxUint8)
		set.MaxPriority = uint8(n.N)
		return err
	case "x-single-active-consumer":
		is, ok := v.Bool()
		set.SingleActive = is
		if !ok {
			return fmt.Errorf("it is a %s; true or false is wanted", v.Kind)
		}
	case "x-dead-letter-exchange":
		err := text(&set.DeadLetterExchange)
		if set.DeadLetter = err == nil; set.DeadLetterExchange != "" {
			set.DeadLetterExchange = admin.InVHost(vhost, set.DeadLetterExchange)
		}
		return err
	case "x-dead-letter-routing-key":
		return text(&set.DeadLetterKey)
	case "x-overflow":
		how, ok := overflows[string(v.Raw)]
		set.Overflow = how
		if !ok {
			return fmt.Errorf("%q is not drop-head, reject-publish or reject-publish-dlx", v.Raw)
		}
	case "x-queue-type":
		for t, word := range queueTypes {
			if word == string(v.Raw) {
				set.Type = admin.QueueType(t)
				return nil
			}
		}
		return fmt.Errorf("%q is not classic, quorum or stream", v.Raw)
	}
	return nil
}

// Command makes the exchange.
func (x *Exchange) Command() (Command, error) {
	what := fmt.Sprintf("exchange %q in vhost %q", x.Name, x.VHost)
	t, err := Table(x.Arguments)
	if err != nil {
		return Command{}, fmt.Errorf("%s: %w", what, err)
	}
	m := &admin.CreateExchange{
		Name: admin.InVHost(x.VHost, x.Name), Durable: bool(x.Durable), AutoDelete: bool(x.AutoDelete), Internal: bool(x.Internal), Arguments: string(t),
	}
	kind := x.Type
	if m.Delayed = kind == "x-delayed-message"; m.Delayed {
		kind, _ = x.Arguments["x-delayed-type"].(string)
	}
	known := false
	if m.Type, known = admin.TypeNamed(kind); !known {
		return Command{}, fmt.Errorf("%s: there is no exchange type %q here; %s are known, and x-delayed-message", what, kind, strings.Join(admin.TypeNames(), ", "))
	}
	if a, ok := x.Arguments["alternate-exchange"].(string); ok {
		m.Alternate = admin.InVHost(x.VHost, a)
	}
	m.HashHeader, _ = x.Arguments["hash-header"].(string)
	return Command{what, admin.CmdCreateExchange, m}, nil
}

// Command makes the binding, or with undo ends it. headers tells that its exchange is one of headers.
func (b *Binding) Command(headers, undo bool) (Command, error) {
	what := fmt.Sprintf("binding of %s %q to exchange %q with key %q in vhost %q", b.DestinationType, b.Destination, b.Source, b.RoutingKey, b.VHost)
	t, err := Table(b.Arguments)
	if err != nil {
		return Command{}, fmt.Errorf("%s: %w", what, err)
	}
	m := &admin.CreateBinding{
		Exchange: admin.InVHost(b.VHost, b.Source), Queue: admin.InVHost(b.VHost, b.Destination), ToExchange: b.DestinationType == "exchange",
		RoutingKey: b.RoutingKey, Arguments: string(t),
	}
	for name, v := range t.Each {
		switch {
		case headers && string(name) == "x-match":
			m.MatchAny = strings.HasPrefix(string(v.Raw), "any")
			m.WithX = strings.HasSuffix(string(v.Raw), "-with-x")
		case v.Kind == amqp.KindVoid:
			m.Present = append(m.Present, string(name))
		default:
			m.Headers = append(m.Headers, ipc.Header{Key: string(name), Value: fieldText(v)})
		}
	}
	cmd := admin.CmdCreateBinding
	if undo {
		cmd = admin.CmdDeleteBinding
	}
	return Command{what, cmd, m}, nil
}

// fieldText is a value as headers of messages have it, by which they are compared.
func fieldText(v amqp.Value) string {
	switch x := plain(v).(type) {
	case int64:
		return strconv.FormatInt(x, 10)
	case bool:
		return strconv.FormatBool(x)
	case float64:
		return strconv.FormatFloat(x, 'g', -1, 64)
	}
	s, _ := v.Text()
	return string(s)
}
