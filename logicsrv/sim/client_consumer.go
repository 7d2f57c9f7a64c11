//go:build failpoints

package sim

import (
	"slices"

	"github.com/trimq/trimq/protocol/ipc"
)

// consumer takes messages from one queue, with credit, and passes verdicts on them.
type consumer struct {
	party
	queue   string
	autoAck bool
	lazy    int // passes a verdict in one tick of so many

	sub      *subscription
	asked    bool // Subscribe is not answered
	leaving  bool // Unsubscribe is not answered
	verdicts int  // not answered
	stopped  bool // no new faults of its own; everything is acknowledged
	lastSub  uint64
}

func (c *consumer) settled() bool {
	return !c.asked && !c.leaving && c.verdicts == 0 && (c.sub == nil || len(c.sub.inHand) == 0)
}

func (c *consumer) dropped() {
	c.conn, c.sub, c.asked, c.leaving, c.verdicts = nil, nil, false, false, 0
}

func (c *consumer) tick() {
	r := c.w.rng
	if !c.stopped && c.conn != nil && r.IntN(c.w.plan.clientDeath) == 0 {
		c.die(c)
		return
	}
	index := c.w.indexOf(c.queue, 0)
	if index == 0 || !c.ready(c) || c.asked || c.leaving {
		return
	}
	switch {
	case c.sub == nil:
		c.subscribe(index)
	case !c.stopped && r.IntN(150) == 0:
		c.unsubscribe()
	case c.sub.limit-c.sub.delivered < 2 && (c.stopped || r.IntN(c.lazy) == 0):
		c.moreCredit()
	case len(c.sub.inHand) > 0 && (c.stopped || r.IntN(c.lazy) == 0):
		c.verdict()
	}
}

func (c *consumer) subscribe(index uint64) {
	c.asked = true
	c.lastSub++
	s := &subscription{sub: c.lastSub, index: index, limit: uint64(c.w.rng.IntN(6)), autoAck: c.autoAck, owner: c}
	c.w.conn.ask(c.conn, ipc.TypeSubscribe, func(h ipc.Head) []byte {
		m := ipc.Subscribe{Head: h, Sub: s.sub, Queue: index, Limit: s.limit}
		return m.Append(nil)
	}, nil, func(typ ipc.Type, b []byte) {
		c.asked = false
		if typ == ipc.TypeError {
			code, text := c.refusal(b)
			c.w.fail("%s cannot consume from %s: %v %s", c.name, c.queue, code, text)
		}
	})
	// It counts from now on: a marker that comes before the answer is told of it too.
	c.conn.subs = append(c.conn.subs, s)
	c.sub = s
	c.w.trace("%s subscribes to index %d as %d", c.name, index, s.sub)
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

// closed says that the consumer has ended; what it held has gone back.
func (c *consumer) closed(s *subscription) {
	if c.sub == s {
		c.sub = nil
	}
}

func (c *consumer) moreCredit() {
	s := c.sub
	s.limit = s.delivered + 1 + uint64(c.w.rng.IntN(6))
	c.w.conn.tell(c.conn, ipc.TypeCredit, func(h ipc.Head) []byte {
		m := ipc.Credit{Head: h, Sub: s.sub, Limit: s.limit}
		return m.Append(nil)
	})
}

// verdict acknowledges, rejects or gives back some of what it holds.
func (c *consumer) verdict() {
	s, r := c.sub, c.w.rng
	var chosen, rest []uint64
	all := c.stopped || r.IntN(2) == 0
	for _, o := range s.inHand {
		if all || r.IntN(2) == 0 {
			chosen = append(chosen, o)
		} else {
			rest = append(rest, o)
		}
	}
	if len(chosen) == 0 {
		return
	}
	verdict := ipc.VerdictAck
	switch n := r.IntN(10); {
	case c.stopped:
	case n == 0:
		verdict = ipc.VerdictReject
	case n <= 2:
		verdict = ipc.VerdictRequeue
	}
	s.inHand = rest
	c.w.trace("%s: verdict %d on %v of index %d", c.name, verdict, chosen, s.index)
	encode := func(h ipc.Head) []byte {
		m := ipc.Ack{Head: h, Sub: s.sub, Queue: s.index, Index: s.index, Verdict: verdict, Ranges: ranges(chosen)}
		return m.Append(nil)
	}
	var o *outgoing
	if c.stopped || r.IntN(2) == 0 {
		c.verdicts++
		o = c.w.conn.ask(c.conn, ipc.TypeAck, encode, nil, func(typ ipc.Type, b []byte) {
			c.verdicts--
			if typ != ipc.TypeAcked {
				code, text := c.refusal(b)
				c.w.fail("%s: verdict on %v of index %d refused: %v %s", c.name, chosen, s.index, code, text)
			}
			if verdict != ipc.VerdictRequeue {
				c.w.verdictConfirmed(s.index, chosen)
			}
		})
	} else {
		o = c.w.conn.tell(c.conn, ipc.TypeAck, encode)
	}
	o.before = func() { c.w.verdictOffered(s.index, chosen, verdict) }
	o.after = func() { c.w.verdictTaken(s.index, chosen, verdict) }
}

// ackAtOnce is what connsrv does for a consumer that wants every delivery acknowledged.
func (c *consumer) ackAtOnce(srv *connsrv, k *conn, s *subscription, d *ipc.Deliver) {
	var offsets []uint64
	for o := d.First; o < d.First+uint64(d.Count); o++ {
		offsets = append(offsets, o)
	}
	s.inHand = slices.DeleteFunc(s.inHand, func(o uint64) bool { return o >= d.First && o < d.First+uint64(d.Count) })
	o := srv.tell(k, ipc.TypeAck, func(h ipc.Head) []byte {
		m := ipc.Ack{Head: h, Sub: s.sub, Queue: s.index, Index: s.index, Verdict: ipc.VerdictAck, Ranges: ranges(offsets)}
		return m.Append(nil)
	})
	o.before = func() { c.w.verdictOffered(s.index, offsets, ipc.VerdictAck) }
	o.after = func() { c.w.verdictTaken(s.index, offsets, ipc.VerdictAck) }
}
