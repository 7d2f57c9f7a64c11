package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/trimq/trimq/clients/trimq"
)

// topic makes a topic of one partition, at level disk.
func (b *bench) topic(ctx context.Context, name string) error {
	_, err := b.client.CreateTopic(ctx, trimq.TopicSpec{Name: name, Partitions: 1, Level: trimq.LevelDisk})
	return err
}

// finish ends the load, lets the subscribers get what is left, and checks that nobody lacks anything.
func finish(ctx context.Context, p *producer, subs []*subscriber, wanted func(i int) func(n uint64) bool) error {
	if err := p.end(); err != nil {
		return err
	}
	count := p.acked.Load()
	var err error
	for i, s := range subs {
		due := uint64(0)
		for n := range count {
			if wanted(i)(n) {
				due++
			}
		}
		err = errors.Join(err, until(ctx, s.name+" gets what is left", 2*time.Minute, func() bool { return s.unique() >= due }))
		err = errors.Join(err, s.end(), s.complete(count, wanted(i)))
	}
	return err
}

func (s *subscriber) unique() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return uint64(len(s.seen))
}

// healthy: one producer as fast as it can, one subscriber.
func healthy(ctx context.Context, b *bench) error {
	if err := errors.Join(b.topic(ctx, "t"), b.subscription(ctx, "one", "t", "")); err != nil {
		return err
	}
	s, err := b.consume(ctx, "one", well)
	if err != nil {
		return err
	}
	p, err := b.produce(ctx, &producer{topic: "t"})
	if err != nil {
		return err
	}
	m, err := b.measure([]*producer{p}, []*subscriber{s}, func() error { return wait(ctx, b.seconds) })
	if err != nil {
		return err
	}
	m.print("as fast as it goes", s.lag)
	return finish(ctx, p, []*subscriber{s}, func(int) func(uint64) bool { return all })
}

// filters: each subscriber wants one of 20 areas, and half of its prices.
func filters(ctx context.Context, b *bench) error {
	const rate = 5000
	for _, n := range []int{1, areas} {
		topic := fmt.Sprintf("t%d", n)
		if err := b.topic(ctx, topic); err != nil {
			return err
		}
		var subs []*subscriber
		for i := range n {
			name := fmt.Sprintf("%s-%02d", topic, i)
			if err := b.subscription(ctx, name, topic, fmt.Sprintf("area = 'a%02d' AND price >= 500", i)); err != nil {
				return err
			}
			s, err := b.consume(ctx, name, well)
			if err != nil {
				return err
			}
			subs = append(subs, s)
		}
		p, err := b.produce(ctx, &producer{topic: topic, rate: rate})
		if err != nil {
			return err
		}
		m, err := b.measure([]*producer{p}, subs, func() error { return wait(ctx, b.seconds) })
		if err != nil {
			return err
		}
		lag := newLatencies()
		for _, s := range subs {
			lag.h.Merge(s.lag.h)
		}
		m.print(fmt.Sprintf("%d subscribers with filters", n), lag)
		want(lag.below(99, 50*time.Millisecond), "push latency p99 below 50 ms at 5,000 messages/s")
		matches := func(i int) func(uint64) bool {
			return func(n uint64) bool { return n%areas == uint64(i) && n/areas%1000 >= 500 }
		}
		if err := finish(ctx, p, subs, matches); err != nil {
			return err
		}
	}
	return nil
}

// backlog: the only subscriber hangs until the backlog is large, and then works it off.
func backlog(ctx context.Context, b *bench) error {
	if err := errors.Join(b.topic(ctx, "t"), b.subscription(ctx, "one", "t", "")); err != nil {
		return err
	}
	s, err := b.consume(ctx, "one", silent, trimq.WithAckTimeout(2*time.Second))
	if err != nil {
		return err
	}
	p, err := b.produce(ctx, &producer{topic: "t"})
	if err != nil {
		return err
	}
	target := uint64(b.backlog) / uint64(b.size)
	m, err := b.measure([]*producer{p}, []*subscriber{s}, func() error {
		return until(ctx, "the backlog grows", 10*time.Minute, func() bool { return p.acked.Load() >= target })
	})
	if err != nil {
		return err
	}
	m.print(fmt.Sprintf("the backlog grows to %d MB", b.backlog>>20), nil)
	s.health.Store(int32(well))
	m, err = b.measure([]*producer{p}, []*subscriber{s}, func() error {
		if err := p.end(); err != nil {
			return err
		}
		return until(ctx, "the backlog is worked off", 10*time.Minute, func() bool { return s.unique() >= p.acked.Load() })
	})
	if err != nil {
		return err
	}
	m.print("it is worked off", nil)
	return errors.Join(s.end(), s.complete(p.acked.Load(), all))
}

// sickRounds is how often a healthy subscriber is measured alone and among sick ones, in turn: the
// median of the ratios counts, for one run on a shared machine says little.
const sickRounds = 5

// sick: how fast a healthy subscriber is alone, and among 19 sick ones of one topic.
func sick(ctx context.Context, b *bench) error {
	ratios := make([]float64, sickRounds)
	for i := range ratios {
		alone, err := b.amongSick(ctx, fmt.Sprintf("alone-%d", i), 0)
		if err != nil {
			return err
		}
		among, err := b.amongSick(ctx, fmt.Sprintf("among-%d", i), 19)
		if err != nil {
			return err
		}
		ratios[i] = among / alone
	}
	slices.Sort(ratios)
	ratio := ratios[sickRounds/2]
	want(ratio >= 0.9, "the healthy one at 90%% of its rate alone or more: %.0f%%, the median of %d rounds, %.0f%% to %.0f%%",
		100*ratio, sickRounds, 100*ratios[0], 100*ratios[sickRounds-1])
	return nil
}

// amongSick measures a healthy subscriber of a new topic among so many sick ones.
func (b *bench) amongSick(ctx context.Context, topic string, others int) (rate float64, err error) {
	if err := errors.Join(b.topic(ctx, topic), b.subscription(ctx, topic+"-well", topic, "")); err != nil {
		return 0, err
	}
	patients, err := b.sickOnes(ctx, topic, others)
	if err != nil {
		return 0, err
	}
	s, err := b.consume(ctx, topic+"-well", well)
	if err != nil {
		return 0, err
	}
	p, err := b.produce(ctx, &producer{topic: topic})
	if err != nil {
		return 0, err
	}
	m, err := b.measure([]*producer{p}, []*subscriber{s}, func() error { return wait(ctx, max(b.seconds/4, time.Second)) })
	if err != nil {
		return 0, err
	}
	m.print(fmt.Sprintf("a healthy one among %d sick ones", others), s.lag)
	for _, s := range patients {
		err = errors.Join(err, s.end())
	}
	return float64(m.got) / m.seconds, errors.Join(err, finish(ctx, p, []*subscriber{s}, func(int) func(uint64) bool { return all }))
}

// sickOnes are subscribers of a topic of which a third each fail, hang, and are not there.
func (b *bench) sickOnes(ctx context.Context, topic string, n int) (list []*subscriber, err error) {
	for i := range n {
		name := fmt.Sprintf("%s-sick-%02d", topic, i)
		if err := b.subscription(ctx, name, topic, ""); err != nil {
			return nil, err
		}
		if i%3 == 2 {
			continue // offline
		}
		s, err := b.consume(ctx, name, health(1+i%3), trimq.WithPrefetch(100), trimq.WithAckTimeout(2*time.Second))
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, nil
}
