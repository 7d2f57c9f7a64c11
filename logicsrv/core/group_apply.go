package core

import (
	"bytes"
	"math"
	"slices"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// The events of groups, under the rules of apply.go.

// maxEpoch is where epochs and generations stop rising.
const maxEpoch = math.MaxInt32

// applyGroup applies the events of groups and their members.
func (c *Core) applyGroup(ev journal.Event, timeMS int64) error {
	switch ev.Type {
	case journal.EvGroupMember:
		e, err := journal.DecodeGroupMember(ev)
		return firstError(err, func() error { return c.applyGroupMember(admin.GroupModern, &e) })
	case journal.EvShareMember:
		e, err := journal.DecodeShareMember(ev)
		return firstError(err, func() error { return c.applyGroupMember(admin.GroupShare, (*journal.GroupMember)(&e)) })
	case journal.EvGroupConfigured:
		e, err := journal.DecodeGroupConfigured(ev)
		return firstError(err, func() error { return c.applyGroupConfigured(&e) })
	case journal.EvGroupTarget:
		e, err := journal.DecodeGroupTarget(ev)
		return firstError(err, func() error { return c.applyGroupTarget(&e) })
	case journal.EvGroupAssigned:
		e, err := journal.DecodeGroupAssigned(ev)
		return firstError(err, func() error { return c.applyGroupAssigned(&e) })
	case journal.EvGroupAway:
		e, err := journal.DecodeGroupAway(ev)
		return firstError(err, func() error { return c.applyGroupAway(&e) })
	case journal.EvGroupMemberGone:
		e, err := journal.DecodeGroupMemberGone(ev)
		return firstError(err, func() error { return c.applyGroupMemberGone(&e, timeMS) })
	case journal.EvGroupGeneration:
		e, err := journal.DecodeGroupGeneration(ev)
		return firstError(err, func() error { return c.applyGroupGeneration(&e, timeMS) })
	case journal.EvGroupUnsettled:
		e, err := journal.DecodeGroupUnsettled(ev)
		return firstError(err, func() error { return c.applyGroupUnsettled(&e) })
	case journal.EvGroupSynced:
		e, err := journal.DecodeGroupSynced(ev)
		return firstError(err, func() error { return c.applyGroupSynced(&e) })
	case journal.EvGroupReplaced:
		e, err := journal.DecodeGroupReplaced(ev)
		return firstError(err, func() error { return c.applyGroupReplaced(&e) })
	case journal.EvGroupDeleted:
		e, err := journal.DecodeGroupDeleted(ev)
		return firstError(err, func() error { return c.applyGroupDeleted(&e) })
	case journal.EvOffsetsDeleted:
		e, err := journal.DecodeOffsetsDeleted(ev)
		return firstError(err, func() error { return c.applyOffsetsDeleted(&e) })
	}
	return misfit("unknown event type %d", ev.Type)
}

// memberIn finds the member that an event is about.
func (c *Core) memberIn(name, id string, kind admin.GroupType) (*group, *member, error) {
	g := c.groupOf(name)
	m := g.member(id)
	if m == nil || g.kind != kind {
		return nil, nil, misfit("%q is no such member of group %q", id, name)
	}
	return g, m, nil
}

// freshMember checks what a new id may not meet: a member of that id, or another one with the
// instance id.
func (g *group) freshMember(id, instance string, sessionMS, rebalanceMS int32, instead *member) error {
	if h := g.holder(instance); id == "" || sessionMS < 0 || rebalanceMS < 0 || g.member(id) != nil || h != nil && h != instead {
		return misfit("%q, instance %q, as a new member of a group", id, instance)
	}
	return nil
}

// applyGroupMember enters or changes a member of a modern or share group. One that takes the place of
// another has what that had, and nothing to give up: it owns nothing yet.
func (c *Core) applyGroupMember(kind admin.GroupType, e *journal.GroupMember) error {
	g := c.groupOf(e.Group)
	if e.Group == "" || !g.admits(kind) || !rising(e.Topics) {
		return misfit("member %q of group %q, topics %q", e.Member, e.Group, e.Topics)
	}
	var old *member
	if e.Replaces != "" {
		if old = g.member(e.Replaces); old == nil || old.instance == "" || old.instance != e.Instance {
			return misfit("%q is no static member %q of group %q", e.Replaces, e.Instance, e.Group)
		}
	}
	if m := g.member(e.Member); m != nil && old == nil {
		if m.instance != e.Instance || e.SessionMS < 0 || e.RebalanceMS < 0 {
			return misfit("member %q of group %q changes to instance %q", e.Member, e.Group, e.Instance)
		}
		g.describe(m, e)
		return nil
	}
	if err := g.freshMember(e.Member, e.Instance, e.SessionMS, e.RebalanceMS, old); err != nil {
		return err
	}
	g = c.makeGroup(e.Group)
	m := &member{group: g, id: e.Member, instance: e.Instance}
	if old != nil {
		m.topics, m.assignor, m.target, m.assigned = old.topics, old.assignor, old.target, old.assigned
		g.wants(m.topics, 1)
		g.remove(old)
		g.own(m, m.assigned)
	}
	g.stale = g.stale || old == nil
	g.kind = kind
	g.enter(m)
	g.describe(m, e)
	return nil
}

// describe takes over what a member of a modern group wants. What it no longer subscribes to is
// no longer meant for it.
func (g *group) describe(m *member, e *journal.GroupMember) {
	m.clientID, m.clientHost, m.sessionMS, m.rebalanceMS = e.ClientID, e.ClientHost, e.SessionMS, e.RebalanceMS
	if m.assignor == e.Assignor && slices.Equal(m.topics, e.Topics) {
		return
	}
	g.stale = true
	g.wants(m.topics, -1)
	g.wants(e.Topics, 1)
	m.assignor, m.topics = e.Assignor, e.Topics
}

// applyGroupTarget: this is what everybody shall have, under a new epoch.
func (c *Core) applyGroupTarget(e *journal.GroupTarget) error {
	g := c.groupOf(e.Group)
	if g == nil || !g.brokered() || len(e.Shares) != len(g.members) || e.Epoch < g.epoch || e.Epoch < 1 {
		return misfit("target of group %q: epoch %d, %d shares", e.Group, e.Epoch, len(e.Shares))
	}
	if err := c.checkTargets(g, e.Shares); err != nil {
		return err
	}
	for i, m := range g.members {
		m.target = e.Shares[i]
	}
	g.epoch, g.stale = e.Epoch, false
	return nil
}

// checkTargets: only partitions of topics that a member subscribes to, each meant for one unless the
// members share.
func (c *Core) checkTargets(g *group, shares [][]uint64) error {
	taken := make(map[uint64]bool)
	for i, m := range g.members {
		for _, id := range shares[i] {
			ix, ok := c.indexes.get(id)
			if !ok || ix.topic == nil || taken[id] && g.kind != admin.GroupShare || !m.subscribes(ix.topic.name) {
				return misfit("index %d for member %q of group %q", id, m.id, g.name)
			}
			taken[id] = true
		}
	}
	return nil
}

// subscribes tells whether a member wants a topic.
func (m *member) subscribes(topic string) bool {
	_, ok := slices.BinarySearch(m.topics, topic)
	return ok
}

// applyGroupAssigned: this is what the member has from now on. What was another's must have been
// given up; a static member that is away holds nothing that is no longer meant for it.
func (c *Core) applyGroupAssigned(e *journal.GroupAssigned) error {
	if g := c.groupOf(e.Group); g != nil && g.kind == admin.GroupShare {
		return c.applyShared(g, e)
	}
	g, m, err := c.memberIn(e.Group, e.Member, admin.GroupModern)
	if err != nil {
		return err
	}
	if e.Epoch < 0 || e.Epoch > g.epoch || meet(e.Assigned, e.Revoking) {
		return misfit("member %q of group %q at epoch %d of %d", e.Member, e.Group, e.Epoch, g.epoch)
	}
	for _, id := range e.Revoking {
		if g.owner[id] != m {
			return misfit("index %d, to be given up by %q of group %q, is not its own", id, e.Member, e.Group)
		}
	}
	for _, id := range e.Assigned {
		ix, ok := c.indexes.get(id)
		if !ok || ix.topic == nil || !g.takable(m, id) && !failpoint.Broken("revoke-not-awaited") {
			return misfit("index %d for %q of group %q", id, e.Member, e.Group)
		}
	}
	for _, id := range e.Assigned {
		if o := g.owner[id]; o != nil && o != m {
			o.assigned, o.revoking = less(o.assigned, []uint64{id}), less(o.revoking, []uint64{id})
		}
	}
	g.free(m.assigned)
	g.free(m.revoking)
	m.assigned, m.revoking = e.Assigned, e.Revoking
	g.own(m, m.assigned)
	g.own(m, m.revoking)
	if m.epoch != e.Epoch {
		m.before, m.epoch = max(m.epoch, 0), e.Epoch
	}
	return nil
}

// takable tells whether a member may have an index: nobody else has it, or only somebody who is
// away and for whom it is not meant any longer.
func (g *group) takable(m *member, id uint64) bool {
	o := g.owner[id]
	return o == nil || o == m || o.away() && !listed(o.target, id)
}

// applyGroupAway: a static member has left for a while. What it was to give up is given up.
func (c *Core) applyGroupAway(e *journal.GroupAway) error {
	g, m, err := c.memberIn(e.Group, e.Member, admin.GroupModern)
	if err != nil {
		return err
	}
	if m.instance == "" {
		return misfit("member %q of group %q is away and not static", e.Member, e.Group)
	}
	g.free(m.revoking)
	m.epoch, m.before, m.revoking = ipc.EpochAway, 0, nil
	return nil
}

// applyGroupMemberGone takes a member out, of either kind of group.
func (c *Core) applyGroupMemberGone(e *journal.GroupMemberGone, timeMS int64) error {
	g := c.groupOf(e.Group)
	m := g.member(e.Member)
	if m == nil {
		return misfit("%q is no member of group %q", e.Member, e.Group)
	}
	g.remove(m)
	g.stale = true
	if g.leader == m.id {
		g.leader = ""
	}
	c.groupEmptied(g, timeMS)
	return nil
}

// applyGroupGeneration: these are the members of a classic group from now on. Who was one before
// goes on as the same, with what it has told this time.
func (c *Core) applyGroupGeneration(e *journal.GroupGeneration, timeMS int64) error {
	g := c.groupOf(e.Group)
	switch {
	case e.Group == "" || e.Generation < 1 || g == nil && len(e.Members) == 0:
		return misfit("generation %d of group %q, %d members", e.Generation, e.Group, len(e.Members))
	case g != nil && (!g.admits(admin.GroupClassic) || e.Generation < g.epoch):
		return misfit("generation %d of group %q behind %d", e.Generation, e.Group, g.epoch)
	}
	if err := checkGeneration(e); err != nil {
		return err
	}
	if g == nil {
		g = c.makeGroup(e.Group)
	}
	members := make([]*member, len(e.Members))
	for i := range e.Members {
		m := g.member(e.Members[i].Member)
		if m == nil {
			m = &member{group: g}
		}
		m.introduce(&e.Members[i])
		m.assignment = nil
		members[i] = m
	}
	for _, m := range g.members {
		m.gone = true
	}
	for _, m := range members {
		m.gone = false
	}
	g.members, g.epoch, g.stale, g.synced = members, e.Generation, false, false
	g.kind, g.protocolType, g.protocol, g.leader = admin.GroupClassic, e.ProtocolType, e.Protocol, e.Leader
	if len(members) > 0 {
		g.emptyMS = 0
	}
	c.groupEmptied(g, timeMS)
	return nil
}

// checkGeneration: members in order of their ids, no instance id twice, the leader one of them.
func checkGeneration(e *journal.GroupGeneration) error {
	instances := make(map[string]bool)
	last, led := "", len(e.Members) == 0
	for i := range e.Members {
		m := &e.Members[i]
		if m.Member <= last || m.SessionMS < 0 || m.RebalanceMS < 0 || m.Instance != "" && instances[m.Instance] {
			return misfit("member %q, instance %q, in a generation of group %q", m.Member, m.Instance, e.Group)
		}
		instances[m.Instance] = true
		last = m.Member
		led = led || m.Member == e.Leader
	}
	if !led {
		return misfit("leader %q of group %q is no member", e.Leader, e.Group)
	}
	return nil
}

// introduce takes over what a member of a classic group has told of itself. The metadata aliases
// the event.
func (m *member) introduce(e *journal.GroupClassicMember) {
	m.id, m.instance, m.clientID, m.clientHost = e.Member, e.Instance, e.ClientID, e.ClientHost
	m.sessionMS, m.rebalanceMS = e.SessionMS, e.RebalanceMS
	m.protocols = make([]ipc.GroupProtocol, len(e.Protocols))
	for i, p := range e.Protocols {
		m.protocols[i] = ipc.GroupProtocol{Name: p.Name, Metadata: bytes.Clone(p.Metadata)}
	}
}

// applyGroupUnsettled: a rebalance has begun.
func (c *Core) applyGroupUnsettled(e *journal.GroupUnsettled) error {
	g := c.groupOf(e.Group)
	if g == nil || g.kind != admin.GroupClassic {
		return misfit("%q is no classic group with members", e.Group)
	}
	g.stale = true
	return nil
}

// applyGroupSynced: the leader has shared the partitions of this generation out.
func (c *Core) applyGroupSynced(e *journal.GroupSynced) error {
	g := c.groupOf(e.Group)
	if g == nil || g.kind != admin.GroupClassic || g.synced || len(e.Assignments) != len(g.members) {
		return misfit("%d assignments for group %q", len(e.Assignments), e.Group)
	}
	for i, m := range g.members {
		m.assignment = bytes.Clone(e.Assignments[i])
	}
	g.synced = true
	return nil
}

// applyGroupReplaced: a static member of a classic group goes on under another id.
func (c *Core) applyGroupReplaced(e *journal.GroupReplaced) error {
	g, old, err := c.memberIn(e.Group, e.Old, admin.GroupClassic)
	if err != nil {
		return err
	}
	n := &e.Member
	if old.instance == "" || old.instance != n.Instance {
		return misfit("%q is no static member %q of group %q", e.Old, n.Instance, e.Group)
	}
	if err := g.freshMember(n.Member, n.Instance, n.SessionMS, n.RebalanceMS, old); err != nil {
		return err
	}
	m := &member{group: g, assignment: old.assignment}
	m.introduce(n)
	g.remove(old)
	g.enter(m)
	if g.leader == old.id {
		g.leader = m.id
	}
	return nil
}

// applyGroupDeleted forgets a group that nobody is a member of.
func (c *Core) applyGroupDeleted(e *journal.GroupDeleted) error {
	g := c.groupOf(e.Group)
	if g == nil || len(g.members) > 0 {
		return misfit("group %q does not exist, or has members", e.Group)
	}
	c.groups.remove(e.Group)
	return nil
}

// applyOffsetsDeleted forgets positions; with the last one goes a group without members.
func (c *Core) applyOffsetsDeleted(e *journal.OffsetsDeleted) error {
	g := c.groupOf(e.Group)
	if g == nil || len(e.Indexes) == 0 {
		return misfit("group %q does not exist, or nothing to delete", e.Group)
	}
	for _, index := range e.Indexes {
		if _, ok := g.find(index); !ok {
			return misfit("group %q has no position in index %d", e.Group, index)
		}
	}
	g.forget(func(index uint64) bool { return listed(e.Indexes, index) })
	c.groupEmptied(g, g.emptyMS)
	return nil
}

// topicChanged notes that the partitions of a topic have changed: the groups that subscribe to it
// need a new target.
func (c *Core) topicChanged(name string) {
	for _, g := range c.groups.byKey { // order: each is looked at by itself
		if g.topics[name] > 0 {
			g.stale, c.topicsChanged = true, true
		}
	}
}

// indexesGone takes indexes that have ended out of a group: positions, and what members have.
func (c *Core) indexesGone(g *group, gone map[uint64]bool) {
	g.forget(func(index uint64) bool { return gone[index] })
	drop := func(list []uint64) []uint64 {
		if !slices.ContainsFunc(list, func(id uint64) bool { return gone[id] }) {
			return list
		}
		return slices.DeleteFunc(slices.Clone(list), func(id uint64) bool { return gone[id] })
	}
	if g.brokered() {
		for _, m := range g.members {
			m.target, m.assigned, m.revoking = drop(m.target), drop(m.assigned), drop(m.revoking)
		}
		for id := range gone { // order: each is taken out by itself
			delete(g.owner, id)
		}
	}
	c.groupEmptied(g, g.emptyMS)
}

// forget drops positions.
func (g *group) forget(gone func(index uint64) bool) {
	g.offsets = slices.DeleteFunc(g.offsets, func(o ipc.OffsetCommit) bool { return gone(o.Index) })
}
