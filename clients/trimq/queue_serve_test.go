package trimq

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/trimq/trimq/protocol/batch"
)

// TestServe works on messages side by side, those of one key in order, and settles each as it was
// told.
func TestServe(t *testing.T) {
	const n, keys = 600, 7
	f := newFake(t)
	c := dialFake(t, f)
	newExchange(t, c, "x", "q", QueueSettings{})
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	p := must[*Producer](t)(c.NewProducer(WithBatchBytes(1 << 10)))
	for i := range n {
		m := Message{Exchange: "x", Value: fmt.Append(nil, i)}
		if i%3 > 0 {
			m.Key = fmt.Append(nil, i%keys)
		}
		if err := p.Produce(ctx, &m, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	f.queues["q"].cursors[0].ix.runs[3].b[80] ^= 1 // unreadable
	broken := f.queues["q"].cursors[0].ix.runs[3]
	f.mu.Unlock()
	q := must[*QueueConsumer](t)(c.ConsumeQueue(ctx, "q", WithPrefetch(50)))
	go func() {
		eventually(t, "all is settled", func() bool { return f.settled("q") == fmt.Sprintf("[{0 %d}]", n) })
		cancel()
	}()
	var mu sync.Mutex
	var calls atomic.Int32
	second := make(chan struct{})
	seen, last := map[uint64]int{}, map[string]uint64{}
	err := q.Serve(ctx, 4, func(_ context.Context, d *Deliveries, m *Record) error {
		switch calls.Add(1) {
		case 1: // waits for another beside it
			select {
			case <-second:
			case <-ctx.Done():
				t.Error("one at a time")
			}
		case 2:
			close(second)
		}
		mu.Lock()
		defer mu.Unlock()
		if seen[m.Offset]++; m.Offset%50 == 7 && d.Attempts == 0 {
			return errors.New("again")
		}
		if m.Key != nil && d.Attempts == 0 {
			if before, ok := last[string(m.Key)]; ok && m.Offset < before {
				t.Errorf("key %s: %d after %d", m.Key, m.Offset, before)
			}
			last[string(m.Key)] = m.Offset
		}
		if m.Offset%100 == 9 {
			return fmt.Errorf("bad: %w", ErrReject)
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := q.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	k := f.queues["q"].cursors[0]
	for o := range uint64(n) {
		if want := map[bool]int{true: 2, false: 1}[o%50 == 7]; seen[o] != want && (o < broken.base || o >= broken.next) {
			t.Errorf("message %d came %d times, not %d", o, seen[o], want)
		}
		unread := o >= broken.base && o < broken.next
		if !k.acked.has(o) || k.rejected.has(o) != (unread || o%100 == 9) {
			t.Errorf("message %d: settled %v, rejected %v", o, k.acked.has(o), k.rejected.has(o))
		}
	}
}

// TestServeEnds puts back what it has not worked on.
func TestServeEnds(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	index := newQueue(t, f, c, "q", 0)
	f.fill(t, index, 100, 20, batch.None)
	ctx, cancel := context.WithCancel(testContext(t))
	q := must[*QueueConsumer](t)(c.ConsumeQueue(ctx, "q"))
	var n atomic.Int32
	err := q.Serve(ctx, 3, func(ctx context.Context, _ *Deliveries, m *Record) error {
		check(t, m)
		if n.Add(1) == 10 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := q.Flush(testContext(t)); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	acked := f.queues["q"].cursors[0].acked.count()
	f.mu.Unlock()
	if acked != uint64(n.Load()) || acked >= 100 {
		t.Fatalf("%d messages were worked on, %d are settled", n.Load(), acked)
	}
	if err := q.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if err := q.Serve(testContext(t), 1, nil); !errors.Is(err, ErrClosed) {
		t.Fatalf("a closed consumer: %v", err)
	}
}
