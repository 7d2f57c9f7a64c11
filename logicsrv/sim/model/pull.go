package model

import (
	"slices"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// pullNow looks at a Pull that has left no event: it was given messages into its hand, or nothing,
// or waits.
func (m *Model) pullNow(in *Input) {
	p, err := ipc.DecodePull(in.Payload)
	m.must(err, "decode a pull")
	if !m.current(p.Epoch) || p.Req == 0 || !m.synced && !m.loops[uint32(p.Conn&0xff)] {
		return // void: it is told again
	}
	q := m.queues[p.Queue]
	if q == nil || m.locked(q, p.Head) {
		m.cfg.Fail("a pull from queue %d is not refused", p.Queue)
		return
	}
	if slices.ContainsFunc(q.pulls, func(o *pull) bool { return o.Req == p.Req }) {
		return // told twice
	}
	if m.again[asks(p.Head)] {
		return // its answer is on the way
	}
	q.unusedMS = m.now()
	o := m.reply(p.Head)
	switch {
	case m.mayGive() && p.InvisibleMS > 0 && m.leaseAgain(q, &p, o):
	case m.mayGive() && (q.hasReady(m) || m.gotNow(q, o)):
		if p.InvisibleMS > 0 {
			m.cfg.Fail("a pull from queue %s is given no lease, though there are messages", q.name)
		}
		m.pulled(q, &p, o, true)
	case m.mayGive() && !p.Wait && !q.comes(m) && (o != nil || !q.hasLate(m)):
		m.saw(RulePullEmpty)
		m.pulled(q, &p, o, false)
	default:
		m.used[asks(p.Head)] = false // it may yet be answered in this turn
		q.pulls = append(q.pulls, &pull{p})
	}
}

// hasReady tells whether somebody could be given a message.
func (q *queue) hasReady(m *Model) bool {
	for _, l := range q.lanes {
		for _, x := range l.alive() {
			if x.is == ready && m.isVisible(x) && (x.dueMS == 0 || m.now() < x.dueMS || !m.wasVisible(x)) {
				return true
			}
		}
	}
	return false
}

// comes tells whether messages of the queue's own are stored and not visible yet: who asks then gets them.
func (q *queue) comes(m *Model) bool {
	return q.set.Topic == "" && slices.ContainsFunc(q.lanes, func(l *lane) bool {
		n := len(l.messages)
		return n > 0 && !m.isVisible(l.messages[n-1])
	})
}

// gotNow tells whether a pull has got what could be given out when it was read, for some of it may
// expire a little later than others.
func (m *Model) gotNow(q *queue, o *Output) bool {
	if o == nil || o.Type != ipc.TypePulled {
		return false
	}
	a, err := ipc.DecodePulled(o.Record)
	m.must(err, "decode what was pulled")
	for _, r := range a.Runs {
		l := q.lane(r.Index)
		if l == nil || r.First >= uint64(len(l.messages)) || l.messages[r.First].is != ready {
			return false
		}
	}
	return len(a.Runs) > 0
}

// hasLate tells whether something has expired that is still there: until it is gone, which may take
// more than a turn, nobody is given anything.
func (q *queue) hasLate(m *Model) bool {
	for _, l := range q.lanes {
		for _, x := range l.alive() {
			if x.is == ready && x.lateMS != 0 && m.now() >= x.lateMS {
				return true
			}
		}
	}
	return false
}

// pulled judges the answer to a pull that has no lease; some says that there is something for it.
func (m *Model) pulled(q *queue, p *ipc.Pull, o *Output, some bool) {
	if o == nil || o.Type != ipc.TypePulled {
		m.cfg.Fail("pull %d from queue %s is not answered at once", p.Req, q.name)
		return
	}
	a, err := ipc.DecodePulled(o.Record)
	m.must(err, "decode what was pulled")
	if some && len(a.Runs) == 0 || a.Lease != 0 {
		m.cfg.Fail("pull %d from queue %s is answered with %+v", p.Req, q.name, a)
	}
	m.intoHand(q, p, &a)
}

// intoHand gives what was pulled to who pulls for the connection.
func (m *Model) intoHand(q *queue, p *ipc.Pull, a *ipc.Pulled) {
	if len(a.Runs) == 0 {
		return
	}
	id := subID{p.Conn, p.Sub}
	k := m.consumers[id]
	if k == nil {
		k = &consumer{epoch: p.Epoch, conn: p.Conn, sub: p.Sub, queue: q, wants: ipc.Consumer{Puller: true}}
		m.enlist(k)
	}
	n := uint32(0)
	for _, r := range a.Runs {
		m.give(q, r.Index, r.First, r.Count, r.Attempts, func(x *message) { m.take(x, k) })
		n += r.Count
	}
	k.delivered += uint64(n)
	if n > p.Max {
		m.cfg.Fail("a pull of %d messages from queue %s gets %d", p.Max, q.name, n)
	}
}

// pulledLate looks at the answer to a pull that has waited.
func (m *Model) pulledLate(o *Output) {
	a, err := ipc.DecodePulled(o.Record)
	m.must(err, "decode what was pulled")
	if m.used[asks(a.Head)] {
		return
	}
	m.used[asks(a.Head)] = true
	q := m.queues[a.Queue]
	i := -1
	if q != nil {
		i = slices.IndexFunc(q.pulls, func(p *pull) bool { return p.Req == a.Req })
	}
	if i < 0 {
		m.cfg.Fail("pull %d is answered, it does not wait: %+v", a.Req, a)
		return
	}
	p := q.pulls[i]
	q.pulls = slices.Delete(q.pulls, i, i+1)
	q.unusedMS = m.now()
	switch {
	case len(a.Runs) == 0 && p.Wait:
		m.cfg.Fail("pull %d from queue %s waits, and is told that there is nothing", a.Req, q.name)
	case len(a.Runs) == 0 && q.comes(m):
		m.cfg.Fail("pull %d from queue %s is told that there is nothing, before all is visible that was published", a.Req, q.name)
	case !m.synced:
		m.cfg.Fail("pull %d from queue %s gets messages before it is known who holds what", a.Req, q.name)
	case a.Lease == 0 && p.InvisibleMS == 0:
		m.intoHand(q, &p.Pull, &a)
	case p.InvisibleMS == 0 || a.Lease == 0 && len(a.Runs) > 0:
		m.cfg.Fail("pull %d from queue %s, invisible for %d ms, gets lease %d", a.Req, q.name, p.InvisibleMS, a.Lease)
	case a.Lease != 0 && !m.leaseAgain(q, &p.Pull, o):
		m.judgeLease(q, &p.Pull, &a)
	}
	if len(a.Runs) > 0 {
		m.saw(RulePullWaits)
	}
}

// pullEnd ends a pull that waits: it gets nothing.
func (m *Model) pullEnd(in *Input) {
	e, err := ipc.DecodePullEnd(in.Payload)
	m.must(err, "decode the end of a pull")
	if !m.current(e.Epoch) {
		return
	}
	for _, id := range sorted(m.queues) {
		q := m.queues[id]
		i := slices.IndexFunc(q.pulls, func(p *pull) bool { return p.Req == e.Target && p.Conn == e.Conn })
		if i < 0 {
			continue
		}
		p := q.pulls[i]
		q.pulls = slices.Delete(q.pulls, i, i+1)
		q.unusedMS = m.now()
		m.saw(RulePullEmpty)
		m.pulled(q, &p.Pull, m.reply(p.Head), false)
	}
}

// give judges that messages are given to somebody.
func (m *Model) give(q *queue, index, first uint64, count uint32, attempts uint16, do func(x *message)) {
	l := q.lane(index)
	if l == nil || first+uint64(count) > uint64(len(l.messages)) || count == 0 {
		m.cfg.Fail("[%d, +%d) of index %d is given out, queue %s has no such messages", first, count, index, q.name)
		return
	}
	for _, x := range l.messages[first : first+uint64(count)] {
		switch {
		case x.is != ready:
			m.cfg.Fail("%v is given out, it is not ready", x)
		case !m.isVisible(x):
			m.cfg.Fail("%v is given out, written is %d, synced %d", x, m.written, m.synceds)
		case x.lateMS != 0 && m.now() >= x.lateMS && m.wasVisible(x):
			m.cfg.Fail("%v is given out at %d, it has expired at %d", x, m.now(), x.lateMS)
		case uint64(x.attempts) != uint64(attempts):
			m.cfg.Fail("%v is given out as attempt %d, it was given out %d times before", x, attempts, x.attempts)
		case !m.mayGive():
			m.cfg.Fail("%v is given out before it is known who holds what, or noted", x)
		}
		if x.attempts > 0 {
			m.saw(RuleAttempts)
		}
		if x.dueMS != 0 {
			m.saw(RuleInTime)
		}
		q.taken = append(q.taken, x)
		do(x)
	}
}

// leased: what a pull was given is invisible for a time.
func (m *Model) leased(e *journal.Leased) {
	q := m.queues[e.Queue]
	if e.Lease <= q.lease {
		m.cfg.Fail("queue %s gives lease %d behind %d", q.name, e.Lease, q.lease)
	}
	q.lease = e.Lease
	q.unusedMS = m.now()
	if m.judging() {
		m.saw(RuleLease)
	}
	l := lease{e.Lease, e.UntilMS, e.Epoch, e.Req, m.nonceNow(), m.number}
	for _, r := range e.Runs {
		m.in(e.Queue, r.Index, []ipc.Range{r.Range}, func(x *message) {
			if m.judging() {
				m.give(q, r.Index, x.offset, 1, uint16(x.attempts), func(*message) {})
			}
			m.stands(x, leased, 0)
			x.lease = l
		})
	}
}

// judgeLease compares a lease with the pull that asked for it, and with what it is told.
func (m *Model) judgeLease(q *queue, p *ipc.Pull, a *ipc.Pulled) {
	n := uint32(0)
	for _, r := range a.Runs {
		n += r.Count
		m.in(q.id, r.Index, []ipc.Range{{First: r.First, Count: r.Count}}, func(x *message) {
			l := x.lease
			if x.is != leased || l.number != a.Lease || l.req != p.Req || l.epoch != p.Epoch || l.untilMS != a.UntilMS || uint16(x.attempts) != r.Attempts {
				m.cfg.Fail("pull %d is told of lease %d until %d for %v with the lease %+v", p.Req, a.Lease, a.UntilMS, x, l)
			}
		})
	}
	if n > p.Max || n == 0 || a.UntilMS != m.now()+int64(p.InvisibleMS) {
		m.cfg.Fail("a pull of %d messages for %d ms gets %d until %d, it is %d", p.Max, p.InvisibleMS, n, a.UntilMS, m.now())
	}
}

// leaseAgain: a pull that is told again is answered with the lease that it has, as far as that is
// not over.
func (m *Model) leaseAgain(q *queue, p *ipc.Pull, o *Output) bool {
	var mine []*message
	q.each(func(x *message) {
		if x.is == leased && x.lease.epoch == p.Epoch && x.lease.req == p.Req && x.lease.ring == m.ring && x.lease.turn < m.number {
			mine = append(mine, x)
		}
	})
	if len(mine) == 0 {
		return false
	}
	m.saw(RuleLeaseAgain)
	if o == nil || o.Type != ipc.TypePulled {
		m.cfg.Fail("pull %d from queue %s has the lease %d, and is not told", p.Req, q.name, mine[0].lease.number)
		return true
	}
	a, err := ipc.DecodePulled(o.Record)
	m.must(err, "decode what was pulled")
	told := 0
	for _, r := range a.Runs {
		for _, x := range mine {
			if x.lane.index == r.Index && x.offset >= r.First && x.offset < r.First+uint64(r.Count) {
				told++
			}
		}
	}
	if told != len(mine) || a.Lease != mine[0].lease.number {
		m.cfg.Fail("pull %d from queue %s has %d messages with lease %d, and is told %+v", p.Req, q.name, len(mine), mine[0].lease.number, a)
	}
	return true
}

// leaseMoved: the lease of a message ends at another time.
func (m *Model) leaseMoved(e *journal.LeaseMoved) {
	x := m.laneOf(e.Queue, e.Index).messages[e.Offset]
	if m.judging() {
		c, ok := m.cause.(*ipc.Extend)
		if !ok || c.Queue != e.Queue || c.Index != e.Index || c.Offset != e.Offset || c.Lease != e.Lease || e.UntilMS != m.now()+int64(c.InvisibleMS) {
			m.cfg.Fail("a lease is moved to %+v, asked for was %+v", e, m.cause)
		}
		m.saw(RuleLeaseMoved)
	}
	if x.is != leased || x.lease.number != e.Lease {
		m.cfg.Fail("%v has another lease set to another time: %+v", x, e)
	}
	x.lease.untilMS = e.UntilMS
	x.touched, x.late = m.number, 0
}

// leaseHolds tells whether all of some messages have a lease.
func (m *Model) leaseHolds(queue, index, number uint64, ranges []ipc.Range) bool {
	l := m.laneOf(queue, index)
	if l == nil {
		return false
	}
	for _, r := range ranges {
		for o := r.First; o < r.First+uint64(r.Count); o++ {
			if o >= uint64(len(l.messages)) || l.messages[o].is != leased || l.messages[o].lease.number != number {
				return false
			}
		}
	}
	return true
}

// refusedLease judges the refusal of who says that he has a lease.
func (m *Model) refusedLease(queue, index, number uint64, ranges []ipc.Range, code errcode.Code) {
	if code != errcode.LeaseExpired {
		return
	}
	if m.leaseHolds(queue, index, number, ranges) {
		m.cfg.Fail("lease %d of %v of index %d is refused, it holds", number, ranges, index)
	}
	m.saw(RuleLeaseRefused)
}

// recall: a consumer is told what was taken from it.
func (m *Model) recall(o *Output) {
	r, err := ipc.DecodeRecall(o.Record)
	m.must(err, "decode a recall")
	if k := m.consumers[subID{r.Conn, r.Sub}]; k != nil {
		k.recalls++
	}
	for _, g := range r.Ranges {
		for off := g.First; off < g.First+uint64(g.Count); off++ {
			if !m.toldOf(&r, off) {
				m.cfg.Fail("consumer %d/%d is told that offset %d of index %d was taken from it, which was not so", r.Conn, r.Sub, off, r.Index)
			}
		}
	}
}

// toldOf finds the message that a recall is about.
func (m *Model) toldOf(r *ipc.Recall, offset uint64) bool {
	for x, t := range m.recalled {
		k := t.from
		if x.lane.index != r.Index || x.offset != offset || k.conn != r.Conn || k.sub != r.Sub {
			continue
		}
		delete(m.recalled, x)
		k.unaware = slices.DeleteFunc(k.unaware, func(o *message) bool { return o == x })
		if k.crossing == nil {
			k.crossing = map[*message]bool{}
		}
		k.crossing[x] = true
		return true
	}
	k := m.consumers[subID{r.Conn, r.Sub}]
	if k == nil {
		return false
	}
	was := len(k.unaware)
	k.unaware = slices.DeleteFunc(k.unaware, func(x *message) bool { return x.lane.index == r.Index && x.offset == offset })
	return len(k.unaware) < was
}

// deliver: a consumer is given messages.
func (m *Model) deliver(o *Output) {
	d, err := ipc.DecodeDeliver(o.Record)
	m.must(err, "decode a delivery")
	k := m.consumers[subID{d.Conn, d.Sub}]
	if k == nil || d.Epoch != m.epoch || k.wants.Puller {
		m.cfg.Fail("[%d, +%d) of index %d is delivered to %d/%d, who is no consumer", d.First, d.Count, d.Index, d.Conn, d.Sub)
		return
	}
	q := k.queue
	if k.credit() < uint64(d.Count) {
		m.cfg.Fail("consumer %d/%d of queue %s has credit for %d messages, and gets %d", k.conn, k.sub, q.name, k.credit(), d.Count)
	}
	m.judgeTurn(q, k)
	m.give(q, d.Index, d.First, d.Count, d.Attempts, func(x *message) { m.take(x, k) })
	k.delivered += uint64(d.Count)
}

// judgeTurn tells whether it is for this consumer to get messages.
func (m *Model) judgeTurn(q *queue, k *consumer) {
	if q.set.SingleActive {
		if q.active != k {
			m.cfg.Fail("queue %s: consumer %d/%d gets messages, the active one is %d/%d", q.name, k.conn, k.sub, q.active.conn, q.active.sub)
		}
		if len(q.consumers) > 1 {
			m.saw(RuleSingleActive)
		}
		if q.succeeded {
			m.saw(RuleFailover)
		}
		q.succeeded = false
		return
	}
	for _, o := range q.consumers {
		switch {
		case o == k || o.credit() == 0:
		case o.wants.Priority > k.wants.Priority:
			m.cfg.Fail("queue %s: consumer %d/%d of priority %d gets messages, %d/%d of priority %d has credit for %d", q.name, k.conn, k.sub, k.wants.Priority, o.conn, o.sub, o.wants.Priority, o.credit())
		case o.wants.Priority < k.wants.Priority:
			m.saw(RuleConsumerPriority)
		default:
			m.saw(RuleInTurn)
			if o.passed++; o.passed > 2*len(q.consumers)+2 {
				m.cfg.Fail("queue %s: consumer %d/%d has been passed over %d times", q.name, o.conn, o.sub, o.passed)
			}
		}
	}
	k.passed = 0
}
