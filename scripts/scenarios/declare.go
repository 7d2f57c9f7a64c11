package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/trimq/trimq/clients/perf/usage"
	"github.com/trimq/trimq/clients/trimq"
)

const (
	manyQueues   = 10_000
	manyBindings = 100_000
	declarers    = 256 // requests at a time
)

// declare: many queues and bindings, and what routing costs among them.
func declare(ctx context.Context, b *bench) error {
	if _, err := b.client.CreateExchange(ctx, trimq.ExchangeSpec{Name: "x", Type: trimq.Topic, Durable: true}); err != nil {
		return err
	}
	start := time.Now()
	err := each(ctx, manyQueues, func(i int) error {
		_, err := b.client.CreateQueue(ctx, trimq.QueueSpec{Name: queueName(i), QueueSettings: trimq.QueueSettings{Durable: true}})
		return err
	})
	if err != nil {
		return err
	}
	queues := time.Since(start)
	// Ten patterns for each queue; 10,000 different ones in all.
	err = each(ctx, manyBindings, func(i int) error {
		_, err := b.client.CreateBinding(ctx, trimq.BindingSpec{Exchange: "x", Queue: queueName(i / 10), RoutingKey: pattern(i % manyQueues)})
		return err
	})
	if err != nil {
		return err
	}
	took := time.Since(start)
	own := usage.Read(b.broker.Config.RunDir)["logicsrv"].OwnBytes
	fmt.Printf("  %d queues in %.1f s, %d bindings in %.1f s; logicsrv has %d MB\n",
		manyQueues, queues.Seconds(), manyBindings, (took - queues).Seconds(), own>>20)
	want(took < 20*time.Second, "declared in less than 20 s")
	return b.route(ctx)
}

func queueName(i int) string { return fmt.Sprintf("q-%05d", i) }

// pattern is one of 10,000; its messages reach ten queues.
func pattern(i int) string { return fmt.Sprintf("eu.*.%04d.#", i) }

// route publishes small messages whose keys match one pattern each.
func (b *bench) route(ctx context.Context) error {
	p, err := b.client.NewProducer(trimq.WithLevel(trimq.LevelPage))
	if err != nil {
		return err
	}
	const count = 300_000
	var failed error
	var once sync.Once
	value := make([]byte, smallMessage)
	m := trimq.Message{Exchange: "x", Mandatory: true, Value: value}
	start := time.Now()
	for i := range count {
		m.RoutingKey = fmt.Sprintf("eu.shop.%04d", i/100%manyQueues)
		if err := p.Produce(ctx, &m, func(_ trimq.Result, err error) {
			if err != nil {
				once.Do(func() { failed = err })
			}
		}); err != nil {
			return err
		}
	}
	if err := p.Close(ctx); err != nil {
		return err
	}
	took := time.Since(start).Seconds()
	fmt.Printf("  %.0f messages/s routed, each to 10 queues, 100 messages of a key in a row\n", count/took)
	return failed
}

// each does something for 0 … n-1, several at a time.
func each(ctx context.Context, n int, do func(i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	var all sync.WaitGroup
	for range declarers {
		all.Go(func() {
			for i := range next {
				if err := do(i); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	for i := 0; i < n && ctx.Err() == nil; i++ {
		select {
		case next <- i:
		case <-ctx.Done():
		}
	}
	close(next)
	all.Wait()
	return context.Cause(ctx)
}
