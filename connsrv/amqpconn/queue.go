package amqpconn

import (
	"strings"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/amqp"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/shmqueue"
)

// Class queue.

// queueOf is the name that a method gives, or that of the queue that was declared last.
func (ch *channel) queueOf(m amqp.Method, name []byte) (string, bool) {
	if len(name) > 0 {
		return plain(name), true
	}
	if ch.queue == "" {
		ch.fail(m, wrong(amqp.NotFound, "no previously declared queue"))
		return "", false
	}
	return ch.queue, true
}

func (c *Conn) lockedQueue(name string) *fault {
	return wrong(amqp.ResourceLocked, "cannot obtain exclusive access to locked %s. It could be originally declared on another connection or the exclusive property value does not match that of the original declaration.", c.of("queue", name))
}

// find looks for a queue, and goes on with it; nil: there is none. A queue that belongs to another
// connection ends the channel.
func (ch *channel) find(m amqp.Method, name string, then func(q *admin.QueueInfo)) {
	ch.describe(admin.KindQueue, []string{ch.conn.full(name)}, func(d *admin.Description, err *errcode.Error) {
		switch {
		case err != nil:
			ch.fail(m, failed(err))
		case len(d.Queues) == 0:
			then(nil)
		case d.Queues[0].Settings.Exclusive:
			ch.touch(m, name, &d.Queues[0], then)
		default:
			then(&d.Queues[0])
		}
	})
}

// touch declares a queue as it is: who may not use it is told so, and its time to expire begins anew. It goes on
// with nil if the queue has gone meanwhile.
func (ch *channel) touch(m amqp.Method, name string, q *admin.QueueInfo, then func(q *admin.QueueInfo)) {
	same := &admin.CreateQueue{Name: q.Name, Level: q.Level, QueueSettings: q.Settings, From: admin.FromNowhere}
	ch.create(admin.CmdCreateQueue, same, func(_ admin.Created, err *errcode.Error) {
		switch {
		case err == nil:
			then(q)
		case err.Code == errcode.NotFound:
			then(nil)
		case err.Code == errcode.Locked:
			ch.fail(m, ch.conn.lockedQueue(name))
		default:
			ch.fail(m, failed(err))
		}
	})
}

// queueDeclare makes a queue, or compares one that is there.
func (ch *channel) queueDeclare(m *amqp.QueueDeclare) {
	name := plain(m.Queue)
	switch {
	case name == replyQueue:
		ch.queue = name
		ch.answer(m.NoWait, &amqp.QueueDeclareOk{Queue: m.Queue})
		return
	case m.Passive:
		if name, ok := ch.queueOf(m.Method(), m.Queue); ok {
			ch.declaredBefore(m, name)
		}
		return
	}
	wanted, kind, f := ch.conn.queueWanted(name, m)
	switch {
	case f != nil:
		ch.fail(m.Method(), f)
	case kind == streamQueue:
		ch.streamDeclare(m, name)
	case name == "":
		ch.queueCreate(m, wanted)
	default:
		ch.queueAgain(m, name, wanted)
	}
}

// declaredBefore answers a passive declare.
func (ch *channel) declaredBefore(m *amqp.QueueDeclare, name string) {
	if strings.HasPrefix(name, replyPrefix) {
		ch.declaredReplies(m, name)
		return
	}
	ch.find(m.Method(), name, func(q *admin.QueueInfo) {
		switch {
		case q == nil:
		case q.Effective.ExpiresMS.Given && !q.Settings.Exclusive: // it lasts longer for being looked at
			ch.touch(m.Method(), name, q, func(q *admin.QueueInfo) { ch.declaredOrMissing(m, name, q) })
			return
		default:
			ch.declared(m, name, q.Ready, q.Consumers)
			return
		}
		ch.stream(m.Method(), name, func(t *admin.TopicInfo) {
			if t == nil {
				ch.fail(m.Method(), ch.conn.missing("queue", name))
				return
			}
			ch.declared(m, name, messagesIn(t), 0)
		})
	})
}

// declaredOrMissing answers a passive declare of a queue that was there a moment ago.
func (ch *channel) declaredOrMissing(m *amqp.QueueDeclare, name string, q *admin.QueueInfo) {
	if q == nil {
		ch.fail(m.Method(), ch.conn.missing("queue", name))
		return
	}
	ch.declared(m, name, q.Ready, q.Consumers)
}

// queueAgain compares a queue with what is wanted, or makes it where it is not there.
func (ch *channel) queueAgain(m *amqp.QueueDeclare, name string, wanted *admin.CreateQueue) {
	ch.describe(admin.KindQueue, []string{wanted.Name}, func(d *admin.Description, err *errcode.Error) {
		switch {
		case err != nil:
			ch.fail(m.Method(), failed(err))
		case len(d.Queues) == 0 && strings.HasPrefix(name, reserved):
			ch.fail(m.Method(), wrong(amqp.AccessRefused, "queue name '%s' contains reserved prefix 'amq.*'", name))
		case len(d.Queues) == 0:
			ch.queueCreate(m, wanted)
		case d.Queues[0].Settings.Exclusive != wanted.Exclusive:
			ch.fail(m.Method(), ch.conn.lockedQueue(name))
		default:
			ch.touch(m.Method(), name, &d.Queues[0], func(q *admin.QueueInfo) {
				if q == nil {
					ch.queueCreate(m, wanted)
					return
				}
				if f := ch.conn.queueDiffers(name, &q.Settings, wanted); f != nil {
					ch.fail(m.Method(), f)
					return
				}
				ch.declared(m, name, q.Ready, q.Consumers)
			})
		}
	})
}

func (ch *channel) queueCreate(m *amqp.QueueDeclare, wanted *admin.CreateQueue) {
	ch.create(admin.CmdCreateQueue, wanted, func(made admin.Created, err *errcode.Error) {
		switch {
		case err == nil:
			ch.conn.lane.Counters.Add(shmqueue.ConnQueuesCreated, 1)
			ch.declared(m, ch.conn.local(made.Name), 0, 0)
		case err.Code == errcode.AlreadyExists: // a topic is called so
			ch.fail(m.Method(), argDiffers("x-queue-type", ch.conn.of("queue", ch.conn.local(wanted.Name)), textArg(queueTypes[wanted.Type]), textArg(streamQueue)))
		case err.Code == errcode.LimitExceeded && ch.conn.enoughQueues(ch.conn.local(wanted.Name)) != nil:
			ch.fail(m.Method(), ch.conn.enoughQueues(ch.conn.local(wanted.Name)))
		default:
			ch.fail(m.Method(), failed(err))
		}
	})
}

func (ch *channel) declared(m *amqp.QueueDeclare, name string, messages uint64, consumers uint32) {
	ch.queue = name
	ch.conn.lane.Counters.Add(shmqueue.ConnQueuesDeclared, 1)
	ch.answer(m.NoWait, &amqp.QueueDeclareOk{Queue: []byte(name), MessageCount: count32(messages), ConsumerCount: consumers})
}

// count32 is a count as it is sent: the largest number stands for more.
func count32(n uint64) uint32 { return uint32(min(n, 1<<32-1)) }

// queueBind binds a queue to an exchange.
func (ch *channel) queueBind(m *amqp.QueueBind) {
	key := m.RoutingKey
	if len(m.Queue) == 0 && len(key) == 0 { // as the protocol has it: the queue's name
		key = []byte(ch.queue)
	}
	ch.joinQueue(m.Method(), m.Queue, m.Exchange, key, m.Arguments, admin.CmdCreateBinding, func() {
		ch.answer(m.NoWait, &amqp.QueueBindOk{})
	})
}

// queueUnbind takes a binding away. What is not there is gone already.
func (ch *channel) queueUnbind(m *amqp.QueueUnbind) {
	ch.joinQueue(m.Method(), m.Queue, m.Exchange, m.RoutingKey, m.Arguments, admin.CmdDeleteBinding, func() {
		ch.send(&amqp.QueueUnbindOk{})
	})
}

// joinQueue makes or deletes a binding of a queue, or of a topic.
func (ch *channel) joinQueue(m amqp.Method, queue, exchange, key []byte, args amqp.Table, cmd admin.Command, done func()) {
	name, ok := ch.queueOf(m, queue)
	if !ok {
		return
	}
	from := plain(exchange)
	if from == "" {
		ch.fail(m, onDefault())
		return
	}
	unbind := cmd == admin.CmdDeleteBinding
	ch.destination(m, name, func(there bool) {
		if !there && !unbind {
			ch.fail(m, ch.conn.missing("queue", name))
			return
		}
		ch.exchangeNamed(m, from, func(x *admin.ExchangeInfo) {
			switch {
			case x == nil && !unbind:
				ch.fail(m, ch.conn.missing("exchange", from))
			case x == nil || !there:
				done()
			default:
				b, f := binding(&x.CreateExchange, key, args)
				if f != nil {
					ch.fail(m, f)
					return
				}
				b.Queue = ch.conn.full(name)
				ch.bind(m, cmd, b, done)
			}
		})
	})
}

// destination looks for a queue, or a topic.
func (ch *channel) destination(m amqp.Method, name string, then func(there bool)) {
	ch.find(m, name, func(q *admin.QueueInfo) {
		if q != nil {
			then(true)
			return
		}
		ch.stream(m, name, func(t *admin.TopicInfo) { then(t != nil) })
	})
}

// queuePurge drops what is ready.
func (ch *channel) queuePurge(m *amqp.QueuePurge) {
	name, ok := ch.queueOf(m.Method(), m.Queue)
	if !ok {
		return
	}
	ch.find(m.Method(), name, func(q *admin.QueueInfo) {
		if q == nil {
			ch.notForStreams(m.Method(), name, "queue.purge not supported by stream queues")
			return
		}
		ch.create(admin.CmdPurge, &admin.Purge{Name: q.Name}, func(made admin.Created, err *errcode.Error) {
			if err != nil {
				ch.fail(m.Method(), failed(err))
				return
			}
			ch.answer(m.NoWait, &amqp.QueuePurgeOk{MessageCount: count32(made.Messages)})
		})
	})
}

// queueDelete deletes a queue, or a stream. What is not there is deleted already.
func (ch *channel) queueDelete(m *amqp.QueueDelete) {
	name, ok := ch.queueOf(m.Method(), m.Queue)
	if !ok {
		return
	}
	body := &admin.Delete{Name: ch.conn.full(name), IfUnused: m.IfUnused, IfEmpty: m.IfEmpty}
	ch.create(admin.CmdDeleteQueue, body, func(made admin.Created, err *errcode.Error) {
		what := ch.conn.of("queue", name)
		switch {
		case err == nil:
			ch.conn.lane.Counters.Add(shmqueue.ConnQueuesDeleted, 1)
			ch.answer(m.NoWait, &amqp.QueueDeleteOk{MessageCount: count32(made.Messages)})
		case err.Code == errcode.NotFound:
			ch.streamDelete(m, name)
		case err.Code == errcode.Locked:
			ch.fail(m.Method(), ch.conn.lockedQueue(name))
		case err.Code == errcode.InUse:
			ch.fail(m.Method(), wrong(amqp.PreconditionFailed, "%s in use", what))
		case err.Code == errcode.NotEmpty:
			ch.fail(m.Method(), wrong(amqp.PreconditionFailed, "%s not empty", what))
		default:
			ch.fail(m.Method(), failed(err))
		}
	})
}
