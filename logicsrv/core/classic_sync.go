package core

import (
	"slices"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// What members of a classic group say within a generation: they ask for their assignment, which
// the leader brings, give signs of life, and leave.

// decideGroupSync answers with the member's assignment, now or once the leader's sync has come.
func (c *Core) decideGroupSync() {
	m, err := ipc.DecodeGroupSync(c.in.Payload)
	if err != nil {
		c.malformed()
		return
	}
	if !c.current(m.Epoch) || m.Req == 0 || c.untold(m.Head) {
		return
	}
	if no := c.sync(&m); no != nil {
		c.refuse(m.Head, no.Code, no.Text)
	}
}

// sync decides a sync.
func (c *Core) sync(m *ipc.GroupSync) refused {
	if len(c.in.Payload) > c.cfg.MaxEntryBytes/4 {
		return errcode.New(errcode.LimitExceeded, "assignments of %d bytes; at most %d are allowed", len(c.in.Payload), c.cfg.MaxEntryBytes/4)
	}
	g := c.groupOf(m.Group)
	member, no := c.classicMember(g, m.Group, m.Member, m.Instance, m.Generation)
	if no != nil {
		return no
	}
	if m.ProtocolType != "" && m.ProtocolType != g.protocolType || m.Protocol != "" && m.Protocol != g.protocol {
		return errcode.New(errcode.InconsistentProtocol, "the group has protocol %q of type %q", g.protocol, g.protocolType)
	}
	l := c.lobbyFor(m.Group)
	switch {
	case l.gathering:
		return errcode.New(errcode.RebalanceInProgress, "another generation gathers; join again")
	case g.synced:
		c.answerSynced(m.Head, g, member)
	case g.leader != member.id:
		c.waitForSync(l, member.id, m.Head)
	default:
		c.share(g, l, m)
	}
	c.leaveLobby(l)
	return nil
}

// classicMember finds the member of a classic group that a request names, of the present
// generation, and notes that it is alive.
func (c *Core) classicMember(g *group, group, id, instance string, generation int32) (*member, refused) {
	m, no := c.memberOf(g, admin.GroupClassic, group, id, instance)
	if no != nil {
		return nil, no
	}
	if generation != g.epoch {
		return nil, errcode.New(errcode.IllegalGeneration, "generation %d of a group that is at %d", generation, g.epoch)
	}
	c.heard(m)
	return m, nil
}

// share takes the leader's assignments, and answers all who have waited for them.
func (c *Core) share(g *group, l *lobby, m *ipc.GroupSync) {
	e := journal.GroupSynced{Pos: c.in.Pos, Group: g.name, Assignments: make([][]byte, len(g.members))}
	for _, a := range m.Assignments {
		if i, ok := g.place(a.Member); ok {
			e.Assignments[i] = a.Assignment
		}
	}
	c.enact(&e)
	l.untilMS = 0
	c.answerSynced(m.Head, g, g.member(m.Member))
	c.endSyncs(l, func(w *waiter) {
		if o := g.member(w.id); o != nil {
			c.heard(o) // it was we who kept it waiting
			c.answerSynced(w.head, g, o)
		} else {
			c.refuse(w.head, errcode.UnknownMember, quoted(w.id)+" is no member any longer")
		}
	})
}

// answerSynced tells a member its assignment.
func (c *Core) answerSynced(h ipc.Head, g *group, m *member) {
	reply := ipc.GroupSynced{Head: h, ProtocolType: g.protocolType, Protocol: g.protocol, Assignment: m.assignment}
	c.turn.sent(c.readGate(), ipc.TypeGroupSynced, reply.Append(c.turn.recs))
}

// answerSyncAgain repeats the answer to the leader's sync, which brought the assignments itself.
func (c *Core) answerSyncAgain(m *ipc.GroupSync) {
	reply := ipc.GroupSynced{Head: m.Head, ProtocolType: m.ProtocolType, Protocol: m.Protocol}
	if g := c.groupOf(m.Group); g != nil && g.epoch == m.Generation {
		reply.ProtocolType, reply.Protocol = g.protocolType, g.protocol
	}
	i := slices.IndexFunc(m.Assignments, func(s ipc.GroupShare) bool { return s.Member == m.Member })
	if i >= 0 {
		reply.Assignment = m.Assignments[i].Assignment
	}
	c.turn.sent(c.pastGate(ipc.LevelDisk), ipc.TypeGroupSynced, reply.Append(c.turn.recs))
}

// decideGroupBeat answers a member's heartbeat: all is well, or it has to join again.
func (c *Core) decideGroupBeat() {
	m, err := ipc.DecodeGroupBeat(c.in.Payload)
	if err != nil {
		c.malformed()
		return
	}
	g := c.groupOf(m.Group)
	_, no := c.classicMember(g, m.Group, m.Member, m.Instance, m.Generation)
	if l := c.lobbyOf(m.Group); no == nil && l != nil && l.gathering {
		no = errcode.New(errcode.RebalanceInProgress, "another generation gathers; join again")
	}
	switch {
	case no != nil:
		c.refuse(m.Head, no.Code, no.Text)
	case m.Req != 0:
		reply := ipc.Done{Head: m.Head}
		c.turn.sent(c.readGate(), ipc.TypeGroupAlive, reply.Append(c.turn.recs))
	}
}

// decideGroupLeave ends members, of a group of either kind.
func (c *Core) decideGroupLeave() {
	m, err := ipc.DecodeGroupLeave(c.in.Payload)
	if err != nil {
		c.malformed()
		return
	}
	most := max(1, c.cfg.MaxEntryBytes/8/leaveBytes)
	if len(m.Members) > most {
		c.deny(m.Head, errcode.New(errcode.InvalidArgument, "%d members leave at once; at most %d can", len(m.Members), most))
		return
	}
	g, l := c.groupOf(m.Group), c.lobbyOf(m.Group)
	left := make([]bool, len(m.Members))
	gone := false
	for i := range m.Members {
		left[i] = c.leaves(g, l, &m.Members[i], &gone)
	}
	at := 0
	c.answerLeft(m.Head, m.Members, func(*ipc.GroupLeaver) bool { at++; return left[at-1] })
	if gone {
		c.bereaved(g, c.in.Pos)
	} else {
		c.gather(m.Group)
	}
}

// leaveBytes is what the event of one member that leaves takes at most.
const leaveBytes = 1024

// leaves lets one member go: out of the lobby, out of the group. gone notes the latter.
func (c *Core) leaves(g *group, l *lobby, who *ipc.GroupLeaver, gone *bool) bool {
	id := who.Member
	if id == "" {
		if h := g.holder(who.Instance); h != nil {
			id = h.id
		} else if s := l.seatOf(who.Instance); s != nil {
			id = s.id
		}
	}
	left := l.keepPromise(id)
	if s := l.seat(id); s != nil && (who.Instance == "" || s.about.Instance == who.Instance) {
		c.refuse(s.head, errcode.UnknownMember, "the member has left")
		c.vacate(l, s)
		left = true
	}
	m := g.member(id)
	if m == nil || who.Instance != "" && m.instance != who.Instance {
		return left
	}
	if c.in.Passed {
		return left
	}
	c.enact(&journal.GroupMemberGone{Pos: c.in.Pos, Group: g.name, Member: id, Instance: m.instance, Why: journal.GoneLeft})
	*gone = true
	return true
}

// answerLeft tells for each of those that were to leave whether they have.
func (c *Core) answerLeft(h ipc.Head, members []ipc.GroupLeaver, left func(*ipc.GroupLeaver) bool) {
	if h.Req == 0 {
		return
	}
	reply := ipc.GroupLeft{Head: h, Codes: make([]uint16, len(members))}
	for i := range members {
		if !left(&members[i]) {
			reply.Codes[i] = uint16(errcode.UnknownMember)
		}
	}
	g := c.readGate()
	if c.in.Known != nil {
		g = c.pastGate(ipc.LevelDisk)
	}
	c.turn.sent(g, ipc.TypeGroupLeft, reply.Append(c.turn.recs))
}
