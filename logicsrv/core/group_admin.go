package core

import (
	"slices"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// Commands about groups. They are for groups without members: what those have is theirs.

// deleteGroup decides that a group goes, with its positions.
func (c *Core) deleteGroup(m *admin.Delete) (admin.Created, refused) {
	g := c.groupOf(m.Name)
	if g == nil {
		return admin.Created{}, errcode.New(errcode.NotFound, "there is no group %s", quoted(m.Name))
	}
	if no := c.withoutMembers(g, m.Name); no != nil {
		return admin.Created{}, no
	}
	if g.kind == admin.GroupShare {
		return admin.Created{}, c.deleteShares(g)
	}
	c.decided(&journal.GroupDeleted{Pos: c.in.Pos, Group: m.Name})
	return admin.Created{}, nil
}

// withoutMembers refuses a command about a group that has members.
func (c *Core) withoutMembers(g *group, name string) refused {
	if g != nil && len(g.members) > 0 {
		return errcode.New(errcode.InUse, "group %s has %d members; stop them first", quoted(name), len(g.members))
	}
	return nil
}

// resetOffsets decides where a group goes on, once it has members again.
func (c *Core) resetOffsets(m *admin.ResetOffsets) (admin.Created, refused) {
	if no := c.withoutMembers(c.groupOf(m.Group), m.Group); no != nil {
		return admin.Created{}, no
	}
	commit := ipc.CommitOffsets{Group: m.Group, Level: ipc.LevelDisk, Offsets: m.Offsets}
	if _, code, text := c.checkCommit(&commit); code != errcode.OK {
		return admin.Created{}, errcode.New(code, "%s", text)
	}
	c.enact(&journal.OffsetsCommitted{Pos: c.in.Pos, Group: m.Group, Offsets: m.Offsets})
	c.watchEmpty(c.groupOf(m.Group))
	return admin.Created{}, nil
}

// deleteOffsets decides that positions are forgotten. Those that are not there are no matter.
func (c *Core) deleteOffsets(m *admin.DeleteOffsets) (admin.Created, refused) {
	g := c.groupOf(m.Group)
	switch {
	case g == nil:
		return admin.Created{}, errcode.New(errcode.NotFound, "there is no group %s", quoted(m.Group))
	case len(m.Indexes) == 0 || len(m.Indexes) > maxCommits:
		return admin.Created{}, errcode.New(errcode.InvalidArgument, "%d indexes; 1 to %d can be named at once", len(m.Indexes), maxCommits)
	case g.kind == admin.GroupClassic:
		return admin.Created{}, c.withoutMembers(g, m.Group) // what its members subscribe to is not known here
	}
	slices.Sort(m.Indexes)
	ev := journal.OffsetsDeleted{Pos: c.in.Pos, Group: m.Group}
	for _, index := range slices.Compact(m.Indexes) {
		if _, ok := g.find(index); !ok {
			continue
		}
		if ix, ok := c.indexes.get(index); ok && g.topics[ix.topic.name] > 0 {
			return admin.Created{}, errcode.New(errcode.InUse, "members of group %q subscribe to topic %q", m.Group, ix.topic.name)
		}
		ev.Indexes = append(ev.Indexes, index)
	}
	if len(ev.Indexes) == 0 {
		return c.unchanged(0)
	}
	c.decided(&ev)
	return admin.Created{}, nil
}
