package nativeconn

import (
	"maps"
	"slices"

	"github.com/trimq/trimq/connsrv/handover"
	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/invariant"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
)

// What a room looks like when its connection is passed to the program that replaces this one
// (docs/formats/handover.md). No record is claimed between two turns of the event loop, so there is
// no slot to pass on.

// Pass goes over the room: written, it says all that the connection is; read into a new one, it
// makes it the same.
func (c *Conn) Pass(s *handover.Codec) {
	invariant.Check(c.slot.Payload == nil, "a record is claimed between two turns")
	c.passOwn(s)
	subs := c.passSubs(s)
	c.passPulls(s, subs)
	c.pending.Pass(s, subs.pass)
	c.passTxns(s)
	handover.List(s, &c.groups, 1, func(s *handover.Codec, g *string) { s.String(g) })
	s.Check(slices.IsSorted(c.groups))
	c.passLine(s, subs)
	if s.Reading() && !s.Failed() {
		c.derive(subs)
	}
}

// TakenOver: all that a room is has been read.
func (c *Conn) TakenOver() {}

// passOwn goes over what is the connection's own.
func (c *Conn) passOwn(s *handover.Codec) {
	handover.Uint(s, &c.state)
	s.Check(c.state <= stateClosed)
	for _, n := range []*int{&c.maxFrame, &c.window, &c.share, &c.skip} {
		handover.Int(s, n)
		s.Check(*n >= 0 && *n <= 1<<40)
	}
	s.Bytes(&c.challenge)
	s.String(&c.client)
	for _, flag := range []*bool{&c.shareWait, &c.resting, &c.told} {
		s.Bool(flag)
	}
	handover.Int(s, &c.deadlineMS)
	handover.Uint(s, &c.pullers)
	handover.Uint(s, &c.direct.Length)
	handover.Uint(s, &c.direct.Command)
	handover.Uint(s, &c.direct.Flags)
	handover.Uint(s, &c.direct.Correlation)
	handover.Uint(s, &c.directBody.Index)
	handover.Uint(s, &c.directBody.Level)
	handover.Uint(s, &c.directBody.Txn)
	handover.Uint(s, &c.resyncSub)
	handover.Int(s, &c.resyncGroup)
	s.Check(c.resyncGroup >= 0)
	handover.Uint(s, &c.resyncReq)
}

// subTable numbers consumers, from 1: those of the connection, and those that only something under
// way still names.
type subTable struct {
	list []*session.Sub
	own  int // so many are the connection's
}

// pass goes over the number of a consumer; 0: none.
func (t *subTable) pass(s *handover.Codec, sub **session.Sub) {
	at := uint64(slices.Index(t.list, *sub) + 1)
	if handover.Uint(s, &at); !s.Reading() {
		return
	}
	s.Check(at <= uint64(len(t.list)))
	if *sub = nil; at > 0 && !s.Failed() {
		*sub = t.list[at-1]
	}
}

// needed is pass for what is about a consumer always.
func (t *subTable) needed(s *handover.Codec, sub **session.Sub) {
	t.pass(s, sub)
	s.Check(*sub != nil)
}

// named lists all consumers.
func (c *Conn) named() *subTable {
	t := &subTable{list: slices.Clone(c.subs), own: len(c.subs)}
	known := make(map[*session.Sub]bool, len(t.list))
	for _, s := range t.list {
		known[s] = true
	}
	add := func(s *session.Sub) {
		if s != nil && !known[s] {
			known[s] = true
			t.list = append(t.list, s)
		}
	}
	for _, req := range slices.Sorted(maps.Keys(c.pulls)) {
		add(c.pulls[req].Sub)
	}
	c.pending.Each(func(r *session.Request) { add(r.Sub) })
	for i := range c.line {
		add(c.line[i].sub)
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
	handover.List(s, &t.list, 20, func(s *handover.Codec, sub **session.Sub) {
		if s.Reading() {
			*sub = new(session.Sub)
		}
		(*sub).Pass(s)
	})
	s.Check(t.own >= 0 && t.own <= len(t.list))
	if s.Reading() && !s.Failed() {
		if c.subs = nil; t.own > 0 {
			c.subs = slices.Clone(t.list[:t.own])
		}
		for i := 1; i < t.own; i++ {
			s.Check(c.subs[i].ID > c.subs[i-1].ID)
		}
	}
	return t
}

// passPulls goes over the pulls without an answer.
func (c *Conn) passPulls(s *handover.Codec, subs *subTable) {
	var list []*session.Pulling
	for _, req := range slices.Sorted(maps.Keys(c.pulls)) {
		list = append(list, c.pulls[req])
	}
	handover.List(s, &list, 14, func(s *handover.Codec, p **session.Pulling) {
		if s.Reading() {
			*p = new(session.Pulling)
		}
		(*p).Pass(s)
		subs.needed(s, &(*p).Sub)
	})
	if !s.Reading() || len(list) == 0 {
		return
	}
	c.pulls = make(map[uint64]*session.Pulling, len(list))
	for i, p := range list {
		s.Check(i == 0 || p.Req > list[i-1].Req)
		c.pulls[p.Req] = p
	}
}

// passTxns goes over what requests about transactions have changed.
func (c *Conn) passTxns(s *handover.Codec) {
	reqs := slices.Sorted(maps.Keys(c.txns))
	n := s.Count(len(reqs), 3)
	if s.Reading() {
		if c.txns, reqs = nil, make([]uint64, n); n > 0 {
			c.txns = make(map[uint64]txnChange, n)
		}
	}
	for i := range reqs {
		handover.Uint(s, &reqs[i])
		s.Check(i == 0 || reqs[i] > reqs[i-1])
		t := c.txns[reqs[i]]
		handover.List(s, &t.verdicts, 6, passVerdict)
		s.String(&t.joined)
		if s.Reading() && !s.Failed() {
			c.txns[reqs[i]] = t
		}
	}
}

func passVerdict(s *handover.Codec, v *ipc.TxnVerdict) {
	handover.Uint(s, &v.Sub)
	handover.Uint(s, &v.Queue)
	handover.Uint(s, &v.Index)
	handover.Uint(s, &v.Verdict)
	handover.Uint(s, &v.Range.First)
	handover.Uint(s, &v.Range.Count)
}

// Kinds of what stands in line.
const (
	lineRun    = 1
	linePull   = 2
	lineRecall = 3
)

// passLine goes over what stands in line. The answer to a pull that nobody waits for is left out.
func (c *Conn) passLine(s *handover.Codec, subs *subTable) {
	line := c.line
	if !s.Reading() {
		line = slices.DeleteFunc(slices.Clone(line), func(p parcel) bool { return p.pull != nil && c.pulls[p.pull.Req] != p.pull })
	}
	handover.List(s, &line, 2, func(s *handover.Codec, p *parcel) { c.passParcel(s, subs, p) })
	if s.Reading() {
		c.line = line
	}
}

func (c *Conn) passParcel(s *handover.Codec, subs *subTable, p *parcel) {
	kind, req := uint8(lineRun), uint64(0)
	switch {
	case p.pull != nil:
		kind, req = linePull, p.pull.Req
	case p.recalled != nil:
		kind = lineRecall
	}
	handover.Uint(s, &kind)
	switch kind {
	case linePull:
		handover.Uint(s, &req)
		p.pull = c.pulls[req]
		s.Check(p.pull != nil)
	case lineRun:
		subs.needed(s, &p.sub)
		session.PassRun(s, &p.run)
	case lineRecall:
		subs.needed(s, &p.sub)
		if s.Reading() {
			p.recalled = new(native.Recall)
		}
		handover.Uint(s, &p.recalled.Sub)
		handover.Uint(s, &p.recalled.Index)
		handover.List(s, &p.recalled.Ranges, 2, func(s *handover.Codec, r *ipc.Range) {
			handover.Uint(s, &r.First)
			handover.Uint(s, &r.Count)
		})
	default:
		s.Check(false)
	}
}

// derive finds what follows from the rest.
func (c *Conn) derive(subs *subTable) {
	for _, s := range subs.list {
		if s.Wanted.Kind != 0 {
			c.filter(s, s.Wanted)
		}
	}
	c.asked, c.quiet, c.internal = 0, 0, 0
	for _, p := range c.pulls {
		c.asked += uint64(p.Max)
		p.Sub.Asked += uint64(p.Max)
	}
	c.pending.Each(func(r *session.Request) {
		if r.Quiet {
			c.quiet++
		}
		if r.Command == 0 {
			c.internal++
		}
		c.asking = c.asking || r.Park != nil && r.Park.Line
	})
}
