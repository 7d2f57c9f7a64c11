package model

import (
	"fmt"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/journal"
)

func (x *message) String() string {
	return fmt.Sprintf("message %s/%d/%d (standing %d %v, attempts %d, came %d, due %d, lease %+v)",
		x.lane.queue.name, x.lane.number, x.offset, x.is, x.why, x.attempts, x.cameMS, x.lateMS, x.lease)
}

// after judges what must hold behind a turn.
func (m *Model) after(t *Turn) {
	for x, t := range m.recalled {
		if t.must {
			m.cfg.Fail("%v was taken from consumer %d/%d, who is not told", x, t.from.conn, t.from.sub)
		}
	}
	m.judgeBooted()
	for _, id := range sorted(m.queues) {
		q := m.queues[id]
		m.judgeOrder(q)
		m.judgeDropped(q)
		m.judgeRoom(q)
		m.judgeIdle(q)
		m.judgeDue(q)
		m.judgeGone(q)
		m.judgeAlone(q)
		q.taken, q.dropped = q.taken[:0], q.dropped[:0]
	}
	m.judgeHeldBack()
}

// judgeBooted: what is not durable goes when the rings are new, and the first turn says so.
func (m *Model) judgeBooted() {
	if !m.booted {
		return
	}
	m.booted = false
	transient := false
	for _, q := range m.queues {
		transient = transient || !q.set.Durable || q.set.Exclusive
	}
	for _, x := range m.exchanges {
		transient = transient || !x.spec.Durable
	}
	for _, x := range m.txns {
		transient = transient || x.group == ""
	}
	if transient && !m.says(journal.EvTransientsGone) {
		m.cfg.Fail("the rings are new, and nobody says that what is not durable is gone")
	}
}

// judgeOrder: of what was ready all along, nothing was passed over by what comes behind it.
func (m *Model) judgeOrder(q *queue) {
	if len(q.taken) == 0 {
		return
	}
	for _, x := range q.taken {
		for _, l := range q.lanes {
			if q.set.Topic != "" && l != x.lane || q.set.Topic == "" && l.number < x.lane.number {
				continue
			}
			m.judgePassed(x, l)
		}
		m.sawOrder(x)
	}
}

// judgePassed: no message of a lane that was ready all along comes before one that was taken.
func (m *Model) judgePassed(x *message, l *lane) {
	for _, o := range l.alive() {
		if l == x.lane && o.offset >= x.offset {
			return
		}
		if o.is == ready && o.touched < m.number && m.wasVisible(o) {
			m.cfg.Fail("%v is given out, %v was ready before it", x, o)
		}
	}
}

// sawOrder counts what a message that was taken has passed by right.
func (m *Model) sawOrder(x *message) {
	for _, l := range x.lane.queue.lanes {
		for _, o := range l.alive() {
			if o.is != ready || o.touched == m.number {
				continue
			}
			if l == x.lane {
				m.saw(RuleOrder)
				break
			}
			if l.number < x.lane.number && x.lane.queue.set.Topic == "" {
				m.saw(RulePriority)
				break
			}
		}
	}
}

// judgeDropped: what made room was the oldest of the lowest priority, and no more than had to.
func (m *Model) judgeDropped(q *queue) {
	if len(q.dropped) == 0 {
		return
	}
	m.saw(RuleDropHead)
	last := q.dropped[len(q.dropped)-1]
	for _, x := range q.dropped {
		if x.lane.number > last.lane.number || x.lane == last.lane && x.offset > last.offset {
			last = x
		}
	}
	q.each(func(o *message) {
		before := o.lane.number < last.lane.number || o.lane == last.lane && o.offset < last.offset
		if o.is == ready && before {
			m.cfg.Fail("%v has made room, %v is older or of a lower priority", last, o)
		}
		if o.lane.number > last.lane.number {
			m.saw(RuleDropLowest)
		}
	})
	n, b := q.set.MaxMessages, q.set.MaxBytes
	tooMany := n.Given && q.count(ready)+1 > n.N
	tooHeavy := b.Given && (q.vague || q.bytes()+last.weight > b.N)
	if tooHeavy && !tooMany {
		m.saw(RuleDropBytes)
	}
	if !tooMany && !tooHeavy {
		m.cfg.Fail("%v has made room in queue %s, of which %d messages of %d bytes are ready: there was room", last, q.name, q.count(ready), q.bytes())
	}
}

// judgeRoom: a queue whose oldest make room never holds more than it may.
func (m *Model) judgeRoom(q *queue) {
	if q.set.Overflow != admin.DropHead || !q.set.MaxMessages.Given && !q.set.MaxBytes.Given || !m.synced {
		return
	}
	if q.fits(0, 0) {
		q.heavy = 0
		m.saw(RuleFull)
		return
	}
	if q.heavy++; q.heavy > patience {
		m.cfg.Fail("queue %s has %d ready messages of %d bytes, at most %+v and %+v", q.name, q.count(ready), q.bytes(), q.set.MaxMessages, q.set.MaxBytes)
	}
}

// judgeIdle: what is ready is given to who can take it.
func (m *Model) judgeIdle(q *queue) {
	able := len(q.pulls) > 0
	for _, k := range q.consumers {
		able = able || k.credit() > 0 && (!q.set.SingleActive || q.active == k)
	}
	if !able || !m.mayGive() || !q.hasReady(m) {
		q.idle = 0
		return
	}
	if q.idle++; q.idle > patience {
		m.cfg.Fail("queue %s has ready messages, and gives none to who could take them", q.name)
	}
}

// judgeDue: what is due has been done.
func (m *Model) judgeDue(q *queue) {
	q.each(func(x *message) {
		due := ""
		switch {
		case x.condemned && x.is == ready:
			m.cfg.Fail("%v has been refused by its queue, and is ready", x)
		case x.is == ready && x.lateMS != 0 && m.now() >= x.lateMS && m.wasVisible(x) && m.synced:
			due = "it has expired"
		case x.is == held && m.synced && (x.holder.gone || m.comesBack(x)):
			due = "its consumer holds it no longer"
		case x.is == held && x.owed:
			due = "it was put back"
		case x.is == leased && m.synced && m.now() >= x.lease.untilMS:
			due = "its lease is over"
		case x.is == dead:
			return // its note is on the way
		}
		if due == "" {
			x.late = 0
			return
		}
		if x.late++; x.late > patience {
			m.cfg.Fail("%v: %s, and nothing happens", x, due)
		}
	})
}

// judgeAlone: an exclusive consumer is the only one.
func (m *Model) judgeAlone(q *queue) {
	for _, k := range q.consumers {
		if k.wants.Exclusive && len(q.consumers) > 1 && m.synced {
			m.cfg.Fail("queue %s has %d consumers, and %d/%d is exclusive", q.name, len(q.consumers), k.conn, k.sub)
		}
	}
}

// judgeGone: a queue that is to go goes.
func (m *Model) judgeGone(q *queue) {
	used := len(q.consumers) > 0 || len(q.pulls) > 0
	x := q.set.ExpiresMS
	switch {
	case q.doomed, q.evicted:
	case m.synced && q.set.AutoDelete && q.used && len(q.consumers) == 0:
	case m.synced && x.Given && !used && m.now() >= q.unusedMS+int64(x.N):
	default:
		q.late = 0
		return
	}
	if q.late++; q.late > patience {
		m.cfg.Fail("queue %s is to go, and is still there", q.name)
	}
}

// judgeHeldBack: delayed batches come when they are due, and transactions end.
func (m *Model) judgeHeldBack() {
	for _, b := range m.delayed {
		if m.now() < b.dueMS || !m.synced {
			continue
		}
		if b.late++; b.late > patience {
			m.cfg.Fail("a batch at %d of index %d was due at %d, and does not come", b.offset, b.limbo, b.dueMS)
		}
	}
	for _, id := range sorted(m.txns) {
		x := m.txns[id]
		if len(m.members[x.group]) == 0 || !m.synced {
			x.aloneMS = m.now()
		}
		asked := x.group != "" && m.now() >= max(x.nextMS, x.aloneMS)+x.checkMS
		if !x.doomed && !asked {
			x.late = 0
			continue
		}
		if x.late++; x.late > patience {
			m.cfg.Fail("transaction %d of group %q is to end or to be asked about after %d checks, and nothing happens", x.id, x.group, x.checks)
		}
	}
}

// Rest tells what is not done, for the end of a history; empty: all is.
func (m *Model) Rest() string {
	for _, id := range sorted(m.queues) {
		rest := ""
		m.queues[id].each(func(x *message) { rest = x.String() })
		if rest != "" {
			return rest
		}
	}
	for _, b := range m.delayed {
		return fmt.Sprintf("a batch at %d of index %d is due at %d, it is %d", b.offset, b.limbo, b.dueMS, m.timeMS)
	}
	for _, id := range sorted(m.txns) {
		return fmt.Sprintf("transaction %d of group %q is open", id, m.txns[id].group)
	}
	return ""
}
