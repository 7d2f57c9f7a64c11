package core

import (
	"fmt"
	"strconv"

	"github.com/trimq/trimq/protocol/topicconf"
)

// The hard state for people: what the checkpoint holds (snapshot.go), and in the same order, a line
// for each thing, each with the whole path to it, so that two texts can be compared line by line.
// Equal states have equal texts. It is no format: nobody reads it but people.

// texter writes lines.
type texter struct{ b []byte }

// line writes one. What clients have named is told with %q.
func (t *texter) line(format string, args ...any) {
	t.b = append(fmt.Appendf(t.b, format, args...), '\n')
}

// runs writes a line of runs of offsets, "first-last" each, where there are any.
func (t *texter) runs(path string, s *offsetSet) {
	if s.empty() {
		return
	}
	t.b = append(t.b, path...)
	for first, next := range s.runs {
		t.b = append(t.b, ' ')
		t.b = appendRun(t.b, first, next)
	}
	t.b = append(t.b, '\n')
}

// appendRun writes offsets [first, next).
func appendRun(b []byte, first, next uint64) []byte {
	b = strconv.AppendUint(b, first, 10)
	if next > first+1 {
		b = strconv.AppendUint(append(b, '-'), next-1, 10)
	}
	return b
}

// run is appendRun as a string.
func run(first, next uint64) string { return string(appendRun(nil, first, next)) }

// Text appends the hard state as text. REQUIRES: as Checkpoint.
func (c *Core) Text(b []byte) []byte {
	t := &texter{b}
	t.line("state lsn=%d term=%d nonce=%#x input=%d time=%d shard=%d last_id=%d last_producer=%d last_txn=%d",
		c.lsn, c.term, c.nonce, c.pos, c.timeMS, c.cfg.Shard, c.lastID, c.lastPID, c.lastTxn)
	for _, x := range c.topics.all {
		t.topic(x)
	}
	for _, q := range c.queues.all {
		t.queue(q)
	}
	for _, x := range c.exchanges.all {
		if !x.predeclared {
			t.line("exchange %q id=%d spec=%q", x.spec.Name, x.id, fmt.Sprintf("%+v", x.spec))
		}
	}
	for _, k := range c.bindings.all {
		t.line("binding %q", fmt.Sprintf("%+v", k.info()))
	}
	for p := c.producers.oldest; p != nil; p = p.newer {
		t.producer(p)
	}
	for _, g := range c.groups.all {
		t.group(g)
	}
	for _, l := range c.limbos {
		if l != nil {
			t.limbo(l)
		}
	}
	for _, x := range c.txns.all {
		t.txn(x)
	}
	for name, list := range c.groupSettings.all {
		t.line("settings of group %q: %q", name, fmt.Sprint(list))
	}
	t.line("handing nonce=%d epoch=%d", c.handing.nonce, c.handing.epoch)
	for i, e := range c.ended {
		t.line("ended %d txn=%d committed=%v queues=%d", i, e.id, e.committed, e.queues)
	}
	for _, x := range c.txnals.all {
		t.txnal(x)
	}
	for _, ix := range c.indexes.all {
		if ix.txns != nil {
			t.line("index %d has transactions", ix.id)
			for _, a := range ix.txns.aborted {
				t.line("index %d aborted %d-%d producer=%d", ix.id, a.First, a.Last, a.ProducerID)
			}
		}
	}
	for _, d := range c.definitions.all {
		t.line("%s %q vhost=%q item=%q %q", d.Kind, d.Name, d.VHost, d.Item, fmt.Sprintf("%+v", d.Values))
	}
	return t.b
}

// txnal writes a transactional producer.
func (t *texter) txnal(x *txnal) {
	t.line("transactional %q producer=%d epoch=%d last_epoch=%d timeout_ms=%d used=%d phase=%d begun=%d groups=%q",
		x.id, x.prod.id, x.prod.epoch, x.lastEpoch, x.timeoutMS, x.usedMS, x.phase, x.begunMS, x.groups)
	t.producer(x.prod)
	for _, p := range x.parts {
		first := "none"
		if p.first != noOffset {
			first = strconv.FormatUint(p.first, 10)
		}
		t.line("transactional %q partition index=%d first=%s", x.id, p.index, first)
	}
	for i := range x.held {
		for _, o := range x.held[i].offsets {
			t.line("transactional %q holds group=%q index=%d %d metadata=%q leader=%d", x.id, x.held[i].group, o.Index, o.Offset, o.Metadata, o.Leader)
		}
	}
}

func (t *texter) topic(x *topic) {
	t.line("topic %q id=%d uuid=%x level=%d configuration=%q created=%d turn=%d",
		x.name, x.id, x.uuid, x.level, topicconf.Text(x.configs), x.createdMS, x.turn)
	for i, ix := range x.partitions {
		t.line("topic %q partition %d index=%d next=%d", x.name, i, ix.id, ix.next)
	}
}

func (t *texter) queue(q *queue) {
	t.line("queue %q id=%d level=%d owner=%+v used=%v doomed=%v lease=%d settings=%q", q.name, q.id, q.level, q.owner, q.used, q.doomed, q.lease, fmt.Sprintf("%+v", *q.declared))
	for _, k := range q.cursors {
		path := fmt.Sprintf("queue %q cursor %d", q.name, k.number)
		own := ""
		if q.topic == nil {
			own = fmt.Sprintf(" next=%d", k.ix.next)
		}
		t.line("%s index=%d%s floor=%d", path, k.ix.id, own, k.floor)
		t.cursor(path, k)
	}
}

// cursor writes what a queue knows of its messages.
func (t *texter) cursor(path string, k *cursor) {
	t.runs(path+" acked", &k.acked)
	for _, r := range k.attempts {
		t.line("%s attempts %s %d", path, run(r.first, r.next), r.attempts)
	}
	for _, r := range k.leases.list {
		t.line("%s leased %s lease=%d until=%d epoch=%d req=%d", path, run(r.first, r.next), r.v.lease, r.v.until, r.v.asker.epoch, r.v.asker.req)
	}
	for _, r := range k.dead.list {
		t.line("%s dead %s reason=%d", path, run(r.first, r.next), r.v.reason)
	}
	for _, r := range k.expiry.runs {
		t.line("%s expires %s at=%d", path, run(r.first, r.next), r.due)
	}
	for _, r := range k.sizes {
		t.line("%s weight %s bytes=%d", path, run(r.first, r.next), r.bytes)
	}
	for _, a := range k.ages {
		t.line("%s age time=%d next=%d", path, a.timeMS, a.next)
	}
}

func (t *texter) producer(p *producer) {
	t.line("producer %d epoch=%d used=%d", p.id, p.epoch, p.used)
	for i := range p.lanes {
		l := &p.lanes[i]
		t.line("producer %d to %d epoch=%d next=%d accepted=%d kept=%+v", p.id, l.to, l.epoch, l.next, l.accepted, l.kept[:l.n])
	}
}

func (t *texter) group(g *group) {
	t.line("group %q type=%d epoch=%d empty_since=%d stale=%v protocol_type=%q protocol=%q leader=%q synced=%v",
		g.name, g.kind, g.epoch, g.emptyMS, g.stale, g.protocolType, g.protocol, g.leader, g.synced)
	for _, o := range g.offsets {
		t.line("group %q offset index=%d %d metadata=%q leader=%d", g.name, o.Index, o.Offset, o.Metadata, o.Leader)
	}
	for _, m := range g.members {
		t.line("group %q member %q instance=%q client=%q host=%q session_ms=%d rebalance_ms=%d epoch=%d before=%d assignor=%q topics=%q",
			g.name, m.id, m.instance, m.clientID, m.clientHost, m.sessionMS, m.rebalanceMS, m.epoch, m.before, m.assignor, m.topics)
		t.line("group %q member %q target=%d assigned=%d revoking=%d", g.name, m.id, m.target, m.assigned, m.revoking)
		if len(m.protocols) > 0 || len(m.assignment) > 0 {
			t.line("group %q member %q protocols=%x assignment=%x", g.name, m.id, fmt.Sprint(m.protocols), m.assignment)
		}
	}
}

func (t *texter) limbo(l *limbo) {
	path := fmt.Sprintf("limbo %d", l.class)
	t.line("%s index=%d next=%d floor=%d", path, l.ix.id, l.ix.next, l.floor)
	t.runs(path+" done", &l.done)
	for i := range l.held {
		if h := &l.held[i]; h.count > 0 {
			t.line("%s held %s due=%d ttl_ms=%d weight=%d priority=%d to=%d", path, run(h.offset, h.offset+uint64(h.count)), h.due, h.ttlMS, h.weight, h.prio, h.dests.ids)
		}
	}
}

func (t *texter) txn(x *txn) {
	t.line("txn %d group=%q key=%q owner=%+v begun=%d check_ms=%d next_check=%d checks=%d doomed=%v",
		x.id, x.group, x.key, x.owner, x.begunMS, x.checkMS, x.nextMS, x.checks, x.doomed)
	for i := range x.parts {
		p := &x.parts[i]
		t.line("txn %d part %s weight=%d ttl_ms=%d partition=%d exchange=%d note=%q",
			x.id, run(p.offset, p.offset+uint64(p.count)), p.weight, p.ttlMS, p.partition, p.exchange, fmt.Sprintf("%+v", p.note))
	}
}
