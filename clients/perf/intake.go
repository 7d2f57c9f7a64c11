package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/trimq/trimq/clients/trimq"
)

// poller is what an intake needs of a trimq.Consumer.
type poller interface {
	Poll(ctx context.Context) (*trimq.Fetch, error)
	Commit(ctx context.Context) error
	CommitAsync(done func(error))
	Close(ctx context.Context) error
}

// goal is what all intakes of a run work towards.
type goal struct {
	received atomic.Int64
	want     atomic.Int64 // messages to receive in all; 0: not known yet
	reached  context.CancelFunc
}

// add counts messages; the one that completes the goal ends all intakes.
func (g *goal) add(n int) {
	if got, want := g.received.Add(int64(n)), g.want.Load(); want > 0 && got >= want {
		g.reached()
	}
}

// set tells the goal once it is known.
func (g *goal) set(want int64) {
	g.want.Store(want)
	if g.received.Load() >= want {
		g.reached()
	}
}

// intake is one consumer at work.
type intake struct {
	poll   poller
	goal   *goal
	commit string
	timed  bool // messages carry the time at which they were sent or due
	whole  bool // the goal counts from offset 0: what retention dropped is taken off it

	begun    map[uint32]bool // partitions
	book     ledger
	e2e      *hdrhistogram.Histogram
	last     time.Time // of the last poll that gave something
	commits  int64
	refused  atomic.Pointer[error] // of an asynchronous commit
	replied  atomic.Int64
	firstErr error
}

func newIntake(p poller, g *goal, commit string, timed bool) *intake {
	return &intake{
		poll: p, goal: g, commit: commit, timed: timed, begun: map[uint32]bool{},
		e2e: hdrhistogram.New(lowestLatencyUS, highestLatencyUS, latencyDigits),
	}
}

// run polls until ctx ends, which it does when the goal is reached.
func (in *intake) run(ctx context.Context) {
	for ctx.Err() == nil {
		f, err := in.poll.Poll(ctx)
		if err != nil {
			if ctx.Err() == nil || !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
				in.firstErr = fmt.Errorf("poll: %w", err)
				in.goal.reached()
			}
			return
		}
		in.take(f)
		if err := in.save(); err != nil {
			in.firstErr = fmt.Errorf("commit: %w", err)
			in.goal.reached()
			return
		}
		in.goal.add(len(f.Records))
		f.Release()
	}
}

// take checks every record.
func (in *intake) take(f *trimq.Fetch) {
	in.last = time.Now()
	now := in.last.UnixNano()
	if !in.begun[f.Partition] && len(f.Records) > 0 {
		in.begun[f.Partition] = true
		if in.whole {
			in.goal.want.Add(-int64(f.Records[0].Offset))
		}
	}
	for i := range f.Records {
		v := f.Records[i].Value
		in.book.note(f.Partition, v)
		if in.timed && len(v) >= minSize {
			us := min(max((now-timeOf(v))/1000, lowestLatencyUS), highestLatencyUS)
			_ = in.e2e.RecordValue(us) // in range by the line above
		}
	}
}

// commitTimeout bounds a commit; a broker that restarts a tier answers well within it.
const commitTimeout = 30 * time.Second

func (in *intake) save() error {
	switch in.commit {
	case commitSync:
		in.commits++
		ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
		defer cancel()
		return in.poll.Commit(ctx)
	case commitAsync:
		in.commits++
		in.poll.CommitAsync(func(err error) {
			in.replied.Add(1)
			if err != nil {
				in.refused.CompareAndSwap(nil, &err)
			}
		})
	}
	return nil
}

// problem is the first thing that went wrong.
func (in *intake) problem() error {
	if in.firstErr != nil {
		return in.firstErr
	}
	if err := in.refused.Load(); err != nil {
		return fmt.Errorf("commit: %w", *err)
	}
	return nil
}
