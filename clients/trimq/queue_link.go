package trimq

import (
	"slices"
	"time"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
)

// The queue consumer as a link's role: verdicts and credit out, deliveries in. On a new
// connection the verdicts that were not confirmed go first, so that what they settle is not
// delivered again; then the subscription. They are those of no subscription of the connection:
// its own is answerable for what it has delivered, all or nothing, and must not be refused for
// the sake of what came over another.
//
// The broker takes back what was not settled in time (RECALL), and refuses an ACK that names any
// of it, all of it: what else it named is then sent again.

func (q *QueueConsumer) up(c *conn) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.conn = c
	q.subbed, q.confirmed = false, false
	q.again = time.Time{}
	q.giveUp = time.Now().Add(q.c.opt.answerTimeout)
}

// fail ends the consumer. REQUIRES: q.mu held.
func (q *QueueConsumer) fail(err error) {
	q.fatal = err
	q.tellFirst(err)
	q.flushed()
	q.ring()
}

func (q *QueueConsumer) gather(c *conn, o *outbox) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.again.IsZero() { // something was refused for now
		if wait := time.Until(q.again); wait > 0 {
			return wait
		}
		q.again = time.Time{}
	}
	q.unsent = slices.DeleteFunc(q.unsent, func(h *hand) bool {
		h.queued = !q.ackFrames(c, o, h)
		return !h.queued
	})
	q.flushed() // what was left may have been recalled
	if q.fatal != nil || !q.begun {
		return 0
	}
	if !q.subbed {
		q.subscribe(c, o)
		return 0
	}
	// Credit is renewed in steps: half of it at once, all of it when nothing is held.
	limit := q.settled + q.opt.prefetch
	if more := limit - q.limit; q.confirmed && more > 0 && (more > q.opt.prefetch/2 || q.holding == 0) {
		q.limit = limit
		o.frame(native.CmdCredit, native.FlagNoReply, 0, &native.Credit{Sub: queueSub, Limit: limit})
	}
	return 0
}

// subscribe asks for deliveries. REQUIRES: q.mu held.
func (q *QueueConsumer) subscribe(c *conn, o *outbox) {
	if c.room(o) <= 0 {
		return
	}
	q.subbed = true
	q.limit = q.opt.prefetch
	m := native.Subscribe{
		Sub: queueSub, Index: q.queue, Limit: q.limit, Kind: native.SubQueue, AutoAck: q.opt.autoAck,
		Exclusive: q.opt.exclusive, Priority: q.opt.priority, Tag: q.opt.tag,
	}
	if !q.opt.autoAck {
		m.AckTimeoutMS = ceilMS(q.opt.ackTimeout)
	}
	o.frame(native.CmdSubscribe, 0, subCorrelation, &m)
}

// ackFrames sends the verdicts on an index; false: some are left. What is put back goes ahead of
// everything, and waits for no answer: else the credit for it, which goes out at once, would bring what
// lies behind it in the queue. REQUIRES: q.mu held.
func (q *QueueConsumer) ackFrames(c *conn, o *outbox, h *hand) (all bool) {
	for _, v := range [...]ipc.Verdict{ipc.VerdictRequeue, ipc.VerdictAck, ipc.VerdictReject} {
		for _, stale := range [...]bool{true, false} {
			from, sub := &h.verdicts[v], uint64(queueSub)
			if stale {
				from, sub = &h.stale[v], staleSub
			}
			for !from.empty() {
				if len(q.acks) >= maxAcksOnWire && v != ipc.VerdictRequeue || c.room(o) <= 0 {
					return false
				}
				a := &ackRequest{h: h, verdict: v, stale: stale, ranges: from.take(maxAckRanges)}
				q.ackFrame(o, sub, a)
			}
		}
	}
	return true
}

func (q *QueueConsumer) ackFrame(o *outbox, sub uint64, a *ackRequest) {
	q.corr++
	q.acks[q.corr] = a
	o.frame(native.CmdAck, 0, q.corr, &native.Ack{Sub: sub, Queue: q.queue, Index: a.h.index, Verdict: a.verdict, Ranges: a.ranges})
}

func (q *QueueConsumer) handle(_ *conn, h native.Header, body []byte, s *slab) error {
	switch {
	case h.Flags&native.FlagResponse != 0:
		return q.response(h, body)
	case h.Command == native.CmdDeliver:
		return q.deliver(body, s)
	case h.Command == native.CmdRecall:
		return q.recall(body)
	}
	m, err := native.DecodeSubClosed(body)
	if err != nil {
		return protocolError("%w", err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.unsubscribed(&Error{Code: m.Code, Text: m.Text})
	return nil
}

func (q *QueueConsumer) takes(cmd native.Command) bool {
	return cmd == native.CmdDeliver || cmd == native.CmdRecall || cmd == native.CmdSubClosed
}

func (q *QueueConsumer) response(h native.Header, body []byte) error {
	refusal := responseError(h, body)
	if refusal != nil && codeOf(refusal) == errcode.OK {
		return refusal
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if h.Command == native.CmdSubscribe && h.Correlation == subCorrelation && q.subbed {
		q.subscribed(refusal)
		return nil
	}
	a, ok := q.acks[h.Correlation]
	if !ok || h.Command != native.CmdAck {
		return protocolError("answer to %s %d, which was not asked", h.Command, h.Correlation)
	}
	delete(q.acks, h.Correlation)
	q.acked(a, refusal)
	q.flushed()
	q.link.kick()
	return nil
}

// acked takes the answer to an ACK. REQUIRES: q.mu held.
func (q *QueueConsumer) acked(a *ackRequest, refusal error) {
	switch {
	case refusal == nil:
		return
	case codeOf(refusal).Retriable():
		q.again = time.Now().Add(q.pause.delay())
	case a.late.empty():
		if q.ackErr == nil {
			q.ackErr = refusal
		}
		return
	}
	q.putBack(a)
}

// putBack makes a verdict unsent again, but for what was recalled. REQUIRES: q.mu held.
func (q *QueueConsumer) putBack(a *ackRequest) {
	a.putBack()
	q.send(a.h)
	if n := a.late.count(); n > 0 {
		q.tooLate(a.h, n)
	}
}

// tooLate tells the next Flush that verdicts were passed on what had been recalled. REQUIRES:
// q.mu held.
func (q *QueueConsumer) tooLate(h *hand, n uint64) {
	if q.ackErr == nil {
		q.ackErr = recalledError(q.name, h.index, n)
	}
}

// subscribed takes the answer to SUBSCRIBE. REQUIRES: q.mu held.
func (q *QueueConsumer) subscribed(refusal error) {
	if refusal == nil {
		q.confirmed = true
		q.pause.reset()
		q.tellFirst(nil)
		q.link.kick()
		return
	}
	if code := codeOf(refusal); code == errcode.InUse {
		q.tellFirst(refusal) // only a consumer that was there before waits for its place
	}
	q.unsubscribed(refusal)
}

// tellFirst answers ConsumeQueue, once. REQUIRES: q.mu held.
func (q *QueueConsumer) tellFirst(err error) {
	select {
	case q.first <- err:
	default:
	}
}

// unsubscribed tries again later, or ends the consumer. REQUIRES: q.mu held.
func (q *QueueConsumer) unsubscribed(err error) {
	q.forgetDeliveries()
	q.subbed, q.confirmed = false, false
	if lasting(codeOf(err)) || time.Now().After(q.giveUp) {
		q.fail(err)
		return
	}
	q.again = time.Now().Add(q.pause.delay())
	q.link.kick()
}

func (q *QueueConsumer) deliver(body []byte, s *slab) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.subbed || q.closed {
		return nil
	}
	in, err := arrive(body, s, &q.notes)
	if err != nil {
		return err
	}
	if in.m.Sub != queueSub {
		return protocolError("DELIVER to subscription %d", in.m.Sub)
	}
	q.holding += q.hand(in.m.Index).deliver(in.m.First, in.next())
	q.ready.push(in)
	q.ring()
	return nil
}

// recall lets go of what the broker has taken back. What nobody has received yet is dropped; a
// verdict on the rest comes too late.
func (q *QueueConsumer) recall(body []byte) error {
	m, err := native.DecodeRecall(body)
	if err != nil {
		return protocolError("%w", err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if m.Sub != queueSub {
		return protocolError("RECALL from subscription %d", m.Sub)
	}
	if !q.subbed {
		return nil
	}
	h := q.hand(m.Index)
	for _, r := range m.Ranges {
		first, next := r.First, r.First+uint64(r.Count)
		held, late := h.recall(first, next)
		q.holding -= held
		q.owed += held
		if late > 0 {
			q.tooLate(h, late)
		}
		for _, a := range q.acks {
			if a.h == h && !a.stale {
				a.recall(first, next)
			}
		}
		q.recallBound(h, first, next)
		q.dropReady(h.index, first, next)
	}
	q.ring() // who waits in Receive is alive, and gets the credit for it
	q.link.kick()
	return nil
}

// dropReady takes [first, next) out of what waits for Receive. REQUIRES: q.mu held.
func (q *QueueConsumer) dropReady(index, first, next uint64) {
	for n := q.ready.len(); n > 0; n-- {
		in := q.ready.pop()
		if in.m.Index != index || in.next() <= first || next <= in.m.First {
			q.ready.push(in)
			continue
		}
		for _, part := range in.without(first, next) {
			q.ready.push(part)
		}
	}
}

// forgetDeliveries drops what nobody has received: it will be delivered again. What is
// settled and not sent is no longer the subscription's. REQUIRES: q.mu held.
func (q *QueueConsumer) forgetDeliveries() {
	q.loseBound()
	q.unsent = q.unsent[:0]
	for _, h := range q.hands {
		h.forget()
		h.queued = false
		q.send(h)
	}
	for q.ready.len() > 0 {
		q.ready.pop().s.release()
	}
	q.holding, q.settled, q.owed = 0, 0, 0
}

// down: acknowledgements that were not confirmed are sent again, which does no harm.
func (q *QueueConsumer) down(error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.conn = nil
	for _, a := range q.acks {
		q.putBack(a)
	}
	clear(q.acks)
	q.forgetDeliveries()
	q.subbed, q.confirmed = false, false
	if q.home != nil && q.fatal == nil {
		q.fail(&Error{Code: errcode.NotFound, Text: "queue " + q.name + " was exclusive to a connection, and went with it"})
	}
	q.flushed()
}

func (q *QueueConsumer) refused(err error, fatal bool) {
	if !fatal {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.fail(err)
}
