package amqpconn

import (
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/shmqueue"
)

// What a channel is given by logicsrv is sent at once, unless too much waits to be sent already, or
// the client holds as much as the channel may. Then it stands in line, as
// offsets, which cost next to nothing.

// parcel is a run of messages for a consumer, of which the front is what is left to send.
type parcel struct {
	sub *consumer
	run ipc.PulledRun
}

// delivered takes in what logicsrv has decided: these offsets go to this consumer.
func (c *Conn) delivered(m *ipc.Deliver) {
	s := c.sub(m.Sub)
	if s == nil || s.Closing {
		return // it goes back with the consumer's end, which is on its way to logicsrv
	}
	if !c.lane.Hand(&s.Sub, m.Index, m.First, m.Count) {
		c.lane.Counters.Add(shmqueue.ConnStaleReplies, 1)
		return
	}
	s.Delivered += uint64(m.Count)
	if s.ended {
		c.putVerdict(s, m.Index, ipc.VerdictRequeue, []ipc.Range{{First: m.First, Count: m.Count}})
		return
	}
	ch, skipped := s.channel, s.Skipped
	p := parcel{s, ipc.PulledRun{Index: m.Index, First: m.First, Count: m.Count, Attempts: m.Attempts}}
	if len(ch.line) > 0 || !ch.carry(&p) {
		ch.line = append(ch.line, p)
	}
	if s.noAck || s.prefetch == 0 || s.Skipped > skipped { // of what was skipped no acknowledgement will come
		c.topUp(s)
	}
}

// advance sends what stands in line; false: something has to wait.
func (ch *channel) advance() bool {
	for len(ch.line) > 0 {
		p := ch.line[0]
		done := ch.carry(&p)
		if !done {
			ch.line[0] = p
			return false
		}
		if len(ch.line) > 0 && ch.line[0].sub == p.sub { // else the consumer has ended, its parcels with it
			ch.line[0] = parcel{}
			ch.line = ch.line[1:]
		}
	}
	ch.line = nil
	return true
}

// room is how many messages may be sent on the channel now, as far as all consumers share a limit. What is
// acknowledged automatically does not count, and waits with the rest.
func (ch *channel) room(s *consumer) uint32 {
	left := ch.shared - min(ch.shared, uint32(ch.unacked.pushed+ch.tx.pushed))
	if ch.shared == 0 || s.noAck && left > 0 {
		return 1<<32 - 1
	}
	return left
}

// share sets the limit that all consumers share. Those that have none of their own are given as much by
// logicsrv as it lets them have: what they have beyond it keeps others from it.
func (ch *channel) share(limit uint32) {
	ch.shared = limit
	for _, s := range ch.conn.subs {
		switch {
		case s.channel != ch || s.window == 0:
			continue
		case limit == 0:
			s.Limit = unlimited
		case limit > s.window:
			s.Limit += uint64(limit - s.window)
		}
		s.window = max(limit, s.window)
		if limit == 0 {
			s.window = 0
		}
		ch.conn.topUp(s)
	}
}

// carry sends what is left of a parcel; false: something of it has to wait.
func (ch *channel) carry(p *parcel) (done bool) {
	if p.sub.Closing || ch.gone {
		return true // it goes back with the consumer's end, which is on its way to logicsrv
	}
	err := ch.conn.sendRun(p.sub, &p.run)
	if err != nil {
		ch.undeliverable(p, err)
		return true
	}
	return p.run.Count == 0
}

// undeliverable ends a consumer whose messages cannot be read: to go on would lose them silently.
// They go back to the queue.
func (ch *channel) undeliverable(p *parcel, err error) {
	c, s := ch.conn, p.sub
	c.settings.Log.Error("a message cannot be delivered", "index", p.run.Index, "offset", p.run.First, "err", err)
	if !s.isStream() {
		record := ipc.Unsubscribe{Head: c.head(0), Sub: s.ID}
		c.lane.PutLater(ipc.TypeUnsubscribe, record.Append(c.lane.Scratch()))
	}
	c.subClosed(&ipc.SubClosed{Sub: s.ID})
}

// Drained goes on with what was held up because too much waited to be sent.
func (c *Conn) Drained() {
	for i := 0; i < len(c.subs); i++ {
		s := c.subs[i]
		if !s.channel.advance() && c.link.Crowded() {
			return
		}
		if s.Queue {
			c.topUp(s)
		} else {
			c.push(s)
		}
	}
}
