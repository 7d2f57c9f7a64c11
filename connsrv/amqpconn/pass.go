package amqpconn

import (
	"maps"
	"slices"

	"github.com/trimq/trimq/connsrv/handover"
	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/amqp"
	"github.com/trimq/trimq/protocol/invariant"
	"github.com/trimq/trimq/protocol/ipc"
)

// What a room looks like when its connection is passed to the program that replaces this one
// (docs/formats/handover.md): the connection here, its channels in passchannel.go, what was published
// and not answered in passrun.go. A method that waits for answers goes over as what it is and what was
// asked for it; recall.go has what becomes of that.

// Pass goes over the room.
func (c *Conn) Pass(s *handover.Codec) {
	invariant.Check(len(c.settled.groups) == 0, "verdicts are half done between two turns")
	c.passOwn(s)
	c.passNumbers(s)
	subs := c.passSubs(s)
	for _, ch := range c.numbered() {
		ch.goOver(s, subs)
	}
	c.pending.Pass(s, func(*handover.Codec, **session.Sub) {}) // publishes are no consumer's matter
	c.passSends(s)
	c.passRun(s)
	c.passByHeaders(s)
	if s.Reading() && !s.Failed() {
		c.derive(s)
	}
	if s.Failed() {
		c.channels = nil // nobody has counted it, nobody shall take it out of account
	}
}

// TakenOver goes on with what stood in closures: methods, Waits for streams, and lines that have waited.
func (c *Conn) TakenOver() {
	if c.channels != nil {
		c.settings.Attendance.Return(c.user, c.vhost, len(c.channels))
	}
	c.lane.Forget(c.link) // who waits for room is the room, not its link
	for _, ch := range c.numbered() {
		if ch.doing != nil {
			ch.repeat()
		}
	}
	for _, s := range slices.Clone(c.subs) {
		for i := range s.parts {
			if s.parts[i].wait != nil && !s.Closing {
				c.wait(s, i)
			}
		}
	}
	c.Drained()
	c.resume()
}

// passOwn goes over what is the connection's own.
func (c *Conn) passOwn(s *handover.Codec) {
	handover.Uint(s, &c.state)
	s.Check(c.state <= stateClosed)
	for _, flag := range []*bool{
		&c.draining, &c.told, &c.blocked, &c.notified, &c.cancels, &c.unknown, &c.held, &c.short,
	} {
		s.Bool(flag)
	}
	s.String(&c.user)
	s.String(&c.vhost)
	s.String(&c.mechanism)
	passTable(s, &c.clientProperties)
	handover.Int(s, &c.frameMax)
	s.Check(c.frameMax >= amqp.FrameMinSize && c.frameMax <= 1<<30)
	handover.Uint(s, &c.channelMax)
	for _, at := range []*int64{&c.openedMS, &c.heartbeatMS, &c.heardMS, &c.saidMS, &c.closeMS, &c.deadlineMS} {
		handover.Int(s, at)
	}
	handover.Uint(s, &c.lastSub)
	handover.Uint(s, &c.resyncSub)
	handover.Uint(s, &c.resyncReq)
}

// passTable goes over a field table.
func passTable(s *handover.Codec, t *amqp.Table) {
	b := []byte(*t)
	if s.Bytes(&b); s.Reading() {
		*t = b
		s.Check(amqp.CheckTable(*t) == nil)
	}
}

// passNumbers goes over which channels there are.
func (c *Conn) passNumbers(s *handover.Codec) {
	numbers := slices.Sorted(maps.Keys(c.channels))
	handover.List(s, &numbers, 1, func(s *handover.Codec, n *uint16) { handover.Uint(s, n) })
	if !s.Reading() {
		return
	}
	if c.channels = nil; c.state == stateOpen {
		c.channels = make(map[uint16]*channel, len(numbers))
	}
	s.Check(len(numbers) == 0 || c.state == stateOpen && len(numbers) <= int(c.channelMax))
	for i, n := range numbers {
		if s.Check(n > 0 && (i == 0 || n > numbers[i-1])); s.Failed() {
			return
		}
		c.channels[n] = &channel{conn: c, number: n}
	}
}

// numbered lists the channels in order.
func (c *Conn) numbered() []*channel {
	list := make([]*channel, 0, len(c.channels))
	for _, n := range slices.Sorted(maps.Keys(c.channels)) {
		list = append(list, c.channels[n])
	}
	return list
}

// subTable numbers consumers, from 1: those of the connection, and those that have ended and of which a
// client still holds messages.
type subTable struct {
	list []*consumer
	own  int // so many are the connection's
}

// pass goes over the number of a consumer.
func (t *subTable) pass(s *handover.Codec, sub **consumer) {
	at := uint64(slices.Index(t.list, *sub) + 1)
	if handover.Uint(s, &at); !s.Reading() {
		return
	}
	if s.Check(at > 0 && at <= uint64(len(t.list))); !s.Failed() {
		*sub = t.list[at-1]
	}
}

// named lists all consumers.
func (c *Conn) named() *subTable {
	t := &subTable{list: slices.Clone(c.subs), own: len(c.subs)}
	known := make(map[*consumer]bool, len(t.list))
	for _, s := range t.list {
		known[s] = true
	}
	add := func(s *consumer) {
		if s != nil && !known[s] {
			known[s] = true
			t.list = append(t.list, s)
		}
	}
	for _, ch := range c.numbered() {
		for _, h := range ch.unacked.list[ch.unacked.head:] {
			add(h.sub)
		}
		for _, v := range ch.tx.verdicts {
			add(v.held.sub)
		}
	}
	return t
}

// passSubs goes over the consumers.
func (c *Conn) passSubs(s *handover.Codec) *subTable {
	t := &subTable{}
	if !s.Reading() {
		t = c.named()
	}
	handover.Int(s, &t.own)
	handover.List(s, &t.list, 30, func(s *handover.Codec, sub **consumer) {
		if s.Reading() {
			*sub = new(consumer)
		}
		(*sub).pass(s, c)
	})
	s.Check(t.own >= 0 && t.own <= len(t.list))
	if s.Reading() && !s.Failed() && t.own > 0 {
		c.subs = slices.Clone(t.list[:t.own])
		for i, sub := range c.subs {
			s.Check(sub.ID <= c.lastSub && (i == 0 || sub.ID > c.subs[i-1].ID))
		}
	}
	return t
}

// pass goes over a consumer.
func (x *consumer) pass(s *handover.Codec, c *Conn) {
	x.Sub.Pass(s)
	number := uint16(0)
	if x.channel != nil {
		number = x.channel.number
	}
	handover.Uint(s, &number)
	if s.Reading() {
		x.channel = c.channels[number]
		s.Check(x.channel != nil)
	}
	s.Bytes(&x.tag)
	handover.Uint(s, &x.prefetch)
	handover.Uint(s, &x.window)
	for _, flag := range []*bool{&x.noAck, &x.ended, &x.reply, &x.quorum} {
		s.Bool(flag)
	}
	s.String(&x.name)
	handover.Uint(s, &x.given)
	passTable(s, &x.arguments)
	handover.List(s, &x.parts, 3, func(s *handover.Codec, p *part) {
		handover.Uint(s, &p.index)
		handover.Uint(s, &p.next)
		waits := p.wait != nil
		if s.Bool(&waits); waits {
			p.passWait(s)
		}
	})
	s.Check(x.Queue == (len(x.parts) == 0) && len(x.tag) <= amqp.MaxShortstr)
}

// passWait goes over the Wait of a part. That of which logicsrv could not say anything yet is put again.
func (p *part) passWait(s *handover.Codec) {
	if s.Reading() {
		p.wait = new(ask)
	}
	handover.Uint(s, &p.wait.req)
	handover.Uint(s, &p.wait.typ)
	handover.Uint(s, &p.wait.beyond)
	s.Check(p.wait.typ == ipc.TypeWait || p.wait.typ == ipc.TypeWaitStable)
}

// derive finds what follows from the rest: which consumer has which tag, who pulls, and filters.
func (c *Conn) derive(s *handover.Codec) {
	c.stuck = c.run != nil
	for _, sub := range c.subs {
		ch := sub.channel
		switch {
		case ch.gone, sub.Closing:
			s.Check(false)
		case sub.ended:
		case sub.Puller:
			ch.pullers = append(ch.pullers, sub)
		default:
			s.Check(ch.tags[string(sub.tag)] == nil)
			if ch.tags == nil {
				ch.tags = map[string]*consumer{}
			}
			ch.tags[string(sub.tag)] = sub
		}
		if sub.Wanted.Kind != 0 {
			c.filter(sub, sub.Wanted)
		}
	}
}
