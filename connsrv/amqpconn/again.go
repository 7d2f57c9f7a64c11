package amqpconn

import (
	"github.com/trimq/trimq/protocol/amqp"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/invariant"
	"github.com/trimq/trimq/protocol/ipc"
)

// What travelled together may have to be published again one by one:
//
//	NeedHeaders   its headers were left out, and an exchange on its way looks at them, or that to which a
//	              queue sends its dead: with them. From then on messages for the exchange, or by the default
//	              one for the queue, bear their headers, and only equal ones travel together.
//	              Behind it others of the channel may be under way that are refused likewise: those that
//	              come now wait, or they would overtake
//	QueueFull     a queue that rejects what is too much could take a part of it: each is taken or not

// publishAgain publishes again what was refused for how it travelled; false: that is not why.
func (c *Conn) publishAgain(s *sending, code errcode.Code) bool {
	x := s.run
	switch {
	case s.channel.gone:
		return false
	case code == errcode.NeedHeaders && x.left:
		c.loop.byHeaders[c.way(x.exchange, x.key)] = true
		s.channel.sorting = true
	case code == errcode.QueueFull && !x.single && s.count > 1:
	default:
		return false
	}
	if s.first > 0 {
		s.channel.confirms.split(s.first)
	}
	var r batch.Reader
	if err := r.Reset(x.sealed); err != nil {
		invariant.Fail("a batch of ours is none: %v", err)
	}
	var rec batch.Record
	for n := uint64(0); r.Next(&rec); n++ {
		c.putSingle(x, &rec, n, code == errcode.QueueFull)
	}
	c.loop.recycle(x)
	return true
}

// putSingle publishes one message of a run by itself. Its room in the ring is not waited for: it had
// some a moment ago.
func (c *Conn) putSingle(x *run, rec *batch.Record, n uint64, single bool) {
	var p amqp.Properties
	properties := storedProperties(rec)
	if err := p.Decode(properties); err != nil {
		invariant.Fail("properties that were read before cannot be: %v", err)
	}
	y := c.loop.newRun()
	headers := c.loop.headersOf(x.channel, x.exchange, x.key, &p)
	y.restart(x.channel, &x.routing, x.exchange, x.key, headers)
	y.more, y.single, y.first = x.more, single, x.first+n
	y.add(rec.TimeMS, properties, &p, rec.Value)
	y.sealed = y.builder.Seal(batch.None, batch.NoProducer, -1, -1)
	record := y.record(c.settings.UnixMS)
	size := record.Size()
	b := make([]byte, size+len(y.sealed))
	y.encode(&record, c.head(c.lane.Req()), b, size)
	c.lane.PutLater(ipc.TypePublish, b)
	c.loop.settled(y)
	c.sent(y, &record, len(b))
}
