package kafkaconn

import (
	"bytes"
	"maps"
	"regexp"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/connsrv/handover"
	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/invariant"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/topicconf"
)

// What a room looks like when its connection is passed to the program that replaces this one
// (docs/formats/handover.md). Requests go over as what they are and what was asked for them; recall.go
// has what becomes of that.

// Pass goes over the room.
func (c *Conn) Pass(s *handover.Codec) {
	invariant.Check(c.slot.Payload == nil && len(c.recalled) == 0, "something is half done between two turns")
	handover.Uint(s, &c.state)
	s.Check(c.state <= stateClosed)
	s.Bool(&c.told)
	s.Bool(&c.shareWait)
	handover.Uint(s, &c.calls)
	handover.Uint(s, &c.resyncReq)
	c.pending.Pass(s, func(*handover.Codec, **session.Sub) {}) // nobody consumes a queue here
	handover.List(s, &c.line, 8, c.passCall)
	c.passIntake(s)
	c.passPatterns(s)
	c.passShares(s)
	c.passFetches(s)
	c.login.pass(s)
	if s.Reading() && !s.Failed() {
		c.derive(s)
	}
}

// passCall goes over a request without a response.
func (c *Conn) passCall(s *handover.Codec, at **call) {
	if s.Reading() {
		*at = new(call)
	}
	k := *at
	handover.Int(s, &k.size)
	handover.Int(s, &k.key)
	handover.Int(s, &k.version)
	handover.Int(s, &k.correlation)
	s.String(&k.clientID)
	handover.Int(s, &k.begunMS)
	s.Check(apiOf(k.key) != nil && apiOf(k.key).serves(k.version))
	if s.Failed() {
		return
	}
	if k.key == int16(kmsg.Produce) {
		s.Bool(&k.done)
		if s.Reading() {
			k.produce = new(produced)
		}
		k.produce.pass(s)
	} else {
		invariant.Check(!k.done, "request %d stands in line and is done", k.number)
		k.passRequest(s)
	}
	handover.List(s, &k.asks, 5, passAsk)
	if s.Reading() {
		k.unasked = len(k.asks)
	}
}

// passRequest goes over the request itself.
func (k *call) passRequest(s *handover.Codec) {
	var b []byte
	if !s.Reading() {
		b = k.req.AppendTo(nil)
	}
	s.Bytes(&b)
	if !s.Reading() || s.Failed() {
		return
	}
	k.req = kmsg.RequestForKey(k.key)
	k.req.SetVersion(k.version)
	s.Check(k.req.ReadFrom(b) == nil && bytes.Equal(k.req.AppendTo(nil), b))
}

// passAsk goes over a question to logicsrv.
func passAsk(s *handover.Codec, a *ask) {
	handover.Uint(s, &a.req)
	handover.Uint(s, &a.typ)
	s.Bytes(&a.record)
	s.Check(len(a.record) >= ipc.HeadSize)
	answered := a.had != nil
	if s.Bool(&answered); !answered {
		return
	}
	if s.Reading() {
		a.had = new(reply)
	}
	handover.Uint(s, &a.had.typ)
	s.Bytes(&a.had.payload)
}

// pass goes over what has become of a Produce request.
func (p *produced) pass(s *handover.Codec) {
	handover.Uint(s, &p.level)
	s.Bool(&p.silent)
	s.Bool(&p.whole)
	s.Bool(&p.transactional)
	s.String(&p.txnalID)
	handover.Int(s, &p.refusal)
	handover.List(s, &p.topics, 19, func(s *handover.Codec, t *producedTopic) {
		s.String(&t.name)
		passTopicID(s, &t.id)
		handover.Int(s, &t.parts)
		s.Check(t.parts >= 0)
	})
	handover.List(s, &p.parts, 7, func(s *handover.Codec, part *producedPart) {
		handover.Int(s, &part.number)
		handover.Int(s, &part.code)
		handover.Uint(s, &part.index)
		handover.Int(s, &part.base)
		handover.Int(s, &part.timeMS)
		s.String(&part.text)
		handover.List(s, &part.bad, 3, func(s *handover.Codec, r *badRecord) {
			handover.Int(s, &r.place)
			handover.Uint(s, &r.reason)
			handover.Int(s, &r.timeMS)
			s.Check(r.place >= 0 && r.reason >= badNoKey && r.reason <= badTooSoon)
		})
	})
}

// passIntake goes over the Produce request that is coming in: the last one in line.
func (c *Conn) passIntake(s *handover.Codec) {
	coming := c.intake != nil
	if s.Bool(&coming); !coming {
		return
	}
	if s.Reading() {
		s.Check(len(c.line) > 0 && c.line[len(c.line)-1].produce != nil)
		if s.Failed() {
			return
		}
		k := c.line[len(c.line)-1]
		c.intake = &intake{k: k, flexible: flexible(k.key, k.version)}
	}
	in := c.intake
	handover.Uint(s, &in.stage)
	for _, n := range []*int{&in.left, &in.skip, &in.topics, &in.parts, &in.batch} {
		handover.Int(s, n)
		s.Check(*n >= 0)
	}
	s.Bool(&in.asking)
	s.String(&in.asked)
	c.passTopic(s, &in.topic)
	s.Check(in.stage < stageEnd && in.batch <= min(c.loop.Lane.MaxBatch, c.loop.Lane.MaxRecord-ipc.AppendSize))
	s.Check(in.stage != stageBatch || in.batch > 0 && len(in.k.produce.parts) > 0)
}

// passTopic goes over a topic of the catalogue.
func (c *Conn) passTopic(s *handover.Codec, at **topic) {
	known := *at != nil
	if s.Bool(&known); !known {
		return
	}
	if s.Reading() {
		*at = new(topic)
	}
	t := *at
	id := t.id[:]
	s.String(&t.name)
	s.Bytes(&id)
	handover.List(s, &t.indexes, 1, func(s *handover.Codec, index *uint64) { handover.Uint(s, index) })
	handover.List(s, &t.configs, 2, func(s *handover.Codec, g *ipc.Header) {
		s.String(&g.Key)
		s.String(&g.Value)
	})
	if s.Reading() {
		s.Check(len(id) == len(t.id) && topicconf.Sound(t.configs))
		copy(t.id[:], id)
		t.configure(t.configs)
	}
}

// passPatterns goes over the subscriptions by pattern, in order of their members.
func (c *Conn) passPatterns(s *handover.Codec) {
	members := slices.Sorted(maps.Keys(c.patterns))
	n := s.Count(len(members), 4)
	if s.Reading() {
		s.Check(n <= maxPatterns)
		if members = make([]string, n); n > 0 {
			c.patterns = make(map[string]*pattern, n)
		}
	}
	for i := range members {
		s.String(&members[i])
		s.Check(i == 0 || members[i] > members[i-1])
		p := c.patterns[members[i]]
		if s.Reading() {
			p = new(pattern)
		}
		if p.pass(s); s.Reading() && !s.Failed() {
			c.patterns[members[i]] = p
		}
	}
}

// pass goes over a subscription by pattern.
func (p *pattern) pass(s *handover.Codec) {
	text := ""
	if !s.Reading() {
		text = p.match.String()
	}
	s.String(&text)
	passName := func(s *handover.Codec, name *string) { s.String(name) }
	handover.List(s, &p.names, 1, passName)
	handover.List(s, &p.told, 1, passName)
	if s.Reading() {
		var err error
		p.match, err = regexp.Compile(text)
		s.Check(err == nil)
	}
}

// derive finds what follows from the rest: the calls' numbers, what is open of them, and the watches.
func (c *Conn) derive(s *handover.Codec) {
	for i, k := range c.line {
		k.number = c.calls - uint32(len(c.line)-i)
		s.Check(k.req == nil || len(c.line) == 1)
	}
	c.pending.Each(func(r *session.Request) {
		k, place := c.callOf(uint32(r.Correlation>>32)), int(uint32(r.Correlation))
		switch {
		case r.Command == ofWatch:
			s.Check(c.watches[r.Correlation] == 0)
			if c.watches == nil {
				c.watches = map[uint64]uint64{}
			}
			c.watches[r.Correlation] = r.Req
		case k == nil: // of a request that never came as a whole
		case r.Command == ofBatch:
			s.Check(k.produce != nil && place < len(k.produce.parts))
			k.open++
		default:
			s.Check(r.Command == ofAsk && place < len(k.asks) && k.asks[place].req == r.Req)
		}
	})
	for _, k := range c.line {
		for i := range k.asks {
			a := &k.asks[i]
			r := c.pending.Get(a.req)
			s.Check(a.req == 0 || r != nil && r.Command == ofAsk && c.callOf(uint32(r.Correlation>>32)) == k && int(uint32(r.Correlation)) == i)
		}
	}
}
