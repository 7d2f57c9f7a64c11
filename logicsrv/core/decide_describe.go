package core

import (
	"slices"
	"strconv"
	"strings"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
)

// A reply holds at most so many bytes, since it is one record of ring 54321. What does not fit
// is left for the next page: the client asks again with the last name that it has seen. Nothing
// is remembered between pages, so things may come and go meanwhile; what exists all the time is
// listed once.

// decideDescribe lists what there is, in order of name and in pages: a reply has a limit.
func (c *Core) decideDescribe(m ipc.Admin) {
	ask, err := admin.DecodeDescribe(m.Body)
	if err != nil {
		c.malformed()
		return
	}
	if m.Req == 0 {
		return
	}
	p := &page{ask: &ask, out: admin.Description{Kind: ask.Kind}}
	switch ask.Kind {
	case admin.KindTopic:
		list(p, &c.topics, c.describeTopic)
	case admin.KindTopicID:
		c.listTopicsByID(p)
	case admin.KindExchange:
		list(p, &c.exchanges, c.describeExchange)
	case admin.KindQueue:
		list(p, &c.queues, c.describeQueue)
	case admin.KindGroup:
		list(p, &c.groups, c.describeGroup)
	case admin.KindBinding:
		c.listBindings(p)
	case admin.KindConsumer:
		list(p, &c.queues, c.describeConsumers)
	case admin.KindTxn:
		c.listTxns(p)
	case admin.KindDefinition:
		list(p, &c.definitions, c.describeDefinition)
	case admin.KindMembership:
		list(p, &c.groups, c.describeMembership)
	case admin.KindGroupSummary:
		list(p, &c.groups, c.describeSummary)
	case admin.KindGroupConfig:
		list(p, &c.groupSettings, c.describeSettings)
	case admin.KindTxnal:
		list(p, &c.txnals, c.describeTxnal)
	case admin.KindProducers:
		list(p, &c.topics, c.describeProducers)
	case admin.KindHeld:
		c.listHeld(p)
	default:
		c.refuse(m.Head, errcode.InvalidArgument, "topics, exchanges, queues, bindings, groups, consumers, transactions and definitions can be described")
		return
	}
	c.scratch = p.out.Append(c.scratch[:0])
	reply := ipc.AdminReply{Head: m.Head, Command: m.Command, Body: c.scratch}
	c.turn.sent(c.readGate(), ipc.TypeAdminReply, reply.Append(c.turn.recs))
}

// page is a reply that is being filled.
type page struct {
	ask   *admin.Describe
	out   admin.Description
	n     int // things in it
	bytes int
}

// take makes room for a thing of so many bytes; false: the page is full. The first thing
// fits always.
func (p *page) take(size int) bool {
	// A thing larger than a page (a topic of ten thousand partitions) has a page for itself.
	if p.n > 0 && (p.bytes+size > maxReplyBytes || (p.ask.Max > 0 && p.n >= int(p.ask.Max)) || p.n >= admin.MaxNames) {
		p.out.More = true
		return false
	}
	p.n++
	p.bytes += size
	return true
}

// list describes the things that were asked for: by name, or all behind After.
func list[V any](p *page, things *registry[string, V], describe func(p *page, name string, v V) bool) {
	// Names may come in any order and twice; the reply is in order, so that pages work here too.
	if len(p.ask.Names) > 0 {
		names := slices.Compact(slices.Sorted(slices.Values(p.ask.Names)))
		from, _ := slices.BinarySearch(names, p.ask.After+"\x00")
		if p.ask.After == "" {
			from = 0
		}
		for _, name := range names[from:] {
			v, ok := things.get(name)
			if !ok {
				p.out.Missing = append(p.out.Missing, name)
			} else if !describe(p, name, v) {
				return
			}
		}
		return
	}
	// All of them, behind the last one of the page before. That one may be gone by now.
	names := things.keys()
	from, found := slices.BinarySearch(names, p.ask.After)
	if found && p.ask.After != "" {
		from++
	}
	for _, name := range names[from:] {
		v, _ := things.get(name)
		if !describe(p, name, v) {
			return
		}
	}
}

// listTopicsByID adds the topics of the ids that were asked for.
func (c *Core) listTopicsByID(p *page) {
	p.out.Kind = admin.KindTopic
	wanted := make(map[string]bool, len(p.ask.Names))
	for _, id := range p.ask.Names {
		wanted[id] = true
	}
	for name, t := range c.topics.all {
		if name <= p.ask.After && p.ask.After != "" || !wanted[string(t.uuid[:])] {
			continue
		}
		if !c.describeTopic(p, name, t) {
			return
		}
	}
}

// describeTopic adds a topic with its partitions. Visible is told as it is now; the reply waits
// like any read, so it is not ahead of what a fetch would see.
func (c *Core) describeTopic(p *page, name string, t *topic) bool {
	size := 64 + len(name) + 24*len(t.partitions)
	for _, g := range t.configs {
		size += len(g.Key) + len(g.Value) + 8
	}
	if !p.take(size) {
		return false
	}
	d := admin.TopicInfo{
		Name: t.name, UUID: t.uuid, Level: t.level, RetentionBytes: t.set.RetentionBytes, RetentionMS: t.set.RetentionMS,
		CreatedMS: t.createdMS, Configs: t.configs, Partitions: make([]admin.PartitionInfo, len(t.partitions)),
	}
	for i, ix := range t.partitions {
		d.Partitions[i] = admin.PartitionInfo{Index: ix.id, Next: ix.next, Visible: ix.visible}
	}
	p.out.Topics = append(p.out.Topics, d)
	return true
}

// describeExchange adds an exchange; the default one has the empty name.
func (c *Core) describeExchange(p *page, name string, x *exchange) bool {
	if !p.take(42 + len(name) + len(x.spec.Alternate) + len(x.spec.HashHeader) + len(x.spec.Arguments)) {
		return false
	}
	p.out.Exchanges = append(p.out.Exchanges, admin.ExchangeInfo{
		CreateExchange: x.spec, Bindings: uint32(len(x.bindings)), Exchanges: uint32(x.onward),
		Policy:    x.policy.title(),
		Published: x.published, Reached: x.reached,
	})
	return true
}

// describeQueue adds a queue. Unacked is soft state: after a restart it is 0 until connsrv has
// told who holds what, and these messages count as ready so long.
func (c *Core) describeQueue(p *page, name string, q *queue) bool {
	if !p.take(300 + len(name) + 2*(len(q.set.Filter)+len(q.set.Arguments)) + 44*len(q.cursors)) {
		return false
	}
	n := q.counts()
	d := admin.QueueInfo{
		Name: q.name, Queue: q.id, Level: q.level, Settings: *q.declared, Effective: *q.set,
		Policy: q.policy.title(), Operator: q.operator.title(),
		Ready: n.ready, Unacked: n.held, Leased: n.leased, Dead: n.dead, Settled: n.settled,
		Consumers: uint32(len(q.consumers)), Pulls: uint32(q.pulls.n),
	}
	for _, k := range q.cursors {
		d.Indexes = append(d.Indexes, admin.QueueIndex{
			Index: k.ix.id, Number: k.number, Next: k.ix.next, Visible: k.ix.visible, Floor: k.floor, Oldest: min(k.acked.nextClear(k.floor), k.ix.next),
		})
	}
	p.out.Queues = append(p.out.Queues, d)
	return true
}

// describeDefinition adds a definition.
func (c *Core) describeDefinition(p *page, name string, d *admin.Definition) bool {
	size := 8 + len(name)
	for i := range d.Values {
		size += 13 + len(d.Values[i].Key) + len(d.Values[i].Text)
	}
	if !p.take(size) {
		return false
	}
	p.out.Definitions = append(p.out.Definitions, *d)
	return true
}

// describeConsumers adds the consumers of a queue.
func (c *Core) describeConsumers(p *page, name string, q *queue) bool {
	size := 0
	for _, k := range q.consumers {
		size += 88 + len(name) + len(k.wants.Tag)
	}
	if len(q.consumers) == 0 {
		return true
	}
	if !p.take(size) {
		return false
	}
	for _, k := range q.consumers {
		p.out.Consumers = append(p.out.Consumers, admin.ConsumerInfo{
			Queue: q.name, Conn: k.conn, Sub: k.sub, Consumer: k.wants, Active: q.serves(k), Credit: k.credit(), Held: k.holding(), Delivered: k.delivered,
		})
	}
	return true
}

// listTxns lists open transactions in order of their numbers. After is the number of the last
// one of the page before.
func (c *Core) listTxns(p *page) {
	after, _ := strconv.ParseUint(p.ask.After, 10, 64)
	ids := c.txns.keys()
	from, _ := slices.BinarySearch(ids, after+1)
	for _, id := range ids[from:] {
		x, _ := c.txns.get(id)
		if len(p.ask.Names) > 0 && !slices.Contains(p.ask.Names, x.group) {
			continue
		}
		if !p.take(48 + len(x.group) + len(x.key)) {
			return
		}
		p.out.Txns = append(p.out.Txns, admin.TxnInfo{
			Txn: x.id, Group: x.group, Key: x.key, Begun: x.begunMS, Batches: uint32(len(x.parts)), Checks: x.checks, CheckMS: x.nextMS,
		})
	}
}

// describeGroup adds a group with all its positions.
func (c *Core) describeGroup(p *page, name string, g *group) bool {
	size := 16 + len(name)
	for i := range g.offsets {
		size += 24 + len(g.offsets[i].Metadata)
	}
	if !p.take(size) {
		return false
	}
	p.out.Groups = append(p.out.Groups, admin.GroupInfo{Name: g.name, Offsets: g.offsets})
	return true
}

// listBindings lists bindings in order of their identities. Names are names of exchanges. After is
// the identity of the last binding of the page before, or a part of it: see there.
func (c *Core) listBindings(p *page) {
	for _, name := range p.ask.Names {
		if _, ok := c.exchanges.get(name); !ok {
			p.out.Missing = append(p.out.Missing, name)
		}
	}
	// After itself, and what follows it with a NUL, stand before After and \x01.
	from := p.ask.After
	if from != "" {
		from += "\x01"
	}
	if len(p.ask.Names) == 0 {
		c.takeBindings(p, from, "")
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(p.ask.Names))) {
		if of := name + "\x00"; !c.takeBindings(p, max(from, of), of) {
			return
		}
	}
}

// takeBindings adds the bindings from an identity on that begin with prefix; false: the page is
// full.
func (c *Core) takeBindings(p *page, from, prefix string) bool {
	ids := c.bindings.keys()
	first, _ := slices.BinarySearch(ids, from)
	for _, id := range ids[first:] {
		if !strings.HasPrefix(id, prefix) {
			break
		}
		b, _ := c.bindings.get(id)
		if !p.take(len(id) + len(b.arguments())) {
			return false
		}
		p.out.Bindings = append(p.out.Bindings, admin.BindingInfo(b.info()))
	}
	return true
}
