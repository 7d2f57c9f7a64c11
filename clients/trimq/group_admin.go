package trimq

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
)

// Groups as they are described and governed. Positions of a group can be set, and the group deleted,
// only while it has no members: what those have is theirs.

type (
	// Membership is a group with its members, and with the lag of each position.
	Membership = admin.Membership
	MemberInfo = admin.MemberInfo
	LagInfo    = admin.LagInfo
	// GroupSummary is a line about a group.
	GroupSummary = admin.GroupSummary
	GroupType    = admin.GroupType
	GroupState   = admin.GroupState
)

// How a group shares partitions out.
const (
	GroupSimple  = admin.GroupSimple  // it has positions and no members
	GroupModern  = admin.GroupModern  // the broker assigns
	GroupClassic = admin.GroupClassic // the members assign
	GroupShare   = admin.GroupShare   // the members work partitions off together
)

// Where a group stands.
const (
	GroupEmpty       = admin.GroupEmpty
	GroupPreparing   = admin.GroupPreparing
	GroupCompleting  = admin.GroupCompleting
	GroupStable      = admin.GroupStable
	GroupReconciling = admin.GroupReconciling
)

// Memberships describes groups with members and lag, as Topics does topics.
func (c *Client) Memberships(ctx context.Context, names ...string) ([]Membership, error) {
	var all []Membership
	err := c.describe(ctx, admin.KindMembership, names, func(d *admin.Description) (string, int) {
		all = append(all, d.Memberships...)
		return lastName(d.Memberships, func(g *Membership) string { return g.Name })
	})
	return all, err
}

// GroupSummaries lists groups, as Topics does topics.
func (c *Client) GroupSummaries(ctx context.Context, names ...string) ([]GroupSummary, error) {
	var all []GroupSummary
	err := c.describe(ctx, admin.KindGroupSummary, names, func(d *admin.Description) (string, int) {
		all = append(all, d.Summaries...)
		return lastName(d.Summaries, func(g *GroupSummary) string { return g.Name })
	})
	return all, err
}

// DeleteGroup deletes a group without members, with its positions. One that has members is ErrInUse.
func (c *Client) DeleteGroup(ctx context.Context, name string) error {
	return c.drop(ctx, native.CmdDeleteGroup, &admin.Delete{Name: name})
}

// OffsetReset says where a group is to go on.
type OffsetReset struct {
	Topics     []string // none: those in which the group has positions
	Partitions []uint32 // of each of them; none: all
	To         From     // Earliest, Latest, AtOffset or AtTime
	Shift      int64    // without To: by so many records from the group's position, forward or back
	DryRun     bool     // nothing is changed
}

// ResetOffsets sets the positions of a group without members, all of them or none, and gives them in
// order of topic and partition. They are kept within what can be read. With Shift, a partition in
// which the group has no position is left as it is. A group that has members is ErrInUse; one that
// is not there is made, where topics are named.
func (c *Client) ResetOffsets(ctx context.Context, group string, r OffsetReset) ([]Position, error) {
	if (r.To.kind == 0) == (r.Shift == 0) {
		return nil, invalid("OffsetReset: either To or Shift is needed")
	}
	at, err := c.groupPlaces(ctx, group, r.Topics, r.Partitions, r.To.kind == 0)
	if err != nil {
		return nil, err
	}
	for i := range at {
		if err := c.newOffset(ctx, &at[i], &r); err != nil {
			return nil, &PartitionError{Topic: at[i].Topic, Partition: at[i].Partition, Offset: at[i].Offset, Err: err}
		}
	}
	positions, offsets := unzip(at)
	if len(at) == 0 || r.DryRun {
		return positions, nil
	}
	_, err = c.calls.do(ctx, native.CmdResetOffsets, &admin.ResetOffsets{Group: group, Offsets: offsets})
	return positions, err
}

// SetOffsets sets positions of a group without members, all of them or none, wherever they are.
func (c *Client) SetOffsets(ctx context.Context, group string, positions ...Position) error {
	var offsets []ipc.OffsetCommit
	for _, at := range positions {
		index, err := c.indexOf(ctx, at.Topic, at.Partition)
		if err != nil {
			return err
		}
		offsets = append(offsets, ipc.OffsetCommit{Index: index, Offset: at.Offset, Metadata: at.Metadata})
	}
	_, err := c.calls.do(ctx, native.CmdResetOffsets, &admin.ResetOffsets{Group: group, Offsets: offsets})
	return err
}

// DeleteOffsets forgets positions of a group in a topic, in all partitions or in some, and tells
// which. As long as members subscribe to the topic it is ErrInUse.
func (c *Client) DeleteOffsets(ctx context.Context, group, topic string, partitions ...uint32) ([]Position, error) {
	at, err := c.groupPlaces(ctx, group, []string{topic}, partitions, true)
	if err != nil || len(at) == 0 {
		return nil, err
	}
	positions, offsets := unzip(at)
	m := admin.DeleteOffsets{Group: group}
	for _, o := range offsets {
		m.Indexes = append(m.Indexes, o.Index)
	}
	_, err = c.calls.do(ctx, native.CmdDeleteOffsets, &m)
	return positions, err
}

// place is a partition, and where a group stands in it.
type place struct {
	Position
	index uint64
}

func unzip(at []place) (positions []Position, offsets []ipc.OffsetCommit) {
	for _, p := range at {
		positions = append(positions, p.Position)
		offsets = append(offsets, ipc.OffsetCommit{Index: p.index, Offset: p.Offset, Metadata: p.Metadata})
	}
	return positions, offsets
}

// groupPlaces lists partitions of topics (none: those in which the group has positions) in order; with
// known only those in which it has one.
func (c *Client) groupPlaces(ctx context.Context, group string, topics []string, partitions []uint32, known bool) ([]place, error) {
	has := map[uint64]ipc.OffsetCommit{}
	groups, err := c.Groups(ctx, group)
	if err != nil && (known || len(topics) == 0 || !errors.Is(err, ErrNotFound)) {
		return nil, err
	}
	for _, g := range groups {
		for _, o := range g.Offsets {
			has[o.Index] = o
		}
	}
	found, err := c.Topics(ctx, topics...)
	if err != nil {
		return nil, err
	}
	var at []place
	for i := range found {
		t := &found[i]
		if len(topics) == 0 && !slices.ContainsFunc(t.Partitions, func(p admin.PartitionInfo) bool { _, ok := has[p.Index]; return ok }) {
			continue
		}
		some, err := placesIn(t, partitions, has, known)
		if err != nil {
			return nil, err
		}
		at = append(at, some...)
	}
	slices.SortFunc(at, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return at, nil
}

// placesIn lists partitions of a topic.
func placesIn(t *TopicInfo, partitions []uint32, has map[uint64]ipc.OffsetCommit, known bool) (at []place, err error) {
	for _, n := range partitions {
		if int64(n) >= int64(len(t.Partitions)) {
			return nil, &PartitionError{Topic: t.Name, Partition: n, Err: ErrNoPartition}
		}
	}
	for n, p := range t.Partitions {
		o, ok := has[p.Index]
		if known && !ok || len(partitions) > 0 && !slices.Contains(partitions, uint32(n)) {
			continue
		}
		at = append(at, place{Position{t.Name, uint32(n), o.Offset, o.Metadata}, p.Index})
	}
	return at, nil
}

// newOffset sets a place to where a reset leads. What the user has stored with the old position goes.
func (c *Client) newOffset(ctx context.Context, at *place, r *OffsetReset) error {
	ask := native.ListOffsets{Index: at.index, TimeMS: native.TimeEarliest}
	ends, err := request(ctx, c, native.CmdListOffsets, &ask, native.DecodeListOffsetsReply)
	if err != nil {
		return err
	}
	to := at.Offset
	switch {
	case r.To.kind != 0:
		if to, err = c.resolve(ctx, at.index, r.To); err != nil {
			return err
		}
	case r.Shift < 0:
		to -= min(uint64(-r.Shift), to)
	default:
		to += min(uint64(r.Shift), ^to)
	}
	at.Offset, at.Metadata = min(max(to, ends.Start), max(ends.Visible, ends.Start)), ""
	return nil
}

// indexOf finds a partition.
func (c *Client) indexOf(ctx context.Context, topic string, partition uint32) (uint64, error) {
	e, err := c.topics.get(ctx, topic)
	if err != nil {
		return 0, err
	}
	if int64(partition) >= int64(len(e.indexes)) {
		return 0, &PartitionError{Topic: topic, Partition: partition, Err: ErrNoPartition}
	}
	return e.indexes[partition], nil
}
