package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/trimq/trimq/clients/trace"
	"github.com/trimq/trimq/clients/trimq"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/native"
)

func traceCommand() *cli.Command {
	return &cli.Command{
		Name: "trace", ArgsUsage: "MESSAGE", Usage: "tell what has happened to a message, from the commit log",
		Description: "MESSAGE is one of\n" +
			"   QUEUE@OFFSET            a message of a queue, or QUEUE/PRIORITY@OFFSET\n" +
			"   TOPIC/PARTITION@OFFSET  a message of a topic\n" +
			"   #INDEX@OFFSET           the same by the number of the index\n" +
			"   HEADER=VALUE            the first message with this header; all of the log is read for it\n" +
			"It reads the data directory of a broker on this machine, running or not.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "data", Usage: "the broker's data `DIR`ectory", EnvVars: []string{"TRIMQ_DATA"}, DefaultText: "the one that the running broker names"},
			jsonFlag(),
		},
		Action: traceMessage,
	}
}

func traceMessage(c *cli.Context) error {
	args, err := names(c, "the message", 1, 1)
	if err != nil {
		return err
	}
	known := trace.NewNames()
	dir, err := askBroker(c, known)
	if err != nil {
		return err
	}
	fs, err := openDataDir(dir)
	if err != nil {
		return err
	}
	origin, err := originOf(c, fs, known, args[0])
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	if err := trace.LearnNames(fs, known, origin.LSN); err != nil {
		return err
	}
	return printStory(c, fs, origin, known)
}

// askBroker asks for the data directory, and for the names of queues and partitions, of which the
// log may be too young to know. Where the directory is given, no broker need answer.
func askBroker(c *cli.Context, known *trace.Names) (dir string, err error) {
	dir = c.String("data")
	client, err := connect(c)
	if err != nil {
		return "", err
	}
	ctx, cancel := limit(c)
	defer cancel()
	defer client.Close(ctx)
	info, err := client.Info(ctx)
	if err == nil {
		err = askNames(ctx, client, known)
	}
	for _, p := range info.Pairs {
		if p.Key == native.PairDataDir && dir == "" {
			dir = p.Value
		}
	}
	switch {
	case dir != "":
		return dir, nil
	case err != nil:
		return "", fmt.Errorf("no broker answers (%w); give its data directory with --data", err)
	}
	return "", errors.New("the broker does not name its data directory; give it with --data")
}

func askNames(ctx context.Context, client *trimq.Client, known *trace.Names) error {
	topics, err := client.Topics(ctx)
	if err != nil {
		return err
	}
	for _, t := range topics {
		for i, p := range t.Partitions {
			known.Place(0, p.Index, trace.Partition(t.Name, i))
		}
	}
	queues, err := client.Queues(ctx)
	for _, q := range queues {
		known.Queue(q.Queue, q.Name)
		for _, ix := range q.Indexes {
			if q.Settings.Topic == "" {
				known.Place(q.Queue, ix.Index, trace.Lane(q.Name, ix.Number))
			}
		}
	}
	return err
}

// originOf finds the message that an argument names.
func originOf(c *cli.Context, fs commitlog.FS, known *trace.Names, arg string) (trace.Origin, error) {
	if key, value, ok := strings.Cut(arg, "="); ok {
		o, unread, err := trace.FindHeader(fs, key, value)
		if unread > 0 {
			fmt.Fprintf(c.App.ErrWriter, "%d batches could not be looked into: they are compressed in a way that this program does not read, or damaged\n", unread)
		}
		return o, err
	}
	place, err := placeOf(fs, known, arg)
	if err != nil {
		return trace.Origin{}, err
	}
	return trace.Find(fs, place)
}

// printStory prints the steps as they are read.
func printStory(c *cli.Context, fs commitlog.FS, origin trace.Origin, known *trace.Names) error {
	steps := []trace.Step{}
	t := newTable("TIME", "LSN", "MESSAGE", "WHAT")
	err := trace.Follow(fs, origin, known, func(s trace.Step) {
		steps = append(steps, s)
		t.add(time.UnixMilli(s.TimeMS).Format("2006-01-02 15:04:05.000"), s.LSN, s.Message, s.What)
	})
	if err != nil {
		return err
	}
	return show(c, steps, t)
}

// placeOf reads a message's name.
func placeOf(fs commitlog.FS, known *trace.Names, arg string) (trace.Place, error) {
	at := strings.LastIndexByte(arg, '@')
	offset, err := strconv.ParseUint(arg[at+1:], 10, 64)
	if at <= 0 || err != nil {
		return trace.Place{}, badUsage("a message is named QUEUE@OFFSET, TOPIC/PARTITION@OFFSET, #INDEX@OFFSET or HEADER=VALUE")
	}
	name := arg[:at]
	if number, ok := strings.CutPrefix(name, "#"); ok {
		index, err := strconv.ParseUint(number, 10, 64)
		if err != nil {
			return trace.Place{}, badUsage("%q is no number of an index", number)
		}
		return trace.Place{Index: index, Offset: offset}, nil
	}
	index, ok := known.Index(name)
	if !ok {
		if err := trace.LearnNames(fs, known, 0); err != nil {
			return trace.Place{}, err
		}
		index, ok = known.Index(name)
	}
	if !ok {
		return trace.Place{}, fmt.Errorf("no queue or partition is called %q; with a topic goes the number of the partition, as in orders/0@17, and messages of a queue over a topic are named as the topic's", name)
	}
	return trace.Place{Index: index, Offset: offset}, nil
}
