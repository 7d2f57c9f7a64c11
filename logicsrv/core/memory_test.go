package core

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// TestMemory measures what doc.go says of the bytes of things, and holds twice that.
func TestMemory(t *testing.T) {
	const n = 20_000
	c := New(Config{})
	apply := func(ev interface{ Append([]byte) []byte }) {
		if err := c.apply(ev.Append(nil), 1); err != nil {
			t.Fatal(err)
		}
	}
	id := uint64(0)
	next := func() uint64 { id++; return id }
	head := func(i int) ipc.Head { return ipc.Head{Epoch: 1, Conn: uint64(i), Req: uint64(i + 1)} }
	c.epoch, c.resynced = 1, true
	apply(&journal.ExchangeCreated{ID: next(), Exchange: admin.CreateExchange{Name: "x", Type: admin.Direct}})
	apply(&journal.ExchangeCreated{ID: next(), Exchange: admin.CreateExchange{Name: "top", Type: admin.Topic}})
	apply(&journal.ExchangeCreated{ID: next(), Exchange: admin.CreateExchange{Name: "hdr", Type: admin.Headers}})
	apply(&journal.TopicCreated{ID: next(), Name: "t", Level: ipc.LevelDisk, Indexes: []uint64{next()}})
	topicID := id - 1
	first := id + 1
	for _, k := range []struct {
		name  string
		bytes int
		make  func(i int)
	}{
		{"queue", 1100, func(i int) {
			apply(&journal.QueueCreated{Queue: next(), Settings: admin.QueueSettings{Durable: true}, Name: fmt.Sprintf("queue-%07d", i), Level: ipc.LevelDisk})
		}},
		{"partition", 175, func(int) { apply(&journal.PartitionsAdded{ID: topicID, Indexes: []uint64{next()}}) }},
		{"binding", 280, func(i int) {
			apply(&journal.BindingCreated{Binding: admin.CreateBinding{Exchange: "x", Queue: fmt.Sprintf("queue-%07d", i), RoutingKey: fmt.Sprintf("key-%07d", i)}})
		}},
		{"binding to a topic exchange", 440, func(i int) {
			apply(&journal.BindingCreated{Binding: admin.CreateBinding{Exchange: "top", Queue: fmt.Sprintf("queue-%07d", i), RoutingKey: fmt.Sprintf("area-%d.customer-%d.*", i%100, i)}})
		}},
		{"binding to a headers exchange", 540, func(i int) {
			apply(&journal.BindingCreated{Binding: admin.CreateBinding{Exchange: "hdr", Queue: fmt.Sprintf("queue-%07d", i), Headers: []ipc.Header{{Key: "customer", Value: fmt.Sprint(i)}, {Key: "area", Value: fmt.Sprint(i % 100)}}}})
		}},
		{"producer with one lane", 210, func(i int) {
			apply(&journal.ProducerCreated{ProducerID: int64(i + 1)})
			apply(&journal.Routed{Sent: journal.Sent{Count: 1, ProducerID: int64(i + 1), TTLMS: ipc.NoTTL}})
		}},
		{"committed offset", 40, func(i int) {
			apply(&journal.OffsetsCommitted{Group: "g", Offsets: []ipc.OffsetCommit{{Index: first + n + uint64(i), Offset: 5}}})
		}},
		{"consumer with its connection", 590, func(i int) {
			m := ipc.Subscribe{Head: head(i), Sub: 1, Queue: first + uint64(i)}
			c.subscribe(&m)
		}},
		{"group with a position", 290 + 40, func(i int) {
			apply(&journal.OffsetsCommitted{Group: fmt.Sprintf("group-%07d", i), Offsets: []ipc.OffsetCommit{{Index: first + n, Offset: 5}}})
		}},
		{"member of a group", 460, func(i int) {
			apply(&journal.GroupMember{Group: fmt.Sprintf("members-%07d", i/100), Member: fmt.Sprintf("member-%025d", i), ClientID: "client", ClientHost: "/10.0.0.1:12345", Topics: []string{"t"}})
			m := c.groupOf(fmt.Sprintf("members-%07d", i/100)).member(fmt.Sprintf("member-%025d", i))
			c.arm(m, int64(i+1))
		}},
		{"partition of a member", 50, func(i int) {
			if i%100 != 99 { // 100 to a member
				return
			}
			g := c.groupOf("members-0000000")
			if i == 99 {
				shares := make([][]uint64, len(g.members))
				for k := range shares {
					for p := range uint64(n / 100) {
						shares[k] = append(shares[k], first+n+uint64(k)*n/100+p)
					}
				}
				apply(&journal.GroupTarget{Group: g.name, Epoch: 1, Shares: shares})
			}
			m := g.members[i/(n/100)]
			apply(&journal.GroupAssigned{Group: g.name, Member: m.id, Epoch: 1, Assigned: m.target})
		}},
		{"delayed batch", 80, func(i int) {
			if i == 0 {
				apply(&journal.LimboAdded{Pos: journal.NoInput, Index: next(), Class: 3})
			}
			apply(&journal.Delayed{
				Sent: journal.Sent{Count: 1, ProducerID: journal.NoProducer, TTLMS: ipc.NoTTL}, Dests: []uint64{first},
				Later: journal.Later{Limbo: id, Offset: uint64(i), DueMS: int64(1_000_000 + i*7919%1_000_000)},
			})
		}},
		{"open transaction with one batch", 450, func(i int) {
			if i == 0 {
				apply(&journal.LimboAdded{Pos: journal.NoInput, Index: next(), Class: txnClass})
			}
			apply(&journal.TxnBegun{Txn: uint64(i + 1), Group: "payers", Key: fmt.Sprintf("order-%07d", i), CheckMS: 60_000})
			apply(&journal.TxnHeld{
				Txn: uint64(i + 1), Sent: journal.Sent{Count: 1, ProducerID: journal.NoProducer, TTLMS: ipc.NoTTL},
				Later: journal.Later{Limbo: id, Offset: uint64(i)}, Note: ipc.Note{Key: "orders"},
			})
		}},
		{"parked wait", 110, func(i int) {
			ix, _ := c.indexes.get(first + uint64(i))
			c.park(&wait{head: head(i)}, ix)
		}},
	} {
		before := heap()
		for i := range n {
			k.make(i)
		}
		got := (heap() - before) / n
		t.Logf("%s: %d bytes", k.name, got)
		if got > 2*k.bytes {
			t.Errorf("%s takes %d bytes, doc.go says %d", k.name, got, k.bytes)
		}
	}
	runtime.KeepAlive(c)
}

func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
