package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/trimq/trimq/clients/perf/usage"
	"github.com/trimq/trimq/clients/trimq"
	"github.com/trimq/trimq/scripts/broker"
)

// bench is a broker with what a scenario does to it.
type bench struct {
	*settings
	broker *broker.Broker
	client *trimq.Client
	amqp   string // URL for AMQP's clients
}

func playOne(ctx context.Context, s *settings, sc scenario) (err error) {
	dir, err := os.MkdirTemp("", "trimq-scenario-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	kafka, err := broker.FreeAddress()
	if err != nil {
		return err
	}
	amqp, err := broker.FreeAddress()
	if err != nil {
		return err
	}
	b, err := broker.New(dir, map[string]string{
		"kafka_listen": fmt.Sprintf("%q", kafka), "amqp_listen": fmt.Sprintf("%q", amqp), "max_connections": "15000",
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Signal("15"), b.Cleanup()) }()
	if err := b.Start(); err != nil {
		return err
	}
	client, err := trimq.NewClient([]string{b.Addr}, trimq.WithName("scenarios"))
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		err = errors.Join(err, client.Close(ctx))
	}()
	return sc.play(ctx, &bench{s, b, client, "amqp://guest:guest@" + amqp + "/"})
}

// measured is what happened between two moments.
type measured struct {
	seconds float64
	sent    uint64
	got     uint64
	use     []usage.Process
}

// measure does something, and says what was sent and delivered meanwhile and what that cost.
func (b *bench) measure(load []*producer, subs []*subscriber, do func() error) (m measured, err error) {
	sum := func() (sent, got uint64) {
		for _, p := range load {
			sent += p.acked.Load()
		}
		for _, s := range subs {
			got += s.got.Load()
		}
		return sent, got
	}
	before := usage.Read(b.broker.Config.RunDir)
	stop := make(chan struct{})
	peaks := usage.Watch(b.broker.Config.RunDir, stop)
	sent, got := sum()
	start := time.Now()
	err = do()
	m.seconds = time.Since(start).Seconds()
	m.sent, m.got = sum()
	m.sent, m.got = m.sent-sent, m.got-got
	close(stop)
	m.use = usage.Between(before, usage.Read(b.broker.Config.RunDir), <-peaks)
	return m, err
}

// print writes one line about a measurement, with the percentiles of push latency.
func (m *measured) print(name string, lag *latencies) {
	fmt.Printf("  %-34s sent %8.0f/s  delivered %8.0f/s", name, float64(m.sent)/m.seconds, float64(m.got)/m.seconds)
	if lag != nil && lag.h.TotalCount() > 0 {
		fmt.Printf("  push p50 %s p99 %s p99.9 %s", lag.at(50), lag.at(99), lag.at(99.9))
	}
	fmt.Printf("\n  %-34s", "")
	for _, p := range m.use {
		fmt.Printf(" %s %.0f%% %d MB ", p.Name, 100*p.CPUSeconds/m.seconds, p.OwnBytes>>20)
	}
	fmt.Println()
}

// want prints what is wanted, and whether it was so.
func want(met bool, format string, args ...any) {
	word := "met"
	if !met {
		word = "NOT MET"
	}
	fmt.Printf("  wanted: %s: %s\n", fmt.Sprintf(format, args...), word)
}

// wait sleeps, or ends with ctx.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// until waits for something to become so, within a time.
func until(ctx context.Context, what string, within time.Duration, so func() bool) error {
	for end := time.Now().Add(within); !so(); {
		if time.Now().After(end) {
			return fmt.Errorf("%s: not within %v", what, within)
		}
		if err := wait(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}
