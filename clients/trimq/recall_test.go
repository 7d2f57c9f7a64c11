package trimq

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
)

// eventually waits for what another goroutine is about to do.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	ctx := testContext(t)
	for !is() {
		if ctx.Err() != nil {
			t.Fatalf("%s: it did not happen", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// heard waits until the consumer knows of a recall.
func heard(t testing.TB, q *QueueConsumer, index, offset uint64) {
	t.Helper()
	eventually(t, "recall", func() bool {
		q.mu.Lock()
		defer q.mu.Unlock()
		return q.hand(index).recalled.has(offset)
	})
}

// arrived waits until so many messages lie ready.
func arrived(t testing.TB, q *QueueConsumer, n uint64) {
	t.Helper()
	eventually(t, "deliveries", func() bool {
		q.mu.Lock()
		defer q.mu.Unlock()
		return q.holding == n
	})
}

func receive(t testing.TB, q *QueueConsumer) *Deliveries {
	t.Helper()
	return must[*Deliveries](t)(q.Receive(testContext(t)))
}

// TestRecall: what nobody has received is dropped, in parts too; a verdict on the rest is too late;
// all of it comes again.
func TestRecall(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	index := newQueue(t, f, c, "q", 21) // batches of 7
	ctx := testContext(t)
	q := must[*QueueConsumer](t)(c.ConsumeQueue(ctx, "q", WithPrefetch(21)))
	arrived(t, q, 21)
	d := receive(t, q)
	if d.first != 0 || d.next != 7 {
		t.Fatalf("the first are [%d,%d)", d.first, d.next)
	}
	f.recall("q", index, 5, 10)
	heard(t, q, index, 9)
	if err := d.Ack(); !errors.Is(err, ErrRecalled) {
		t.Fatalf("a late acknowledgement: %v", err)
	}
	if err := q.Ack(index, 4, 5); !errors.Is(err, ErrRecalled) {
		t.Fatalf("a late acknowledgement of one of two: %v", err)
	}
	var got []string
	for n := 0; n < 16; {
		d := receive(t, q)
		got = append(got, fmt.Sprintf("[%d,%d)+%d", d.first, d.next, d.Attempts))
		n += len(d.Messages)
		for i := range d.Messages {
			check(t, &d.Messages[i])
		}
		if err := d.Ack(); err != nil {
			t.Fatal(err)
		}
		d.Release()
	}
	// [10,14) was cut out of what lay ready; what came back comes when credit is there for it.
	if want := "[[10,14)+0 [14,21)+0 [5,7)+1 [7,10)+1]"; fmt.Sprint(got) != want {
		t.Fatalf("then came %v, not %v", got, want)
	}
	if err := q.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if got := fmt.Sprint(f.queues["q"].cursors[0].acked.list); got != "[{0 21}]" {
		t.Fatalf("settled are %s", got)
	}
}

// TestRecallMeetsAck: a recall that crosses an ACK on the wire refuses all of it; what was not
// recalled is sent again.
func TestRecallMeetsAck(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	index := newQueue(t, f, c, "q", 20)
	ctx := testContext(t)
	var once sync.Once
	f.setFault(func(_ *fakeConn, h native.Header, _ []byte) (bad fakeFault) {
		if h.Command == native.CmdAck {
			once.Do(func() { f.recall("q", index, 3, 5) })
		}
		return bad
	})
	q := must[*QueueConsumer](t)(c.ConsumeQueue(ctx, "q", WithPrefetch(20)))
	arrived(t, q, 20)
	var late error // told by Ack if the recall was faster, otherwise by Flush
	for o := range uint64(20) {
		if err := q.Ack(index, o); err != nil {
			late = err
		}
	}
	late = errors.Join(late, q.Flush(ctx))
	d := receive(t, q)
	if d.Messages[0].Offset != 0 { // the first seven lay ready all the time
		t.Fatalf("received %d", d.Messages[0].Offset)
	}
	f.mu.Lock()
	got := fmt.Sprint(f.queues["q"].cursors[0].acked.list)
	f.mu.Unlock()
	if !errors.Is(late, ErrRecalled) || got != "[{0 3} {5 20}]" {
		t.Fatalf("%v; settled are %s", late, got)
	}
	if err := q.Flush(ctx); err != nil {
		t.Fatalf("a second Flush: %v", err)
	}
}

// TestRecallAndCredit: one who does not receive gets nothing for what was recalled.
func TestRecallAndCredit(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	index := newQueue(t, f, c, "q", 20)
	ctx := testContext(t)
	q := must[*QueueConsumer](t)(c.ConsumeQueue(ctx, "q", WithPrefetch(7)))
	arrived(t, q, 7)
	f.recall("q", index, 0, 7)
	heard(t, q, index, 6)
	if err := q.Ack(index, 19); err != nil { // makes the writer look; nobody holds it
		t.Fatal(err)
	}
	if err := q.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	credits := f.requests[native.CmdCredit]
	f.mu.Unlock()
	if credits != 0 {
		t.Fatalf("%d times credit was given to one who does not receive", credits)
	}
	if d := receive(t, q); d.Messages[0].Offset != 0 || d.Attempts != 1 || !d.Redelivered() {
		t.Fatalf("received %d, delivered %d times before", d.Messages[0].Offset, d.Attempts)
	}
}

// TestRecallWithTheConnectionLost: an ACK on the wire whose messages were recalled, and then the
// connection breaks: it is not sent again for them.
func TestRecallWithTheConnectionLost(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	index := newQueue(t, f, c, "q", 7)
	ctx := testContext(t)
	q := must[*QueueConsumer](t)(c.ConsumeQueue(ctx, "q", WithPrefetch(7)))
	var once sync.Once
	f.setFault(func(_ *fakeConn, h native.Header, _ []byte) (bad fakeFault) {
		if h.Command == native.CmdAck {
			once.Do(func() {
				f.recall("q", index, 0, 3)
				eventually(t, "recall", func() bool {
					q.mu.Lock()
					defer q.mu.Unlock()
					for _, a := range q.acks {
						return !a.late.empty()
					}
					return false
				})
				bad.before = true
			})
		}
		return bad
	})
	if err := receive(t, q).Ack(); err != nil {
		t.Fatal(err)
	}
	if err := q.Flush(ctx); !errors.Is(err, ErrRecalled) {
		t.Fatalf("Flush: %v", err)
	}
	d := receive(t, q)
	if d.first != 0 || d.next != 3 || d.Attempts == 0 {
		t.Fatalf("[%d,%d) came again, after %d times", d.first, d.next, d.Attempts)
	}
}

// TestQueueOfPriorities: messages come from several indexes, with all that is known of them, and
// are settled where they belong.
func TestQueueOfPriorities(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	ctx := testContext(t)
	newExchange(t, c, "x", "q", QueueSettings{MaxPriority: 10})
	must[bool](t)(c.CreateExchange(ctx, ExchangeSpec{Name: "h", Type: Headers}))
	must[bool](t)(c.CreateBinding(ctx, BindingSpec{Exchange: "h", Queue: "q", Headers: []RoutingHeader{{Key: "k", Value: "v"}}}))
	p := must[*Producer](t)(c.NewProducer())
	for i := range 30 {
		m := Message{Exchange: "x", RoutingKey: fmt.Sprint("key-", i%3), Priority: uint8(i % 3 * 5), Value: fmt.Append(nil, i)}
		if err := p.Produce(ctx, &m, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Produce(ctx, &Message{Exchange: "h", Headers: []Header{{Key: "k", Value: []byte("v")}}, Value: []byte("30")}, nil); err != nil {
		t.Fatal(err)
	}
	if err := p.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	deaths := []Death{{Queue: "old", Reason: ReasonExpired, Count: 3, FirstMS: 5, Exchange: "e", Keys: []string{"k"}}}
	f.mu.Lock()
	for _, r := range f.queues["q"].cursors[0].ix.runs { // the highest priority
		r.note.Deaths = deaths
	}
	f.mu.Unlock()
	q := must[*QueueConsumer](t)(c.ConsumeQueue(ctx, "q", WithPrefetch(5)))
	indexes := map[uint64]uint8{}
	last := uint8(255)
	for n := 0; n < 31; {
		d := receive(t, q)
		indexes[d.Index] = d.Priority
		n += len(d.Messages)
		switch {
		case d.Queue != "q" || d.Exchange == "" || d.Priority > last && d.Attempts == 0:
			t.Fatalf("%+v after priority %d", d.Parcel, last)
		case d.Exchange == "x" && d.RoutingKey != fmt.Sprint("key-", d.Priority/5):
			t.Fatalf("priority %d with key %s", d.Priority, d.RoutingKey)
		case d.Exchange == "h" && (len(d.RoutingHeaders) != 1 || d.RoutingHeaders[0] != RoutingHeader{Key: "k", Value: "v"}):
			t.Fatalf("headers %v", d.RoutingHeaders)
		case (d.Priority == 10) != (len(d.Deaths) == 1):
			t.Fatalf("priority %d with deaths %v", d.Priority, d.Deaths)
		}
		last = d.Priority
		if err := d.Ack(); err != nil {
			t.Fatal(err)
		}
		d.Release()
	}
	if err := q.Close(ctx); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, k := range f.queues["q"].cursors {
		if k.acked.count() != k.ix.next || k.ix.next < 10 {
			t.Errorf("priority %d: %v of %d are settled", k.number, k.acked.list, k.ix.next)
		}
	}
	if len(indexes) != 3 {
		t.Errorf("indexes %v", indexes)
	}
}

// TestConsumerOptions: what a consumer wants to be reaches the broker.
func TestConsumerOptions(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newQueue(t, f, c, "q", 0)
	ctx := testContext(t)
	for i, tc := range []struct {
		opts []QueueOption
		want native.Subscribe
	}{
		{nil, native.Subscribe{Limit: 1000, AckTimeoutMS: 10_000}},
		{[]QueueOption{WithPrefetch(3), WithPriority(-4), WithTag("me"), WithAckTimeout(0)}, native.Subscribe{Limit: 3, Priority: -4, Tag: "me"}},
		{[]QueueOption{WithAutoAck(), WithAckTimeout(time.Second)}, native.Subscribe{Limit: 1000, AutoAck: true}},
		{[]QueueOption{WithExclusive(), WithAckTimeout(time.Second)}, native.Subscribe{Limit: 1000, Exclusive: true, AckTimeoutMS: 1000}},
	} {
		q := must[*QueueConsumer](t)(c.ConsumeQueue(ctx, "q", tc.opts...))
		tc.want.Sub, tc.want.Index, tc.want.Kind = queueSub, q.queue, native.SubQueue
		f.mu.Lock()
		for _, s := range f.subscriptions() {
			if s.Subscribe != tc.want {
				t.Errorf("consumer %d asked for %+v", i, s.Subscribe)
			}
		}
		f.mu.Unlock()
		if err := q.Close(ctx); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the consumer leaves", func() bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			return len(f.subscriptions()) == 0
		})
	}
}

// TestQueueThroughRecalls: connections break and messages are recalled, at random; in the end each
// has come and is settled.
func TestQueueThroughRecalls(t *testing.T) {
	const n = 2000
	f := newFake(t)
	c := dialFake(t, f)
	ctx := testContext(t)
	must[bool](t)(c.CreateTopic(ctx, TopicSpec{Name: "t", Partitions: 3}))
	must[bool](t)(c.CreateQueue(ctx, QueueSpec{Name: "q", QueueSettings: QueueSettings{Topic: "t"}}))
	for i := range uint64(3) {
		f.fill(t, i+1, n, 9, batch.None)
	}
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(11, 12))
	f.setFault(func(_ *fakeConn, h native.Header, _ []byte) (bad fakeFault) {
		mu.Lock()
		what, index, first := r.IntN(40), 1+r.Uint64N(3), r.Uint64N(n)
		mu.Unlock()
		if h.Command == native.CmdAck || h.Command == native.CmdCredit {
			switch what {
			case 0:
				bad.before = true
			case 1:
				bad.after = true
			case 7, 8, 9: // answered behind later ones
				bad.hold = time.Millisecond
			case 2, 3, 4, 5, 6:
				f.recall("q", index, first, first+n/4)
			}
		}
		return bad
	})
	settled := func() (all uint64) {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, k := range f.queues["q"].cursors {
			all += k.acked.count()
		}
		return all
	}
	var wg sync.WaitGroup
	var late int
	for range 2 {
		q := must[*QueueConsumer](t)(c.ConsumeQueue(ctx, "q", WithPrefetch(100)))
		wg.Go(func() {
			for settled() < 3*n {
				short, cancel := context.WithTimeout(ctx, patience/300)
				d, err := q.Receive(short)
				cancel()
				if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				for i := range d.Messages {
					check(t, &d.Messages[i])
				}
				err = d.Ack()
				d.Release()
				if err != nil && !errors.Is(err, ErrRecalled) {
					t.Error(err)
					return
				}
				if flushed := q.Flush(ctx); errors.Is(err, ErrRecalled) || errors.Is(flushed, ErrRecalled) {
					mu.Lock()
					late++
					mu.Unlock()
				} else if flushed != nil {
					t.Error(flushed)
					return
				}
			}
		})
	}
	wg.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.accepted < 5 || late == 0 {
		t.Fatalf("%d connections, %d late verdicts: the test shows nothing", f.accepted, late)
	}
}

// TestReceiveAllocations: what is allocated is for a delivery, nothing for a message.
func TestReceiveAllocations(t *testing.T) {
	const each = 100
	q := benchConsumer(t)
	var b batch.Builder
	for i := range each {
		b.Add(int64(i), nil, make([]byte, 250), nil)
	}
	run := b.Seal(batch.None, 1, 0, 0)
	note := (&ipc.Note{Exchange: "x", Key: "k"}).Append(nil)
	m := native.Deliver{Sub: queueSub, Index: 1, Count: each, NoteBytes: uint32(len(note))}
	body := append(append(m.Append(nil), note...), run...)
	s, ctx := newSlab(1<<14), context.Background()
	deliver := func() {
		m.Put(body)
		m.Base, m.First = m.Base+each, m.First+each
		if err := q.deliver(body, s); err != nil {
			t.Error(err)
			return
		}
		d, err := q.Receive(ctx)
		if err != nil || len(d.Messages) != each || d.RoutingKey != "k" {
			t.Error(err)
			return
		}
		if err := d.Ack(); err != nil {
			t.Error(err)
		}
		d.Release()
	}
	for range 100 { // warm the pools
		deliver()
	}
	if got := testing.AllocsPerRun(1000, deliver); got > 2 { // one is what has arrived
		t.Fatalf("%v allocations for a delivery of %d messages", got, each)
	}
}

// TestUnreadableNote: messages whose note cannot be read are told of, and can be given back.
func TestUnreadableNote(t *testing.T) {
	var notes noteMemory
	good := ipc.Note{Exchange: "x", Key: "k", Priority: 4}
	raw := good.Append(nil)
	for range 2 {
		if n, err := notes.read(raw); err != nil || n.Key != "k" || n.Priority != 4 {
			t.Fatalf("read %+v, %v", n, err)
		}
	}
	if got := testing.AllocsPerRun(100, func() { notes.read(raw) }); got != 0 {
		t.Fatalf("%v allocations for a note that is known", got)
	}
	if n, err := notes.read(nil); err != nil || n.Exchange != "" {
		t.Fatalf("no note: %+v, %v", n, err)
	}
	m := native.Deliver{Sub: queueSub, Index: 1, Base: 0, First: 0, Count: 1, NoteBytes: 3}
	in, err := arrive(append(m.Append(nil), 1, 2, 3), newSlab(1), &notes)
	if err != nil {
		t.Fatal(err)
	}
	q := &QueueConsumer{name: "q"}
	_, err = q.open(in)
	var de *DeliveryError
	if !errors.Is(err, ErrProtocol) || !errors.As(err, &de) || de.Index != 1 || de.Count != 1 {
		t.Fatalf("an unreadable note: %v", err)
	}
}
