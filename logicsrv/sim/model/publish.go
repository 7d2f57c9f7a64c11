package model

import (
	"cmp"
	"slices"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// routed: a batch went through an exchange.
func (m *Model) routed(ev journal.Event) {
	e, err := journal.DecodeRouted(ev)
	m.must(err, "decode an event")
	note, err := journal.DecodeNote(ev)
	m.must(err, "decode a note")
	t := letterOf(&note, &e.Sent)
	if m.judging() {
		p, ok := m.cause.(*ipc.Publish)
		if !ok || p.Txn != 0 || m.waits(p) && len(e.Targets) > 0 {
			m.cfg.Fail("a batch is routed that nobody has published, or not for now: %+v", m.cause)
		}
		if x := m.exchanges[p.Exchange]; x == nil || x.spec.Internal {
			m.cfg.Fail("a batch is routed through exchange %q: %+v", p.Exchange, x)
		}
		m.judgeNote(&note, p)
		if e.TTLMS != p.TTLMS || e.Weight != p.Weight || e.Count != p.Batch.Count {
			m.cfg.Fail("a batch of %d records, weight %d, time to live %d is routed as %+v", p.Batch.Count, p.Weight, p.TTLMS, e.Sent)
		}
		if p.Whole && e.Full > 0 && e.Count > 1 {
			m.cfg.Fail("a batch of %d records that was to be taken as a whole finds %d full queues, and goes to %v", e.Count, e.Full, e.Targets)
		}
		m.judgePlaces(m.routeAll(p), batchOf(t, false), e.Targets, e.Full)
	}
	m.goesTo(e.Targets, e.Count, uint64(e.Weight), e.TTLMS, t)
	if n, known := m.condemn(e.Targets); m.judging() && known && n != e.Dying {
		m.cfg.Fail("a batch is said to die in %d of %v, it dies in %d", e.Dying, e.Targets, n)
	}
}

func letterOf(n *ipc.Note, s *journal.Sent) *letter {
	return &letter{exchange: n.Exchange, key: n.Key, more: n.More, headers: n.Headers, priority: n.Priority, weight: uint64(s.Weight), count: s.Count}
}

// waits tells whether a batch is for later. The time may count only where its exchange delays.
func (m *Model) waits(p *ipc.Publish) bool {
	if p.DueMS <= m.now() {
		return false
	}
	x := m.exchanges[p.Exchange]
	if p.DelayedOnly && x != nil && !x.spec.Delayed {
		m.saw(RuleDelayedOnly)
		return false
	}
	return true
}

// routeAll finds where a batch goes by all of its keys. One whose headers are not known goes nowhere where they
// are looked at.
func (m *Model) routeAll(p *ipc.Publish) *router {
	r := m.routeKeys(p)
	if p.NoHeaders && (r.headers || !r.vague && m.deathLooks(r)) {
		m.cfg.Fail("a batch for exchange %q with key %q is routed by headers that are not known", p.Exchange, p.RoutingKey)
	}
	return r
}

// deathLooks tells whether a queue of those sends its dead to an exchange that looks at headers.
func (m *Model) deathLooks(r *router) bool {
	return slices.ContainsFunc(r.queues, func(q *queue) bool {
		x := m.exchanges[q.set.DeadLetterExchange]
		return q.set.DeadLetter && x != nil && (x.spec.Type == admin.Headers || x.spec.HashHeader != "")
	})
}

// turnsAway tells whether a queue that a batch is for does not take it, as far as that is known.
func (m *Model) turnsAway(p *ipc.Publish) bool {
	b := batchOf(&letter{priority: p.Priority, weight: uint64(p.Weight), count: p.Batch.Count}, false)
	return slices.ContainsFunc(m.routeAll(p).queues, func(q *queue) bool { return m.refuses(q, b) || q.vague && q.set.MaxBytes.Given })
}

// judgeNote: consumers are told what the publisher has said.
func (m *Model) judgeNote(n *ipc.Note, p *ipc.Publish) {
	if n.Exchange != p.Exchange || n.Key != p.RoutingKey || n.Priority != p.Priority || !slices.Equal(n.More, p.MoreKeys) || !slices.Equal(n.Headers, p.Headers) || len(n.Deaths) > 0 {
		m.cfg.Fail("what was published to %q with key %q, priority %d, headers %v is noted as %+v", p.Exchange, p.RoutingKey, p.Priority, p.Headers, n)
	}
}

// placed is a batch that is looked for a place for. Promised: its publisher has been told before that
// it is stored.
type placed struct {
	*letter
	promised bool
}

func batchOf(t *letter, promised bool) placed { return placed{t, promised} }

// refuses tells whether a queue does not take a batch. While it is not known what is in hand, no
// queue is called full.
func (m *Model) refuses(q *queue, b placed) bool {
	if !m.synced || q.fits(b.count, b.weight) {
		return false
	}
	return q.set.Overflow == admin.RejectDeadLetter || q.set.Overflow == admin.RejectPublish && !b.promised
}

// judgePlaces: a batch becomes part of each queue and topic that it reaches, at its end, of a queue
// in the index of its priority; but not of a queue that is full and takes no more.
func (m *Model) judgePlaces(r *router, b placed, targets []journal.Target, full uint32) {
	if r.vague {
		return
	}
	var want []journal.Target
	wantFull := uint32(0)
	for _, q := range r.queues {
		q.vague = q.vague || b.vague
		if q.vague && q.set.MaxBytes.Given && q.set.Overflow != admin.DropHead {
			return
		}
		if m.refuses(q, b) {
			wantFull++
			m.saw(RuleReject)
			if q.set.Overflow == admin.RejectPublish {
				continue
			}
			m.saw(RuleRejectDeadLetter)
		}
		l := q.laneOf(uint32(min(b.priority, q.set.MaxPriority)))
		if l == nil {
			m.cfg.Fail("queue %s has no index for priority %d", q.name, min(b.priority, q.set.MaxPriority))
			return
		}
		want = append(want, journal.Target{Index: l.index, Base: uint64(len(l.messages))})
	}
	rest := slices.Clone(targets)
	for _, t := range r.topics { // which partition it is is the key's choice
		i := slices.IndexFunc(rest, func(to journal.Target) bool {
			return slices.ContainsFunc(t.partitions, func(p *partition) bool { return p.index == to.Index && uint64(len(p.records)) == to.Base })
		})
		if i < 0 {
			m.cfg.Fail("a batch does not reach topic %s: %v", t.name, targets)
			return
		}
		rest = slices.Delete(rest, i, i+1)
	}
	byIndex := func(a, b journal.Target) int { return cmp.Compare(a.Index, b.Index) }
	slices.SortFunc(want, byIndex)
	slices.SortFunc(rest, byIndex)
	if !slices.Equal(rest, want) || full != wantFull {
		m.cfg.Fail("a batch of priority %d goes to %v and finds %d queues full, expected are %v and %d", b.priority, targets, full, want, wantFull)
	}
}

// condemn marks what full queues have taken for their dead-letter exchange alone: it must die in this
// turn. It returns how many they are, if that is known. REQUIRES: it has just been added to the targets.
func (m *Model) condemn(targets []journal.Target) (n uint32, known bool) {
	if !m.judging() {
		return 0, false
	}
	known = true
	for _, to := range targets {
		l := m.lanes[to.Index]
		if l == nil || l.queue.set.Overflow != admin.RejectDeadLetter {
			continue
		}
		if l.queue.vague && l.queue.set.MaxBytes.Given {
			known = false
			continue
		}
		batch := l.messages[to.Base:]
		for _, x := range batch {
			x.is = held // while it is asked whether there is room
		}
		refused := m.refuses(l.queue, batchOf(batch[0].letter, true))
		for _, x := range batch {
			x.is, x.condemned = ready, refused
		}
		if refused {
			n++
		}
	}
	return n, known
}

// answeredPublish: the publisher is told how many queues have it, and how many have refused it.
func (m *Model) answeredPublish(o *Output, ev journal.Event) {
	a, err := ipc.DecodePublished(o.Record)
	m.must(err, "decode an answer")
	queues, full := uint32(0), uint32(0)
	switch ev.Type {
	case journal.EvRouted:
		e, err := journal.DecodeRouted(ev)
		m.must(err, "decode an event")
		queues, full = uint32(len(e.Targets))-e.Dying, e.Full
	case journal.EvDelayed:
		e, err := journal.DecodeDelayed(ev)
		m.must(err, "decode an event")
		queues = uint32(len(e.Dests))
	case journal.EvDuplicate:
		e, err := journal.DecodeDuplicate(ev)
		m.must(err, "decode an event")
		queues, full = e.Queues, e.Full
	}
	if a.Queues != queues || a.Full != full {
		m.cfg.Fail("a publisher is told of %d queues and %d full ones, it was %d and %d", a.Queues, a.Full, queues, full)
	}
}
