package main

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	modeProduce = "produce"
	modeConsume = "consume"
	modeE2E     = "e2e"
	modeRate    = "rate"
)

// produce floods the topic.
func produce(ctx context.Context, s *settings) (*Report, error) {
	b, err := open(ctx, s, modeProduce)
	if err != nil {
		return nil, err
	}
	defer b.close()
	if err := b.addProducers(s.count); err != nil {
		return nil, err
	}
	b.start()
	seconds := b.produce(ctx, func(ctx context.Context, _ int, l *load) { l.flood(ctx) })
	b.measured()
	b.countLoads()
	b.report.finish(b.report.Acknowledged, b.report.Acknowledged*int64(s.size), seconds)
	return b.report, nil
}

// consume reads the topic from its beginning.
func consume(ctx context.Context, s *settings) (*Report, error) {
	b, err := open(ctx, s, modeConsume)
	if err != nil {
		return nil, err
	}
	defer b.close()
	want, err := b.stored(ctx)
	if err != nil {
		return nil, err
	}
	whole := s.count == 0
	if !whole {
		want = s.count
	}
	if want == 0 {
		return nil, fmt.Errorf("topic %q is empty (give --count to wait for messages)", s.topic)
	}
	ctx, cancel := context.WithTimeout(ctx, s.duration)
	defer cancel()
	g := &goal{reached: cancel}
	g.want.Store(want)
	b.start()
	if err := b.addConsumers(ctx, g, false, false); err != nil {
		return nil, err
	}
	for _, in := range b.takes {
		in.whole = whole
	}
	b.receive(ctx, g)
	b.measured()
	v, last := b.countTakes()
	b.report.Messages = b.report.Received
	b.report.Lost = max(g.want.Load()-v.distinct-b.report.Corrupt, 0)
	b.report.finish(b.report.Received, b.bytes(), last.Sub(b.began).Seconds())
	return b.report, nil
}

// stored is how many messages of the topic can be read now.
func (b *bench) stored(ctx context.Context) (int64, error) {
	found, err := b.client.Topics(ctx, b.s.topic)
	if err != nil {
		return 0, err
	}
	var n int64
	for _, t := range found {
		for _, p := range t.Partitions {
			n += int64(p.Visible)
		}
	}
	return n, nil
}

func (b *bench) bytes() int64 {
	var n int64
	for _, in := range b.takes {
		n += in.book.bytes
	}
	return n
}

// receive runs all intakes until the goal is reached, ctx ends, or nothing comes any more.
func (b *bench) receive(ctx context.Context, g *goal) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	for _, in := range b.takes {
		wg.Go(func() { in.run(ctx) })
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	seen, since := int64(-1), time.Now()
	for {
		select {
		case <-done:
			if want := g.want.Load(); want > 0 && g.received.Load() < want && ctx.Err() != nil {
				b.stopped(ctx.Err())
			}
			return
		case now := <-tick.C:
			if n := g.received.Load(); n != seen {
				seen, since = n, now
			} else if g.want.Load() > 0 && now.Sub(since) > b.s.idle {
				b.report.Stopped = fmt.Sprintf("nothing came for %s", b.s.idle)
				cancel()
				<-done
				return
			}
		}
	}
}

// both produces with send and receives the same messages.
func both(ctx context.Context, b *bench, send func(ctx context.Context, i int, l *load)) error {
	limit, cancel := context.WithTimeout(ctx, b.s.duration+b.s.drain+b.s.idle)
	defer cancel()
	g := &goal{reached: cancel}
	if err := b.addConsumers(limit, g, true, true); err != nil {
		return err
	}
	b.start()
	var wg sync.WaitGroup
	wg.Go(func() { b.receive(limit, g) })
	b.produce(ctx, send)
	b.countLoads()
	g.set(max(b.report.Acknowledged, 1))
	if b.report.Acknowledged == 0 {
		cancel()
	}
	wg.Wait()
	b.measured()
	v, last := b.countTakes()
	b.report.Lost = max(b.report.Acknowledged-v.distinct, 0)
	b.report.finish(v.distinct, b.bytes(), last.Sub(b.began).Seconds())
	return nil
}

// e2e floods the topic and reads it at once.
func e2e(ctx context.Context, s *settings) (*Report, error) {
	b, err := open(ctx, s, modeE2E)
	if err != nil {
		return nil, err
	}
	defer b.close()
	if err := b.addProducers(s.count); err != nil {
		return nil, err
	}
	for _, l := range b.loads {
		l.timed = true
	}
	if err := both(ctx, b, func(ctx context.Context, _ int, l *load) { l.flood(ctx) }); err != nil {
		return nil, err
	}
	return b.report, nil
}

// atRate sends on a schedule; with --consume it also receives.
func atRate(ctx context.Context, s *settings) (*Report, error) {
	b, err := open(ctx, s, modeRate)
	if err != nil {
		return nil, err
	}
	defer b.close()
	if s.count == 0 {
		s.count = int64(s.rate * s.duration.Seconds())
	}
	if s.count < 1 || s.count > maxNumber {
		return nil, fmt.Errorf("--rate %g for %s is %d messages: from 1 to %d", s.rate, s.duration, s.count, maxNumber)
	}
	// The schedule must not be cut short by its own length.
	s.duration = max(s.duration, time.Duration(float64(s.count)/s.rate*float64(time.Second))) + s.drain
	if err := b.addProducers(s.count); err != nil {
		return nil, err
	}
	b.report.AskedRate = s.rate
	each := s.rate / float64(s.producers)
	send := func(ctx context.Context, i int, l *load) {
		l.pace(ctx, each, time.Duration(float64(i)*float64(time.Second)/s.rate))
	}
	if s.consume {
		if err := both(ctx, b, send); err != nil {
			return nil, err
		}
		return b.report, nil
	}
	b.start()
	seconds := b.produce(ctx, send)
	b.measured()
	b.countLoads()
	b.report.finish(b.report.Acknowledged, b.report.Acknowledged*int64(s.size), seconds)
	return b.report, nil
}
