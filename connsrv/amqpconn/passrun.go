package amqpconn

import (
	"bytes"
	"maps"
	"slices"

	"github.com/trimq/trimq/connsrv/handover"
	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/amqp"
	"github.com/trimq/trimq/protocol/batch"
)

// What is passed on of what was published: see pass.go.

// passSends goes over the publishes without an answer, in the order of the requests.
func (c *Conn) passSends(s *handover.Codec) {
	var gone *channel // stands for those that have ended
	c.pending.Each(func(r *session.Request) {
		send := c.sends[r.Req]
		if s.Reading() {
			send.run = new(run)
		}
		confirmed := send.first != 0
		s.Bool(&confirmed)
		send.run.pass(s, c)
		if !s.Reading() || s.Failed() {
			return
		}
		if send.run.channel == nil {
			if gone == nil {
				gone = &channel{conn: c, gone: true, closing: true}
			}
			send.run.channel = gone
		}
		if confirmed {
			send.first = send.run.first
		}
		send.channel, send.count = send.run.channel, uint32(batch.Header(send.run.sealed).Count())
		send.channel.sending++
		if c.sends == nil {
			c.sends = map[uint64]sending{}
		}
		c.sends[r.Req] = send
	})
}

// passRun goes over what was published and stands in no ring, unless its channel has ended.
func (c *Conn) passRun(s *handover.Codec) {
	there := c.run != nil && !c.run.channel.gone
	if s.Bool(&there); !there {
		return
	}
	x := c.run
	if s.Reading() {
		x = c.loop.newRun()
	} else {
		x.sealed = x.builder.Seal(batch.None, batch.NoProducer, -1, -1)
	}
	x.pass(s, c)
	if !s.Reading() {
		return
	}
	x.unseal(s)
	if s.Check(x.channel != nil); s.Failed() {
		return
	}
	c.run = x
}

// pass goes over a run, as a batch that is sealed. The channel of one that was answered by nobody may
// have ended: it has no number then.
func (x *run) pass(s *handover.Codec, c *Conn) {
	number := uint16(0)
	if x.channel != nil && !x.channel.gone {
		number = x.channel.number
	}
	handover.Uint(s, &number)
	if s.Reading() && number != 0 {
		x.channel = c.channels[number]
		s.Check(x.channel != nil && !x.channel.gone)
	}
	x.routing.pass(s)
	s.Bytes(&x.exchange)
	s.Bytes(&x.key)
	s.Check(len(x.exchange) <= amqp.MaxShortstr && len(x.key) <= amqp.MaxShortstr)
	passKeys(s, &x.more)
	by := x.headers != nil
	if s.Bool(&by); by {
		passTable(s, (*amqp.Table)(&x.headers))
		if s.Reading() && x.headers == nil {
			x.headers = []byte{}
		}
	}
	s.Bool(&x.left)
	s.Bool(&x.single)
	handover.Uint(s, &x.first)
	s.Check(x.first > 0)
	s.Bytes(&x.sealed)
	if s.Reading() && !s.Failed() {
		x.check(s)
	}
}

// check looks at what was published, of which parts may be published again, and weighs it.
func (x *run) check(s *handover.Codec) {
	_, err := batch.Validate(x.sealed)
	if s.Check(err == nil); s.Failed() {
		return
	}
	x.weight = 0
	err = batch.Iterate(x.sealed, func(rec *batch.Record) error {
		var p amqp.Properties
		x.weight += uint32(len(rec.Value))
		return p.Decode(storedProperties(rec))
	})
	s.Check(err == nil)
}

// unseal makes a run of which the batch was sealed one that takes more.
func (x *run) unseal(s *handover.Codec) {
	if s.Failed() {
		return
	}
	x.builder.Reset()
	err := batch.Iterate(x.sealed, func(rec *batch.Record) error {
		s.Check(x.builder.Add(rec.TimeMS, rec.Key, rec.Value, rec.AppendHeaders(nil)))
		return nil
	})
	sealed := x.builder.Seal(batch.None, batch.NoProducer, -1, -1)
	s.Check(err == nil && bytes.Equal(sealed, x.sealed))
	x.sealed = sealed
}

// passByHeaders goes over those ways of the channels on which headers are known to be looked at:
// found out anew, what is under way would be refused and published again behind what comes later.
func (c *Conn) passByHeaders(s *handover.Codec) {
	mine := map[string]bool{}
	for _, ch := range c.channels { // order: sorted below
		if ch.incoming == nil {
			continue
		}
		if way := c.way(ch.incoming.exchange, ch.incoming.key); s.Reading() || c.loop.byHeaders[way] {
			mine[way] = true
		}
	}
	names := slices.Sorted(maps.Keys(mine))
	handover.List(s, &names, 1, func(s *handover.Codec, name *string) { s.String(name) })
	if !s.Reading() {
		return
	}
	for i, name := range names {
		s.Check(mine[name] && (i == 0 || name > names[i-1]))
		c.loop.byHeaders[name] = true
	}
}
