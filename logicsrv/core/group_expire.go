package core

import (
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/journal"
)

// What the clock does to groups.
//
//	session     a member that gives no sign of life for so long is out
//	patience    one that does not give up what it was asked to for so long is out too
//	retention   a group that nobody has been a member of for so long is forgotten, with its positions
//
// A member is out when it was silent, not when the broker did not listen. So a session that has
// run out ends only when all that lay in ring 12345 at that moment has been read, the member's
// heartbeat perhaps among it; and a moment that is noticed late, for the process was stopped or
// the machine asleep, begins a fresh period, as does a new term and a new connsrv.
//
// A sign of life moves no timer. When one fires it looks at what has been heard since, and is
// armed again for the rest. What it does to hard state is an event without an input.

const (
	// lateMS is how much later than its moment a timer may be noticed and still count.
	lateMS = 1000
	// returnMS is the least time that the members of a group without members have to return in
	// after a restart, before its positions may be forgotten.
	returnMS = 600_000
)

// watchGroups begins the timers of all groups at the start of a term.
func (c *Core) watchGroups() {
	c.topicsChanged = true // perhaps; a checkpoint may hold groups whose turn had not come
	for _, g := range c.groups.all {
		for _, m := range g.members {
			c.watch(m)
		}
		c.watchEmpty(g)
		c.resumeClassic(g)
	}
}

// crowded tells whether the turn has no room for what a timer of a group may decide, and if so has
// it fire again in the next one.
func (c *Core) crowded(t timed) bool {
	if c.turn.entrySize() < c.cfg.MaxEntryBytes/4 && len(c.turn.recs) < maxTurnOutputBytes {
		return false
	}
	c.arm(t, c.turn.timeMS)
	return true
}

// watch begins a member's session anew, and its patience where it has something to give up.
func (c *Core) watch(m *member) {
	c.heard(m)
	c.arm(m, m.sessionEnd())
	c.urge(m)
}

// heard notes a sign of life.
func (c *Core) heard(m *member) { m.heardMS, m.doubt = c.turn.timeMS, 0 }

// sessionEnd is when a member is out unless it is heard again.
func (m *member) sessionEnd() int64 {
	if failpoint.Broken("session-expiry-early") {
		return m.heardMS + int64(m.sessionMS)/3
	}
	return m.heardMS + int64(m.sessionMS)
}

// urge begins a member's patience if it has something to give up.
func (c *Core) urge(m *member) {
	if len(m.revoking) > 0 {
		m.urgedMS = c.turn.timeMS
		c.arm(patience{m}, m.patienceEnd())
	}
}

// patienceEnd is when a member is out unless it gives up what it was asked to.
func (m *member) patienceEnd() int64 { return m.urgedMS + int64(m.rebalanceMS) }

// everybodyHeard gives all members a fresh session: those of a new connsrv had no way to say
// anything while there was none.
func (c *Core) everybodyHeard() {
	for _, g := range c.groups.byKey { // order: each is noted by itself
		for _, m := range g.members {
			c.heard(m)
		}
	}
}

// clock is the timer of the member's session.
func (m *member) clock() *timer { return &m.session }

// due: the member's session may have run out.
func (m *member) due(c *Core) {
	now, end := c.turn.timeMS, m.sessionEnd()
	switch {
	case m.gone || c.crowded(m):
	case c.waitsForUs(m), now-end > lateMS:
		c.watch(m)
	case now < end:
		c.arm(m, end)
	case c.unread(&m.doubt):
		c.arm(m, now+1)
	default:
		c.expel(m, journal.GoneSilent)
	}
}

// patience is a member as what its second timer is for.
type patience struct{ *member }

func (p patience) clock() *timer { return &p.member.patience }

// due: the member may not have given up in time what it was asked to.
func (p patience) due(c *Core) {
	m := p.member
	now, end := c.turn.timeMS, m.patienceEnd()
	switch {
	case m.gone || len(m.revoking) == 0 || c.crowded(p):
	case now < end:
		c.arm(p, end)
	case now-end > lateMS:
		c.urge(m)
	case c.unread(&m.doubt):
		c.arm(p, now+1)
	default:
		c.expel(m, journal.GoneStubborn)
	}
}

// unread tells whether something that lay in ring 12345 when this was asked first has not been
// read yet. since keeps where the ring ended then.
func (c *Core) unread(since *uint64) bool {
	if *since == 0 {
		*since = c.tail
	}
	// A connsrv that took over may have cut off what its predecessor had only claimed.
	return c.readTo < min(*since, c.tail)
}

// expel decides that somebody is no member any longer, and what becomes of the others.
func (c *Core) expel(m *member, why journal.Reason) {
	g := m.group
	c.stats.Expelled++
	c.enact(&journal.GroupMemberGone{Pos: journal.NoInput, Group: g.name, Member: m.id, Instance: m.instance, Why: why})
	c.bereaved(g, journal.NoInput)
}

// bereaved goes on without members that have gone.
func (c *Core) bereaved(g *group, pos uint64) {
	switch g.kind {
	case admin.GroupModern, admin.GroupShare:
		if len(g.members) > 0 {
			c.retarget(g, pos)
		}
	case admin.GroupClassic:
		c.prepare(g.name)
	default:
		c.watchEmpty(g)
	}
	c.gather(g.name)
}

// retention is a group as what its timer is for.
type retention struct{ *group }

func (r retention) clock() *timer { return &r.group.retention }

// retentionEnd is when a group that nobody is a member of is forgotten.
func (c *Core) retentionEnd(g *group) int64 {
	ms := c.cfg.OffsetRetentionMS
	return max(g.emptyMS+ms, c.begunMS+min(returnMS, ms))
}

// watchEmpty begins the retention of a group that nobody is a member of.
func (c *Core) watchEmpty(g *group) {
	if g.kind == admin.GroupSimple && c.cfg.OffsetRetentionMS >= 0 && c.groupOf(g.name) == g {
		c.arm(retention{g}, c.retentionEnd(g))
	}
}

// due: the group may have been empty for long enough.
func (r retention) due(c *Core) {
	g := r.group
	switch {
	case g.kind != admin.GroupSimple || c.groupOf(g.name) != g || c.crowded(r):
	case c.turn.timeMS < c.retentionEnd(g):
		c.watchEmpty(g) // somebody has been there, or committed
	default:
		c.enact(&journal.GroupDeleted{Pos: journal.NoInput, Group: g.name})
	}
}
