package core

import (
	"fmt"
	"slices"
	"strings"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// Committed offsets of groups. A commit is applied as a whole or refused as a whole, and ends with
// the topic that it is about, so no position ever refers to an index that is gone.
//
// As long as a group has members, positions are theirs: a commit names the member, and counts only
// if it is of the member's present epoch or generation. What a member that was expelled sends
// late would set those back who have its partitions now. A group without members is anybody's.

// setOffset enters a position in a list in order of index, and returns the list.
func setOffset(list []ipc.OffsetCommit, o ipc.OffsetCommit) []ipc.OffsetCommit {
	i, ok := findOffset(list, o.Index)
	if !ok {
		list = slices.Insert(list, i, ipc.OffsetCommit{Index: o.Index})
	}
	at := &list[i]
	at.Offset, at.Leader = o.Offset, o.Leader
	if at.Metadata != o.Metadata {
		at.Metadata = strings.Clone(o.Metadata)
	}
	return list
}

// findOffset is the place of an index in such a list, and whether it is there.
func findOffset(list []ipc.OffsetCommit, index uint64) (int, bool) {
	return slices.BinarySearchFunc(list, index, func(o ipc.OffsetCommit, index uint64) int {
		switch {
		case o.Index < index:
			return -1
		case o.Index > index:
			return 1
		}
		return 0
	})
}

// find is the place of an index in the list, and whether it is there.
func (g *group) find(index uint64) (int, bool) { return findOffset(g.offsets, index) }

// set enters one committed position. It is part of apply.
func (g *group) set(o ipc.OffsetCommit) {
	if _, ok := g.find(o.Index); ok && failpoint.Broken("commits-forgotten") {
		return
	}
	g.offsets = setOffset(g.offsets, o)
}

// decideCommit stores positions of a group, all of them or none.
func (c *Core) decideCommit() {
	m, err := ipc.DecodeCommitOffsets(c.in.Payload)
	if err != nil {
		c.malformed()
		return
	}
	if g := c.groupOf(m.Group); g != nil && len(g.members) > 0 && !failpoint.Broken("offset-commit-unfenced") {
		c.reject(m.Head, errcode.UnknownMember, fmt.Sprintf("group %q has members: a commit names one of them", m.Group))
		return
	}
	c.commitOffsets(&m)
}

// decideGroupCommit stores positions of a group for one of its members.
func (c *Core) decideGroupCommit() {
	m, err := ipc.DecodeGroupCommit(c.in.Payload)
	if err != nil {
		c.malformed()
		return
	}
	if no := c.checkCommitter(&m); no != nil && !failpoint.Broken("offset-commit-unfenced") {
		c.reject(m.Head, no.Code, no.Text)
		return
	}
	c.commitOffsets(&ipc.CommitOffsets{Head: m.Head, Group: m.Group, Level: m.Level, Offsets: m.Offsets})
}

// checkCommitter tells whether a commit comes from a member that is at the present epoch or
// generation. While a generation has no assignment, nobody has anything to commit for.
func (c *Core) checkCommitter(m *ipc.GroupCommit) refused {
	g := c.groupOf(m.Group)
	if g != nil && g.kind == admin.GroupClassic {
		_, no := c.classicMember(g, m.Group, m.Member, m.Instance, m.Epoch)
		if no == nil && !g.synced {
			return errcode.New(errcode.RebalanceInProgress, "generation %d has no assignment yet", g.epoch)
		}
		return no
	}
	member, no := c.memberOf(g, admin.GroupModern, m.Group, m.Member, m.Instance)
	if no == nil && member.epoch != m.Epoch {
		return errcode.New(errcode.StaleMemberEpoch, "member %s is at epoch %d, not %d: it learns so with its next heartbeat", quoted(m.Member), member.epoch, m.Epoch)
	}
	return no
}

// commitOffsets stores positions for whoever may do so.
func (c *Core) commitOffsets(m *ipc.CommitOffsets) {
	level, code, text := c.checkCommit(m)
	if code != errcode.OK {
		c.reject(m.Head, code, text)
		return
	}
	t := c.turn
	ev := journal.OffsetsCommitted{Pos: c.in.Pos, Group: m.Group, Offsets: m.Offsets}
	t.raise(level)
	t.events = ev.Append(t.events)
	c.applyNew()
	c.watchEmpty(c.groupOf(m.Group))
	c.stats.Commits++
	if m.Req != 0 {
		reply := ipc.Done{Head: m.Head}
		t.sent(c.ownGate(level), ipc.TypeCommitted, reply.Append(t.recs))
	}
}

// checkCommit returns the level that the commit waits for.
func (c *Core) checkCommit(m *ipc.CommitOffsets) (ipc.Level, errcode.Code, string) {
	if code, text := checkName("group", m.Group); code != errcode.OK {
		return 0, code, text
	}
	if len(m.Offsets) == 0 || len(m.Offsets) > maxCommits {
		return 0, errcode.InvalidArgument, fmt.Sprintf("%d offsets; 1 to %d can be committed at once", len(m.Offsets), maxCommits)
	}
	level := ipc.LevelMemory // the highest of the topics that it is about
	added := 0
	g, known := c.groups.get(m.Group)
	if known && g.kind == admin.GroupShare {
		return 0, errcode.InconsistentProtocol, "a share group has no positions: its queues know what is done with"
	}
	for i := range m.Offsets {
		o := &m.Offsets[i]
		ix, ok := c.indexes.get(o.Index)
		switch {
		case !ok || ix.topic == nil:
			return 0, errcode.UnknownIndex, fmt.Sprintf("index %d is no partition of a topic", o.Index)
		case len(o.Metadata) > maxMetadataBytes:
			return 0, errcode.InvalidArgument, fmt.Sprintf("metadata of %d bytes; at most %d are allowed", len(o.Metadata), maxMetadataBytes)
		case o.Offset > maxOffset:
			return 0, errcode.InvalidArgument, fmt.Sprintf("offset %d; offsets end at %d", o.Offset, uint64(maxOffset))
		}
		level = max(level, ix.level)
		if !known {
			added++
		} else if _, ok := g.find(o.Index); !ok {
			added++
		}
	}
	if !known && c.groups.len() >= c.cfg.MaxGroups {
		return 0, errcode.LimitExceeded, fmt.Sprintf("at most %d groups", c.cfg.MaxGroups)
	}
	if held := added + offsetsOf(g); held > c.cfg.MaxGroupOffsets {
		return 0, errcode.LimitExceeded, fmt.Sprintf("at most %d committed offsets of a group", c.cfg.MaxGroupOffsets)
	}
	if m.Level != ipc.LevelUnset {
		level = m.Level
	}
	if level > ipc.LevelDisk {
		return 0, errcode.InvalidArgument, "level quorum needs a cluster; this broker stands alone"
	}
	return level, errcode.OK, ""
}

// offsetsOf counts the positions of a group that may not exist yet.
func offsetsOf(g *group) int {
	if g == nil {
		return 0
	}
	return len(g.offsets)
}

// decideOffsets reads committed positions.
func (c *Core) decideOffsets() {
	m, err := ipc.DecodeFetchOffsets(c.in.Payload)
	if err != nil {
		c.malformed()
		return
	}
	if m.Req == 0 {
		return
	}
	reply := ipc.OffsetList{Head: m.Head}
	if g, ok := c.groups.get(m.Group); ok {
		if len(m.Indexes) == 0 {
			reply.Offsets = g.offsets
		}
		for _, index := range m.Indexes {
			if i, ok := g.find(index); ok && len(reply.Offsets) < ipc.MaxOffsets {
				reply.Offsets = append(reply.Offsets, g.offsets[i])
			}
		}
	}
	// Metadata is the clients': a group could hold more of it than a record.
	size := 0
	for i := range reply.Offsets {
		size += 28 + len(reply.Offsets[i].Metadata)
	}
	if size > maxReplyBytes {
		c.refuse(m.Head, errcode.LimitExceeded, "the answer would be too long; ask for fewer indexes at once")
		return
	}
	c.turn.sent(c.readGate(), ipc.TypeOffsetList, reply.Append(c.turn.recs))
}
