package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/trimq/trimq/clients/trimq"
)

// stream is what one producer has sent, in order, to one place: a partition, or a queue.
type stream struct {
	topic     string // empty: to the queue
	partition uint32
	queue     string
	level     trimq.Level

	mu    sync.Mutex
	sent  []string
	acked []bool
}

func (s *stream) String() string {
	if s.topic == "" {
		return "queue " + s.queue
	}
	return fmt.Sprintf("%s/%d", s.topic, s.partition)
}

// load is what works at a broker until the power is cut.
type load struct {
	client  *trimq.Client
	streams []*stream
	queue   string

	mu      sync.Mutex
	settled map[string]bool // values of the queue whose settlement is confirmed

	hush context.CancelFunc // ends all that is at level disk
	stop context.CancelFunc // ends the rest
	all  sync.WaitGroup
	errs chan error
}

// begin makes topics and a queue for the n-th cycle, and has them worked at.
func begin(ctx context.Context, addr string, n int, r *rand.Rand) (*load, error) {
	client, err := trimq.Dial(ctx, []string{addr}, trimq.WithName("power"))
	if err != nil {
		return nil, err
	}
	l := &load{client: client, queue: fmt.Sprintf("queue-%d", n), settled: map[string]bool{}, errs: make(chan error, 16)}
	for i, level := range []trimq.Level{trimq.LevelDisk, trimq.LevelPage} {
		topic := fmt.Sprintf("%s-%d", []string{"disk", "page"}[i], n)
		if _, err := client.CreateTopic(ctx, trimq.TopicSpec{Name: topic, Partitions: 2, Level: level}); err != nil {
			return nil, err
		}
		for p := range uint32(2) {
			l.streams = append(l.streams, &stream{topic: topic, partition: p, level: level})
		}
	}
	if _, err := client.CreateQueue(ctx, trimq.QueueSpec{Name: l.queue, Level: trimq.LevelDisk, QueueSettings: trimq.QueueSettings{Durable: true}}); err != nil {
		return nil, err
	}
	l.streams = append(l.streams, &stream{queue: l.queue, level: trimq.LevelDisk})
	l.work(ctx, r)
	return l, nil
}

// work starts producers and a consumer.
func (l *load) work(ctx context.Context, r *rand.Rand) {
	page, stop := context.WithCancel(ctx)
	disk, hush := context.WithCancel(page)
	l.stop, l.hush = stop, hush
	for _, s := range l.streams {
		seed, life := r.Uint64(), disk
		if s.level == trimq.LevelPage {
			life = page
		}
		l.all.Go(func() { l.fail(l.produce(life, s, rand.New(rand.NewPCG(seed, 0)))) })
	}
	l.all.Go(func() { l.fail(l.consume(disk)) })
}

func (l *load) fail(err error) {
	if err != nil {
		l.errs <- err
	}
}

// produce sends as long as the load lasts.
func (l *load) produce(ctx context.Context, s *stream, r *rand.Rand) error {
	p, err := l.client.NewProducer(trimq.WithBatchBytes(4 << 10))
	if err != nil {
		return err
	}
	filler := make([]byte, 2000)
	for i := range filler {
		filler[i] = byte('a' + r.IntN(26))
	}
	for n := 0; ctx.Err() == nil; n++ {
		value := fmt.Sprintf("%s %d %s", s, n, filler[:r.IntN(len(filler))])
		m := trimq.Message{Topic: s.topic, RoutingKey: s.queue, Value: []byte(value), Tag: uint64(n)}
		if s.topic != "" {
			m.Partition = trimq.ToPartition(s.partition)
		}
		s.mu.Lock()
		s.sent, s.acked = append(s.sent, value), append(s.acked, false)
		s.mu.Unlock()
		if err := p.Produce(ctx, &m, s.answered); err != nil && ctx.Err() == nil {
			return fmt.Errorf("%s: %w", s, err)
		}
		if r.IntN(20) == 0 {
			time.Sleep(time.Duration(r.IntN(8)) * time.Millisecond)
		}
	}
	return nil
}

// answered notes an acknowledgement. An error is none: what has become of the message is open.
func (s *stream) answered(r trimq.Result, err error) {
	if err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.acked[r.Tag] = true
	}
}

// consume settles every other parcel of the queue, and notes those that are confirmed.
func (l *load) consume(ctx context.Context) error {
	k, err := l.client.ConsumeQueue(ctx, l.queue, trimq.WithPrefetch(50), trimq.WithAckTimeout(0))
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		d, err := k.Receive(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		var values []string
		for _, m := range d.Messages {
			values = append(values, string(m.Value))
		}
		if n%2 == 0 || len(values) > 5 {
			if err := errors.Join(d.Ack(), k.Flush(ctx)); err == nil {
				l.mu.Lock()
				for _, v := range values {
					l.settled[v] = true
				}
				l.mu.Unlock()
			}
		}
		d.Release()
	}
}

// end kills the clients: nothing is sent again behind it.
func (l *load) end() error {
	l.stop()
	dead, cancel := context.WithCancel(context.Background())
	cancel()
	_ = l.client.Close(dead) // with messages unanswered, as one that is killed
	l.all.Wait()
	select {
	case err := <-l.errs:
		return err
	default:
		return nil
	}
}
