package trimq

import (
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

func (q *QueueConsumer) up(*conn) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.subbed, q.confirmed = false, false
	q.again = time.Time{}
	q.giveUp = time.Now().Add(q.c.opt.answerTimeout)
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
	for v := ipc.VerdictAck; v <= ipc.VerdictReject; v++ {
		for !q.stale[v].empty() && len(q.acks) < maxAcksOnWire && c.room(o) > 0 {
			q.ackFrame(o, v, staleSub, &q.stale[v])
		}
		for !q.verdicts[v].empty() && len(q.acks) < maxAcksOnWire && c.room(o) > 0 {
			q.ackFrame(o, v, queueSub, &q.verdicts[v])
		}
	}
	if q.fatal != nil {
		return 0
	}
	if !q.subbed && c.room(o) > 0 {
		q.subbed = true
		q.limit = q.opt.prefetch
		o.frame(native.CmdSubscribe, 0, subCorrelation, &native.Subscribe{
			Sub: queueSub, Index: q.index, Limit: q.limit, Kind: native.SubQueue,
			AutoAck: q.opt.autoAck, Exclusive: q.opt.exclusive,
		})
		return 0
	}
	// Credit is renewed in steps: half of it at once, all of it when nothing is held.
	limit := q.settled + q.opt.prefetch
	if more := limit - q.limit; q.confirmed && more > 0 && (more > q.opt.prefetch/2 || q.held.empty()) {
		q.limit = limit
		o.frame(native.CmdCredit, native.FlagNoReply, 0, &native.Credit{Sub: queueSub, Limit: limit})
	}
	return 0
}

func (q *QueueConsumer) ackFrame(o *outbox, v ipc.Verdict, sub uint64, from *rangeSet) {
	q.corr++
	ranges := from.take(maxAckRanges)
	q.acks[q.corr] = ackRequest{v, sub == staleSub, ranges}
	o.frame(native.CmdAck, 0, q.corr, &native.Ack{Sub: sub, Queue: q.index, Index: q.index, Verdict: v, Ranges: ranges})
}

func (q *QueueConsumer) handle(_ *conn, h native.Header, body []byte, s *slab) error {
	switch {
	case h.Flags&native.FlagResponse != 0:
		return q.response(h, body)
	case h.Command == native.CmdDeliver:
		return q.deliver(body, s)
	default:
		m, err := native.DecodeSubClosed(body)
		if err != nil {
			return protocolError("%w", err)
		}
		q.mu.Lock()
		defer q.mu.Unlock()
		q.unsubscribed(&Error{Code: m.Code, Text: m.Text})
		return nil
	}
}

func (q *QueueConsumer) takes(cmd native.Command) bool {
	return cmd == native.CmdDeliver || cmd == native.CmdSubClosed
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
	switch {
	case codeOf(refusal).Retriable():
		q.putBack(a)
		q.again = time.Now().Add(q.pause.delay())
	case refusal != nil && q.ackErr == nil:
		q.ackErr = refusal
	}
	q.flushed()
	q.link.kick()
	return nil
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
		q.fatal = err
		q.tellFirst(err)
		q.flushed()
		q.ring()
		return
	}
	q.again = time.Now().Add(q.pause.delay())
	q.link.kick()
}

func (q *QueueConsumer) deliver(body []byte, s *slab) error {
	m, _, b, err := native.DecodeDeliver(body)
	if err != nil {
		return protocolError("%w", err)
	}
	next := m.First + uint64(m.Count)
	if m.Sub != queueSub || m.Index != q.index || m.Count == 0 || next < m.First || m.First < m.Base {
		return protocolError("DELIVER of %d messages from %d, base %d, to subscription %d of index %d", m.Count, m.First, m.Base, m.Sub, m.Index)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.subbed || q.closed {
		return nil
	}
	s.retain()
	q.held.add(m.First, next)
	q.ready.push(&delivered{m: m, batch: b, s: s})
	q.ring()
	return nil
}

// forgetDeliveries drops what nobody has received: it will be delivered again. What is
// settled and not sent is no longer the subscription's; what was put back has gone back by
// itself. REQUIRES: q.mu held.
func (q *QueueConsumer) forgetDeliveries() {
	for _, v := range [...]ipc.Verdict{ipc.VerdictAck, ipc.VerdictReject} {
		for _, s := range q.verdicts[v].list {
			q.stale[v].add(s.first, s.next)
		}
		q.verdicts[v].clear()
	}
	q.verdicts[ipc.VerdictRequeue].clear()
	for q.ready.len() > 0 {
		q.ready.pop().s.release()
	}
	q.held.clear()
	q.settled = 0
}

// putBack makes a verdict unsent again. REQUIRES: q.mu held.
func (q *QueueConsumer) putBack(a ackRequest) {
	to := &q.verdicts[a.verdict]
	if a.stale {
		to = &q.stale[a.verdict]
	}
	for _, r := range a.ranges {
		to.add(r.First, r.First+uint64(r.Count))
	}
}

// down: acknowledgements that were not confirmed are sent again, which does no harm.
func (q *QueueConsumer) down(error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, a := range q.acks {
		q.putBack(a)
	}
	clear(q.acks)
	q.forgetDeliveries()
	q.subbed, q.confirmed = false, false
	q.flushed()
}

func (q *QueueConsumer) refused(err error, fatal bool) {
	if !fatal {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.fatal = err
	q.tellFirst(err)
	q.flushed()
	q.ring()
}
