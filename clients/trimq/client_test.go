package trimq

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/native"
)

func TestDial(t *testing.T) {
	f := newFake(t)
	f.mu.Lock()
	f.secret = "s3cret"
	f.mu.Unlock()
	ctx := testContext(t)
	if _, err := Dial(ctx, []string{f.addr()}); !errors.Is(err, ErrAuthFailed) {
		t.Fatalf("without the secret: %v", err)
	}
	c := dialFake(t, f, WithSecret("s3cret"), WithName("somebody"))
	if rtt, err := c.Ping(ctx); err != nil || rtt <= 0 {
		t.Fatalf("Ping: %v %v", rtt, err)
	}
	if in := must[BrokerInfo](t)(c.Info(ctx)); in.Server != "fake" {
		t.Fatalf("Info: %+v", in)
	}
	for _, bad := range [][]string{nil, {""}, {"a:b:c"}} {
		if _, err := NewClient(bad); err == nil {
			t.Fatalf("addresses %q were taken", bad)
		}
	}
	for in, want := range map[string]string{"host": "host:7420", "host:1": "host:1", "::1": "[::1]:7420", "[::1]:9": "[::1]:9"} {
		if got, err := withPort(in); err != nil || got != want {
			t.Fatalf("%s became %s, %v", in, got, err)
		}
	}
	// Nobody listens: the context's end comes with the reason.
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	short, cancel := context.WithCancel(ctx)
	defer cancel()
	var attempts atomic.Int32
	_, err = Dial(short, []string{dead.Addr().String()}, WithBackoff(time.Millisecond, time.Millisecond),
		WithDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			if attempts.Add(1) == 2 { // the first has been reported
				cancel()
			}
			return dialTCP(ctx, addr)
		}))
	if !errors.Is(err, context.Canceled) || !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "refused") {
		t.Fatalf("nobody there: %v", err)
	}
	// Of two addresses one answers.
	two, err := Dial(ctx, []string{dead.Addr().String(), f.addr()}, WithSecret("s3cret"), WithBackoff(time.Millisecond, time.Millisecond))
	if err != nil {
		t.Fatalf("the second of two: %v", err)
	}
	if err := two.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestBindingsInPages: an exchange may have more bindings than a page holds, and many of them may
// differ in their headers alone.
func TestBindingsInPages(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	ctx := testContext(t)
	must[bool](t)(c.CreateExchange(ctx, ExchangeSpec{Name: "x", Type: Headers, AutoDelete: true, Alternate: "rest"}))
	want := map[string]bool{}
	for i := range 9 {
		spec := BindingSpec{Exchange: "x", Queue: "q", Headers: []RoutingHeader{{Key: "k", Value: fmt.Sprint(i)}}}
		if i%3 == 0 {
			spec.Headers, spec.Present = nil, []string{fmt.Sprint(i)}
		}
		must[bool](t)(c.CreateBinding(ctx, spec))
		want[spec.Identity()] = true
	}
	got := must[[]BindingInfo](t)(c.Bindings(ctx))
	for i := range got {
		spec := BindingSpec(got[i])
		delete(want, spec.Identity())
	}
	if len(got) != 9 || len(want) > 0 {
		t.Fatalf("%d bindings; missing: %v", len(got), want)
	}
	x := must[[]ExchangeInfo](t)(c.Exchanges(ctx, "x"))
	if x[0].Bindings != 9 || x[0].Exchanges != 0 || !x[0].AutoDelete || x[0].Alternate != "rest" {
		t.Fatalf("described as %+v", x)
	}
}

func TestAdmin(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	ctx := testContext(t)
	for i := range 5 {
		spec := TopicSpec{Name: fmt.Sprintf("t%d", i), Partitions: uint32(i + 1)}
		if existed := must[bool](t)(c.CreateTopic(ctx, spec)); existed {
			t.Fatal("a new topic existed")
		}
		if existed := must[bool](t)(c.CreateTopic(ctx, spec)); !existed {
			t.Fatal("an old topic did not exist")
		}
		must[bool](t)(c.CreateQueue(ctx, QueueSpec{Name: fmt.Sprintf("q%d", i)}))
		must[bool](t)(c.CreateExchange(ctx, ExchangeSpec{Name: fmt.Sprintf("x%d", i), Type: Fanout}))
	}
	if _, err := c.CreateTopic(ctx, TopicSpec{Name: "t0", Partitions: 9}); !errors.Is(err, ErrInequivalent) {
		t.Fatalf("another t0: %v", err)
	}
	topics := must[[]TopicInfo](t)(c.Topics(ctx))
	if len(topics) != 5 || topics[4].Name != "t4" || len(topics[4].Partitions) != 5 {
		t.Fatalf("topics: %+v", topics)
	}
	if q := must[[]QueueInfo](t)(c.Queues(ctx)); len(q) != 5 {
		t.Fatalf("queues: %+v", q)
	}
	if x := must[[]ExchangeInfo](t)(c.Exchanges(ctx, "x3", "x1")); len(x) != 2 || x[0].Name != "x3" {
		t.Fatalf("exchanges: %+v", x)
	}
	if _, err := c.Topics(ctx, "t1", "no"); !errors.Is(err, ErrNotFound) {
		t.Fatalf("a missing topic: %v", err)
	}
	// A deletion whose answer is lost is sent again and finds its work done.
	var once sync.Once
	f.setFault(func(_ *fakeConn, h native.Header, _ []byte) (bad fakeFault) {
		if h.Command == native.CmdDeleteTopic {
			once.Do(func() { bad.after = true })
		}
		return bad
	})
	if err := c.DeleteTopic(ctx, "t0"); err != nil {
		t.Fatal(err)
	}
	if err := c.DeleteTopic(ctx, "t0"); !errors.Is(err, ErrNotFound) {
		t.Fatalf("deleted twice: %v", err)
	}
	if err := c.DeleteExchange(ctx, "x0", DeleteCondition{}); err != nil {
		t.Fatal(err)
	}
	for _, code := range []errcode.Code{errcode.Unavailable, errcode.ShuttingDown} {
		f.setFault(func(_ *fakeConn, h native.Header, _ []byte) (bad fakeFault) {
			bad.refuse = code
			return bad
		})
		before := f.count(native.CmdInfo)
		short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		if _, err := c.Info(short); codeOf(err) != code && !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("a tier that stays away: %v", err)
		}
		cancel()
		if f.count(native.CmdInfo) < before+2 {
			t.Fatalf("%s: it was not tried again", code)
		}
	}
}

// Batches that lie below what was asked for are not passed over: whoever sends them may have left out
// what was.
func TestEndOf(t *testing.T) {
	at := func(base uint64, records int) []byte {
		var b batch.Builder
		for range records {
			b.Add(1, nil, []byte("v"), nil)
		}
		sealed := bytes.Clone(b.Seal(batch.None, batch.NoProducer, 0, 0))
		batch.PatchBase(sealed, base, 0)
		return sealed
	}
	for name, x := range map[string]struct {
		run  [][]byte
		from uint64
		want uint64 // 0: refused
	}{
		"from its front":      {[][]byte{at(5, 3)}, 5, 8},
		"from its middle":     {[][]byte{at(5, 3), at(8, 2)}, 7, 10},
		"behind a gap":        {[][]byte{at(5, 3), at(20, 2)}, 5, 22},
		"nothing":             {nil, 5, 0},
		"one that lies below": {[][]byte{at(2, 3), at(5, 3)}, 5, 0},
		"all lie below":       {[][]byte{at(2, 3)}, 5, 0},
		"out of order":        {[][]byte{at(8, 3), at(5, 3)}, 5, 0},
	} {
		if end, err := endOf(bytes.Join(x.run, nil), x.from); end != x.want || (err != nil) != (x.want == 0) || err != nil && !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: ends at %d (%v)", name, end, err)
		}
	}
}

// TestBadFrames answers requests of every role with bytes that are no answer: the connection
// is given up, another one serves, and nothing panics.
func TestBadFrames(t *testing.T) {
	frame := func(cmd native.Command, flags native.Flags, corr uint64, body ...byte) []byte {
		return append(native.AppendHeader(nil, cmd, flags, corr, len(body)), body...)
	}
	bad := map[string][]byte{
		"length 0":              make([]byte, 16),
		"length 4 GiB":          {255, 255, 255, 255, 10, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"unknown flags":         frame(native.CmdProduce, 0x81, 1),
		"unknown correlation":   frame(native.CmdProduce, native.FlagResponse, 999),
		"another command":       frame(native.CmdPing, native.FlagResponse, 1),
		"no body":               frame(native.CmdProduce, native.FlagResponse, 1),
		"body too long":         frame(native.CmdProduce, native.FlagResponse, 1, make([]byte, 99)...),
		"not an error":          frame(native.CmdProduce, native.FlagResponse|native.FlagError, 1, 0, 0, 0),
		"error body cut off":    frame(native.CmdFetch, native.FlagResponse|native.FlagError, 1, 9),
		"fetch with more bytes": frame(native.CmdFetch, native.FlagResponse, 1, make([]byte, 33)...),
		"not asked for":         frame(native.CmdDeliver, 0, 0, make([]byte, 40)...),
		"delivery of nothing":   frame(native.CmdDeliver, 0, 0, make([]byte, 8)...),
		"recall cut off":        frame(native.CmdRecall, 0, 0, make([]byte, 16)...),
		"recall of too much":    frame(native.CmdRecall, 0, 0, append(make([]byte, 16), 1, 255, 255, 255, 255, 255, 255, 255, 255, 1, 0, 0, 0)...),
		"pull that ends early":  frame(native.CmdPull, native.FlagResponse, 1, make([]byte, 24)...),
		"pull without messages": frame(native.CmdPull, native.FlagResponse, 1, append(make([]byte, 16), 9, 0, 0, 0, 0, 0, 0, 0)...),
		"delivery to a pull":    frame(native.CmdDeliver, 0, 1, make([]byte, 80)...),
		"check of nothing":      frame(native.CmdCheckTxn, 0, 0, 1, 2, 3),
		"closed what":           frame(native.CmdSubClosed, 0, 0, 1),
		"a request":             frame(native.CmdFetch, 0, 7),
		"goodbye cut off":       frame(native.CmdGoodbye, 0, 0, 1),
		"cut in the header":     {9, 0, 0},
	}
	for name, bytes := range bad {
		t.Run(name, func(t *testing.T) { t.Parallel(); badFrame(t, bytes) })
	}
	r := rand.New(rand.NewPCG(8, 9))
	for i := range 30 {
		b := frame(native.Command(r.IntN(50)), native.Flags(r.IntN(4)), r.Uint64N(4), make([]byte, r.IntN(60))...)
		for j := 16; j < len(b); j++ {
			b[j] = byte(r.IntN(256))
		}
		t.Run(fmt.Sprintf("random %d", i), func(t *testing.T) { t.Parallel(); badFrame(t, b) })
	}
}

func badFrame(t *testing.T, bytes []byte) {
	f := newFake(t)
	c := dialFake(t, f)
	newTopic(t, c, "t", 1)
	newQueue(t, f, c, "q", 10)
	newQueue(t, f, c, "p", 10)
	f.fill(t, 1, 10, 10, 0)
	ctx := testContext(t)
	hit := map[native.Command]bool{}
	f.setFault(func(_ *fakeConn, h native.Header, _ []byte) (bad fakeFault) {
		f.mu.Lock()
		defer f.mu.Unlock()
		switch h.Command {
		case native.CmdProduce, native.CmdFetch, native.CmdSubscribe, native.CmdAck, native.CmdInfo, native.CmdPull, native.CmdBeginTxn, native.CmdEndTxn:
			if !hit[h.Command] {
				hit[h.Command] = true
				bad.garbage = bytes
				bad.after = len(bytes) < native.FrameHeaderSize // nothing follows, so it must end
				if bad.after {
					bad.garbage = nil
				}
			}
		}
		return bad
	})
	// Whatever was taken for an answer, after at most a few connections all roles work. An
	// answer that never comes is not this test's subject, so silence is broken here.
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(300 * time.Millisecond):
				f.dropAll()
			}
		}
	}()
	must[BrokerInfo](t)(c.Info(ctx))
	p := must[*Producer](t)(c.NewProducer())
	if _, err := p.ProduceSync(ctx, &Message{Topic: "t", Value: []byte("value 10")}); err != nil && codeOf(err) == errcode.OK {
		t.Fatal(err)
	}
	k := must[*Consumer](t)(c.NewConsumer(ctx, []string{"t"}))
	for {
		fetch, err := k.Poll(ctx)
		if err == nil {
			check(t, &fetch.Records[0])
			break
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
		if err := k.Seek(ctx, "t", 0, Earliest()); err != nil {
			t.Fatal(err)
		}
	}
	for {
		q, err := c.ConsumeQueue(ctx, "q")
		if err == nil {
			d, err := q.Receive(ctx)
			if err == nil {
				check(t, &d.Messages[0])
				must[struct{}](t)(struct{}{}, d.Ack())
				break
			}
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	for got, err := []*Pulled(nil), error(nil); len(got) == 0; got, err = c.Pull(ctx, "p", 3, time.Second, WithVisibility(50*time.Millisecond)) {
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	for done := false; !done; {
		err := p.InTxn(ctx, func(ctx context.Context, x *Txn) error { return x.Produce(ctx, &Message{Topic: "t"}, nil) })
		if done = err == nil; ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}

// TestSilentBroker: a broker that takes requests and never answers is left.
func TestSilentBroker(t *testing.T) {
	f := newFake(t)
	var asked atomic.Bool
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	f.setFault(func(_ *fakeConn, h native.Header, _ []byte) (bad fakeFault) {
		if h.Command == native.CmdProduce && !asked.Swap(true) {
			<-hang
		}
		return bad
	})
	c := dialFake(t, f, WithAnswerTimeout(100*time.Millisecond))
	newTopic(t, c, "t", 1)
	p := must[*Producer](t)(c.NewProducer())
	if r, err := p.ProduceSync(testContext(t), &Message{Topic: "t"}); err != nil || r.Offset != 0 {
		t.Fatalf("after the silence: %+v %v", r, err)
	}
}

// TestGoodbye: a broker that drains is left once it has answered, without an error.
func TestGoodbye(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newTopic(t, c, "t", 1)
	ctx := testContext(t)
	p := must[*Producer](t)(c.NewProducer())
	for i := range 5 {
		if r, err := p.ProduceSync(ctx, &Message{Topic: "t"}); err != nil || r.Offset != uint64(i) || r.Duplicate {
			t.Fatalf("message %d: %+v %v", i, r, err)
		}
		f.mu.Lock()
		for fc := range f.conns {
			fc.write(native.AppendFrame(nil, native.CmdGoodbye, 0, 0, &native.Goodbye{Code: errcode.ShuttingDown, DrainMS: 1000}))
		}
		f.mu.Unlock()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.accepted < 4 {
		t.Fatalf("%d connections: nobody left", f.accepted)
	}
}

// TestContexts: each call that waits ends with its context.
func TestContexts(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newTopic(t, c, "t", 1)
	newQueue(t, f, c, "q", 0)
	ctx := testContext(t)
	p := must[*Producer](t)(c.NewProducer())
	k := must[*Consumer](t)(c.NewConsumer(ctx, []string{"t"}, WithGroup("g")))
	q := must[*QueueConsumer](t)(c.ConsumeQueue(ctx, "q"))
	if _, err := p.ProduceSync(ctx, &Message{Topic: "t"}); err != nil {
		t.Fatal(err)
	}
	must[*Fetch](t)(k.Poll(ctx))
	newQueue(t, f, c, "r", 7)
	leased := must[[]*Pulled](t)(c.Pull(ctx, "r", 1, 0, WithVisibility(time.Hour)))[0]
	inHand := must[[]*Pulled](t)(c.Pull(ctx, "r", 1, 0))[0]
	x := begin(t, p)
	// From here on nothing is answered.
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	f.setFault(func(*fakeConn, native.Header, []byte) (bad fakeFault) {
		<-hang
		return bad
	})
	for name, call := range map[string]func(context.Context) error{
		"Ping":        func(ctx context.Context) error { _, err := c.Ping(ctx); return err },
		"Topics":      func(ctx context.Context) error { _, err := c.Topics(ctx); return err },
		"ProduceSync": func(ctx context.Context) error { _, err := p.ProduceSync(ctx, &Message{Topic: "t"}); return err },
		"new topic":   func(ctx context.Context) error { return p.Produce(ctx, &Message{Topic: "u"}, nil) },
		"exchange":    func(ctx context.Context) error { return p.Produce(ctx, &Message{Exchange: "x"}, nil) },
		"Flush": func(ctx context.Context) error {
			if err := p.Produce(context.Background(), &Message{Topic: "t"}, nil); err != nil {
				t.Error(err)
			}
			return p.Flush(ctx)
		},
		"Poll":         func(ctx context.Context) error { _, err := k.Poll(ctx); return err },
		"Commit":       k.Commit,
		"Committed":    func(ctx context.Context) error { _, err := k.Committed(ctx); return err },
		"Seek":         func(ctx context.Context) error { return k.Seek(ctx, "t", 0, Latest()) },
		"NewConsumer":  func(ctx context.Context) error { _, err := c.NewConsumer(ctx, []string{"z"}); return err },
		"ConsumeQueue": func(ctx context.Context) error { _, err := c.ConsumeQueue(ctx, "q"); return err },
		"Receive":      func(ctx context.Context) error { _, err := q.Receive(ctx); return err },
		"queue Flush":  func(ctx context.Context) error { must[struct{}](t)(struct{}{}, q.Ack(q.queue, 0)); return q.Flush(ctx) },
		"Pull":         func(ctx context.Context) error { _, err := c.Pull(ctx, "r", 1, time.Hour); return err },
		"Delete":       leased.Delete,
		"Return":       inHand.Return,
		"Extend":       func(ctx context.Context) error { return leased.Extend(ctx, time.Hour) },
		"Purge":        func(ctx context.Context) error { _, err := c.Purge(ctx, "r"); return err },
		"queue Seek":   func(ctx context.Context) error { return c.Seek(ctx, "r", Latest()) },
		"Consumers":    func(ctx context.Context) error { _, err := c.Consumers(ctx); return err },
		"Subscribe":    func(ctx context.Context) error { _, err := c.Subscribe(ctx, Subscription{Topic: "t"}); return err },
		"BeginTxn":     func(ctx context.Context) error { _, err := p.BeginTxn(ctx); return err },
		"Txn Commit":   x.Commit,
		"TxnChecker":   func(ctx context.Context) error { _, err := c.TxnChecker(ctx, "g", nil); return err },
		"Serve": func(ctx context.Context) error {
			return q.Serve(ctx, 2, func(context.Context, *Deliveries, *Record) error { return nil })
		},
		"Dial": func(ctx context.Context) error { _, err := Dial(ctx, []string{f.addr()}); return err },
	} {
		short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		if err := call(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s whose context ends: %v", name, err)
		}
		cancel()
		if err := call(short); err == nil {
			t.Errorf("%s with an ended context succeeded", name)
		}
	}
	short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	if err := c.Close(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Close with unanswered messages: %v", err)
	}
}

// TestNoGoroutinesLeft closes a client with everything in use.
func TestNoGoroutinesLeft(t *testing.T) {
	f := newFake(t)
	ctx := testContext(t)
	before := runtime.NumGoroutine()
	for range 3 {
		c := must[*Client](t)(Dial(ctx, []string{f.addr()}))
		newTopic(t, c, "t", 2)
		newQueue(t, f, c, "q", 5)
		p := must[*Producer](t)(c.NewProducer())
		if _, err := p.ProduceSync(ctx, &Message{Topic: "t"}); err != nil {
			t.Fatal(err)
		}
		must[*Consumer](t)(c.NewConsumer(ctx, []string{"t"}))
		must[*Consumer](t)(c.NewConsumer(ctx, []string{"t"}, WithPush()))
		q := must[*QueueConsumer](t)(c.ConsumeQueue(ctx, "q"))
		begin(t, must[*Producer](t)(q.NewProducer()))
		begin(t, p, WithTxnGroup("g", "k"))
		must[[]*Pulled](t)(c.Pull(ctx, "q", 1, time.Millisecond))
		must[*TxnChecker](t)(c.TxnChecker(ctx, "g", func(context.Context, Check) Decision { return TxnUnknown }))
		if err := c.Close(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Ping(ctx); !errors.Is(err, ErrClosed) {
			t.Fatalf("a closed client: %v", err)
		}
		if _, err := c.NewProducer(); !errors.Is(err, ErrClosed) {
			t.Fatalf("a producer of a closed client: %v", err)
		}
	}
	f.dropAll()
	for runtime.NumGoroutine() > before { // those of the fake end by themselves
		if ctx.Err() != nil {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
		time.Sleep(time.Millisecond)
	}
}
