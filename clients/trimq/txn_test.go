package trimq

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/native"
)

// newPlaces makes a topic t, an exchange x with a queue out, and a queue in with n messages.
func newPlaces(t testing.TB, f *fake, c *Client, n int) {
	t.Helper()
	newTopic(t, c, "t", 2)
	newExchange(t, c, "x", "out", QueueSettings{})
	newQueue(t, f, c, "in", n)
}

func begin(t testing.TB, p *Producer, opts ...TxnOption) *Txn {
	t.Helper()
	return must[*Txn](t)(p.BeginTxn(testContext(t), opts...))
}

// outcome is what the fake has decided of a transaction.
func (f *fake) outcome(x *Txn) (ended, committed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.txns[x.id].ended, f.txns[x.id].committed
}

// TestTxnCommit: nothing is seen before the commit, all of it then, beside what is no part of it.
func TestTxnCommit(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newPlaces(t, f, c, 0)
	ctx := testContext(t)
	p := must[*Producer](t)(c.NewProducer())
	x, y := begin(t, p), begin(t, p, WithTxnGroup("g", "y"), WithCheckAfter(time.Hour))
	if x.ID() == y.ID() || x.ID() == 0 {
		t.Fatalf("transactions %d and %d", x.ID(), y.ID())
	}
	for i := range 30 {
		v := fmt.Append(nil, i)
		m := Message{Topic: "t", Partition: ToPartition(0), Value: v, Tag: uint64(i)}
		if i%2 == 0 {
			m = Message{Exchange: "x", RoutingKey: fmt.Sprint(i % 4), Value: v, Tag: uint64(i)}
		}
		produce := []func(context.Context, *Message, func(Result, error)) error{p.Produce, x.Produce, y.Produce}[i%3]
		if err := produce(ctx, &m, func(r Result, err error) {
			if err != nil || r.Tag != uint64(i) || i%3 > 0 && m.Topic != "" && r.Offset != UnknownOffset || i%3 > 0 && r.Queues != 0 {
				t.Errorf("message %d: %+v, %v", i, r, err)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	if r, err := x.ProduceSync(ctx, &Message{Topic: "t", Partition: ToPartition(1), Value: []byte("last")}); err != nil || r.Offset != UnknownOffset {
		t.Fatalf("%+v, %v", r, err)
	}
	if err := p.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	stored := func() string {
		all := [][]string{f.values(t, 1), f.values(t, f.queues["out"].Queue), f.values(t, 2)}
		for _, values := range all {
			slices.Sort(values)
		}
		return fmt.Sprint(all)
	}
	if got, want := stored(), "[[15 21 27 3 9] [0 12 18 24 6] []]"; got != want {
		t.Fatalf("before the commits: %s, not %s", got, want)
	}
	if err := x.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if got, want := stored(), "[[1 13 15 19 21 25 27 3 7 9] [0 10 12 16 18 22 24 28 4 6] [last]]"; got != want {
		t.Fatalf("after the first: %s, not %s", got, want)
	}
	if n, err := c.EndTxn(ctx, y.ID(), true); err != nil || n == 0 {
		t.Fatalf("the second, by its number: %d, %v", n, err)
	}
	if err := y.Commit(ctx); err != nil {
		t.Fatalf("once more: %v", err)
	}
	if got := stored(); strings.Count(got, " ") != 30 {
		t.Fatalf("in the end: %s", got)
	}
	for _, tx := range []*Txn{x, y} {
		if err := tx.Commit(ctx); err != nil {
			t.Errorf("a second Commit: %v", err)
		}
		if err := tx.Rollback(ctx); !errors.Is(err, ErrTxnEnded) {
			t.Errorf("Rollback after Commit: %v", err)
		}
		if err := tx.Produce(ctx, &Message{Topic: "t"}, nil); !errors.Is(err, ErrTxnEnded) {
			t.Errorf("Produce after Commit: %v", err)
		}
	}
	if len(p.txns) != 0 {
		t.Errorf("%d transactions are remembered", len(p.txns))
	}
	s := must[*topicLanes](t)(p.topic(ctx, "t")).streams[0]
	if len(s.lanes) != 0 {
		t.Errorf("%d lanes are remembered", len(s.lanes))
	}
}

func TestTxnRollback(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newPlaces(t, f, c, 0)
	ctx := testContext(t)
	p := must[*Producer](t)(c.NewProducer(WithLinger(time.Minute)))
	x := begin(t, p)
	var failed atomic.Int32
	for range 3 {
		if err := x.Produce(ctx, &Message{Topic: "t"}, func(_ Result, err error) {
			if err != nil {
				failed.Add(1)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := x.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	if err := x.Rollback(ctx); err != nil {
		t.Fatalf("a second Rollback: %v", err)
	}
	if err := x.Commit(ctx); !errors.Is(err, ErrTxnEnded) {
		t.Fatalf("Commit after Rollback: %v", err)
	}
	if err := p.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if n := len(f.values(t, 1)) + len(f.values(t, 2)); n != 0 {
		t.Fatalf("%d messages are there", n)
	}
	if err := p.Produce(ctx, &Message{Topic: "t", Partition: ToPartition(0)}, nil); err != nil {
		t.Fatal(err)
	}
	if err := p.Flush(ctx); err != nil || len(f.values(t, 1)) != 1 {
		t.Fatalf("the producer does not go on: %v", err)
	}
	if _, err := p.BeginTxn(ctx, WithTxnGroup("g", "")); !errors.Is(err, ErrInvalidArgument) {
		t.Fatalf("a group without a key: %v", err)
	}
}

// TestTxnWithAFailedMessage cannot be committed.
func TestTxnWithAFailedMessage(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newPlaces(t, f, c, 0)
	must[bool](t)(c.CreateExchange(testContext(t), ExchangeSpec{Name: "empty", Type: Direct}))
	ctx := testContext(t)
	p := must[*Producer](t)(c.NewProducer())
	x := begin(t, p)
	for _, m := range []Message{{Topic: "t"}, {Exchange: "empty", Mandatory: true}, {Topic: "t"}} {
		if err := x.Produce(ctx, &m, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := x.Commit(ctx); !errors.Is(err, ErrUnroutable) || !strings.Contains(err.Error(), "rolled back") {
		t.Fatalf("Commit: %v", err)
	}
	if ended, committed := f.outcome(x); !ended || committed || len(f.values(t, 1))+len(f.values(t, 2)) != 0 {
		t.Fatalf("ended %v, committed %v", ended, committed)
	}
	if err := x.Commit(ctx); !errors.Is(err, ErrUnroutable) {
		t.Fatalf("Commit again: %v", err)
	}
}

// TestTxnSettles: verdicts are part of the transaction.
func TestTxnSettles(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newPlaces(t, f, c, 21)
	ctx := testContext(t)
	q := must[*QueueConsumer](t)(c.ConsumeQueue(ctx, "in", WithPrefetch(21)))
	p := must[*Producer](t)(q.NewProducer())
	a, b, d := receive(t, q), receive(t, q), receive(t, q)
	x := begin(t, p)
	if err := errors.Join(x.Ack(a), x.Reject(b), x.AckOffsets(q, d.Index, 14, 16)); err != nil {
		t.Fatal(err)
	}
	if err := x.Ack(a); !errors.Is(err, ErrRecalled) {
		t.Fatalf("settled twice: %v", err)
	}
	must[Result](t)(x.ProduceSync(ctx, &Message{Exchange: "x", Value: []byte("out")}))
	if s := f.settled("in"); s != "[]" {
		t.Fatalf("before the commit %s are settled", s)
	}
	if err := x.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if s := f.settled("in"); s != "[{0 15} {16 17}]" || len(f.values(t, f.queues["out"].Queue)) != 1 {
		t.Fatalf("after the commit %s are settled", s)
	}
	y := begin(t, p)
	if err := y.AckOffsets(q, d.Index, 15, 17); err != nil {
		t.Fatal(err)
	}
	if err := y.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	for _, o := range []uint64{15, 17, 18, 19, 20} { // those of the rollback are in hand again
		if err := q.Nack(d.Index, o); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if again := receive(t, q); again.first != 15 || again.Attempts != 1 {
		t.Fatalf("[%d,%d) came again, after %d times", again.first, again.next, again.Attempts)
	}
	if err := q.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := q.NewProducer(); !errors.Is(err, ErrClosed) {
		t.Fatalf("a producer of a closed consumer: %v", err)
	}
	if err := p.Produce(ctx, &Message{Topic: "t"}, nil); !errors.Is(err, ErrClosed) {
		t.Fatalf("the producer of a closed consumer: %v", err)
	}
}

// TestTxnMistakes are told.
func TestTxnMistakes(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newPlaces(t, f, c, 21)
	newQueue(t, f, c, "auto", 7)
	ctx := testContext(t)
	q := must[*QueueConsumer](t)(c.ConsumeQueue(ctx, "in", WithPrefetch(7)))
	other := must[*QueueConsumer](t)(c.ConsumeQueue(ctx, "in", WithPrefetch(7)))
	auto := must[*QueueConsumer](t)(c.ConsumeQueue(ctx, "auto", WithAutoAck()))
	p := must[*Producer](t)(c.NewProducer())
	d, e, g := receive(t, q), receive(t, other), receive(t, auto)
	x, y := begin(t, p), begin(t, p, WithTxnGroup("g", "k"))
	if err := x.Ack(d); !errors.Is(err, ErrInvalidArgument) || !strings.Contains(err.Error(), "QueueConsumer.NewProducer") {
		t.Errorf("a consumer on another connection: %v", err)
	}
	if err := y.Ack(g); !errors.Is(err, ErrInvalidArgument) {
		t.Errorf("automatic acknowledgement: %v", err)
	}
	if err := y.Ack(d); err != nil {
		t.Errorf("a transaction of a group: %v", err)
	}
	if err := y.Ack(e); !errors.Is(err, ErrInvalidArgument) {
		t.Errorf("two consumers: %v", err)
	}
	if err := y.AckOffsets(q, d.Index, 20); !errors.Is(err, ErrRecalled) {
		t.Errorf("what it does not have: %v", err)
	}
	if err := y.Commit(ctx); err != nil {
		t.Error(err)
	}
	if err := y.Ack(d); !errors.Is(err, ErrTxnEnded) {
		t.Errorf("after the commit: %v", err)
	}
	f.dropAll()
	eventually(t, "the connection breaks", x.lost)
	if err := x.Ack(d); !errors.Is(err, ErrTxnEnded) {
		t.Errorf("a transaction whose connection broke: %v", err)
	}
	if err := x.Rollback(ctx); err != nil {
		t.Errorf("its rollback: %v", err)
	}
	if err := c.Close(ctx); err != nil {
		t.Error(err)
	}
	if _, err := p.BeginTxn(ctx); !errors.Is(err, ErrClosed) {
		t.Errorf("a transaction of a closed producer: %v", err)
	}
}

// TestTxnRecall: what the transaction would settle is recalled; it cannot be committed, and what is
// left of it is in hand again.
func TestTxnRecall(t *testing.T) {
	for _, race := range []bool{false, true} {
		t.Run(fmt.Sprintf("END_TXN on its way=%v", race), func(t *testing.T) {
			f := newFake(t)
			c := dialFake(t, f)
			newPlaces(t, f, c, 7)
			ctx := testContext(t)
			q := must[*QueueConsumer](t)(c.ConsumeQueue(ctx, "in", WithPrefetch(7)))
			p := must[*Producer](t)(q.NewProducer())
			d := receive(t, q)
			x := begin(t, p)
			if err := x.Ack(d); err != nil {
				t.Fatal(err)
			}
			must[Result](t)(x.ProduceSync(ctx, &Message{Topic: "t"}))
			if race {
				var once sync.Once
				f.setFault(func(_ *fakeConn, h native.Header, _ []byte) (bad fakeFault) {
					if h.Command == native.CmdEndTxn {
						once.Do(func() { f.recall("in", d.Index, 2, 4) })
					}
					return bad
				})
			} else {
				f.recall("in", d.Index, 2, 4)
				heard(t, q, d.Index, 2)
			}
			if err := x.Commit(ctx); !errors.Is(err, ErrRecalled) {
				t.Fatalf("Commit: %v", err)
			}
			if _, committed := f.outcome(x); committed || f.settled("in") != "[]" {
				t.Fatalf("committed %v, settled %s", committed, f.settled("in"))
			}
			if err := q.Ack(d.Index, 0, 1, 4, 5, 6); err != nil {
				t.Fatal(err)
			}
			if err := q.Flush(ctx); err != nil || f.settled("in") != "[{0 2} {4 7}]" {
				t.Fatalf("%v, settled %s", err, f.settled("in"))
			}
			if again := receive(t, q); again.first != 2 || again.next != 4 {
				t.Fatalf("[%d,%d) came again", again.first, again.next)
			}
		})
	}
}

// TestTxnThroughFaults breaks the connection at each command of a transaction, before and after it
// is carried out: Commit says what has happened.
func TestTxnThroughFaults(t *testing.T) {
	for _, cmd := range []native.Command{native.CmdBeginTxn, native.CmdProduce, native.CmdPublish, native.CmdEndTxn} {
		for _, after := range []bool{false, true} {
			for _, group := range []bool{false, true} {
				for _, verdicts := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s after=%v group=%v verdicts=%v", cmd, after, group, verdicts), func(t *testing.T) {
						t.Parallel()
						txnThroughFault(t, cmd, after, group, verdicts)
					})
				}
			}
		}
	}
}

func txnThroughFault(t *testing.T, cmd native.Command, after, group, verdicts bool) {
	f := newFake(t)
	c := dialFake(t, f)
	newPlaces(t, f, c, 7)
	ctx := testContext(t)
	q := must[*QueueConsumer](t)(c.ConsumeQueue(ctx, "in", WithPrefetch(7)))
	p := must[*Producer](t)(q.NewProducer())
	d := receive(t, q)
	var once sync.Once
	f.setFault(func(_ *fakeConn, h native.Header, _ []byte) (bad fakeFault) {
		if h.Command == cmd {
			once.Do(func() { bad.before, bad.after = !after, after })
		}
		return bad
	})
	var opts []TxnOption
	if group {
		opts = append(opts, WithTxnGroup("g", "k"))
	}
	x := begin(t, p, opts...)
	var lost error
	if verdicts {
		lost = x.Ack(d)
	}
	for _, m := range []Message{{Topic: "t", Partition: ToPartition(0)}, {Exchange: "x"}} {
		if _, err := x.ProduceSync(ctx, &m); err != nil && !errors.Is(err, ErrUnknownTxn) && !errors.Is(err, ErrTxnEnded) {
			t.Fatal(err)
		}
	}
	err := x.Commit(ctx)
	if errors.Is(err, ErrUnknownOutcome) {
		t.Fatalf("Commit could not find out: %v", err)
	}
	eventually(t, "the end", func() bool { ended, _ := f.outcome(x); return ended })
	_, committed := f.outcome(x)
	if committed != (err == nil) {
		t.Fatalf("committed is %v, Commit said: %v", committed, err)
	}
	wantStored, wantSettled := 0, "[]"
	if committed {
		wantStored = 2
		if verdicts && lost == nil {
			wantSettled = "[{0 7}]"
		}
	}
	if n := len(f.values(t, 1)) + len(f.values(t, f.queues["out"].Queue)); n != wantStored {
		t.Fatalf("%d messages are stored, committed is %v", n, committed)
	}
	if s := f.settled("in"); s != wantSettled {
		t.Fatalf("%s are settled, committed is %v, the verdicts: %v", s, committed, lost)
	}
	if group && cmd != native.CmdEndTxn && !verdicts && err != nil {
		t.Fatalf("a group's transaction does not outlive a connection: %v", err)
	}
	if r, err := p.ProduceSync(ctx, &Message{Topic: "t", Partition: ToPartition(1)}); err != nil || r.Offset != 0 {
		t.Fatalf("the producer goes on: %+v, %v", r, err)
	}
}

// TestTxnOfADyingConnection: the broker has not noticed yet that the connection of a transaction is
// gone, and may still carry out the END_TXN that it sent. Commit asks until it is decided.
func TestTxnOfADyingConnection(t *testing.T) {
	for _, carriedOut := range []bool{false, true} {
		t.Run(fmt.Sprintf("carried out=%v", carriedOut), func(t *testing.T) {
			f := newFake(t)
			f.lateTxns = 60 * time.Millisecond
			c := dialFake(t, f)
			newPlaces(t, f, c, 0)
			ctx := testContext(t)
			p := must[*Producer](t)(c.NewProducer())
			x := begin(t, p)
			must[Result](t)(x.ProduceSync(ctx, &Message{Topic: "t", Partition: ToPartition(0)}))
			var first atomic.Bool
			f.setFault(func(fc *fakeConn, h native.Header, _ []byte) (bad fakeFault) {
				if h.Command == native.CmdEndTxn && !first.Swap(true) {
					fc.nc.Close()
					bad.before = !carriedOut
					bad.hold = 30 * time.Millisecond
				}
				return bad
			})
			err := x.Commit(ctx)
			if (err == nil) != carriedOut || !carriedOut && !errors.Is(err, ErrTxnEnded) {
				t.Fatalf("Commit: %v", err)
			}
			if _, committed := f.outcome(x); committed != carriedOut || f.count(native.CmdEndTxn) < 3 {
				t.Fatalf("committed is %v, after %d questions", committed, f.count(native.CmdEndTxn))
			}
		})
	}
}

// TestTxnsAtRandom: many at a time, through connections that break; each is there in whole or not
// at all, as its Commit has said.
func TestTxnsAtRandom(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newPlaces(t, f, c, 0)
	ctx := testContext(t)
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(31, 32))
	f.setFault(func(_ *fakeConn, h native.Header, _ []byte) (bad fakeFault) {
		mu.Lock()
		defer mu.Unlock()
		switch h.Command {
		case native.CmdBeginTxn, native.CmdEndTxn, native.CmdProduce:
			switch r.IntN(30) {
			case 0:
				bad.before = true
			case 1:
				bad.after = true
			case 2:
				bad.refuse = errcode.Unavailable
			case 3: // answered behind later ones
				if h.Command != native.CmdProduce { // whose order the broker keeps
					bad.hold = 2 * time.Millisecond
				}
			}
		}
		return bad
	})
	p := must[*Producer](t)(c.NewProducer(WithBatchBytes(1 << 10)))
	committed := map[string]bool{}
	var wg sync.WaitGroup
	const each = 40
	for worker := range 4 {
		wg.Go(func() {
			for i := range 30 {
				name := fmt.Sprintf("%d-%d", worker, i)
				var opts []TxnOption
				if i%2 == 0 {
					opts = append(opts, WithTxnGroup("g", name))
				}
				err := p.InTxn(ctx, func(ctx context.Context, x *Txn) error {
					for j := range each {
						m := Message{Topic: "t", Value: fmt.Appendf(nil, "%s some text that fills the batches %d", name, j)}
						if err := x.Produce(ctx, &m, nil); err != nil {
							return err
						}
					}
					if i%5 == 4 {
						return errors.New("no")
					}
					return nil
				}, opts...)
				if errors.Is(err, ErrUnknownOutcome) {
					t.Error(err)
				}
				mu.Lock()
				committed[name] = err == nil
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, v := range append(f.values(t, 1), f.values(t, 2)...) {
		name, _, _ := strings.Cut(v, " ")
		count[name]++
	}
	yes := 0
	for name, is := range committed {
		want := 0
		if is {
			want = each
			yes++
		}
		if count[name] != want {
			t.Errorf("transaction %s: committed is %v, %d messages are there", name, is, count[name])
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.accepted < 4 || yes == 0 || yes == len(committed) {
		t.Fatalf("%d connections, %d of %d committed: the test shows nothing", f.accepted, yes, len(committed))
	}
}

// TestInTxn commits, or rolls back what ends with an error or a panic.
func TestInTxn(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newPlaces(t, f, c, 0)
	ctx := testContext(t)
	p := must[*Producer](t)(c.NewProducer())
	no := errors.New("no")
	send := func(ctx context.Context, x *Txn) error {
		_, err := x.ProduceSync(ctx, &Message{Topic: "t"})
		return err
	}
	if err := p.InTxn(ctx, send); err != nil {
		t.Fatal(err)
	}
	if err := p.InTxn(ctx, func(ctx context.Context, x *Txn) error { return errors.Join(send(ctx, x), no) }); !errors.Is(err, no) {
		t.Fatalf("with an error: %v", err)
	}
	func() {
		defer func() {
			if recover() != no {
				t.Error("the panic is gone")
			}
		}()
		p.InTxn(ctx, func(ctx context.Context, x *Txn) error {
			if err := send(ctx, x); err != nil {
				t.Error(err)
			}
			panic(no)
		})
	}()
	if n := len(f.values(t, 1)) + len(f.values(t, 2)); n != 1 {
		t.Fatalf("%d messages are there", n)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, x := range f.txns {
		if !x.ended {
			t.Errorf("transaction %d is open", id)
		}
	}
}

// TestTxnContexts: a Commit whose context ends can be called again; a rollback goes out all the same.
func TestTxnContexts(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newPlaces(t, f, c, 0)
	ctx := testContext(t)
	p := must[*Producer](t)(c.NewProducer())
	gate := make(chan struct{})
	var closed atomic.Bool
	f.setFault(func(_ *fakeConn, h native.Header, _ []byte) (bad fakeFault) {
		if (h.Command == native.CmdProduce || h.Command == native.CmdEndTxn) && !closed.Load() {
			<-gate
		}
		return bad
	})
	x, y := begin(t, p), begin(t, p)
	if err := x.Produce(ctx, &Message{Topic: "t", Partition: ToPartition(0)}, nil); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		short, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
		if err := x.Commit(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Commit whose context ends: %v", err)
		}
		cancel()
	}
	short, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
	defer cancel()
	if err := y.Rollback(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Rollback whose context ends: %v", err)
	}
	closed.Store(true)
	close(gate)
	if err := x.Commit(ctx); err != nil {
		t.Fatalf("Commit again: %v", err)
	}
	eventually(t, "the rollback", func() bool { ended, committed := f.outcome(y); return ended && !committed })
	if len(f.values(t, 1)) != 1 {
		t.Fatal("the message is not there")
	}
}

// TestTxnsOfAClosedProducer end with it; those of a group stay open.
func TestTxnsOfAClosedProducer(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newPlaces(t, f, c, 0)
	ctx := testContext(t)
	q := must[*QueueConsumer](t)(c.ConsumeQueue(ctx, "in"))
	p := must[*Producer](t)(q.NewProducer())
	x, y := begin(t, p), begin(t, p, WithTxnGroup("g", "k"))
	must[Result](t)(y.ProduceSync(ctx, &Message{Topic: "t", Partition: ToPartition(0)}))
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the rollback", func() bool { ended, committed := f.outcome(x); return ended && !committed })
	if err := x.Commit(ctx); !errors.Is(err, ErrClosed) {
		t.Fatalf("Commit with a closed producer: %v", err)
	}
	if ended, _ := f.outcome(y); ended {
		t.Fatal("a group's transaction has ended with its producer")
	}
	if err := y.Commit(ctx); err != nil || len(f.values(t, 1)) != 1 {
		t.Fatalf("a group's transaction: %v", err)
	}
	q.producers.mu.Lock()
	defer q.producers.mu.Unlock()
	if len(q.producers.all) != 0 {
		t.Fatal("the consumer remembers a closed producer")
	}
}

// TestTxnChecker decides for a group whose producer is gone, on each connection that the client has.
func TestTxnChecker(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newPlaces(t, f, c, 0)
	ctx := testContext(t)
	decisions := map[string]Decision{"yes": TxnCommit, "no": TxnRollback, "later": TxnUnknown}
	asked := make(chan Check, 10)
	k := must[*TxnChecker](t)(c.TxnChecker(ctx, "g", func(_ context.Context, check Check) Decision {
		asked <- check
		return decisions[check.Key]
	}))
	if _, err := c.TxnChecker(ctx, "g", nil); !errors.Is(err, ErrInvalidArgument) {
		t.Fatalf("a second one of the group: %v", err)
	}
	producing := dialFake(t, f)
	p := must[*Producer](t)(producing.NewProducer())
	txns := map[string]*Txn{}
	for key := range decisions {
		txns[key] = begin(t, p, WithTxnGroup("g", key))
		must[Result](t)(txns[key].ProduceSync(ctx, &Message{Topic: "t", Partition: ToPartition(0), Value: []byte(key)}))
	}
	if err := producing.Close(ctx); err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		for key, x := range txns {
			eventually(t, "a member", func() bool { return f.check(x.id) })
			if got := <-asked; got != (Check{Txn: x.id, Group: "g", Key: key, Checks: uint32(round)}) {
				t.Fatalf("asked %+v", got)
			}
			want := decisions[key]
			eventually(t, "the decision", func() bool {
				ended, committed := f.outcome(x)
				return ended == (want != TxnUnknown) && committed == (want == TxnCommit)
			})
		}
		f.dropAll() // the next round comes over another connection
	}
	if got := f.values(t, 1); fmt.Sprint(got) != "[yes]" {
		t.Fatalf("stored are %v", got)
	}
	if err := k.Close(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it leaves", func() bool { return !f.check(txns["later"].id) })
	f.setFault(func(_ *fakeConn, h native.Header, _ []byte) (bad fakeFault) {
		if h.Command == native.CmdTxnMember {
			bad.refuse = errcode.InvalidArgument
		}
		return bad
	})
	if _, err := c.TxnChecker(ctx, "bad name", nil); !errors.Is(err, ErrInvalidArgument) {
		t.Fatalf("refused: %v", err)
	}
}
