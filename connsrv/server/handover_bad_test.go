package server

import (
	"context"
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/trimq/trimq/connsrv/handover"
	"github.com/trimq/trimq/protocol/golden"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
	"github.com/trimq/trimq/shmqueue"
	"github.com/trimq/trimq/shmqueue/tier"
)

// A hand-over that cannot be: the program goes on, and so do its clients. So it is a second time.
func TestHandOverRefused(t *testing.T) {
	b := start(t, func(c *tier.Config) { c.EventLoops = 2 })
	a, c := b.connect(), b.connect()
	a.call(native.CmdSubscribe, &native.Subscribe{Sub: 1, Index: 1, Limit: 100, Kind: native.SubQueue})
	b.Server.options.Replace = func(int, []int) error { return errors.New("no such program") }
	for range 3 {
		b.HandOver()
		if err := <-b.refused; err == nil {
			t.Fatal("refused without a reason")
		}
		c.produce(1, makeBatch(3, 10))
		a.readDeliver()
		b.connect().sync()
	}
}

// Who is stopping does not hand over.
func TestHandOverWhileStopping(t *testing.T) {
	b := start(t, nil)
	c := b.connect()
	b.stub.set(func() { b.stub.hold = true })
	c.send(native.CmdProduce, produceBody(1, makeBatch(1, 10)))
	c.sync()
	b.cancel()
	if f := c.read(); f.Command != native.CmdGoodbye {
		t.Fatalf("%+v", f.Header)
	}
	b.HandOver()
	<-b.refused
	b.stub.set(func() { b.stub.hold = false })
	if f := c.read(); f.Command != native.CmdProduce || f.Flags&native.FlagError != 0 {
		t.Errorf("%+v", f.Header)
	}
}

// leave has the server hand over, and returns what it has passed on.
func (b *broker) leave() (*passed, leaving) {
	b.t.Helper()
	b.HandOver()
	l := <-b.leaving
	f := os.NewFile(uintptr(l.state), "state")
	defer f.Close()
	fi, err := f.Stat()
	must(b.t, err)
	text := make([]byte, fi.Size())
	_, err = f.ReadAt(text, 0)
	must(b.t, err)
	p := new(passed)
	c := handover.Read(text)
	p.pass(c)
	must(b.t, c.Done("the state"))
	return p, l
}

func oneLoop(c *tier.Config) { c.EventLoops = 1 }

// Of one connection that cannot be read no other one suffers, and logicsrv hears of its end.
func TestHandOverOfADamagedConnection(t *testing.T) {
	for name, damage := range map[string]func(*passed){
		"link":  func(p *passed) { x := &p.loops.Loops[0].Conns[0]; x.Link = x.Link[:len(x.Link)-1] },
		"room":  func(p *passed) { x := &p.loops.Loops[0].Conns[0]; x.Room = append(x.Room, 0) },
		"state": func(p *passed) { p.loops.Loops[0].Conns[0].Room[0] = 9 },
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, oneLoop)
			first, second := b.connect(), b.connect()
			for _, c := range []*client{first, second} {
				c.call(native.CmdSubscribe, &native.Subscribe{Sub: 1, Index: 1, Limit: 0, Kind: native.SubQueue})
			}
			p, _ := b.leave()
			damage(p)
			b.takeOver(p)
			first.wantClosed()
			second.produce(1, makeBatch(1, 1))
			b.stub.until("the end of the consumer", func() bool { return len(b.stub.subs) == 1 })
			if open, closed := b.counter(shmqueue.ConnOpen), b.counter(shmqueue.ConnClosedHandOver); open != 1 || closed != 1 {
				t.Errorf("%d open, %d closed", open, closed)
			}
		})
	}
}

// takeOver has another server begin with what was passed on.
func (b *broker) takeOver(p *passed) {
	b.t.Helper()
	o := b.options
	var err error
	o.Legacy, err = writeState(p)
	must(b.t, err)
	b.run(o)
}

// What cannot be read as a whole makes the hand-over a start: a new epoch, no connection, and
// nobody left waiting.
func TestHandOverOfADamagedWhole(t *testing.T) {
	for name, damage := range map[string]func(*passed){
		"other rings":  func(p *passed) { p.nonce++ },
		"other epoch":  func(p *passed) { p.epoch++ },
		"lane":         func(p *passed) { p.lanes[0] = p.lanes[0][:1] },
		"twice":        func(p *passed) { x := p.loops.Loops[0].Conns; x[1].FD = x[0].FD },
		"another loop": func(p *passed) { p.loops.Loops[0].Conns[0].ID++ },
		"a loop less":  func(p *passed) { p.lanes = nil },
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, oneLoop)
			c, other := b.connect(), b.connect()
			epoch := b.rings.Requests.Epoch()
			p, l := b.leave()
			damage(p)
			closed := 0
			b.options.CloseStray = func() int {
				for _, fd := range l.fds {
					unix.Close(fd)
				}
				closed = len(l.fds)
				return closed
			}
			b.takeOver(p)
			b.options.CloseStray = func() int { return 0 }
			c.wantClosed()
			other.wantClosed()
			if now := b.rings.Requests.Epoch(); now != epoch+1 || closed != 3 {
				t.Errorf("epoch %d after %d, %d closed", now, epoch, closed)
			}
			b.connect().produce(1, makeBatch(1, 1))
			b.stub.set(func() {
				if b.stub.seen[ipc.TypeHello] != 2 {
					t.Errorf("%d Hellos", b.stub.seen[ipc.TypeHello])
				}
			})
		})
	}
}

// The format is frozen: of a server with one connection, all but what differs from run to run.
func TestGoldenState(t *testing.T) {
	b := start(t, oneLoop)
	b.until("the Marker", func() bool { return b.counter(shmqueue.ConnMarkers) > 0 }) // how it is answered is noted in rooms
	c := b.connect()
	c.call(native.CmdSubscribe, &native.Subscribe{Sub: 5, Index: 1, Limit: 8, Kind: native.SubQueue, Tag: "tag"})
	b.stub.set(func() { b.stub.deaf = true })
	c.send(native.CmdProduce, produceBody(1, makeBatch(1, 10)))
	c.sync()
	p, l := b.leave()
	for _, fd := range l.fds {
		defer unix.Close(fd)
	}
	b.takeOverNothing()
	p.loops.NowMS, p.loops.KernelMS, p.nonce = 1000, 2000, 1<<63
	p.loops.Listeners[0].FD, p.loops.Listeners[0].Asked, p.loops.Listeners[0].Addr = 10, "localhost:7000", "127.0.0.1:7000"
	x := &p.loops.Loops[0].Conns[0]
	x.FD = 11
	x.Link = x.Link[:0] // addresses and times; reactor's own test has them
	w := handover.Write(nil)
	p.pass(w)
	golden.Check(t, "handover_v4_server", `
		magic:v version:v epoch:v nonce:v markers:v definitions:v nowMS:v kernelMS:v listeners:v fd:v protocol:s asked:s address:s files:v loops:v
		counter:v connections:v id:v fd:v protocol:s refused:1 link:s roomBytes:v state:v maxFrame:v window:v share:v skip:v challenge:s client:s
		shareWait:1 resting:1 told:1 deadlineMS:v pullers:v direct.length:v direct.command:v direct.flags:v direct.correlation:v
		direct.index:v direct.level:v direct.txn:v resyncSub:v resyncGroup:v resyncReq:v own:v subs:v
		sub.id:v sub.index:v queue:1 puller:1 closing:1 answered:1 autoAck:1 exclusive:1 consumer.puller:1 priority:v ackTimeoutMS:v tag:s
		filter.kind:v filter.text:s limit:v told:v delivered:v skipped:v inHand:v pledged:v recalls:v cutAt:v cut.record:v cut.off:v next:v wait:v
		pulls:v requests:v req:v correlation:v bytes:v command:v quiet:1 inTxn:1 parked:1 sub:v txns:v groups:v line:v
		lanes:v laneBytes:v nextReq:v ends:v handed:v waiting:v backlog:v busy:1 begun:1 ended:1 term:v ask:v given:v rooms:v next:v`, w.Written())
}

// takeOverNothing has a server stand in the place of the one that has left, so that the test's end
// finds one.
func (b *broker) takeOverNothing() {
	b.Server, b.cancel, b.stopped = nil, context.CancelFunc(func() {}), make(chan error, 1)
	b.stopped <- nil
}

// Whatever bytes come, what was passed on is read or refused; what is read is written as the same
// bytes.
func FuzzPassed(f *testing.F) {
	f.Add(golden.Read(f, "handover_v4_server"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p := new(passed)
		c := handover.Read(b)
		p.pass(c)
		if c.Done("the state") != nil {
			return
		}
		w := handover.Write(nil)
		if p.pass(w); string(w.Written()) != string(b) {
			t.Errorf("%x is written as %x", b, w.Written())
		}
	})
}
