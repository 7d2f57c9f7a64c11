package server

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
	"github.com/trimq/trimq/shmqueue"
	"github.com/trimq/trimq/shmqueue/tier"
)

// A client that ends its side gets the answers to what it has asked for, then the end.
func TestHalfClosedClientIsAnswered(t *testing.T) {
	b := start(t, nil)
	c := b.connect()
	c.call(native.CmdSubscribe, &native.Subscribe{Sub: 1, Index: 3, Limit: 1 << 20, Kind: native.SubTopic})
	b.stub.until("the consumer's wait", func() bool { return len(b.stub.waits) == 1 })
	b.stub.set(func() { b.stub.hold = true })
	c.send(native.CmdProduce, produceBody(1, makeBatch(3, 10)))
	c.send(native.CmdFetch, &native.Fetch{Index: 1, MaxBytes: 1000, MinBytes: 1, MaxWaitMS: 600_000})
	c.ping(t)
	must(t, c.conn.(*net.TCPConn).CloseWrite())
	b.stub.set(func() { b.stub.hold = false })
	seen := map[native.Command]int{}
	for {
		f, err := c.dec.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		if f.Flags&native.FlagError != 0 {
			t.Errorf("%s refused: %v", f.Command, errorOf(t, f))
		}
		seen[f.Command]++
	}
	if seen[native.CmdProduce] != 1 || seen[native.CmdFetch] != 1 {
		t.Errorf("answers: %v", seen)
	}
	b.stub.until("the connection's end", func() bool { return b.stub.seen[ipc.TypeConnClosed] == 1 })
}

// ping waits for a PING's answer.
func (c *client) ping(t *testing.T) {
	t.Helper()
	c.send(native.CmdPing, &native.Ping{})
	if f := c.read(); f.Command != native.CmdPing {
		t.Fatalf("%s instead of PING", f.Command)
	}
}

// A consumer that is gone holds nothing.
func TestHalfClosedConsumerIsGone(t *testing.T) {
	b := start(t, nil)
	c := b.connect()
	c.call(native.CmdSubscribe, &native.Subscribe{Sub: 1, Index: 1, Limit: 8, Kind: native.SubQueue})
	must(t, c.conn.(*net.TCPConn).CloseWrite())
	c.wantClosed()
	b.stub.until("its end", func() bool { return len(b.stub.subs) == 0 })
}

// Both rings are full when connsrv starts, and logicsrv waits for room in the one before it
// makes some in the other.
func TestStartWithFullRings(t *testing.T) {
	c := tier.Default()
	c.DataDir = t.TempDir()
	c.RunDir, c.LogDir = c.DataDir, c.DataDir
	c.Listen, c.AdminListen = "127.0.0.1:0", ""
	c.RingRequestBytes, c.RingResponseBytes, c.MaxFrameBytes = 1<<20, 1<<20, 128<<10
	a1, a2 := heapRing(t, uint64(c.RingRequestBytes))
	b1, b2 := heapRing(t, uint64(c.RingResponseBytes))
	before, err := a2.Producer()
	must(t, err)
	in, err := a2.Consumer()
	must(t, err)
	out, err := b2.Producer()
	must(t, err)
	reply := (&ipc.Appended{Head: ipc.Head{Epoch: 1, Conn: 1 << 8, Req: 1 << 8}}).Append(nil)
	fill(t, before, ipc.TypeConnClosed, (&ipc.ConnClosed{Head: ipc.Head{Epoch: 1}}).Append(nil))
	fill(t, out, ipc.TypeAppended, reply)
	s, err := New(Options{Config: c, Requests: a1, Responses: b1, Metrics: shmqueue.HeapMetrics(), Log: slog.New(slog.DiscardHandler), Cluster: "test"})
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	stopped, ready := make(chan error, 1), make(chan struct{})
	go func() { stopped <- s.Run(ctx, func() error { close(ready); return nil }) }()
	go func() { // logicsrv: hands a reply over, then releases its request
		for ctx.Err() == nil {
			if _, err := out.Put(uint16(ipc.TypeAppended), 0, reply); err != nil {
				time.Sleep(time.Millisecond)
				continue
			}
			if r, ok := in.Next(); ok {
				in.Release(r.End)
			}
		}
	}()
	select {
	case <-ready:
	case <-time.After(20 * time.Second):
		t.Error("Hello never found room")
	}
	cancel()
	must(t, <-stopped)
}

func fill(t *testing.T, p *shmqueue.Producer, typ ipc.Type, record []byte) {
	t.Helper()
	for {
		_, err := p.Put(uint16(typ), 0, record)
		if errors.Is(err, shmqueue.ErrFull) {
			return
		}
		must(t, err)
	}
}

// Parts of large batches are copies. What a consumer is to get that does not read waits as offsets,
// and none of it is lost or sent twice when it reads on.
func TestPartsForSlowConsumersAreBounded(t *testing.T) {
	b := start(t, func(c *tier.Config) { c.ConnectionMemoryBytes = 64 << 10 })
	p, c := b.connect(), b.connect()
	c.call(native.CmdSubscribe, &native.Subscribe{Sub: 1, Index: 1, Limit: 4000, Kind: native.SubQueue})
	var sub ipc.Subscribe
	b.stub.set(func() {
		for k, s := range b.stub.subs {
			sub = s.Subscribe
			delete(b.stub.subs, k) // the test delivers
		}
	})
	const batches, each = 40, 100
	for range batches {
		p.produce(1, makeBatch(each, 4<<10))
	}
	before := b.counter(shmqueue.ConnReplies)
	b.stub.set(func() {
		for i := range uint64(batches * each) {
			m := ipc.Deliver{Head: ipc.Head{Epoch: sub.Epoch, Conn: sub.Conn}, Sub: 1, Index: 1, First: i, Count: 1}
			b.stub.put(ipc.TypeDeliver, m.Append(nil))
		}
	})
	b.stub.until("all deliveries to be taken in", func() bool { return b.counter(shmqueue.ConnReplies) >= before+batches*each })
	if n := b.counter(shmqueue.ConnDeliveries); n == batches*each {
		t.Errorf("all %d of them were copied, though nobody reads", n)
	}
	for i := range uint64(batches * each) {
		m, messages := c.readDeliver()
		if m.First != i || m.Count != 1 || len(messages) > 8<<10 {
			t.Fatalf("%+v with %d bytes, want offset %d", m, len(messages), i)
		}
	}
	c.sync() // and nothing more
}
