package core

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/golden"
	"github.com/trimq/trimq/protocol/invariant"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

func TestEmptyRoundTrip(t *testing.T) {
	c := New(Config{Shard: 3})
	l, err := Load(Config{Shard: 3}, c.Checkpoint(nil))
	if err != nil {
		t.Fatal(err)
	}
	if l.Digest() != c.Digest() {
		t.Fatalf("digest %x, loaded %x", c.Digest(), l.Digest())
	}
	if _, err := Load(Config{Shard: 4}, c.Checkpoint(nil)); !errors.Is(err, ErrCheckpoint) {
		t.Fatalf("another shard's checkpoint: %v", err)
	}
}

// smallState is one thing of each kind, with a set of each form.
func smallState(t *testing.T) *Core {
	w := newWorld(t, Config{GroupInitialDelayMS: -1})
	w.attach(1)
	part := w.topic("t", 2, ipc.LevelPage)
	runs := w.queue("runs", ipc.LevelDisk)
	bits := w.queue("set", ipc.LevelMemory)
	w.admin(admin.CmdCreateExchange, &admin.CreateExchange{Name: "x", Type: admin.Headers, Durable: true, AutoDelete: true, Alternate: "amq.topic"})
	w.admin(admin.CmdCreateBinding, &admin.CreateBinding{Exchange: "x", Queue: "t", RoutingKey: "k", MatchAny: true, Headers: []ipc.Header{{Key: "h", Value: "v"}}, Present: []string{"p"}})
	w.turn(ipc.TypeInitProducer, (&ipc.InitProducer{ProducerID: -1, Epoch: -1}).Append(nil))
	m := ipc.Append{Head: ipc.Head{Epoch: 1, Conn: 1, Req: 9}, Index: part, Batch: batch(3)}
	m.Batch.ProducerID = w.c.lastPID
	w.turn(ipc.TypeAppend, appendRecord(&m))
	for _, name := range []string{"runs", "set"} {
		p := ipc.Publish{Head: m.Head, RoutingKey: name, Batch: batch(70)}
		w.turn(ipc.TypePublish, publishRecord(&p))
	}
	ack := ipc.Ack{Head: m.Head, Queue: runs, Index: runs, Verdict: ipc.VerdictAck, Ranges: []ipc.Range{{First: 0, Count: 2}, {First: 5, Count: 10}}}
	w.turn(ipc.TypeAck, ack.Append(nil))
	ack = ipc.Ack{Head: m.Head, Queue: bits, Index: bits, Verdict: ipc.VerdictAck}
	for x := range uint64(30) {
		ack.Ranges = append(ack.Ranges, ipc.Range{First: 1 + 2*x, Count: 1})
	}
	w.turn(ipc.TypeAck, ack.Append(nil))
	// Three messages that a consumer gave back.
	w.turn(ipc.TypeSubscribe, (&ipc.Subscribe{Head: m.Head, Sub: 1, Queue: runs, Limit: 3}).Append(nil))
	w.turn(ipc.TypeUnsubscribe, (&ipc.Unsubscribe{Head: m.Head, Sub: 1}).Append(nil))
	commit := ipc.CommitOffsets{Head: m.Head, Group: "g", Offsets: []ipc.OffsetCommit{{Index: part, Offset: 2, Metadata: "m", Leader: 1}}}
	w.turn(ipc.TypeCommit, commit.Append(nil))
	heldBack(w, m.Head, part)
	w.smallGroups(m.Head)
	w.smallTxnals(part)
	w.settle()
	return w.c
}

// heldBack adds a queue with one message of each state, a queue over a topic, and what is in limbo.
func heldBack(w *world, h ipc.Head, part uint64) {
	set := admin.QueueSettings{
		Durable: true, MaxPriority: 5, MaxBytes: admin.Some(1000), MessageTTLMS: admin.Some(60_000), RewindMS: admin.Some(90_000),
		DeadLetter: true, KeepKey: true,
	}
	all := w.admin(admin.CmdCreateQueue, &admin.CreateQueue{Name: "all", Level: ipc.LevelPage, QueueSettings: set}).Index
	w.admin(admin.CmdCreateQueue, &admin.CreateQueue{Name: "own", QueueSettings: admin.QueueSettings{Exclusive: true, AutoDelete: true}})
	w.admin(admin.CmdCreateQueue, &admin.CreateQueue{Name: "view", QueueSettings: admin.QueueSettings{
		Topic: "t", FilterKind: admin.FilterTags, Filter: "a", DeliveryLimit: admin.Some(3),
	}})
	for i := range 3 {
		p := ipc.Publish{Head: h, RoutingKey: "all", Batch: batch(2), Weight: uint32(10 * i), Priority: uint8(i), TTLMS: 5000}
		w.turn(ipc.TypePublish, publishRecord(&p))
	}
	w.turn(ipc.TypePull, (&ipc.Pull{Head: ipc.Head{Epoch: 1, Conn: 1, Req: 20}, Queue: all, Max: 2, InvisibleMS: 30_000}).Append(nil))
	ack := ipc.Ack{Head: h, Queue: all, Index: all, Verdict: ipc.VerdictReject, Ranges: []ipc.Range{{First: 1, Count: 1}}}
	w.turn(ipc.TypeAck, ack.Append(nil))
	p := ipc.Publish{Head: h, RoutingKey: "all", Batch: batch(2), DueMS: w.now + 10_000}
	w.turn(ipc.TypePublish, publishRecord(&p))
	for _, key := range []string{"done", "open"} {
		w.turn(ipc.TypeBeginTxn, (&ipc.BeginTxn{Head: h, Group: "producers", Key: key, CheckMS: 7000}).Append(nil))
		a := ipc.Append{Head: h, Index: part, Batch: batch(1), Txn: w.c.lastTxn}
		w.turn(ipc.TypeAppend, appendRecord(&a))
	}
	done := w.c.txns.keys()[0]
	w.turn(ipc.TypeEndTxn, (&ipc.EndTxn{Head: h, Txn: done, Commit: true}).Append(nil))
}

// TestGolden freezes the checkpoint's format, byte by byte.
func TestGolden(t *testing.T) {
	c := smallState(t)
	blob := c.Checkpoint(nil)
	const settings = `durable:1 exclusive:1 autoDelete:1 singleActive:1 maxPriority:1 overflow:1
		maxMessages:1 n:8 maxBytes:1 n:8 messageTTL:1 n:8 expires:1 n:8 deliveryLimit:1 n:8 rewind:1 n:8
		deadLetter:1 exchange:s keepKey:1 key:s topic:s filterKind:1 filter:s type:1 arguments:s `
	golden.Check(t, "state_v4", `
		magic:4 version:2 zero:2 lsn:v term:v nonce:8 pos:v timeMS:v shard:v lastID:v lastPID:v lastTxn:v
		topics:v name:s id:v uuid:16 level:1 configs:v createdMS:v turn:v
			partitions:v id:v next:v id:v next:v
		queues:v
			name:s id:v level:1 `+settings+`used:1 doomed:1 lease:v cursors:v
				index:v number:v next:v floor:v set:1 attempts:v leases:v dead:v gap:v length:v reason:1
				deadlines:v gap:v length:v due:v weights:v gap:v length:v bytes:v ages:v timeMS:v next:v
				index:v number:v next:v floor:v set:1 attempts:v leases:v dead:v
				deadlines:v gap:v length:v due:v weights:v gap:v length:v bytes:v ages:v timeMS:v next:v
				index:v number:v next:v floor:v set:1 attempts:v leases:v gap:v length:v lease:v until:v epoch:v req:v dead:v
				deadlines:v gap:v length:v due:v weights:v gap:v length:v bytes:v ages:v timeMS:v next:v
			name:s id:v level:1 `+settings+`owner.nonce:8 owner.epoch:v owner.conn:v used:1 doomed:1 lease:v cursors:v
				index:v number:v next:v floor:v set:1 attempts:v leases:v dead:v deadlines:v weights:v ages:v
			name:s id:v level:1 `+settings+`used:1 doomed:1 lease:v cursors:v
				index:v number:v next:v floor:v set:1 runs:v gap:v length:v attempts:v first:v length:v attempts:v leases:v dead:v deadlines:v weights:v ages:v
			name:s id:v level:1 `+settings+`used:1 doomed:1 lease:v cursors:v
				index:v number:v next:v floor:v set:1 base:v words:v word:8 attempts:v leases:v dead:v deadlines:v weights:v ages:v
			name:s id:v level:1 `+settings+`used:1 doomed:1 lease:v cursors:v
				index:v number:v floor:v set:1 attempts:v leases:v dead:v deadlines:v weights:v ages:v
				index:v number:v floor:v set:1 attempts:v leases:v dead:v deadlines:v weights:v ages:v
		exchanges:v id:v name:s type:1 durable:1 autoDelete:1 internal:1 alternate:s hashHeader:s delayed:1 arguments:s
		bindings:v exchange:s queue:s toExchange:1 routingKey:s matchAny:1 withX:1 headers:v key:s value:s present:v name:s arguments:s
		producers:v id:v epoch:v used:v lanes:v to:v epoch:v next:v accepted:v kept:v first:v last:v result:v
		groups:v
			name:s type:1 epoch:v emptyMS:v stale:1 offsets:v protocolType:s protocol:s leader:s synced:1
				members:v id:s instance:s clientID:s clientHost:s sessionMS:4 rebalanceMS:4 protocols:v name:s metadata:s assignment:s
			name:s type:1 epoch:v emptyMS:v stale:1 offsets:v index:v offset:v metadata:s leader:v
			name:s type:1 epoch:v emptyMS:v stale:1 offsets:v members:v
				id:s instance:s clientID:s clientHost:s sessionMS:v rebalanceMS:v epoch+2:v before:v assignor:s topics:v topic:s
					target:v id:v assigned:v id:v revoking:v id:v
				id:s instance:s clientID:s clientHost:s sessionMS:v rebalanceMS:v epoch+2:v before:v assignor:s topics:v topic:s
					target:v id:v assigned:v revoking:v
			name:s type:1 epoch:v emptyMS:v stale:1 offsets:v members:v
				id:s instance:s clientID:s clientHost:s sessionMS:v rebalanceMS:v epoch+2:v before:v assignor:s topics:v topic:s
					target:v id:v id:v assigned:v id:v id:v revoking:v
		limbos:v class:1 index:v next:v floor:v set:1 delayed:v gap:v length:v due:v ttl:v weight:v priority:1 dests:v dest:v
			class:1 index:v next:v floor:v set:1 delayed:v
		txns:v id:v group:s key:s owner.nonce:8 owner.epoch:v owner.conn:v begun:v check:v next:v checks:v doomed:1
			parts:v offset:v count:v weight:v ttl:v partition:v exchange:v note.more:v note.exchange:s note.key:s note.headers:v note.priority:1 note.deaths:v
		ended:v id:v committed:1 queues:v
		settings:v group:s list:v name:s value:s
		definitions:v kind:1 vhost:s name:s item:s values:v
			kind:1 vhost:s name:s item:s values:v`+strings.Repeat(" key:s text:s number:8 isNumber:1", 5)+`
			kind:1 vhost:s name:s item:s values:v`+strings.Repeat(" key:s text:s number:8 isNumber:1", 3)+`
		txnals:v
			id:s producer:v epoch:v used:v lanes:v to:v epoch:v next:v accepted:v kept:v first:v last:v result:v lastEpoch+1:v timeoutMS:v usedMS:v phase:1
			id:s producer:v epoch:v used:v lanes:v to:v epoch:v next:v accepted:v kept:v first:v last:v result:v lastEpoch+1:v timeoutMS:v usedMS:v phase:1
				begunMS:v parts:v index:v first+1:v index:v none:v groups:v group:s held:v group:s offsets:v index:v offset:v metadata:s leader:v
		partitions:v index:v aborted:v producer:v first:v length:v index:v aborted:v
		handing.nonce:8 handing.epoch:v`, blob)
	l, err := Load(Config{}, golden.Read(t, "state_v4"))
	if err != nil {
		t.Fatal(err)
	}
	if string(l.Checkpoint(nil)) != string(blob) {
		t.Error("the golden file loads as another state")
	}
}

// TestLoadRefuses: a checkpoint cut short anywhere, or with one byte behind it, is refused
// with an error that says what it is.
func TestLoadRefuses(t *testing.T) {
	blob := smallState(t).Checkpoint(nil)
	for n := range blob {
		if _, err := Load(Config{}, blob[:n]); !errors.Is(err, ErrCheckpoint) {
			t.Fatalf("%d of %d bytes: %v", n, len(blob), err)
		}
	}
	if _, err := Load(Config{}, append(blob, 0)); !errors.Is(err, ErrCheckpoint) {
		t.Fatalf("a byte behind the end: %v", err)
	}
	blob[4]++
	if _, err := Load(Config{}, blob); !errors.Is(err, ErrCheckpoint) || !strings.Contains(err.Error(), fmt.Sprintf("version %d", snapshotVersion+1)) {
		t.Fatalf("another version: %v", err)
	}
}

// TestReplayRefuses: entries that do not follow from the state.
func TestReplayRefuses(t *testing.T) {
	batch := journal.Appended{Index: 99, Count: 1, ProducerID: journal.NoProducer}
	stranger := journal.ProducersExpired{IDs: []int64{5}}
	for name, e := range map[string]journal.Entry{
		"a gap":           {LSN: 3},
		"again":           {LSN: 0},
		"another shard":   {LSN: 1, Shard: 1},
		"unknown index":   {LSN: 1, Events: batch.Append(nil)},
		"unknown id":      {LSN: 1, Events: stranger.Append(nil)},
		"no event at all": {LSN: 1, Events: []byte("nonsense")},
	} {
		if err := New(Config{}).Replay(&e); err == nil {
			t.Errorf("%s: applied", name)
		}
	}
	w := newWorld(t, Config{})
	w.queue("q", ipc.LevelDisk)
	old := *w.log[0]
	old.LSN, old.Term, old.Events = 2, 0, nil
	if err := w.rebuilt().Replay(&old); !errors.Is(err, ErrReplay) {
		t.Errorf("an older term: %v", err)
	}
	again := *w.log[0]
	again.LSN = 2
	if err := w.rebuilt().Replay(&again); !errors.Is(err, ErrReplay) {
		t.Errorf("a queue created twice: %v", err)
	}
}

// TestWrongOrderPanics: what the shell must not do is our own bug, and says so.
func TestWrongOrderPanics(t *testing.T) {
	for name, wrong := range map[string]func(c *Core){
		"step before begin":      func(c *Core) { c.Step(1, Input{}) },
		"begin twice":            func(c *Core) { c.Begin(1, testNonce, 0, 0); c.Begin(2, testNonce, 0, 0) },
		"a term that was":        func(c *Core) { c.term = 5; c.Begin(5, testNonce, 0, 0) },
		"replay within a term":   func(c *Core) { c.Begin(1, testNonce, 0, 0); _ = c.Replay(&journal.Entry{LSN: 1}) },
		"checkpoint in mid-turn": func(c *Core) { c.Begin(1, testNonce, 0, 0); c.Step(1, Input{}); c.Checkpoint(nil) },
	} {
		func() {
			defer func() {
				if _, ok := recover().(invariant.Failure); !ok {
					t.Errorf("%s: not refused", name)
				}
			}()
			wrong(New(Config{}))
		}()
	}
}

// TestRefuse: an input that was given up is refused, and stays so after a restart.
func TestRefuse(t *testing.T) {
	w := newWorld(t, Config{})
	index := w.topic("t", 1, ipc.LevelPage)
	m := ipc.Append{Head: ipc.Head{Epoch: 1, Conn: 1, Req: 7}, Index: index, Batch: batch(1)}
	in := w.put(ipc.TypeAppend, appendRecord(&m))
	given := in
	given.Refuse = "given up"
	w.c.Step(w.now, given)
	check := func(what string) {
		t.Helper()
		_, out := w.end()
		last := out[len(out)-1]
		if e, err := ipc.DecodeError(last.Record); err != nil || last.Type != ipc.TypeError || errcode.Code(e.Code) != errcode.Internal || e.Text != "given up" {
			t.Fatalf("%s: %s", what, traceOutput(last))
		}
	}
	check("live")
	w.kill(in.Pos, 0)
	check("after the restart")
	if ix, _ := w.c.indexes.get(index); ix.next != 0 {
		t.Fatal("it was stored")
	}
	// A soft input as well.
	in = w.put(ipc.TypeSubscribe, (&ipc.Subscribe{Head: m.Head, Sub: 1, Queue: index}).Append(nil))
	given = in
	given.Refuse = "given up"
	w.c.Step(w.now, given)
	check("soft, live")
	w.kill(in.Pos, 0)
	check("soft, after the restart")
}

// TestTurnFull: a turn of large effects asks for its end before its entry has outgrown
// MaxEntryBytes, and one input adds less than half of that.
func TestTurnFull(t *testing.T) {
	cfg := Config{MaxTargets: 500, MaxEntryBytes: 128 << 10}
	w := newWorld(t, cfg)
	w.admin(admin.CmdCreateExchange, &admin.CreateExchange{Name: "x", Type: admin.Fanout})
	for i := range 500 {
		name := "q" + string(rune('a'+i/26)) + string(rune('a'+i%26))
		w.queue(name, ipc.LevelPage)
		w.admin(admin.CmdCreateBinding, &admin.CreateBinding{Exchange: "x", Queue: name})
	}
	m := ipc.Publish{Head: ipc.Head{Epoch: 1, Conn: 1, Req: 7}, Exchange: "x", Batch: batch(1)}
	steps := 0
	for !w.c.TurnFull() {
		w.step(ipc.TypePublish, publishRecord(&m))
		steps++
	}
	size := w.c.TurnBytes()
	e, _ := w.end()
	if ring := len(e.AppendRing(nil)); steps < 2 || ring > cfg.MaxEntryBytes || ring < size {
		t.Fatalf("%d steps, %d bytes foreseen, %d in the ring", steps, size, ring)
	}
	if w.c.TurnFull() || w.c.TurnBytes() != 0 {
		t.Fatal("a new turn is full")
	}
}

// TestSettings lists every index with its topic's retention.
func TestSettings(t *testing.T) {
	w := newWorld(t, Config{})
	w.admin(admin.CmdCreateTopic, &admin.CreateTopic{Name: "t", Partitions: 1, RetentionMS: 5, RetentionBytes: 6})
	w.queue("q", ipc.LevelDisk)
	got := w.c.Settings()
	if len(got) != 2 || got[0] != (ipc.IndexSettings{Index: 2, RetentionMS: 5, RetentionBytes: 6}) || got[1] != (ipc.IndexSettings{Index: 3}) {
		t.Fatalf("%+v", got)
	}
	if nonce, pos := w.c.Position(); nonce != w.nonce || pos != w.pos {
		t.Fatalf("position %d %x, want %d", pos, nonce, w.pos)
	}
	if s := w.c.Stats(); s.Partitions != 1 || s.Queues != 1 || s.Inputs != 2 || w.c.Term() != 1 {
		t.Fatalf("%+v", s)
	}
}

// TestSequences: the ring of sequence numbers, its end and what looks old.
func TestSequences(t *testing.T) {
	const top = 1<<31 - 1
	if sequence(top, 1) != 0 || sequence(top-1, 4) != 2 || behind(2, top) != 3 || behind(5, 5) != 0 {
		t.Fatal("sequence numbers do not wrap from MaxInt32 to 0")
	}
	l := lane{next: 1, accepted: 4, n: 1}
	l.kept[0] = keptBatch{top - 2, 0, 77} // 4 records: top-2, top-1, top, 0
	for _, k := range []struct {
		base  int32
		count uint32
		want  standing
	}{
		{top - 2, 4, repeated},
		{top - 2, 2, outdated}, // of another cut, but stored all the same
		{top, 2, outdated},
		{top - 3, 4, gap}, // reaches back beyond what was ever taken in
		{0, 2, gap},       // half of it is new
		{2, 1, gap},
	} {
		if got, _ := l.recall(&ipc.BatchMeta{BaseSeq: k.base, Count: k.count}); got != k.want {
			t.Errorf("sequence %d, %d records: %d, want %d", k.base, k.count, got, k.want)
		}
	}
}

// TestSequencesOfALongLane: a lane that has counted once round the ring knows an old number from
// one that lies ahead all the same: a batch that overtook its predecessor must not be called stored.
func TestSequencesOfALongLane(t *testing.T) {
	l := lane{next: 1000, accepted: 1 << 32}
	if got, _ := l.recall(&ipc.BatchMeta{BaseSeq: 1010, Count: 10}); got != gap {
		t.Errorf("a batch that lies ahead: %d, want %d", got, gap)
	}
	if got, _ := l.recall(&ipc.BatchMeta{BaseSeq: 900, Count: 10}); got != outdated {
		t.Errorf("a batch of old: %d, want %d", got, outdated)
	}
}

// TestSmallEntries: with a small ring limits are small, and entries stay below it whatever
// comes in: many names and offsets, topics of many partitions, wide fan-outs.
func TestSmallEntries(t *testing.T) {
	cfg := Config{MaxEntryBytes: 8 << 10}
	w := newWorld(t, cfg)
	w.attach(1)
	largest := 0
	run := func(typ ipc.Type, payload []byte) {
		for w.c.TurnFull() {
			e, _ := w.end()
			largest = max(largest, len(e.AppendRing(nil)))
		}
		w.step(typ, payload)
	}
	command := func(cmd admin.Command, body interface{ Append([]byte) []byte }) {
		m := ipc.Admin{Head: ipc.Head{Epoch: 1, Conn: 1, Req: 1}, Command: uint16(cmd), Body: body.Append(nil)}
		run(ipc.TypeAdmin, m.Append(nil))
	}
	command(admin.CmdCreateExchange, &admin.CreateExchange{Name: "x", Type: admin.Fanout})
	for i := range 300 {
		name := "q" + string(rune('a'+i/26)) + string(rune('a'+i%26))
		command(admin.CmdCreateQueue, &admin.CreateQueue{Name: name, Level: ipc.LevelPage})
		command(admin.CmdCreateBinding, &admin.CreateBinding{Exchange: "x", Queue: name})
		command(admin.CmdCreateTopic, &admin.CreateTopic{Name: "t" + name, Partitions: uint32(i)})
		m := ipc.Publish{Head: ipc.Head{Epoch: 1, Conn: 1, Req: 7}, Exchange: "x", Batch: batch(1)}
		run(ipc.TypePublish, publishRecord(&m))
		commit := ipc.CommitOffsets{Head: ipc.Head{Epoch: 1, Conn: 1, Req: 7}, Group: "g"}
		ack := ipc.Ack{Head: commit.Head, Queue: 2, Index: 2, Verdict: ipc.VerdictAck}
		for range 10 * i {
			commit.Offsets = append(commit.Offsets, ipc.OffsetCommit{Index: 9, Metadata: "metadata"})
			ack.Ranges = append(ack.Ranges, ipc.Range{Count: 1})
		}
		run(ipc.TypeCommit, commit.Append(nil))
		run(ipc.TypeAck, ack.Append(nil))
	}
	if e, _ := w.end(); e != nil {
		largest = max(largest, len(e.AppendRing(nil)))
	}
	if largest < cfg.MaxEntryBytes/2 || largest > cfg.MaxEntryBytes+journal.RingHeaderSize {
		t.Fatalf("the largest entry has %d bytes", largest)
	}
}

// TestTextTellsAll: states whose checkpoints differ have different texts, byte by byte of a state
// that has something of everything.
func TestTextTellsAll(t *testing.T) {
	blob := smallState(t).Checkpoint(nil)
	text := func(c *Core) string { return string(c.Text(nil)) }
	whole, err := Load(Config{}, blob)
	if err != nil {
		t.Fatal(err)
	}
	if text(whole) != text(smallState(t)) {
		t.Error("the state as it was loaded, and as it lived, read differently")
	}
	loaded := 0
	for i := range blob {
		for _, flip := range []byte{1, 2, 0x20, 0x80} {
			other := append([]byte(nil), blob...)
			other[i] ^= flip
			c, err := Load(Config{}, other)
			if err != nil {
				continue
			}
			loaded++
			if again := c.Checkpoint(nil); string(again) != string(blob) && text(c) == text(whole) {
				t.Errorf("byte %d, %#x: the text does not show it", i, flip)
			}
		}
	}
	if loaded < 100 {
		t.Fatalf("only %d states were compared", loaded)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(text(whole)) {
		if seen[line] {
			t.Errorf("twice: %s", line)
		}
		seen[line] = true
	}
}
