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
		{Name: "list", Usage: "list queues", Flags: []cli.Flag{intervalFlag(0), ageFlag(), jsonFlag()}, Action: withClient(describeQueues)},
		{Name: "describe", ArgsUsage: "NAME...", Usage: "show queues, with rates and the oldest message's age", Flags: []cli.Flag{intervalFlag(describeInterval), jsonFlag()}, Action: withClient(describeQueues)},
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
	In        rate   `json:"in_per_second,omitempty"`   // messages that have come
	Done      rate   `json:"done_per_second,omitempty"` // that were settled, dropped or dead-lettered
	Oldest    age    `json:"oldest_seconds,omitempty"`
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
func describeQueues(_ context.Context, c *cli.Context, client *trimq.Client) error {
	least, most := bounds(c)
	wanted, err := names(c, "the queue's name", least, most)
	if err != nil {
		return err
	}
	l, err := lookTwice(c, func(ctx context.Context) ([]trimq.QueueInfo, error) { return client.Queues(ctx, wanted...) })
	if err != nil {
		return err
	}
	views := make([]queueView, len(l.last))
	for i := range l.last {
		views[i] = viewQueue(&l.last[i])
	}
	rateQueues(views, l)
	if c.Command.Name == "describe" || c.Bool("oldest") {
		if err := ageQueues(c, client, views); err != nil {
			return err
		}
	}
	t := newTable("QUEUE", "READY", "UNACKED", "LEASED", "CONSUMERS", "IN/S", "DONE/S", "OLDEST", "LEVEL", "DURABLE", "SETTLED", "ID", "PROPERTIES")
	for i := range views {
		v := &views[i]
		t.add(v.Name, v.Ready, v.Unacked, v.Leased, v.Consumers, rateText(v.In), rateText(v.Done), ageText(v.Oldest), v.Level, v.Durable, v.Settled, v.Queue, v.traits())
	}
	return show(c, views, t)
}

// rateQueues fills in the rates of queues that were there at both looks.
func rateQueues(views []queueView, l looks[[]trimq.QueueInfo]) {
	before := map[uint64]*trimq.QueueInfo{}
	for i := range l.first {
		before[l.first[i].Queue] = &l.first[i]
	}
	for i := range views {
		if q := before[views[i].Queue]; q != nil {
			views[i].In = ratePer(arrived(q), arrived(&l.last[i]), l.apart)
			views[i].Done = ratePer(q.Settled, l.last[i].Settled, l.apart)
		}
	}
}

// arrived counts all messages that have ever come into a queue.
func arrived(q *trimq.QueueInfo) (n uint64) {
	for _, ix := range q.Indexes {
		n += ix.Next
	}
	return n
}

// ageQueues finds how old the oldest message of each queue is that is not done with.
func ageQueues(c *cli.Context, client *trimq.Client, views []queueView) error {
	ctx, cancel := limit(c)
	defer cancel()
	for i := range views {
		for _, ix := range views[i].Indexes {
			if ix.Oldest >= ix.Visible {
				continue
			}
			old, err := ageOf(ctx, client, ix.Index, ix.Oldest)
			if err != nil {
				return err
			}
			views[i].Oldest = elder(views[i].Oldest, old)
		}
	}
	return nil
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
