package amqpconn

import (
	"slices"

	"github.com/trimq/trimq/protocol/amqp"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/invariant"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/shmqueue"
)

// Class confirm, and what becomes of publishes once logicsrv has answered.

// confirms are the publishes of a channel that are not confirmed, in order. Numbers count from 1.
type confirms struct {
	published uint64 // number of the last
	open      []confirming
}

// confirming is some publishes that were put into the ring together.
type confirming struct {
	first uint64
	count uint32
	done  bool
	taken bool // done: otherwise it was refused
}

// add enters publishes. REQUIRES: first is behind all before.
func (k *confirms) add(first uint64, count uint32) {
	k.open = append(k.open, confirming{first: first, count: count})
}

// settle takes an answer in.
func (k *confirms) settle(first uint64, taken bool) {
	for i := range k.open {
		if x := &k.open[i]; x.first == first {
			x.done, x.taken = true, taken
			return
		}
	}
}

// split makes entries of one each of an entry.
func (k *confirms) split(first uint64) {
	i := slices.IndexFunc(k.open, func(x confirming) bool { return x.first == first })
	if i < 0 {
		return
	}
	singles := make([]confirming, k.open[i].count)
	for n := range singles {
		singles[n] = confirming{first: first + uint64(n), count: 1}
	}
	k.open = slices.Replace(k.open, i, i+1, singles...)
}

// next takes the publishes off the front that have been answered alike, and gives the number of
// the last, and how many they are; 0: the front was not answered.
func (k *confirms) next() (last, count uint64, taken bool) {
	n := 0
	for ; n < len(k.open) && k.open[n].done && k.open[n].taken == k.open[0].taken; n++ {
		x := &k.open[n]
		count += uint64(x.count)
		last, taken = x.first+uint64(x.count)-1, x.taken
	}
	if k.open = k.open[n:]; len(k.open) == 0 {
		k.open = nil
	}
	return last, count, taken
}

// confirmSelect has publishes confirmed from now on.
func (ch *channel) confirmSelect(m *amqp.ConfirmSelect) {
	if ch.mode == modeTx {
		ch.fail(m.Method(), wrong(amqp.PreconditionFailed, "cannot switch from tx to confirm mode"))
		return
	}
	ch.mode = modeConfirm
	ch.answer(m.NoWait, &amqp.ConfirmSelectOk{})
}

// published takes the answer to publishes in.
func (c *Conn) published(typ ipc.Type, req uint64, payload []byte) {
	_, ok := c.pending.Take(req)
	s, known := c.sends[req]
	if !ok || !known {
		c.lane.Counters.Add(shmqueue.ConnStaleReplies, 1)
		return
	}
	delete(c.sends, req)
	if len(c.sends) == 0 {
		c.sends = nil // an idle connection holds no table
	}
	s.channel.sending--
	c.look()
	taken := true
	if typ == ipc.TypeError {
		m, err := ipc.DecodeError(payload)
		if refused := c.undecodable(err); refused != nil {
			m.Code = uint16(errcode.Internal)
		}
		if c.publishAgain(&s, errcode.Code(m.Code)) {
			return
		}
		taken = c.refused(&s, errcode.New(errcode.Code(m.Code), "%s", m.Text))
	} else if m, err := ipc.DecodePublished(payload); c.undecodable(err) == nil {
		taken = m.Full == 0
		switch {
		case s.run.routing.txn != 0: // where it goes is decided by the commit
		case m.Queues > 0:
			c.lane.Counters.Add(shmqueue.ConnRouted, uint64(s.count))
		case taken:
			c.lane.Counters.Add(shmqueue.ConnUnrouted, uint64(s.count))
		}
	}
	c.confirm(&s, taken)
	if s.run != nil {
		c.loop.recycle(s.run)
	}
	if s.channel.sending == 0 {
		s.channel.sorting = false
	}
	if c.short || c.held && s.channel.sending == 0 {
		c.short = false
		c.resume()
	}
}

// confirm has publishes confirmed, or refused, at the end of the turn, behind those before them.
func (c *Conn) confirm(s *sending, taken bool) {
	ch := s.channel
	if s.first == 0 || ch.gone {
		return
	}
	ch.confirms.settle(s.first, taken)
	if !ch.due {
		ch.due = true
		c.loop.confirming = append(c.loop.confirming, ch)
	}
}

// Answered is called behind the answers of a turn: all that they have brought a channel is told with one
// method where that can be. Some clients look at all that is unconfirmed for each.
func (l *Loop) Answered() {
	for _, ch := range l.confirming {
		ch.due = false
		ch.sayConfirmed()
	}
	clear(l.confirming)
	l.confirming = l.confirming[:0]
}

func (ch *channel) sayConfirmed() {
	for {
		last, count, taken := ch.confirms.next()
		several := count > 1
		switch {
		case last == 0:
			return
		case taken:
			ch.conn.lane.Counters.Add(shmqueue.ConnConfirmed, count)
			ch.send(&amqp.BasicAck{DeliveryTag: last, Multiple: several})
		default:
			ch.send(&amqp.BasicNack{DeliveryTag: last, Multiple: several})
		}
	}
}

// refused deals with publishes that were not taken; true: they count as taken all the same.
func (c *Conn) refused(s *sending, err *errcode.Error) (taken bool) {
	ch := s.channel
	if ch.gone {
		return false
	}
	name := string(s.run.exchange)
	switch err.Code {
	case errcode.Unroutable:
		c.lane.Counters.Add(shmqueue.ConnReturned, uint64(s.count))
		if s.run.routing.txn != 0 { // it is returned with the commit
			ch.tx.returns = append(ch.tx.returns, s.run)
			s.run = nil
			return true
		}
		ch.giveBack(s.run)
		return true
	case errcode.NotFound:
		ch.fail(amqp.MethodBasicPublish, c.missing("exchange", name))
	case errcode.AccessRefused:
		ch.fail(amqp.MethodBasicPublish, wrong(amqp.AccessRefused, "cannot publish to internal %s", c.of("exchange", name)))
	default:
		c.settings.Log.Debug("a publish was refused", "conn", c.link.ID(), "channel", int(ch.number), "err", err)
		if s.first == 0 {
			ch.fail(amqp.MethodBasicPublish, failed(err))
		}
	}
	return false
}

// giveBack returns what reached no queue.
func (ch *channel) giveBack(x *run) {
	var r batch.Reader
	if err := r.Reset(x.sealed); err != nil {
		invariant.Fail("a batch of ours is none: %v", err)
	}
	var rec batch.Record
	for r.Next(&rec) {
		ch.conn.sendContent(ch.number, &amqp.BasicReturn{
			ReplyCode: amqp.NoRoute, ReplyText: []byte("NO_ROUTE"), Exchange: x.exchange, RoutingKey: x.key,
		}, storedProperties(&rec), rec.Value, mapped{})
	}
}
