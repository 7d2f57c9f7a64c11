package core

import (
	"github.com/trimq/trimq/protocol/admin"
)

// Groups as they are described: with members and lag, or a line each. A classic group is there once
// its first generation is complete; those who gather for it are shown by no command.

// stateOf is where a group stands.
func (c *Core) stateOf(g *group) admin.GroupState {
	switch {
	case len(g.members) == 0:
		return admin.GroupEmpty
	case g.kind == admin.GroupClassic && c.gathers(g.name):
		return admin.GroupPreparing
	case g.kind == admin.GroupClassic && !g.synced:
		return admin.GroupCompleting
	case g.kind == admin.GroupClassic:
		return admin.GroupStable
	case g.kind == admin.GroupShare:
		return admin.GroupStable // nobody waits for anybody
	}
	for _, m := range g.members {
		if !m.settled() && !m.away() {
			return admin.GroupReconciling
		}
	}
	return admin.GroupStable
}

// describeSummary adds a line about a group.
func (c *Core) describeSummary(p *page, name string, g *group) bool {
	if !p.take(32 + len(name) + len(g.protocolType)) {
		return false
	}
	p.out.Summaries = append(p.out.Summaries, admin.GroupSummary{
		Name: name, Type: g.kind, State: c.stateOf(g), ProtocolType: g.protocolType, Members: uint32(len(g.members)),
	})
	return true
}

// describeMembership adds a group with its members and its positions. Members of which a page cannot
// hold all are left out, and counted.
func (c *Core) describeMembership(p *page, name string, g *group) bool {
	d := admin.Membership{
		Name: name, Type: g.kind, State: c.stateOf(g), Epoch: g.epoch, ProtocolType: g.protocolType,
		Protocol: g.protocol, Leader: g.leader, EmptyMS: g.emptyMS,
	}
	if g.kind == admin.GroupModern {
		d.Protocol = g.assignor()
	}
	size := 96 + len(name) + len(d.ProtocolType) + len(d.Protocol) + len(d.Leader)
	for _, o := range g.offsets {
		size += 24
		ix, _ := c.indexes.get(o.Index)
		d.Offsets = append(d.Offsets, admin.LagInfo{Index: o.Index, Offset: o.Offset, Visible: ix.visible})
	}
	for i, m := range g.members {
		k := c.memberInfo(g, m)
		if size += infoSize(&k); size > maxReplyBytes {
			d.MembersLeft = uint32(len(g.members) - i)
			break
		}
		d.Members = append(d.Members, k)
	}
	if !p.take(size) {
		return false
	}
	p.out.Memberships = append(p.out.Memberships, d)
	return true
}

// memberInfo describes a member.
func (c *Core) memberInfo(g *group, m *member) admin.MemberInfo {
	k := admin.MemberInfo{ID: m.id, Instance: m.instance, ClientID: m.clientID, ClientHost: m.clientHost}
	if g.kind == admin.GroupClassic {
		k.Epoch, k.Metadata, k.Assignment = g.epoch, m.metadata(g.protocol), m.assignment
		return k
	}
	k.Epoch, k.Topics, k.Assigned, k.Target = m.epoch, m.topics, m.assigned, m.target
	return k
}

// infoSize is what the description of a member takes, at most.
func infoSize(k *admin.MemberInfo) int {
	n := 48 + len(k.ID) + len(k.Instance) + len(k.ClientID) + len(k.ClientHost)
	for _, t := range k.Topics {
		n += 3 + len(t)
	}
	return n + 8*len(k.Assigned) + 8*len(k.Target) + len(k.Metadata) + len(k.Assignment)
}
