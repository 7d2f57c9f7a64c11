package amqpconn

import (
	"slices"
	"strings"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/amqp"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
)

// Direct reply-to. Who consumes from the queue amq.rabbitmq.reply-to gets a queue of its own, which
// ends with its consumer and is not written for. A request that names that queue in reply-to is given
// a name by which the answer finds the way; it stands for the queue's.
//
//	reply-to: amq.rabbitmq.reply-to          becomes    amq.rabbitmq.reply-to.76e0…
//	published to amq.rabbitmq.reply-to.76e0…  goes to    amq.gen-76e0…

const (
	replyQueue  = "amq.rabbitmq.reply-to"
	replyPrefix = replyQueue + "."
	ownPrefix   = "amq.gen-" // of names that the broker gives
)

// replyName is the name that clients have for a queue of answers.
func replyName(queue string) string { return replyPrefix + strings.TrimPrefix(queue, ownPrefix) }

// consumeReplies makes a consumer of answers, with a queue of its own.
func (ch *channel) consumeReplies(m *amqp.BasicConsume, tag []byte) {
	if !m.NoAck {
		ch.fail(m.Method(), wrong(amqp.PreconditionFailed, "reply consumer cannot acknowledge"))
		return
	}
	if is := ch.replies(); is != nil && is.Answered {
		ch.fail(m.Method(), wrong(amqp.PreconditionFailed, "reply consumer already set"))
		return
	}
	q := &admin.CreateQueue{Name: ch.conn.fullOrEmpty("")}
	q.Exclusive, q.AutoDelete = true, true
	ch.create(admin.CmdCreateQueue, q, func(made admin.Created, err *errcode.Error) {
		if err != nil {
			ch.fail(m.Method(), failed(err))
			return
		}
		s := &consumer{tag: tag, reply: true}
		ch.subscribe(m, ch.conn.local(made.Name), s, &admin.QueueInfo{Name: made.Name, Queue: made.Index})
	})
}

// declaredReplies answers a passive declare of a queue of answers, by which a server finds out whether somebody
// still waits for one. Anybody may ask.
func (ch *channel) declaredReplies(m *amqp.QueueDeclare, name string) {
	whole := ch.conn.full(ownPrefix + strings.TrimPrefix(name, replyPrefix))
	ch.describe(admin.KindQueue, []string{whole}, func(d *admin.Description, err *errcode.Error) {
		switch {
		case err != nil:
			ch.fail(m.Method(), failed(err))
		case len(d.Queues) == 0:
			ch.fail(m.Method(), ch.conn.missing("queue", name))
		default:
			ch.declared(m, name, 0, 1)
		}
	})
}

// replies is the channel's consumer of answers; nil: it has none.
func (ch *channel) replies() *consumer {
	for _, s := range ch.tags { // order: there is one at most
		if s.reply {
			return s
		}
	}
	return nil
}

// reroute brings what is said of a message's way into the form that the broker has: the name for its
// answer, and the keys that others than the routing key are.
func (ch *channel) reroute(p *amqp.Properties) *fault {
	in := ch.incoming
	if p.Flags&amqp.HasReplyTo != 0 && string(p.ReplyTo) == replyQueue {
		s := ch.replies()
		if s == nil {
			return wrong(amqp.PreconditionFailed, "fast reply consumer does not exist")
		}
		p.ReplyTo = []byte(replyName(s.name))
		in.properties = p.Append(nil)
	}
	if len(in.exchange) == 0 && strings.HasPrefix(string(in.key), replyPrefix) {
		in.key = slices.Concat([]byte(ownPrefix), in.key[len(replyPrefix):])
	}
	return ch.copies(p)
}

// copies takes the keys that a sender names besides the routing key, in CC for all to see and in
// BCC for none.
func (ch *channel) copies(p *amqp.Properties) *fault {
	in := ch.incoming
	in.more = nil
	if len(p.Headers) == 0 {
		return nil
	}
	for _, name := range []string{"CC", "BCC"} {
		v, ok := p.Headers.Get(name)
		if !ok {
			continue
		}
		if v.Kind != amqp.KindArray {
			return wrong(amqp.PreconditionFailed, "{unacceptable_type_in_header,%q,%s}", name, v.Kind)
		}
		for e := range v.Elements {
			if e.Kind == amqp.KindString && len(in.more) < ipc.MaxHeaders && len(e.Raw) <= amqp.MaxShortstr {
				in.more = append(in.more, ch.moreKey(string(e.Raw)))
			}
		}
	}
	if _, ok := p.Headers.Get("BCC"); ok {
		p.Headers = without(p.Headers, "BCC")
		in.properties = p.Append(nil)
	}
	return nil
}

// moreKey is a key as the core has it: through the default exchange it names a queue.
func (ch *channel) moreKey(key string) string {
	if len(ch.incoming.exchange) == 0 {
		return ch.conn.full(key)
	}
	return key
}

// without is a table without one of its fields.
func without(t amqp.Table, name string) (out amqp.Table) {
	for key, v := range t.Each {
		if string(key) != name {
			out = out.Add(string(key), v)
		}
	}
	return out
}
