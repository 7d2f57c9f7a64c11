package core

import (
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/trimq/trimq/logicsrv/core/assign"
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/hash"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
	"github.com/trimq/trimq/protocol/wire"
)

// A modern group's one request. By its epoch a heartbeat joins (0), leaves (-1, -2) or stays.
//
// Epochs fence. A member that comes with another epoch than it was told has missed something, and
// gives all up and joins again; but for the one before, if what it has is in what it was told since:
// then the answer was lost, and is repeated.
//
// Most heartbeats change nothing and leave no event. Such a one, read again after a restart, may
// meet a state that has moved on, in which an old list of owned partitions could mean something
// else; so what lies below the position that the log has reached (Input.Passed) is answered from
// the state and changes nothing.

// maxMemberID bounds member, instance and client ids and the names of hosts, in bytes.
const maxMemberID = 255

// decideGroupHeartbeat takes the heartbeat of a member in, of a modern or of a share group.
func (c *Core) decideGroupHeartbeat(kind admin.GroupType) {
	m, err := ipc.DecodeGroupHeartbeat(c.in.Payload)
	if err != nil {
		c.malformed()
		return
	}
	no := c.checkHeartbeat(&m)
	if no == nil && kind == admin.GroupShare {
		no = checkSharer(&m)
	}
	if no != nil {
		c.deny(m.Head, no)
		return
	}
	slices.Sort(m.Owned)
	switch m.Epoch {
	case ipc.EpochJoin:
		c.joinGroup(kind, &m)
	case ipc.EpochLeave, ipc.EpochAway:
		c.leaveGroup(kind, &m)
	default:
		c.stayInGroup(kind, &m)
	}
}

// checkHeartbeat checks what can be seen without knowing the group, and puts the topics in order.
func (c *Core) checkHeartbeat(m *ipc.GroupHeartbeat) refused {
	if len(c.in.Payload) > c.cfg.MaxEntryBytes/8 {
		return errcode.New(errcode.LimitExceeded, "a heartbeat of %d bytes; at most %d are allowed", len(c.in.Payload), c.cfg.MaxEntryBytes/8)
	}
	if no := checked(checkName("group", m.Group)); no != nil {
		return no
	}
	if no := checkMemberTexts(m.Member, m.Instance, m.ClientID, m.ClientHost); no != nil {
		return no
	}
	switch {
	case m.Epoch < ipc.EpochAway:
		return errcode.New(errcode.InvalidArgument, "member epoch %d; epochs count from 1, 0 joins, -1 and -2 leave", m.Epoch)
	case m.SessionMS < 0 || m.RebalanceMS < 0:
		return errcode.New(errcode.InvalidArgument, "session time-out of %d ms, rebalance time-out of %d ms; 0 means the broker's own", m.SessionMS, m.RebalanceMS)
	case m.Assignor != "" && assign.Named(m.Assignor) == nil:
		return errcode.New(errcode.UnsupportedAssignor, "assignor %s; there are %s, %s, %s and %s", quoted(m.Assignor), assign.Range, assign.RoundRobin, assign.Sticky, assign.Hash)
	}
	for _, t := range m.Topics {
		if no := checked(checkTopicName(t)); no != nil {
			return no
		}
	}
	slices.Sort(m.Topics)
	m.Topics = slices.Compact(m.Topics)
	return nil
}

// checkMemberTexts bounds what names a member.
func checkMemberTexts(texts ...string) refused {
	for _, s := range texts {
		if len(s) > maxMemberID || !utf8.ValidString(s) {
			return errcode.New(errcode.InvalidArgument, "the ids of members, instances and clients are UTF-8 of at most %d bytes, not %s", maxMemberID, quoted(s))
		}
	}
	return nil
}

// joinGroup makes a member, or lets one begin again that has nothing any more.
func (c *Core) joinGroup(kind admin.GroupType, m *ipc.GroupHeartbeat) {
	g := c.groupOf(m.Group)
	known, old, no := c.joiner(g, m)
	if no == nil {
		no = c.checkJoiner(kind, g, known, m)
	}
	if m.Member == "" {
		m.Member = c.memberID(m.ClientID, m.Head, c.ringNonce+c.ownTerm)
		if m.Req == 0 || g.member(m.Member) != nil {
			no = errcode.New(errcode.InvalidArgument, "a member that lets the broker choose its id waits for the answer")
		}
	}
	switch {
	case no != nil:
		c.deny(m.Head, no)
		return
	case c.in.Passed:
		// Who joins leaves an event, but for one who joins again and finds all as it was.
		if known == nil {
			c.refuse(m.Head, errcode.UnknownMember, "this join changed nothing; join again")
			return
		}
		c.tellAssignment(m.Head, known, true)
		return
	}
	e := journal.GroupMember{
		Pos: c.in.Pos, Group: m.Group, Member: m.Member, Instance: m.Instance, ClientID: m.ClientID, ClientHost: m.ClientHost,
		SessionMS: c.sessionOf(kind, m.Group, m.SessionMS), RebalanceMS: c.rebalance(m.RebalanceMS), Assignor: m.Assignor, Topics: m.Topics,
	}
	if old != nil {
		e.Replaces = old.id
	}
	if known == nil || !known.is(&e) {
		c.enactMember(kind, &e)
	}
	g = c.groupOf(m.Group)
	member := g.member(e.Member)
	c.watch(member)
	if g.stale {
		c.retarget(g, c.in.Pos)
	}
	c.reconcile(g, member, nil, true)
	c.tellAssignment(m.Head, member, true)
}

// joiner finds the member that a join is about: one that joins again, or one whose place the new
// one takes.
func (c *Core) joiner(g *group, m *ipc.GroupHeartbeat) (known, old *member, no refused) {
	known = g.member(m.Member)
	holder := g.holder(m.Instance)
	switch {
	case known != nil && known.instance != m.Instance:
		return nil, nil, errcode.New(errcode.InvalidArgument, "member %s has instance id %s, not %s", quoted(m.Member), quoted(known.instance), quoted(m.Instance))
	case holder == nil || holder == known:
		return known, nil, nil
	case holder.away() || m.TakeOver:
		return nil, holder, nil
	}
	return nil, nil, errcode.New(errcode.UnreleasedInstanceID, "instance id %s is that of member %s, which has not left", quoted(m.Instance), quoted(holder.id))
}

// checkJoiner checks a join against the group and its limits.
func (c *Core) checkJoiner(kind admin.GroupType, g *group, known *member, m *ipc.GroupHeartbeat) refused {
	switch {
	case !m.HasTopics:
		return errcode.New(errcode.InvalidArgument, "a member that joins says what it subscribes to")
	case len(m.Owned) > 0:
		return errcode.New(errcode.InvalidArgument, "a member that joins owns nothing, not %d partitions", len(m.Owned))
	case !g.admits(kind) || c.gathers(m.Group):
		return errcode.New(errcode.InconsistentProtocol, "group %s is %s", quoted(m.Group), c.kindOf(g))
	case g == nil && c.groups.len() >= c.cfg.MaxGroups:
		return errcode.New(errcode.LimitExceeded, "at most %d groups", c.cfg.MaxGroups)
	case known == nil && g != nil && len(g.members) >= c.cfg.MaxGroupMembers:
		return errcode.New(errcode.LimitExceeded, "at most %d members of a group", c.cfg.MaxGroupMembers)
	}
	return c.checkSubscription(g, known, m.Topics)
}

// checkSubscription checks that what the group would subscribe to can be shared out.
func (c *Core) checkSubscription(g *group, m *member, topics []string) refused {
	if n := c.subscribed(g, m, topics); n > c.cfg.MaxGroupPartitions {
		return errcode.New(errcode.LimitExceeded, "the topics have %d partitions; a group shares out at most %d", n, c.cfg.MaxGroupPartitions)
	}
	return nil
}

// is tells whether a member has told the same of itself before.
func (m *member) is(e *journal.GroupMember) bool {
	return m.clientID == e.ClientID && m.clientHost == e.ClientHost && m.sessionMS == e.SessionMS &&
		m.rebalanceMS == e.RebalanceMS && m.assignor == e.Assignor && slices.Equal(m.topics, e.Topics)
}

// session is the session time-out of a member that asks for ms; 0: for the broker's.
func (c *Core) session(ms int32) int32 {
	if ms == 0 {
		return c.cfg.GroupSessionMS
	}
	return min(max(ms, c.cfg.GroupSessionMinMS), c.cfg.GroupSessionMaxMS)
}

// rebalance is likewise the rebalance time-out.
func (c *Core) rebalance(ms int32) int32 {
	if ms == 0 {
		return c.cfg.GroupRebalanceMS
	}
	return ms
}

// stayInGroup is the heartbeat of a member.
func (c *Core) stayInGroup(kind admin.GroupType, m *ipc.GroupHeartbeat) {
	g := c.groupOf(m.Group)
	member, no := c.staying(kind, g, m)
	if no != nil {
		c.refuse(m.Head, no.Code, no.Text)
		return
	}
	c.heard(member)
	late := m.Epoch != member.epoch
	if late || c.in.Passed && !failpoint.Broken("heartbeat-redone") {
		c.tellAssignment(m.Head, member, late || m.HasOwned)
		return
	}
	if e := c.amended(g, member, m); e != nil {
		if no := c.checkSubscription(g, member, e.Topics); no != nil {
			c.deny(m.Head, no)
			return
		}
		c.enactMember(kind, e)
		c.watch(member)
		if g.stale {
			c.retarget(g, c.in.Pos)
		}
	}
	moved := c.reconcile(g, member, m.Owned, m.HasOwned)
	full := m.HasTopics && m.HasOwned
	c.tellAssignment(m.Head, member, moved || full)
}

// staying finds the member that a heartbeat is of, and compares epochs.
func (c *Core) staying(kind admin.GroupType, g *group, m *ipc.GroupHeartbeat) (*member, refused) {
	member, no := c.memberOf(g, kind, m.Group, m.Member, m.Instance)
	if no != nil {
		return nil, no
	}
	lost := m.Epoch == member.before && (kind == admin.GroupShare || m.HasOwned && len(less(m.Owned, member.assigned)) == 0)
	if m.Epoch != member.epoch && !lost {
		return nil, errcode.New(errcode.FencedMemberEpoch, "member %s is at epoch %d, not %d: give up all partitions and join again", quoted(m.Member), member.epoch, m.Epoch)
	}
	return member, nil
}

// memberOf finds the member of a group that a request names, or says why there is none.
func (c *Core) memberOf(g *group, kind admin.GroupType, group, id, instance string) (*member, refused) {
	holder := g.holder(instance)
	switch {
	case g != nil && g.kind != kind && g.kind != admin.GroupSimple:
		return nil, errcode.New(errcode.InconsistentProtocol, "group %s is of the other kind as long as it has members", quoted(group))
	case instance != "" && holder != nil && holder.id != id:
		return nil, errcode.New(errcode.FencedInstanceID, "instance id %s has been taken over by another member", quoted(instance))
	}
	if m := g.member(id); m != nil && (instance == "" || m.instance == instance) {
		return m, nil
	}
	return nil, errcode.New(errcode.UnknownMember, "%s is no member of group %s", quoted(id), quoted(group))
}

// amended is the event of a member that wants something else than before; nil where it does not.
func (c *Core) amended(g *group, m *member, h *ipc.GroupHeartbeat) *journal.GroupMember {
	e := &journal.GroupMember{
		Pos: c.in.Pos, Group: g.name, Member: m.id, Instance: m.instance, ClientID: m.clientID, ClientHost: m.clientHost,
		SessionMS: m.sessionMS, RebalanceMS: m.rebalanceMS, Assignor: m.assignor, Topics: m.topics,
	}
	if h.HasTopics {
		e.Topics = h.Topics
	}
	if h.SessionMS != 0 {
		e.SessionMS = c.session(h.SessionMS)
	}
	if h.RebalanceMS != 0 {
		e.RebalanceMS = h.RebalanceMS
	}
	if h.Assignor != "" {
		e.Assignor = h.Assignor
	}
	if h.ClientID != "" || h.ClientHost != "" {
		e.ClientID, e.ClientHost = h.ClientID, h.ClientHost
	}
	if m.is(e) {
		return nil
	}
	return e
}

// leaveGroup ends a member, or lets a static one go for a while.
func (c *Core) leaveGroup(kind admin.GroupType, m *ipc.GroupHeartbeat) {
	g := c.groupOf(m.Group)
	member, no := c.memberOf(g, kind, m.Group, m.Member, m.Instance)
	if no == nil && m.Epoch == ipc.EpochAway && member.instance == "" {
		no = errcode.New(errcode.InvalidArgument, "member %s is not static: it cannot leave for a while", quoted(m.Member))
	}
	if no != nil {
		c.deny(m.Head, no)
		return
	}
	switch {
	case c.in.Passed:
	case m.Epoch == ipc.EpochAway:
		c.enact(&journal.GroupAway{Pos: c.in.Pos, Group: g.name, Member: member.id})
		c.watch(member)
	default:
		c.enact(&journal.GroupMemberGone{Pos: c.in.Pos, Group: g.name, Member: member.id, Instance: member.instance, Why: journal.GoneLeft})
		c.bereaved(g, c.in.Pos)
	}
	c.answerAssignment(&ipc.GroupAssignment{Head: m.Head, Member: m.Member, Epoch: m.Epoch}, c.readGate())
}

// deny refuses an input that could have changed a group. What the log has passed has changed
// nothing, and leaves no event now.
func (c *Core) deny(h ipc.Head, no refused) {
	if c.in.Passed {
		c.refuse(h, no.Code, no.Text)
		return
	}
	c.reject(h, no.Code, no.Text)
}

// memberID makes an id for a member without one, of numbers that never come together again: the
// request's and, as of, the ring's nonce, alone or with the term. Nobody can foresee it.
func (c *Core) memberID(clientID string, h ipc.Head, of uint64) string {
	const most = maxMemberID - 33
	if clientID == "" || len(clientID) > most {
		clientID = "member"
	}
	seed := wire.AppendU64(wire.AppendU64(wire.AppendU32(nil, c.cfg.Shard), of), h.Epoch)
	seed = wire.AppendU64(wire.AppendU64(seed, h.Conn), h.Req)
	return fmt.Sprintf("%s-%016x%016x", clientID, hash.Murmur3(seed), hash.Murmur3(append(seed, 1)))
}
