package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/trimq/trimq/clients/trimq"
)

// groupView is a group as JSON, with all that is to be known of it.
type groupView struct {
	groupLine
	Leader      string           `json:"leader,omitempty"`
	MembersLeft uint32           `json:"members_left,omitempty"` // members that the broker's answer had no room for
	MemberList  []memberView     `json:"member_list"`
	Partitions  []groupPartition `json:"partitions"`
}

// memberView is a member.
type memberView struct {
	ID       string          `json:"id"`
	Instance string          `json:"instance,omitempty"`
	Client   string          `json:"client,omitempty"`
	Host     string          `json:"host,omitempty"`
	Epoch    int32           `json:"epoch"`
	Topics   []string        `json:"topics,omitempty"`
	Has      []partitionName `json:"has"`
	Gets     []partitionName `json:"gets,omitempty"`     // once others have given them up
	GivesUp  []partitionName `json:"gives_up,omitempty"` // and has not yet confirmed it
}

// partitionName names a partition; Topic is empty where it is gone.
type partitionName struct {
	Topic     string `json:"topic"`
	Partition int    `json:"partition"`
}

// groupPartition is a partition that a member has, or in which the group has a position.
type groupPartition struct {
	partitionName
	Index     uint64  `json:"index"`
	Member    string  `json:"member,omitempty"`
	Committed *uint64 `json:"committed,omitempty"` // nil: nothing is
	End       uint64  `json:"end"`
	Lag       *uint64 `json:"lag,omitempty"`
	In        rate    `json:"in_per_second,omitempty"`
	Done      rate    `json:"done_per_second,omitempty"`
	Oldest    age     `json:"oldest_seconds,omitempty"` // of the first record behind what is committed
	Metadata  string  `json:"metadata,omitempty"`
}

// groupLook is what one look at groups finds.
type groupLook struct {
	groups   []trimq.Membership
	metadata map[string]map[uint64]string // by group and index
	names    map[uint64]partitionName
	ends     map[uint64]uint64 // visible ends by index
}

func lookAtGroups(ctx context.Context, client *trimq.Client, wanted []string) (l groupLook, err error) {
	l = groupLook{metadata: map[string]map[uint64]string{}, names: map[uint64]partitionName{}, ends: map[uint64]uint64{}}
	if l.groups, err = client.Memberships(ctx, wanted...); err != nil {
		return l, err
	}
	positions, err := client.Groups(ctx, wanted...)
	if err != nil && !errors.Is(err, trimq.ErrNotFound) { // gone in between
		return l, err
	}
	for _, g := range positions {
		l.metadata[g.Name] = map[uint64]string{}
		for _, o := range g.Offsets {
			l.metadata[g.Name][o.Index] = o.Metadata
		}
	}
	topics, err := client.Topics(ctx)
	for _, t := range topics {
		for n, p := range t.Partitions {
			l.names[p.Index], l.ends[p.Index] = partitionName{t.Name, n}, p.Visible
		}
	}
	return l, err
}

// positionsOf are a group's positions by index.
func (l *groupLook) positionsOf(group string) map[uint64]uint64 {
	at := map[uint64]uint64{}
	for i := range l.groups {
		if g := &l.groups[i]; g.Name == group {
			for _, o := range g.Offsets {
				at[o.Index] = o.Offset
			}
		}
	}
	return at
}

// named gives indexes their names, in order.
func (l *groupLook) named(indexes []uint64) []partitionName {
	list := make([]partitionName, 0, len(indexes))
	for _, index := range indexes {
		list = append(list, l.names[index])
	}
	slices.SortFunc(list, comparePartitions)
	return list
}

func comparePartitions(a, b partitionName) int {
	return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
}

// without are the elements of a that are not in b.
func without(a, b []uint64) (rest []uint64) {
	for _, x := range a {
		if !slices.Contains(b, x) {
			rest = append(rest, x)
		}
	}
	return rest
}

// view puts together what the latest look knows of a group.
func (l *groupLook) view(g *trimq.Membership) groupView {
	v := groupView{groupLine: lineOfGroup(g), Leader: g.Leader, MembersLeft: g.MembersLeft, MemberList: []memberView{}, Partitions: []groupPartition{}}
	has := map[uint64]*groupPartition{}
	at := func(index uint64) *groupPartition {
		if has[index] == nil {
			has[index] = &groupPartition{partitionName: l.names[index], Index: index, End: l.ends[index]}
		}
		return has[index]
	}
	for i := range g.Members {
		m := &g.Members[i]
		v.MemberList = append(v.MemberList, memberView{
			ID: m.ID, Instance: m.Instance, Client: m.ClientID, Host: m.ClientHost, Epoch: m.Epoch, Topics: m.Topics,
			Has: l.named(m.Assigned), Gets: l.named(without(m.Target, m.Assigned)), GivesUp: l.named(without(m.Assigned, m.Target)),
		})
		for _, index := range m.Assigned {
			at(index).Member = m.ID
		}
	}
	for _, o := range g.Offsets {
		p, lag := at(o.Index), o.Lag()
		p.Committed, p.Lag, p.End, p.Metadata = &o.Offset, &lag, o.Visible, l.metadata[g.Name][o.Index]
	}
	for _, p := range has {
		v.Partitions = append(v.Partitions, *p)
	}
	slices.SortFunc(v.Partitions, func(a, b groupPartition) int {
		return cmp.Or(comparePartitions(a.partitionName, b.partitionName), cmp.Compare(a.Index, b.Index))
	})
	return v
}

func describeGroups(_ context.Context, c *cli.Context, client *trimq.Client) error {
	wanted, err := names(c, "the group's name", 1, -1)
	if err != nil {
		return err
	}
	l, err := lookTwice(c, func(ctx context.Context) (groupLook, error) { return lookAtGroups(ctx, client, wanted) })
	if err != nil {
		return err
	}
	views := make([]groupView, len(l.last.groups))
	for i := range views {
		views[i] = l.last.view(&l.last.groups[i])
		rateGroup(&views[i], &l)
		if err := ageGroup(c, client, &views[i]); err != nil {
			return err
		}
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, views)
	}
	for i := range views {
		if i > 0 {
			fmt.Fprintln(c.App.Writer)
		}
		views[i].print(c)
	}
	return nil
}

// rateGroup fills in rates: of records that come, and of those that are committed.
func rateGroup(v *groupView, l *looks[groupLook]) {
	before := l.first.positionsOf(v.Name)
	for i := range v.Partitions {
		p := &v.Partitions[i]
		if end, ok := l.first.ends[p.Index]; ok {
			p.In = ratePer(end, p.End, l.apart)
		}
		if at, ok := before[p.Index]; ok && p.Committed != nil {
			p.Done = ratePer(at, *p.Committed, l.apart)
		}
	}
}

// ageGroup finds how old the first record of each partition is that the group has not committed.
func ageGroup(c *cli.Context, client *trimq.Client, v *groupView) error {
	ctx, cancel := limit(c)
	defer cancel()
	for i := range v.Partitions {
		p := &v.Partitions[i]
		if p.Lag == nil || *p.Lag == 0 {
			continue
		}
		var err error
		if p.Oldest, err = ageOf(ctx, client, p.Index, *p.Committed); err != nil {
			return err
		}
	}
	return nil
}

// print shows a group in three tables; one that would be empty is left out.
func (v *groupView) print(c *cli.Context) {
	w := c.App.Writer
	t := groupLines()
	v.addTo(t)
	t.print(w)
	if len(v.MemberList) > 0 {
		fmt.Fprintln(w)
		t = newTable("MEMBER", "INSTANCE", "CLIENT", "HOST", "EPOCH", "HAS", "GETS", "GIVES UP")
		for _, m := range v.MemberList {
			t.add(m.ID, m.Instance, m.Client, m.Host, m.Epoch, partitionList(m.Has), partitionList(m.Gets), partitionList(m.GivesUp))
		}
		t.print(w)
	}
	if v.MembersLeft > 0 {
		fmt.Fprintf(w, "%d more members\n", v.MembersLeft)
	}
	if len(v.Partitions) > 0 {
		fmt.Fprintln(w)
		t = newTable("TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "IN/S", "DONE/S", "OLDEST", "MEMBER", "METADATA")
		for _, p := range v.Partitions {
			t.add(p.Topic, p.Partition, orDash(p.Committed), p.End, orDash(p.Lag), rateText(p.In), rateText(p.Done), ageText(p.Oldest), p.Member, p.Metadata)
		}
		t.print(w)
	}
}

// orDash is a number that may be missing.
func orDash(n *uint64) string {
	if n == nil {
		return "-"
	}
	return fmt.Sprint(*n)
}
