package model

import (
	"slices"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// event judges an event and changes the model by it. Events that are no matter of queues, and
// those that say only how an input was answered, change nothing.
func (m *Model) event(ev journal.Event) {
	switch ev.Type {
	case journal.EvAppended:
		decoded(m, ev, journal.DecodeAppended, m.appended)
	case journal.EvRouted:
		m.routed(ev)
	case journal.EvAcked:
		decoded(m, ev, journal.DecodeAcked, m.acked)
	case journal.EvDied:
		decoded(m, ev, journal.DecodeDied, m.died)
	case journal.EvReturned:
		decoded(m, ev, journal.DecodeReturned, m.returned)
	case journal.EvDeadLettered:
		decoded(m, ev, journal.DecodeDeadLettered, m.deadLettered)
	case journal.EvLeased:
		decoded(m, ev, journal.DecodeLeased, m.leased)
	case journal.EvLeaseMoved:
		decoded(m, ev, journal.DecodeLeaseMoved, m.leaseMoved)
	case journal.EvPurged:
		decoded(m, ev, journal.DecodePurged, m.purged)
	case journal.EvSought:
		decoded(m, ev, journal.DecodeSought, m.sought)
	case journal.EvDelayed:
		decoded(m, ev, journal.DecodeDelayed, m.delayedBatch)
	case journal.EvReleased:
		decoded(m, ev, journal.DecodeReleased, m.released)
	case journal.EvTxnBegun:
		decoded(m, ev, journal.DecodeTxnBegun, m.txnBegun)
	case journal.EvTxnHeld:
		decoded(m, ev, journal.DecodeTxnHeld, m.txnHeld)
	case journal.EvTxnEnded:
		decoded(m, ev, journal.DecodeTxnEnded, m.txnEnded)
	case journal.EvTxnChecked:
		decoded(m, ev, journal.DecodeTxnChecked, m.txnChecked)
	case journal.EvTxnFinished:
		decoded(m, ev, journal.DecodeTxnFinished, m.txnFinished)
	default:
		m.thing(ev)
	}
}

// thing is event for what there is: topics, exchanges, queues.
func (m *Model) thing(ev journal.Event) {
	switch ev.Type {
	case journal.EvTopicCreated:
		decoded(m, ev, journal.DecodeTopicCreated, m.topicCreated)
	case journal.EvTopicDeleted:
		decoded(m, ev, journal.DecodeTopicDeleted, m.topicDeleted)
	case journal.EvPartitionsAdded:
		decoded(m, ev, journal.DecodePartitionsAdded, m.partitionsAdded)
	case journal.EvTopicConfigured:
		decoded(m, ev, journal.DecodeTopicConfigured, m.topicConfigured)
	case journal.EvRecordsDeleted:
		decoded(m, ev, journal.DecodeRecordsDeleted, m.recordsDeleted)
	case journal.EvExchangeCreated:
		decoded(m, ev, journal.DecodeExchangeCreated, func(e *journal.ExchangeCreated) {
			m.exchanges[e.Exchange.Name] = &exchange{id: e.ID, spec: e.Exchange}
		})
	case journal.EvExchangeDeleted:
		decoded(m, ev, journal.DecodeExchangeDeleted, m.exchangeDeleted)
	case journal.EvBindingCreated:
		decoded(m, ev, journal.DecodeBindingCreated, func(e *journal.BindingCreated) { m.bind(e.Binding) })
	case journal.EvBindingDeleted:
		decoded(m, ev, journal.DecodeBindingDeleted, func(e *journal.BindingDeleted) {
			e.Binding.Canonical()
			id := e.Binding.Identity()
			m.unbind(func(b *binding) bool { return b.id == id })
		})
	case journal.EvDefined:
		decoded(m, ev, journal.DecodeDefined, m.defined)
	case journal.EvUndefined:
		decoded(m, ev, journal.DecodeUndefined, m.undefined)
	case journal.EvQueueCreated:
		decoded(m, ev, journal.DecodeQueueCreated, m.queueCreated)
	case journal.EvQueueDeleted:
		decoded(m, ev, journal.DecodeQueueDeleted, m.queueDeleted)
	case journal.EvLaneAdded:
		decoded(m, ev, journal.DecodeLaneAdded, m.laneAdded)
	case journal.EvJoined:
		decoded(m, ev, journal.DecodeJoined, func(e *journal.Joined) { m.queues[e.Queue].used = true })
	case journal.EvOwnerGone:
		decoded(m, ev, journal.DecodeOwnerGone, m.ownerGone)
	case journal.EvHanding:
		decoded(m, ev, journal.DecodeHanding, m.handingNoted)
	case journal.EvTransientsGone:
		decoded(m, ev, journal.DecodeTransientsGone, m.transientsGone)
	}
}

func decoded[T any](m *Model, ev journal.Event, decode func(journal.Event) (T, error), do func(*T)) {
	e, err := decode(ev)
	m.must(err, "decode an event")
	do(&e)
}

// judging tells whether events are judged, and not only folded.
func (m *Model) judging() bool { return m.turn != nil }

func (m *Model) topicCreated(e *journal.TopicCreated) {
	t := &topic{id: e.ID, name: e.Name, level: e.Level, configs: e.Configs}
	m.topics[e.ID] = t
	m.addPartitions(t, e.Indexes)
}

func (m *Model) partitionsAdded(e *journal.PartitionsAdded) {
	m.addPartitions(m.topics[e.ID], e.Indexes)
}

// addPartitions also adds them to the queues over the topic, which have all of their messages.
func (m *Model) addPartitions(t *topic, indexes []uint64) {
	for _, index := range indexes {
		p := &partition{topic: t, index: index}
		t.partitions = append(t.partitions, p)
		m.parts[index] = p
		for _, id := range sorted(m.queues) {
			if q := m.queues[id]; q.set.Topic == t.name {
				q.addLane(index, uint32(len(t.partitions)-1))
			}
		}
	}
}

func (m *Model) topicDeleted(e *journal.TopicDeleted) {
	t := m.topics[e.ID]
	for _, p := range t.partitions {
		delete(m.parts, p.index)
	}
	delete(m.topics, e.ID)
	m.unbind(func(b *binding) bool { return !b.ToExchange && b.Queue == t.name })
}

func (m *Model) exchangeDeleted(e *journal.ExchangeDeleted) {
	for name, x := range m.exchanges {
		if x.id == e.ID && x.id != 0 {
			m.endExchange(name)
			return
		}
	}
}

// queueCreated: a queue begins empty. One over a topic has all that is in it, from a position on.
func (m *Model) queueCreated(e *journal.QueueCreated) {
	q := &queue{id: e.Queue, name: e.Name, level: e.Level, declared: e.Settings, owner: e.Owner, unusedMS: m.now()}
	q.set = m.effective(q.name, q.declared)
	if m.judging() {
		m.judgeCreated(q)
	}
	m.queues[q.id] = q
	if q.set.Topic == "" {
		m.lanes[q.id] = q.addLane(q.id, 0)
		return
	}
	for _, t := range m.topics {
		if t.name == q.set.Topic {
			for i, p := range t.partitions {
				l := q.addLane(p.index, uint32(i))
				for o := range p.records {
					m.view(l, p, uint64(o))
				}
			}
		}
	}
	for _, s := range e.Starts {
		for _, x := range q.lane(s.Index).messages[:s.Offset] {
			x.is, x.why = done, ipc.ReasonSkipped
		}
	}
}

// judgeCreated: an exclusive queue belongs to the connection that asked for it.
func (m *Model) judgeCreated(q *queue) {
	c, ok := m.cause.(*command)
	if !ok || c.create == nil {
		m.cfg.Fail("queue %s is created though nobody has asked for it", q.name)
		return
	}
	if c.create.QueueSettings != q.declared {
		m.cfg.Fail("queue %s is created with %+v, asked for were %+v", q.name, q.declared, c.create.QueueSettings)
	}
	if v, _ := admin.SplitVHost(q.name); !m.hasVHost(v) {
		m.cfg.Fail("queue %s is created in a vhost that is not there", q.name)
	}
	if o := m.owner(c.head.Epoch, c.head.Conn); q.set.Exclusive && q.owner != o {
		m.cfg.Fail("the exclusive queue %s belongs to %+v, %+v has made it", q.name, q.owner, o)
	}
}

func (m *Model) laneAdded(e *journal.LaneAdded) {
	q := m.queues[e.Queue]
	if e.Priority == 0 || e.Priority > q.set.MaxPriority || q.laneOf(uint32(e.Priority)) != nil {
		m.cfg.Fail("queue %s with priorities up to %d gets an index for %d", q.name, q.set.MaxPriority, e.Priority)
	}
	m.lanes[e.Index] = q.addLane(e.Index, uint32(e.Priority))
}

// appended: a batch became part of a partition, and of each queue over its topic.
func (m *Model) appended(e *journal.Appended) {
	m.growPartition(e.Index, e.Base, e.Count, &letter{count: e.Count, vague: true})
}

// txnFinished: a control batch became part of each partition of a transactional producer's transaction.
// What it says is no matter of this model.
func (m *Model) txnFinished(e *journal.TxnFinished) {
	for _, to := range e.Markers {
		m.growPartition(to.Index, to.Base, 1, &letter{count: 1, vague: true})
	}
}

func (m *Model) growPartition(index, base uint64, count uint32, t *letter) {
	p := m.parts[index]
	if uint64(len(p.records)) != base {
		m.cfg.Fail("index %d ends at %d, a batch comes at %d", index, len(p.records), base)
	}
	for range count {
		p.records = append(p.records, record{m.lsn + 1, m.now(), t})
		for _, id := range sorted(m.queues) {
			if q := m.queues[id]; q.set.Topic == p.topic.name {
				m.view(q.lane(index), p, uint64(len(p.records)-1))
			}
		}
	}
}

// view makes a record of a partition a message of a queue over its topic.
func (m *Model) view(l *lane, p *partition, offset uint64) {
	r := &p.records[offset]
	l.messages = append(l.messages, &message{lane: l, offset: offset, letter: r.letter, weight: r.letter.weight / uint64(r.letter.count), lsn: r.lsn, cameMS: r.cameMS, touched: m.number})
}

// grow adds a batch to a queue.
func (m *Model) grow(l *lane, base uint64, count uint32, weight uint64, ttlMS int64, t *letter) {
	if uint64(len(l.messages)) != base {
		m.cfg.Fail("index %d of queue %s ends at %d, a batch comes at %d", l.index, l.queue.name, len(l.messages), base)
	}
	for range count {
		x := &message{
			lane: l, offset: uint64(len(l.messages)), letter: t, weight: weight / uint64(count), cameMS: m.now(), lsn: m.lsn + 1, touched: m.number,
		}
		x.dueMS, x.lateMS = l.queue.deadline(x.cameMS, ttlMS)
		l.messages = append(l.messages, x)
	}
}

// deadline is when a message expires that comes now: by its own time to the millisecond, by its
// queue's perhaps a little later.
func (q *queue) deadline(nowMS, ttlMS int64) (due, late int64) {
	if n := q.set.MessageTTLMS; n.Given {
		due, late = nowMS+int64(n.N), nowMS+int64(n.N+n.N/1024)
	}
	if ttlMS != ipc.NoTTL {
		own := nowMS + ttlMS
		if !q.set.MessageTTLMS.Given || own < late {
			due, late = min(own, orMax(due)), own
		}
	}
	return due, late
}

// orMax is n, or the end of time where it is not set.
func orMax(n int64) int64 {
	if n == 0 {
		return 1<<63 - 1
	}
	return n
}

// goesTo adds a batch to all its targets.
func (m *Model) goesTo(targets []journal.Target, count uint32, weight uint64, ttlMS int64, t *letter) {
	for _, to := range targets {
		if l := m.lanes[to.Index]; l != nil {
			l.queue.vague = l.queue.vague || t.vague
			m.grow(l, to.Base, count, weight, ttlMS, t)
		} else if m.parts[to.Index] != nil {
			m.growPartition(to.Index, to.Base, count, t)
		} else {
			m.cfg.Fail("a batch goes to index %d, which is no queue's and no partition", to.Index)
		}
	}
}

// laneOf finds an index of a queue; nil where there is none.
func (m *Model) laneOf(queue, index uint64) *lane {
	if q := m.queues[queue]; q != nil {
		return q.lane(index)
	}
	return nil
}

// in calls f for the messages of ranges that are not done.
func (m *Model) in(queue, index uint64, ranges []ipc.Range, f func(x *message)) {
	l := m.laneOf(queue, index)
	if l == nil {
		m.cfg.Fail("an event names index %d of queue %d, which is not there", index, queue)
		return
	}
	for _, r := range ranges {
		next := r.First + uint64(r.Count)
		if next > uint64(len(l.messages)) {
			m.cfg.Fail("an event names offsets [%d,%d) of queue %s, index %d ends at %d", r.First, next, l.queue.name, index, len(l.messages))
		}
		for _, x := range l.messages[r.First:next] {
			if x.is != done {
				f(x)
			}
		}
	}
}

// stands gives a message another standing.
func (m *Model) stands(x *message, is standing, why ipc.Reason) {
	x.is, x.why, x.holder, x.touched, x.late, x.owed = is, why, nil, m.number, 0, false
	if is != leased {
		x.lease = lease{}
	}
}

func (m *Model) purged(e *journal.Purged) {
	q := m.queues[e.Queue]
	if m.judging() {
		m.judgePurged(e, q)
	}
	for i := range e.Indexes {
		x := &e.Indexes[i]
		for _, msg := range q.lane(x.Index).messages[:x.Next] {
			kept := slices.ContainsFunc(x.Kept, func(r ipc.Range) bool { return msg.offset >= r.First && msg.offset < r.First+uint64(r.Count) })
			if msg.is != done && !kept {
				m.stands(msg, done, ipc.ReasonAcked)
			}
		}
	}
}

// judgePurged: what is ready goes, all else stays.
func (m *Model) judgePurged(e *journal.Purged, q *queue) {
	if n := q.count(ready); e.Messages != n {
		m.cfg.Fail("a purge of queue %s drops %d messages, %d are ready", q.name, e.Messages, n)
	}
	if !m.synced {
		m.cfg.Fail("queue %s is purged before it is known what its consumers hold", q.name)
	}
	for i := range e.Indexes {
		x := &e.Indexes[i]
		l := q.lane(x.Index)
		for _, msg := range l.alive() {
			kept := msg.offset >= x.Next || slices.ContainsFunc(x.Kept, func(r ipc.Range) bool { return msg.offset >= r.First && msg.offset < r.First+uint64(r.Count) })
			if msg.is != done && kept != (msg.is != ready) {
				m.cfg.Fail("a purge of queue %s: offset %d of index %d is kept: %t, it is %v", q.name, msg.offset, x.Index, kept, msg.is)
			}
			if kept && msg.is != done {
				m.saw(RulePurgeKeeps)
			}
		}
	}
	if e.Messages > 0 {
		m.saw(RulePurge)
	}
}

// sought: all below an offset is done with, and all from there on is not. What comes back so is as
// if it had never been tried; it need not expire any more, and nobody says what it weighs. What was
// not done with goes on as it was.
func (m *Model) sought(e *journal.Sought) {
	q := m.queues[e.Queue]
	for _, to := range e.To {
		l := q.lane(to.Index)
		if m.judging() {
			m.judgeSought(q, l, to)
		}
		l.first = 0
		for _, x := range l.messages {
			if x.offset < to.Offset && x.is != done {
				if x.is == held {
					x.holder.unaware = append(x.holder.unaware, x)
				}
				m.stands(x, done, ipc.ReasonSkipped)
			} else if x.offset >= to.Offset && x.is == done {
				m.stands(x, ready, 0)
				if k := m.unawareOf(x); k != nil {
					x.is, x.holder = held, k
				}
				x.attempts, x.lateMS, x.condemned = 0, 0, false
				q.vague = true
			}
		}
	}
}

func (m *Model) judgeSought(q *queue, l *lane, to admin.SeekTo) {
	if to.Offset > uint64(len(l.messages)) {
		m.cfg.Fail("queue %s is set to offset %d of index %d, which ends at %d", q.name, to.Offset, to.Index, len(l.messages))
	}
	for _, x := range l.messages {
		if x.offset >= to.Offset && x.is == done {
			m.saw(RuleSeekBack)
			return
		}
		if x.offset < to.Offset && x.is == ready {
			m.saw(RuleSeekForward)
		}
	}
}
