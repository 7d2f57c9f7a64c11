package main

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/trimq/trimq/clients/trimq"
)

// sender is what a load needs of a trimq.Producer.
type sender interface {
	Produce(ctx context.Context, m *trimq.Message, done func(trimq.Result, error)) error
	Flush(ctx context.Context) error
}

// load is one producer at work. Its counters are filled by callbacks, which come from the
// client's goroutines.
type load struct {
	send   sender
	gen    *generator
	topic  string
	began  time.Time
	quota  int64 // messages to send
	sample int64 // every so many messages are timed
	timed  bool  // messages carry the time at which they were sent

	sent   int64
	behind time.Duration // paced: the furthest behind the schedule
	err    error         // why it stopped early
	acks   *latencies

	_          [64]byte // what follows is written by another goroutine
	acked      atomic.Int64
	failed     atomic.Int64
	duplicates atomic.Int64
	refusal    atomic.Pointer[error] // of the first that failed
}

// done is the callback of every message: the tag is the time since began, plus one, at which
// it was sent or due; 0 for one that is not timed.
func (l *load) done(r trimq.Result, err error) {
	if err != nil {
		l.fail(err)
		return
	}
	l.acked.Add(1)
	if r.Duplicate {
		l.duplicates.Add(1)
	}
	if r.Tag != 0 {
		l.acks.record(time.Since(l.began) - time.Duration(r.Tag-1))
	}
}

// fail is apart from done because err moves to the heap here, which no message that goes
// well shall pay for.
func (l *load) fail(err error) {
	l.failed.Add(1)
	l.refusal.CompareAndSwap(nil, &err)
}

// flood sends as fast as the producer takes it.
func (l *load) flood(ctx context.Context) {
	m := trimq.Message{Topic: l.topic}
	done := l.done
	var now int64
	for n := int64(0); n < l.quota; n++ {
		m.Tag = 0
		if n%l.sample == 0 {
			m.Tag = uint64(time.Since(l.began)) + 1
		}
		if l.timed && n%timeEvery == 0 {
			now = time.Now().UnixNano()
		}
		m.Value = l.gen.next(now)
		if err := l.send.Produce(ctx, &m, done); err != nil {
			l.err = err
			return
		}
		l.sent++
	}
}

// timeEvery is for how many messages a flood uses the same clock reading (about 60 ns here):
// a few microseconds of error in end-to-end latencies.
const timeEvery = 16

// pace sends message n at offset + n/rate since began, as many at once as are due. Latencies
// count from then.
func (l *load) pace(ctx context.Context, rate float64, offset time.Duration) {
	runtime.LockOSThread() // pause blocks a thread
	defer runtime.UnlockOSThread()
	m := trimq.Message{Topic: l.topic}
	wall := l.began.UnixNano()
	for n := int64(0); n < l.quota; {
		now := time.Since(l.began)
		due := dueAt(n, rate, offset)
		if due > now {
			if l.err = ctx.Err(); l.err != nil {
				return
			}
			pause(min(due-now, maxPause))
			continue
		}
		l.behind = max(l.behind, now-due)
		m.Tag = uint64(due) + 1
		m.Value = l.gen.next(wall + int64(due))
		if l.err = l.send.Produce(ctx, &m, l.done); l.err != nil {
			return
		}
		l.sent++
		n++
	}
}

func dueAt(n int64, rate float64, offset time.Duration) time.Duration {
	return offset + time.Duration(float64(n)*float64(time.Second)/rate)
}

const maxPause = 50 * time.Millisecond // so that an interrupt is noticed

// pause sleeps in the kernel: the runtime's own timers fire on whole milliseconds when
// nothing else runs, which would show as latency.
func pause(d time.Duration) {
	ts := unix.NsecToTimespec(int64(d))
	_ = unix.Nanosleep(&ts, nil) // woken early: the caller looks at the clock again
}
