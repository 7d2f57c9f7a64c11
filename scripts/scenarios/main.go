package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"
)

// settings are what the command line says.
type settings struct {
	seconds  time.Duration // of one measurement
	backlog  int64         // bytes that a backlog grows to
	messages int           // in the one queue
	size     int           // bytes of a message
}

// scenario is one load.
type scenario struct {
	name string
	what string
	play func(ctx context.Context, b *bench) error
}

var scenarios = []scenario{
	{"healthy", "1 producer, 1 healthy subscriber", healthy},
	{"filters", "1 producer at 5,000 messages/s, 1 and 20 subscribers with different filters", filters},
	{"backlog", "1 subscriber that times out while the backlog grows, then works it off", backlog},
	{"sick", "20 subscribers, of which 19 fail, time out or are offline", sick},
	{"crowd", "20 topics with 20 subscribers each: healthy, all timing out, catching up", crowd},
	{"declare", "10,000 queues and 100,000 bindings", declare},
	{"partitions", "5,000 partitions in 100 topics: creation, metadata, restarts, idle", partitions},
	{"idle", "10,000 AMQP connections with a channel each that do nothing", idle},
	{"millions", "ten million messages in one queue, and a kill -9 of logicsrv", millions},
}

func main() {
	var s settings
	only := flag.String("only", "", "play these scenarios only, separated by commas")
	list := flag.Bool("list", false, "list the scenarios")
	flag.DurationVar(&s.seconds, "time", 10*time.Second, "of one measurement")
	flag.Int64Var(&s.backlog, "backlog", 2<<30, "bytes that a backlog grows to")
	flag.IntVar(&s.messages, "messages", 10_000_000, "messages in the one queue")
	flag.IntVar(&s.size, "size", 4096, "bytes of a message")
	flag.Parse()
	if *list {
		for _, sc := range scenarios {
			fmt.Printf("%-10s %s\n", sc.name, sc.what)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := playAll(ctx, &s, *only); err != nil {
		fmt.Fprintln(os.Stderr, "scenarios:", err)
		os.Exit(1)
	}
}

func playAll(ctx context.Context, s *settings, only string) error {
	if s.size < stampBytes || s.size > 1<<20 || s.messages < 1000 || s.backlog < 1<<20 || s.seconds < time.Second {
		return fmt.Errorf("-size can be %d to %d, -messages 1,000 or more, -backlog %d or more, -time 1s or more", stampBytes, 1<<20, 1<<20)
	}
	chosen := scenarios
	if only != "" {
		chosen = nil
		for name := range strings.SplitSeq(only, ",") {
			i := slices.IndexFunc(scenarios, func(sc scenario) bool { return sc.name == name })
			if i < 0 {
				return fmt.Errorf("there is no scenario %q; -list shows them", name)
			}
			chosen = append(chosen, scenarios[i])
		}
	}
	var all error
	for _, sc := range chosen {
		if err := ctx.Err(); err != nil {
			return err
		}
		fmt.Printf("\n%s: %s\n", sc.name, sc.what)
		if err := playOne(ctx, s, sc); err != nil {
			all = errors.Join(all, fmt.Errorf("%s: %w", sc.name, err))
		}
	}
	return all
}
