package core

import (
	"fmt"
	"testing"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// TestMuchAtOneTime: whatever becomes due in one turn, or is known at the end of one resync, takes as
// many entries as it needs; none is larger than a record of the ring.
func TestMuchAtOneTime(t *testing.T) {
	const n = 300
	w := newWorld(t, Config{MaxEntryBytes: 8 << 10, TxnCheckMS: 1000})
	w.attach(1)
	head := ipc.Head{Epoch: 1, Conn: 256, Req: 9}
	full := admin.QueueSettings{MaxMessages: admin.Some(0), Overflow: admin.RejectDeadLetter, DeadLetter: true, KeepKey: true, DeadLetterExchange: "x"}
	w.admin(admin.CmdCreateExchange, &admin.CreateExchange{Name: "full", Type: admin.Fanout})
	for i := range 5 {
		name := fmt.Sprintf("full-%d", i)
		w.admin(admin.CmdCreateQueue, &admin.CreateQueue{Name: name, Level: ipc.LevelPage, QueueSettings: full})
		w.admin(admin.CmdCreateBinding, &admin.CreateBinding{Exchange: "full", Queue: name})
	}
	publish := func(exchange, key string, due int64) {
		m := ipc.Publish{Head: head, Exchange: exchange, RoutingKey: key, TTLMS: ipc.NoTTL, DueMS: due, Batch: batch(1)}
		w.turn(ipc.TypePublish, publishRecord(&m))
	}
	// Of each kind many: messages that expire, that are delayed, that nobody takes; open transactions of
	// which nobody knows the end; leases, time-outs and queues that end; pulls that wait.
	var queues []uint64
	for i := range n {
		name := fmt.Sprintf("q-%d", i)
		s := admin.QueueSettings{MessageTTLMS: admin.Some(1000), DeadLetter: i%2 == 0}
		if s.DeadLetter {
			s.KeepKey, s.DeadLetterExchange = true, "full"
		}
		if i%3 == 0 {
			s = admin.QueueSettings{ExpiresMS: admin.Some(1000)}
		}
		a := w.admin(admin.CmdCreateQueue, &admin.CreateQueue{Name: name, Level: ipc.LevelPage, QueueSettings: s})
		queues = append(queues, a.Index)
		publish("", name, 0)
		publish("full", "", w.now+1000)
		begin := ipc.BeginTxn{Head: head, Group: "g", Key: name, CheckMS: 1000}
		w.turn(ipc.TypeBeginTxn, begin.Append(nil))
		pull := ipc.Pull{Head: ipc.Head{Epoch: 1, Conn: 256, Req: 1000 + uint64(i)}, Queue: a.Index, Max: 10, InvisibleMS: 1000}
		if i%5 == 0 {
			w.turn(ipc.TypePull, pull.Append(nil))
		}
	}
	w.settle()

	// A new connsrv: all subscribe before it is known who else does.
	hello := ipc.Hello{Head: ipc.Head{Epoch: 2}, Loops: 1}
	w.turn(ipc.TypeHello, hello.Append(nil))
	var told []ipc.SubState
	for i, q := range queues {
		if i%3 != 0 {
			s := ipc.Subscribe{Head: ipc.Head{Epoch: 2, Conn: 512, Req: 5000 + uint64(i)}, Sub: uint64(i + 1), Queue: q, Limit: 9, Consumer: ipc.Consumer{AckTimeoutMS: 500, Tag: "somebody"}}
			w.turn(ipc.TypeSubscribe, s.Append(nil))
			told = append(told, ipc.SubState{Head: ipc.Head{Conn: 512}, Sub: s.Sub, Queue: q, Limit: 9, Consumer: s.Consumer})
		}
	}
	member := ipc.TxnMember{Head: ipc.Head{Epoch: 2, Conn: 512}, Group: "g", Join: true}
	w.turn(ipc.TypeTxnMember, member.Append(nil))
	w.resync(2, told...)
	w.settle()
	for range 4 {
		w.now += 1000
		w.settle()
	}
	largest := 0
	for _, e := range w.log {
		largest = max(largest, len(e.AppendRing(nil)))
	}
	if limit := w.cfg.MaxEntryBytes + journal.RingHeaderSize; largest > limit || largest < limit/2 {
		t.Fatalf("the largest entry has %d bytes, %d are allowed", largest, limit)
	}
}
