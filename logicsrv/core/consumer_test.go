package core

import (
	"testing"

	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// holding is a world whose consumer (256, 1) holds every second of n messages of a queue,
// so that what it holds is n/2 ranges.
func holding(t *testing.T, n int) (w *world, index uint64) {
	w = newWorld(t, Config{})
	w.attach(1)
	index = w.queue("q", ipc.LevelMemory)
	for left := n; left > 0; left -= min(left, 1000) {
		m := ipc.Publish{Head: ipc.Head{Epoch: 1, Conn: 9}, RoutingKey: "q", Batch: batch(uint32(min(left, 1000)))}
		w.turn(ipc.TypePublish, publishRecord(&m))
	}
	w.settle()
	w.turn(ipc.TypeSubscribe, (&ipc.Subscribe{Head: ipc.Head{Epoch: 1, Conn: 256, Req: 1}, Sub: 1, Queue: index, Limit: uint64(n)}).Append(nil))
	w.settle()
	for first := 0; first < n; first += 2 * maxRanges {
		m := ipc.Ack{Head: ipc.Head{Epoch: 1, Conn: 256}, Sub: 1, Queue: index, Index: index, Verdict: ipc.VerdictAck}
		for x := first + 1; x < min(n, first+2*maxRanges); x += 2 {
			m.Ranges = append(m.Ranges, ipc.Range{First: uint64(x), Count: 1})
		}
		w.turn(ipc.TypeAck, m.Append(nil))
	}
	return w, index
}

// returned counts what the log says came back since an LSN, and the longest event.
func (w *world) returned(since uint64) (messages uint64, longest int) {
	for _, e := range w.log {
		r := journal.Events(e.Events)
		for ev, ok := r.Next(); ok; ev, ok = r.Next() {
			if ev.Type != journal.EvReturned || e.LSN <= since {
				continue
			}
			back, err := journal.DecodeReturned(ev)
			if err != nil {
				w.tb.Fatal(err)
			}
			longest = max(longest, len(back.Ranges))
			for _, rg := range back.Ranges {
				messages += uint64(rg.Count)
			}
		}
	}
	return messages, longest
}

// TestManyReturns: what a connection held goes back in as many turns as entries have room
// for, and nobody gets any of it before the event says so.
func TestManyReturns(t *testing.T) {
	const n = 50_000
	for name, end := range map[string]func(w *world, index uint64) (ipc.Type, []byte){
		"connection closed": func(*world, uint64) (ipc.Type, []byte) {
			return ipc.TypeConnClosed, (&ipc.ConnClosed{Head: ipc.Head{Epoch: 1, Conn: 256}}).Append(nil)
		},
		"unsubscribed": func(*world, uint64) (ipc.Type, []byte) {
			return ipc.TypeUnsubscribe, (&ipc.Unsubscribe{Head: ipc.Head{Epoch: 1, Conn: 256}, Sub: 1}).Append(nil)
		},
		"another connsrv": func(*world, uint64) (ipc.Type, []byte) {
			return ipc.TypeHello, (&ipc.Hello{Head: ipc.Head{Epoch: 2}, Loops: 1}).Append(nil)
		},
		"requeued": func(_ *world, index uint64) (ipc.Type, []byte) {
			m := ipc.Ack{Head: ipc.Head{Epoch: 1, Conn: 256}, Sub: 1, Queue: index, Index: index, Verdict: ipc.VerdictRequeue, Ranges: []ipc.Range{{Count: n}}}
			return ipc.TypeAck, m.Append(nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, index := holding(t, n)
			ix, _ := w.c.indexes.get(index)
			since := w.c.LSN()
			w.c.Step(w.now, w.put(end(w, index)))
			if _, ok := w.c.consumers[subID{256, 1}]; ok { // let nobody take it again
				w.step(ipc.TypeCredit, (&ipc.Credit{Head: ipc.Head{Epoch: 1, Conn: 256}, Sub: 1}).Append(nil))
			}
			w.end()
			if !w.c.Busy() || ix.cursor.taken.n == 0 {
				t.Fatal("all at once")
			}
			checkSoft(t, w.c)
			w.settle()
			back, longest := w.returned(since)
			if back != n/2 || longest > w.c.cfg.turnReturns() || ix.cursor.taken.n != 0 {
				t.Fatalf("%d came back, %d ranges in an event, %d in hand", back, longest, ix.cursor.taken.n)
			}
			if a, _ := ix.cursor.attempts.at(n - 2); a != 1 {
				t.Fatalf("%d attempts", a)
			}
			if got := w.rebuilt().Digest(); got != w.c.Digest() {
				t.Fatal("replay differs")
			}
		})
	}
}

// TestManyDeliveries: a turn hands out so many records and asks for another one.
func TestManyDeliveries(t *testing.T) {
	const n = 50_000
	w, _ := holding(t, n)
	w.turn(ipc.TypeConnClosed, (&ipc.ConnClosed{Head: ipc.Head{Epoch: 1, Conn: 256}}).Append(nil))
	w.settle()
	w.step(ipc.TypeSubscribe, (&ipc.Subscribe{Head: ipc.Head{Epoch: 1, Conn: 512, Req: 1}, Sub: 1, Queue: 1, Limit: ^uint64(0)}).Append(nil))
	_, out := w.end()
	if len(out) != 1+w.c.cfg.turnDeliveries() || !w.c.Busy() {
		t.Fatalf("%d outputs, busy %t", len(out), w.c.Busy())
	}
	seen := uint64(w.c.cfg.turnDeliveries())
	for _, o := range w.settle() {
		if o.Type == ipc.TypeDeliver {
			m, _ := ipc.DecodeDeliver(o.Record)
			if m.Attempts != 1 {
				t.Fatalf("%d attempts of %d", m.Attempts, m.First)
			}
			seen += uint64(m.Count)
		}
	}
	if seen != n/2 {
		t.Fatalf("%d delivered, want %d", seen, n/2)
	}
}

// TestWaitsAreReused: parking and waking allocates nothing in the long run.
func TestWaitsAreReused(t *testing.T) {
	w := newWorld(t, Config{})
	w.attach(1)
	index := w.topic("t", 1, ipc.LevelMemory)
	m := ipc.Append{Head: ipc.Head{Epoch: 1, Conn: 512}, Index: index, Batch: batch(1)}
	app := appendRecord(&m)
	var wait []byte
	req, next := uint64(0), uint64(0)
	round := func() {
		req++
		k := ipc.Wait{Head: ipc.Head{Epoch: 1, Conn: 256, Req: req}, Index: index, Beyond: next}
		wait = k.Append(wait[:0])
		w.c.Step(w.now, Input{Type: ipc.TypeWait, Payload: wait})
		w.c.Step(w.now, Input{Type: ipc.TypeAppend, Payload: app})
		w.c.EndTurn(w.now, testNonce, 0)
		w.c.Advance(w.c.LSN(), w.c.LSN())
		_, out := w.c.EndTurn(w.now, testNonce, 0)
		if next++; len(out) != 1 || out[0].Type != ipc.TypeVisible {
			t.Fatalf("%d outputs", len(out))
		}
	}
	for range 100 {
		round()
	}
	// The connection's entry comes and goes with its only wait.
	if allocs := testing.AllocsPerRun(1000, round); allocs > 1 {
		t.Errorf("%v allocations for a wait", allocs)
	}
}
