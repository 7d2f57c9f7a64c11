package trimq

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/native"
)

func newQueue(t testing.TB, f *fake, c *Client, name string, n int) uint64 {
	t.Helper()
	must[bool](t)(c.CreateQueue(testContext(t), QueueSpec{Name: name}))
	f.mu.Lock()
	index := f.queues[name].Queue
	f.mu.Unlock()
	f.fill(t, index, n, 7, batch.Zstd)
	return index
}

// TestQueue receives with every verdict and looks what the queue holds then.
func TestQueue(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newQueue(t, f, c, "q", 100)
	ctx := testContext(t)
	q := must[*QueueConsumer](t)(c.ConsumeQueue(ctx, "q", WithPrefetch(20)))
	seen, again := 0, 0
	for seen < 100 {
		d := must[*Deliveries](t)(q.Receive(ctx))
		for i := range d.Messages {
			m := &d.Messages[i]
			check(t, m)
			switch {
			case d.Attempts > 0:
				again++
				if m.Offset%10 != 3 {
					t.Fatalf("message %d came again", m.Offset)
				}
				seen++
				must[struct{}](t)(struct{}{}, q.Ack(d.Index, m.Offset))
			case m.Offset%10 == 3:
				must[struct{}](t)(struct{}{}, q.Nack(d.Index, m.Offset))
			case m.Offset%10 == 4:
				seen++
				must[struct{}](t)(struct{}{}, q.Reject(d.Index, m.Offset))
			default:
				seen++
				must[struct{}](t)(struct{}{}, q.Ack(d.Index, m.Offset))
			}
		}
		d.Release()
	}
	if err := q.Close(ctx); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	fq := f.queues["q"].cursors[0]
	if again != 10 || fmt.Sprint(fq.acked.list) != "[{0 100}]" {
		t.Fatalf("%d came again, settled are %v", again, fq.acked.list)
	}
	var rejected []uint64
	for _, s := range fq.rejected.list {
		rejected = append(rejected, s.first)
	}
	if fmt.Sprint(rejected) != "[4 14 24 34 44 54 64 74 84 94]" {
		t.Fatalf("rejected are %v", rejected)
	}
}

// TestQueueThroughFaults: every message comes, and what Flush confirmed the broker has.
func TestQueueThroughFaults(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newQueue(t, f, c, "q", 2000)
	r := rand.New(rand.NewPCG(1, 2))
	f.setFault(func(_ *fakeConn, h native.Header, _ []byte) (bad fakeFault) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if h.Command == native.CmdAck || h.Command == native.CmdCredit || h.Command == native.CmdSubscribe {
			switch r.IntN(10) {
			case 0:
				bad.before = true
			case 1:
				bad.after = true
			}
		}
		return bad
	})
	ctx := testContext(t)
	var mu sync.Mutex
	seen, confirmed := map[uint64]int{}, map[uint64]bool{}
	var wg sync.WaitGroup
	for range 2 {
		q := must[*QueueConsumer](t)(c.ConsumeQueue(ctx, "q", WithPrefetch(50)))
		wg.Go(func() {
			var mine []uint64
			for {
				mu.Lock()
				all := len(confirmed) == 2000
				mu.Unlock()
				if all {
					return
				}
				short, cancel := context.WithTimeout(ctx, patience/300)
				d, err := q.Receive(short)
				cancel()
				if err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
					return
				}
				if d != nil {
					mu.Lock()
					for i := range d.Messages {
						o := d.Messages[i].Offset
						check(t, &d.Messages[i])
						seen[o]++
						mine = append(mine, o)
					}
					mu.Unlock()
					if err := d.Ack(); err != nil {
						t.Error(err)
					}
					d.Release()
				}
				if len(mine) > 100 || d == nil {
					if err := q.Flush(ctx); err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					for _, o := range mine {
						confirmed[o] = true
					}
					mu.Unlock()
					mine = mine[:0]
				}
			}
		})
	}
	wg.Wait()
	if len(seen) != 2000 {
		t.Fatalf("%d of 2000 messages came", len(seen))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if got := fmt.Sprint(f.queues["q"].cursors[0].acked.list); got != "[{0 2000}]" {
		t.Fatalf("confirmed are 2000 messages, the broker has %s", got)
	}
	if f.accepted < 5 {
		t.Fatal("no connection was broken: the test shows nothing")
	}
}

func TestQueuePrefetch(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newQueue(t, f, c, "q", 100)
	ctx := testContext(t)
	q := must[*QueueConsumer](t)(c.ConsumeQueue(ctx, "q", WithPrefetch(10)))
	var offsets []uint64
	for len(offsets) < 10 {
		d := must[*Deliveries](t)(q.Receive(ctx))
		for _, m := range d.Messages {
			offsets = append(offsets, m.Offset)
		}
	}
	if err := q.Flush(ctx); err != nil { // a round trip: nothing more is on its way
		t.Fatal(err)
	}
	must[BrokerInfo](t)(c.Info(ctx))
	if d, _ := q.take(); d != nil || len(offsets) != 10 {
		t.Fatalf("more than the prefetch of 10 was delivered: %v", offsets)
	}
	if err := q.Ack(q.queue, offsets...); err != nil {
		t.Fatal(err)
	}
	if d := must[*Deliveries](t)(q.Receive(ctx)); d.Messages[0].Offset != 10 {
		t.Fatalf("after the acknowledgement came %d", d.Messages[0].Offset)
	}
}

func TestQueueAutoAckAndExclusive(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newQueue(t, f, c, "q", 100)
	ctx := testContext(t)
	q := must[*QueueConsumer](t)(c.ConsumeQueue(ctx, "q", WithPrefetch(10), WithAutoAck(), WithExclusive()))
	if _, err := c.ConsumeQueue(ctx, "q", WithExclusive()); !errors.Is(err, ErrInUse) {
		t.Fatalf("a second exclusive consumer: %v", err)
	}
	for n := 0; n < 100; {
		d := must[*Deliveries](t)(q.Receive(ctx))
		n += len(d.Messages)
		d.Release()
	}
	if err := c.DeleteQueue(ctx, "q", DeleteCondition{}); err != nil {
		t.Fatal(err)
	}
	if _, err := q.Receive(ctx); !errors.Is(err, ErrNotFound) {
		t.Fatalf("a deleted queue: %v", err)
	}
	if err := q.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := q.Receive(ctx); !errors.Is(err, ErrClosed) {
		t.Fatalf("after Close: %v", err)
	}
	if _, err := c.ConsumeQueue(ctx, "q"); !errors.Is(err, ErrNotFound) {
		t.Fatalf("unknown queue: %v", err)
	}
}

func TestDamagedDelivery(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	index := newQueue(t, f, c, "q", 14)
	f.mu.Lock()
	f.indexes[index].runs[0].b[80] ^= 1
	f.mu.Unlock()
	ctx := testContext(t)
	q := must[*QueueConsumer](t)(c.ConsumeQueue(ctx, "q"))
	_, err := q.Receive(ctx)
	var de *DeliveryError
	if !errors.Is(err, ErrCorrupt) || !errors.As(err, &de) || de.First != 0 || de.Count != 7 {
		t.Fatalf("a damaged batch: %v", err)
	}
	if d := must[*Deliveries](t)(q.Receive(ctx)); d.Messages[0].Offset != 7 {
		t.Fatalf("behind it: %d", d.Messages[0].Offset)
	}
}

// TestMiddleOfABatch: of a batch that came from another queue, this one may hold a part only. The
// offset that its first message would have here lies below 0.
func TestMiddleOfABatch(t *testing.T) {
	var b batch.Builder
	for i := range 7 {
		b.Add(1, nil, fmt.Append(nil, i), nil)
	}
	m := native.Deliver{Sub: queueSub, Index: 5, First: 0, Count: 2}
	m.Base -= 3
	var in *delivered
	for _, base := range []uint64{m.Base, 1 << 40} {
		m.Base = base
		body := m.Append(nil)
		got, err := arrive(append(body, b.Seal(batch.Zstd, batch.NoProducer, -1, -1)...), newSlab(1), new(noteMemory))
		if (err == nil) != (base != 1<<40) {
			t.Fatalf("base %d: %v", int64(base), err)
		}
		if err == nil {
			in = got
		}
	}
	var d Parcel
	if err := d.open(in, "q"); err != nil {
		t.Fatal(err)
	}
	if len(d.Messages) != 2 || string(d.Messages[0].Value) != "3" || d.Messages[1].Offset != 1 {
		t.Errorf("%+v", d.Messages)
	}
}

// TestRangeSet compares with a map.
func TestRangeSet(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		var set rangeSet
		model := map[uint64]bool{}
		for range 100 {
			first := r.Uint64N(60)
			next := first + r.Uint64N(8)
			if r.IntN(3) > 0 {
				before := len(model)
				added := set.add(first, next)
				for o := first; o < next; o++ {
					model[o] = true
				}
				if int(added) != len(model)-before {
					t.Fatalf("add [%d,%d) put in %d, not %d", first, next, added, len(model)-before)
				}
				continue
			}
			want := uint64(0)
			at := first
			set.split(first, next, func(a, b uint64, in bool) {
				if a != at || b <= a {
					t.Fatalf("split of [%d,%d) gave [%d,%d) after %d", first, next, a, b, at)
				}
				for ; at < b; at++ {
					if model[at] != in {
						t.Fatalf("split says %v of %d", in, at)
					}
				}
			})
			if at != max(first, next) {
				t.Fatalf("split of [%d,%d) ended at %d", first, next, at)
			}
			for o := first; o < next; o++ {
				if model[o] {
					want++
				}
				delete(model, o)
			}
			if got := set.remove(first, next); got != want {
				t.Fatalf("remove [%d,%d) took %d, not %d", first, next, got, want)
			}
		}
		var got, want []uint64
		for i, s := range set.list {
			if s.first >= s.next || i > 0 && set.list[i-1].next >= s.first {
				t.Fatalf("not in order: %v", set.list)
			}
			for o := s.first; o < s.next; o++ {
				got = append(got, o)
			}
		}
		for o := range model {
			want = append(want, o)
		}
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("holds %v, not %v", got, want)
		}
		var taken []uint64
		for !set.empty() {
			for _, x := range set.take(1 + r.IntN(3)) {
				for o := range uint64(x.Count) {
					taken = append(taken, x.First+o)
				}
			}
		}
		if !slices.Equal(taken, want) {
			t.Fatalf("take gave %v, not %v", taken, want)
		}
	}
}
