package core

import (
	"encoding/binary"
	"testing"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// furnished is a world with one thing of each kind and a consumer.
func furnished(tb testing.TB) *world {
	w := newWorld(tb, Config{MaxEntryBytes: 1 << 16, GroupInitialDelayMS: -1})
	w.attach(1)
	w.topic("t", 2, ipc.LevelPage)
	q := w.queue("q", ipc.LevelMemory)
	for i, typ := range []admin.ExchangeType{admin.Fanout, admin.Direct, admin.Topic, admin.Headers, admin.ConsistentHash} {
		name := string(rune('a' + i))
		key := "k.#"
		if typ == admin.ConsistentHash {
			key = "3"
		}
		w.admin(admin.CmdCreateExchange, &admin.CreateExchange{Name: name, Type: typ, AutoDelete: i%2 == 0, Alternate: "a"})
		w.admin(admin.CmdCreateBinding, &admin.CreateBinding{Exchange: name, Queue: "q", RoutingKey: key, Present: []string{"h"}})
		w.admin(admin.CmdCreateBinding, &admin.CreateBinding{Exchange: name, Queue: "t", RoutingKey: "1", MatchAny: true})
		w.admin(admin.CmdCreateBinding, &admin.CreateBinding{Exchange: name, Queue: "a", ToExchange: true, RoutingKey: "2"})
	}
	w.turn(ipc.TypeInitProducer, (&ipc.InitProducer{ProducerID: -1, Epoch: -1}).Append(nil))
	w.turn(ipc.TypeSubscribe, (&ipc.Subscribe{Head: ipc.Head{Epoch: 1, Conn: 256, Req: 1}, Sub: 1, Queue: q, Limit: 50}).Append(nil))
	m := ipc.Publish{Head: ipc.Head{Epoch: 1, Conn: 256, Req: 2}, RoutingKey: "q", Batch: batch(20)}
	w.turn(ipc.TypePublish, publishRecord(&m))
	w.smallGroups(m.Head)
	return w
}

// record cuts | type u8 | length u16 | payload | from the front of data.
func record(data []byte) (typ ipc.Type, payload, rest []byte) {
	if len(data) < 3 {
		return 0, nil, nil
	}
	n := min(int(binary.LittleEndian.Uint16(data[1:])), len(data)-3)
	return ipc.Type(data[0]), data[3 : 3+n], data[3+n:]
}

func asRecord(b []byte, typ ipc.Type, payload []byte) []byte {
	b = append(b, byte(typ))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(payload)))
	return append(b, payload...)
}

// FuzzStep: whatever stands in the ring, the core does not fail, its replay has its digest,
// and it is not brought out of balance.
func FuzzStep(f *testing.F) {
	for seed := range uint64(30) {
		w, g := furnished(f), newInputs(seed)
		var data []byte
		for range 12 {
			typ, payload := g.any(w)
			data = asRecord(data, typ, payload)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		w := furnished(t)
		for len(data) > 0 {
			var typ ipc.Type
			var payload []byte
			typ, payload, data = record(data)
			w.step(typ, payload)
			if typ%3 == 0 || w.c.TurnFull() {
				w.end()
				w.cursors(w.c.LSN(), w.synced)
			}
		}
		w.settle()
		checkSoft(t, w.c)
		w.checkpoint()
		if got := w.rebuilt().Digest(); got != w.c.Digest() {
			t.Fatalf("digest %x, loaded %x", w.c.Digest(), got)
		}
		w.blob = nil
		if got := w.rebuilt().Digest(); got != w.c.Digest() {
			t.Fatalf("digest %x, replayed %x", w.c.Digest(), got)
		}
	})
}

// FuzzLoad: a damaged checkpoint is refused, or is a state whose checkpoint loads again.
func FuzzLoad(f *testing.F) {
	for seed := range uint64(10) {
		w, g := furnished(f), newInputs(seed)
		for range 60 {
			w.step(g.hard())
			w.step(g.group(w))
		}
		w.settle()
		f.Add(w.c.Checkpoint(nil))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		l := newLoader(Config{}, data)
		l.chunks = 1 << 12
		c, err := l.load()
		if err != nil {
			return
		}
		blob := c.Checkpoint(nil)
		again, err := Load(Config{}, blob)
		if err != nil {
			t.Fatalf("its own checkpoint does not load: %v", err)
		}
		if string(again.Checkpoint(nil)) != string(blob) {
			t.Fatal("the checkpoint of the loaded state differs")
		}
		if string(again.Text(nil)) != string(c.Text(nil)) {
			t.Fatal("the text of the loaded state differs")
		}
		again.Begin(again.Term()+1, 1, again.LSN(), again.LSN())
		again.EndTurn(again.timeMS, 1, 1)
	})
}

// FuzzReplay: an entry that does not fit is refused with an error, never worse.
func FuzzReplay(f *testing.F) {
	for seed := range uint64(20) {
		w, g := furnished(f), newInputs(seed)
		for range 20 {
			w.step(g.hard())
			w.step(g.group(w))
		}
		if e, _ := w.end(); e != nil {
			f.Add(e.Events)
		}
	}
	f.Fuzz(func(t *testing.T, events []byte) {
		if len(events) > 2048 {
			return // sets may span 2^31 offsets each, 32 MB
		}
		w := furnished(t)
		c := w.rebuilt()
		e := journal.Entry{LSN: c.LSN() + 1, Term: 1, Level: ipc.LevelDisk, Events: events}
		if c.Replay(&e) != nil {
			return
		}
		l, err := Load(Config{}, c.Checkpoint(nil))
		if err != nil {
			t.Fatalf("the state after the entry does not load: %v", err)
		}
		if l.Digest() != c.Digest() {
			t.Fatal("the state after the entry changes in a checkpoint")
		}
	})
}
