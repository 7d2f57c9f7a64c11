package model

import (
	"slices"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// What connections say of themselves. All of it is void from a connsrv that has been followed by
// another.

// current tells whether soft state of this epoch counts. After a restart the oldest record in the
// ring says which epoch it is.
func (m *Model) current(epoch uint64) bool {
	if m.epoch == 0 {
		m.epoch = epoch
	}
	return epoch == m.epoch
}

// owner is a connection as it is named in the log.
func (m *Model) owner(epoch, conn uint64) journal.Owner {
	return journal.Owner{Nonce: m.turn.Nonce, Epoch: epoch, Conn: conn}
}

// locked tells whether a queue belongs to another connection than this one.
func (m *Model) locked(q *queue, h ipc.Head) bool {
	return q.set.Exclusive && (q.doomed || q.owner != m.owner(h.Epoch, h.Conn))
}

// hello: a connsrv has attached. All of its predecessor ends.
func (m *Model) hello(in *Input) {
	h, err := ipc.DecodeHello(in.Payload)
	m.must(err, "decode a hello")
	if h.Epoch < m.epoch {
		return
	}
	if h.Epoch > m.epoch {
		for _, id := range m.consumerIDs() {
			m.end(m.consumers[id])
		}
		for _, id := range sorted(m.queues) {
			m.queues[id].pulls = nil
		}
		clear(m.members)
		clear(m.redeemed)
		m.joining = nil
		m.epoch = h.Epoch
	}
	m.synced, m.marker = false, ipc.Marker{} // answers to an earlier marker are void
	clear(m.loops)
	m.mustDoom(func(o journal.Owner) bool { return o.Nonce != m.turn.Nonce || o.Epoch < h.Epoch })
}

// consumerIDs are all consumers in an order that is the same every time.
func (m *Model) consumerIDs() []subID {
	ids := make([]subID, 0, len(m.consumers))
	for id := range m.consumers {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b subID) int {
		if a.conn != b.conn {
			return int(a.conn) - int(b.conn)
		}
		return int(a.sub) - int(b.sub)
	})
	return ids
}

// mustDoom: what belongs to these owners is to go, and the log must say so.
func (m *Model) mustDoom(gone func(journal.Owner) bool) {
	for _, id := range sorted(m.queues) {
		q := m.queues[id]
		if q.set.Exclusive && gone(q.owner) && !q.doomed && !m.says(journal.EvOwnerGone) {
			m.cfg.Fail("the connection of the exclusive queue %s has ended, and nobody notes it", q.name)
		}
	}
	for _, id := range sorted(m.txns) {
		x := m.txns[id]
		if x.group == "" && gone(x.owner) && !x.doomed && !m.says(journal.EvOwnerGone) {
			m.cfg.Fail("the connection of transaction %d has ended, and nobody notes it", x.id)
		}
	}
}

// says tells whether the turn has an event of a type.
func (m *Model) says(typ journal.EventType) bool {
	return slices.ContainsFunc(m.events, func(ev journal.Event) bool { return ev.Type == typ })
}

// joiner has asked to be a consumer, and is one when it is known who else is.
type joiner struct {
	ipc.Subscribe
	told bool // by connsrv, since the marker
}

// subscribe makes a consumer, once it is known who else consumes.
func (m *Model) subscribe(in *Input) {
	s, err := ipc.DecodeSubscribe(in.Payload)
	m.must(err, "decode a subscribe")
	if !m.current(s.Epoch) {
		return
	}
	id := subID{s.Conn, s.Sub}
	code, refused := m.refused(m.reply(s.Head))
	q := m.queues[s.Queue]
	why := errcode.OK
	switch k := m.consumers[id]; {
	case q == nil:
		why = errcode.UnknownIndex
	case m.locked(q, s.Head):
		why = errcode.Locked
		m.saw(RuleLocked)
	case k != nil:
		k.limit = max(k.limit, s.Limit)
	case m.synced && q.excludes(s.Consumer.Exclusive):
		why = errcode.InUse
		m.saw(RuleInUse)
	case m.synced:
		m.join(&s)
	default:
		m.joining = slices.DeleteFunc(m.joining, func(o joiner) bool { return o.Conn == s.Conn && o.Sub == s.Sub })
		m.joining = append(m.joining, joiner{Subscribe: s})
	}
	if s.Req != 0 && (why != code || refused != (why != errcode.OK)) {
		m.cfg.Fail("subscribe %d/%d to queue %d is answered %v, expected %v", s.Conn, s.Sub, s.Queue, code, why)
	}
}

// excludes tells whether a consumer cannot join for those who are there.
func (q *queue) excludes(exclusive bool) bool {
	return len(q.consumers) > 0 && (exclusive || q.consumers[0].wants.Exclusive)
}

func (m *Model) join(s *ipc.Subscribe) {
	k := &consumer{epoch: s.Epoch, conn: s.Conn, sub: s.Sub, queue: m.queues[s.Queue], limit: s.Limit, wants: s.Consumer}
	if !m.says(journal.EvJoined) {
		m.cfg.Fail("consumer %d/%d joins queue %s, and nobody notes it", s.Conn, s.Sub, k.queue.name)
	}
	m.enlist(k)
}

// enlist makes k a consumer of its queue.
func (m *Model) enlist(k *consumer) {
	m.consumers[subID{k.conn, k.sub}] = k
	q := k.queue
	if k.wants.Puller {
		q.pullers = append(q.pullers, k)
		return
	}
	q.consumers = append(q.consumers, k)
	if q.active == nil {
		q.active = k
	}
}

// end ends a consumer: what it holds comes back with an event, and until then it is nobody's.
func (m *Model) end(k *consumer) {
	if k == nil || k.gone {
		return
	}
	k.gone = true
	delete(m.consumers, subID{k.conn, k.sub})
	q := k.queue
	mine := func(o *consumer) bool { return o == k }
	if k.wants.Puller {
		q.pullers = slices.DeleteFunc(q.pullers, mine)
	} else {
		q.consumers = slices.DeleteFunc(q.consumers, mine)
	}
	q.unusedMS = m.now()
	if q.active == k {
		q.active = nil
		q.succeed()
		q.succeeded = q.active != nil
	}
}

// succeed finds the next single active consumer: of the highest priority, and of those the eldest.
// Who that is is not known of consumers that were told again.
func (q *queue) succeed() {
	for _, k := range q.consumers {
		if q.active == nil || k.wants.Priority > q.active.wants.Priority {
			q.active = k
		}
	}
}

func (m *Model) unsubscribe(in *Input) {
	u, err := ipc.DecodeUnsubscribe(in.Payload)
	m.must(err, "decode an unsubscribe")
	if !m.current(u.Epoch) {
		return
	}
	m.joining = slices.DeleteFunc(m.joining, func(o joiner) bool { return o.Conn == u.Conn && o.Sub == u.Sub })
	m.end(m.consumers[subID{u.Conn, u.Sub}])
	if o := m.reply(u.Head); u.Req != 0 && (o == nil || o.Type != ipc.TypeSubClosed) {
		m.cfg.Fail("the end of consumer %d/%d is not answered", u.Conn, u.Sub)
	}
}

func (m *Model) credit(in *Input) {
	c, err := ipc.DecodeCredit(in.Payload)
	m.must(err, "decode a credit")
	if !m.current(c.Epoch) {
		return
	}
	if k := m.consumers[subID{c.Conn, c.Sub}]; k != nil {
		k.limit = c.Limit
		return
	}
	for i := range m.joining {
		if s := &m.joining[i]; s.Conn == c.Conn && s.Sub == c.Sub {
			s.Limit = c.Limit
		}
	}
}

func (m *Model) connClosed(in *Input) {
	c, err := ipc.DecodeConnClosed(in.Payload)
	m.must(err, "decode the end of a connection")
	if !m.current(c.Epoch) {
		return
	}
	m.joining = slices.DeleteFunc(m.joining, func(o joiner) bool { return o.Conn == c.Conn })
	for _, id := range m.consumerIDs() {
		if id.conn == c.Conn {
			m.end(m.consumers[id])
		}
	}
	for _, id := range sorted(m.queues) {
		q := m.queues[id]
		was := len(q.pulls)
		if q.pulls = slices.DeleteFunc(q.pulls, func(p *pull) bool { return p.Conn == c.Conn }); len(q.pulls) < was {
			q.unusedMS = m.now()
		}
	}
	for _, conns := range m.members {
		delete(conns, c.Conn)
	}
	o := m.owner(c.Epoch, c.Conn)
	m.mustDoom(func(owner journal.Owner) bool { return owner == o })
}

// subState takes over what connsrv tells of a consumer.
func (m *Model) subState(in *Input) {
	s, err := ipc.DecodeSubState(in.Payload)
	m.must(err, "decode a consumer's state")
	id := subID{s.Conn, s.Sub}
	if !m.current(s.Epoch) || s.Term != m.marker.Term || s.Ask != m.marker.Ask || m.synced {
		return
	}
	if k := m.consumers[id]; k != nil {
		k.recalls = 0 // connsrv counts anew
		return
	}
	q := m.queues[s.Queue]
	if q == nil {
		return // its end is told
	}
	asks := func(o joiner) bool { return o.Conn == s.Conn && o.Sub == s.Sub }
	if i := slices.IndexFunc(m.joining, asks); i >= 0 && s.Delivered == 0 {
		m.joining[i].Limit, m.joining[i].told = s.Limit, true
		return // it joins when all others are known
	}
	m.joining = slices.DeleteFunc(m.joining, asks)
	k := &consumer{
		epoch: s.Epoch, conn: s.Conn, sub: s.Sub, queue: q, limit: s.Limit, delivered: s.Delivered, wants: s.Consumer, restarted: true,
	}
	m.enlist(k)
	// Only who is the active one has been given anything.
	if q.set.SingleActive && k.delivered > 0 && !k.wants.Puller {
		q.active = k
	}
	for _, h := range s.InHand {
		if l := q.lane(h.Index); l != nil {
			for o := h.Range.First; o < h.Range.First+uint64(h.Range.Count) && o < uint64(len(l.messages)); o++ {
				if !m.redeemed[redeemed{subID{k.conn, k.sub}, place{h.Index, o}}] {
					m.takeAgain(l.messages[o], k)
				}
			}
		}
	}
}

// takeAgain puts a message into the hand in which connsrv says it is. It may have been taken from there,
// and leased to somebody, before connsrv was told.
func (m *Model) takeAgain(x *message, k *consumer) {
	if x.is == leased {
		m.recalled[x] = taking{k, true}
		m.saw(RuleRecallLate)
	}
	m.take(x, k)
}

// take puts a message into a hand, if it is ready.
func (m *Model) take(x *message, k *consumer) {
	if x.is == ready {
		x.is, x.holder, x.sinceMS = held, k, m.now()
		x.touched, x.late = m.number, 0
	}
}

// resyncEnd: with the last loop it is known who consumes and holds what.
func (m *Model) resyncEnd(in *Input) {
	e, err := ipc.DecodeResyncEnd(in.Payload)
	m.must(err, "decode the end of a resync")
	if !m.current(e.Epoch) || e.Term != m.marker.Term || e.Ask != m.marker.Ask || m.synced {
		return
	}
	if !m.loops[e.Loop] {
		m.dropUntold(uint64(e.Loop))
	}
	m.loops[e.Loop] = true
	if len(m.loops) < int(e.Loops) {
		return
	}
	m.synced = true
	m.lose()
	for _, id := range sorted(m.queues) {
		m.expel(m.queues[id])
	}
	joining := m.joining
	m.joining = nil
	for i := range joining {
		s := &joining[i].Subscribe
		if q := m.queues[s.Queue]; q != nil && !q.excludes(s.Consumer.Exclusive) {
			m.join(s)
		}
	}
	for _, id := range sorted(m.queues) {
		m.queues[id].unusedMS = m.now()
	}
}

// dropUntold forgets who asked to be a consumer before its loop told of all that are: what it told
// nothing of has ended since.
func (m *Model) dropUntold(loop uint64) {
	m.joining = slices.DeleteFunc(m.joining, func(o joiner) bool { return o.Conn&0xff == loop && !o.told })
}

// expel ends the consumers that are told at the end of a resync that they cannot be beside others.
func (m *Model) expel(q *queue) {
	if !slices.ContainsFunc(q.consumers, func(k *consumer) bool { return k.wants.Exclusive }) {
		return
	}
	for _, k := range slices.Clone(q.consumers) {
		if m.toldEnd(k) {
			if k.delivered > 0 {
				m.cfg.Fail("consumer %d/%d of queue %s has got messages, and is told that it is none", k.conn, k.sub, q.name)
			}
			m.end(k)
		}
	}
	if n := len(q.consumers); n > 1 && slices.ContainsFunc(q.consumers, func(k *consumer) bool { return k.wants.Exclusive }) {
		m.cfg.Fail("queue %s has %d consumers, one of which is to be the only one", q.name, n)
	}
}

// subClosed: a consumer is told, unasked, that it is none any longer.
func (m *Model) subClosed(o *Output) {
	c, err := ipc.DecodeSubClosed(o.Record)
	m.must(err, "decode the end of a consumer")
	if c.Req != 0 {
		return // it has asked for it
	}
	if k := m.consumers[subID{c.Conn, c.Sub}]; k != nil {
		m.cfg.Fail("consumer %d/%d of queue %s is told that it has ended: %s", c.Conn, c.Sub, k.queue.name, c.Text)
	}
}

// txnMember: a connection answers for a producer group, or no longer does.
func (m *Model) txnMember(in *Input) {
	t, err := ipc.DecodeTxnMember(in.Payload)
	m.must(err, "decode a member of a producer group")
	if !m.current(t.Epoch) {
		return
	}
	if m.members[t.Group] == nil {
		m.members[t.Group] = map[uint64]bool{}
	}
	m.members[t.Group][t.Conn] = t.Join
	if !t.Join {
		delete(m.members[t.Group], t.Conn)
	}
}
