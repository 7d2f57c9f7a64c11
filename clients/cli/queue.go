package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/trimq/trimq/clients/trimq"
)

func queueCommand() *cli.Command {
	return &cli.Command{Name: "queue", Usage: "create, list, describe, purge, set back and delete queues", Subcommands: []*cli.Command{
		{
			Name: "create", ArgsUsage: "NAME", Usage: "create a queue",
			Flags: append([]cli.Flag{levelFlag("what an acknowledgement waits for")}, settingsFlags()...), Action: withClient(createQueue),
		},
		{Name: "list", Usage: "list queues", Flags: []cli.Flag{jsonFlag()}, Action: withClient(describeQueues)},
		{Name: "describe", ArgsUsage: "NAME...", Usage: "show queues", Flags: []cli.Flag{jsonFlag()}, Action: withClient(describeQueues)},
		{Name: "purge", ArgsUsage: "NAME", Usage: "drop all messages that are ready", Action: withClient(purgeQueue)},
		{Name: "seek", ArgsUsage: "NAME", Usage: "go on elsewhere: in a queue over a topic, or in what --rewind keeps", Flags: seekFlags(), Action: withClient(seekQueue)},
		{Name: "delete", ArgsUsage: "NAME", Usage: "delete a queue and its messages", Flags: []cli.Flag{
			&cli.BoolFlag{Name: "if-unused", Usage: "only without consumers"},
			&cli.BoolFlag{Name: "if-empty", Usage: "only without messages"},
		}, Action: withClient(deleteQueue)},
	}}
}

func createQueue(ctx context.Context, c *cli.Context, client *trimq.Client) error {
	name, err := names(c, "the queue's name", 1, 1)
	if err != nil {
		return err
	}
	level, err := parseLevel(c)
	if err != nil {
		return err
	}
	spec := trimq.QueueSpec{Name: name[0], Level: level}
	if spec.QueueSettings, err = parseSettings(c); err != nil {
		return err
	}
	from, err := parseFrom("from", c.String("from"))
	if err == nil && spec.Topic != "" {
		err = client.StartAt(ctx, &spec, from)
	}
	if err != nil {
		return err
	}
	existed, err := client.CreateQueue(ctx, spec)
	if err != nil {
		return err
	}
	return said(c, existed, "queue %s", name[0])
}

// queueView is a queue as JSON.
type queueView struct {
	Name      string `json:"name"`
	Queue     uint64 `json:"queue"`
	Level     string `json:"level"`
	Ready     uint64 `json:"ready"`
	Unacked   uint64 `json:"unacked"`
	Leased    uint64 `json:"leased"`
	Dead      uint64 `json:"dead"`
	Settled   uint64 `json:"settled"`
	Consumers uint32 `json:"consumers"`
	Pulls     uint32 `json:"pulls"`
	settingsView
	Indexes []indexView `json:"indexes"`
}

// indexView is one index of a queue: of a priority, or of a partition of its topic.
type indexView struct {
	Index   uint64 `json:"index"`
	Number  uint32 `json:"number"`
	Next    uint64 `json:"next"`
	Visible uint64 `json:"visible"`
	Floor   uint64 `json:"floor"`
	Oldest  uint64 `json:"oldest"`
}

func viewQueue(q *trimq.QueueInfo) queueView {
	v := queueView{
		Name: q.Name, Queue: q.Queue, Level: levelName(q.Level), Ready: q.Ready, Unacked: q.Unacked, Leased: q.Leased, Dead: q.Dead,
		Settled: q.Settled, Consumers: q.Consumers, Pulls: q.Pulls, settingsView: viewSettings(&q.Settings), Indexes: []indexView{},
	}
	for _, ix := range q.Indexes {
		v.Indexes = append(v.Indexes, indexView(ix))
	}
	return v
}

// describeQueues serves list and describe: the first wants no names, the second at least one.
func describeQueues(ctx context.Context, c *cli.Context, client *trimq.Client) error {
	least, most := bounds(c)
	wanted, err := names(c, "the queue's name", least, most)
	if err != nil {
		return err
	}
	queues, err := client.Queues(ctx, wanted...)
	if err != nil {
		return err
	}
	t := newTable("QUEUE", "READY", "UNACKED", "LEASED", "CONSUMERS", "LEVEL", "DURABLE", "SETTLED", "ID", "PROPERTIES")
	views := make([]queueView, len(queues))
	for i := range queues {
		v := &views[i]
		*v = viewQueue(&queues[i])
		t.add(v.Name, v.Ready, v.Unacked, v.Leased, v.Consumers, v.Level, v.Durable, v.Settled, v.Queue, v.traits())
	}
	return show(c, views, t)
}

// bounds is how many names list and describe take.
func bounds(c *cli.Context) (least, most int) {
	if c.Command.Name == "list" {
		return 0, 0
	}
	return 1, -1
}

func deleteQueue(ctx context.Context, c *cli.Context, client *trimq.Client) error {
	name, err := names(c, "the queue's name", 1, 1)
	if err != nil {
		return err
	}
	cond := trimq.DeleteCondition{IfUnused: c.Bool("if-unused"), IfEmpty: c.Bool("if-empty")}
	if err := client.DeleteQueue(ctx, name[0], cond); err != nil {
		return err
	}
	return said(c, false, "queue %s is deleted", name[0])
}

func groupCommand() *cli.Command {
	return &cli.Command{Name: "group", Usage: "show committed offsets of consumer groups", Subcommands: []*cli.Command{
		{Name: "list", Usage: "list groups", Flags: []cli.Flag{jsonFlag()}, Action: withClient(describeGroups)},
		{Name: "describe", ArgsUsage: "NAME...", Usage: "show groups", Flags: []cli.Flag{jsonFlag()}, Action: withClient(describeGroups)},
	}}
}

// commitView is a committed offset as JSON. Topic is empty where its partition is gone.
type commitView struct {
	Group     string `json:"group"`
	Topic     string `json:"topic"`
	Partition int    `json:"partition"`
	Offset    uint64 `json:"offset"`
	Lag       uint64 `json:"lag"`
	Metadata  string `json:"metadata,omitempty"`
}

func describeGroups(ctx context.Context, c *cli.Context, client *trimq.Client) error {
	least, most := bounds(c)
	wanted, err := names(c, "the group's name", least, most)
	if err != nil {
		return err
	}
	groups, err := client.Groups(ctx, wanted...)
	if err != nil {
		return err
	}
	topics, err := client.Topics(ctx)
	if err != nil {
		return err
	}
	type place struct {
		topic     string
		partition int
		visible   uint64
	}
	places := map[uint64]place{}
	for _, t := range topics {
		for n, p := range t.Partitions {
			places[p.Index] = place{t.Name, n, p.Visible}
		}
	}
	t := newTable("GROUP", "TOPIC", "PARTITION", "OFFSET", "LAG", "METADATA")
	views := []commitView{}
	for _, g := range groups {
		for _, o := range g.Offsets {
			at := places[o.Index]
			v := commitView{g.Name, at.topic, at.partition, o.Offset, at.visible - min(o.Offset, at.visible), o.Metadata}
			views = append(views, v)
			t.add(v.Group, v.Topic, v.Partition, v.Offset, v.Lag, v.Metadata)
		}
	}
	return show(c, views, t)
}
