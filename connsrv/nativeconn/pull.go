package nativeconn

import (
	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
	"github.com/trimq/trimq/shmqueue"
)

// Pulls. A PULL is put into the ring as it comes, and waits there, or parked in logicsrv, for what
// it asks for; its time is connsrv's. When it is over logicsrv is asked to answer with what there
// is, and what it answers counts: messages that are on their way already are the answer.
//
// What comes is in the hand of the connection's puller of that queue, unless it is leased, and goes
// out in DELIVER frames, as the link takes them; then the response. If the connection breaks in
// between, what was in hand goes back at once, and what is leased when its lease ends.

// Bounds of what one connection pulls.
const (
	// maxPullers is from how many queues it can hold messages.
	maxPullers = 256
	// maxAsked is for how many messages its unanswered pulls can ask.
	maxAsked = 16 * ipc.MaxPull
	// scanMS is for how long a pull goes on looking for something that matches behind its time:
	// without it one that does not wait would find nothing behind what does not match.
	scanMS = 1000
)

// pull asks for messages.
func (c *Conn) pull(h native.Header, body []byte) bool {
	m, err := native.DecodePull(body)
	if err == nil && m.Max > ipc.MaxPull {
		err = errcode.New(errcode.InvalidArgument, "a pull of %d messages; 1 to %d are allowed", m.Max, ipc.MaxPull)
	}
	var p *session.Pulling
	if err == nil {
		p, err = c.newPull(&m)
	}
	if err != nil {
		c.refuse(h, err)
		return true
	}
	p.Req = c.lane.Req()
	record := p.Pull(c.head(p.Req))
	if !c.lane.Put(c.link, ipc.TypePull, record.Append(c.lane.Scratch())) {
		return false
	}
	p.Told, c.told = true, true
	c.enterPull(p)
	c.add(h, session.Request{Req: p.Req})
	c.lane.Counters.Add(shmqueue.ConnPulls, 1)
	if p.Waits() {
		c.deadline(p.DeadlineMS)
	}
	return true
}

// newPull makes a pull within the bounds of the connection. Nothing is changed yet.
func (c *Conn) newPull(m *native.Pull) (*session.Pulling, error) {
	p := &session.Pulling{
		AutoAck: m.AutoAck, InvisibleMS: m.InvisibleMS, DeadlineMS: c.link.NowMS() + int64(min(m.WaitMS, maxFetchWaitMS)), Ended: m.WaitMS == 0,
	}
	room := maxAsked - min(c.asked, maxAsked)
	if room == 0 {
		return nil, errcode.New(errcode.LimitExceeded, "pulls that are not answered ask for %d messages already; at most %d are allowed", c.asked, maxAsked)
	}
	if m.InvisibleMS > 0 {
		p.Sub = &session.Sub{Index: m.Queue, Queue: true, Puller: true}
	} else {
		p.Sub = c.pullerOf(m.Queue)
		if p.Sub == nil {
			return nil, errcode.New(errcode.LimitExceeded, "this connection holds messages that it has pulled from %d queues: acknowledge some, or use another connection", maxPullers)
		}
		room = min(room, p.Sub.Room(c.lane.Rings))
	}
	if room == 0 {
		return nil, errcode.New(errcode.LimitExceeded, "what was pulled from queue %d and not acknowledged lies in %d ranges: acknowledge some of it", m.Queue, p.Sub.Gaps())
	}
	p.Max = uint32(min(room, uint64(m.Max)))
	return p, nil
}

// pullerOf is who holds what the connection pulls from a queue, known or to be entered with its
// first pull; nil: there are too many.
func (c *Conn) pullerOf(queue uint64) *session.Sub {
	pullers := c.subs[c.subAt(native.PullerBit):]
	for _, s := range pullers {
		if s.Index == queue {
			return s
		}
	}
	if len(pullers) >= maxPullers && !c.dropIdlePuller(pullers) {
		return nil
	}
	return &session.Sub{ID: native.PullerBit | (c.pullers + 1), Index: queue, Queue: true, Puller: true, Consumer: ipc.Consumer{Puller: true}}
}

// dropIdlePuller forgets a puller that holds nothing and asks for nothing; false: there is none.
func (c *Conn) dropIdlePuller(pullers []*session.Sub) bool {
	for _, s := range pullers {
		if s.Asked == 0 && s.Gaps() == 0 {
			record := ipc.Unsubscribe{Head: c.head(0), Sub: s.ID}
			c.lane.PutLater(ipc.TypeUnsubscribe, record.Append(c.lane.Scratch()))
			c.dropSub(s)
			return true
		}
	}
	return false
}

// enterPull counts a pull that is under way.
func (c *Conn) enterPull(p *session.Pulling) {
	if c.pulls == nil {
		c.pulls = map[uint64]*session.Pulling{}
	}
	c.pulls[p.Req] = p
	c.asked += uint64(p.Max)
	p.Sub.Asked += uint64(p.Max)
	if p.Sub.ID > native.PullerBit|c.pullers {
		c.pullers++
		c.addSub(p.Sub)
	}
}

// uncount ends that.
func (c *Conn) uncount(p *session.Pulling) {
	delete(c.pulls, p.Req)
	c.asked -= uint64(p.Max)
	p.Sub.Asked -= uint64(p.Max)
}

// pullOf is the pull of a request; nil: it is none.
func (c *Conn) pullOf(r *session.Request) *session.Pulling {
	if native.Command(r.Command) != native.CmdPull {
		return nil
	}
	return c.pulls[r.Req]
}

// pullWaits tells whether a request is a pull that waits for messages.
func (c *Conn) pullWaits(r *session.Request) bool {
	p := c.pullOf(r)
	return p != nil && p.Waits()
}

// endPull forgets a pull, and returns its request.
func (c *Conn) endPull(p *session.Pulling) (session.Request, bool) {
	c.uncount(p)
	return c.take(p.Req)
}

// pulled takes in what logicsrv gives to a pull. Its request stays until all of it is sent.
func (c *Conn) pulled(m *ipc.Pulled) {
	p := c.pulls[m.Req]
	if p == nil || p.Answered {
		c.lane.Counters.Add(shmqueue.ConnStaleReplies, 1)
		return
	}
	p.Answer(m)
	c.filter(p.Sub, m.Filter)
	if m.Lease == 0 {
		for _, x := range m.Runs {
			if !c.lane.Hand(p.Sub, x.Index, x.First, x.Count) {
				c.lane.Counters.Add(shmqueue.ConnStaleReplies, 1)
			}
		}
	}
	c.dispatch(parcel{pull: p})
}

// carryPull sends what is left of the answer to a PULL, and its response.
func (c *Conn) carryPull(p *session.Pulling) (done bool) {
	r := c.pending.Get(p.Req)
	if r == nil {
		return true
	}
	d := delivery{sub: p.Sub, correlation: r.Correlation, lease: p.Lease, autoAck: p.AutoAck, counter: shmqueue.ConnPulled, sent: p.Sent}
	for p.Next < len(p.Runs) {
		done, err := c.sendRun(&d, &p.Runs[p.Next])
		p.Sent = d.sent
		switch {
		case err != nil:
			c.pullFailed(p, err)
			return true
		case !done:
			return false
		}
		p.Next++
	}
	c.endPulled(p)
	return true
}

// endPulled responds to a PULL, or asks once more: nothing of what came was for it.
func (c *Conn) endPulled(p *session.Pulling) {
	now := c.link.NowMS()
	if p.Sent == 0 && len(p.Runs) > 0 && c.state == stateOpen && now < p.DeadlineMS+scanMS {
		c.pullAgain(p, now)
		return
	}
	r, ok := c.endPull(p)
	if !ok {
		return
	}
	body := native.PullReply{Count: p.Sent}
	if p.Sent > 0 {
		body.Lease, body.UntilMS = p.Lease, p.UntilMS
	}
	c.respond(header(&r), &body)
}

// pullAgain asks for more under another number, within what is left of the pull's time.
func (c *Conn) pullAgain(p *session.Pulling, now int64) {
	r, ok := c.take(p.Req)
	if !ok {
		return
	}
	delete(c.pulls, p.Req)
	p.Ended = now >= p.DeadlineMS
	p.Again(c.lane.Req())
	c.pulls[p.Req] = p
	r.Req = p.Req
	c.add(header(&r), r)
	if p.Waits() {
		c.deadline(p.DeadlineMS)
	}
	if !c.lane.Answering() { // else it is told behind the answer: in front of its end it would be void
		p.Told = true
		record := p.Pull(c.head(p.Req))
		c.lane.PutLater(ipc.TypePull, record.Append(c.lane.Scratch()))
	}
}

// pullFailed answers a PULL of which something cannot be read, and gives back what was not sent:
// to go on would lose it silently.
func (c *Conn) pullFailed(p *session.Pulling, err error) {
	run := &p.Runs[p.Next]
	c.settings.Log.Error("a message cannot be delivered", "index", run.Index, "offset", run.First, "err", err)
	for ; p.Next < len(p.Runs); p.Next++ {
		run := &p.Runs[p.Next]
		c.putVerdict(p.Sub, run.Index, p.Lease, ipc.VerdictRequeue, []ipc.Range{{First: run.First, Count: run.Count}})
	}
	if r, ok := c.endPull(p); ok {
		c.refuse(header(&r), err)
	}
}

// endWait asks for the answer to a pull whose time is over.
func (c *Conn) endWait(p *session.Pulling) {
	p.Ended = true
	if p.Told {
		m := ipc.PullEnd{Head: c.head(0), Target: p.Req}
		c.lane.PutLater(ipc.TypePullEnd, m.Append(c.lane.Scratch()))
	}
}

// extend gives a leased message another end.
func (c *Conn) extend(h native.Header, body []byte) bool {
	m, err := native.DecodeExtend(body)
	if err != nil {
		c.refuse(h, err)
		return true
	}
	return c.forward(h, ipc.TypeExtend, func(head ipc.Head, b []byte) []byte {
		record := ipc.Extend{Head: head, Queue: m.Queue, Index: m.Index, Offset: m.Offset, Lease: m.Lease, InvisibleMS: m.InvisibleMS}
		return record.Append(b)
	})
}
