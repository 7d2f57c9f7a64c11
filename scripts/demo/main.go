package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/trimq/trimq/scripts/broker"
)

func main() {
	lines := flag.Int("lines", 3_000_000, "lines of the corpus to send (each goes to the topic and through the exchange)")
	keep := flag.Bool("keep", false, "keep the scratch directory")
	limit := flag.Duration("limit", 5*time.Minute, "give up after that time")
	flag.Parse()
	if err := demo(*lines, *keep, *limit); err != nil {
		fmt.Fprintln(os.Stderr, "demo failed:", err)
		os.Exit(1)
	}
}

func demo(lines int, keep bool, limit time.Duration) (err error) {
	root, err := broker.GoSources()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "trimq-demo-")
	if err != nil {
		return err
	}
	b, err := broker.New(dir, nil)
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	defer func() {
		err = errors.Join(err, end(b, err, keep))
	}()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	fmt.Printf("starting a broker in %s\n", dir)
	if err := b.Start(); err != nil {
		return err
	}
	t, err := newTraffic(b.Addr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.client.Close(ctx)) }()
	if err := t.declare(ctx); err != nil {
		return err
	}
	if err := run(ctx, b, t, root, lines); err != nil {
		return err
	}
	return verdict(b, t)
}

// run produces, consumes and kills, until all is received.
func run(ctx context.Context, b *broker.Broker, t *traffic, root string, lines int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	fmt.Printf("sending %d lines of %s to topic %q (%d partitions) and through exchange %q to %d queues\n",
		lines, root, topicName, partitions, exchangeName, len(queueSpecs))
	var wg, progress sync.WaitGroup
	errs := make(chan error, 3+len(t.queues))
	job := func(what string, f func(context.Context) error) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if err := f(ctx); err != nil {
				errs <- fmt.Errorf("%s: %w", what, err)
				cancel() // one failure ends the others
			}
		}()
	}
	stop := make(chan struct{})
	progress.Add(1)
	go t.progress(os.Stdout, stop, &progress)
	job("consuming the topic", t.consumeTopic)
	for _, w := range t.queues {
		job("consuming queue "+w.name, func(ctx context.Context) error { return t.consumeQueue(ctx, w) })
	}
	job("killing", func(ctx context.Context) error { return kill(ctx, b, t, int64(2*lines)) })
	job("producing", func(ctx context.Context) error { return t.produce(ctx, root, lines) })
	wg.Wait()
	close(stop)
	progress.Wait()
	close(errs)
	var all error
	for err := range errs {
		all = errors.Join(all, err)
	}
	return all
}

// kill kills logicsrv and persistsrv when a third and two thirds are acknowledged.
func kill(ctx context.Context, b *broker.Broker, t *traffic, total int64) error {
	for i, name := range []string{"logicsrv", "persistsrv"} {
		for t.acked.Load() < total*int64(i+1)/3 {
			select {
			case <-ctx.Done():
				return nil // whoever failed has said why
			case <-time.After(5 * time.Millisecond):
			}
		}
		fmt.Printf("        kill -9 %s, with %d messages acknowledged\n", name, t.acked.Load())
		if err := b.Kill(name); err != nil {
			return err
		}
	}
	return nil
}

// verdict compares and tells.
func verdict(b *broker.Broker, t *traffic) error {
	equal := report(os.Stdout, t.ways())
	states, err := b.States()
	if err != nil {
		return err
	}
	fmt.Printf("\nlogicsrv was restarted %d times, persistsrv %d, connsrv %d\n",
		states["logicsrv"].Restarts, states["persistsrv"].Restarts, states["connsrv"].Restarts)
	fmt.Printf("client connections made: %d, lost: %d; longest pause between two acknowledgements: %v\n",
		t.dials.Load(), t.lost.Load(), time.Duration(t.longest.Load()).Round(time.Millisecond))
	switch {
	case !equal:
		return errors.New("what came out is not what went in")
	case states["logicsrv"].Restarts != 1 || states["persistsrv"].Restarts != 1:
		return errors.New("a tier was not killed, or died by itself")
	case t.lost.Load() != 0:
		return fmt.Errorf("%d connections were lost", t.lost.Load())
	}
	fmt.Println("no client connection was closed, and all digests are equal")
	return nil
}

// end stops the broker and removes all of it; after a failure it shows the logs first.
func end(b *broker.Broker, failed error, keep bool) error {
	if failed != nil {
		fmt.Fprint(os.Stderr, b.Logs())
	}
	err := b.Signal("15")
	if left := b.Left(); err == nil && len(left) > 0 {
		err = fmt.Errorf("left behind: %v", left)
	}
	err = errors.Join(err, b.Cleanup())
	if keep {
		fmt.Println("kept:", b.Dir)
		return err
	}
	return errors.Join(err, os.RemoveAll(b.Dir))
}
