package model

import (
	"slices"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// command is an administrative command, decoded as far as the model looks at it.
type command struct {
	head   ipc.Head
	cmd    admin.Command
	create *admin.CreateQueue
	name   string
	delete admin.Delete
	seek   admin.Seek
	list   admin.Describe

	alter   *admin.AlterTopic
	records *admin.DeleteRecords
	define  *admin.Definition // or the end of one
}

func (m *Model) command(in *Input) *command {
	a, err := ipc.DecodeAdmin(in.Payload)
	m.must(err, "decode a command")
	c := &command{head: a.Head, cmd: admin.Command(a.Command)}
	switch c.cmd {
	case admin.CmdCreateQueue:
		var q admin.CreateQueue
		q, err = admin.DecodeCreateQueue(a.Body)
		c.create, c.name = &q, q.Name
	case admin.CmdDeleteQueue:
		c.delete, err = admin.DecodeDelete(a.Body)
		c.name = c.delete.Name
	case admin.CmdPurge:
		var p admin.Purge
		p, err = admin.DecodePurge(a.Body)
		c.name = p.Name
	case admin.CmdSeek:
		c.seek, err = admin.DecodeSeek(a.Body)
		c.name = c.seek.Name
	case admin.CmdDescribe:
		c.list, err = admin.DecodeDescribe(a.Body)
	case admin.CmdAlterTopic:
		var t admin.AlterTopic
		t, err = admin.DecodeAlterTopic(a.Body)
		c.alter = &t
	case admin.CmdDeleteRecords:
		var d admin.DeleteRecords
		d, err = admin.DecodeDeleteRecords(a.Body)
		c.records = &d
	case admin.CmdDefine, admin.CmdUndefine:
		var d admin.Definition
		d, err = admin.DecodeDefinition(a.Body)
		c.define = &d
	}
	m.must(err, "decode the body of a command")
	return c
}

// answered judges the answer to an input by the event that it has left.
func (m *Model) answered(in *Input, ev journal.Event) {
	h, ok := ipc.PeekHead(in.Payload)
	if !ok {
		return
	}
	o := m.reply(h)
	if o == nil {
		if h.Req != 0 && in.Type != ipc.TypePull { // what waited is answered when it is served
			m.cfg.Fail("request %d of type %d has left an event and no answer", h.Req, in.Type)
		}
		return
	}
	code, refused := m.refused(o)
	if refused != (ev.Type == journal.EvRejected) {
		m.cfg.Fail("request %d of type %d is refused: %t (%v), its event is of type %d", h.Req, in.Type, refused, code, ev.Type)
	}
	_, before := m.answers[in.Pos]
	if before = before && m.turn.Nonce == m.nonce; before && refused {
		return // it was judged when it was decided
	}
	m.answeredAs(in, o, ev, before)
}

// answeredAs is answered for what the model knows of. before says that it was decided in another
// turn.
func (m *Model) answeredAs(in *Input, o *Output, ev journal.Event, before bool) {
	code, refused := m.refused(o)
	switch in.Type {
	case ipc.TypePublish:
		if !refused {
			m.answeredPublish(o, ev)
			return
		}
		p := &ipc.Publish{}
		_, err := p.Decode(in.Payload)
		m.must(err, "decode a publish")
		m.refusedPublish(p, code)
	case ipc.TypeAck:
		a, err := ipc.DecodeAck(in.Payload)
		m.must(err, "decode a verdict")
		if refused {
			m.refusedAck(&a, code)
		}
	case ipc.TypeExtend:
		x, err := ipc.DecodeExtend(in.Payload)
		m.must(err, "decode an extension")
		if refused {
			m.refusedLease(x.Queue, x.Index, x.Lease, []ipc.Range{{First: x.Offset, Count: 1}}, code)
			m.refusedIndex(x.Queue, x.Index, code)
		}
	case ipc.TypePull:
		m.answeredPull(in, o, ev, before)
	case ipc.TypeBeginTxn:
		m.answeredBegin(in, o, ev)
	case ipc.TypeEndTxn:
		e, err := ipc.DecodeEndTxn(in.Payload)
		m.must(err, "decode the end of a transaction")
		m.answeredEnd(&e, o, ev)
	case ipc.TypeAdmin:
		m.answeredCommand(in, o, ev, before)
	}
}

func (m *Model) refusedPublish(p *ipc.Publish, code errcode.Code) {
	x := m.exchanges[p.Exchange]
	legal := true // of what an idempotent producer is told, the clients know
	switch code {
	case errcode.NotFound:
		legal = x == nil
	case errcode.AccessRefused:
		legal = x.spec.Internal
	case errcode.Unroutable:
		r := m.routeAll(p)
		legal = p.Mandatory && len(r.queues)+len(r.topics) == 0
	case errcode.NeedHeaders:
		r := m.routeKeys(p)
		legal = p.NoHeaders && (r.headers || m.deathLooks(r))
		m.saw(RuleNeedHeaders)
	case errcode.QueueFull:
		legal = p.Whole && p.Batch.Count > 1 && m.turnsAway(p)
		m.saw(RuleWhole)
	case errcode.UnknownTxn:
		legal = !m.mayUse(m.txns[p.Txn], p.Head)
	}
	if !legal {
		m.cfg.Fail("a batch for exchange %q with key %q is refused without a reason: %v", p.Exchange, p.RoutingKey, code)
	}
}

func (m *Model) refusedAck(a *ipc.Ack, code errcode.Code) {
	if a.Lease != 0 {
		m.refusedLease(a.Queue, a.Index, a.Lease, a.Ranges, code)
	}
	m.refusedIndex(a.Queue, a.Index, code)
	if l := m.laneOf(a.Queue, a.Index); code == errcode.OffsetOutOfRange && l != nil {
		if slices.ContainsFunc(a.Ranges, func(r ipc.Range) bool { return r.First+uint64(r.Count) > uint64(len(l.messages)) }) {
			return
		}
	}
	if code != errcode.UnknownIndex && (code != errcode.LeaseExpired || a.Lease == 0) {
		m.cfg.Fail("a verdict on %v of queue %d is refused: %v", a.Ranges, a.Queue, code)
	}
}

func (m *Model) refusedIndex(queue, index uint64, code errcode.Code) {
	if code == errcode.UnknownIndex && m.laneOf(queue, index) != nil {
		m.cfg.Fail("index %d of queue %d is refused as unknown, it is there", index, queue)
	}
}

func (m *Model) answeredPull(in *Input, o *Output, ev journal.Event, before bool) {
	p, err := ipc.DecodePull(in.Payload)
	m.must(err, "decode a pull")
	q := m.queues[p.Queue]
	if code, refused := m.refused(o); refused {
		if code == errcode.UnknownIndex && q != nil || code == errcode.Locked && !m.locked(q, p.Head) {
			m.cfg.Fail("a pull from queue %d is refused without a reason: %v", p.Queue, code)
		}
		if code == errcode.Locked {
			m.saw(RuleLocked)
		}
		return
	}
	a, err := ipc.DecodePulled(o.Record)
	m.must(err, "decode what was pulled")
	e, err := journal.DecodeLeased(ev)
	m.must(err, "decode an event")
	if a.Lease != e.Lease || a.UntilMS != e.UntilMS || len(a.Runs) != len(e.Runs) {
		m.cfg.Fail("a pull is answered with %+v, decided was %+v", a, e)
	}
	if !before {
		m.judgeLease(q, &p, &a)
	}
}

func (m *Model) answeredBegin(in *Input, o *Output, ev journal.Event) {
	b, err := ipc.DecodeBeginTxn(in.Payload)
	m.must(err, "decode the beginning of a transaction")
	if code, refused := m.refused(o); refused {
		if code == errcode.UnknownTxn && b.Group == "" && m.current(b.Epoch) {
			m.cfg.Fail("connection %d cannot begin a transaction: %v", b.Conn, code)
		}
		return
	}
	a, err := ipc.DecodeTxnBegun(o.Record)
	m.must(err, "decode a begun transaction")
	x, open := m.txns[a.Txn]
	if _, ended := m.ends[a.Txn]; !open && !ended || open && (x.group != b.Group || x.key != b.Key && b.Group != "") {
		m.cfg.Fail("group %q is told of transaction %d: %+v", b.Group, a.Txn, x)
	}
	if e, err := journal.DecodeUnchanged(ev); err == nil && e.Index != a.Txn {
		m.cfg.Fail("group %q is told of transaction %d, it was %d", b.Group, a.Txn, e.Index)
	}
}

// answeredCommand judges the answer to a command about a queue, a topic or a definition.
func (m *Model) answeredCommand(in *Input, o *Output, ev journal.Event, before bool) {
	c := m.command(in)
	if c.alter != nil || c.records != nil {
		m.answeredTopic(c, o, ev, before)
		return
	}
	if c.define != nil {
		m.answeredDefinition(c, o, ev, before)
		return
	}
	if c.name == "" {
		return
	}
	q := m.queueNamed(c.name)
	if code, refused := m.refused(o); refused {
		m.refusedCommand(c, q, code)
		return
	}
	r, err := ipc.DecodeAdminReply(o.Record)
	m.must(err, "decode an answer")
	a, err := admin.DecodeCreated(r.Body)
	m.must(err, "decode an answer")
	switch ev.Type {
	case journal.EvPurged:
		e, err := journal.DecodePurged(ev)
		m.must(err, "decode an event")
		if a.Messages != e.Messages {
			m.cfg.Fail("a purge of queue %s is said to drop %d messages, it was %d", c.name, a.Messages, e.Messages)
		}
	case journal.EvUnchanged:
		if q != nil && !before {
			q.unusedMS = m.now()
			if c.create != nil && q.declared != c.create.QueueSettings {
				m.cfg.Fail("queue %s is called equal, it has %+v, asked for was %+v", c.name, q.declared, c.create.QueueSettings)
			}
		}
	}
}

// refusedCommand: a command about a queue is refused for a reason that holds.
func (m *Model) refusedCommand(c *command, q *queue, code errcode.Code) {
	legal := true
	switch code {
	case errcode.NotFound:
		legal = q == nil && c.create == nil || c.create != nil && m.lacks(c.create, q)
	case errcode.Locked:
		legal = q != nil && m.locked(q, c.head)
		m.saw(RuleLocked)
	case errcode.InUse:
		legal = c.delete.IfUnused && len(q.consumers) > 0
	case errcode.NotEmpty:
		legal = c.delete.IfEmpty && q.count(ready) > 0
	case errcode.Unavailable:
		legal = !m.synced
	case errcode.Inequivalent:
		legal = q != nil && c.create != nil && q.declared != c.create.QueueSettings
	case errcode.OffsetOutOfRange:
		legal = m.beyond(c, q)
	}
	if !legal {
		m.cfg.Fail("%s of queue %s is refused without a reason: %v", admin.Text(c.cmd), c.name, code)
	}
}

// lacks tells whether there is no vhost for a queue, though its queues may go a little later, or no topic over
// which a new one is to be.
func (m *Model) lacks(create *admin.CreateQueue, q *queue) bool {
	vhost, _ := admin.SplitVHost(create.Name)
	return !m.hasVHost(vhost) || q == nil && create.Topic != "" && m.topicNamed(create.Topic) == nil
}

// beyond tells whether a seek goes to where nothing is, or is kept no longer.
func (m *Model) beyond(c *command, q *queue) bool {
	return q != nil && slices.ContainsFunc(c.seek.To, func(to admin.SeekTo) bool {
		l := q.lane(to.Index)
		if l == nil || to.Offset > uint64(len(l.messages)) {
			return true
		}
		keep := int64(q.set.RewindMS.N)
		return to.Offset < uint64(len(l.messages)) && q.set.Topic == "" && l.messages[to.Offset].cameMS <= m.now()-keep+keep/100
	})
}

// queueDeleted: a queue goes for a reason, and its users are told.
func (m *Model) queueDeleted(e *journal.QueueDeleted) {
	q := m.queues[e.Queue]
	if q == nil {
		m.cfg.Fail("queue %d is deleted, which is not there", e.Queue)
		return
	}
	if m.judging() {
		m.judgeDeleted(e, q)
		for _, k := range slices.Clone(q.consumers) {
			if !m.toldEnd(k) {
				m.cfg.Fail("consumer %d/%d of queue %s is not told that the queue is gone", k.conn, k.sub, q.name)
			}
			m.end(k)
		}
		for _, k := range slices.Clone(q.pullers) {
			m.end(k)
		}
	}
	m.endQueue(q)
}

func (m *Model) judgeDeleted(e *journal.QueueDeleted, q *queue) {
	if n := q.count(ready); n != e.Messages {
		m.cfg.Fail("queue %s is deleted with %d messages, %d are ready", q.name, e.Messages, n)
	}
	if c, ok := m.cause.(*command); ok && e.Pos != journal.NoInput {
		switch {
		case c.cmd != admin.CmdDeleteQueue || c.name != q.name || m.locked(q, c.head):
			m.cfg.Fail("queue %s is deleted, asked for was %+v", q.name, c)
		case c.delete.IfEmpty && e.Messages > 0, c.delete.IfUnused && (!m.synced || len(q.consumers) > 0):
			m.cfg.Fail("queue %s is deleted, which is empty: %t, unused: %t", q.name, e.Messages == 0, len(q.consumers) == 0)
		}
		return
	}
	used := len(q.consumers) > 0 || len(q.pulls) > 0
	x := q.set.ExpiresMS
	switch {
	case q.evicted:
		m.saw(RuleVHost)
	case q.doomed && q.set.Exclusive:
		m.saw(RuleExclusiveGone)
	case q.doomed:
		m.saw(RuleTransient)
	case q.set.AutoDelete && q.used && len(q.consumers) == 0 && m.synced:
		m.saw(RuleAutoDelete)
	case x.Given && !used && m.synced && m.now() >= q.unusedMS+int64(x.N):
		m.saw(RuleExpires)
	default:
		m.cfg.Fail("queue %s is deleted without a reason at %d: unused since %d, %d consumers, %d pulls", q.name, m.now(), q.unusedMS, len(q.consumers), len(q.pulls))
	}
}

// toldEnd tells whether a consumer is told in this turn that it is none any longer.
func (m *Model) toldEnd(k *consumer) bool {
	for i := range m.turn.Outputs {
		if o := &m.turn.Outputs[i]; o.Type == ipc.TypeSubClosed {
			c, err := ipc.DecodeSubClosed(o.Record)
			m.must(err, "decode the end of a consumer")
			if c.Conn == k.conn && c.Sub == k.sub && c.Req == 0 {
				return true
			}
		}
	}
	return false
}

// ownerGone: what belonged to a connection, or to all of earlier connsrvs, is to go.
func (m *Model) ownerGone(e *journal.OwnerGone) {
	m.doomAll(func(o journal.Owner) bool {
		if e.Owner.Conn == 0 {
			return o.Nonce != e.Owner.Nonce || o.Epoch < e.Owner.Epoch
		}
		return o == e.Owner
	})
}

// doomAll marks what belongs to owners that are gone.
func (m *Model) doomAll(gone func(journal.Owner) bool) {
	for _, q := range m.queues {
		q.doomed = q.doomed || q.set.Exclusive && gone(q.owner)
	}
	for _, x := range m.txns {
		x.doomed = x.doomed || x.group == "" && gone(x.owner)
	}
}

// transientsGone: the rings are new, and what is not durable was in the old ones.
func (m *Model) transientsGone(e *journal.TransientsGone) {
	if m.judging() && e.Nonce == m.nonce {
		m.cfg.Fail("what is not durable goes though the rings are the same")
	}
	for _, q := range m.queues {
		q.doomed = q.doomed || !q.set.Durable || q.set.Exclusive
	}
	m.doomAll(func(journal.Owner) bool { return true })
	var names []string
	for name, x := range m.exchanges {
		if !x.spec.Durable {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		if m.exchanges[name] != nil {
			m.endExchange(name)
		}
	}
}
