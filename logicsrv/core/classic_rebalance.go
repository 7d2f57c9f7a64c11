package core

import (
	"cmp"
	"slices"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// The rebalance of a classic group: the next generation gathers until every member has joined it,
// or for as long as the slowest of them has asked for. Then those that have not come are members
// no longer; a static one stays until its session runs out.

// sit parks a join in the next generation, which begins to gather if it does not yet.
func (c *Core) sit(m *ipc.GroupJoin, about journal.GroupClassicMember) {
	l := c.lobbyFor(m.Group)
	newcomer := l.seat(about.Member) == nil
	for i := range about.Protocols { // they alias the input
		about.Protocols[i].Metadata = slices.Clone(about.Protocols[i].Metadata)
	}
	c.take(l, about, m.Head)
	l.protocolType = m.ProtocolType
	if !l.gathering {
		c.prepare(m.Group)
	} else if l.opening && newcomer {
		c.lasts(l, max(l.untilMS, min(c.turn.timeMS+c.cfg.GroupInitialDelayMS, l.lastMS)))
	}
	c.gather(m.Group)
}

// prepare begins to gather the next generation. Who waits for the assignment of this one waits in
// vain.
func (c *Core) prepare(name string) {
	l := c.lobbyFor(name)
	if l.gathering {
		return
	}
	l.gathering, l.opening, l.doubt = true, false, 0
	c.endSyncs(l, func(w *waiter) {
		c.refuse(w.head, errcode.RebalanceInProgress, "another generation gathers; join again")
	})
	g := c.groupOf(name)
	patienceMS := c.patienceMS(g, l)
	now := c.turn.timeMS
	l.lastMS = now + patienceMS
	due := l.lastMS
	switch {
	case (g == nil || len(g.members) == 0) && c.cfg.GroupInitialDelayMS > 0:
		l.opening, due = true, min(due, now+c.cfg.GroupInitialDelayMS)
	case g != nil && g.resumed && now < c.begunMS+retoldMS:
		l.opening, due = true, c.begunMS+retoldMS
	}
	c.lasts(l, due)
	c.unsettle(g)
}

// lasts sets when the lobby's timer is due.
func (c *Core) lasts(l *lobby, untilMS int64) {
	l.untilMS = untilMS
	c.arm(l, untilMS)
}

// unsettle notes that a rebalance has begun, so that a successor goes on with it: a member that
// joins again would otherwise be told the old generation, and miss who waits for it. Where a power
// cut loses the note, it takes the connections along that would have been told so.
func (c *Core) unsettle(g *group) {
	if g == nil || g.kind != admin.GroupClassic || g.stale {
		return
	}
	t := c.turn
	ev := journal.GroupUnsettled{Pos: journal.NoInput, Group: g.name}
	t.raise(ipc.LevelPage)
	t.events = ev.Append(t.events)
	c.applyNew()
}

// retoldMS is how long after the start of a term a generation gathers at least, so that all event
// loops have told again who had joined it.
const retoldMS = 1000

// patienceMS is the longest rebalance time-out of all who are in the group or come to it.
func (c *Core) patienceMS(g *group, l *lobby) (ms int64) {
	nobody := func(string) bool { return false }
	c.company(g, l, nobody, func(m *journal.GroupClassicMember) { ms = max(ms, int64(m.RebalanceMS)) })
	return ms
}

// gather completes the generation if all are there, and closes the lobby if nobody is.
func (c *Core) gather(name string) {
	l := c.lobbyOf(name)
	if l == nil {
		return
	}
	g := c.groupOf(name)
	members := 0
	if g != nil && g.kind == admin.GroupClassic {
		members = len(g.members)
	}
	switch {
	case !l.gathering:
	case members+len(l.seats) == 0:
		l.gathering, l.protocolType, l.untilMS = false, "", 0
	case !l.opening && len(l.promised) == 0 && l.complete(g):
		c.complete(l)
	}
	c.leaveLobby(l)
}

// complete tells whether all members have joined the next generation.
func (l *lobby) complete(g *group) bool {
	if g == nil {
		return true
	}
	return !slices.ContainsFunc(g.members, func(m *member) bool { return l.byID[m.id] == nil })
}

func (l *lobby) clock() *timer { return &l.timer }

// due: the generation may have gathered for long enough, or its leader's sync may be overdue.
func (l *lobby) due(c *Core) {
	switch {
	case l.untilMS == 0 || c.lobbyOf(l.group) != l || c.crowded(l):
	case c.turn.timeMS < l.untilMS:
		c.arm(l, l.untilMS)
	case l.gathering:
		c.timeUp(l)
	default:
		c.assignmentOverdue(l)
	}
}

// timeUp ends the gathering, unless there is a reason to go on.
func (c *Core) timeUp(l *lobby) {
	g, now := c.groupOf(l.group), c.turn.timeMS
	switch {
	case now-l.untilMS > lateMS && !l.opening:
		c.lasts(l, now+c.patienceMS(g, l))
	case c.unread(&l.doubt):
		c.arm(l, now+1)
	case l.opening && !l.complete(g):
		l.opening = false // the members that have not joined have all their time
		c.lasts(l, l.lastMS)
	case len(l.seats) == 0 && g != nil && slices.ContainsFunc(g.members, func(m *member) bool { return m.instance != "" }):
		l.doubt = 0
		c.lasts(l, now+c.patienceMS(g, l)) // their sessions decide
	default:
		c.complete(l)
		c.leaveLobby(l)
	}
}

// complete ends the gathering: a generation of all who have joined, and of static members who
// have not.
func (c *Core) complete(l *lobby) {
	g := c.groupOf(l.group)
	if g != nil {
		g.resumed = false
	}
	e := journal.GroupGeneration{Pos: journal.NoInput, Group: l.group, Generation: 1}
	if g != nil {
		e.Generation = g.nextEpoch()
		for _, m := range g.members {
			if m.instance != "" && l.byID[m.id] == nil {
				e.Members = append(e.Members, m.introduction())
			}
		}
	}
	for _, s := range l.seats {
		e.Members = append(e.Members, s.about)
	}
	slices.SortFunc(e.Members, func(a, b journal.GroupClassicMember) int { return cmp.Compare(a.Member, b.Member) })
	if len(l.seats) > 0 {
		e.ProtocolType, e.Protocol, e.Leader = l.protocolType, elect(e.Members), l.leader(g)
	}
	l.gathering, l.opening, l.protocolType, l.untilMS = false, false, "", 0
	c.stats.Generations++
	c.enact(&e)
	c.announce(l)
}

// announce tells the members of a new generation of it, and waits for the leader's sync.
func (c *Core) announce(l *lobby) {
	g := c.groupOf(l.group)
	seats := l.seats
	l.seats = nil
	clear(l.byID)
	for _, s := range seats {
		c.unparked(s.head)
		m := g.member(s.id)
		c.watch(m)
		c.answerJoined(s.head, g, m)
	}
	if g == nil {
		return
	}
	if g.kind == admin.GroupClassic {
		c.lasts(l, c.turn.timeMS+c.patienceMS(g, l))
	}
	c.watchEmpty(g)
}

// leader is who shares the partitions out: who did so before, if it has joined; else the first to
// come. REQUIRES: somebody has joined.
func (l *lobby) leader(g *group) string {
	if g != nil && l.byID[g.leader] != nil {
		return g.leader
	}
	return l.seats[0].id
}

// elect chooses the protocol: of those that all members know each votes for the one that it likes
// best; of equally many votes the first by name counts.
func elect(members []journal.GroupClassicMember) string {
	votes := make(map[string]int)
	best := ""
	for i := range members {
		for _, p := range members[i].Protocols {
			if !slices.ContainsFunc(members, func(m journal.GroupClassicMember) bool { return !knows(&m, p.Name) }) {
				votes[p.Name]++
				if v := votes[p.Name] - votes[best]; best == "" || v > 0 || v == 0 && p.Name < best {
					best = p.Name
				}
				break
			}
		}
	}
	return best
}

// assignmentOverdue: the leader has not brought the assignment. Whoever is still there joins again.
func (c *Core) assignmentOverdue(l *lobby) {
	l.untilMS = 0
	if g := c.groupOf(l.group); g != nil && g.kind == admin.GroupClassic && !g.synced {
		c.prepare(l.group)
	}
	c.gather(l.group)
}

// resumeClassic takes a group up again at the start of a term: the rebalance that is due because a
// member has gone, or the sync that the leader owes.
func (c *Core) resumeClassic(g *group) {
	g.resumed = g.kind == admin.GroupClassic
	switch {
	case !g.resumed:
	case g.stale:
		c.prepare(g.name)
	case !g.synced:
		l := c.lobbyFor(g.name)
		c.lasts(l, c.turn.timeMS+c.patienceMS(g, l))
	}
}
