package trimq

import (
	"cmp"
	"slices"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
)

// The fake's administration, queues and subscriptions.

func (f *fake) newIndex() uint64 {
	id := uint64(len(f.indexes) + 1)
	f.indexes[id] = &fakeIndex{id: id}
	return id
}

func (f *fake) administer(cmd native.Command, body []byte) ([]byte, error) {
	switch cmd {
	case native.CmdCreateTopic:
		m, err := admin.DecodeCreateTopic(body)
		if err != nil {
			return nil, err
		}
		old := f.topics[m.Name]
		if old != nil && len(old.Partitions) != int(m.Partitions) {
			return nil, errcode.New(errcode.Inequivalent, "%s", m.Name)
		}
		if old == nil {
			t := &admin.TopicInfo{Name: m.Name, Level: m.Level, UUID: [16]byte{byte(len(f.indexes) + 1)}}
			f.topics[m.Name] = t
			f.grow(t, m.Partitions)
		}
		return reply(&admin.Created{Existed: old != nil}, nil)
	case native.CmdAddPartitions:
		m, err := admin.DecodeAddPartitions(body)
		if err != nil {
			return nil, err
		}
		if f.topics[m.Name] == nil {
			return nil, errcode.New(errcode.NotFound, "%s", m.Name)
		}
		f.grow(f.topics[m.Name], m.Total)
		return nil, nil
	case native.CmdDeleteTopic, native.CmdDeleteQueue, native.CmdDeleteExchange:
		return f.delete(cmd, body)
	case native.CmdCreateQueue:
		m, err := admin.DecodeCreateQueue(body)
		if err != nil {
			return nil, err
		}
		q := f.queues[m.Name]
		existed := q != nil
		if !existed {
			q = &fakeQueue{inHand: map[*fakeConn]*rangeSet{}, attempts: map[uint64]uint16{}}
			q.Name, q.Queue, q.Settings = m.Name, f.newIndex(), m.QueueSettings
			q.index = f.indexes[q.Queue]
			f.queues[m.Name] = q
		}
		return reply(&admin.Created{Index: q.Queue, Existed: existed, Name: q.Name}, nil)
	case native.CmdCreateExchange:
		m, err := admin.DecodeCreateExchange(body)
		if err != nil {
			return nil, err
		}
		existed := f.exchanges[m.Name] != nil
		f.exchanges[m.Name] = &admin.ExchangeInfo{CreateExchange: m}
		return reply(&admin.Created{Existed: existed}, nil)
	case native.CmdCreateBinding:
		m, err := admin.DecodeCreateBinding(body)
		if err != nil {
			return nil, err
		}
		f.bindings = append(f.bindings, m)
		if x := f.exchanges[m.Exchange]; x != nil {
			x.Bindings++
			if m.ToExchange {
				x.Exchanges++
			}
		}
		return reply(&admin.Created{}, nil)
	case native.CmdDescribe:
		m, err := admin.DecodeDescribe(body)
		if err != nil {
			return nil, err
		}
		return reply(f.describe(&m), nil)
	}
	return nil, errcode.New(errcode.UnsupportedCommand, "%s", cmd)
}

func (f *fake) grow(t *admin.TopicInfo, total uint32) {
	for uint32(len(t.Partitions)) < total {
		t.Partitions = append(t.Partitions, admin.PartitionInfo{Index: f.newIndex()})
	}
}

func (f *fake) delete(cmd native.Command, body []byte) ([]byte, error) {
	m, err := admin.DecodeDelete(body)
	if err != nil {
		return nil, err
	}
	switch {
	case cmd == native.CmdDeleteTopic && f.topics[m.Name] != nil:
		for _, p := range f.topics[m.Name].Partitions {
			f.indexes[p.Index] = nil
		}
		delete(f.topics, m.Name)
	case cmd == native.CmdDeleteQueue && f.queues[m.Name] != nil:
		q := f.queues[m.Name]
		f.indexes[q.Queue] = nil
		delete(f.queues, m.Name)
		for c := range f.conns {
			for id, s := range c.subs {
				if s.q == q {
					delete(c.subs, id)
					c.write(native.AppendFrame(nil, native.CmdSubClosed, 0, 0, &native.SubClosed{Sub: id, Code: errcode.NotFound}))
				}
			}
		}
	case cmd == native.CmdDeleteExchange && f.exchanges[m.Name] != nil:
		delete(f.exchanges, m.Name)
	default:
		return nil, errcode.New(errcode.NotFound, "%s", m.Name)
	}
	f.wake()
	return nil, nil
}

// describe gives two things a page, so that paging is used.
func (f *fake) describe(m *admin.Describe) *admin.Description {
	d := &admin.Description{Kind: m.Kind}
	if m.Kind == admin.KindBinding {
		f.describeBindings(m, d)
		return d
	}
	var names []string
	switch m.Kind {
	case admin.KindTopic:
		names = keys(f.topics)
	case admin.KindQueue:
		names = keys(f.queues)
	case admin.KindExchange:
		names = keys(f.exchanges)
	}
	if len(m.Names) > 0 {
		all := names
		names = nil
		for _, n := range m.Names {
			if slices.Contains(all, n) {
				names = append(names, n)
			} else {
				d.Missing = append(d.Missing, n)
			}
		}
	} else {
		names = slices.DeleteFunc(names, func(n string) bool { return n <= m.After })
		if len(names) > 2 {
			names, d.More = names[:2], true
		}
	}
	for _, n := range names {
		switch m.Kind {
		case admin.KindTopic:
			t := *f.topics[n]
			t.Partitions = slices.Clone(t.Partitions)
			for i := range t.Partitions {
				p := &t.Partitions[i]
				p.Next, p.Visible = f.indexes[p.Index].next, f.indexes[p.Index].next
			}
			d.Topics = append(d.Topics, t)
		case admin.KindQueue:
			q := f.queues[n].QueueInfo
			q.Ready = f.indexes[q.Queue].next
			d.Queues = append(d.Queues, q)
		case admin.KindExchange:
			d.Exchanges = append(d.Exchanges, *f.exchanges[n])
		}
	}
	return d
}

// describeBindings goes by identity. It knows nothing of names.
func (f *fake) describeBindings(m *admin.Describe, d *admin.Description) {
	byID := map[string]admin.CreateBinding{}
	for _, b := range f.bindings {
		b.Canonical()
		byID[b.Identity()] = b
	}
	for _, id := range keys(byID) {
		if id <= m.After {
			continue
		}
		if d.More = len(d.Bindings) == 2; d.More {
			return
		}
		d.Bindings = append(d.Bindings, admin.BindingInfo(byID[id]))
	}
}

func keys[V any](m map[string]V) []string {
	var names []string
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

func (f *fake) consume(c *fakeConn, cmd native.Command, body []byte) ([]byte, error) {
	switch cmd {
	case native.CmdSubscribe:
		m, err := native.DecodeSubscribe(body)
		if err != nil {
			return nil, err
		}
		if f.indexes[m.Index] == nil {
			return nil, errcode.New(errcode.UnknownIndex, "%d", m.Index)
		}
		s := &fakeSub{Subscribe: m, next: m.Offset}
		for _, q := range f.queues {
			if q.Queue == m.Index {
				s.q = q
			}
		}
		if s.q != nil && m.Exclusive && f.consumers(s.q) > 0 {
			return nil, errcode.New(errcode.InUse, "%s", s.q.Name)
		}
		c.subs[m.Sub] = s
		return nil, nil
	case native.CmdUnsubscribe:
		m, err := native.DecodeUnsubscribe(body)
		delete(c.subs, m.Sub)
		return nil, err
	case native.CmdCredit:
		m, err := native.DecodeCredit(body)
		if s := c.subs[m.Sub]; s != nil {
			s.Limit = max(s.Limit, m.Limit)
		}
		f.pump()
		return nil, err
	}
	m, err := native.DecodeAck(body, nil)
	if err != nil {
		return nil, err
	}
	s := c.subs[m.Sub]
	if s == nil && m.Verdict == ipc.VerdictRequeue {
		return nil, errcode.New(errcode.UnknownSubscription, "%d", m.Sub)
	}
	for _, q := range f.queues {
		if q.Queue == m.Index {
			if s != nil && !f.holds(q, c, m.Ranges) {
				return nil, errcode.New(errcode.InvalidArgument, "not all of it is in hand")
			}
			f.settle(q, c, &m)
			return nil, nil
		}
	}
	return nil, errcode.New(errcode.UnknownIndex, "%d", m.Index)
}

// holds tells whether a connection has all of the ranges in hand, or had until somebody else
// settled them.
func (f *fake) holds(q *fakeQueue, c *fakeConn, ranges []ipc.Range) bool {
	for _, r := range ranges {
		for o := r.First; o < r.First+uint64(r.Count); o++ {
			in := false
			for _, set := range []*rangeSet{q.inHand[c], &q.acked} {
				if set != nil {
					set.split(o, o+1, func(_, _ uint64, is bool) { in = in || is })
				}
			}
			if !in {
				return false
			}
		}
	}
	return true
}

func (f *fake) consumers(q *fakeQueue) (n int) {
	for c := range f.conns {
		for _, s := range c.subs {
			if s.q == q {
				n++
			}
		}
	}
	return n
}

func (f *fake) settle(q *fakeQueue, c *fakeConn, m *native.Ack) {
	for _, r := range m.Ranges {
		first, next := r.First, r.First+uint64(r.Count)
		switch m.Verdict {
		case ipc.VerdictRequeue:
			for o := first; o < next; o++ {
				if h := q.inHand[c]; h != nil && h.remove(o, o+1) == 1 {
					q.attempts[o]++
				}
			}
			continue
		case ipc.VerdictReject:
			q.rejected.add(first, next)
		}
		q.acked.add(first, next)
		for _, h := range q.inHand {
			h.remove(first, next)
		}
	}
}

// pump delivers what may be delivered. REQUIRES: f.mu held.
func (f *fake) pump() {
	conns := make([]*fakeConn, 0, len(f.conns))
	for c := range f.conns {
		conns = append(conns, c)
	}
	for _, c := range conns {
		subs := make([]*fakeSub, 0, len(c.subs))
		for _, s := range c.subs {
			subs = append(subs, s)
		}
		slices.SortFunc(subs, func(a, b *fakeSub) int { return cmp.Compare(a.Sub, b.Sub) })
		for _, s := range subs {
			if s.q != nil {
				f.pumpQueue(c, s)
			} else {
				f.pumpTopic(c, s)
			}
		}
	}
}

func (f *fake) pumpTopic(c *fakeConn, s *fakeSub) {
	ix := f.indexes[s.Index]
	for ix != nil && s.sent < s.Limit {
		out := ix.read(s.next, 1)
		if len(out) == 0 {
			return
		}
		i := slices.IndexFunc(ix.runs, func(r fakeRun) bool { return r.next > s.next })
		r := ix.runs[i]
		m := native.Deliver{Sub: s.Sub, Index: s.Index, Base: r.base, First: s.next, Count: uint32(r.next - s.next)}
		s.next = r.next
		s.sent += uint64(len(out))
		c.deliver(&m, out)
	}
}

func (c *fakeConn) deliver(m *native.Deliver, b []byte) {
	out := native.AppendHeader(nil, native.CmdDeliver, 0, 0, native.DeliverSize+len(b))
	c.write(append(m.Append(out), b...))
}

func (f *fake) pumpQueue(c *fakeConn, s *fakeSub) {
	q, ix := s.q, f.indexes[s.Index]
	if ix == nil {
		return
	}
	for _, r := range ix.runs {
		for o := r.base; o < r.next; {
			if s.sent >= s.Limit {
				return
			}
			n := uint64(0)
			for o+n < r.next && s.sent+n < s.Limit && q.ready(o+n) && q.attempts[o+n] == q.attempts[o] {
				n++
			}
			if n == 0 {
				o++
				continue
			}
			if q.inHand[c] == nil {
				q.inHand[c] = &rangeSet{}
			}
			q.inHand[c].add(o, o+n)
			s.sent += n
			m := native.Deliver{Sub: s.Sub, Index: s.Index, Base: r.base, First: o, Count: uint32(n), Attempts: q.attempts[o]}
			b := append([]byte(nil), r.b...)
			b[7] ^= 0xff // the base inside is another queue's
			c.deliver(&m, b)
			o += n
			if s.AutoAck {
				q.acked.add(m.First, o)
				q.inHand[c].remove(m.First, o)
			}
		}
	}
}

// full tells whether the queue takes no more.
func (q *fakeQueue) full() bool {
	most := q.Settings.MaxMessages
	return most.Given && q.Settings.Overflow == admin.RejectPublish && q.index.next >= most.N
}

func (q *fakeQueue) ready(o uint64) bool {
	in := func(r *rangeSet) bool {
		for _, s := range r.list {
			if s.first <= o && o < s.next {
				return true
			}
		}
		return false
	}
	if in(&q.acked) {
		return false
	}
	for _, h := range q.inHand {
		if in(h) {
			return false
		}
	}
	return true
}
