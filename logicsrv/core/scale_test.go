package core

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
)

// declare runs commands in turns of turnInputs.
func (w *world) declare(commands [][]byte) {
	for i, payload := range commands {
		w.c.Step(w.now, Input{Pos: w.pos, Type: ipc.TypeAdmin, Payload: payload})
		w.pos += 16
		if i%turnInputs == turnInputs-1 || w.c.TurnFull() {
			w.c.EndTurn(w.now, testNonce, w.pos)
			w.c.Advance(w.c.LSN(), w.c.LSN())
		}
	}
	w.c.EndTurn(w.now, testNonce, w.pos)
	w.c.Advance(w.c.LSN(), w.c.LSN())
	if w.c.stats.Rejected > 0 {
		w.tb.Fatalf("%d of %d commands refused", w.c.stats.Rejected, len(commands))
	}
}

func adminRecord(cmd admin.Command, body interface{ Append([]byte) []byte }) []byte {
	m := ipc.Admin{Head: ipc.Head{Epoch: 1, Conn: 256, Req: 1}, Command: uint16(cmd), Body: body.Append(nil)}
	return m.Append(nil)
}

// queueNames declares so many queues.
func queueNames(n int) (names []string, commands [][]byte) {
	for i := range n {
		names = append(names, fmt.Sprintf("queue-%05d", i))
		commands = append(commands, adminRecord(admin.CmdCreateQueue, &admin.CreateQueue{Name: names[i], QueueSettings: admin.QueueSettings{Durable: true}}))
	}
	return names, commands
}

// pattern draws the key of a binding to a topic exchange: of ten, seven are exact, two have a *,
// one a #. Of 10,000 of them a message of three such words matches ten.
func pattern(rng *rand.Rand, i int) string {
	word := func() string { return fmt.Sprintf("w%d", rng.IntN(100)) }
	switch i % 10 {
	case 0:
		return word() + ".*." + word()
	case 1:
		return word() + "." + word() + ".*"
	case 2:
		return word() + ".#"
	default:
		return word() + "." + word() + "." + word()
	}
}

// manyThings declares 10,000 queues and 100,000 bindings of them, a quarter to each of a direct, a
// topic, a headers and a fanout exchange.
func manyThings() [][]byte {
	names, commands := queueNames(10_000)
	types := []admin.ExchangeType{admin.Direct, admin.Topic, admin.Headers, admin.Fanout}
	for _, typ := range types {
		commands = append(commands, adminRecord(admin.CmdCreateExchange, &admin.CreateExchange{Name: typ.String(), Type: typ, Durable: true}))
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range 100_000 {
		m := admin.CreateBinding{Exchange: types[i%4].String(), Queue: names[i/10], RoutingKey: pattern(rng, i/4) + fmt.Sprintf(".%d", i)}
		if types[i%4] == admin.Headers {
			m.Headers = []ipc.Header{{Key: "customer", Value: fmt.Sprint(i)}, {Key: "kind", Value: "order"}}
		}
		commands = append(commands, adminRecord(admin.CmdCreateBinding, &m))
	}
	return commands
}

// BenchmarkDeclare is one command of those that make many things.
func BenchmarkDeclare(b *testing.B) {
	commands := manyThings()
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += len(commands) {
		newWorld(b, Config{}).declare(commands[:min(len(commands), b.N-i)])
	}
}

// BenchmarkCheckpointOfMany encodes many things while nothing changes; BenchmarkLoadOfMany is the
// reverse.
func BenchmarkCheckpointOfMany(b *testing.B) {
	w := newWorld(b, Config{})
	w.declare(manyThings())
	blob := w.c.Checkpoint(nil)
	b.ResetTimer()
	for range b.N {
		blob = w.c.Checkpoint(blob[:0])
	}
	b.ReportMetric(float64(len(blob)), "bytes")
}

func BenchmarkLoadOfMany(b *testing.B) {
	w := newWorld(b, Config{})
	w.declare(manyThings())
	blob := w.c.Checkpoint(nil)
	b.ResetTimer()
	for range b.N {
		if _, err := Load(Config{}, blob); err != nil {
			b.Fatal(err)
		}
	}
}

// TestMemoryOfMany measures what a core takes that holds many things and does nothing, and holds
// one and a half times what doc.go says.
func TestMemoryOfMany(t *testing.T) {
	commands := manyThings()
	before := heap()
	w := newWorld(t, Config{})
	w.declare(commands)
	w.c.Checkpoint(nil)
	live := heap() - before
	loaded, err := Load(Config{}, w.c.Checkpoint(nil))
	if err != nil {
		t.Fatal(err)
	}
	again := heap() - before - live
	t.Logf("%.1f MB, loaded from a checkpoint %.1f MB", float64(live)/1e6, float64(again)/1e6)
	if s := loaded.Stats(); s.Queues != 10_000 || s.Bindings != 100_000 {
		t.Fatalf("%+v", s)
	}
	const said = 50_000_000
	if live > said*3/2 || again > said*3/2 {
		t.Errorf("doc.go says %d", said)
	}
	runtime.KeepAlive(w)
}

// BenchmarkPublishAmongMany is decide, apply and reply of one message, its share of the turn
// included, through an exchange that 10,000 bindings (100 where they hash) lead from, each to a
// queue of its own. Every message has another key, or other headers.
func BenchmarkPublishAmongMany(b *testing.B) {
	const bindings = 10_000
	rng := rand.New(rand.NewPCG(1, 2))
	word := func() string { return fmt.Sprintf("w%d", rng.IntN(100)) }
	for _, x := range []struct {
		typ     admin.ExchangeType
		binding func(i int, m *admin.CreateBinding)
		message func(m *ipc.Publish)
	}{
		{
			admin.Direct,
			func(i int, m *admin.CreateBinding) { m.RoutingKey = fmt.Sprintf("customer.%d", i) },
			func(m *ipc.Publish) { m.RoutingKey = fmt.Sprintf("customer.%d", rng.IntN(bindings)) },
		},
		{
			admin.Topic,
			func(i int, m *admin.CreateBinding) { m.RoutingKey = pattern(rng, i) },
			func(m *ipc.Publish) { m.RoutingKey = word() + "." + word() + "." + word() },
		},
		{
			admin.Headers,
			func(i int, m *admin.CreateBinding) {
				m.Headers = []ipc.Header{{Key: "customer", Value: fmt.Sprint(i / 2)}, {Key: "kind", Value: fmt.Sprint(i % 2)}}
			},
			func(m *ipc.Publish) {
				m.Headers = []ipc.Header{{Key: "trace", Value: word()}, {Key: "kind", Value: fmt.Sprint(rng.IntN(2))}, {Key: "customer", Value: fmt.Sprint(rng.IntN(bindings / 2))}}
			},
		},
		{
			admin.ConsistentHash,
			func(_ int, m *admin.CreateBinding) { m.RoutingKey = "1" },
			func(m *ipc.Publish) { m.RoutingKey = fmt.Sprintf("customer.%d", rng.IntN(1_000_000)) },
		},
	} {
		b.Run(x.typ.String(), func(b *testing.B) {
			w := newWorld(b, Config{})
			names, commands := queueNames(bindings)
			if x.typ == admin.ConsistentHash {
				names = names[:100]
			}
			commands = append(commands, adminRecord(admin.CmdCreateExchange, &admin.CreateExchange{Name: "x", Type: x.typ}))
			for i, name := range names {
				m := admin.CreateBinding{Exchange: "x", Queue: name}
				x.binding(i, &m)
				commands = append(commands, adminRecord(admin.CmdCreateBinding, &m))
			}
			w.declare(commands)
			records := make([][]byte, 1<<16)
			for i := range records {
				m := ipc.Publish{Head: ipc.Head{Epoch: 1, Conn: 256, Req: 1}, Exchange: "x", Batch: batch(1)}
				x.message(&m)
				records[i] = publishRecord(&m)
			}
			publishAll(b, w, records)
		})
	}
}

// publishAll publishes one record after the other, b.N in all.
func publishAll(b *testing.B, w *world, records [][]byte) {
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += turnInputs {
		for k := range turnInputs {
			w.c.Step(w.now, Input{Pos: w.pos, Type: ipc.TypePublish, Payload: records[(i+k)%len(records)]})
			w.pos += 16
			if w.c.TurnFull() {
				w.c.EndTurn(w.now, testNonce, w.pos)
				w.c.Advance(w.c.LSN(), w.c.LSN())
			}
		}
		w.c.EndTurn(w.now, testNonce, w.pos)
		w.c.Advance(w.c.LSN(), w.c.LSN())
	}
	if w.c.stats.Rejected > 0 {
		b.Fatal("refused")
	}
}
