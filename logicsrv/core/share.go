package core

import (
	"strconv"
	"strings"

	"github.com/trimq/trimq/logicsrv/core/assign"
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// Share groups (Kafka's KIP-932). Members are those of a modern group but for two things: a partition
// may be several members' at a time, and a member has what it shall have as soon as it hears of it,
// for nobody need give anything up. What the group has got done is no matter of positions: for each
// topic there is a queue over it, called
//
//	share/GROUP/TOPIC
//
// from which members pull under leases. Whoever makes that queue (connsrv does, for the first member
// that fetches) begins the group's work on the topic; whoever deletes it forgets it. A group exists
// as long as it has members or such a queue, and is a share group so long.

// sharePrefix begins the names of queues that are share groups'.
const sharePrefix = "share/"

// shareOf takes the name of a share group's queue apart. The name of a topic holds no slash.
func shareOf(queue string) (group, topic string, ok bool) {
	rest, ok := strings.CutPrefix(queue, sharePrefix)
	at := strings.LastIndexByte(rest, '/')
	if !ok || at <= 0 {
		return "", "", false
	}
	return rest[:at], rest[at+1:], true
}

// checkShareQueue refuses a queue that is called like a share group's and cannot be one.
func (c *Core) checkShareQueue(m *admin.CreateQueue) refused {
	if !strings.HasPrefix(m.Name, sharePrefix) {
		return nil
	}
	group, topic, ok := shareOf(m.Name)
	switch {
	case !ok || m.Topic == "" || topic != m.Topic:
		return errcode.New(errcode.AccessRefused, "names that begin with %s are those of share groups: %sGROUP/TOPIC, over that topic", sharePrefix, sharePrefix)
	case m.Exclusive || m.AutoDelete || m.SingleActive || !m.Durable || m.ExpiresMS.Given || m.FilterKind != admin.FilterNone:
		return errcode.New(errcode.InvalidArgument, "the queue of a share group is durable, has no filter, is neither exclusive nor of one active consumer, and does not go by itself")
	}
	if no := checked(checkName("group", group)); no != nil {
		return no
	}
	g := c.groupOf(group)
	if !g.admits(admin.GroupShare) || c.gathers(group) {
		return errcode.New(errcode.InconsistentProtocol, "group %s is %s", quoted(group), c.kindOf(g))
	}
	if g == nil && c.groups.len() >= c.cfg.MaxGroups {
		return errcode.New(errcode.LimitExceeded, "at most %d groups", c.cfg.MaxGroups)
	}
	return nil
}

// admits tells whether a group, which need not exist, can have members of a kind: it is of one kind
// as long as it has some, and positions make no share group.
func (g *group) admits(kind admin.GroupType) bool {
	return g == nil || g.kind == kind || g.kind == admin.GroupSimple && kind != admin.GroupShare
}

// kindOf words what kind a group is of, for who is of another one.
func (c *Core) kindOf(g *group) string {
	switch {
	case g == nil || g.kind == admin.GroupClassic:
		return "a classic one as long as it has members"
	case g.kind == admin.GroupModern:
		return "a modern one as long as it has members"
	case g.kind == admin.GroupShare:
		return "a share group as long as it has members, or has got something done"
	}
	return "one that has positions: no share group can be called so"
}

// brokered tells whether the broker assigns partitions to the group's members.
func (g *group) brokered() bool { return g.kind == admin.GroupModern || g.kind == admin.GroupShare }

// shareBegun notes that a share group works on one topic more. It is part of apply.
func (c *Core) shareBegun(q *queue) error {
	name, _, ok := shareOf(q.name)
	if !ok {
		return nil
	}
	g := c.makeGroup(name)
	if !g.admits(admin.GroupShare) && (len(g.members) > 0 || len(g.offsets) > 0) {
		return misfit("queue %q of a group of another kind", q.name)
	}
	g.kind = admin.GroupShare
	return nil
}

// shareEnded notes that it works on one less. It is part of apply.
func (c *Core) shareEnded(q *queue, timeMS int64) {
	name, _, ok := shareOf(q.name)
	if !ok {
		return
	}
	if c.shares[name]--; c.shares[name] == 0 {
		delete(c.shares, name)
	}
	if g := c.groupOf(name); g != nil {
		c.groupEmptied(g, timeMS)
	}
}

// shareQueues lists the queues of a share group, in order of name.
func (c *Core) shareQueues(group string) (list []*queue) {
	prefix := sharePrefix + group + "/"
	for name, q := range c.queues.all {
		if strings.HasPrefix(name, prefix) && name == prefix+q.set.Topic {
			list = append(list, q)
		}
	}
	return list
}

// maxShareQueues bounds the topics of a share group that one command ends.
const maxShareQueues = 1000

// deleteShares decides that a share group's queues go. REQUIRES: it has no members.
func (c *Core) deleteShares(g *group) refused {
	if n := c.shares[g.name]; n > maxShareQueues {
		return errcode.New(errcode.LimitExceeded, "share group %s works on %d topics; delete its queues first, but for %d", quoted(g.name), n, maxShareQueues)
	}
	list := c.shareQueues(g.name)
	c.enact(&journal.GroupDeleted{Pos: c.in.Pos, Group: g.name})
	for _, q := range list {
		c.endQueue(q, journal.NoInput)
	}
	return nil
}

// assignorOf is how the group's partitions are shared out.
func (g *group) assignorOf() assign.Assignor {
	if g.kind == admin.GroupShare {
		return assign.Shared
	}
	return assign.Named(g.assignor())
}

// giveShare gives a member of a share group what it shall have, and tells whether that is news.
func (c *Core) giveShare(g *group, m *member) (moved bool) {
	if m.settled() {
		return false
	}
	c.enact(&journal.GroupAssigned{Pos: c.in.Pos, Group: g.name, Member: m.id, Epoch: g.epoch, Assigned: m.target})
	return true
}

// applyShared is applyGroupAssigned for a share group.
func (c *Core) applyShared(g *group, e *journal.GroupAssigned) error {
	m := g.member(e.Member)
	if m == nil || e.Epoch < 0 || e.Epoch > g.epoch || len(e.Revoking) > 0 {
		return misfit("member %q of share group %q at epoch %d of %d", e.Member, e.Group, e.Epoch, g.epoch)
	}
	for _, id := range e.Assigned {
		if ix, ok := c.indexes.get(id); !ok || ix.topic == nil {
			return misfit("index %d for %q of share group %q", id, e.Member, e.Group)
		}
	}
	m.assigned = e.Assigned
	if m.epoch != e.Epoch {
		m.before, m.epoch = m.epoch, e.Epoch
	}
	return nil
}

// enactMember decides what somebody is as a member of a group.
func (c *Core) enactMember(kind admin.GroupType, e *journal.GroupMember) {
	if kind == admin.GroupShare {
		c.enact((*journal.ShareMember)(e))
		return
	}
	c.enact(e)
}

// checkSharer refuses what no member of a share group says of itself.
func checkSharer(m *ipc.GroupHeartbeat) refused {
	switch {
	case m.Instance != "" || m.TakeOver || m.Epoch == ipc.EpochAway:
		return errcode.New(errcode.InvalidArgument, "members of share groups are not static")
	case m.Member == "":
		return errcode.New(errcode.InvalidArgument, "a member of a share group chooses its own id")
	case m.Assignor != "" || m.HasOwned:
		return errcode.New(errcode.InvalidArgument, "a member of a share group prefers no assignor and owns nothing")
	}
	return nil
}

// heartbeatOf is the time between the heartbeats of a group's members, in ms.
func (c *Core) heartbeatOf(kind admin.GroupType, group string) int32 {
	if kind == admin.GroupShare {
		return c.groupNumber(group, admin.SettingHeartbeatMS, c.cfg.GroupHeartbeatMS)
	}
	return c.cfg.GroupHeartbeatMS
}

// sessionOf is the session time-out of a member of a kind of group that asks for ms; 0: for the
// broker's, or that which the group was given.
func (c *Core) sessionOf(kind admin.GroupType, group string, ms int32) int32 {
	if kind == admin.GroupShare && ms == 0 {
		return c.groupNumber(group, admin.SettingSessionMS, c.session(0))
	}
	return c.session(ms)
}

// groupNumber is a setting of a group as a number, or what it is otherwise.
func (c *Core) groupNumber(group, name string, otherwise int32) int32 {
	settings, _ := c.groupSettings.get(group)
	if at, ok := settingAt(settings, name); ok {
		if n, err := strconv.ParseInt(settings[at].Value, 10, 32); err == nil && n > 0 {
			return int32(n)
		}
	}
	return otherwise
}
