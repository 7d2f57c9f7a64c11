package main

import (
	"context"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/trimq/trimq/clients/trimq"
)

func groupCommand() *cli.Command {
	return &cli.Command{Name: "group", Usage: "list, describe, set back and delete consumer groups", Subcommands: []*cli.Command{
		{Name: "list", Usage: "list groups with their lag", Flags: []cli.Flag{jsonFlag()}, Action: withClient(listGroups)},
		{
			Name: "describe", ArgsUsage: "NAME...", Usage: "show members, partitions, positions, lag and rates of groups",
			Flags: []cli.Flag{intervalFlag(describeInterval), jsonFlag()}, Action: withClient(describeGroups),
		},
		{Name: "delete", ArgsUsage: "NAME...", Usage: "delete groups without members, with their positions", Action: withClient(deleteGroups)},
		{
			Name: "reset-offsets", ArgsUsage: "NAME", Usage: "let a group without members go on elsewhere",
			Flags: append([]cli.Flag{
				&cli.StringFlag{Name: "to", Usage: "earliest, latest, an offset, or a time (RFC 3339)"},
				&cli.StringFlag{Name: "by", Usage: "so many `RECORDS` forward, or back (-100)"},
				&cli.BoolFlag{Name: "dry-run", Usage: "only show what would be set"}, jsonFlag(),
			}, placeFlags("those in which the group has positions")...), Action: withClient(resetOffsets),
		},
		{
			Name: "delete-offsets", ArgsUsage: "NAME", Usage: "forget positions of a group in topics that no member subscribes to",
			Flags: append([]cli.Flag{jsonFlag()}, placeFlags("")...), Action: withClient(deleteOffsets),
		},
	}}
}

// placeFlags name partitions.
func placeFlags(otherwise string) []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "topic", Usage: "in the topic `NAME`; may be given several times", DefaultText: otherwise},
		&cli.StringFlag{Name: "partition", Usage: "only in these `PARTITIONS`, separated by commas", DefaultText: "all"},
	}
}

// places reads them.
func places(c *cli.Context) (topics []string, partitions []uint32, err error) {
	if c.IsSet("partition") {
		partitions, err = parsePartitions(c.String("partition"))
	}
	return c.StringSlice("topic"), partitions, err
}

func deleteGroups(ctx context.Context, c *cli.Context, client *trimq.Client) error {
	wanted, err := names(c, "the group's name", 1, -1)
	if err != nil {
		return err
	}
	for _, name := range wanted {
		if err := client.DeleteGroup(ctx, name); err != nil {
			return err
		}
		if err := said(c, false, "group %s is deleted", name); err != nil {
			return err
		}
	}
	return nil
}

// parseReset reads where a group is to go on.
func parseReset(c *cli.Context) (r trimq.OffsetReset, err error) {
	r.DryRun = c.Bool("dry-run")
	if r.Topics, r.Partitions, err = places(c); err != nil {
		return r, err
	}
	switch {
	case c.IsSet("to") == c.IsSet("by"):
		return r, badUsage("reset-offsets: either --to or --by is needed; see %s --help", c.Command.HelpName)
	case c.IsSet("to"):
		r.To, err = parseFrom("to", c.String("to"))
		return r, err
	}
	r.Shift, err = strconv.ParseInt(c.String("by"), 10, 64)
	if err != nil || r.Shift == 0 {
		return r, badUsage("--by is %q; it must be a number of records, as 100 or -100", c.String("by"))
	}
	return r, nil
}

func resetOffsets(ctx context.Context, c *cli.Context, client *trimq.Client) error {
	name, err := names(c, "the group's name", 1, 1)
	if err != nil {
		return err
	}
	r, err := parseReset(c)
	if err != nil {
		return err
	}
	at, err := client.ResetOffsets(ctx, name[0], r)
	if err != nil {
		return err
	}
	if len(at) == 0 && r.Shift == 0 {
		return badUsage("group %s has no positions yet; say with --topic where it is to begin", name[0])
	}
	return showPositions(c, at)
}

func deleteOffsets(ctx context.Context, c *cli.Context, client *trimq.Client) error {
	name, err := names(c, "the group's name", 1, 1)
	if err != nil {
		return err
	}
	topics, partitions, err := places(c)
	if err != nil {
		return err
	}
	if len(topics) == 0 {
		return badUsage("--topic is missing: in which topic; see %s --help", c.Command.HelpName)
	}
	var all []trimq.Position
	for _, topic := range topics {
		at, err := client.DeleteOffsets(ctx, name[0], topic, partitions...)
		if err != nil {
			return err
		}
		all = append(all, at...)
	}
	return showPositions(c, all)
}

// positionView is a position as JSON.
type positionView struct {
	Topic     string `json:"topic"`
	Partition uint32 `json:"partition"`
	Offset    uint64 `json:"offset"`
}

func showPositions(c *cli.Context, at []trimq.Position) error {
	t := newTable("TOPIC", "PARTITION", "OFFSET")
	views := make([]positionView, len(at))
	for i, p := range at {
		views[i] = positionView{p.Topic, p.Partition, p.Offset}
		t.add(p.Topic, p.Partition, p.Offset)
	}
	return show(c, views, t)
}

var groupTypes = map[trimq.GroupType]string{trimq.GroupSimple: "simple", trimq.GroupModern: "modern", trimq.GroupClassic: "classic", trimq.GroupShare: "share"}

var groupStates = map[trimq.GroupState]string{
	trimq.GroupEmpty: "empty", trimq.GroupPreparing: "preparing", trimq.GroupCompleting: "completing",
	trimq.GroupStable: "stable", trimq.GroupReconciling: "reconciling",
}

// groupLine is a group as a line, and as JSON.
type groupLine struct {
	Name      string `json:"name"`
	Type      string `json:"type"`
	State     string `json:"state"`
	Epoch     int32  `json:"epoch"`
	Assignor  string `json:"assignor,omitempty"`
	Members   int    `json:"members"`
	Positions int    `json:"positions"`
	Lag       uint64 `json:"lag"`
}

func lineOfGroup(g *trimq.Membership) groupLine {
	v := groupLine{
		Name: g.Name, Type: groupTypes[g.Type], State: groupStates[g.State], Epoch: g.Epoch, Assignor: g.Protocol,
		Members: len(g.Members) + int(g.MembersLeft), Positions: len(g.Offsets),
	}
	for i := range g.Offsets {
		v.Lag += g.Offsets[i].Lag()
	}
	return v
}

func groupLines() *table {
	return newTable("GROUP", "TYPE", "STATE", "EPOCH", "ASSIGNOR", "MEMBERS", "POSITIONS", "LAG")
}

func (v *groupLine) addTo(t *table) {
	t.add(v.Name, v.Type, v.State, v.Epoch, v.Assignor, v.Members, v.Positions, v.Lag)
}

func listGroups(ctx context.Context, c *cli.Context, client *trimq.Client) error {
	if _, err := names(c, "", 0, 0); err != nil {
		return err
	}
	groups, err := client.Memberships(ctx)
	if err != nil {
		return err
	}
	t := groupLines()
	views := make([]groupLine, len(groups))
	for i := range groups {
		views[i] = lineOfGroup(&groups[i])
		views[i].addTo(t)
	}
	return show(c, views, t)
}

// partitionList is partitions in short: orders/0,1,4 invoices/2.
func partitionList(at []partitionName) string {
	var b strings.Builder
	for i, p := range at {
		switch {
		case i == 0 || at[i-1].Topic != p.Topic:
			if i > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(p.Topic + "/")
		default:
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(p.Partition))
	}
	return b.String()
}
