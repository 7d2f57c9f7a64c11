package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/trimq/trimq/clients/trimq"
)

// load is what works at the broker all the time.
type load struct {
	acked, delivered record
	lost             lostConns

	sent, confirmed atomic.Uint64
	mu              sync.Mutex
	seen            map[uint64]struct{} // numbers that were delivered

	clients []*trimq.Client
	stop    context.CancelFunc
	all     sync.WaitGroup
	errs    chan error
}

// lostConns counts connections that were lost: the client warns of them.
type lostConns struct{ n atomic.Int64 }

func (l *lostConns) Enabled(_ context.Context, at slog.Level) bool { return at >= slog.LevelWarn }
func (l *lostConns) WithAttrs([]slog.Attr) slog.Handler            { return l }
func (l *lostConns) WithGroup(string) slog.Handler                 { return l }
func (l *lostConns) Handle(context.Context, slog.Record) error {
	l.n.Add(1)
	return nil
}

const (
	topic        = "steady"
	subscription = "subscriber"
	full         = "full"
)

// dial makes a client whose lost connections are counted.
func (l *load) dial(ctx context.Context, addr string) (*trimq.Client, error) {
	c, err := trimq.Dial(ctx, []string{addr}, trimq.WithLogger(slog.New(&l.lost)))
	if err == nil {
		l.clients = append(l.clients, c)
	}
	return c, err
}

// begin fills the queue, makes the idle connections, and starts the steady load.
func begin(ctx context.Context, addr string, s *settings) (*load, error) {
	l := &load{seen: map[uint64]struct{}{}, errs: make(chan error, 2)}
	c, err := l.dial(ctx, addr)
	if err == nil {
		err = fill(ctx, c, s.stored)
	}
	for i := 0; i < s.idle && err == nil; i++ {
		_, err = l.dial(ctx, addr)
	}
	if err == nil {
		_, err = c.CreateTopic(ctx, trimq.TopicSpec{Name: topic, Partitions: 1, Level: trimq.LevelDisk})
	}
	if err != nil {
		return l, err
	}
	k, err := c.Subscribe(ctx, trimq.Subscription{Name: subscription, Topic: topic})
	if err != nil {
		return l, err
	}
	p, err := c.NewProducer(trimq.WithRetryFor(patience))
	if err != nil {
		return l, err
	}
	var stopped context.Context
	stopped, l.stop = context.WithCancel(ctx)
	l.all.Go(func() { l.errs <- l.produce(ctx, stopped, p, s) })
	l.all.Go(func() { l.errs <- l.consume(stopped, k) })
	return l, nil
}

// fill puts so many messages into a queue.
func fill(ctx context.Context, c *trimq.Client, n int) error {
	if _, err := c.CreateQueue(ctx, trimq.QueueSpec{Name: full, Level: trimq.LevelPage, QueueSettings: trimq.QueueSettings{Durable: true}}); err != nil {
		return err
	}
	p, err := c.NewProducer()
	if err != nil {
		return err
	}
	value, failed := make([]byte, 100), atomic.Pointer[error]{}
	for range n {
		err := p.Produce(ctx, &trimq.Message{RoutingKey: full, Value: value}, func(_ trimq.Result, err error) {
			if err != nil {
				failed.CompareAndSwap(nil, &err)
			}
		})
		if err != nil {
			return err
		}
	}
	if err := p.Close(ctx); err != nil {
		return err
	}
	if e := failed.Load(); e != nil {
		return fmt.Errorf("fill: %w", *e)
	}
	return nil
}

// produce sends at a steady rate, and makes up for what it missed.
func (l *load) produce(ctx, stopped context.Context, p *trimq.Producer, s *settings) error {
	value := make([]byte, max(s.size, 8))
	failed := atomic.Pointer[error]{}
	start := time.Now()
	for n := uint64(0); stopped.Err() == nil; n++ {
		if early := time.Until(start.Add(time.Duration(float64(n) / s.rate * float64(time.Second)))); early > 0 {
			time.Sleep(early)
		}
		binary.LittleEndian.PutUint64(value, n)
		err := p.Produce(ctx, &trimq.Message{Topic: topic, Value: value}, func(_ trimq.Result, err error) {
			if err != nil {
				failed.CompareAndSwap(nil, &err)
				return
			}
			l.acked.add(1)
			l.confirmed.Add(1)
		})
		if err != nil {
			return err
		}
		l.sent.Add(1)
	}
	if err := p.Close(ctx); err != nil {
		return err
	}
	if e := failed.Load(); e != nil {
		return *e
	}
	return nil
}

// consume acknowledges what comes.
func (l *load) consume(ctx context.Context, k *trimq.QueueConsumer) error {
	for {
		d, err := k.Receive(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		l.delivered.add(len(d.Messages))
		l.mu.Lock()
		for _, m := range d.Messages {
			l.seen[binary.LittleEndian.Uint64(m.Value)] = struct{}{}
		}
		l.mu.Unlock()
		if err := d.Ack(); err != nil && !errors.Is(err, trimq.ErrRecalled) {
			return err
		}
		d.Release()
	}
}

// settled waits until all that was sent has been acknowledged and delivered, and all is as usual.
func (l *load) settled(ctx context.Context) error {
	for {
		l.mu.Lock()
		seen := uint64(len(l.seen))
		l.mu.Unlock()
		sent := l.sent.Load()
		if sent-l.confirmed.Load() < 1000 && sent-seen < 1000 {
			return nil
		}
		select {
		case err := <-l.errs:
			return fmt.Errorf("the load has ended: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("%d messages were sent, %d acknowledged, %d delivered: %w", sent, l.confirmed.Load(), seen, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// end stops the producer, which waits for its last acknowledgement, and everybody else.
func (l *load) end(ctx context.Context) error {
	if l.stop == nil {
		return nil
	}
	l.stop()
	err := errors.Join(<-l.errs, <-l.errs)
	if sent, confirmed := l.sent.Load(), l.confirmed.Load(); err == nil && sent != confirmed {
		err = fmt.Errorf("%d messages were sent, and %d acknowledged", sent, confirmed)
	}
	for _, c := range l.clients {
		err = errors.Join(err, c.Close(ctx))
	}
	return err
}
