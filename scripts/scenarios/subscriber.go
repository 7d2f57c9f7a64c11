package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/trimq/trimq/clients/trimq"
)

// health is how a subscriber does what it should.
type health int32

const (
	well    health = iota // acknowledges what it gets
	silent                // never acknowledges anything
	failing               // puts everything back, 10 ms after it got it
)

// subscriber takes messages from a queue, and keeps account of what it got.
type subscriber struct {
	name   string
	health atomic.Int32
	got    atomic.Uint64 // messages acknowledged
	again  atomic.Uint64 // … that it had before
	lag    *latencies

	mu   sync.Mutex
	seen map[uint64]struct{} // numbers of messages, if account is wanted

	q      *trimq.QueueConsumer
	cancel context.CancelFunc
	done   chan error
}

// subscription makes a queue over a topic.
func (b *bench) subscription(ctx context.Context, name, topic, selector string) error {
	spec := trimq.QueueSpec{Name: name, QueueSettings: trimq.QueueSettings{Durable: true, Topic: topic, Filter: selector}}
	if selector != "" {
		spec.FilterKind = trimq.FilterSelector
	}
	_, err := b.client.CreateQueue(ctx, spec)
	return err
}

// consume starts a subscriber on a queue.
func (b *bench) consume(ctx context.Context, name string, h health, opts ...trimq.QueueOption) (*subscriber, error) {
	q, err := b.client.ConsumeQueue(ctx, name, append([]trimq.QueueOption{trimq.WithPrefetch(1000)}, opts...)...)
	if err != nil {
		return nil, err
	}
	s := &subscriber{name: name, lag: newLatencies(), seen: map[uint64]struct{}{}, q: q, done: make(chan error, 1)}
	s.health.Store(int32(h))
	ctx, s.cancel = context.WithCancel(ctx)
	go func() { s.done <- s.run(ctx) }()
	return s, nil
}

func (s *subscriber) run(ctx context.Context) error {
	for {
		d, err := s.q.Receive(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		switch health(s.health.Load()) {
		case well:
			s.account(d)
			err = d.Ack()
		case failing:
			if err = wait(ctx, 10*time.Millisecond); err == nil {
				err = d.Nack()
			}
		}
		d.Release()
		if err != nil && ctx.Err() == nil && !errors.Is(err, trimq.ErrRecalled) {
			return err
		}
	}
}

func (s *subscriber) account(d *trimq.Deliveries) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range d.Messages {
		v := d.Messages[i].Value
		s.lag.record(now.Sub(time.UnixMicro(int64(binary.LittleEndian.Uint64(v)))))
		n := binary.LittleEndian.Uint64(v[8:])
		if _, had := s.seen[n]; had {
			s.again.Add(1)
		}
		s.seen[n] = struct{}{}
	}
	s.got.Add(uint64(len(d.Messages)))
}

// end stops a subscriber.
func (s *subscriber) end() error {
	s.cancel()
	err := <-s.done
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return errors.Join(err, s.q.Close(ctx))
}

// complete tells whether it has got every message of [0, count) that it is to get.
func (s *subscriber) complete(count uint64, is func(n uint64) bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	missing := 0
	for n := range count {
		if _, had := s.seen[n]; !had && is(n) {
			missing++
		}
	}
	if missing > 0 {
		return fmt.Errorf("subscriber %s lacks %d of %d messages", s.name, missing, count)
	}
	return nil
}

func all(uint64) bool { return true }
