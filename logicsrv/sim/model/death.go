package model

import (
	"slices"
	"strings"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// acked: messages are done with, by a verdict or because they died where no dead-letter exchange
// is configured.
func (m *Model) acked(e *journal.Acked) {
	m.in(e.Queue, e.Index, e.Ranges, func(x *message) {
		if m.judging() {
			if e.Reason.Kills() && x.lane.queue.set.DeadLetter {
				m.cfg.Fail("%v is dropped (%v), its queue has a dead-letter exchange", x, e.Reason)
			}
			m.judgeEnd(x, e.Reason)
		}
		m.perish(x, done, e.Reason)
	})
	m.judgeVerdict(e.Pos, e.Queue, e.Index, e.Reason)
}

// died: messages are on their way to the dead-letter exchange of their queue.
func (m *Model) died(e *journal.Died) {
	m.in(e.Queue, e.Index, e.Ranges, func(x *message) {
		if x.is == dead {
			return // a second verdict on it
		}
		if m.judging() {
			if !x.lane.queue.set.DeadLetter {
				m.cfg.Fail("%v is dead, its queue has no dead-letter exchange", x)
			}
			m.judgeEnd(x, e.Reason)
		}
		m.perish(x, dead, e.Reason)
	})
	m.judgeVerdict(e.Pos, e.Queue, e.Index, e.Reason)
}

// perish ends the life of a message in its queue. Should it be in a hand, and it is not that
// consumer's verdict, it does not know.
func (m *Model) perish(x *message, is standing, why ipc.Reason) {
	q := x.lane.queue
	if x.is == held && x.asked != m.number && !m.saysSo(x.holder) {
		x.holder.unaware = append(x.holder.unaware, x)
	}
	switch {
	case why != ipc.ReasonMaxLength:
	case x.lsn == m.lsn+1 && q.set.Overflow == admin.RejectDeadLetter:
		x.condemned = true
	case m.judging():
		q.dropped = append(q.dropped, x)
	}
	m.stands(x, is, why)
}

// saysSo tells whether what is decided is a consumer's own verdict.
func (m *Model) saysSo(k *consumer) bool {
	switch c := m.cause.(type) {
	case *ipc.Ack:
		return c.Epoch == k.epoch && c.Conn == k.conn && c.Sub == k.sub
	case *ipc.EndTxn:
		return c.Epoch == k.epoch && c.Conn == k.conn && slices.ContainsFunc(c.Verdicts, func(v ipc.TxnVerdict) bool { return v.Sub == k.sub })
	}
	return false
}

// judgeEnd tells whether a message may end for this reason now.
func (m *Model) judgeEnd(x *message, why ipc.Reason) {
	q, now := x.lane.queue, m.now()
	if why == ipc.ReasonExpired || why == ipc.ReasonDeliveryLimit {
		m.timedOut(x, x.asked != m.number)
	}
	switch why {
	case ipc.ReasonAcked, ipc.ReasonRejected, ipc.ReasonSkipped:
		m.judgeSettled(x, why)
	case ipc.ReasonExpired:
		if x.dueMS == 0 || now < x.dueMS {
			m.cfg.Fail("%v expires at %d, it may from %d on", x, now, x.dueMS)
		}
		if x.is != ready && !m.comesBack(x) {
			m.cfg.Fail("%v expires, though it is not ready", x)
		}
		m.judgeNotHeld(x)
		switch {
		case x.is != ready || x.asked == m.number:
			m.saw(RuleExpiredOnReturn)
		case x.dueMS < x.cameMS+int64(q.set.MessageTTLMS.N) || !q.set.MessageTTLMS.Given:
			m.saw(RuleExpired)
		default:
			m.saw(RuleExpiredByQueue)
		}
	case ipc.ReasonMaxLength:
		if x.is != ready {
			m.cfg.Fail("%v makes room, though it is not ready", x)
		}
		if !x.condemned && q.set.Overflow != admin.DropHead && !q.vague {
			m.cfg.Fail("%v makes room in a queue that refuses what is too much", x)
		}
		m.judgeNotHeld(x)
	case ipc.ReasonDeliveryLimit:
		n := q.set.DeliveryLimit
		if !n.Given || n.N == 0 || uint64(x.attempts)+1 <= n.N || !m.comesBack(x) {
			m.cfg.Fail("%v is dead of the delivery limit %+v after %d attempts", x, n, x.attempts)
		}
		m.saw(RuleDeliveryLimit)
	default:
		m.cfg.Fail("%v ends: %v", x, why)
	}
}

// judgeNotHeld: what a consumer holds does not expire, and makes no room. Before logicsrv has been
// told again, the clients know.
func (m *Model) judgeNotHeld(x *message) {
	if !m.synced && x.is == ready && x.asked != m.number && m.cfg.Held(x.lane.queue.id, x.lane.index, x.offset) {
		m.cfg.Fail("%v ends, though a consumer holds it, of whom logicsrv does not know yet", x)
	}
}

// comesBack tells whether there is a reason for which a message comes back now: its consumer has
// ended, gives it back or has held it for too long; its lease is over or was given back.
func (m *Model) comesBack(x *message) bool {
	switch {
	case x.asked == m.number:
		return true
	case x.is == held:
		return x.holder.gone || x.holder.overdue(x, m.now())
	case x.is == leased:
		return m.now() >= x.lease.untilMS
	}
	return false
}

// timedOut notes what is taken from a consumer that has held it for too long: it must be told,
// unless it may be for its verdict that it comes back.
func (m *Model) timedOut(x *message, must bool) {
	if x.is == held && x.holder.overdue(x, m.now()) {
		m.recalled[x] = taking{x.holder, must}
		m.saw(RuleAckTimeout)
	}
}

// taking says from whom a message was taken, and whether he must be told.
type taking struct {
	from *consumer
	must bool
}

// overdue tells whether a consumer that is there has held a message for too long.
func (k *consumer) overdue(x *message, nowMS int64) bool {
	return !k.gone && k.wants.AckTimeoutMS > 0 && nowMS >= x.sinceMS+int64(k.wants.AckTimeoutMS)
}

// asksBack notes which messages a verdict puts back: those that its consumer holds or, with a
// lease, those that have it. Before logicsrv has been told who holds what, it is believed. Where it
// crosses with a recall it is for an earlier delivery, which has come back by that.
func (m *Model) asksBack(a *ipc.Ack) {
	if k := m.consumers[subID{a.Conn, a.Sub}]; k != nil && a.Epoch == m.epoch && a.Recalls == k.recalls {
		clear(k.crossing)
	}
	l := m.laneOf(a.Queue, a.Index)
	if l == nil || a.Verdict != ipc.VerdictRequeue {
		return
	}
	for _, r := range a.Ranges {
		for o := r.First; o < min(r.First+uint64(r.Count), uint64(len(l.messages))); o++ {
			x := l.messages[o]
			mine := x.is == held && x.holder.conn == a.Conn && x.holder.sub == a.Sub && x.holder.epoch == a.Epoch && !x.holder.crossing[x]
			x.owed = x.owed || mine && !x.holder.gone
			if mine || a.Lease != 0 && x.is == leased && x.lease.number == a.Lease || !m.synced && x.is == ready {
				x.asked = m.number
			}
		}
	}
}

// learns: a consumer lets go what it passes a verdict on, also where that was settled before; but
// not what it puts back without knowing that it has lost it, and got it again.
func (m *Model) learns(h ipc.Head, sub, queue, index uint64, ranges []ipc.Range, v ipc.Verdict) {
	k := m.consumers[subID{h.Conn, sub}]
	if k == nil || h.Epoch != m.epoch || k.queue.id != queue {
		return
	}
	k.unaware = slices.DeleteFunc(k.unaware, func(x *message) bool {
		return x.lane.index == index && !(v == ipc.VerdictRequeue && k.crossing[x]) && slices.ContainsFunc(ranges, func(r ipc.Range) bool { return x.offset >= r.First && x.offset < r.First+uint64(r.Count) })
	})
}

// unawareOf is who has a message in hand that is done with; nil: nobody has.
func (m *Model) unawareOf(x *message) *consumer {
	for _, k := range slices.Concat(x.lane.queue.consumers, x.lane.queue.pullers) {
		if slices.Contains(k.unaware, x) {
			return k
		}
	}
	return nil
}

// judgeSettled: a message is settled by a verdict that names it, alone or as part of a commit.
func (m *Model) judgeSettled(x *message, why ipc.Reason) {
	names := func(index uint64, r ipc.Range) bool {
		return index == x.lane.index && x.offset >= r.First && x.offset < r.First+uint64(r.Count)
	}
	switch c := m.cause.(type) {
	case *ipc.Ack:
		for _, r := range c.Ranges {
			if names(c.Index, r) && c.Queue == x.lane.queue.id && ipc.Reason(c.Verdict) == why {
				m.sawSettled(x, c)
				return
			}
		}
	case *ipc.EndTxn:
		for _, v := range c.Verdicts {
			if c.Commit && names(v.Index, v.Range) && v.Queue == x.lane.queue.id && ipc.Reason(v.Verdict) == why {
				m.saw(RuleTxnVerdict)
				return
			}
		}
	}
	m.cfg.Fail("%v is settled (%v) though nobody has said so", x, why)
}

func (m *Model) sawSettled(x *message, a *ipc.Ack) {
	if a.Lease != 0 {
		if x.is != leased || x.lease.number != a.Lease {
			m.cfg.Fail("%v is settled with the lease %d, it has %+v", x, a.Lease, x.lease)
		}
		m.saw(RuleLeaseDeleted)
	}
	if x.lane.queue.set.Topic != "" {
		m.saw(RuleSubscription)
	}
	if a.Verdict == ipc.VerdictSkip {
		if m.cfg.Matches(x.lane.queue.set.Filter, x.lane.index, x.offset) {
			m.cfg.Fail("%v is skipped though the filter %q lets it pass", x, x.lane.queue.set.Filter)
		}
		m.saw(RuleSkip)
	}
}

// judgeVerdict: a verdict counts for all that it names.
func (m *Model) judgeVerdict(pos, queue, index uint64, why ipc.Reason) {
	a, ok := m.cause.(*ipc.Ack)
	if !m.judging() || pos == journal.NoInput || !ok {
		return
	}
	if a.Queue != queue || a.Index != index || ipc.Reason(a.Verdict) != why {
		m.cfg.Fail("a verdict %d on index %d of queue %d is noted as %v of index %d of queue %d", a.Verdict, a.Index, a.Queue, why, index, queue)
	}
	m.in(queue, index, a.Ranges, func(x *message) {
		if x.is != dead {
			m.cfg.Fail("%v has been settled (%v) and is not done", x, why)
		}
	})
}

// returned: messages are ready again, one attempt more.
func (m *Model) returned(e *journal.Returned) {
	m.in(e.Queue, e.Index, e.Ranges, func(x *message) {
		if m.judging() {
			m.judgeReturn(x, e.Reason)
		}
		if x.is == held || x.is == leased || x.is == ready {
			x.attempts++
			m.stands(x, ready, 0)
		}
	})
	a, ok := m.cause.(*ipc.Ack)
	if m.judging() && ok && e.Pos != journal.NoInput && (a.Queue != e.Queue || a.Index != e.Index) {
		m.cfg.Fail("a requeue in queue %d is noted for queue %d", a.Queue, e.Queue)
	}
}

func (m *Model) judgeReturn(x *message, why ipc.Reason) {
	legal := false
	switch why {
	case ipc.ReasonRequeued:
		legal = x.asked == m.number && (x.is == held || x.is == ready)
	case ipc.ReasonEnded:
		legal = x.is == held && x.holder.gone && !x.holder.lost
	case ipc.ReasonLost:
		legal = x.is == held && x.holder.lost && x.attempts == 0
		m.saw(RuleLost)
	case ipc.ReasonTimeout:
		legal = x.is == held && x.holder.overdue(x, m.now())
		m.timedOut(x, true)
	case ipc.ReasonLeaseOver:
		legal = x.is == leased && m.comesBack(x)
		if x.asked == m.number {
			m.saw(RuleLeaseGivenBack)
		} else {
			m.saw(RuleLeaseEnd)
		}
	}
	if !legal {
		m.cfg.Fail("%v comes back (%v) without a reason at %d", x, why, m.now())
	}
	if n := x.lane.queue.set.DeliveryLimit; n.Given && n.N > 0 && uint64(x.attempts)+1 > n.N && why != ipc.ReasonLost {
		m.cfg.Fail("%v is ready again after attempt %d, the delivery limit is %d", x, x.attempts+1, n.N)
	}
	if x.lateMS != 0 && m.now() >= x.lateMS {
		m.cfg.Fail("%v is ready again at %d, it has expired at %d", x, m.now(), x.lateMS)
	}
}

// deadLettered: dead messages of one batch are where the dead-letter exchange leads, and done with
// here. One step, so never both and never neither.
func (m *Model) deadLettered(e *journal.DeadLettered) {
	q := m.queues[e.Queue]
	batch := m.laneOf(e.Queue, e.Index).messages[e.Offset : e.Offset+uint64(e.Count)]
	first := batch[0]
	t := *first.letter
	t.history = append(slices.Clip(t.history), demise{q.name, first.why, m.now(), t.exchange, t.key})
	t.exchange = q.set.DeadLetterExchange
	if !q.set.KeepKey {
		t.key, t.more = q.set.DeadLetterKey, nil
	}
	if t.more = slices.Clone(t.more); t.exchange == "" {
		t.key = nameFor(q, t.key)
		for i := range t.more {
			t.more[i] = nameFor(q, t.more[i])
		}
	}
	weight := uint64(0)
	for _, x := range batch {
		weight += x.weight
		if x.is != dead || x.why != first.why || x.letter != first.letter && !m.deleted(e) {
			m.cfg.Fail("%v is dead-lettered, it is %v (%v)", x, x.is, x.why)
		}
	}
	t.weight, t.count = weight, e.Count
	if m.judging() && !m.deleted(e) {
		m.judgeDeadLettered(e, q, &t)
	}
	for _, x := range batch {
		m.stands(x, done, x.why)
	}
	m.goesTo(e.Targets, e.Count, weight, ipc.NoTTL, &t)
	m.condemn(e.Targets)
}

// nameFor is a key as the name of a queue, which bears a vhost: that of the queue in which something has died, if no other.
func nameFor(q *queue, key string) string {
	if strings.Contains(key, admin.VHostMark) {
		return key
	}
	vhost, _ := admin.SplitVHost(q.name)
	return admin.InVHost(vhost, key)
}

// deleted tells whether the dead go nowhere, for their records have been deleted from the topic or compacted away.
func (m *Model) deleted(e *journal.DeadLettered) bool {
	if len(e.Targets) > 0 {
		return false
	}
	start := uint64(0)
	if p := m.parts[e.Index]; p != nil {
		start = p.start
	}
	for offset := e.Offset; offset < e.Offset+uint64(e.Count); offset++ {
		if offset >= start && !m.cfg.Gone(e.Index, offset) {
			return false
		}
	}
	return true
}

// judgeDeadLettered: they go where the exchange leads, but for a queue from which they have come
// in a circle in which nobody has rejected them.
func (m *Model) judgeDeadLettered(e *journal.DeadLettered, q *queue, t *letter) {
	if m.exchanges[t.exchange] == nil {
		if len(e.Targets) > 0 {
			m.cfg.Fail("queue %s: dead letters go to %v, there is no exchange %q", q.name, e.Targets, t.exchange)
		}
		m.saw(RuleNoExchange)
		return
	}
	r := m.routeLetter(t)
	r.queues = slices.DeleteFunc(r.queues, func(to *queue) bool {
		if !circles(t.history, to.name) {
			return false
		}
		m.saw(RuleCircle)
		return true
	})
	m.judgePlaces(r, batchOf(t, true), e.Targets, e.Full)
	if len(e.Targets) == 0 {
		return
	}
	m.saw(RuleDeadLetter)
	if !q.set.KeepKey {
		m.saw(RuleDeathKey)
	}
	want := rows(t.history)
	if e.Note.Exchange != t.exchange || e.Note.Key != t.key || e.Note.Priority != t.priority || !slices.Equal(e.Note.More, t.more) || !slices.Equal(e.Note.Headers, t.headers) || !slices.EqualFunc(e.Note.Deaths, want, sameDeath) {
		m.cfg.Fail("queue %s: dead letters are noted as %+v, expected are %+v with the deaths %+v", q.name, e.Note, t, want)
	}
	if want[0].Count > 1 {
		m.saw(RuleDeathAgain)
	}
}

// circles tells whether what has died so often would come back to a queue without that any
// consumer has rejected it since it was there.
func circles(history []demise, queue string) bool {
	for _, d := range slices.Backward(history) {
		if d.reason == ipc.ReasonRejected {
			return false
		}
		if d.queue == queue {
			return true
		}
	}
	return false
}

// rows are the deaths as they are told: one row for each queue and reason, the latest first.
func rows(history []demise) (out []ipc.Death) {
	for _, d := range history {
		row := ipc.Death{Queue: d.queue, Reason: d.reason, Count: 1, FirstMS: d.atMS, Exchange: d.exchange, Keys: []string{d.key}}
		same := func(r ipc.Death) bool { return r.Queue == d.queue && r.Reason == d.reason }
		if i := slices.IndexFunc(out, same); i >= 0 {
			row = out[i]
			row.Count++
			out = slices.Delete(out, i, i+1)
		}
		out = slices.Insert(out, 0, row)
	}
	return out
}

func sameDeath(a, b ipc.Death) bool {
	return a.Queue == b.Queue && a.Reason == b.Reason && a.Count == b.Count && a.FirstMS == b.FirstMS && a.Exchange == b.Exchange && slices.Equal(a.Keys, b.Keys)
}
