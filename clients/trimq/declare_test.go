package trimq

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/native"
)

// TestExclusiveQueue belongs to its consumer's connection, and the consumer ends with it.
func TestExclusiveQueue(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	ctx := testContext(t)
	spec := QueueSpec{QueueSettings: QueueSettings{Exclusive: true, AutoDelete: true}}
	q := must[*QueueConsumer](t)(c.DeclareAndConsume(ctx, spec, WithTag("mine")))
	name := q.Name()
	if !strings.HasPrefix(name, "amq.gen-") {
		t.Fatalf("the broker called it %q", name)
	}
	must[bool](t)(c.CreateExchange(ctx, ExchangeSpec{Name: "x", Type: Fanout}))
	must[bool](t)(c.CreateBinding(ctx, BindingSpec{Exchange: "x", Queue: name}))
	p := must[*Producer](t)(c.NewProducer())
	must[Result](t)(p.ProduceSync(ctx, &Message{Exchange: "x", Value: []byte("hello")}))
	if d := receive(t, q); string(d.Messages[0].Value) != "hello" || d.Queue != name {
		t.Fatalf("received %q from %q", d.Messages[0].Value, d.Queue)
	}
	if _, err := c.ConsumeQueue(ctx, name); !errors.Is(err, ErrLocked) {
		t.Fatalf("a consumer on another connection: %v", err)
	}
	if _, err := c.Pull(ctx, name, 1, 0); !errors.Is(err, ErrLocked) {
		t.Fatalf("a pull over another connection: %v", err)
	}
	if err := c.DeleteQueue(ctx, name, DeleteCondition{}); !errors.Is(err, ErrLocked) {
		t.Fatalf("a deletion over another connection: %v", err)
	}
	f.dropAll()
	if _, err := q.Receive(ctx); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "went with it") {
		t.Fatalf("after the connection broke: %v", err)
	}
	if err := q.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if again := must[*QueueConsumer](t)(c.DeclareAndConsume(ctx, spec)); again.Name() == name {
		t.Fatalf("another queue has the name %s as well", name)
	}
}

// TestDeclareThroughFaults: connections that break on the way make another exclusive queue.
func TestDeclareThroughFaults(t *testing.T) {
	for _, cmd := range []native.Command{native.CmdCreateQueue, native.CmdSubscribe} {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s after=%v", cmd, after), func(t *testing.T) {
				f := newFake(t)
				c := dialFake(t, f)
				var tries atomic.Int32
				f.setFault(func(_ *fakeConn, h native.Header, _ []byte) (bad fakeFault) {
					if h.Command == cmd && tries.Add(1) < 3 {
						bad.before, bad.after = !after, after
					}
					return bad
				})
				spec := QueueSpec{QueueSettings: QueueSettings{Exclusive: true}}
				q := must[*QueueConsumer](t)(c.DeclareAndConsume(testContext(t), spec))
				eventually(t, "the queues of broken connections go", func() bool {
					f.mu.Lock()
					defer f.mu.Unlock()
					return len(f.queues) == 1
				})
				if all := must[[]ConsumerInfo](t)(c.Consumers(testContext(t), q.Name())); len(all) != 1 || tries.Load() < 3 {
					t.Fatalf("%s has %d consumers after %d tries", q.Name(), len(all), tries.Load())
				}
			})
		}
	}
}

func TestDeclareRefused(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	ctx := testContext(t)
	made := must[Created](t)(c.DeclareQueue(ctx, QueueSpec{Name: "q", QueueSettings: QueueSettings{MaxMessages: Some(5)}}))
	if made.Name != "q" || made.Index == 0 || made.Existed {
		t.Fatalf("made %+v", made)
	}
	if _, err := c.DeclareQueue(ctx, QueueSpec{Name: "q"}); !errors.Is(err, ErrInequivalent) {
		t.Fatalf("an unequal queue: %v", err)
	}
	if _, err := c.DeclareAndConsume(ctx, QueueSpec{Name: "q"}); !errors.Is(err, ErrInequivalent) {
		t.Fatalf("a consumer of an unequal queue: %v", err)
	}
	if made := must[Created](t)(c.DeclareQueue(ctx, QueueSpec{})); !strings.HasPrefix(made.Name, "amq.gen-") {
		t.Fatalf("a queue without a name is %+v", made)
	}
	if _, err := c.Subscribe(ctx, Subscription{Name: "s"}); !errors.Is(err, ErrInvalidArgument) {
		t.Fatalf("a subscription of nothing: %v", err)
	}
	if _, err := c.Subscribe(ctx, Subscription{Name: "s", Topic: "t", Selector: "a = 1", Tags: "b"}); !errors.Is(err, ErrInvalidArgument) {
		t.Fatalf("two filters: %v", err)
	}
	if err := c.StartAt(ctx, &QueueSpec{QueueSettings: QueueSettings{Topic: "none"}}, From{}); !errors.Is(err, ErrNotFound) {
		t.Fatalf("nowhere in an unknown topic: %v", err)
	}
	if _, err := c.Subscribe(ctx, Subscription{Name: "s", Topic: "none", From: AtOffset(1)}); !errors.Is(err, ErrNotFound) {
		t.Fatalf("an unknown topic: %v", err)
	}
}

// TestSubscribe: several subscriptions of one topic, each from its place and with its own progress.
func TestSubscribe(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	ctx := testContext(t)
	newTopic(t, c, "t", 2)
	f.fill(t, 1, 100, 10, batch.None)
	f.fill(t, 2, 50, 10, batch.None)
	for _, tc := range []struct {
		s    Subscription
		want int
	}{
		{Subscription{}, 150},
		{Subscription{From: Earliest(), Transient: true}, 150},
		{Subscription{From: Latest()}, 0},
		{Subscription{From: AtOffset(30)}, 70 + 20},
		{Subscription{From: AtTime(time.UnixMilli(1040))}, 60 + 10},
		{Subscription{Tags: "a || b"}, 150},
		{Subscription{Selector: "n = '7'"}, 150}, // the fake looks at no filter
	} {
		tc.s.Name, tc.s.Topic = fmt.Sprintf("%+v", tc.s), "t"
		q := must[*QueueConsumer](t)(c.Subscribe(ctx, tc.s))
		n := 0
		for n < tc.want {
			d := receive(t, q)
			for i := range d.Messages {
				check(t, &d.Messages[i])
			}
			n += len(d.Messages)
			if err := d.Ack(); err != nil {
				t.Fatal(err)
			}
		}
		if err := q.Close(ctx); err != nil {
			t.Fatal(err)
		}
		in := must[[]QueueInfo](t)(c.Queues(ctx, tc.s.Name))[0]
		if n != tc.want || in.Ready != 0 || in.Settings.Durable == tc.s.Transient || in.Settings.Topic != "t" {
			t.Errorf("%s: %d of %d messages came, %+v", tc.s.Name, n, tc.want, in)
		}
		want := map[bool]admin.FilterKind{tc.s.Tags != "": admin.FilterTags, tc.s.Selector != "": admin.FilterSelector}[true]
		if in.Settings.FilterKind != want || in.Settings.Filter != tc.s.Tags+tc.s.Selector {
			t.Errorf("%s: filter %d %q", tc.s.Name, in.Settings.FilterKind, in.Settings.Filter)
		}
	}
	// The same again goes on where it was, and follows its topic.
	again := must[*QueueConsumer](t)(c.Subscribe(ctx, Subscription{Name: fmt.Sprintf("%+v", Subscription{}), Topic: "t"}))
	f.mu.Lock()
	f.grow(f.topics["t"], 3)
	index := f.topics["t"].Partitions[2].Index
	f.mu.Unlock()
	f.fill(t, index, 5, 5, batch.None)
	if d := receive(t, again); d.Index != index || len(d.Messages) != 5 {
		t.Fatalf("then came %d messages of index %d", len(d.Messages), d.Index)
	}
}

// TestSeekQueue sets a queue to all kinds of places.
func TestSeekQueue(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	ctx := testContext(t)
	newTopic(t, c, "t", 2)
	f.fill(t, 1, 100, 10, batch.None)
	f.fill(t, 2, 50, 10, batch.None)
	must[bool](t)(c.CreateQueue(ctx, QueueSpec{Name: "q", QueueSettings: QueueSettings{Topic: "t"}}))
	ready := func() uint64 { return must[[]QueueInfo](t)(c.Queues(ctx, "q"))[0].Ready }
	for _, tc := range []struct {
		seek func() error
		want uint64
	}{
		{func() error { return c.Seek(ctx, "q", Latest()) }, 0},
		{func() error { return c.Seek(ctx, "q", Earliest()) }, 150},
		{func() error { return c.Seek(ctx, "q", AtOffset(45)) }, 55 + 5},
		{func() error { return c.Rewind(ctx, "q", time.UnixMilli(1020)) }, 80 + 30},
		{func() error { return c.SeekTo(ctx, "q", SeekTo{Index: 2, Offset: 49}) }, 80 + 1},
	} {
		if err := tc.seek(); err != nil {
			t.Fatal(err)
		}
		if got := ready(); got != tc.want {
			t.Errorf("%d messages are ready, not %d", got, tc.want)
		}
	}
	if err := c.Seek(ctx, "q", AtOffset(60)); !errors.Is(err, ErrOffsetOutOfRange) {
		t.Errorf("beyond an end: %v", err)
	}
	if err := c.Seek(ctx, "none", Latest()); !errors.Is(err, ErrNotFound) {
		t.Errorf("an unknown queue: %v", err)
	}
	if err := c.Seek(ctx, "q", From{}); !errors.Is(err, ErrInvalidArgument) {
		t.Errorf("nowhere: %v", err)
	}
	if n, err := c.Purge(ctx, "q"); err != nil || n != 81 || ready() != 0 {
		t.Errorf("purged %d, %v", n, err)
	}
	if _, err := c.Purge(ctx, "none"); !errors.Is(err, ErrNotFound) {
		t.Errorf("an unknown queue is purged: %v", err)
	}
	// Of a queue of its own the earliest is what its rewind time keeps.
	newQueue(t, f, c, "own", 10)
	f.mu.Lock()
	f.queues["own"].Settings.RewindMS = admin.Some(uint64(time.Hour.Milliseconds()))
	f.mu.Unlock()
	must[uint64](t)(c.Purge(ctx, "own"))
	if err := c.Seek(ctx, "own", Earliest()); err != nil {
		t.Fatal(err)
	}
	if got := must[[]QueueInfo](t)(c.Queues(ctx, "own"))[0].Ready; got != 0 { // they are of 1970
		t.Errorf("%d messages of an hour ago", got)
	}
}

// TestListings: consumers by their queues, transactions by number, over several pages.
func TestListings(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	ctx := testContext(t)
	for i := range 4 {
		newQueue(t, f, c, fmt.Sprint("q", i), 0)
		for j := range i {
			must[*QueueConsumer](t)(c.ConsumeQueue(ctx, fmt.Sprint("q", i), WithTag(fmt.Sprint(j)), WithPrefetch(5)))
		}
	}
	if all := must[[]ConsumerInfo](t)(c.Consumers(ctx)); len(all) != 6 || all[0].Queue != "q1" || all[5].Queue != "q3" || all[0].Credit != 5 {
		t.Fatalf("consumers are %+v", all)
	}
	if some := must[[]ConsumerInfo](t)(c.Consumers(ctx, "q0", "q2")); len(some) != 2 || some[0].Consumer.AckTimeoutMS != 10_000 {
		t.Fatalf("of two queues they are %+v", some)
	}
	if _, err := c.Consumers(ctx, "none"); !errors.Is(err, ErrNotFound) {
		t.Fatalf("of an unknown queue: %v", err)
	}
	f.mu.Lock()
	for i := range 13 {
		f.beginTxn(nil, &native.BeginTxn{Group: fmt.Sprint("g", i%2), Key: fmt.Sprint(i)})
	}
	f.mu.Unlock()
	numbers := func(all []TxnInfo) (out []uint64) {
		for _, x := range all {
			out = append(out, x.Txn)
		}
		return out
	}
	if got := numbers(must[[]TxnInfo](t)(c.Txns(ctx))); !reflect.DeepEqual(got, []uint64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13}) {
		t.Fatalf("transactions are %v", got)
	}
	if got := numbers(must[[]TxnInfo](t)(c.Txns(ctx, "g1"))); !reflect.DeepEqual(got, []uint64{2, 4, 6, 8, 10, 12}) {
		t.Fatalf("of one group they are %v", got)
	}
}
