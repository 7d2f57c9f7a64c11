package core

import (
	"slices"
	"strings"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
)

// A consumer group: committed positions, and members that share partitions among themselves.
//
//	simple     nobody is a member                         offsets.go
//	modern     the broker assigns, over heartbeats        group_heartbeat.go, group_target.go, group_reconcile.go
//	classic    the members assign, in generations         classic_join.go, classic_sync.go, classic_rebalance.go
//	share      the broker assigns, to several at a time   share.go
//
// It is of one kind as long as it has members, and simple when the last one has gone; a share group
// stays one as long as there is a queue of it.
//
// Hard state is what members were promised: who is one, what everybody shall have (target) and
// has (assigned), the generation that was completed. It is journaled at level disk always: a
// partition that a power cut could take back from a member would be given to two. Soft is what
// they wait for: parked requests, and the timers by which the silent are found out. All timers
// begin anew with a term, so a restart expels nobody (group_expire.go).

// group is one group. It exists as long as it has positions or members.
type group struct {
	name    string
	kind    admin.GroupType    // Invariant: not simple where somebody is a member; share, or simple, where nobody is
	epoch   int32              // of a modern group; of a classic one, its generation. It never falls
	emptyMS int64              // since when nobody is a member, or of the last commit since; 0: somebody is
	offsets []ipc.OffsetCommit // in order of index
	members []*member          // in order of id
	// stale: what the members have been promised no longer fits them. Of a modern group: members,
	// subscriptions or partitions have changed since the target was made; of a classic one: a
	// rebalance has begun, or is due since a member has gone.
	stale bool

	// Of a classic group. Empty where nobody is a member.

	protocolType, protocol string
	leader                 string // empty: it has gone
	synced                 bool   // the assignments of this generation are there

	// Derived, of a modern group.

	owner  map[uint64]*member // who has an index, or has not given it up yet
	topics map[string]int     // how many members subscribe to each topic

	// Soft.

	retention timer // runs while nobody is a member
	resumed   bool  // a classic group, as the term has found it
}

// member is one member of a group of either kind.
type member struct {
	group *group

	// Hard state.

	id, instance         string // instance: of a static member; nobody else has the same
	clientID, clientHost string
	sessionMS            int32
	rebalanceMS          int32

	// Of a modern group.

	epoch    int32 // that it was told last; ipc.EpochAway: a static member that will be back
	before   int32 // the one before that, in case the answer was lost; 0: none
	assignor string
	topics   []string // in order
	target   []uint64 // what it shall have, in order
	assigned []uint64 // what it has, in order
	revoking []uint64 // what it was asked to give up and has not yet, in order; in no assigned

	// Of a classic group.

	protocols  []ipc.GroupProtocol
	assignment []byte

	// Soft state, see group_expire.go.

	gone     bool
	heardMS  int64  // the last sign of life
	urgedMS  int64  // when it was asked to give something up
	doubt    uint64 // where ring 12345 ended when its session ran out; 0: it has not
	session  timer
	patience timer
}

// away tells whether a static member has left for a while.
func (m *member) away() bool { return m.epoch == ipc.EpochAway }

// settled tells whether a member of a modern group has all that it shall have, and no more.
func (m *member) settled() bool {
	return m.epoch == m.group.epoch && len(m.revoking) == 0 && slices.Equal(m.assigned, m.target)
}

// key names a member in assignments: a static one by what outlives its restart.
func (m *member) key() string {
	if m.instance != "" {
		return "static/" + m.instance
	}
	return "member/" + m.id
}

// place is where a member stands or would stand in the list, and whether it is there.
func (g *group) place(id string) (int, bool) {
	return slices.BinarySearchFunc(g.members, id, func(m *member, id string) int { return strings.Compare(m.id, id) })
}

// member finds a member; nil where there is none of that id.
func (g *group) member(id string) *member {
	if g == nil {
		return nil
	}
	i, ok := g.place(id)
	if !ok {
		return nil
	}
	return g.members[i]
}

// holder finds the static member with an instance id; nil where there is none.
func (g *group) holder(instance string) *member {
	if g == nil || instance == "" {
		return nil
	}
	i := slices.IndexFunc(g.members, func(m *member) bool { return m.instance == instance })
	if i < 0 {
		return nil
	}
	return g.members[i]
}

// groupOf finds a group; nil where there is none of that name.
func (c *Core) groupOf(name string) *group {
	g, _ := c.groups.get(name)
	return g
}

// makeGroup finds a group, or makes one. It is part of apply.
func (c *Core) makeGroup(name string) *group {
	g := c.groupOf(name)
	if g == nil {
		g = &group{name: name}
		c.groups.add(name, g)
	}
	return g
}

// enter puts a member into the list, which has none of its id. It is part of apply.
func (g *group) enter(m *member) {
	i, _ := g.place(m.id)
	g.members = slices.Insert(g.members, i, m)
	g.emptyMS = 0
}

// remove takes a member out, and frees what it had. It is part of apply.
func (g *group) remove(m *member) {
	i, _ := g.place(m.id)
	g.members = slices.Delete(g.members, i, i+1)
	m.gone = true
	g.free(m.assigned)
	g.free(m.revoking)
	g.wants(m.topics, -1)
}

// free takes indexes out of their owners' hands.
func (g *group) free(ids []uint64) {
	for _, id := range ids {
		delete(g.owner, id)
	}
}

// own puts indexes into a member's hands.
func (g *group) own(m *member, ids []uint64) {
	if g.owner == nil {
		g.owner = make(map[uint64]*member)
	}
	for _, id := range ids {
		g.owner[id] = m
	}
}

// wants counts subscriptions up or down.
func (g *group) wants(topics []string, by int) {
	if g.topics == nil && len(topics) > 0 {
		g.topics = make(map[string]int)
	}
	for _, t := range topics {
		if g.topics[t] += by; g.topics[t] == 0 {
			delete(g.topics, t)
		}
	}
}

// groupEmptied makes a group simple when its last member has gone, and ends it where it has no
// positions either. It is part of apply.
func (c *Core) groupEmptied(g *group, timeMS int64) {
	if len(g.members) > 0 {
		return
	}
	g.kind, g.stale = admin.GroupSimple, false
	if c.shares[g.name] > 0 {
		g.kind = admin.GroupShare
	}
	g.protocolType, g.protocol, g.leader, g.synced = "", "", "", false
	g.owner, g.topics = nil, nil
	if g.emptyMS == 0 {
		g.emptyMS = timeMS
	}
	if len(g.offsets) == 0 && g.kind == admin.GroupSimple {
		c.groups.remove(g.name)
	}
}
