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
// What a timer does is an event without an input.

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

// watch begins a member's session anew, and its patience where it has something to give up.
func (c *Core) watch(m *member) {
	m.heardMS, m.doubt = c.turn.timeMS, 0
	due := m.heardMS + int64(m.sessionMS)
	if failpoint.Broken("session-expiry-early") {
		due = m.heardMS + int64(m.sessionMS)/3
	}
	c.timers.arm(&m.session, due, m)
	c.urge(m)
}

// urge begins a member's patience where it has something to give up, and ends it otherwise.
func (c *Core) urge(m *member) {
	if len(m.revoking) == 0 {
		c.timers.disarm(&m.patience)
		return
	}
	c.timers.arm(&m.patience, c.turn.timeMS+int64(m.rebalanceMS), patience{m})
}

// heard notes a sign of life. The timer stays where it is: see member.passed.
func (c *Core) heard(m *member) { m.heardMS, m.doubt = c.turn.timeMS, 0 }

// everybodyHeard gives all members a fresh session: those of a new connsrv had no way to say
// anything while there was none.
func (c *Core) everybodyHeard() {
	for _, g := range c.groups.byKey { // order: each is noted by itself
		for _, m := range g.members {
			c.heard(m)
		}
	}
}

// passed: the member's session may have run out.
func (m *member) passed(c *Core, dueMS int64) {
	now := c.turn.timeMS
	due := m.heardMS + int64(m.sessionMS)
	switch {
	case m.gone:
	case c.waitsForUs(m):
		c.watch(m)
	case now < due && !failpoint.Broken("session-expiry-early"):
		c.timers.arm(&m.session, due, m)
	case now-dueMS > lateMS:
		c.watch(m)
	case c.unread(&m.doubt):
		c.timers.arm(&m.session, now+1, m)
	default:
		c.expel(m, journal.GoneSilent)
	}
}

// patience is a member as what its second timer is for.
type patience struct{ *member }

// passed: the member has not given up in time what it was asked to.
func (p patience) passed(c *Core, dueMS int64) {
	m := p.member
	switch {
	case m.gone || len(m.revoking) == 0:
	case c.turn.timeMS-dueMS > lateMS:
		c.urge(m)
	case c.unread(&m.doubt):
		c.timers.arm(&m.patience, c.turn.timeMS+1, p)
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
	case admin.GroupModern:
		c.retarget(g, pos)
	case admin.GroupClassic:
		c.prepare(g.name)
	default:
		c.watchEmpty(g)
	}
	c.gather(g.name)
}

// retention is a group as what its timer is for.
type retention struct{ name string }

// watchEmpty begins the retention of a group that nobody is a member of, unless it has begun.
func (c *Core) watchEmpty(g *group) {
	if g.kind != admin.GroupSimple || c.cfg.OffsetRetentionMS < 0 || g.retention.at != 0 || c.groupOf(g.name) != g {
		return
	}
	c.timers.arm(&g.retention, max(g.emptyMS+c.cfg.OffsetRetentionMS, c.begunMS+min(returnMS, c.cfg.OffsetRetentionMS)), retention{g.name})
}

// passed: the group may have been empty for long enough.
func (r retention) passed(c *Core, _ int64) {
	g := c.groupOf(r.name)
	switch {
	case g == nil || g.kind != admin.GroupSimple:
	case c.turn.timeMS < g.emptyMS+c.cfg.OffsetRetentionMS:
		c.watchEmpty(g) // somebody has been there, or committed
	default:
		c.enact(&journal.GroupDeleted{Pos: journal.NoInput, Group: r.name})
	}
}
