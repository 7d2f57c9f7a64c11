package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
)

// Set by the linker.
var (
	version = "unversioned"
	commit  = "unknown"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := newApp().RunContext(ctx, os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "mq_perf:", err)
		os.Exit(1)
	}
}

func newApp() *cli.App {
	s := &settings{}
	return &cli.App{
		Name: "mq_perf", Usage: "load a TriMQ broker, and check and measure what comes of it",
		Version: version + " " + commit, HideHelpCommand: true,
		Commands: []*cli.Command{
			{
				Name: modeProduce, Usage: "send as fast as the broker acknowledges",
				Flags: join(connectionFlags(s), sharedFlags(s, 1_000_000, time.Minute), producerFlags(s)), Action: action(s, produce),
			},
			{
				Name: modeConsume, Usage: "read a topic from its beginning and check every message",
				Flags: join(connectionFlags(s), sharedFlags(s, 0, time.Minute), consumerFlags(s)), Action: action(s, consume),
			},
			{
				Name: modeE2E, Usage: "send and receive at once; latency from send to receipt",
				Flags: join(connectionFlags(s), sharedFlags(s, 1_000_000, time.Minute), producerFlags(s), consumerFlags(s)), Action: action(s, e2e),
			},
			{
				Name: modeRate, Usage: "send at a fixed rate; latency from the time a message was due",
				Flags: join(connectionFlags(s), sharedFlags(s, 0, 10*time.Second), producerFlags(s), consumerFlags(s), rateFlags(s)), Action: action(s, atRate),
			},
		},
	}
}

var errUnsound = errors.New("messages were lost, doubled, reordered or changed, or an error came up (see above)")

// action checks the flags, runs a mode, and prints its report.
func action(s *settings, mode func(context.Context, *settings) (*Report, error)) cli.ActionFunc {
	return func(c *cli.Context) error {
		if c.NArg() > 0 {
			return fmt.Errorf("%q is no flag", c.Args().First())
		}
		if err := s.check(); err != nil {
			return err
		}
		stop, err := profile(s.cpuProfile)
		if err != nil {
			return err
		}
		r, err := mode(c.Context, s)
		stop()
		if err != nil {
			return err
		}
		write := r.writeTable
		if s.json {
			write = r.writeJSON
		}
		if err := write(c.App.Writer); err != nil {
			return err
		}
		if !r.sound() {
			return errUnsound
		}
		return nil
	}
}

// profile writes a CPU profile of this program until stop is called.
func profile(path string) (stop func(), err error) {
	if path == "" {
		return func() {}, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() {
		pprof.StopCPUProfile()
		if err := f.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "mq_perf: write profile:", err)
		}
	}, nil
}
