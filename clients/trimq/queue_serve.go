package trimq

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/trimq/trimq/protocol/hash"
)

// ErrReject, or an error that wraps it, makes Serve reject a message instead of putting it back.
var ErrReject = errors.New("trimq: reject the message")

// Serve receives messages until ctx ends or the consumer does, and calls f for each of them, n at a
// time. Where f returns nil the message is acknowledged, with ErrReject it is rejected, with another
// error put back. Messages of the same key are worked on one after the other, in order; those without
// a key in no order, unless n is 1. m and d are valid during the call.
//
// Messages that cannot be read are rejected and logged. Serve returns once no f is running; what it
// has received by then and not worked on is put back. Its error is ctx's, or what has ended the
// consumer.
func (q *QueueConsumer) Serve(ctx context.Context, n int, f func(ctx context.Context, d *Deliveries, m *Record) error) error {
	s := newServing(q, max(n, 1), f)
	for i := range s.keyed {
		s.work.Go(func() { s.worker(ctx, i) })
	}
	err := s.dispatch(ctx)
	s.stop()
	return err
}

// serving is one run of Serve.
type serving struct {
	q     *QueueConsumer
	f     func(ctx context.Context, d *Deliveries, m *Record) error
	any   chan task   // for whoever is free
	keyed []chan task // for one worker each: those of its keys
	work  sync.WaitGroup
}

// task is one message to be worked on.
type task struct {
	b *batchOfTasks
	m *Record
}

// batchOfTasks are deliveries that go when all their messages are done.
type batchOfTasks struct {
	d    *Deliveries
	left atomic.Int64
}

// taskBuffer is how many tasks wait for each worker, so that it need not wait for them.
const taskBuffer = 8

func newServing(q *QueueConsumer, n int, f func(context.Context, *Deliveries, *Record) error) *serving {
	s := &serving{q: q, f: f, any: make(chan task, taskBuffer), keyed: make([]chan task, n)}
	for i := range s.keyed {
		s.keyed[i] = make(chan task, taskBuffer)
	}
	return s
}

// dispatch hands messages to the workers until ctx ends or the consumer does.
func (s *serving) dispatch(ctx context.Context) error {
	for {
		d, err := s.q.Receive(ctx)
		var unreadable *DeliveryError
		if errors.As(err, &unreadable) {
			s.q.c.opt.log.Warn("unreadable messages are rejected", "queue", unreadable.Queue, "index", unreadable.Index, "first", unreadable.First, "count", unreadable.Count, "err", unreadable.Err)
			err = unreadable.Reject()
			if err == nil || errors.Is(err, ErrRecalled) {
				continue
			}
		}
		if err != nil {
			return err
		}
		b := &batchOfTasks{d: d}
		b.left.Store(int64(len(d.Messages)))
		for i := range d.Messages {
			s.give(ctx, task{b, &d.Messages[i]})
		}
	}
}

// give hands a message to a worker, or puts it back when ctx ends.
func (s *serving) give(ctx context.Context, t task) {
	to := s.any
	if key := t.m.Key; key != nil {
		to = s.keyed[hash.Partition(key, uint32(len(s.keyed)))]
	}
	select {
	case to <- t:
	case <-ctx.Done():
		s.done(t, ctx.Err())
	}
}

// stop lets the workers finish.
func (s *serving) stop() {
	close(s.any)
	for _, ch := range s.keyed {
		close(ch)
	}
	s.work.Wait()
}

// worker works on the messages of its keys, and on any.
func (s *serving) worker(ctx context.Context, i int) {
	mine, others := s.keyed[i], s.any
	for mine != nil || others != nil {
		var t task
		var ok bool
		select {
		case t, ok = <-mine:
			if !ok {
				mine = nil
			}
		case t, ok = <-others:
			if !ok {
				others = nil
			}
		}
		if !ok {
			continue
		}
		err := ctx.Err()
		if err == nil {
			err = s.f(ctx, t.b.d, t.m)
		}
		s.done(t, err)
	}
}

// done settles a message. A verdict that comes too late, or after the end, is none of f's business.
func (s *serving) done(t task, err error) {
	q, index, offset := s.q, t.b.d.Index, t.m.Offset
	switch {
	case err == nil:
		err = q.Ack(index, offset)
	case errors.Is(err, ErrReject):
		err = q.Reject(index, offset)
	default:
		err = q.Nack(index, offset)
	}
	if err != nil {
		q.c.opt.log.Debug("verdict", "queue", q.name, "index", index, "offset", offset, "err", err)
	}
	if t.b.left.Add(-1) == 0 {
		t.b.d.Release()
	}
}
