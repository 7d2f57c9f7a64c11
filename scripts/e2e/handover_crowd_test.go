package e2e

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trimq/trimq/clients/trimq"
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
	"github.com/trimq/trimq/scripts/broker"
	"github.com/trimq/trimq/shmqueue/tier"
)

// TestHandOversOfAThousandConnections: ten hand-overs of each daemon with 1,000 connections, of which 20
// produce, and some are in the middle of all that takes long: a long poll, a pull, messages in hand, a
// transaction, half a frame, answers that nobody reads. None is closed, and each gets its end. The
// longest pause is logged.
func TestHandOversOfAThousandConnections(t *testing.T) {
	const (
		producers, rate, each = 20, 20_000, 10
		idle                  = 1000 - producers - 8
	)
	b := started(t, nil)
	client := dial(t, b)
	if _, err := client.CreateTopic(testContext(t), trimq.TopicSpec{Name: "load", Partitions: producers, Level: trimq.LevelDisk}); err != nil {
		t.Fatal(err)
	}
	var lost, acked, longest atomic.Int64
	conns := holdConnections(t, b, idle, &lost)
	defer conns()
	half := beginAll(t, b)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	on, off := context.WithCancel(ctx)
	defer off()
	var wg sync.WaitGroup
	sent := make([]int, producers)
	for p := range producers {
		n := 0
		c := dial(t, b, trimq.WithLogger(countLost(&n)))
		wg.Add(1)
		go func() {
			defer wg.Done()
			sent[p] = produceAtRate(ctx, on, t, c, uint32(p), rate/producers, &acked, &longest)
			lost.Add(int64(n))
		}()
	}
	time.Sleep(time.Second)
	for i := range each {
		for _, name := range []string{"connsrv", "logicsrv", "persistsrv"} {
			before := longest.Swap(0)
			if err := b.Signal("12", name); err != nil {
				t.Error(err)
			}
			time.Sleep(150 * time.Millisecond)
			t.Logf("hand-over %d of %s: longest pause %v (before: %v)", i, name, time.Duration(longest.Load()), time.Duration(before))
		}
	}
	off()
	half.end()
	wg.Wait()
	total := 0
	for _, n := range sent {
		total += n
	}
	if int(acked.Load()) != total {
		t.Errorf("%d sent, %d acknowledged", total, acked.Load())
	}
	verifyPartitions(t, client, sent)
	if lost.Load() != 0 {
		t.Errorf("%d connections were lost", lost.Load())
	}
	wantOneLife(t, b)
	t.Logf("%d messages acknowledged", total)
}

// wantOneLife wants that no daemon has been started a second time.
func wantOneLife(t *testing.T, b *broker.Broker) {
	t.Helper()
	states, err := b.States()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range tier.Daemons {
		if s := states[name]; s.Restarts != 0 || s.State != "ready" {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// begun is what was begun before the hand-overs and ends behind them.
type begun struct {
	t                            *testing.T
	poll, pull, hand, rival, txn *speaker
	cut, deaf                    *speaker
	topic, held, empty, target   uint64
	polled, pulled               uint64 // correlations
	txnID                        uint64
	inHand                       []handed
	rest                         []byte // of the frame of which half was sent
	asked                        int    // answers that nobody reads
}

func beginAll(t *testing.T, b *broker.Broker) *begun {
	t.Helper()
	x := &begun{t: t}
	for _, s := range []**speaker{&x.poll, &x.pull, &x.hand, &x.rival, &x.txn, &x.cut, &x.deaf} {
		*s = speak(t, b)
	}
	x.topic = x.poll.topic("quiet")
	x.held, x.empty, x.target = x.hand.queue("held", admin.QueueSettings{}), x.pull.queue("empty", admin.QueueSettings{}), x.txn.queue("target", admin.QueueSettings{})
	x.polled = x.poll.send(native.CmdFetch, &native.Fetch{Index: x.topic, MaxBytes: 1000, MinBytes: 1, MaxWaitMS: 60_000})
	x.pulled = x.pull.send(native.CmdPull, &native.Pull{Queue: x.empty, Max: 10, WaitMS: 60_000})

	x.hand.subscribe(1, x.held, 5, 0)
	for _, v := range []string{"a", "b", "c", "d", "e"} {
		x.hand.publish(native.Publish{RoutingKey: "held"}, v)
	}
	x.inHand = x.hand.receive(1, 5)
	x.rival.subscribe(1, x.held, 100, 0) // gets what goes back, and nothing must

	m, err := native.DecodeBeginTxnReply(x.txn.call(native.CmdBeginTxn, &native.BeginTxn{}))
	if err != nil {
		t.Fatal(err)
	}
	x.txnID = m.Txn
	x.txn.publish(native.Publish{RoutingKey: "target", Txn: m.Txn}, "in the transaction")

	frame := native.AppendFrame(nil, native.CmdProduce, 0, 77, bytesBody(append((&native.Produce{Index: x.topic}).Append(nil), messages("half")...)))
	x.rest = frame[len(frame)/2:]
	if _, err := x.cut.conn.Write(frame[:len(frame)/2]); err != nil {
		t.Fatal(err)
	}

	loud := x.deaf.topic("loud")
	for range 20 {
		x.deaf.produce(loud, 0, string(bytes.Repeat([]byte{'x'}, 100_000)))
	}
	for ; x.asked < 30; x.asked++ {
		x.deaf.send(native.CmdFetch, &native.Fetch{Index: loud, MaxBytes: 2 << 20})
	}
	return x
}

// end lets all of it end, and looks at how.
func (x *begun) end() {
	x.t.Helper()
	for range x.asked {
		f := x.deaf.until(func(f *native.Frame) bool { return f.Command == native.CmdFetch })
		if _, b, err := native.DecodeFetchReply(f.Body); err != nil || len(b) < 20*100_000 {
			x.t.Fatalf("an answer of %d bytes that was not read: %v", len(b), err)
		}
	}
	if _, err := x.cut.conn.Write(x.rest); err != nil {
		x.t.Fatal(err)
	}
	if f := x.cut.until(func(f *native.Frame) bool { return f.Correlation == 77 }); f.Flags&native.FlagError != 0 {
		x.t.Errorf("half a frame: %+v", f.Header)
	}
	f := x.poll.until(func(f *native.Frame) bool { return f.Correlation == x.polled })
	if r, b, err := native.DecodeFetchReply(f.Body); err != nil || len(b) == 0 || r.Visible != 1 {
		x.t.Errorf("long poll: %+v with %d bytes, %v", r, len(b), err)
	}
	x.hand.publish(native.Publish{RoutingKey: "empty"}, "for the pull")
	f = x.pull.until(func(f *native.Frame) bool { return f.Correlation == x.pulled })
	if f.Command != native.CmdDeliver || !slices.Equal(values(x.pull.decode(f)), []string{"for the pull"}) {
		x.t.Errorf("pull: %+v", f.Header)
	}
	end, err := native.DecodeEndTxnReply(x.txn.call(native.CmdEndTxn, &native.EndTxn{Txn: x.txnID, Commit: true}))
	if err != nil || !end.Committed || end.Queues != 1 {
		x.t.Errorf("transaction: %+v %v", end, err)
	}
	x.endHand()
}

// endHand acknowledges what was in hand all the time: nobody else has got it, or gets it.
func (x *begun) endHand() {
	x.t.Helper()
	for _, h := range x.inHand {
		if h.Attempts != 0 {
			x.t.Errorf("%+v was not the first attempt", h)
		}
		x.hand.settle(x.held, h, ipc.VerdictAck)
	}
	x.rival.publish(native.Publish{RoutingKey: "held"}, "last")
	if got := values(x.rival.receive(1, 1)); !slices.Equal(got, []string{"last"}) {
		x.t.Errorf("what was in hand was given to another one: %q", got)
	}
}
