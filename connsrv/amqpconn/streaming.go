package amqpconn

import (
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/amqp"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
)

// Consumers of streams. connsrv reads the partitions by itself, as far as they are visible, and asks
// logicsrv to be told when there is more. What the client settles makes room for more, and nothing
// else: a stream keeps its messages.

// part is one partition that a consumer reads.
type part struct {
	index uint64
	next  uint64 // the offset to be sent next
	wait  *ask   // the Wait for it that is in logicsrv; nil: there is none
}

// consumeStream makes a consumer of a stream.
func (ch *channel) consumeStream(m *amqp.BasicConsume, name string, tag []byte) {
	ch.stream(m.Method(), name, func(t *admin.TopicInfo) {
		c := ch.conn
		what := c.of("queue", name)
		from, isOffset := m.Arguments.Get("x-stream-offset")
		switch {
		case t == nil:
			ch.fail(m.Method(), c.missing("queue", name))
		case m.NoAck:
			ch.fail(m.Method(), wrong(amqp.NotImplemented, "automatic acknowledgement not supported by stream queues %s", what))
		case ch.shared > 0:
			ch.fail(m.Method(), wrong(amqp.NotImplemented, "%s does not support global qos", what))
		case ch.prefetch == 0:
			ch.fail(m.Method(), wrong(amqp.PreconditionFailed, "consumer prefetch count is not set for '%s'", what))
		case isOffset && !streamOffset(from):
			ch.fail(m.Method(), wrong(amqp.InternalError, ""))
		default:
			s := &consumer{tag: tag, channel: ch, name: name, prefetch: ch.prefetch, arguments: append(amqp.Table(nil), m.Arguments...)}
			s.Answered = true
			ch.startStream(m, s, t, from)
		}
	})
}

// streamOffset tells whether a value says where in a stream to begin.
func streamOffset(v amqp.Value) bool {
	if s, is := v.Text(); is {
		switch string(s) {
		case "first", "last", "next":
			return true
		}
		_, age := maxAge(v)
		return age
	}
	n, whole := v.Int()
	_, time := v.Seconds()
	return whole && n >= 0 || time
}

// startStream begins to send.
func (ch *channel) startStream(m *amqp.BasicConsume, s *consumer, t *admin.TopicInfo, from amqp.Value) {
	c := ch.conn
	for i := range t.Partitions {
		p := &t.Partitions[i]
		c.lane.Ends.Raise(p.Index, p.Visible)
		at, err := c.beginAt(p, from)
		if err != nil {
			ch.fail(m.Method(), wrong(amqp.InternalError, "%s", err))
			return
		}
		s.parts = append(s.parts, part{index: p.Index, next: at})
	}
	ch.addTagged(s)
	ch.answer(m.NoWait, &amqp.BasicConsumeOk{ConsumerTag: s.tag})
	c.push(s)
}

// beginAt is the offset of a partition that a consumer begins with. Not below what is there.
func (c *Conn) beginAt(p *admin.PartitionInfo, from amqp.Value) (at uint64, err error) {
	start, err := c.lane.StartOf(p.Index)
	if err != nil {
		return 0, err
	}
	last := p.Visible - min(p.Visible, 1)
	if n, is := from.Int(); is {
		return max(uint64(n), start), nil
	}
	if seconds, is := from.Seconds(); is {
		return c.byTime(p, seconds*1000)
	}
	switch text, _ := from.Text(); string(text) {
	case "first":
		return start, nil
	case "last":
		return max(start, last), nil
	case "next", "":
		return max(start, p.Visible), nil
	}
	age, _ := maxAge(from)
	return c.byTime(p, c.settings.UnixMS()-age)
}

// byTime is the offset of the first message as late as a time, or the end.
func (c *Conn) byTime(p *admin.PartitionInfo, ms int64) (uint64, error) {
	at, _, found, err := c.lane.ByTime(p.Index, ms)
	if err != nil || !found {
		return p.Visible, err
	}
	return at, nil
}

// push sends what a consumer of a stream may have, and waits for more where that is all.
func (c *Conn) push(s *consumer) {
	for i := range s.parts {
		p := &s.parts[i]
		for !s.Closing && s.given < uint64(s.prefetch) && !c.link.Crowded() && !s.channel.asking {
			end, _ := c.lane.Readable(p.index, p.next)
			if p.next >= end {
				c.awaitMore(s, i)
				break
			}
			most := min(end-p.next, uint64(s.prefetch)-s.given)
			run := ipc.PulledRun{Index: p.index, First: p.next, Count: uint32(min(end-p.next, 1<<24))}
			var skipped []ipc.Range
			before := s.channel.unacked.last
			if err := c.sendBatch(s, &run, uint32(most), &skipped); err != nil {
				s.channel.undeliverable(&parcel{s, run}, err)
				return
			}
			sent := s.channel.unacked.last - before
			c.count(s, &run, sent)
			s.given += sent
			p.next = run.First
		}
	}
}

// awaitMore asks to be told when there is more of a partition.
func (c *Conn) awaitMore(s *consumer, i int) {
	p := &s.parts[i]
	if p.wait != nil {
		return
	}
	p.wait = &ask{typ: ipc.TypeWait, beyond: p.next}
	if _, stable := c.lane.Readable(p.index, p.next); stable {
		p.wait.typ = ipc.TypeWaitStable
	}
	c.wait(s, i)
}

// wait puts the Wait of a part, or goes on with one that was put before a hand-over.
func (c *Conn) wait(s *consumer, i int) {
	a, index := s.parts[i].wait, s.parts[i].index
	a.channel, a.parked, a.sub = s.channel, true, s
	a.encode = func(head ipc.Head, b []byte) []byte {
		if a.typ == ipc.TypeWait {
			m := ipc.Wait{Head: head, Index: index, Beyond: a.beyond}
			return m.Append(b)
		}
		m := ipc.WaitStable{Head: head, Index: index, Beyond: a.beyond, From: a.beyond}
		return m.Append(b)
	}
	a.then = func(got answer) {
		s.parts[i].wait = nil
		if got.err != nil {
			c.subClosed(&ipc.SubClosed{Sub: s.ID}) // the stream is gone
			return
		}
		if c.undecodable(c.lane.EndTold(got.payload)) == nil {
			c.push(s)
		}
	}
	if a.req != 0 {
		c.enter(a)
	} else {
		c.put(a)
	}
}

// isStream tells a consumer of a stream from others.
func (s *consumer) isStream() bool { return !s.Queue }

// released makes room for more, as the client has settled so many.
func (c *Conn) released(s *consumer, n uint64) {
	s.given -= min(s.given, n)
	if !s.Closing {
		c.push(s)
	}
}

// indexGone ends consumers of a stream that was deleted.
func (c *Conn) indexGone(index uint64) {
	for i := len(c.subs) - 1; i >= 0; i-- {
		s := c.subs[i]
		for _, p := range s.parts {
			if p.index == index {
				c.subClosed(&ipc.SubClosed{Sub: s.ID, Code: uint16(errcode.NotFound)})
				break
			}
		}
	}
}

// streamHeader is the header that tells a message's offset in its stream.
func streamHeader(t amqp.Table, offset uint64) amqp.Table {
	return t.Add("x-stream-offset", amqp.Int64(int64(offset)))
}
