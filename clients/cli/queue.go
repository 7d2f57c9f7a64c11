package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/trimq/trimq/clients/trimq"
)

func queueCommand() *cli.Command {
	return &cli.Command{Name: "queue", Usage: "create, list, describe and delete queues", Subcommands: []*cli.Command{
		{Name: "create", ArgsUsage: "NAME", Usage: "create a queue", Flags: []cli.Flag{
			levelFlag("what an acknowledgement waits for"),
			&cli.BoolFlag{Name: "transient", Usage: "its messages need not survive"},
		}, Action: withClient(createQueue)},
		{Name: "list", Usage: "list queues", Flags: []cli.Flag{jsonFlag()}, Action: withClient(describeQueues)},
		{Name: "describe", ArgsUsage: "NAME...", Usage: "show queues", Flags: []cli.Flag{jsonFlag()}, Action: withClient(describeQueues)},
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
	existed, err := client.CreateQueue(ctx, trimq.QueueSpec{Name: name[0], Level: level, QueueSettings: trimq.QueueSettings{Durable: !c.Bool("transient")}})
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
	Durable   bool   `json:"durable"`
	Ready     uint64 `json:"ready"`
	Unacked   uint64 `json:"unacked"`
	Settled   uint64 `json:"settled"`
	Consumers uint32 `json:"consumers"`
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
	t := newTable("QUEUE", "READY", "UNACKED", "CONSUMERS", "LEVEL", "DURABLE", "SETTLED", "ID")
	views := make([]queueView, len(queues))
	for i, q := range queues {
		views[i] = queueView{q.Name, q.Queue, levelName(q.Level), q.Settings.Durable, q.Ready, q.Unacked, q.Settled, q.Consumers}
		t.add(q.Name, q.Ready, q.Unacked, q.Consumers, levelName(q.Level), q.Settings.Durable, q.Settled, q.Queue)
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
