package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/trimq/trimq/clients/trimq"
)

const (
	crowdTopics = 20
	crowdSubs   = 20 // of each topic
	crowdRate   = 50 // messages/s into each topic: 1,000 in all, and 20,000 deliveries/s
)

// crowd: 400 subscribers, first healthy, then all hanging, then catching up under a tenth of the load.
func crowd(ctx context.Context, b *bench) error {
	var subs []*subscriber
	for t := range crowdTopics {
		topic := fmt.Sprintf("t%02d", t)
		if err := b.topic(ctx, topic); err != nil {
			return err
		}
		for i := range crowdSubs {
			name := fmt.Sprintf("%s-%02d", topic, i)
			if err := b.subscription(ctx, name, topic, ""); err != nil {
				return err
			}
			s, err := b.consume(ctx, name, well, trimq.WithPrefetch(100), trimq.WithAckTimeout(2*time.Second))
			if err != nil {
				return err
			}
			subs = append(subs, s)
		}
	}
	load, err := b.crowdLoad(ctx, crowdRate)
	if err != nil {
		return err
	}
	lag := func() *latencies {
		sum := newLatencies()
		for _, s := range subs {
			s.mu.Lock()
			sum.h.Merge(s.lag.h)
			s.lag.h.Reset()
			s.mu.Unlock()
		}
		return sum
	}
	phase := func(name string, do func() error) error {
		m, err := b.measure(load, subs, do)
		if err == nil {
			m.print(name, lag())
		}
		return err
	}
	if err := phase("all are healthy", func() error { return wait(ctx, b.seconds) }); err != nil {
		return err
	}
	for _, s := range subs {
		s.health.Store(int32(silent))
	}
	if err := phase("all time out", func() error { return wait(ctx, b.seconds) }); err != nil {
		return err
	}
	sent := make([]uint64, crowdTopics)
	for t, p := range load {
		if err := p.end(); err != nil {
			return err
		}
		sent[t] = p.acked.Load()
	}
	return b.catchUp(ctx, subs, sent, phase)
}

func (b *bench) crowdLoad(ctx context.Context, rate float64) (load []*producer, err error) {
	for t := range crowdTopics {
		p, err := b.produce(ctx, &producer{topic: fmt.Sprintf("t%02d", t), rate: rate})
		if err != nil {
			return nil, err
		}
		load = append(load, p)
	}
	return load, nil
}

// catchUp makes everybody well again, under a tenth of the load. Messages of the second load have
// numbers of their own, from 0 on, so it is the first one's that are checked.
func (b *bench) catchUp(ctx context.Context, subs []*subscriber, sent []uint64, phase func(string, func() error) error) error {
	load, err := b.crowdLoad(ctx, crowdRate/10)
	if err != nil {
		return err
	}
	for _, s := range subs {
		s.health.Store(int32(well))
	}
	err = phase("they catch up under 90% less load", func() error {
		return until(ctx, "all catch up", 5*time.Minute, func() bool {
			for i, s := range subs {
				if s.unique() < sent[i/crowdSubs] {
					return false
				}
			}
			return true
		})
	})
	for _, p := range load {
		err = errors.Join(err, p.end())
	}
	for i, s := range subs {
		err = errors.Join(err, s.end(), s.complete(sent[i/crowdSubs], all))
	}
	return err
}
