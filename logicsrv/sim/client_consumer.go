//go:build failpoints

package sim

import (
	"slices"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
)

// consumer takes messages from one queue, with credit, and passes verdicts on them.
type consumer struct {
	party
	queue string
	wants ipc.Consumer
	lazy  int  // passes a verdict in one tick of so many
	harsh bool // rejects and gives back more than it acknowledges

	sub      *subscription
	asked    bool // Subscribe is not answered
	leaving  bool // Unsubscribe is not answered
	verdicts int  // not answered
	barred   bool // another one consumes, beside whom it cannot
	stopped  bool // no new faults of its own; everything is acknowledged
	lastSub  uint64
}

func (c *consumer) settled() bool {
	return !c.asked && !c.leaving && c.verdicts == 0 && (c.sub == nil || len(c.sub.inHand) == 0)
}

func (c *consumer) dropped() {
	c.conn, c.sub, c.asked, c.leaving, c.verdicts = nil, nil, false, false, 0
}

func (c *consumer) checked(*ipc.CheckTxn) {}

func (c *consumer) tick() {
	r := c.w.rng
	if !c.stopped && c.conn != nil && r.IntN(c.w.plan.clientDeath) == 0 {
		c.die(c)
		return
	}
	queue := c.w.queueOf(c.queue)
	if queue == 0 && c.sub == nil || !c.ready(c) || c.asked || c.leaving {
		return
	}
	switch {
	case c.sub == nil:
		if !c.barred || r.IntN(50) == 0 {
			c.subscribe(queue)
		}
	case !c.stopped && r.IntN(150) == 0:
		c.unsubscribe()
	case c.sub.limit-min(c.sub.limit, c.sub.delivered) < 2 && (c.stopped || r.IntN(c.lazy) == 0):
		c.moreCredit()
	case len(c.sub.inHand) > 0 && (c.stopped || r.IntN(c.lazy) == 0):
		c.verdict()
	}
}

func (c *consumer) subscribe(queue uint64) {
	c.asked = true
	c.lastSub++
	s := &subscription{
		sub: c.lastSub, queue: queue, limit: uint64(c.w.rng.IntN(6)), wants: c.wants, filter: c.w.filterOf(c.queue), owner: c,
	}
	c.w.conn.ask(c.conn, ipc.TypeSubscribe, func(h ipc.Head) []byte {
		m := ipc.Subscribe{Head: h, Sub: s.sub, Queue: queue, Limit: s.limit, Consumer: s.wants}
		return m.Append(nil)
	}, nil, func(typ ipc.Type, b []byte) {
		c.asked = false
		if typ == ipc.TypeError {
			code, text := c.refusal(b)
			c.w.mayRefuse(c.name, c.queue, queue, code, text)
			c.barred = code == errcode.InUse
			c.conn.subs = slices.DeleteFunc(c.conn.subs, func(x *subscription) bool { return x == s })
			c.sub = nil
		}
	})
	// It counts from now on: a marker that comes before the answer is told of it too.
	c.conn.subs = append(c.conn.subs, s)
	c.sub = s
	c.w.trace("%s subscribes to queue %d as %d", c.name, queue, s.sub)
}

func (c *consumer) unsubscribe() {
	c.leaving = true
	s := c.sub
	s.closing = true
	c.w.trace("%s unsubscribes", c.name)
	c.w.conn.ask(c.conn, ipc.TypeUnsubscribe, func(h ipc.Head) []byte {
		m := ipc.Unsubscribe{Head: h, Sub: s.sub}
		return m.Append(nil)
	}, nil, func(typ ipc.Type, b []byte) {
		c.leaving = false
		if typ != ipc.TypeSubClosed {
			code, text := c.refusal(b)
			c.w.fail("%s cannot leave: %v %s", c.name, code, text)
		}
	})
}

func (c *consumer) moreCredit() {
	c.sub.limit = c.sub.delivered + 1 + uint64(c.w.rng.IntN(6))
	c.w.tellCredit(c.conn, c.sub)
}

func (w *world) tellCredit(k *conn, s *subscription) {
	w.conn.tell(k, ipc.TypeCredit, func(h ipc.Head) []byte {
		m := ipc.Credit{Head: h, Sub: s.sub, Limit: s.limit}
		return m.Append(nil)
	})
}

// verdict acknowledges, rejects or gives back some of what it holds.
func (c *consumer) verdict() {
	r := c.w.rng
	verdict := ipc.VerdictAck
	if n := r.IntN(10); !c.stopped {
		switch {
		case n == 0 || c.harsh && n < 3:
			verdict = ipc.VerdictReject
		case n <= 2 || c.harsh && n < 7:
			verdict = ipc.VerdictRequeue
		}
	}
	c.w.settleSome(c.conn, c.sub, verdict, c.stopped || r.IntN(2) == 0, c.stopped || r.IntN(2) == 0, &c.verdicts)
}

// settleSome passes a verdict on what a subscription holds of one index, on all of it or some.
// open counts verdicts that are to be answered; with asked, this one is.
func (w *world) settleSome(k *conn, s *subscription, v ipc.Verdict, all, asked bool, open *int) {
	index := s.inHand[w.rng.IntN(len(s.inHand))].index
	var chosen []uint64
	for _, p := range s.inHand {
		if p.index == index && (all || w.rng.IntN(2) == 0) {
			chosen = append(chosen, p.base)
		}
	}
	if len(chosen) == 0 {
		return
	}
	name := s.owner.side().name
	w.trace("%s: verdict %d on %v of index %d", name, v, chosen, index)
	if !asked {
		s.settle(w.conn, k, index, chosen, v)
		return
	}
	*open++
	times := w.timesOf(s.queue, index, chosen)
	s.drop(index, chosen)
	o := w.conn.ask(k, ipc.TypeAck, func(h ipc.Head) []byte {
		m := ipc.Ack{Head: h, Sub: s.sub, Queue: s.queue, Index: index, Verdict: v, Recalls: s.recalls, Ranges: ranges(chosen)}
		return m.Append(nil)
	}, nil, func(typ ipc.Type, b []byte) {
		*open--
		if typ != ipc.TypeAcked {
			code, text := s.owner.side().refusal(b)
			w.mayRefuse(name, w.nameOf(s.queue), s.queue, code, text)
			return
		}
		if v != ipc.VerdictRequeue {
			// What was sought back and given out again meanwhile needs another verdict.
			w.verdictConfirmed(s.queue, index, slices.DeleteFunc(chosen, func(o uint64) bool { return w.times[spot{s.queue, place{index, o}}] != times[o] }))
		}
	})
	o.before = func() { w.verdictOffered(s, s.queue, index, chosen, v) }
	o.after = func() { w.verdictTaken(s.queue, index, chosen) }
}

// closed says that the consumer has ended; what it held has gone back, or is gone with its queue.
func (c *consumer) closed(s *subscription, code errcode.Code) {
	if c.sub == s {
		c.sub = nil
		c.w.mayClose(c.name, s.queue, code)
		c.barred = code == errcode.InUse
	}
}
