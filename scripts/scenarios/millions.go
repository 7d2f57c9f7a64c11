package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/trimq/trimq/clients/perf/usage"
	"github.com/trimq/trimq/clients/trimq"
)

const (
	smallMessage = 100 // bytes of each of the millions
	millionPart  = 200_000
	millionTurns = 5
)

// millions: what it costs that ten million messages wait in one queue: memory, the time in which
// logicsrv comes back from kill -9, and the rate of publishing, beside that into an empty queue.
func millions(ctx context.Context, b *bench) error {
	for _, q := range []string{"full", "empty"} {
		if err := b.plainQueue(ctx, q); err != nil {
			return err
		}
	}
	fill := &producer{queue: "full", count: uint64(b.messages)}
	m, err := b.measure([]*producer{fill}, nil, func() error { return b.publish(ctx, fill) })
	if err != nil {
		return err
	}
	m.print(fmt.Sprintf("%d messages of %d B", b.messages, smallMessage), nil)
	for _, p := range m.use {
		if p.Name == "logicsrv" {
			want(p.OwnBytes < 200<<20, "logicsrv below 200 MB: %d MB", p.OwnBytes>>20)
		}
	}
	if err := b.compareRates(ctx); err != nil {
		return err
	}
	return b.killAndDeliver(ctx)
}

func (b *bench) plainQueue(ctx context.Context, name string) error {
	_, err := b.client.CreateQueue(ctx, trimq.QueueSpec{Name: name, Level: trimq.LevelDisk, QueueSettings: trimq.QueueSettings{Durable: true}})
	return err
}

// publish runs a producer of small messages to its end.
func (b *bench) publish(ctx context.Context, p *producer) error {
	small := *b.settings
	small.size = smallMessage
	if _, err := (&bench{&small, b.broker, b.client, b.amqp}).produce(ctx, p); err != nil {
		return err
	}
	return <-p.done
}

// compareRates publishes to the full queue and to the empty one, in turn.
func (b *bench) compareRates(ctx context.Context) error {
	rates := map[string][]float64{}
	for range millionTurns {
		for _, q := range []string{"empty", "full"} {
			start := time.Now()
			if err := b.publish(ctx, &producer{queue: q, count: millionPart}); err != nil {
				return err
			}
			rates[q] = append(rates[q], millionPart/time.Since(start).Seconds())
		}
		if _, err := b.client.Purge(ctx, "empty"); err != nil {
			return err
		}
	}
	for _, list := range rates {
		slices.Sort(list)
	}
	full, empty := rates["full"][millionTurns/2], rates["empty"][millionTurns/2]
	fmt.Printf("  publishing: %.0f/s into the empty queue, %.0f/s into the full one (medians of %d)\n", empty, full, millionTurns)
	want(full >= 0.9*empty, "into the full queue at 90%% of the empty one's rate or more: %.0f%%", 100*full/empty)
	return nil
}

// killAndDeliver measures from kill -9 of logicsrv to the first delivery to a consumer that was there
// before, whose credit is used up and given anew.
func (b *bench) killAndDeliver(ctx context.Context) error {
	q, err := b.client.ConsumeQueue(ctx, "full", trimq.WithPrefetch(1))
	if err != nil {
		return err
	}
	var took []time.Duration
	for range 3 {
		d, err := q.Receive(ctx)
		if err != nil {
			return err
		}
		before := usage.Read(b.broker.Config.RunDir)["logicsrv"].PID
		start := time.Now()
		if err := b.broker.Kill("logicsrv"); err != nil {
			return err
		}
		if err := errors.Join(d.Ack(), q.Flush(ctx)); err != nil { // comes through once the next one is up
			return err
		}
		d.Release()
		if d, err = q.Receive(ctx); err != nil {
			return err
		}
		took = append(took, time.Since(start))
		if err := errors.Join(d.Ack(), q.Flush(ctx)); err != nil {
			return err
		}
		d.Release()
		if after := usage.Read(b.broker.Config.RunDir)["logicsrv"].PID; after == before {
			return errors.New("logicsrv was not killed")
		}
	}
	slices.Sort(took)
	fmt.Printf("  from kill -9 of logicsrv to the next delivery: %s\n", strings.Trim(fmt.Sprint(took), "[]"))
	want(took[len(took)/2] < time.Second, "below 1 s")
	return q.Close(ctx)
}
