package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/trimq/trimq/scripts/broker"
	"github.com/trimq/trimq/scripts/tour"
	"github.com/trimq/trimq/shmqueue/tier"
)

const (
	patience    = 60 * time.Second       // bounds every tour
	pace        = 500 * time.Millisecond // from one tour to the next
	sampleEvery = 2 * time.Second
	stacksEvery = 15 // samples
)

type settings struct {
	time  time.Duration
	fault time.Duration
	seed  uint64
}

func main() {
	var s settings
	flag.DurationVar(&s.time, "time", time.Hour, "how long")
	flag.DurationVar(&s.fault, "fault", 20*time.Second, "from one fault to the next, on average")
	flag.Uint64Var(&s.seed, "seed", uint64(time.Now().UnixNano()%1_000_000), "of the faults")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, &s); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s *settings) (err error) {
	if s.time < 10*time.Second || s.fault < time.Second {
		return errors.New("-time is 10s or more, -fault 1s or more")
	}
	dir, err := os.MkdirTemp("", "trimq-soak-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b, err := broker.New(dir, map[string]string{
		"segment_bytes": `"4Mi"`, "checkpoint_seconds": "5", "retention_check_ms": "500", "group_initial_delay_ms": "0", "group_heartbeat_ms": "500",
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Signal("15"), b.Cleanup()) }()
	if err := b.Start(); err != nil {
		return err
	}
	k := &soak{settings: s, b: b, began: time.Now(), r: rand.New(rand.NewPCG(s.seed, 0))}
	fmt.Printf("soak: %v, seed %d\n", s.time, s.seed)
	ctx, cancel := context.WithTimeout(ctx, s.time)
	defer cancel()
	watched := make(chan struct{})
	go func() { defer close(watched); k.watch(ctx) }()
	tours, err := k.tours(ctx)
	cancel()
	<-watched
	return errors.Join(err, k.report(tours))
}

// soak is one run.
type soak struct {
	*settings
	b       *broker.Broker
	began   time.Time
	r       *rand.Rand // of the watcher
	samples samples
	faults  int
}

// tours are taken one after the other until ctx ends; what was wrong with one ends them.
func (k *soak) tours(ctx context.Context) (n int, err error) {
	for ; ctx.Err() == nil; n++ {
		began := time.Now()
		own, cancel := context.WithTimeout(context.Background(), patience) // it may take longer than the whole
		err := tour.Go(own, k.b.Addr, fmt.Sprintf("tour-%d", n), slog.New(slog.DiscardHandler))
		cancel()
		if err != nil {
			return n, fmt.Errorf("%v after the beginning: %w", time.Since(k.began).Round(time.Second), err)
		}
		time.Sleep(pace - time.Since(began))
	}
	return n, nil
}

// watch takes samples, and makes faults.
func (k *soak) watch(ctx context.Context) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	next := k.pause()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		k.samples.take(time.Since(k.began), k.b)
		if n%stacksEvery == 0 {
			k.samples.countGoroutines(time.Since(k.began), k.b)
		}
		if time.Since(k.began) > next {
			k.harm()
			k.faults++
			next = time.Since(k.began) + k.pause()
		}
	}
}

// pause is the time until the next fault.
func (k *soak) pause() time.Duration {
	return k.fault/2 + time.Duration(k.r.Int64N(int64(k.fault)))
}

// harm kills a daemon, or has it stand still.
func (k *soak) harm() {
	name := tier.Daemons[k.r.IntN(len(tier.Daemons))]
	if k.r.IntN(3) > 0 {
		_ = k.b.Kill(name) // it may be dead
		return
	}
	_ = k.b.Signal("STOP", name)
	time.Sleep(time.Duration(k.r.IntN(1000)) * time.Millisecond)
	_ = k.b.Signal("CONT", name)
}

// report prints the table, and says what has grown.
func (k *soak) report(tours int) (err error) {
	whole := time.Since(k.began)
	fmt.Printf("soak: %d tours, %d faults in %v\n", tours, k.faults, whole.Round(time.Second))
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "daemon\tquantity\tsamples\tsecond quarter\tlast quarter\t\t")
	slices.SortFunc(k.samples.list, func(a, b *series) int {
		return cmp.Or(strings.Compare(a.daemon, b.daemon), strings.Compare(a.name, b.name))
	})
	for _, x := range k.samples.list {
		second, last, grown := x.grows(whole)
		word := ""
		if grown {
			word = "GROWS"
			err = errors.Join(err, fmt.Errorf("%s of %s grow: %d %s, and then %d", x.name, x.daemon, second, x.unit, last))
		}
		fmt.Fprintf(w, "%s\t%s %s\t%d\t%d\t%d\t%s\t\n", x.daemon, x.name, x.unit, len(x.values), second, last, word)
	}
	return errors.Join(err, w.Flush())
}
