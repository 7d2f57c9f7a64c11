package trimq

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/hash"
	"github.com/trimq/trimq/protocol/native"
)

// patience bounds every wait of a test; nothing depends on its length.
const patience = 30 * time.Second

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func dialFake(t testing.TB, f *fake, opts ...Option) *Client {
	t.Helper()
	opts = append([]Option{WithBackoff(time.Millisecond, 20*time.Millisecond)}, opts...)
	c, err := Dial(testContext(t), []string{f.addr()}, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		c.Close(ctx)
	})
	return c
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func newTopic(t testing.TB, c *Client, name string, partitions uint32) {
	t.Helper()
	if _, err := c.CreateTopic(testContext(t), TopicSpec{Name: name, Partitions: partitions}); err != nil {
		t.Fatal(err)
	}
}

// values are those that an index of the fake holds, in order.
func (f *fake) values(t testing.TB, index uint64) []string {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, r := range f.indexes[index].runs {
		err := batch.Iterate(r.b, func(rec *batch.Record) error {
			out = append(out, string(rec.Value))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func (f *fake) setFault(fault func(c *fakeConn, h native.Header, body []byte) fakeFault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

func (f *fake) count(cmd native.Command) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.requests[cmd]
}

func TestProduceSync(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newTopic(t, c, "orders", 1)
	ctx := testContext(t)
	p := must[*Producer](t)(c.NewProducer())
	for i := range 3 {
		r, err := p.ProduceSync(ctx, &Message{Topic: "orders", Value: []byte(fmt.Sprint(i)), Tag: uint64(i)})
		if err != nil {
			t.Fatal(err)
		}
		if r.Offset != uint64(i) || r.Tag != uint64(i) || r.Duplicate {
			t.Fatalf("message %d got %+v", i, r)
		}
	}
	if got := fmt.Sprint(f.values(t, 1)); got != "[0 1 2]" {
		t.Fatalf("stored %s", got)
	}
	if _, err := p.ProduceSync(ctx, &Message{Topic: "none", Value: []byte("x")}); !errors.Is(err, ErrNotFound) {
		t.Fatalf("unknown topic: %v", err)
	}
	_, err := p.ProduceSync(ctx, &Message{Topic: "orders", Partition: ToPartition(1)})
	if !errors.Is(err, ErrNoPartition) {
		t.Fatalf("unknown partition: %v", err)
	}
	if _, err := p.ProduceSync(ctx, &Message{Topic: "orders", Value: make([]byte, 9<<20)}); !errors.Is(err, ErrTooLarge) {
		t.Fatalf("too large: %v", err)
	}
}

// TestNoDoublesNoGaps sends while connections break at every point of a request, and looks
// that each message is stored once, in order, and reported once with its offset.
func TestNoDoublesNoGaps(t *testing.T) {
	for _, tc := range []struct {
		name string
		opts []ProducerOption
	}{
		{"adaptive", []ProducerOption{WithBatchBytes(1 << 10)}},
		{"linger", []ProducerOption{WithBatchBytes(2 << 10), WithLinger(time.Millisecond)}},
		{"zstd", []ProducerOption{WithBatchBytes(4 << 10), WithZstd()}},
		{"small window", []ProducerOption{WithBatchBytes(1 << 10), WithBufferBytes(4 << 10)}},
	} {
		t.Run(tc.name, func(t *testing.T) { noDoubles(t, tc.opts) })
	}
}

func noDoubles(t *testing.T, opts []ProducerOption) {
	f := newFake(t)
	c := dialFake(t, f)
	newTopic(t, c, "t", 2)
	ctx := testContext(t)
	var seed atomic.Uint64
	f.setFault(func(_ *fakeConn, h native.Header, _ []byte) (bad fakeFault) {
		if h.Command != native.CmdProduce {
			return bad
		}
		r := rand.New(rand.NewPCG(7, seed.Add(1)))
		switch r.IntN(12) {
		case 0:
			bad.before = true
		case 1:
			bad.after = true
		case 2:
			bad.refuse = errcode.Unavailable
		case 3:
			bad.refuse = errcode.DiskFull
		}
		return bad
	})
	p := must[*Producer](t)(c.NewProducer(opts...))
	const n = 3000
	var reported [n]atomic.Int32
	var offsets [n]atomic.Uint64
	done := func(r Result, err error) {
		if err != nil {
			t.Errorf("message %d: %v", r.Tag, err)
		}
		reported[r.Tag].Add(1)
		offsets[r.Tag].Store(r.Offset<<1 | uint64(r.Partition))
	}
	for i := range n {
		value := fmt.Appendf(nil, "%06d %s", i, "some text that fills a batch")
		m := Message{Topic: "t", Partition: ToPartition(uint32(i % 2)), Value: value, Tag: uint64(i)}
		if err := p.Produce(ctx, &m, done); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	stored := [2][]string{f.values(t, 1), f.values(t, 2)}
	for i := range n {
		if got := reported[i].Load(); got != 1 {
			t.Fatalf("message %d reported %d times", i, got)
		}
		part, at := i%2, i/2
		if want := fmt.Sprintf("%06d", i); at >= len(stored[part]) || stored[part][at][:6] != want {
			t.Fatalf("partition %d holds %d messages, at %d not %s", part, len(stored[part]), at, want)
		}
		if got := offsets[i].Load(); got != uint64(at)<<1|uint64(part) {
			t.Fatalf("message %d reported at offset %d of partition %d", i, got>>1, got&1)
		}
	}
	if len(stored[0])+len(stored[1]) != n {
		t.Fatalf("%d messages stored", len(stored[0])+len(stored[1]))
	}
	f.mu.Lock()
	accepted := f.accepted
	f.mu.Unlock()
	if accepted < 3 {
		t.Fatal("no connection was broken: the test shows nothing")
	}
}

// TestRefusedForGood: messages that the broker never takes are reported, those behind them
// move up and are stored in order.
func TestRefusedForGood(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newTopic(t, c, "t", 1)
	ctx := testContext(t)
	var n atomic.Int32
	f.setFault(func(_ *fakeConn, h native.Header, _ []byte) (bad fakeFault) {
		if h.Command == native.CmdProduce && n.Add(1)%3 == 0 {
			bad.refuse = errcode.InvalidBatch
		}
		return bad
	})
	p := must[*Producer](t)(c.NewProducer(WithBatchBytes(1 << 10)))
	var mu sync.Mutex
	var taken []string
	failed := 0
	for i := range 500 {
		text := fmt.Sprintf("%06d and some bytes more to fill the batches with", i)
		err := p.Produce(ctx, &Message{Topic: "t", Value: []byte(text)}, func(_ Result, err error) {
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				taken = append(taken, text)
			case codeOf(err) == errcode.InvalidBatch:
				failed++
			default:
				t.Errorf("unexpected: %v", err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if failed == 0 || len(taken) == 0 || failed+len(taken) != 500 {
		t.Fatalf("%d refused, %d taken", failed, len(taken))
	}
	if got := f.values(t, 1); fmt.Sprint(got) != fmt.Sprint(taken) {
		t.Fatalf("stored %d messages that differ from the %d acknowledged", len(got), len(taken))
	}
}

// TestRefusedForGoodBehindStored: a batch was stored over a connection that broke, and is refused for
// now when it is sent again; the one behind it is stored, the third is refused for good. The fourth
// moves up behind what is stored, not onto it.
func TestRefusedForGoodBehindStored(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newTopic(t, c, "t", 1)
	ctx := testContext(t)
	p := must[*Producer](t)(c.NewProducer(WithLinger(time.Minute)))
	var tries [4]int
	held := make(chan bool)
	f.setFault(func(_ *fakeConn, h native.Header, body []byte) (bad fakeFault) {
		if h.Command != native.CmdProduce {
			return bad
		}
		var value string
		if err := batch.Iterate(body[native.ProduceSize:], func(r *batch.Record) error { value = string(r.Value); return nil }); err != nil {
			t.Error(err)
		}
		i := int(value[0] - '0')
		switch tries[i]++; {
		case i == 0 && tries[i] == 1:
			<-held // until all four are closed
			bad.after = true
		case i == 0 && tries[i] == 2:
			bad.refuse = errcode.Unavailable
		case i == 2:
			bad.refuse = errcode.InvalidBatch
		}
		return bad
	})
	var failed atomic.Int32
	for i := range 4 {
		m := Message{Topic: "t", Value: fmt.Append(nil, i), Tag: uint64(i)}
		if err := p.Produce(ctx, &m, func(r Result, err error) {
			if (err != nil) != (r.Tag == 2) {
				t.Errorf("message %d: %v", r.Tag, err)
			}
			if err != nil {
				failed.Add(1)
			}
		}); err != nil {
			t.Fatal(err)
		}
		for _, s := range p.takeStreams() {
			s.closeOpen()
		}
	}
	close(held)
	if err := p.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(f.values(t, 1)); got != "[0 1 3]" || failed.Load() != 1 {
		t.Fatalf("stored are %s, %d failed", got, failed.Load())
	}
}

// TestForgottenProducer: a broker that has lost a producer's state gets a new epoch or id.
func TestForgottenProducer(t *testing.T) {
	for _, lose := range []struct {
		name string
		do   func(f *fake)
	}{
		{"the id", func(f *fake) { clear(f.producers); clear(f.lanes); f.producers[1] = 0 }},
		{"the sequences", func(f *fake) { clear(f.lanes) }},
		{"to another epoch", func(f *fake) {
			for id := range f.producers {
				f.producers[id] = 77
			}
		}},
	} {
		t.Run(lose.name, func(t *testing.T) {
			f := newFake(t)
			c := dialFake(t, f)
			newTopic(t, c, "t", 2)
			ctx := testContext(t)
			p := must[*Producer](t)(c.NewProducer())
			for round := range 3 {
				for i := range 2 {
					m := Message{Topic: "t", Partition: ToPartition(uint32(i)), Value: fmt.Append(nil, round)}
					if _, err := p.ProduceSync(ctx, &m); err != nil {
						t.Fatal(err)
					}
				}
				f.mu.Lock()
				lose.do(f)
				f.mu.Unlock()
			}
			for i := range uint64(2) {
				if got := fmt.Sprint(f.values(t, i+1)); got != "[0 1 2]" {
					t.Fatalf("partition %d holds %s", i, got)
				}
			}
			if f.count(native.CmdInitProducer) < 2 {
				t.Fatal("no new identity was asked for")
			}
		})
	}
}

// TestRetryFor: a refusal for now is reported when it has lasted.
func TestRetryFor(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newTopic(t, c, "t", 1)
	ctx := testContext(t)
	var full atomic.Bool
	full.Store(true)
	f.setFault(func(_ *fakeConn, h native.Header, _ []byte) (bad fakeFault) {
		if h.Command == native.CmdProduce && full.Load() {
			bad.refuse = errcode.DiskFull
		}
		return bad
	})
	p := must[*Producer](t)(c.NewProducer(WithRetryFor(20 * time.Millisecond)))
	if _, err := p.ProduceSync(ctx, &Message{Topic: "t", Value: []byte("a")}); !errors.Is(err, ErrDiskFull) {
		t.Fatalf("full disk: %v", err)
	}
	if f.count(native.CmdProduce) < 2 {
		t.Fatal("it was not tried again")
	}
	full.Store(false)
	if r, err := p.ProduceSync(ctx, &Message{Topic: "t", Value: []byte("b")}); err != nil || r.Offset != 0 {
		t.Fatalf("room again: %+v %v", r, err)
	}
}

// TestWindow: while nothing is acknowledged, Produce takes what the buffer holds and waits.
func TestWindow(t *testing.T) {
	f := newFake(t)
	f.mu.Lock()
	f.window = 2
	f.mu.Unlock()
	c := dialFake(t, f)
	newTopic(t, c, "t", 1)
	ctx := testContext(t)
	gate := make(chan struct{})
	f.setFault(func(_ *fakeConn, h native.Header, _ []byte) (bad fakeFault) {
		if h.Command == native.CmdProduce {
			<-gate
		}
		return bad
	})
	p := must[*Producer](t)(c.NewProducer(WithBatchBytes(1<<10), WithBufferBytes(8<<10)))
	var reported atomic.Int32
	m := Message{Topic: "t", Value: make([]byte, 500)}
	short, cancel := context.WithCancel(ctx)
	full := make(chan error, 1)
	var taken atomic.Int32
	go func() {
		for {
			if err := p.Produce(short, &m, func(Result, error) { reported.Add(1) }); err != nil {
				full <- err
				return
			}
			taken.Add(1)
		}
	}()
	for p.win.waiting() == false {
		time.Sleep(time.Millisecond)
	}
	if n := taken.Load(); n < 8 || n > 32 {
		t.Fatalf("%d messages of 500 bytes were taken into 8 KiB", n)
	}
	cancel()
	if err := <-full; !errors.Is(err, context.Canceled) {
		t.Fatalf("a waiting Produce whose context ends: %v", err)
	}
	if reported.Load() != 0 {
		t.Fatal("reported before it was acknowledged")
	}
	close(gate)
	if err := p.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if reported.Load() != taken.Load() {
		t.Fatalf("%d taken, %d reported", taken.Load(), reported.Load())
	}
	f.mu.Lock()
	most := f.maxOpen
	f.mu.Unlock()
	if most > 2 {
		t.Fatalf("%d requests were unanswered at once in a window of 2", most)
	}
	if err := p.Produce(ctx, &m, nil); err != nil {
		t.Fatalf("after the wait: %v", err)
	}
}

// TestFrameLimit: batches fit into the frames that this broker takes, and one that was
// closed for larger ones is reported.
func TestFrameLimit(t *testing.T) {
	f := newFake(t)
	f.mu.Lock()
	f.frame = 32 << 10
	f.mu.Unlock()
	c := dialFake(t, f)
	newTopic(t, c, "t", 1)
	ctx := testContext(t)
	p := must[*Producer](t)(c.NewProducer(WithLinger(time.Minute)))
	m := Message{Topic: "t", Value: make([]byte, 1000)}
	send := func(n int, done func(Result, error)) {
		t.Helper()
		for range n {
			if err := p.Produce(ctx, &m, done); err != nil {
				t.Fatal(err)
			}
		}
	}
	send(200, func(_ Result, err error) {
		if err != nil {
			t.Error(err)
		}
	})
	if err := p.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if n := len(f.values(t, 1)); n != 200 || f.count(native.CmdProduce) < 7 {
		t.Fatalf("%d messages in %d frames", n, f.count(native.CmdProduce))
	}
	f.mu.Lock()
	f.frame = 8 << 10
	f.mu.Unlock()
	var failed atomic.Int32
	send(20, func(_ Result, err error) { // more than a smaller frame holds, and not full yet
		if errors.Is(err, ErrTooLarge) {
			failed.Add(1)
		}
	})
	f.dropAll()
	if err := p.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if failed.Load() != 20 && failed.Load() != 0 { // 0: it left before the connection broke
		t.Fatalf("%d of 20 messages failed", failed.Load())
	}
	send(20, nil)
	if err := p.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestManyLanes: more partitions than the buffer holds full batches.
func TestManyLanes(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newTopic(t, c, "t", 200)
	ctx := testContext(t)
	for _, linger := range []time.Duration{0, time.Minute} {
		p := must[*Producer](t)(c.NewProducer(WithBufferBytes(64<<10), WithBatchBytes(16<<10), WithLinger(linger)))
		var acked atomic.Int32
		for i := range 10000 {
			m := Message{Topic: "t", Partition: ToPartition(uint32(i * 7 % 200)), Value: make([]byte, 200)}
			if err := p.Produce(ctx, &m, func(_ Result, err error) {
				if err == nil {
					acked.Add(1)
				}
			}); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Close(ctx); err != nil || acked.Load() != 10000 {
			t.Fatalf("%d acknowledged, %v", acked.Load(), err)
		}
	}
}

func TestPartitioning(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newTopic(t, c, "t", 5)
	ctx := testContext(t)
	p := must[*Producer](t)(c.NewProducer(WithBatchBytes(1 << 10)))
	for i := range 50 {
		key := fmt.Appendf(nil, "key-%d", i)
		r, err := p.ProduceSync(ctx, &Message{Topic: "t", Key: key})
		if err != nil || r.Partition != hash.Partition(key, 5) {
			t.Fatalf("key %s went to %d, %v", key, r.Partition, err)
		}
	}
	seen := map[uint32]int{}
	var mu sync.Mutex
	for range 500 {
		if err := p.Produce(ctx, &Message{Topic: "t", Value: make([]byte, 100)}, func(r Result, err error) {
			mu.Lock()
			defer mu.Unlock()
			seen[r.Partition]++
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 5 {
		t.Fatalf("messages without a key went to partitions %v", seen)
	}
}

func TestAddedPartitionsAndDeletedTopic(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newTopic(t, c, "t", 1)
	ctx := testContext(t)
	p := must[*Producer](t)(c.NewProducer())
	if _, err := p.ProduceSync(ctx, &Message{Topic: "t"}); err != nil {
		t.Fatal(err)
	}
	if err := c.AddPartitions(ctx, "t", 3); err != nil {
		t.Fatal(err)
	}
	must[*topicEntry](t)(c.topics.get(ctx, "t"))
	f.mu.Lock()
	f.grow(f.topics["t"], 4) // by somebody else
	f.mu.Unlock()
	c.topics.refresh(ctx)
	if r, err := p.ProduceSync(ctx, &Message{Topic: "t", Partition: ToPartition(3)}); err != nil || r.Partition != 3 {
		t.Fatalf("an added partition: %+v %v", r, err)
	}
	if err := c.DeleteTopic(ctx, "t"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.ProduceSync(ctx, &Message{Topic: "t"}); !errors.Is(err, ErrUnknownIndex) && !errors.Is(err, ErrNotFound) {
		t.Fatalf("a deleted topic: %v", err)
	}
	newTopic(t, c, "t", 1)
	if r, err := p.ProduceSync(ctx, &Message{Topic: "t"}); err != nil || r.Offset != 0 {
		t.Fatalf("a topic that is there again: %+v %v", r, err)
	}
}

func TestPublish(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	ctx := testContext(t)
	for _, q := range []string{"a", "b"} {
		must[bool](t)(c.CreateQueue(ctx, QueueSpec{Name: q}))
		must[bool](t)(c.CreateBinding(ctx, BindingSpec{Exchange: "x", Queue: q, RoutingKey: q}))
	}
	must[bool](t)(c.CreateBinding(ctx, BindingSpec{Exchange: "x", Queue: "a", RoutingKey: "both"}))
	must[bool](t)(c.CreateBinding(ctx, BindingSpec{Exchange: "x", Queue: "b", RoutingKey: "both"}))
	must[bool](t)(c.CreateExchange(ctx, ExchangeSpec{Name: "x", Type: Direct}))
	p := must[*Producer](t)(c.NewProducer(WithBatchBytes(1 << 10)))
	var n atomic.Int32
	f.setFault(func(_ *fakeConn, h native.Header, _ []byte) (bad fakeFault) {
		if h.Command == native.CmdPublish {
			switch n.Add(1) % 7 {
			case 3:
				bad.after = true
			case 5:
				bad.before = true
			}
		}
		return bad
	})
	var unroutable, reached atomic.Int32
	keys := []string{"a", "b", "nowhere", "both"}
	for i := range 400 {
		m := Message{Exchange: "x", RoutingKey: keys[i/3%4], Mandatory: i%2 == 0, Value: fmt.Appendf(nil, "%04d", i)}
		if err := p.Produce(ctx, &m, func(r Result, err error) {
			switch {
			case errors.Is(err, ErrUnroutable):
				unroutable.Add(1)
			case err != nil:
				t.Error(err)
			default:
				reached.Add(int32(r.Queues))
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	var wantA, wantB []string
	lost, total := 0, 0
	for i := range 400 {
		v := fmt.Sprintf("%04d", i)
		switch key := keys[i/3%4]; {
		case key == "a":
			wantA, total = append(wantA, v), total+1
		case key == "b":
			wantB, total = append(wantB, v), total+1
		case key == "both":
			wantA, wantB, total = append(wantA, v), append(wantB, v), total+2
		case i%2 == 0:
			lost++
		}
	}
	for q, want := range map[string][]string{"a": wantA, "b": wantB} {
		if got := f.values(t, f.queues[q].Queue); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("queue %s holds %v, not %v", q, got, want)
		}
	}
	if int(unroutable.Load()) != lost || int(reached.Load()) != total {
		t.Fatalf("%d unroutable, %d reached; want %d and %d", unroutable.Load(), reached.Load(), lost, total)
	}
	if _, err := p.ProduceSync(ctx, &Message{Exchange: "none"}); !errors.Is(err, ErrNotFound) {
		t.Fatalf("unknown exchange: %v", err)
	}
}

// TestHeadersExchange: messages for an exchange that routes by headers, or hands on to others that
// may, share a batch only with those of equal headers.
func TestHeadersExchange(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	ctx := testContext(t)
	must[bool](t)(c.CreateExchange(ctx, ExchangeSpec{Name: "h", Type: Headers}))
	must[bool](t)(c.CreateExchange(ctx, ExchangeSpec{Name: "a", Type: Direct, Alternate: "h"}))
	must[bool](t)(c.CreateExchange(ctx, ExchangeSpec{Name: "e", Type: Fanout}))
	must[bool](t)(c.CreateBinding(ctx, BindingSpec{Exchange: "e", Queue: "h", ToExchange: true}))
	must[bool](t)(c.CreateExchange(ctx, ExchangeSpec{Name: "c", Type: ConsistentHash, HashHeader: "k"}))
	for _, v := range []string{"1", "2"} {
		must[bool](t)(c.CreateQueue(ctx, QueueSpec{Name: "q" + v}))
		for _, x := range []string{"h", "a", "e", "c"} {
			must[bool](t)(c.CreateBinding(ctx, BindingSpec{Exchange: x, Queue: "q" + v, Headers: []RoutingHeader{{Key: "k", Value: v}}}))
		}
	}
	p := must[*Producer](t)(c.NewProducer(WithOrderByRoutingKey()))
	for i := range 40 {
		m := Message{Exchange: "haec"[i/10:][:1], Headers: []Header{{Key: "k", Value: fmt.Append(nil, 1+i%2)}}, Value: fmt.Append(nil, i)}
		if err := p.Produce(ctx, &m, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	got := f.values(t, f.queues["q2"].Queue)
	slices.SortFunc(got, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
	if fmt.Sprint(got) != "[1 3 5 7 9 11 13 15 17 19 21 23 25 27 29 31 33 35 37 39]" {
		t.Fatalf("q2 holds %s", got)
	}
}

// TestCloseUnderLoad: every message that was taken is reported once, whatever Close meets.
func TestCloseUnderLoad(t *testing.T) {
	for _, silent := range []bool{false, true} {
		t.Run(fmt.Sprintf("silent=%v", silent), func(t *testing.T) {
			f := newFake(t)
			c := dialFake(t, f)
			newTopic(t, c, "t", 3)
			ctx := testContext(t)
			p := must[*Producer](t)(c.NewProducer(WithBatchBytes(1<<10), WithBufferBytes(64<<10)))
			if _, err := p.ProduceSync(ctx, &Message{Topic: "t"}); err != nil { // the topic is known now
				t.Fatal(err)
			}
			var taken, reported, failed atomic.Int64
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					for {
						err := p.Produce(ctx, &Message{Topic: "t", Value: make([]byte, 50)}, func(_ Result, err error) {
							reported.Add(1)
							if err != nil {
								failed.Add(1)
							}
						})
						if err != nil {
							if !errors.Is(err, ErrClosed) {
								t.Error(err)
							}
							return
						}
						taken.Add(1)
					}
				})
			}
			for reported.Load() < 100 {
				time.Sleep(time.Millisecond)
			}
			end := ctx
			if silent {
				hit, hang := make(chan struct{}, 1), make(chan struct{})
				t.Cleanup(func() { close(hang) })
				f.setFault(func(_ *fakeConn, h native.Header, _ []byte) (bad fakeFault) {
					if h.Command == native.CmdProduce {
						select {
						case hit <- struct{}{}:
						default:
						}
						<-hang
					}
					return bad
				})
				<-hit
				var cancel context.CancelFunc
				end, cancel = context.WithTimeout(ctx, 50*time.Millisecond)
				defer cancel()
			}
			err := p.Close(end)
			wg.Wait()
			if (err != nil) != silent {
				t.Fatalf("Close: %v", err)
			}
			if taken.Load() != reported.Load() {
				t.Fatalf("%d taken, %d reported", taken.Load(), reported.Load())
			}
			if silent != (failed.Load() > 0) {
				t.Fatalf("%d failed", failed.Load())
			}
			if err := p.Produce(ctx, &Message{Topic: "t"}, nil); !errors.Is(err, ErrClosed) {
				t.Fatalf("Produce after Close: %v", err)
			}
		})
	}
}

func TestProduceAllocations(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newTopic(t, c, "t", 1)
	ctx := testContext(t)
	p := must[*Producer](t)(c.NewProducer())
	var n atomic.Int64
	done := func(Result, error) { n.Add(1) }
	m := Message{Topic: "t", Value: make([]byte, 250)}
	for range 5000 { // warm the pools
		if err := p.Produce(ctx, &m, done); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	got := testing.AllocsPerRun(20000, func() {
		if err := p.Produce(ctx, &m, done); err != nil {
			t.Fatal(err)
		}
	})
	if got >= 1 { // the fake allocates as well, for each batch
		t.Fatalf("%v allocations a message", got)
	}
}
