package session

import (
	"github.com/trimq/trimq/connsrv/handover"
	"github.com/trimq/trimq/protocol/ipc"
)

// What a connection's parts look like when they are passed to the program that replaces this one:
// each goes over its own fields, for writing and for reading (docs/formats/handover.md).

// Pass goes over the hands.
func (h *Hands) Pass(c *handover.Codec) {
	list := h.Held(nil)
	handover.List(c, &list, 3, func(c *handover.Codec, x *ipc.Held) {
		handover.Uint(c, &x.Index)
		passRange(c, &x.Range)
	})
	if !c.Reading() {
		return
	}
	*h = Hands{}
	var last ipc.Held
	for i, x := range list {
		// In one form only: in order, and what could be one range is.
		behind := last.Range.First + uint64(last.Range.Count)
		c.Check(i == 0 || x.Index > last.Index || x.Index == last.Index && (x.Range.First > behind || x.Range.First == behind && last.Range.Count == 1<<32-1))
		if c.Failed() {
			return
		}
		c.Check(h.Add(x.Index, x.Range.First, x.Range.Count))
		last = x
	}
}

func passRange(c *handover.Codec, r *ipc.Range) {
	handover.Uint(c, &r.First)
	handover.Uint(c, &r.Count)
	c.Check(r.Count > 0 && r.First+uint64(r.Count) > r.First)
}

// Pass goes over the consumer, but for its Filter, which is compiled from Wanted, and Asked, which
// is the sum of its pulls.
func (s *Sub) Pass(c *handover.Codec) {
	handover.Uint(c, &s.ID)
	handover.Uint(c, &s.Index)
	for _, flag := range []*bool{&s.Queue, &s.Puller, &s.Closing, &s.Answered} {
		c.Bool(flag)
	}
	passConsumer(c, &s.Consumer)
	handover.Uint(c, &s.Wanted.Kind)
	c.String(&s.Wanted.Text)
	for _, n := range []*uint64{&s.Limit, &s.Told, &s.Delivered, &s.Skipped} {
		handover.Uint(c, n)
	}
	s.InHand.Pass(c)
	s.Pledged.Pass(c)
	handover.Uint(c, &s.Recalls)
	handover.Uint(c, &s.CutAt)
	handover.Int(c, &s.Cut.Record)
	handover.Int(c, &s.Cut.Off)
	c.Check(s.Cut.Record >= 0 && s.Cut.Off >= 0)
	handover.Uint(c, &s.Next)
	handover.Uint(c, &s.Wait)
}

func passConsumer(c *handover.Codec, m *ipc.Consumer) {
	c.Bool(&m.AutoAck)
	c.Bool(&m.Exclusive)
	c.Bool(&m.Puller)
	handover.Int(c, &m.Priority)
	handover.Uint(c, &m.AckTimeoutMS)
	c.String(&m.Tag)
}

// Pass goes over the fetch that waits.
func (p *Park) Pass(c *handover.Codec) {
	for _, n := range []*uint64{&p.Req, &p.Index, &p.Offset, &p.Beyond} {
		handover.Uint(c, n)
	}
	handover.Int(c, &p.MaxBytes)
	handover.Int(c, &p.MinBytes)
	c.Check(p.MaxBytes >= 0 && p.MinBytes >= 0)
	handover.Int(c, &p.DeadlineMS)
	c.Bool(&p.Asking)
	c.Bool(&p.Times)
	c.Bool(&p.Line)
	handover.Int(c, &p.TimeMS)
}

// Pass goes over the pull, but for its Sub.
func (p *Pulling) Pass(c *handover.Codec) {
	handover.Uint(c, &p.Req)
	handover.Uint(c, &p.Max)
	for _, flag := range []*bool{&p.AutoAck, &p.Told, &p.Ended, &p.Answered} {
		c.Bool(flag)
	}
	handover.Uint(c, &p.InvisibleMS)
	handover.Int(c, &p.DeadlineMS)
	handover.Uint(c, &p.Lease)
	handover.Int(c, &p.UntilMS)
	handover.List(c, &p.Runs, 4, func(c *handover.Codec, r *ipc.PulledRun) { PassRun(c, r) })
	handover.Int(c, &p.Next)
	c.Check(p.Next >= 0 && p.Next <= len(p.Runs))
	handover.Uint(c, &p.Sent)
}

// PassRun goes over a run of messages.
func PassRun(c *handover.Codec, r *ipc.PulledRun) {
	handover.Uint(c, &r.Index)
	handover.Uint(c, &r.First)
	handover.Uint(c, &r.Count)
	handover.Uint(c, &r.Attempts)
}

// Pass goes over the requests; the consumer that one is about is the room's to name.
func (p *Pending) Pass(c *handover.Codec, sub func(c *handover.Codec, s **Sub)) {
	var list []Request
	p.Each(func(r *Request) { list = append(list, *r) })
	handover.List(c, &list, 7, func(c *handover.Codec, r *Request) {
		handover.Uint(c, &r.Req)
		handover.Uint(c, &r.Correlation)
		handover.Uint(c, &r.Bytes)
		handover.Uint(c, &r.Command)
		c.Bool(&r.Quiet)
		c.Bool(&r.InTxn)
		parked := r.Park != nil
		if c.Bool(&parked); parked {
			if r.Park == nil {
				r.Park = new(Park)
			}
			r.Park.Pass(c)
		}
		sub(c, &r.Sub)
	})
	if !c.Reading() {
		return
	}
	*p = Pending{}
	last := uint64(0)
	for _, r := range list {
		if c.Check(r.Req > last); c.Failed() {
			return
		}
		p.Add(r)
		last = r.Req
	}
}
