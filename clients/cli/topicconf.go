package main

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/trimq/trimq/clients/trimq"
)

// configView is what was set of a topic's configuration, as JSON.
type configView map[string]string

func viewConfigs(list []trimq.RoutingHeader) configView {
	view := configView{}
	for _, g := range list {
		view[g.Key] = g.Value
	}
	return view
}

// String is the configuration in a table: retention has a column of its own.
func (v configView) String() string {
	var list []string
	for _, key := range slices.Sorted(maps.Keys(v)) {
		if !strings.HasPrefix(key, "retention.") {
			list = append(list, key+"="+v[key])
		}
	}
	return strings.Join(list, ",")
}

// keyValues reads KEY=VALUE.
func keyValues(list []string) (pairs []trimq.RoutingHeader, err error) {
	for _, text := range list {
		key, value, ok := strings.Cut(text, "=")
		if !ok || key == "" {
			return nil, badUsage("--config %q: want KEY=VALUE", text)
		}
		pairs = append(pairs, trimq.RoutingHeader{Key: key, Value: value})
	}
	return pairs, nil
}

func alterTopic(ctx context.Context, c *cli.Context, client *trimq.Client) error {
	name, err := names(c, "the topic's name", 1, 1)
	if err != nil {
		return err
	}
	pairs, err := keyValues(c.StringSlice("config"))
	if err != nil {
		return err
	}
	var changes []trimq.ConfigChange
	for _, g := range pairs {
		changes = append(changes, trimq.SetConfig(g.Key, g.Value))
	}
	for _, key := range c.StringSlice("default") {
		changes = append(changes, trimq.UnsetConfig(key))
	}
	if len(changes) == 0 {
		return badUsage("nothing is to be changed: --config KEY=VALUE, --default KEY")
	}
	if err := client.AlterTopic(ctx, name[0], changes...); err != nil {
		return err
	}
	return said(c, false, "topic %s has another configuration", name[0])
}

func deleteRecords(ctx context.Context, c *cli.Context, client *trimq.Client) error {
	args, err := names(c, "the topic's name, a partition and an offset", 3, 3)
	if err != nil {
		return err
	}
	number, err := strconv.ParseUint(args[1], 10, 32)
	if err != nil {
		return badUsage("PARTITION is %q; it must be a number", args[1])
	}
	offset, err := strconv.ParseUint(args[2], 10, 64)
	if err != nil && args[2] != "latest" {
		return badUsage("OFFSET is %q; it must be a number, or latest", args[2])
	}
	topics, err := client.Topics(ctx, args[0])
	if err != nil {
		return err
	}
	if number >= uint64(len(topics[0].Partitions)) {
		return badUsage("topic %s has no partition %d, but 0 to %d", args[0], number, len(topics[0].Partitions)-1)
	}
	p := topics[0].Partitions[number]
	to := trimq.SeekTo{Index: p.Index, Offset: offset}
	if args[2] == "latest" {
		to.Offset = p.Visible
	}
	if err := client.DeleteRecords(ctx, to); err != nil {
		return err
	}
	return said(c, false, "partition %d of topic %s begins at %d", number, args[0], to.Offset)
}
