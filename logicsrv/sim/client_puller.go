//go:build failpoints

package sim

import (
	"fmt"
	"slices"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
)

// leaseClaim is a message that was pulled with a time-out, as the clients know it.
type leaseClaim struct {
	number  uint64
	untilMS int64 // nobody gets it before, by any clock
	asked   int   // for another end, so many times
	owner   string
}

// puller takes messages from a queue by asking for them, into its hand or with a lease. Of
// messages whose lease is over, or which it has deleted, it keeps the handles for a while and
// tries them again, in vain.
type puller struct {
	party
	queue string
	alone bool // nobody else empties the queue

	sub     *subscription // in whose hand pulled messages are, on this connection
	asked   *ipc.Pull     // not answered
	pulls   int           // asked so far
	ending  bool          // it shall be answered now
	handles []handle
	void    []handle
	open    int // verdicts and extensions that are not answered
	stopped bool
	lastSub uint64
}

// handle names a leased message.
type handle struct {
	spot
	lease uint64
}

// pullerBit is set in the numbers of subscriptions of those who pull.
const pullerBit = 1 << 63

func (p *puller) settled() bool {
	return p.asked == nil && p.open == 0 && len(p.handles) == 0 && (p.sub == nil || len(p.sub.inHand) == 0)
}

// dropped keeps the handles: they are good on every connection.
func (p *puller) dropped() { p.conn, p.sub, p.asked, p.ending, p.open = nil, nil, nil, false, 0 }

func (p *puller) closed(*subscription, errcode.Code) {}
func (p *puller) checked(*ipc.CheckTxn)              {}

func (p *puller) tick() {
	r := p.w.rng
	if !p.stopped && p.conn != nil && r.IntN(p.w.plan.clientDeath) == 0 {
		p.die(p)
		return
	}
	queue := p.w.queueOf(p.queue)
	if !p.ready(p) {
		return
	}
	switch {
	case len(p.handles) > 0 && (p.stopped || r.IntN(4) == 0):
		p.use()
	case len(p.void) > 0 && r.IntN(10) == 0 && !p.stopped:
		h := p.void[0]
		p.void = p.void[1:]
		p.extend(h, uint64(r.IntN(2)*100))
	case p.sub != nil && len(p.sub.inHand) > 0 && (p.stopped || r.IntN(3) == 0):
		v := []ipc.Verdict{ipc.VerdictAck, ipc.VerdictAck, ipc.VerdictRequeue, ipc.VerdictReject}[r.IntN(4)]
		if p.stopped {
			v = ipc.VerdictAck
		}
		p.w.settleSome(p.conn, p.sub, v, p.stopped, r.IntN(2) == 0, &p.open)
	case p.asked != nil && !p.ending && (p.stopped || r.IntN(12) == 0):
		p.end()
	case p.asked == nil && p.stopped && p.alone && queue != 0 && p.w.model.Rest() != "":
		p.ask(queue)
	case p.asked == nil && !p.stopped && p.w.hermitQueue != 0 && r.IntN(10) == 0:
		p.ask(p.w.hermitQueue)
	case p.asked == nil && !p.stopped && queue != 0 && r.IntN(2) == 0:
		p.ask(queue)
	}
}

func (p *puller) ask(queue uint64) {
	r := p.w.rng
	m := &ipc.Pull{Queue: queue, Max: uint32(1 + r.IntN(4)), Wait: !p.stopped && r.IntN(3) > 0}
	if r.IntN(3) > 0 || queue == p.w.hermitQueue {
		m.InvisibleMS = uint64(20 + r.IntN(500))
	} else {
		m.AutoAck = r.IntN(4) == 0
		m.Sub = p.subFor(queue).sub
	}
	p.asked, p.ending = m, false
	p.pulls++
	p.w.trace("%s pulls %d of queue %d, invisible for %d ms", p.name, m.Max, queue, m.InvisibleMS)
	p.w.conn.pull(p.conn, m, func(typ ipc.Type, b []byte) {
		p.asked = nil
		if typ == ipc.TypeError {
			code, text := p.refusal(b)
			p.w.mayRefuse(p.name, p.queue, queue, code, text)
			return
		}
		a, err := ipc.DecodePulled(b)
		p.w.must(err, "decode what was pulled")
		p.pulled(m, &a)
	})
}

// subFor is who holds what is pulled from a queue; its queue may have been another one before.
func (p *puller) subFor(queue uint64) *subscription {
	if p.sub == nil || p.sub.queue != queue {
		p.lastSub++
		p.sub = &subscription{
			sub: pullerBit | p.lastSub, queue: queue, wants: ipc.Consumer{Puller: true}, filter: p.w.filterOf(p.queue), limit: ^uint64(0), owner: p,
		}
		p.conn.subs = append(p.conn.subs, p.sub)
	}
	return p.sub
}

// pulled takes over what was pulled.
func (p *puller) pulled(m *ipc.Pull, a *ipc.Pulled) {
	p.w.trace("%s gets %+v", p.name, a)
	p.w.stats.pulled += len(a.Runs)
	if a.Lease != 0 {
		p.w.newSerial(serial{m.Queue, a.Lease}, fmt.Sprintf("pull %d of %s", p.pulls, p.name))
	}
	for _, run := range a.Runs {
		if a.Lease != 0 {
			p.leased(m, a, &run)
			continue
		}
		s := p.sub
		s.wants.AutoAck = m.AutoAck
		for o := run.First; o < run.First+uint64(run.Count); o++ {
			p.w.handed(s, place{run.Index, o}, run.Attempts)
		}
		p.w.conn.settleAtOnce(p.conn, s, run.Index, run.First, run.Count)
		s.wants.AutoAck = false
	}
}

// leased notes handles, and deletes what the filter does not match.
func (p *puller) leased(m *ipc.Pull, a *ipc.Pulled, run *ipc.PulledRun) {
	for o := run.First; o < run.First+uint64(run.Count); o++ {
		h := handle{spot{m.Queue, place{run.Index, o}}, a.Lease}
		if p.w.now >= a.UntilMS {
			p.w.seen[h.spot] = true
			p.void = append(p.void, h) // the answer has come too late: perhaps another has got it before
			continue
		}
		p.w.free(h.spot, p.name)
		p.w.unseen(h.spot, p.name, run.Attempts)
		p.w.leases[h.spot] = leaseClaim{number: a.Lease, untilMS: a.UntilMS, owner: p.name}
		if !p.w.matches(p.w.filterOf(p.queue), run.Index, o) {
			p.settle(h, ipc.VerdictSkip)
			continue
		}
		p.handles = append(p.handles, h)
	}
}

// use does something with a handle. One that it has not used up it may try later, when it is over.
func (p *puller) use() {
	r := p.w.rng
	at := r.IntN(len(p.handles))
	h := p.handles[at]
	n := r.IntN(6)
	if p.stopped {
		n = 0
	}
	if n != 3 {
		p.handles = slices.Delete(p.handles, at, at+1)
		if p.void = append(p.void, h); len(p.void) > 4 {
			p.void = p.void[1:]
		}
	}
	switch n {
	case 0, 1:
		p.settle(h, ipc.VerdictAck)
	case 2:
		p.settle(h, []ipc.Verdict{ipc.VerdictRequeue, ipc.VerdictReject}[r.IntN(2)])
	case 3:
		p.extend(h, uint64(1+r.IntN(400)))
	case 4:
		p.extend(h, 0)
	default: // it forgets it, and the message comes back
	}
}

// settle passes a verdict on a leased message. Whether it counts the answer tells.
func (p *puller) settle(h handle, v ipc.Verdict) {
	w := p.w
	p.open++
	w.trace("%s: verdict %d on %v with lease %d", p.name, v, h.spot, h.lease)
	o := w.conn.ask(p.conn, ipc.TypeAck, func(head ipc.Head) []byte {
		m := ipc.Ack{Head: head, Queue: h.queue, Index: h.index, Lease: h.lease, Verdict: v, Ranges: []ipc.Range{{First: h.base, Count: 1}}}
		return m.Append(nil)
	}, nil, func(typ ipc.Type, b []byte) {
		p.open--
		switch {
		case typ == ipc.TypeError:
			code, text := p.refusal(b)
			w.mayRefuse(p.name, p.queue, h.queue, code, text)
		case v != ipc.VerdictRequeue:
			w.verdictConfirmed(h.queue, h.index, []uint64{h.base})
		}
	})
	o.before = func() { w.leaseOver(h) }
}

// extend sets a lease to another end. Until it is answered the earlier one of the two counts.
func (p *puller) extend(h handle, ms uint64) {
	w := p.w
	p.open++
	w.trace("%s: %v with lease %d is to last for %d ms", p.name, h.spot, h.lease, ms)
	until, asked := int64(0), 0
	o := w.conn.ask(p.conn, ipc.TypeExtend, func(head ipc.Head) []byte {
		m := ipc.Extend{Head: head, Queue: h.queue, Index: h.index, Offset: h.base, Lease: h.lease, InvisibleMS: ms}
		return m.Append(nil)
	}, nil, func(typ ipc.Type, b []byte) {
		p.open--
		l, mine := w.leases[h.spot]
		switch {
		case typ == ipc.TypeError:
			code, text := p.refusal(b)
			w.mayRefuse(p.name, p.queue, h.queue, code, text)
			p.handles = slices.DeleteFunc(p.handles, func(o handle) bool { return o == h })
		case mine && l.number == h.lease && l.asked == asked && ms > 0:
			l.untilMS = until
			w.leases[h.spot] = l
		}
	})
	o.before = func() {
		until = w.now + int64(ms)
		if l, mine := w.leases[h.spot]; mine && l.number == h.lease {
			l.untilMS = min(l.untilMS, until)
			l.asked++
			asked = l.asked
			w.leases[h.spot] = l
		}
	}
}

// leaseOver: the message may be given to others from now on.
func (w *world) leaseOver(h handle) {
	if w.leases[h.spot].number == h.lease {
		delete(w.leases, h.spot)
	}
}

// end asks for the answer to the pull, whatever it is.
func (p *puller) end() {
	p.ending = true
	p.w.conn.endPull(p.w.conn.pending[p.asked.Req])
}
