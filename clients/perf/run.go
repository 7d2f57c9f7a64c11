package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/trimq/trimq/clients/perf/usage"
	"github.com/trimq/trimq/clients/trimq"
)

// bench is one run of a subcommand.
type bench struct {
	s      *settings
	client *trimq.Client
	run    uint32
	report *Report
	loads  []*load
	takes  []*intake
	closes []func(context.Context) error
	began  time.Time
	before map[string]usage.Use
	stop   chan struct{} // ends the watch of memory
	peaks  <-chan map[string]int64
}

// open connects and makes the topic.
func open(ctx context.Context, s *settings, mode string) (*bench, error) {
	ctx, cancel := context.WithTimeout(ctx, s.drain)
	defer cancel()
	client, err := trimq.Dial(ctx, s.addresses(), s.clientOptions()...)
	if err != nil {
		return nil, err
	}
	b := &bench{s: s, client: client, run: rand.Uint32()}
	b.report = &Report{Mode: mode, Topic: s.topic, Partitions: s.partitions}
	if err := b.makeTopic(ctx, mode); err != nil {
		_ = client.Close(ctx)
		return nil, err
	}
	return b, nil
}

// makeTopic takes the topic as it is, and makes it where it is not there and will be written.
func (b *bench) makeTopic(ctx context.Context, mode string) error {
	found, err := b.client.Topics(ctx, b.s.topic)
	if err == nil && len(found) == 1 {
		b.s.partitions = len(found[0].Partitions)
		b.report.Partitions = b.s.partitions
		return nil
	}
	if !errors.Is(err, trimq.ErrNotFound) || mode == modeConsume {
		return fmt.Errorf("topic %q: %w", b.s.topic, err)
	}
	_, err = b.client.CreateTopic(ctx, trimq.TopicSpec{Name: b.s.topic, Partitions: uint32(b.s.partitions), Level: b.s.level})
	if err != nil {
		return fmt.Errorf("create topic %q: %w", b.s.topic, err)
	}
	return nil
}

// addProducers makes loads that share count messages.
func (b *bench) addProducers(count int64) error {
	s := b.s
	b.report.Producers, b.report.Size, b.report.BatchBytes = s.producers, s.size, s.batchBytes
	b.report.Level, b.report.Codec = s.levelName, s.codecName
	for i := range s.producers {
		p, err := b.client.NewProducer(s.producerOptions()...)
		if err != nil {
			return err
		}
		b.closes = append(b.closes, p.Close)
		quota := count / int64(s.producers)
		if int64(i) < count%int64(s.producers) {
			quota++
		}
		b.loads = append(b.loads, &load{
			send: p, gen: newGenerator(b.run, i, s.size), topic: s.topic, quota: quota, sample: int64(s.sample), acks: newLatencies(),
		})
	}
	return nil
}

// addConsumers makes intakes; at the end of each partition where atEnd says so.
func (b *bench) addConsumers(ctx context.Context, g *goal, atEnd, timed bool) error {
	s := b.s
	s.consumers = min(s.consumers, s.partitions)
	b.report.Consumers, b.report.Commit = s.consumers, s.commit
	group := s.group
	if group == "" && s.commit != commitNone {
		group = fmt.Sprintf("mq_perf-%08x", b.run)
	}
	for i := range s.consumers {
		c, err := b.client.NewConsumer(ctx, []string{s.topic}, s.consumerOptions(i, group)...)
		if err != nil {
			return err
		}
		b.closes = append(b.closes, c.Close)
		b.takes = append(b.takes, newIntake(c, g, s.commit, timed))
		for p := i; atEnd && p < s.partitions; p += s.consumers {
			if err := c.Seek(ctx, s.topic, uint32(p), trimq.Latest()); err != nil {
				return fmt.Errorf("seek to the end of partition %d: %w", p, err)
			}
		}
	}
	return nil
}

// start begins the measured time.
func (b *bench) start() {
	b.before = usage.Read(b.s.runDir)
	b.stop = make(chan struct{})
	b.peaks = usage.Watch(b.s.runDir, b.stop)
	b.began = time.Now()
	for _, l := range b.loads {
		l.began = b.began
	}
}

// produce runs all loads, waits for the last acknowledgement, and gives the seconds it took.
func (b *bench) produce(ctx context.Context, send func(ctx context.Context, i int, l *load)) float64 {
	ctx, cancel := context.WithTimeout(ctx, b.s.duration)
	defer cancel()
	var wg sync.WaitGroup
	for i, l := range b.loads {
		wg.Go(func() {
			send(ctx, i, l)
			drain, cancel := context.WithTimeout(context.Background(), b.s.drain)
			defer cancel()
			if err := l.send.Flush(drain); err != nil && l.err == nil {
				l.err = fmt.Errorf("waiting for acknowledgements: %w", err)
			}
		})
	}
	wg.Wait()
	return time.Since(b.began).Seconds()
}

// countLoads sums up what the producers saw.
func (b *bench) countLoads() {
	r := b.report
	acks := newLatencies()
	for _, l := range b.loads {
		r.Messages += l.sent
		r.Acknowledged += l.acked.Load()
		r.Failed += l.failed.Load()
		r.Resent += l.duplicates.Load()
		r.BehindMS = max(r.BehindMS, round(l.behind.Seconds()*1000, 3))
		acks.merge(l.acks)
		if err := l.refusal.Load(); err != nil && r.Error == "" {
			r.Error = (*err).Error()
		}
		b.stopped(l.err)
	}
	r.AckLatency = acks.percentiles()
	r.Lost = r.Messages - r.Acknowledged - r.Failed
}

// stopped notes why a part of the run ended early: time is up, or an error.
func (b *bench) stopped(err error) {
	switch {
	case err == nil:
	case errors.Is(err, context.DeadlineExceeded):
		b.report.Stopped = "time was up: " + err.Error()
	case errors.Is(err, context.Canceled):
		b.report.Stopped = "interrupted"
	case b.report.Error == "":
		b.report.Error = err.Error()
	}
}

// countTakes sums up what the consumers saw, and gives when the last message came.
func (b *bench) countTakes() (verdict, time.Time) {
	r := b.report
	e2e := newLatencies()
	var all ledger
	var last time.Time
	for _, in := range b.takes {
		all.merge(&in.book)
		e2e.h.Merge(in.e2e)
		r.Commits += in.commits
		if in.last.After(last) {
			last = in.last
		}
		if err := in.problem(); err != nil && r.Error == "" {
			r.Error = err.Error()
		}
	}
	v := all.verdict()
	r.Received, r.Duplicates, r.Reordered, r.Corrupt = all.messages, v.doubled, all.shuffled, all.corrupt
	r.EndToEnd = e2e.percentiles()
	return v, last
}

// measured ends the measured time.
func (b *bench) measured() {
	if b.stop != nil {
		close(b.stop)
		b.report.Processes = usage.Between(b.before, usage.Read(b.s.runDir), <-b.peaks)
		b.stop = nil
	}
}

// close ends everything.
func (b *bench) close() {
	b.measured() // where the run broke off
	ctx, cancel := context.WithTimeout(context.Background(), b.s.drain)
	defer cancel()
	for _, c := range b.closes {
		if err := c(ctx); err != nil && b.report.Error == "" {
			b.report.Error = "close: " + err.Error()
		}
	}
	_ = b.client.Close(ctx) // the parts have told their errors
}
