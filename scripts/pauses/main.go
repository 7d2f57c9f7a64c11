package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"time"

	"github.com/trimq/trimq/scripts/broker"
	"github.com/trimq/trimq/shmqueue/tier"
)

// patience bounds every wait.
const patience = 60 * time.Second

type settings struct {
	rounds       int
	stored, idle int
	rate         float64 // messages/s
	size         int     // bytes of a message
	only         *regexp.Regexp
}

func main() {
	var s settings
	flag.IntVar(&s.rounds, "rounds", 5, "how often each is done")
	flag.IntVar(&s.stored, "stored", 1_000_000, "messages in the queue")
	flag.IntVar(&s.idle, "idle", 1000, "connections that do nothing")
	flag.Float64Var(&s.rate, "rate", 5000, "messages per second")
	flag.IntVar(&s.size, "size", 1024, "bytes of a message")
	only := flag.String("only", "", "only what this regular expression fits")
	flag.Parse()
	var err error
	if s.only, err = regexp.Compile(*only); err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		defer stop()
		err = run(ctx, &s)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "pauses:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s *settings) (err error) {
	if s.rounds < 1 || s.rate < 1 || s.stored < 0 || s.idle < 0 || s.size > 1<<19 {
		return errors.New("-rounds and -rate are 1 or more, -stored and -idle 0 or more, -size 512 KiB at most")
	}
	dir, err := os.MkdirTemp("", "trimq-pauses-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b, err := broker.New(dir, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Signal("15"), b.Cleanup()) }()
	if err := b.Start(); err != nil {
		return err
	}
	l, err := begin(ctx, b.Addr, s)
	defer func() { err = errors.Join(err, l.end(ctx)) }()
	if err != nil {
		return err
	}
	return table(ctx, s, b, l)
}

// measured is what one round has shown.
type measured struct {
	ack, delivery         time.Duration // longest times without any
	before, during, after int           // deliveries in a second
	lost                  int64         // connections
}

// table does everything and prints a row for each fault.
func table(ctx context.Context, s *settings, b *broker.Broker, l *load) error {
	fmt.Printf("%d messages stored, %d idle connections, %.0f messages of %d bytes per second at level disk, medians of %d (worst)\n\n",
		s.stored, s.idle, s.rate, s.size, s.rounds)
	fmt.Println("| what happens | longest time without an acknowledgement, ms | without a delivery, ms | deliveries/s before | in the second of it | in the next | connections lost |")
	fmt.Println("|---|---|---|---|---|---|---|")
	var wrong error
	for _, f := range append([]fault{{name: "nothing", do: func(*broker.Broker) error { return nil }}}, faults()...) {
		if !s.only.MatchString(f.name) {
			continue
		}
		var rounds []measured
		for range s.rounds {
			m, err := round(ctx, b, l, f)
			if err != nil {
				return fmt.Errorf("%s: %w", f.name, err)
			}
			if rounds = append(rounds, m); m.lost > 0 && f.keepsConnections() {
				wrong = errors.Join(wrong, fmt.Errorf("%s: %d connections were lost", f.name, m.lost))
			}
		}
		fmt.Println(row(f.name, rounds))
	}
	return wrong
}

// round lets all be well for a second and more, does something, and looks at what followed.
func round(ctx context.Context, b *broker.Broker, l *load, f fault) (m measured, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := errors.Join(l.settled(ctx), ready(ctx, b)); err != nil {
		return m, err
	}
	l.acked.forget()
	l.delivered.forget()
	time.Sleep(1200 * time.Millisecond)
	lost, at := l.lost.n.Load(), time.Now()
	if err := f.do(b); err != nil {
		return m, err
	}
	time.Sleep(time.Until(at.Add(2 * time.Second)))
	if err := errors.Join(ctx.Err(), ready(ctx, b), l.settled(ctx)); err != nil {
		return m, err
	}
	end := time.Now()
	return measured{
		ack: l.acked.longest(at, end), delivery: l.delivered.longest(at, end),
		before: l.delivered.count(at.Add(-time.Second), at), during: l.delivered.count(at, at.Add(time.Second)),
		after: l.delivered.count(at.Add(time.Second), at.Add(2*time.Second)), lost: l.lost.n.Load() - lost,
	}, nil
}

// ready waits until all daemons serve.
func ready(ctx context.Context, b *broker.Broker) error {
	for {
		states, err := b.States()
		n := 0
		for _, t := range states {
			if t.State == "ready" {
				n++
			}
		}
		if err != nil || n == len(tier.Daemons) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not all daemons serve: %v: %w", states, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// row is one line of the table.
func row(name string, rounds []measured) string {
	of := func(get func(m measured) int) (median, most int) {
		var list []int
		for _, m := range rounds {
			list = append(list, get(m))
		}
		slices.Sort(list)
		return list[len(list)/2], list[len(list)-1]
	}
	ack, worstAck := of(func(m measured) int { return int(m.ack.Milliseconds()) })
	delivery, worst := of(func(m measured) int { return int(m.delivery.Milliseconds()) })
	before, _ := of(func(m measured) int { return m.before })
	during, _ := of(func(m measured) int { return m.during })
	after, _ := of(func(m measured) int { return m.after })
	lost, _ := of(func(m measured) int { return int(m.lost) })
	return fmt.Sprintf("| %s | %d (%d) | %d (%d) | %d | %d | %d | %d |", name, ack, worstAck, delivery, worst, before, during, after, lost)
}
