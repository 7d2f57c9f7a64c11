package core

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// turnInputs is how many inputs the benchmarks put into a turn.
const turnInputs = 256

// BenchmarkAppend is decide, apply and reply of one Append, its share of the turn included.
func BenchmarkAppend(b *testing.B) {
	for _, idempotent := range []bool{false, true} {
		b.Run(fmt.Sprintf("idempotent=%t", idempotent), func(b *testing.B) {
			w := newWorld(b, Config{})
			m := ipc.Append{Head: ipc.Head{Epoch: 1, Conn: 256, Req: 1}, Index: w.topic("t", 1, ipc.LevelDisk), Batch: batch(256)}
			if idempotent {
				w.turn(ipc.TypeInitProducer, (&ipc.InitProducer{ProducerID: -1, Epoch: -1}).Append(nil))
				m.Batch.ProducerID = w.c.lastPID
			}
			records := make([][]byte, turnInputs)
			seq := int32(0)
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; i += turnInputs {
				if idempotent || i == 0 { // sequences differ, so the records do
					b.StopTimer()
					for k := range records {
						records[k] = appendRecord(&m)
						if idempotent {
							m.Batch.BaseSeq = seq
							records[k] = appendRecord(&m)
							seq = sequence(seq, m.Batch.Count)
						}
					}
					b.StartTimer()
				}
				for k := range records {
					w.c.Step(w.now, Input{Pos: uint64(i + k), Type: ipc.TypeAppend, Payload: records[k]})
				}
				w.c.EndTurn(w.now, testNonce, uint64(i+turnInputs))
				w.c.Advance(w.c.LSN(), w.c.LSN())
			}
		})
	}
}

// BenchmarkPublish routes one batch through each type of exchange.
func BenchmarkPublish(b *testing.B) {
	types := []struct {
		name string
		typ  admin.ExchangeType
		key  string
	}{{"fanout", admin.Fanout, ""}, {"direct", admin.Direct, "a.b.c"}, {"topic", admin.Topic, "a.b.c"}, {"headers", admin.Headers, ""}}
	for _, x := range types {
		b.Run(x.name, func(b *testing.B) {
			w := newWorld(b, Config{})
			w.queue("q", ipc.LevelDisk)
			w.admin(admin.CmdCreateExchange, &admin.CreateExchange{Name: "x", Type: x.typ})
			header := []ipc.Header{{Key: "k", Value: "v"}}
			w.admin(admin.CmdCreateBinding, &admin.CreateBinding{Exchange: "x", Queue: "q", RoutingKey: x.key, Headers: header})
			m := ipc.Publish{Head: ipc.Head{Epoch: 1, Conn: 256, Req: 1}, Exchange: "x", RoutingKey: x.key, Headers: header, Batch: batch(1)}
			record := publishRecord(&m)
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; i += turnInputs {
				for k := range turnInputs {
					w.c.Step(w.now, Input{Pos: uint64(i + k), Type: ipc.TypePublish, Payload: record})
				}
				w.c.EndTurn(w.now, testNonce, uint64(i+turnInputs))
				w.c.Advance(w.c.LSN(), w.c.LSN())
			}
			if w.c.stats.Rejected > 0 {
				b.Fatal("refused")
			}
		})
	}
}

// BenchmarkTopicMatch routes through a topic exchange with 10,000 patterns.
func BenchmarkTopicMatch(b *testing.B) {
	r := newTopicRouter()
	rng := rand.New(rand.NewPCG(1, 2))
	word := func() string { return fmt.Sprintf("w%d", rng.IntN(100)) }
	for i := range 10_000 {
		key := word() + "." + word() + "." + word()
		switch i % 10 {
		case 0:
			key = word() + ".*." + word()
		case 1:
			key = word() + ".#"
		}
		r.bind(&binding{key: key, dest: &destination{}})
	}
	keys := make([]message, 1024)
	for i := range keys {
		keys[i].key = word() + "." + word() + "." + word()
	}
	hits := 0
	hit := func(*destination) { hits++ }
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		r.match(&keys[i%len(keys)], hit)
	}
	b.ReportMetric(float64(hits)/float64(b.N), "hits/op")
}

// BenchmarkQueueMessage is the life of one message: published, delivered, acknowledged.
func BenchmarkQueueMessage(b *testing.B) {
	w := newWorld(b, Config{})
	index := w.queue("q", ipc.LevelPage)
	w.attach(1)
	w.turn(ipc.TypeSubscribe, (&ipc.Subscribe{Head: ipc.Head{Epoch: 1, Conn: 256, Req: 1}, Sub: 1, Queue: index, Limit: 1 << 40}).Append(nil))
	const perTurn = 64
	pub := ipc.Publish{Head: ipc.Head{Epoch: 1, Conn: 512, Req: 1}, RoutingKey: "q", Batch: batch(1)}
	record := publishRecord(&pub)
	ack := ipc.Ack{Head: ipc.Head{Epoch: 1, Conn: 256}, Sub: 1, Queue: index, Index: index, Verdict: ipc.VerdictAck}
	var ackRecord []byte
	next := uint64(0)
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += perTurn {
		for range perTurn {
			w.c.Step(w.now, Input{Pos: uint64(i), Type: ipc.TypePublish, Payload: record})
		}
		w.c.EndTurn(w.now, testNonce, 0)
		w.c.Advance(w.c.LSN(), w.c.LSN())
		w.c.EndTurn(w.now, testNonce, 0)
		for range perTurn {
			ack.Ranges = append(ack.Ranges[:0], ipc.Range{First: next, Count: 1})
			ackRecord = ack.Append(ackRecord[:0])
			w.c.Step(w.now, Input{Pos: uint64(i), Type: ipc.TypeAck, Payload: ackRecord})
			next++
		}
		w.c.EndTurn(w.now, testNonce, 0)
	}
	if w.c.stats.Acked < uint64(b.N) {
		b.Fatalf("%d acked of %d", w.c.stats.Acked, b.N)
	}
}

// BenchmarkReplay is one Appended event of an entry of 256.
func BenchmarkReplay(b *testing.B) {
	w := newWorld(b, Config{})
	index := w.topic("t", 1, ipc.LevelDisk)
	var events []byte
	made := len(w.log)
	c := w.rebuilt()
	base := uint64(0)
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += turnInputs {
		b.StopTimer()
		events = events[:0]
		for k := range turnInputs {
			ev := journal.Appended{Pos: uint64(i + k), Index: index, Base: base, Count: 10, ProducerID: journal.NoProducer}
			events = ev.Append(events)
			base += 10
		}
		b.StartTimer()
		made++
		if err := c.Replay(&journal.Entry{LSN: c.LSN() + 1, Term: 1, Level: ipc.LevelDisk, Nonce: testNonce, Events: events}); err != nil {
			b.Fatal(err)
		}
	}
}

// millions is a core with 10 million messages in 1,000 queues, 30% of them acknowledged at
// random.
func millions(tb testing.TB) *Core {
	c := New(Config{})
	rng := rand.New(rand.NewPCG(7, 7))
	for i := range 1000 {
		c.lastID++
		q := &queue{id: c.lastID, name: fmt.Sprintf("queue-%04d", i), level: ipc.LevelDisk, declared: c.intern(&admin.QueueSettings{Durable: true})}
		q.set = q.declared
		c.addQueue(q, &index{id: c.lastID, level: ipc.LevelDisk, next: 10_000})
		for range 3566 { // 10,000 · ln(10/7): 30% distinct
			x := rng.Uint64N(10_000)
			q.own.settle(x, x+1)
		}
	}
	return c
}

// crowded is a core with 10,000 queues, 100,000 bindings and 100,000 producers.
func crowded(tb testing.TB) *Core {
	c := New(Config{})
	apply := func(ev interface{ Append([]byte) []byte }) {
		if err := c.apply(ev.Append(nil), 1); err != nil {
			tb.Fatal(err)
		}
	}
	id := uint64(0)
	next := func() uint64 { id++; return id }
	for _, typ := range []admin.ExchangeType{admin.Direct, admin.Topic} {
		apply(&journal.ExchangeCreated{ID: next(), Exchange: admin.CreateExchange{Name: fmt.Sprintf("exchange-%d", typ), Type: typ}})
	}
	for i := range 10_000 {
		apply(&journal.QueueCreated{Queue: next(), Name: fmt.Sprintf("queue-%05d", i), Level: ipc.LevelDisk, Settings: admin.QueueSettings{Durable: true}})
	}
	for i := range 100_000 {
		exchange := fmt.Sprintf("exchange-%d", []admin.ExchangeType{admin.Direct, admin.Topic}[i%2])
		apply(&journal.BindingCreated{Binding: admin.CreateBinding{Exchange: exchange, Queue: fmt.Sprintf("queue-%05d", i%10_000), RoutingKey: fmt.Sprintf("region-%d.shop.%d", i%7, i)}})
		apply(&journal.ProducerCreated{ProducerID: int64(i + 1)})
		apply(&journal.Routed{Sent: journal.Sent{Exchange: 1, Count: 1, ProducerID: int64(i + 1), TTLMS: ipc.NoTTL}})
	}
	return c
}

// states are what checkpoints are measured with.
var states = []struct {
	name string
	make func(testing.TB) *Core
}{{"millions", millions}, {"crowd", crowded}}

func BenchmarkCheckpoint(b *testing.B) {
	for _, state := range states {
		b.Run(state.name, func(b *testing.B) {
			c := state.make(b)
			var blob []byte
			b.ResetTimer()
			for range b.N {
				blob = c.Checkpoint(blob[:0])
			}
			b.ReportMetric(float64(len(blob)), "bytes")
		})
	}
}

func BenchmarkLoad(b *testing.B) {
	for _, state := range states {
		b.Run(state.name, func(b *testing.B) {
			blob := state.make(b).Checkpoint(nil)
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				if _, err := Load(Config{}, blob); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestCheckpointOfMillions holds the size that design.md names.
func TestCheckpointOfMillions(t *testing.T) {
	c := millions(t)
	blob := c.Checkpoint(nil)
	if len(blob) > 1_400_000 {
		t.Errorf("checkpoint of %d bytes", len(blob))
	}
	start := time.Now()
	l, err := Load(Config{}, blob)
	t.Logf("%d bytes, loaded in %v", len(blob), time.Since(start))
	if err != nil || l.Digest() != c.Digest() {
		t.Fatalf("load: %v", err)
	}
}
