package trimq

import (
	"slices"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/native"
)

// The fake's administration.

func (f *fake) newIndex() uint64 {
	id := uint64(len(f.indexes) + 1)
	f.indexes[id] = &fakeIndex{id: id}
	return id
}

func (f *fake) administer(c *fakeConn, cmd native.Command, body []byte) ([]byte, error) {
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
		return f.delete(c, cmd, body)
	case native.CmdDeleteGroup, native.CmdResetOffsets, native.CmdDeleteOffsets:
		return f.governGroup(cmd, body)
	case native.CmdCreateQueue:
		return f.createQueue(c, body)
	case native.CmdPurge, native.CmdSeek:
		return f.setBack(c, cmd, body)
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
	for _, g := range f.groups {
		f.retarget(g)
	}
}

func (f *fake) delete(c *fakeConn, cmd native.Command, body []byte) ([]byte, error) {
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
		for _, g := range f.groups {
			f.retarget(g)
		}
	case cmd == native.CmdDeleteQueue && f.queues[m.Name] != nil:
		if f.queues[m.Name].locked(c) {
			return nil, errcode.New(errcode.Locked, "%s", m.Name)
		}
		f.endQueue(f.queues[m.Name])
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
	switch m.Kind {
	case admin.KindBinding:
		f.describeBindings(m, d)
		return d
	case admin.KindTxn:
		f.describeTxns(m, d)
		return d
	}
	var names []string
	switch m.Kind {
	case admin.KindTopic:
		names = keys(f.topics)
	case admin.KindQueue, admin.KindConsumer:
		names = keys(f.queues)
	case admin.KindExchange:
		names = keys(f.exchanges)
	case admin.KindGroup, admin.KindMembership, admin.KindGroupSummary:
		names = f.groupNames()
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
			d.Queues = append(d.Queues, f.queues[n].describe())
		case admin.KindConsumer:
			d.Consumers = append(d.Consumers, f.describeConsumers(f.queues[n])...)
		case admin.KindExchange:
			d.Exchanges = append(d.Exchanges, *f.exchanges[n])
		case admin.KindGroup, admin.KindMembership, admin.KindGroupSummary:
			f.describeGroup(m.Kind, n, d)
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
