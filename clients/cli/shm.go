package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/trimq/trimq/shmqueue"
	"github.com/trimq/trimq/shmqueue/tier"
)

func keyFlag() cli.Flag {
	return &cli.IntFlag{Name: "shm-key-base", Aliases: []string{"key-base"}, Usage: "the broker's setting shm_key_base", EnvVars: []string{"TRIMQ_SHM_KEY_BASE"}}
}

// shmCommand is all that looks at shared memory. It attaches for reading only, so that nothing it
// does can harm a broker at work; but for rm, which refuses what is in use.
func shmCommand() *cli.Command {
	segment := "[SEGMENT]"
	return &cli.Command{Name: "shm", Usage: "look at a broker's shared memory on this machine", Subcommands: []*cli.Command{
		{Name: "ls", Aliases: []string{"list"}, Usage: "list the segments", Flags: []cli.Flag{keyFlag(), jsonFlag()}, Action: listSegments},
		{
			Name: "show", ArgsUsage: segment, Usage: "show all that stands in the segments' headers; of one ring (requests, responses or log) also the records in flight",
			Flags: []cli.Flag{
				keyFlag(), jsonFlag(),
				&cli.IntFlag{Name: "records", Aliases: []string{"n"}, Value: 50, Usage: "show so many records in flight at most; 0: all"},
			}, Action: showSegments,
		},
		{
			Name: "tail", ArgsUsage: "RING", Usage: "show the records of a ring as they come: requests, responses or log; says what it has missed",
			Flags: []cli.Flag{
				keyFlag(),
				&cli.IntFlag{Name: "count", Aliases: []string{"n"}, Usage: "end after so many records", DefaultText: "never"},
				&cli.DurationFlag{Name: "interval", Value: 50 * time.Millisecond, Usage: "time between two looks"},
				&cli.IntFlag{Name: "most", Value: 500, Usage: "show so many records of a look at most and pass over the rest"},
			}, Action: tailRing,
		},
		{
			Name: "watch", Usage: "show rates of the rings in a table, again and again",
			Flags: []cli.Flag{
				keyFlag(),
				&cli.IntFlag{Name: "count", Aliases: []string{"n"}, Usage: "end after so many tables", DefaultText: "never"},
				&cli.DurationFlag{Name: "interval", Value: time.Second, Usage: "time between two tables"},
			}, Action: watchSegments,
		},
		{
			Name: "verify", ArgsUsage: segment, Usage: "check every invariant of the segments; exit code 1 says that something is wrong",
			Flags: []cli.Flag{keyFlag()}, Action: verifySegments,
		},
		{Name: "rm", Usage: "remove the segments of a broker that is stopped; what is in use, or not TriMQ's, stays", Flags: []cli.Flag{keyFlag()}, Action: removeSegments},
	}}
}

// segment names one of a broker's segments, and who is at its ends; of the metrics nobody is.
type segment struct {
	name     string
	key      int
	producer string // daemon
	consumer string // daemon; its bell is in the ring
}

func segments(base int) []segment {
	request, response, log, metrics := tier.Keys(base)
	return []segment{
		{"requests", request, "connsrv", "logicsrv"},
		{"responses", response, "logicsrv", "connsrv"},
		{"log", log, "logicsrv", "persistsrv"},
		{"metrics", metrics, "", ""},
	}
}

// ring says whether the segment is to hold a ring.
func (s segment) ring() bool { return s.producer != "" }

// chosen are the segments that the arguments name; all where they name none.
func chosen(c *cli.Context, most int) ([]segment, error) {
	args, err := names(c, "", 0, most)
	if err != nil {
		return nil, err
	}
	all := segments(c.Int("shm-key-base"))
	if len(args) == 0 {
		return all, nil
	}
	for _, s := range all {
		if s.name == args[0] {
			return []segment{s}, nil
		}
	}
	return nil, badUsage("there is no segment %q; there are requests, responses, log and metrics", args[0])
}

func listSegments(c *cli.Context) error {
	if _, err := names(c, "", 0, 0); err != nil {
		return err
	}
	t := newTable("SEGMENT", "KEY", "ID", "KIND", "BYTES", "USED", "FILL", "OWNER", "MODE", "ATTACHED", "LAST PID", "PRODUCER", "CONSUMER", "NOTE")
	views := []segmentView{}
	for _, s := range segments(c.Int("shm-key-base")) {
		v, err := viewSegment(s)
		if errors.Is(err, shmqueue.ErrNoSegment) {
			continue
		}
		if err != nil {
			return err
		}
		views = append(views, v)
		producer, consumer, used, fill := "-", "-", "-", "-"
		if r := v.Ring; r != nil {
			producer, consumer = r.Producer.short(), r.Consumer.short()
			used, fill = fmt.Sprint(r.Used), r.fill()
		}
		t.add(v.Name, v.Key, v.ID, v.Kind, v.Bytes, used, fill, v.Owner, v.Mode, v.Attached, v.LastPID, producer, consumer, v.Trouble)
	}
	return show(c, views, t)
}

func removeSegments(c *cli.Context) error {
	if _, err := names(c, "", 0, 0); err != nil {
		return err
	}
	all := segments(c.Int("shm-key-base"))
	for _, s := range all { // all or none: a broker needs them together
		in, err := shmqueue.Stat(s.key)
		if err == nil && in.Attached > 0 {
			return fmt.Errorf("segment %s (key %d) is in use: %d attachments, the last by pid %d; stop the broker first", s.name, s.key, in.Attached, in.LastPID)
		}
	}
	var errs []error
	for _, s := range all {
		err := shmqueue.Remove(s.key)
		switch {
		case errors.Is(err, shmqueue.ErrNoSegment):
		case err != nil:
			errs = append(errs, err)
		default:
			fmt.Fprintf(c.App.Writer, "segment %s (key %d) is removed\n", s.name, s.key)
		}
	}
	return errors.Join(errs...)
}
