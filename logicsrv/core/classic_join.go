package core

import (
	"bytes"
	"slices"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// A join to a classic group. It is parked until the generation is complete, unless nothing has
// changed for the member: then it is told the present one again.
//
// A member without an id gets one that is made of its request, which is the same when connsrv tells
// the request again. So if the generation was completed by a logicsrv that died before it could
// say so, the member finds itself in it.

// decideGroupJoin takes a join in. It leaves no event: what it leads to does, once it is complete.
func (c *Core) decideGroupJoin() {
	m, err := ipc.DecodeGroupJoin(c.in.Payload)
	if err != nil {
		c.malformed()
		return
	}
	if !c.current(m.Epoch) || m.Req == 0 || c.untold(m.Head) {
		return
	}
	if no := c.joinClassic(&m); no != nil {
		c.refuse(m.Head, no.Code, no.Text)
	}
	if l := c.lobbyOf(m.Group); l != nil {
		c.leaveLobby(l)
	}
}

// joinClassic finds out who joins, and what that means for the group.
func (c *Core) joinClassic(m *ipc.GroupJoin) refused {
	if no := c.checkJoin(m); no != nil {
		return no
	}
	g, l := c.groupOf(m.Group), c.lobbyOf(m.Group)
	id, old, no := c.identify(g, l, m)
	if no != nil {
		return no
	}
	known := g.member(id) != nil || l.seat(id) != nil || old != ""
	if !known {
		if no := c.checkNewcomer(g, l, m, id); no != nil {
			return no
		}
		if m.RequireID && m.Member == "" && m.Instance == "" {
			c.promise(m, id)
			return nil
		}
	}
	about := journal.GroupClassicMember{
		Member: id, Instance: m.Instance, ClientID: m.ClientID, ClientHost: m.ClientHost,
		SessionMS: m.SessionMS, RebalanceMS: max(m.RebalanceMS, m.SessionMS), Protocols: m.Protocols,
	}
	if m.RebalanceMS > 0 {
		about.RebalanceMS = m.RebalanceMS
	}
	if no := c.checkCompany(g, l, m.ProtocolType, &about, old); no != nil {
		return no
	}
	if old != "" {
		c.replace(g, l, old, &about)
	}
	l.keepPromise(id)
	if member := g.member(id); member != nil {
		c.heard(member)
		if (l == nil || !l.gathering) && c.joinedAlready(g, member, &about, old != "") {
			c.answerJoined(m.Head, g, member)
			return nil
		}
	}
	c.sit(m, about)
	return nil
}

// checkJoin checks what can be seen without knowing the group.
func (c *Core) checkJoin(m *ipc.GroupJoin) refused {
	if len(c.in.Payload) > c.cfg.MaxEntryBytes/8 {
		return errcode.New(errcode.LimitExceeded, "a join of %d bytes; at most %d are allowed", len(c.in.Payload), c.cfg.MaxEntryBytes/8)
	}
	if no := checked(checkName("group", m.Group)); no != nil {
		return no
	}
	if no := checkMemberTexts(m.Member, m.Instance, m.ClientID, m.ClientHost, m.ProtocolType); no != nil {
		return no
	}
	switch {
	case m.SessionMS < c.cfg.GroupSessionMinMS || m.SessionMS > c.cfg.GroupSessionMaxMS:
		return errcode.New(errcode.InvalidSessionTimeout, "a session time-out of %d ms; %d to %d are allowed", m.SessionMS, c.cfg.GroupSessionMinMS, c.cfg.GroupSessionMaxMS)
	case m.RebalanceMS < 0:
		return errcode.New(errcode.InvalidArgument, "a rebalance time-out of %d ms; 0 means the session time-out", m.RebalanceMS)
	case m.ProtocolType == "" || len(m.Protocols) == 0:
		return errcode.New(errcode.InconsistentProtocol, "a member names the type of its protocols, and one at least")
	}
	for i := range m.Protocols {
		if no := checkMemberTexts(m.Protocols[i].Name); no != nil {
			return no
		}
	}
	return nil
}

// identify finds the id under which somebody joins, and the id of the static member whose place
// it takes, if it does.
func (c *Core) identify(g *group, l *lobby, m *ipc.GroupJoin) (id, old string, no refused) {
	holder := ""
	if h := g.holder(m.Instance); h != nil {
		holder = h.id
	} else if s := l.seatOf(m.Instance); s != nil {
		holder = s.id
	}
	id = m.Member
	if id == "" {
		id = c.memberID(m.ClientID, m.Head, c.ringNonce)
		if holder != id {
			old = holder
		}
		return id, old, nil
	}
	switch {
	case m.Instance != "" && holder != "" && holder != id:
		return "", "", errcode.New(errcode.FencedInstanceID, "instance id %s has been taken over by another member", quoted(m.Instance))
	case g.member(id) == nil && l.seat(id) == nil && !l.has(id), m.Instance != "" && holder == "":
		return "", "", errcode.New(errcode.UnknownMember, "%s is no member of group %q", quoted(id), m.Group)
	}
	return id, "", nil
}

// checkNewcomer checks what only somebody new can run into.
func (c *Core) checkNewcomer(g *group, l *lobby, m *ipc.GroupJoin, id string) refused {
	n := 0
	if g != nil {
		n = len(g.members)
	} else if c.groups.len()+c.lobbies.len() >= c.cfg.MaxGroups && l == nil {
		return errcode.New(errcode.LimitExceeded, "at most %d groups", c.cfg.MaxGroups)
	}
	if l != nil {
		n += len(l.promised)
		for _, s := range l.seats {
			if g.member(s.id) == nil {
				n++
			}
		}
		if l.has(id) {
			n--
		}
	}
	if n >= c.cfg.MaxGroupMembers {
		return errcode.New(errcode.LimitExceeded, "at most %d members of a group", c.cfg.MaxGroupMembers)
	}
	return nil
}

// company calls f for what everybody else in the group has told of itself: who has joined the next
// generation, and who is a member still and has not.
func (c *Core) company(g *group, l *lobby, but func(id string) bool, f func(*journal.GroupClassicMember)) {
	if l != nil {
		for _, s := range l.seats {
			if !but(s.id) {
				f(&s.about)
			}
		}
	}
	if g == nil {
		return
	}
	for _, m := range g.members {
		if l.seat(m.id) == nil && !but(m.id) {
			about := m.introduction()
			f(&about)
		}
	}
}

// checkCompany checks that somebody fits to the others: the same type of protocols, one of them
// that all know, and an entry that can hold what all have to say.
func (c *Core) checkCompany(g *group, l *lobby, protocolType string, about *journal.GroupClassicMember, old string) refused {
	if !g.admits(admin.GroupClassic) {
		return errcode.New(errcode.InconsistentProtocol, "group %s is %s", quoted(g.name), c.kindOf(g))
	}
	but := func(id string) bool { return id == about.Member || id == old }
	common := make([]bool, len(about.Protocols))
	for i := range common {
		common[i] = true
	}
	size, others := sizeOf(about), 0
	c.company(g, l, but, func(o *journal.GroupClassicMember) {
		others++
		size += sizeOf(o)
		for i := range common {
			common[i] = common[i] && knows(o, about.Protocols[i].Name)
		}
	})
	if size > c.cfg.MaxEntryBytes/4 {
		return errcode.New(errcode.LimitExceeded, "what the members tell of themselves takes %d bytes; at most %d are allowed", size, c.cfg.MaxEntryBytes/4)
	}
	if others > 0 && (!slices.Contains(common, true) || protocolType != c.protocolType(g, l)) {
		return errcode.New(errcode.InconsistentProtocol, "the members of the group have type %q and other protocols", c.protocolType(g, l))
	}
	return nil
}

// protocolType is that of a group's members, or of those who gather.
func (c *Core) protocolType(g *group, l *lobby) string {
	if l != nil && l.protocolType != "" {
		return l.protocolType
	}
	if g != nil {
		return g.protocolType
	}
	return ""
}

// knows tells whether a member has a protocol.
func knows(m *journal.GroupClassicMember, protocol string) bool {
	return slices.ContainsFunc(m.Protocols, func(p ipc.GroupProtocol) bool { return p.Name == protocol })
}

// sizeOf is what a member takes in an event, at most.
func sizeOf(m *journal.GroupClassicMember) int {
	n := 24 + len(m.Member) + len(m.Instance) + len(m.ClientID) + len(m.ClientHost)
	for i := range m.Protocols {
		n += 8 + len(m.Protocols[i].Name) + len(m.Protocols[i].Metadata)
	}
	return n
}

// joinedAlready tells whether a member of the present generation has it told again: nothing has
// changed for it. A leader that joins again wants the partitions to be shared out anew; but one
// that has only come back under another id (replaced) finds that done.
func (c *Core) joinedAlready(g *group, m *member, about *journal.GroupClassicMember, replaced bool) bool {
	same := slices.EqualFunc(m.protocols, about.Protocols, func(a, b ipc.GroupProtocol) bool {
		return a.Name == b.Name && bytes.Equal(a.Metadata, b.Metadata)
	})
	if !same || g.stale {
		return false
	}
	if !g.synced {
		return !replaced // the leader may have been told the old id
	}
	return replaced || g.leader != m.id
}

// answerJoined tells a member the present generation.
func (c *Core) answerJoined(h ipc.Head, g *group, m *member) {
	reply := ipc.GroupJoined{
		Head: h, Member: m.id, Generation: g.epoch, ProtocolType: g.protocolType, Protocol: g.protocol, Leader: g.leader,
	}
	if g.leader == m.id {
		reply.SkipAssignment = g.synced
		for _, o := range g.members {
			reply.Members = append(reply.Members, ipc.GroupPeer{Member: o.id, Instance: o.instance, Metadata: o.metadata(g.protocol)})
		}
	}
	c.turn.sent(c.readGate(), ipc.TypeGroupJoined, reply.Append(c.turn.recs))
}

// metadata is what a member has to say about one protocol.
func (m *member) metadata(protocol string) []byte {
	for i := range m.protocols {
		if m.protocols[i].Name == protocol {
			return m.protocols[i].Metadata
		}
	}
	return nil
}

// promise gives an id out that the member has to join with.
func (c *Core) promise(m *ipc.GroupJoin, id string) {
	l := c.lobbyFor(m.Group)
	if !l.has(id) {
		p := &promise{id: id, lobby: l, untilMS: c.turn.timeMS + int64(m.SessionMS)}
		l.promised = append(l.promised, p)
		c.arm(p, p.untilMS)
	}
	reply := ipc.GroupJoined{Head: m.Head, Code: uint16(errcode.MemberIDRequired), Member: id}
	c.turn.sent(c.readGate(), ipc.TypeGroupJoined, reply.Append(c.turn.recs))
}

// has tells whether an id was promised.
func (l *lobby) has(id string) bool {
	return l != nil && slices.ContainsFunc(l.promised, func(p *promise) bool { return p.id == id })
}

// keepPromise ends a promise: the id is used, or given back.
func (l *lobby) keepPromise(id string) bool {
	if !l.has(id) {
		return false
	}
	l.promised = slices.DeleteFunc(l.promised, func(p *promise) bool { return p.id == id })
	return true
}

func (p *promise) clock() *timer { return &p.timer }

// due: the id was not used in time; the others need not wait for it.
func (p *promise) due(c *Core) {
	switch {
	case !slices.Contains(p.lobby.promised, p) || c.crowded(p):
	case c.turn.timeMS < p.untilMS:
		c.arm(p, p.untilMS)
	default:
		p.lobby.keepPromise(p.id)
		c.gather(p.lobby.group)
	}
}

// replace lets a static member go on under another id, in the group and in the lobby. What the old
// one waits for is refused.
func (c *Core) replace(g *group, l *lobby, old string, about *journal.GroupClassicMember) {
	if l != nil {
		fenced := func(w *waiter) {
			c.refuse(w.head, errcode.FencedInstanceID, "instance id "+quoted(about.Instance)+" has been taken over by another member")
		}
		if s := l.seat(old); s != nil {
			fenced(&s.waiter)
			c.vacate(l, s)
		}
		c.dropSyncs(l, func(w *waiter) bool {
			if w.id != old {
				return false
			}
			fenced(w)
			return true
		})
	}
	if m := g.member(old); m != nil {
		n := *about
		n.Protocols = m.protocols // what it has told now counts for the next generation
		c.enact(&journal.GroupReplaced{Pos: journal.NoInput, Group: g.name, Old: old, Member: n})
		c.watch(g.member(about.Member))
	}
}
