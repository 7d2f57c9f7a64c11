package core

import (
	"bytes"
	"math"
	"slices"
	"strings"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// The reverse of group_snapshot.go. What the events could not have led to does not load: a
// partition that two members have, or that is meant for two, a leader who is nobody.

// groups reads the groups; one without positions and members does not exist.
func (l *loader) groups() {
	c := l.c
	for range l.Count(6, loadThings) {
		g := &group{name: strings.Clone(l.String()), kind: admin.GroupType(l.U8())}
		g.epoch, g.emptyMS, g.stale = int32(l.small(maxEpoch)), l.signed(), l.Bool()
		_, taken := c.groups.get(g.name)
		if !l.ensure(!taken && g.kind <= admin.GroupShare && (g.kind != admin.GroupSimple || !g.stale)) {
			return
		}
		if !l.positions(g) {
			return
		}
		switch g.kind {
		case admin.GroupModern, admin.GroupShare:
			l.modern(g)
		case admin.GroupClassic:
			l.classic(g)
		}
		if !l.ensure(l.inhabited(g) && (len(g.members) == 0 || g.emptyMS == 0)) {
			return
		}
		c.groups.add(g.name, g)
	}
	for name := range c.shares { // order: each is looked at by itself
		g := c.groupOf(name)
		l.ensure(g != nil && g.kind == admin.GroupShare)
	}
}

// inhabited tells whether a group has what makes it exist, and what makes it one of its kind.
func (l *loader) inhabited(g *group) bool {
	if g.kind == admin.GroupShare {
		return len(g.offsets) == 0 && (len(g.members) > 0 || l.c.shares[g.name] > 0 && !g.stale)
	}
	return (len(g.members) > 0) == (g.kind != admin.GroupSimple) && len(g.members)+len(g.offsets) > 0
}

// positions reads what a group has committed.
func (l *loader) positions(g *group) bool {
	n := l.Count(4, loadThings)
	if n > 0 {
		g.offsets = make([]ipc.OffsetCommit, 0, min(n, 1024))
	}
	for range n {
		o := ipc.OffsetCommit{Index: l.Uvarint(), Offset: l.Uvarint(), Metadata: l.String(), Leader: uint32(l.small(math.MaxUint32))}
		last := len(g.offsets) - 1
		if !l.ensure(l.partition(o.Index) && o.Offset <= maxOffset && (last < 0 || g.offsets[last].Index < o.Index)) {
			return false
		}
		g.offsets = append(g.offsets, o)
	}
	return l.Err() == nil
}

// partition tells whether an index is a partition of a topic.
func (l *loader) partition(id uint64) bool {
	ix, ok := l.c.indexes.get(id)
	return ok && ix.topic != nil
}

// admit enters a member that was read, in order of the ids.
func (l *loader) admit(g *group, m *member) bool {
	n := len(g.members)
	if !l.ensure(m.id != "" && g.holder(m.instance) == nil && (n == 0 || g.members[n-1].id < m.id)) {
		return false
	}
	m.group = g
	g.members = append(g.members, m)
	return true
}

// modern reads the members of a modern or share group, and finds who owns what.
func (l *loader) modern(g *group) {
	meant := make(map[uint64]bool)
	for range l.Count(13, loadThings) {
		m := &member{id: l.String(), instance: l.String(), clientID: l.String(), clientHost: l.String()}
		m.sessionMS, m.rebalanceMS = int32(l.small(math.MaxInt32)), int32(l.small(math.MaxInt32))
		m.epoch, m.before = int32(int64(l.small(maxEpoch-ipc.EpochAway))+ipc.EpochAway), int32(l.small(maxEpoch))
		m.assignor = l.String()
		for range l.Count(1, loadThings) {
			m.topics = append(m.topics, l.String())
		}
		m.target, m.assigned, m.revoking = journal.ReadIDs(&l.Cursor), journal.ReadIDs(&l.Cursor), journal.ReadIDs(&l.Cursor)
		away := m.epoch == ipc.EpochAway && (m.instance == "" || len(m.revoking) > 0 || m.before != 0)
		if !l.ensure(m.epoch != ipc.EpochLeave && m.epoch <= g.epoch && rising(m.topics) && !away) || !l.admit(g, m) {
			return
		}
		if !l.owned(g, m, meant) {
			return
		}
		g.wants(m.topics, 1)
	}
}

// owned checks what a member of a modern group has and shall have, and enters it as the owner.
func (l *loader) owned(g *group, m *member, meant map[uint64]bool) bool {
	for _, id := range m.target {
		ix, ok := l.c.indexes.get(id)
		if !l.ensure(ok && ix.topic != nil && m.subscribes(ix.topic.name) && (g.kind == admin.GroupShare || !meant[id])) {
			return false
		}
		meant[id] = true
	}
	if g.kind == admin.GroupShare {
		return l.ensure(len(m.revoking) == 0 && !slices.ContainsFunc(m.assigned, func(id uint64) bool { return !l.partition(id) }))
	}
	for _, list := range [][]uint64{m.assigned, m.revoking} {
		for _, id := range list {
			if !l.ensure(l.partition(id) && g.owner[id] == nil) {
				return false
			}
			g.own(m, []uint64{id})
		}
	}
	return true
}

// classic reads the generation of a classic group.
func (l *loader) classic(g *group) {
	g.protocolType, g.protocol, g.leader, g.synced = l.String(), l.String(), l.String(), l.Bool()
	for range l.Count(13, loadThings) {
		e := journal.ReadClassicMember(&l.Cursor)
		m := &member{}
		m.introduce(&e)
		if g.synced {
			m.assignment = bytes.Clone(l.Bytes())
		}
		if !l.ensure(e.SessionMS >= 0 && e.RebalanceMS >= 0) || !l.admit(g, m) {
			return
		}
	}
	l.ensure(g.epoch > 0 && (g.leader == "" || g.member(g.leader) != nil))
}
