package trimq

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// dialBroker reaches a running broker, which somebody may be killing the tiers of meanwhile:
//
//	TRIMQ_TEST_ADDR=127.0.0.1:7420 go test -run Broker ./clients/trimq
//
// What scripts/e2e starts and kills by itself is the other half of these tests.
func dialBroker(t *testing.T) *Client {
	t.Helper()
	addr := os.Getenv("TRIMQ_TEST_ADDR")
	if addr == "" {
		t.Skip("TRIMQ_TEST_ADDR names no broker; the end-to-end tests run this with one")
	}
	c, err := Dial(testContext(t), []string{addr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(testContext(t)); err != nil && !errors.Is(err, context.Canceled) {
			t.Log(err)
		}
	})
	return c
}

func brokerContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

const brokerMessages = 400_000

// TestBrokerTopic sends numbered messages to four partitions and reads them by fetch and by
// push at the same time: each is there once, in order.
func TestBrokerTopic(t *testing.T) {
	c := dialBroker(t)
	ctx := brokerContext(t)
	name := fmt.Sprintf("test-%d", time.Now().UnixNano())
	must[bool](t)(c.CreateTopic(ctx, TopicSpec{Name: name, Partitions: 4}))
	t.Cleanup(func() { c.DeleteTopic(testContext(t), name) })
	var wg sync.WaitGroup
	wg.Go(func() {
		p, err := c.NewProducer(WithBatchBytes(16 << 10))
		if err != nil {
			t.Error(err)
			return
		}
		var offsets [4]atomic.Uint64
		done := func(r Result, err error) {
			if err != nil {
				t.Errorf("message %d: %v", r.Tag, err)
			} else if want := offsets[r.Partition].Add(1) - 1; r.Offset != want && r.Offset != UnknownOffset {
				t.Errorf("message %d at offset %d of partition %d, not %d", r.Tag, r.Offset, r.Partition, want)
			}
		}
		for i := range uint64(brokerMessages) {
			m := Message{Topic: name, Partition: ToPartition(uint32(i % 4)), Value: fmt.Appendf(nil, "%d and some text", i), Tag: i}
			if err := p.Produce(ctx, &m, done); err != nil {
				t.Error(err)
				return
			}
		}
		if err := p.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	for _, opts := range [][]ConsumerOption{{WithPositions(name)}, {WithPush()}} {
		wg.Go(func() {
			k, err := c.NewConsumer(ctx, []string{name}, opts...)
			if err != nil {
				t.Error(err)
				return
			}
			var next [4]uint64
			for n := 0; n < brokerMessages; {
				f, err := k.Poll(ctx)
				if err != nil {
					t.Error(err)
					return
				}
				for _, r := range f.Records {
					want := fmt.Sprintf("%d and some text", next[f.Partition]*4+uint64(f.Partition))
					if r.Offset != next[f.Partition] || string(r.Value) != want {
						t.Errorf("partition %d, offset %d instead of %d: %q", f.Partition, r.Offset, next[f.Partition], r.Value)
						return
					}
					next[f.Partition]++
				}
				n += len(f.Records)
				f.Release()
				if len(opts) > 0 && k.opt.group != "" {
					k.CommitAsync(func(err error) {
						if err != nil && !errors.Is(err, ErrClosed) && !errors.Is(err, context.Canceled) {
							t.Error(err)
						}
					})
				}
			}
			if k.opt.group != "" {
				if err := k.Commit(ctx); err != nil {
					t.Error(err)
				}
				at, err := k.Committed(ctx)
				for _, p := range at {
					if p.Offset != brokerMessages/4 {
						t.Errorf("committed %+v", p)
					}
				}
				if err != nil || len(at) != 4 {
					t.Errorf("committed %v, %v", at, err)
				}
			}
		})
	}
	wg.Wait()
}

// TestBrokerExchanges publishes through exchanges that hand on to others: a message with the header
// goes on through a binding, one without to the alternate exchange; a deleted queue takes along the
// exchange that is left without bindings.
func TestBrokerExchanges(t *testing.T) {
	c := dialBroker(t)
	ctx := brokerContext(t)
	name := fmt.Sprintf("test-%d", time.Now().UnixNano())
	in, next, rest := name+"-in", name+"-next", name+"-rest"
	for _, spec := range []ExchangeSpec{
		{Name: in, Type: Headers, Durable: true, Alternate: rest},
		{Name: next, Type: ConsistentHash, Durable: true, Internal: true},
		{Name: rest, Type: Fanout, Durable: true, AutoDelete: true},
	} {
		must[bool](t)(c.CreateExchange(ctx, spec))
	}
	for _, spec := range []BindingSpec{
		{Exchange: in, Queue: next, ToExchange: true, Present: []string{"kind"}},
		{Exchange: next, Queue: name + "-1", RoutingKey: "1"},
		{Exchange: next, Queue: name + "-2", RoutingKey: "1"},
		{Exchange: rest, Queue: name + "-3"},
	} {
		if !spec.ToExchange {
			must[bool](t)(c.CreateQueue(ctx, QueueSpec{Name: spec.Queue, QueueSettings: QueueSettings{Durable: true}}))
		}
		must[bool](t)(c.CreateBinding(ctx, spec))
	}
	const n = 1000
	p := must[*Producer](t)(c.NewProducer(WithOrderByRoutingKey()))
	for i := range n {
		m := Message{Exchange: in, RoutingKey: fmt.Sprint(i % 50), Mandatory: true, Value: fmt.Append(nil, i)}
		if i%2 == 0 {
			m.Headers = []Header{{Key: "kind", Value: []byte("x")}}
		}
		if err := p.Produce(ctx, &m, func(r Result, err error) {
			if err != nil || r.Queues != 1 {
				t.Errorf("message %d: %+v %v", i, r, err)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
	queues := must[[]QueueInfo](t)(c.Queues(ctx, name+"-1", name+"-2", name+"-3"))
	if a, b := queues[0].Ready, queues[1].Ready; a+b != n/2 || a == 0 || b == 0 || queues[2].Ready != n/2 {
		t.Errorf("the queues hold %d, %d and %d messages", a, b, queues[2].Ready)
	}
	for i := range 3 {
		if err := c.DeleteQueue(ctx, fmt.Sprintf("%s-%d", name, i+1), DeleteCondition{}); err != nil {
			t.Error(err)
		}
	}
	if _, err := c.Exchanges(ctx, rest); !errors.Is(err, ErrNotFound) {
		t.Errorf("the exchange without bindings: %v", err)
	}
	for _, x := range []string{in, next} {
		if err := c.DeleteExchange(ctx, x, DeleteCondition{}); err != nil {
			t.Error(err)
		}
	}
}

// TestBrokerQueue publishes through an exchange to two queues, of which two consumers take:
// nothing is lost, and only what is marked as delivered before comes twice.
func TestBrokerQueue(t *testing.T) {
	c := dialBroker(t)
	ctx := brokerContext(t)
	name := fmt.Sprintf("test-%d", time.Now().UnixNano())
	must[bool](t)(c.CreateExchange(ctx, ExchangeSpec{Name: name, Type: Topic, Durable: true}))
	for _, q := range []string{"-a", "-b"} {
		must[bool](t)(c.CreateQueue(ctx, QueueSpec{Name: name + q, QueueSettings: QueueSettings{Durable: true}}))
		must[bool](t)(c.CreateBinding(ctx, BindingSpec{Exchange: name, Queue: name + q, RoutingKey: "k" + strings.ReplaceAll(q, "-", ".")}))
		must[bool](t)(c.CreateBinding(ctx, BindingSpec{Exchange: name, Queue: name + q, RoutingKey: "both.#"}))
	}
	const n = brokerMessages
	keys := []string{"k.a", "k.b", "both.x.y"}
	p := must[*Producer](t)(c.NewProducer(WithOrderByRoutingKey()))
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range n {
			m := Message{Exchange: name, RoutingKey: keys[i%3], Mandatory: true, Value: fmt.Append(nil, i)}
			if err := p.Produce(ctx, &m, func(r Result, err error) {
				if err != nil || r.Queues != uint32(1+i%3/2) {
					t.Errorf("message %d: %+v %v", i, r, err)
				}
			}); err != nil {
				t.Error(err)
				return
			}
		}
		if err := p.Flush(ctx); err != nil {
			t.Error(err)
		}
	})
	for at, q := range []string{"-a", "-b"} {
		var mu sync.Mutex
		seen := map[string]int{}
		want := 0
		for i := range n {
			if i%3 == at || i%3 == 2 {
				want++
			}
		}
		for range 2 {
			wg.Go(func() {
				k, err := c.ConsumeQueue(ctx, name+q)
				if err != nil {
					t.Error(err)
					return
				}
				defer k.Close(ctx)
				for {
					mu.Lock()
					all := len(seen) == want
					mu.Unlock()
					if all {
						return
					}
					short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
					d, err := k.Receive(short)
					cancel()
					if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
						continue
					}
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					for _, m := range d.Messages {
						if seen[string(m.Value)]++; seen[string(m.Value)] > 1 && d.Attempts == 0 {
							t.Errorf("message %s came twice", m.Value)
						}
					}
					mu.Unlock()
					if err := d.Ack(); err != nil {
						t.Error(err)
					}
					d.Release()
				}
			})
		}
	}
	wg.Wait()
	for _, q := range []string{"-a", "-b"} {
		in := must[[]QueueInfo](t)(c.Queues(ctx, name+q))
		if in[0].Ready != 0 || in[0].Unacked != 0 || in[0].Indexes[0].Floor != in[0].Indexes[0].Next {
			t.Errorf("left in the queue: %+v", in[0])
		}
		if err := c.DeleteQueue(ctx, name+q, DeleteCondition{}); err != nil {
			t.Error(err)
		}
	}
	if err := c.DeleteExchange(ctx, name, DeleteCondition{}); err != nil {
		t.Error(err)
	}
}
