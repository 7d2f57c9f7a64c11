package amqpconn

import (
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/amqp"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/shmqueue"
)

// Class basic, but for publish (publish.go), consume and cancel (consume.go) and the verdicts
// (settle.go).

// basic carries a method of class basic out.
func (ch *channel) basic(m amqp.Arguments) {
	switch m := m.(type) {
	case *amqp.BasicQos:
		ch.qos(m)
	case *amqp.BasicConsume:
		ch.consume(m)
	case *amqp.BasicCancel:
		ch.cancel(m)
	case *amqp.BasicCancelOk: // answers our basic.cancel
	case *amqp.BasicGet:
		ch.get(m)
	case *amqp.BasicRecover:
		if ch.recover(m.Method(), m.Requeue) {
			ch.send(&amqp.BasicRecoverOk{})
		}
	case *amqp.BasicRecoverAsync:
		ch.recover(m.Method(), m.Requeue)
	default:
		ch.conn.failConnection(m.Method(), wrong(amqp.CommandInvalid, "unexpected method %s on channel %d", m.Method(), ch.number))
	}
}

func requeueIf(requeue bool) ipc.Verdict {
	if requeue {
		return ipc.VerdictRequeue
	}
	return ipc.VerdictReject
}

// qos sets how many messages may be unsettled: of each consumer that begins later, or of all of the
// channel together.
func (ch *channel) qos(m *amqp.BasicQos) {
	switch {
	case m.PrefetchSize != 0:
		ch.fail(m.Method(), wrong(amqp.NotImplemented, "prefetch_size!=0 (%d)", m.PrefetchSize))
		return
	case m.Global:
		ch.share(uint32(m.PrefetchCount))
	default:
		ch.prefetch = uint32(m.PrefetchCount)
	}
	ch.send(&amqp.BasicQosOk{})
	ch.advance()
}

// recover gives back what the channel holds.
func (ch *channel) recover(m amqp.Method, requeue bool) bool {
	if !requeue {
		ch.fail(m, wrong(amqp.NotImplemented, "requeue=false"))
		return false
	}
	ch.requeueAll()
	return true
}

// requeueAll gives back what the client holds.
func (ch *channel) requeueAll() {
	for u := &ch.unacked; u.count > 0; {
		ch.conn.settled.add(u.take(u.head), ipc.VerdictRequeue)
	}
	ch.conn.settle()
}

// get gives one message of a queue, if there is one.
func (ch *channel) get(m *amqp.BasicGet) {
	name, ok := ch.queueOf(m.Method(), m.Queue)
	if !ok {
		return
	}
	ch.find(m.Method(), name, func(q *admin.QueueInfo) {
		if q == nil {
			ch.notForStreams(m.Method(), name, "basic.get not supported by stream queues")
			return
		}
		ch.pull(m, name, q)
	})
}

// puller is in whose hand is what the channel gets from a queue.
func (ch *channel) puller(name string, q *admin.QueueInfo) *consumer {
	for _, s := range ch.pullers {
		if s.Index == q.Queue {
			return s
		}
	}
	s := &consumer{channel: ch, name: name}
	s.Queue, s.Puller, s.Answered, s.Index = true, true, true, q.Queue
	s.Limit, s.Consumer = unlimited, ipc.Consumer{Puller: true}
	ch.conn.addSub(s)
	ch.pullers = append(ch.pullers, s)
	return s
}

// pull asks for one message, and then for how many are left.
func (ch *channel) pull(m *amqp.BasicGet, name string, q *admin.QueueInfo) {
	s := ch.puller(name, q)
	ch.ask(ipc.TypePull, func(head ipc.Head, b []byte) []byte {
		record := ipc.Pull{Head: head, Sub: s.ID, Queue: s.Index, Max: 1, AutoAck: m.NoAck}
		return record.Append(b)
	}, func(a answer) {
		if a.err != nil {
			ch.getFailed(m, name, a.err)
			return
		}
		told, err := ipc.DecodePulled(a.payload)
		if ch.conn.undecodable(err) != nil || len(told.Runs) == 0 {
			ch.conn.lane.Counters.Add(shmqueue.ConnGotNothing, 1)
			ch.got(m, s, nil, 0)
			return
		}
		run := &told.Runs[0]
		ch.conn.lane.Hand(&s.Sub, run.Index, run.First, run.Count)
		ch.describe(admin.KindQueue, []string{q.Name}, func(d *admin.Description, err *errcode.Error) {
			left := uint64(0)
			if err == nil && len(d.Queues) > 0 {
				left = d.Queues[0].Ready
			}
			ch.got(m, s, run, left)
		})
	})
}

func (ch *channel) getFailed(m *amqp.BasicGet, name string, err *errcode.Error) {
	switch err.Code {
	case errcode.UnknownIndex:
		ch.fail(m.Method(), ch.conn.missing("queue", name))
	case errcode.Locked:
		ch.fail(m.Method(), ch.conn.lockedQueue(name))
	default:
		ch.fail(m.Method(), failed(err))
	}
}

// got answers basic.get with what came; nil: nothing.
func (ch *channel) got(m *amqp.BasicGet, s *consumer, run *ipc.PulledRun, left uint64) {
	if ch.gone {
		return
	}
	if run == nil {
		ch.send(&amqp.BasicGetEmpty{})
		return
	}
	c := ch.conn
	s.getting = &getting{noAck: m.NoAck, left: left}
	var skipped []ipc.Range
	index, offset := run.Index, run.First
	err := c.sendBatch(s, run, 1, &skipped)
	c.count(s, run, run.First-offset-countOf(skipped))
	unknownFrom := s.getting.unknownFrom
	s.getting = nil
	switch {
	case err == nil && unknownFrom != nil:
		ch.ask(ipc.TypeWaitStable, abortedIn(index, *unknownFrom), func(a answer) {
			if a.err == nil {
				a.err = c.undecodable(c.lane.EndTold(a.payload))
			}
			if a.err != nil {
				ch.getFailed(m, s.name, a.err)
				return
			}
			ch.got(m, s, run, left)
		})
	case err != nil:
		c.settings.Log.Error("a message cannot be delivered", "index", index, "offset", offset, "err", err)
		ch.fail(m.Method(), wrong(amqp.InternalError, "a message of %s cannot be read", c.of("queue", s.name)))
	case len(skipped) > 0:
		c.putVerdict(s, index, ipc.VerdictSkip, skipped)
		ch.send(&amqp.BasicGetEmpty{})
	case m.NoAck:
		c.putVerdict(s, index, ipc.VerdictAck, []ipc.Range{{First: offset, Count: 1}})
	}
}

// getting says that a message answers basic.get.
type getting struct {
	noAck       bool
	left        uint64
	unknownFrom *uint64 // it was not sent: from here on it is not known what was aborted
}
