package model

import (
	"fmt"
	"slices"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
)

// describe compares what is told of queues with what the model has of them.
func (m *Model) describe(in *Input) {
	c := m.command(in)
	if c.cmd != admin.CmdDescribe {
		m.cfg.Fail("command %s at %d has left no event", admin.Text(c.cmd), in.Pos)
		return
	}
	o := m.reply(c.head)
	if o == nil || o.Type != ipc.TypeAdminReply {
		return
	}
	r, err := ipc.DecodeAdminReply(o.Record)
	m.must(err, "decode an answer")
	d, err := admin.DecodeDescription(r.Body)
	m.must(err, "decode a description")
	for i := range d.Queues {
		m.describedUse(&d.Queues[i])
		if why := m.describedQueue(&d.Queues[i]); why != "" {
			m.doubts = append(m.doubts, doubt{d.Queues[i], why})
		}
	}
	for i := range d.Consumers {
		m.describedConsumer(&d.Consumers[i])
	}
	for _, name := range d.Missing {
		if c.list.Kind == admin.KindQueue && m.queueNamed(name) != nil {
			m.cfg.Fail("queue %s is said not to be there", name)
		}
	}
	if d.Kind == admin.KindTxn && len(c.list.Names) == 0 && !d.More && len(d.Txns) != len(m.txns) {
		m.cfg.Fail("%d transactions are said to be open, there are %d", len(d.Txns), len(m.txns))
	}
}

// describedUse compares who uses a queue, of which inputs alone decide.
func (m *Model) describedUse(d *admin.QueueInfo) {
	q := m.queueNamed(d.Name)
	if q != nil && (d.Consumers != uint32(len(q.consumers)) || d.Pulls != uint32(len(q.pulls))) {
		m.cfg.Fail("queue %s is said to have %d consumers and %d pulls, it has %d and %d", q.name, d.Consumers, d.Pulls, len(q.consumers), len(q.pulls))
	}
}

// doubt is a description that did not fit when it was asked for. What the same turn has decided by
// then without an input stands behind it, so it is compared again after each event that follows.
type doubt struct {
	admin.QueueInfo
	why string
}

// describedQueue tells in what a description is wrong; empty: it is right.
func (m *Model) describedQueue(d *admin.QueueInfo) string {
	q := m.queueNamed(d.Name)
	if q == nil || q.id != d.Queue || q.declared != d.Settings || q.set != d.Effective || q.level != d.Level {
		return fmt.Sprintf("queue %s is described as %+v, the model has %+v", d.Name, d, q)
	}
	all := uint64(0)
	for _, l := range q.lanes {
		all += uint64(len(l.messages))
	}
	is := [...]uint64{q.count(ready), q.count(held), q.count(leased), q.count(dead)}
	said := [...]uint64{d.Ready, d.Unacked, d.Leased, d.Dead}
	if is != said {
		return fmt.Sprintf("queue %s is said to have ready, in hand, leased, dead %v, it has %v", q.name, said, is)
	}
	if settled := all - is[0] - is[1] - is[2] - is[3]; d.Settled != settled && q.set.Topic == "" {
		return fmt.Sprintf("queue %s is said to have settled %d messages, it was %d", q.name, d.Settled, settled)
	}
	for _, x := range d.Indexes {
		if l := q.lane(x.Index); l == nil || l.number != x.Number || uint64(len(l.messages)) != x.Next {
			return fmt.Sprintf("queue %s is said to have an index %+v", q.name, x)
		}
	}
	m.saw(RuleDescribe)
	return ""
}

// clearDoubts takes out the descriptions that fit now.
func (m *Model) clearDoubts() {
	m.doubts = slices.DeleteFunc(m.doubts, func(d doubt) bool { return m.describedQueue(&d.QueueInfo) == "" })
}

// settleDoubts ends the turn for descriptions: those that never fitted are wrong.
func (m *Model) settleDoubts() {
	for i := range m.doubts {
		m.cfg.Fail("%s", m.doubts[i].why)
	}
	m.doubts = m.doubts[:0]
}

func (m *Model) describedConsumer(d *admin.ConsumerInfo) {
	k := m.consumers[subID{d.Conn, d.Sub}]
	if k == nil || k.queue.name != d.Queue {
		m.cfg.Fail("a consumer of queue %s is described that is none: %+v", d.Queue, d)
		return
	}
	n := uint64(0)
	k.queue.each(func(x *message) {
		if x.is == held && x.holder == k {
			n++
		}
	})
	active := !k.queue.set.SingleActive || k.queue.active == k
	if d.Held < n || d.Active != active && !k.wants.Puller || !k.wants.Puller && d.Credit != k.credit() {
		m.cfg.Fail("consumer %d/%d of queue %s is described as %+v, it holds %d, has credit for %d, is active: %t", k.conn, k.sub, d.Queue, d, n, k.credit(), active)
	}
}
