package server

import (
	"testing"

	"github.com/trimq/trimq/connsrv/reactor"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
	"github.com/trimq/trimq/shmqueue"
	"github.com/trimq/trimq/shmqueue/tier"
)

// A restart of logicsrv: all soft state is told again, requests under way are answered,
// repeated answers do nothing, and no client notices.
func TestLogicRestart(t *testing.T) {
	for _, loops := range []int{1, 2} {
		b := start(t, func(c *tier.Config) { c.EventLoops = loops })
		p, poller := b.connect(), b.connect()
		queue, topic := b.connect(), b.connect()
		p.produce(1, makeBatch(10, 10))
		queue.call(native.CmdSubscribe, &native.Subscribe{Sub: 5, Index: 1, Limit: 8, Kind: native.SubQueue, Exclusive: true})
		queue.readDeliver()
		queue.call(native.CmdAck, &native.Ack{Sub: 5, Queue: 1, Index: 1, Verdict: ipc.VerdictAck, Ranges: []ipc.Range{{First: 2, Count: 3}}})
		topic.call(native.CmdSubscribe, &native.Subscribe{Sub: 6, Index: 3, Limit: 1 << 20, Kind: native.SubTopic})
		poller.send(native.CmdFetch, &native.Fetch{Index: 4, MaxBytes: 1000, MinBytes: 1, MaxWaitMS: 60_000})
		b.stub.until("both waits", func() bool { return len(b.stub.waits) == 2 })
		b.stub.set(func() { b.stub.hold = true })
		p.send(native.CmdProduce, produceBody(1, makeBatch(3, 10)))
		p.sync()

		b.stub.restart()
		b.stub.until("every loop's answer", func() bool { return b.stub.ends == loops })
		b.stub.set(func() {
			if len(b.stub.told) != 1 {
				t.Fatalf("told %+v", b.stub.told)
			}
			s := b.stub.told[0]
			if s.Sub != 5 || s.Queue != 1 || s.Limit != 8 || s.Delivered != 8 || !s.Consumer.Exclusive || s.Term != 2 ||
				len(s.InHand) != 2 || s.InHand[0] != (ipc.Held{Index: 1, Range: ipc.Range{First: 0, Count: 2}}) || s.InHand[1] != (ipc.Held{Index: 1, Range: ipc.Range{First: 5, Count: 3}}) {
				t.Errorf("told %+v", s)
			}
			if len(b.stub.waits) != 2 {
				t.Errorf("waits told again: %+v", b.stub.waits)
			}
		})
		if f := p.read(); f.Command != native.CmdProduce || f.Flags&native.FlagError != 0 {
			t.Fatalf("%+v", f.Header)
		}
		p.produce(3, makeBatch(2, 10))
		p.produce(4, makeBatch(2, 10))
		if m, _ := topic.readDeliver(); m.Count != 2 {
			t.Errorf("%+v", m)
		}
		if f := poller.read(); f.Command != native.CmdFetch || f.Flags&native.FlagError != 0 {
			t.Errorf("%+v", f.Header)
		}
		if b.counter(shmqueue.ConnStaleReplies) == 0 {
			t.Error("no repeated reply was seen: the test shows nothing")
		}
		for _, c := range []*client{p, poller, queue, topic} {
			c.sync() // still open, and nothing else has come
		}
		b.stop()
	}
}

// Replies and deliveries of another epoch are dropped.
func TestOtherEpochIsDropped(t *testing.T) {
	b := start(t, nil)
	c := b.connect()
	b.stub.set(func() { b.stub.deaf = true })
	c.send(native.CmdProduce, produceBody(1, makeBatch(1, 10)))
	c.sync()
	b.stub.set(func() {
		var conn uint64
		done := make(chan struct{})
		loop := b.group.Loops()[0]
		loop.Call(func() {
			loop.Each(func(c *reactor.Conn) { conn = c.ID() })
			close(done)
		})
		<-done
		for req := uint64(0); req < 10; req++ {
			h := ipc.Head{Epoch: b.rings.Requests.Epoch() + 1, Conn: conn, Req: req << 8}
			b.stub.put(ipc.TypeAppended, (&ipc.Appended{Head: h, Index: 1, Base: 1}).Append(nil))
		}
	})
	b.until("them to be dropped", func() bool { return b.counter(shmqueue.ConnStaleReplies) == 10 })
	c.sync() // no answer has come before this one
}

// What a deleted index leaves behind is forgotten; its pushed consumers hear of it.
func TestIndexGone(t *testing.T) {
	b := start(t, nil)
	c := b.connect()
	c.produce(1, makeBatch(5, 5))
	c.fetch(native.Fetch{Index: 1, MaxBytes: 1})
	c.call(native.CmdSubscribe, &native.Subscribe{Sub: 3, Index: 1, Offset: 5, Limit: 100, Kind: native.SubTopic})
	b.stub.set(func() {
		delete(b.stub.indexes, 1)
		b.stub.waits = nil
		b.stub.put(ipc.TypeIndexGone, (&ipc.IndexGone{Index: 1}).Append(nil))
	})
	f := c.read()
	if m, err := native.DecodeSubClosed(f.Body); f.Command != native.CmdSubClosed || err != nil || m.Sub != 3 || m.Code != errcode.UnknownIndex {
		t.Errorf("%+v %v", f.Header, err)
	}
	c.refused(errcode.UnknownIndex, native.CmdFetch, &native.Fetch{Index: 1, MaxBytes: 1})
}

// The end of a connection is told where logicsrv knows it, and only there.
func TestConnClosedIsTold(t *testing.T) {
	b := start(t, nil)
	plain, known := b.connect(), b.connect()
	plain.produce(1, makeBatch(1, 1))
	known.call(native.CmdSubscribe, &native.Subscribe{Sub: 1, Index: 1, Limit: 0, Kind: native.SubQueue})
	plain.conn.Close()
	known.conn.Close()
	b.stub.until("the consumer to end", func() bool { return len(b.stub.subs) == 0 })
	b.stub.set(func() {
		if n := b.stub.seen[ipc.TypeConnClosed]; n != 1 {
			t.Errorf("%d ends told", n)
		}
	})
}

// A consumer that logicsrv ends by itself.
func TestSubClosedUnasked(t *testing.T) {
	b := start(t, nil)
	c := b.connect()
	c.call(native.CmdSubscribe, &native.Subscribe{Sub: 9, Index: 1, Limit: 1, Kind: native.SubQueue})
	b.stub.set(func() {
		for _, s := range b.stub.subs {
			h := ipc.Head{Epoch: s.Epoch, Conn: s.Conn}
			b.stub.put(ipc.TypeSubClosed, (&ipc.SubClosed{Head: h, Sub: 9, Code: uint16(errcode.NotFound), Text: "deleted"}).Append(nil))
		}
	})
	f := c.read()
	if m, err := native.DecodeSubClosed(f.Body); f.Command != native.CmdSubClosed || err != nil || m.Sub != 9 || m.Code != errcode.NotFound || m.Text != "deleted" {
		t.Errorf("%+v %v", f.Header, err)
	}
	c.refused(errcode.UnknownSubscription, native.CmdCredit, &native.Credit{Sub: 9, Limit: 5})
}
