package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/trimq/trimq/clients/trimq"
)

func purgeQueue(ctx context.Context, c *cli.Context, client *trimq.Client) error {
	name, err := names(c, "the queue's name", 1, 1)
	if err != nil {
		return err
	}
	n, err := client.Purge(ctx, name[0])
	if err != nil {
		return err
	}
	return said(c, false, "queue %s is purged of %d messages", name[0], n)
}

func seekFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "to", Usage: "earliest, latest, an offset, or a time (RFC 3339)"},
		&cli.Uint64Flag{Name: "index", Usage: "only in the index with this `ID`, to an offset", DefaultText: "all of the queue's"},
	}
}

func seekQueue(ctx context.Context, c *cli.Context, client *trimq.Client) error {
	name, err := names(c, "the queue's name", 1, 1)
	if err != nil {
		return err
	}
	if !c.IsSet("to") {
		return badUsage("--to is missing: where the queue is to go on; see %s --help", c.Command.HelpName)
	}
	to, err := parseFrom("to", c.String("to"))
	if err != nil {
		return err
	}
	if !c.IsSet("index") {
		err = client.Seek(ctx, name[0], to)
	} else if offset, ok := parseOffset(c.String("to")); ok {
		err = client.SeekTo(ctx, name[0], trimq.SeekTo{Index: c.Uint64("index"), Offset: offset})
	} else {
		err = badUsage("--to is %q; with --index it must be an offset", c.String("to"))
	}
	if err != nil {
		return err
	}
	return said(c, false, "queue %s goes on at %s", name[0], c.String("to"))
}
