package main

import (
	"context"
	"encoding/hex"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/trimq/trimq/clients/trimq"
)

func topicCommand() *cli.Command {
	return &cli.Command{Name: "topic", Usage: "create, list, describe and delete topics", Subcommands: []*cli.Command{
		{Name: "create", ArgsUsage: "NAME", Usage: "create a topic", Flags: []cli.Flag{
			&cli.UintFlag{Name: "partitions", Value: 1, Usage: "how many partitions"},
			levelFlag("what an acknowledgement waits for"),
			&cli.Int64Flag{Name: "retention-bytes", Usage: "of each partition; 0: no limit"},
			&cli.DurationFlag{Name: "retention", Usage: "how long records are kept; 0: no limit"},
			&cli.StringSliceFlag{Name: "config", Usage: "KEY=VALUE of its configuration, as docs/kafka.md lists them"},
		}, Action: withClient(createTopic)},
		{Name: "list", Usage: "list topics", Flags: []cli.Flag{jsonFlag()}, Action: withClient(listTopics)},
		{Name: "describe", ArgsUsage: "NAME...", Usage: "show the partitions of topics, with rates", Flags: []cli.Flag{intervalFlag(describeInterval), jsonFlag()}, Action: withClient(describeTopics)},
		{Name: "alter", ArgsUsage: "NAME", Usage: "change a topic's configuration", Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "config", Usage: "KEY=VALUE that is to hold"},
			&cli.StringSliceFlag{Name: "default", Usage: "KEY that is to have its default again"},
		}, Action: withClient(alterTopic)},
		{Name: "delete-records", ArgsUsage: "NAME PARTITION OFFSET", Usage: "let a partition begin at OFFSET, or at its end: latest", Action: withClient(deleteRecords)},
		{Name: "delete", ArgsUsage: "NAME", Usage: "delete a topic and its records", Action: withClient(deleteTopic)},
		{Name: "add-partitions", ArgsUsage: "NAME TOTAL", Usage: "raise the number of partitions to TOTAL", Action: withClient(addPartitions)},
	}}
}

func createTopic(ctx context.Context, c *cli.Context, client *trimq.Client) error {
	name, err := names(c, "the topic's name", 1, 1)
	if err != nil {
		return err
	}
	level, err := parseLevel(c)
	if err != nil {
		return err
	}
	configs, err := keyValues(c.StringSlice("config"))
	if err != nil {
		return err
	}
	existed, err := client.CreateTopic(ctx, trimq.TopicSpec{
		Name: name[0], Partitions: uint32(c.Uint("partitions")), Level: level,
		RetentionBytes: c.Int64("retention-bytes"), RetentionMS: c.Duration("retention").Milliseconds(), Configs: configs,
	})
	if err != nil {
		return err
	}
	return said(c, existed, "topic %s with %d partitions", name[0], c.Uint("partitions"))
}

// topicView is a topic as JSON.
type topicView struct {
	Name           string          `json:"name"`
	UUID           string          `json:"uuid"`
	Level          string          `json:"level"`
	RetentionBytes int64           `json:"retention_bytes"`
	RetentionMS    int64           `json:"retention_ms"`
	Created        time.Time       `json:"created"`
	Configs        configView      `json:"configs"`
	Partitions     []partitionView `json:"partitions"`
}

type partitionView struct {
	Partition int    `json:"partition"`
	Index     uint64 `json:"index"`
	Next      uint64 `json:"next"`
	Visible   uint64 `json:"visible"`
	In        rate   `json:"in_per_second,omitempty"`
}

func viewTopics(topics []trimq.TopicInfo) []topicView {
	all := make([]topicView, len(topics))
	for i, t := range topics {
		all[i] = topicView{
			Name: t.Name, UUID: hex.EncodeToString(t.UUID[:]), Level: levelName(t.Level),
			RetentionBytes: t.RetentionBytes, RetentionMS: t.RetentionMS, Created: time.UnixMilli(t.CreatedMS).UTC(), Configs: viewConfigs(t.Configs),
		}
		for n, p := range t.Partitions {
			all[i].Partitions = append(all[i].Partitions, partitionView{Partition: n, Index: p.Index, Next: p.Next, Visible: p.Visible})
		}
	}
	return all
}

func listTopics(ctx context.Context, c *cli.Context, client *trimq.Client) error {
	if _, err := names(c, "", 0, 0); err != nil {
		return err
	}
	topics, err := client.Topics(ctx)
	if err != nil {
		return err
	}
	t := newTable("TOPIC", "PARTITIONS", "LEVEL", "RECORDS", "RETENTION", "CONFIGURATION")
	for _, topic := range topics {
		records := uint64(0)
		for _, p := range topic.Partitions {
			records += p.Visible
		}
		t.add(topic.Name, len(topic.Partitions), levelName(topic.Level), records, retention(topic), viewConfigs(topic.Configs).String())
	}
	return show(c, viewTopics(topics), t)
}

func retention(t trimq.TopicInfo) string {
	text := ""
	if t.RetentionMS > 0 {
		text = (time.Duration(t.RetentionMS) * time.Millisecond).String()
	}
	if t.RetentionBytes > 0 {
		if text != "" {
			text += ", "
		}
		text += strconv.FormatInt(t.RetentionBytes, 10) + " bytes"
	}
	if text == "" {
		return "unlimited"
	}
	return text
}

func describeTopics(_ context.Context, c *cli.Context, client *trimq.Client) error {
	wanted, err := names(c, "the topic's name", 1, -1)
	if err != nil {
		return err
	}
	l, err := lookTwice(c, func(ctx context.Context) ([]trimq.TopicInfo, error) { return client.Topics(ctx, wanted...) })
	if err != nil {
		return err
	}
	before := map[uint64]uint64{} // visible ends by index
	for _, topic := range l.first {
		for _, p := range topic.Partitions {
			before[p.Index] = p.Visible
		}
	}
	t := newTable("TOPIC", "PARTITION", "INDEX", "NEXT", "VISIBLE", "IN/S")
	views := viewTopics(l.last)
	for _, topic := range views {
		for i := range topic.Partitions {
			p := &topic.Partitions[i]
			if end, ok := before[p.Index]; ok {
				p.In = ratePer(end, p.Visible, l.apart)
			}
			t.add(topic.Name, p.Partition, p.Index, p.Next, p.Visible, rateText(p.In))
		}
	}
	return show(c, views, t)
}

func deleteTopic(ctx context.Context, c *cli.Context, client *trimq.Client) error {
	name, err := names(c, "the topic's name", 1, 1)
	if err != nil {
		return err
	}
	if err := client.DeleteTopic(ctx, name[0]); err != nil {
		return err
	}
	return said(c, false, "topic %s is deleted", name[0])
}

func addPartitions(ctx context.Context, c *cli.Context, client *trimq.Client) error {
	args, err := names(c, "the topic's name or the total", 2, 2)
	if err != nil {
		return err
	}
	total, err := strconv.ParseUint(args[1], 10, 32)
	if err != nil || total == 0 {
		return badUsage("TOTAL is %q; it must be a number of partitions", args[1])
	}
	if err := client.AddPartitions(ctx, args[0], uint32(total)); err != nil {
		return err
	}
	return said(c, false, "topic %s with %d partitions", args[0], total)
}
