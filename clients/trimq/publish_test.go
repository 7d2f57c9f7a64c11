package trimq

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
)

// newExchange makes a fanout exchange that leads to a queue.
func newExchange(t testing.TB, c *Client, name, queue string, settings QueueSettings) {
	t.Helper()
	ctx := testContext(t)
	must[bool](t)(c.CreateExchange(ctx, ExchangeSpec{Name: name, Type: Fanout}))
	must[bool](t)(c.CreateQueue(ctx, QueueSpec{Name: queue, QueueSettings: settings}))
	must[bool](t)(c.CreateBinding(ctx, BindingSpec{Exchange: name, Queue: queue}))
}

func (f *fake) publishes() []native.Publish {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]native.Publish(nil), f.published...)
}

func TestTTL(t *testing.T) {
	for want, ttl := range map[int64]TTL{
		ipc.NoTTL:         0,
		0:                 ExpireAfter(0),
		1:                 ExpireAfter(1),
		2:                 ExpireAfter(time.Millisecond + 1),
		3_600_000:         ExpireAfter(time.Hour),
		9_223_372_036_855: ExpireAfter(math.MaxInt64),
	} {
		if got := ttl.ms(); got != want {
			t.Errorf("%d is %d ms, not %d", ttl, got, want)
		}
	}
	if got := ExpireAfter(-time.Hour).ms(); got != 0 {
		t.Errorf("a negative time to live is %d ms", got)
	}
	if got := TTL(-5).ms(); got != ipc.NoTTL {
		t.Errorf("no time to live is %d ms", got)
	}
}

// TestMessagesThatMakeNoSense are refused before anything is sent.
func TestMessagesThatMakeNoSense(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newTopic(t, c, "t", 1)
	p := must[*Producer](t)(c.NewProducer())
	for i, m := range []Message{
		{Topic: "t", Priority: 1}, {Topic: "t", TTL: ExpireAfter(0)}, {Topic: "t", Delay: 1},
		{Topic: "t", DeliverAt: time.Now()}, {Exchange: "x", Delay: 1, DeliverAt: time.Now()},
	} {
		if err := p.Produce(testContext(t), &m, nil); !errors.Is(err, ErrInvalidArgument) {
			t.Errorf("message %d: %v", i, err)
		}
	}
}

// TestShapes: what is told of a message reaches the broker, and only messages that are told the
// same of share a batch, in order.
func TestShapes(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newExchange(t, c, "x", "q", QueueSettings{})
	ctx := testContext(t)
	at := time.UnixMilli(4_000_000_000_000)
	shapes := []Message{
		{}, {Priority: 7}, {Priority: 255}, {TTL: ExpireAfter(0)}, {TTL: ExpireAfter(time.Second)}, {Delay: time.Hour},
		{Delay: 2 * time.Hour}, {DeliverAt: at}, {DeliverAt: time.UnixMilli(1000)}, {Mandatory: true}, {RoutingKey: "k"},
		{RoutingKey: "k", Priority: 7, TTL: ExpireAfter(5 * time.Millisecond), Delay: time.Hour, Mandatory: true},
	}
	p := must[*Producer](t)(c.NewProducer(WithLinger(time.Minute)))
	for i, m := range shapes {
		for j := range 3 {
			m.Exchange, m.Key, m.Value = "x", []byte("key"), fmt.Appendf(nil, "%02d %d", i, j)
			if err := p.Produce(ctx, &m, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := p.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	got := f.publishes()
	if len(got) != len(shapes) {
		t.Fatalf("%d batches of %d kinds of messages", len(got), len(shapes))
	}
	for i, m := range shapes {
		g := &got[i]
		if g.Priority != m.Priority || g.TTLMS != m.TTL.ms() || g.Mandatory != m.Mandatory || g.RoutingKey != m.RoutingKey || g.Weight != 3*7 {
			t.Errorf("%+v was published as %+v", m, g)
		}
		low, high := uint64(m.Delay.Milliseconds()), uint64(m.Delay.Milliseconds())
		if m.DeliverAt.Equal(at) {
			low, high = uint64(time.Until(at).Milliseconds()), uint64(time.Until(at).Milliseconds()+patience.Milliseconds())
		}
		if g.DelayMS < low || g.DelayMS > high {
			t.Errorf("%+v was published with a delay of %d ms", m, g.DelayMS)
		}
	}
	var want []string
	for i := range shapes {
		for j := range 3 {
			if got[i].DelayMS == 0 {
				want = append(want, fmt.Sprintf("%02d %d", i, j))
			}
		}
	}
	if at := f.values(t, f.queues["q"].Queue); !slices.Equal(at, want) {
		t.Fatalf("at once came %v, not %v", at, want)
	}
}

// TestDelayIsCountedOnce: a batch that is sent again bears what is left of its delay.
func TestDelayIsCountedOnce(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newExchange(t, c, "x", "q", QueueSettings{})
	ctx := testContext(t)
	var tries atomic.Int32
	f.setFault(func(_ *fakeConn, h native.Header, _ []byte) (bad fakeFault) {
		if h.Command == native.CmdPublish && tries.Add(1) < 3 {
			time.Sleep(3 * time.Millisecond)
			bad.after = true
		}
		return bad
	})
	p := must[*Producer](t)(c.NewProducer())
	if r, err := p.ProduceSync(ctx, &Message{Exchange: "x", Delay: time.Hour}); err != nil || r.Queues != 1 || !r.Duplicate {
		t.Fatalf("%+v, %v", r, err)
	}
	got := f.publishes()
	if len(got) != 3 || got[0].DelayMS != 3_600_000 {
		t.Fatalf("%d tries, the first with a delay of %d ms", len(got), got[0].DelayMS)
	}
	for i := range 2 {
		if a, b := got[i].DelayMS, got[i+1].DelayMS; b >= a || a-b > uint64(patience.Milliseconds()) {
			t.Errorf("a delay of %d ms became %d", a, b)
		}
	}
}

// TestQueueFull: a queue that takes no more is told, with all the rest of the result.
func TestQueueFull(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newExchange(t, c, "x", "q", QueueSettings{MaxMessages: admin.Some(2), Overflow: admin.RejectPublish})
	newExchange(t, c, "y", "r", QueueSettings{})
	ctx := testContext(t)
	must[bool](t)(c.CreateBinding(ctx, BindingSpec{Exchange: "x", Queue: "r"}))
	p := must[*Producer](t)(c.NewProducer())
	for i := range 4 {
		r, err := p.ProduceSync(ctx, &Message{Exchange: "x", Tag: uint64(i)})
		switch {
		case r.Tag != uint64(i):
			t.Fatalf("message %d: %+v", i, r)
		case i < 2 && (err != nil || r.Queues != 2 || r.Full != 0):
			t.Fatalf("message %d: %+v, %v", i, r, err)
		case i >= 2 && (!errors.Is(err, ErrQueueFull) || r.Queues != 1 || r.Full != 1):
			t.Fatalf("message %d: %+v, %v", i, r, err)
		}
	}
}

func TestPublishAllocations(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newExchange(t, c, "x", "q", QueueSettings{})
	ctx := testContext(t)
	p := must[*Producer](t)(c.NewProducer(WithOrderByRoutingKey()))
	var n atomic.Int64
	done := func(Result, error) { n.Add(1) }
	messages := [4]Message{{}, {Priority: 3}, {TTL: ExpireAfter(time.Second)}, {Delay: time.Millisecond}}
	i, value := 0, make([]byte, 250)
	send := func() {
		m := messages[i%4]
		m.Exchange, m.RoutingKey, m.Value = "x", "a.key", value
		if i++; p.Produce(ctx, &m, done) != nil {
			t.Error("not taken")
		}
	}
	for range 20000 { // warm the pools
		send()
	}
	if got := testing.AllocsPerRun(20000, send); got >= 1 { // the fake allocates as well, for each batch
		t.Fatalf("%v allocations a message", got)
	}
}
