package core

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
	"github.com/trimq/trimq/protocol/topicconf"
)

// inputs makes random inputs over few names and numbers, so that they meet.
type inputs struct {
	*rand.Rand
	req uint64
	seq map[[2]uint64]int32 // producer and index or exchange: the sequence to send next

	quiet bool  // nothing that the clock or the end of a turn has a say in
	nowMS int64 // the world's

	txns, leases []uint64 // open ones
	core         *Core    // whose producers are known; nil: none are
}

func newInputs(seed uint64) *inputs {
	return &inputs{Rand: rand.New(rand.NewPCG(seed, 1)), seq: map[[2]uint64]int32{}}
}

func (g *inputs) head() ipc.Head {
	g.req++
	h := ipc.Head{Epoch: 1, Conn: 256 * uint64(1+g.IntN(3)), Req: g.req}
	if g.IntN(5) == 0 {
		h.Req = 0
	}
	return h
}

func (g *inputs) pick(names ...string) string { return names[g.IntN(len(names))] }

func (g *inputs) level() ipc.Level { return ipc.Level(g.IntN(5)) }

func (g *inputs) index() uint64 { return uint64(1 + g.IntN(14)) }

// batch is one of a producer's: mostly the next one, sometimes an old or a wrong one.
func (g *inputs) batch(to uint64) ipc.BatchMeta {
	b := ipc.BatchMeta{Count: uint32(1 + g.IntN(4)), Length: 61 + uint32(g.IntN(50)), ProducerID: journal.NoProducer}
	if g.IntN(2) == 0 {
		return b
	}
	b.ProducerID = int64(1 + g.IntN(3))
	k := [2]uint64{uint64(b.ProducerID), to}
	b.BaseSeq = g.seq[k]
	switch g.IntN(6) {
	case 0:
		b.BaseSeq = max(0, b.BaseSeq-int32(g.IntN(9)))
	case 1:
		b.Epoch = int16(g.IntN(3))
	default:
		g.seq[k] = sequence(b.BaseSeq, b.Count)
	}
	return b
}

func (g *inputs) ranges() []ipc.Range {
	out := make([]ipc.Range, g.IntN(4))
	for i := range out {
		out[i] = ipc.Range{First: uint64(g.IntN(40)), Count: uint32(g.IntN(5))}
	}
	return out
}

func (g *inputs) held() (out []ipc.Held) {
	index := g.index()
	for _, r := range g.ranges() {
		out = append(out, ipc.Held{Index: index, Range: r})
	}
	return out
}

func (g *inputs) command() (admin.Command, []byte) {
	queue, exchange, topic := g.pick("q1", "q2", "q3"), g.pick("", "x1", "x2", "x3", "x4", "amq.topic"), g.pick("t1", "t2")
	binding := g.binding(exchange, queue, topic)
	gone := admin.Delete{IfUnused: g.IntN(3) == 0, IfEmpty: g.IntN(3) == 0}
	switch g.IntN(16) {
	case 0, 1:
		return admin.CmdCreateTopic, (&admin.CreateTopic{Name: topic, Partitions: uint32(g.IntN(4)), Level: ipc.Level(g.IntN(4))}).Append(nil)
	case 2, 3, 4:
		m := admin.CreateQueue{Name: queue, Level: ipc.Level(g.IntN(4)), QueueSettings: g.plain()}
		if !g.quiet {
			m.QueueSettings = g.settings()
		}
		if !g.quiet && g.IntN(6) == 0 {
			m.Topic, m.From, m.Level = topic, admin.From(g.IntN(2)), ipc.LevelUnset
		}
		return admin.CmdCreateQueue, m.Append(nil)
	case 5, 6, 14:
		m := g.exchange(exchange)
		return admin.CmdCreateExchange, m.Append(nil)
	case 7, 8, 9, 15:
		return admin.CmdCreateBinding, binding.Append(nil)
	case 10:
		return admin.CmdDeleteBinding, binding.Append(nil)
	case 11:
		return admin.CmdAddPartitions, (&admin.AddPartitions{Name: topic, Total: uint32(g.IntN(6))}).Append(nil)
	case 12:
		switch g.IntN(6) {
		case 0:
			gone.Name = topic
			return admin.CmdDeleteTopic, gone.Append(nil)
		case 1:
			gone.Name = queue
			return admin.CmdDeleteQueue, gone.Append(nil)
		case 2, 3:
			gone.Name = exchange
			return admin.CmdDeleteExchange, gone.Append(nil)
		}
	}
	switch g.IntN(5) {
	case 3:
		m := admin.AlterTopic{Name: topic, Replace: g.IntN(4) == 0, Changes: []topicconf.Change{{
			Op: topicconf.Op(g.IntN(4)), Key: g.pick(topicconf.RetentionMS, topicconf.MaxMessageBytes, topicconf.CleanupPolicy), Value: g.pick("77", "100", "compact"),
		}}}
		return admin.CmdAlterTopic, m.Append(nil)
	case 4:
		return admin.CmdDeleteRecords, (&admin.DeleteRecords{To: []admin.SeekTo{{Index: g.index(), Offset: g.Uint64N(20)}}}).Append(nil)
	case 0:
		return admin.CmdPurge, (&admin.Purge{Name: queue}).Append(nil)
	case 1:
		return admin.CmdSeek, (&admin.Seek{Name: queue, To: []admin.SeekTo{{Index: g.index(), Offset: g.Uint64N(20)}}}).Append(nil)
	}
	return admin.CmdDescribe, (&admin.Describe{Kind: admin.Kind(g.IntN(9)), Max: uint32(g.IntN(3))}).Append(nil)
}

// settings are some of a queue's properties, few of them at a time.
func (g *inputs) settings() (m admin.QueueSettings) {
	m.Durable = g.IntN(2) == 0
	for range g.IntN(4) {
		switch g.IntN(11) {
		case 0:
			m.MaxPriority = uint8(g.IntN(4))
		case 1:
			m.MaxMessages, m.Overflow = admin.Some(g.Uint64N(8)), admin.Overflow(g.IntN(3))
		case 2:
			m.MaxBytes, m.Overflow = admin.Some(g.Uint64N(300)), admin.Overflow(g.IntN(3))
		case 3:
			m.MessageTTLMS = admin.Some(g.Uint64N(3) * graceMS / 2)
		case 4:
			m.ExpiresMS = admin.Some(1 + g.Uint64N(3*graceMS))
		case 5, 6:
			m.DeadLetter, m.DeadLetterExchange, m.KeepKey = true, g.pick("", "x1", "x2"), true
			if g.IntN(2) == 0 {
				m.KeepKey, m.DeadLetterKey = false, g.pick("q1", "q2", "q3", "a")
			}
		case 7:
			m.DeliveryLimit = admin.Some(g.Uint64N(3))
		case 8:
			m.SingleActive = true
		case 9:
			m.RewindMS = admin.Some(1 + g.Uint64N(2*graceMS))
		case 10:
			if m.AutoDelete = g.IntN(2) == 0; !m.AutoDelete {
				m.Exclusive = true
			}
		}
	}
	return m
}

// plain are the properties of a queue about which the end of a turn decides nothing.
func (g *inputs) plain() admin.QueueSettings { return admin.QueueSettings{Durable: g.IntN(2) == 0} }

func (g *inputs) exchange(name string) admin.CreateExchange {
	m := admin.CreateExchange{Name: name, Type: admin.ExchangeType(g.IntN(7)), Durable: g.IntN(2) == 0, AutoDelete: g.IntN(3) == 0, Internal: g.IntN(6) == 0}
	if g.IntN(3) == 0 {
		m.Alternate = g.pick("x1", "x2", "x3", "none")
	}
	if g.IntN(6) == 0 {
		m.HashHeader = "h"
	}
	return m
}

func (g *inputs) binding(exchange, queue, topic string) admin.CreateBinding {
	m := admin.CreateBinding{Exchange: exchange, Queue: g.pick(queue, topic), RoutingKey: g.pick("a", "a.*", "#", "", "1", "2")}
	if g.IntN(3) == 0 {
		m.Queue, m.ToExchange = g.pick("x1", "x2", "x3", "x4", ""), true
	}
	if g.IntN(3) == 0 {
		m.MatchAny, m.Headers = g.IntN(2) == 0, []ipc.Header{{Key: g.pick("h", "x-h"), Value: g.pick("1", "2")}}
	}
	if g.IntN(6) == 0 {
		m.WithX, m.Present = g.IntN(2) == 0, []string{g.pick("h", "x-h")}
	}
	return m
}

// hard makes an input whose effect on hard state does not depend on soft state.
func (g *inputs) hard() (ipc.Type, []byte) {
	h := g.head()
	switch g.IntN(12) {
	case 9, 10, 11:
		return g.txnal(h)
	case 0, 1:
		m := ipc.Append{Head: h, Index: g.index(), Level: g.level()}
		m.Batch = g.batch(m.Index)
		return ipc.TypeAppend, appendRecord(&m)
	case 2, 3, 4:
		m := ipc.Publish{Head: h, Level: g.level(), Mandatory: g.IntN(3) == 0, Exchange: g.pick("", "", "x1", "x2", "x3", "x4"), RoutingKey: g.pick("q1", "q2", "q3", "t1", "a", "a.b", "")}
		if g.IntN(2) == 0 {
			m.Headers = []ipc.Header{{Key: g.pick("h", "x-h"), Value: g.pick("1", "2")}}
		}
		g.options(&m)
		m.Batch = g.batch(1 << 20)
		return ipc.TypePublish, publishRecord(&m)
	case 5:
		verdict := ipc.VerdictAck
		if g.IntN(4) == 0 {
			verdict = ipc.VerdictReject
		}
		m := ipc.Ack{Head: h, Sub: 1, Queue: g.index(), Verdict: verdict, Ranges: g.ranges()}
		if m.Index = m.Queue; g.IntN(6) == 0 {
			m.Index = g.index()
		}
		return ipc.TypeAck, m.Append(nil)
	case 6:
		return ipc.TypeCommit, (&ipc.CommitOffsets{Head: h, Group: g.pick("g1", "g2", ""), Level: g.level(), Offsets: []ipc.OffsetCommit{{Index: g.index(), Offset: g.Uint64N(50), Metadata: g.pick("", "m"), Leader: uint32(g.IntN(3))}}}).Append(nil)
	case 7:
		m := ipc.InitProducer{Head: h, ProducerID: int64(g.IntN(5) - 1), Epoch: int16(g.IntN(3) - 1)}
		return ipc.TypeInitProducer, m.Append(nil)
	}
	cmd, body := g.command()
	return ipc.TypeAdmin, (&ipc.Admin{Head: h, Command: uint16(cmd), Body: body}).Append(nil)
}

// txnal makes inputs of transactional producers, which know their ids mostly, and their epochs often.
func (g *inputs) txnal(h ipc.Head) (ipc.Type, []byte) {
	by := ipc.Txnal{ID: g.pick("shop-1", "shop-2", "shop-3"), ProducerID: g.Int64N(4)}
	if x := g.known(by.ID); x != nil && g.IntN(8) > 0 {
		by.ProducerID, by.Epoch = x.prod.id, x.prod.epoch-int16(g.IntN(8)/7)
	}
	switch g.IntN(9) {
	case 0:
		m := ipc.InitTxnal{Head: h, ID: by.ID, TimeoutMS: uint32(g.IntN(2 * graceMS)), ProducerID: -1, Epoch: -1}
		if g.IntN(2) == 0 {
			m.ProducerID, m.Epoch = by.ProducerID, by.Epoch
		}
		return ipc.TypeInitTxnal, m.Append(nil)
	case 1, 2:
		m := ipc.TxnAdd{Head: h, Txnal: by, Parts: []ipc.TxnPart{{Index: g.index()}, {Index: g.index(), Start: g.Uint64N(10)}}}
		if g.IntN(3) == 0 {
			m.Group = g.pick("g1", "g2")
		}
		return ipc.TypeTxnAdd, m.Append(nil)
	case 3:
		m := ipc.TxnOffsets{
			Head: h, Txnal: by, Group: g.pick("g1", "g2"), Generation: -1, Joins: g.IntN(2) == 0,
			Offsets: []ipc.OffsetCommit{{Index: g.index(), Offset: g.Uint64N(50), Metadata: g.pick("", "m"), Leader: uint32(g.IntN(3))}},
		}
		return ipc.TypeTxnOffsets, m.Append(nil)
	case 4, 5:
		return ipc.TypeTxnFinish, (&ipc.TxnFinish{Head: h, Txnal: by, Commit: g.IntN(2) == 0, Bump: g.IntN(3) == 0}).Append(nil)
	}
	m := ipc.Append{Head: h, Index: g.index(), Batch: g.batch(0), Txnal: ipc.TxnalAdded + ipc.AppendTxnal(g.IntN(2))}
	m.Batch.ProducerID, m.Batch.Epoch = by.ProducerID, by.Epoch
	if x := g.known(by.ID); x != nil {
		m.Batch.BaseSeq = 0
		if l := x.prod.lane(m.Index); l != nil && l.epoch == by.Epoch {
			m.Batch.BaseSeq = l.next
		}
	}
	return ipc.TypeAppend, appendRecord(&m)
}

// known is what the core knows of a transactional id, where the inputs may look.
func (g *inputs) known(id string) *txnal {
	if g.core == nil {
		return nil
	}
	return g.core.txnalOf(id)
}

// options gives a publish what only some have.
func (g *inputs) options(m *ipc.Publish) {
	m.TTLMS, m.Weight = ipc.NoTTL, uint32(g.IntN(100))
	if g.quiet {
		return
	}
	switch g.IntN(8) {
	case 0:
		m.Priority = uint8(g.IntN(6))
	case 1:
		m.TTLMS = g.Int64N(2 * graceMS)
	case 2:
		m.DueMS = g.nowMS + g.Int64N(3*graceMS)
	case 3:
		m.Txn = g.one(g.txns)
	}
}

// pulls makes inputs about leases and transactions.
func (g *inputs) pulls(h ipc.Head) (ipc.Type, []byte) {
	switch g.IntN(8) {
	case 0, 1, 2:
		m := ipc.Pull{Head: h, Sub: 3 + g.Uint64N(2), Queue: g.index(), Max: uint32(1 + g.IntN(4)), Wait: g.IntN(2) == 0}
		if g.IntN(2) == 0 {
			m.InvisibleMS = 1 + g.Uint64N(graceMS)
		}
		return ipc.TypePull, m.Append(nil)
	case 3:
		return ipc.TypePullEnd, (&ipc.PullEnd{Head: h, Target: g.Uint64N(g.req + 1)}).Append(nil)
	case 4:
		m := ipc.Extend{Head: h, Queue: g.index(), Index: g.index(), Offset: g.Uint64N(20), Lease: g.one(g.leases), InvisibleMS: g.Uint64N(2) * graceMS}
		return ipc.TypeExtend, m.Append(nil)
	case 5:
		m := ipc.BeginTxn{Head: h, Group: g.pick("", "p1"), Key: g.pick("k1", "k2"), CheckMS: g.Uint64N(2 * graceMS)}
		return ipc.TypeBeginTxn, m.Append(nil)
	case 6:
		m := ipc.EndTxn{Head: h, Txn: g.one(g.txns), Commit: g.IntN(3) > 0}
		if g.IntN(3) == 0 {
			m.Verdicts = []ipc.TxnVerdict{{Sub: 1, Queue: g.index(), Index: g.index(), Verdict: ipc.VerdictAck, Range: ipc.Range{First: g.Uint64N(20), Count: 1}}}
		}
		return ipc.TypeEndTxn, m.Append(nil)
	}
	return ipc.TypeTxnMember, (&ipc.TxnMember{Head: h, Group: "p1", Join: g.IntN(3) > 0}).Append(nil)
}

// look takes over from the world what inputs are about.
func (g *inputs) look(w *world) {
	g.nowMS, g.core = w.now, w.c
	g.txns = append(g.txns[:0], w.c.txns.keys()...)
	g.leases = g.leases[:0]
	for _, name := range w.c.queues.keys() {
		q, _ := w.c.queues.get(name)
		g.leases = append(g.leases, q.lease)
	}
}

// one is one of them, mostly.
func (g *inputs) one(of []uint64) uint64 {
	if len(of) == 0 || g.IntN(4) == 0 {
		return g.Uint64N(4)
	}
	return of[g.IntN(len(of))]
}

// any makes any input, damaged ones among them.
func (g *inputs) any(w *world) (ipc.Type, []byte) {
	g.look(w)
	h, sub := g.head(), uint64(1+g.IntN(2))
	var typ ipc.Type
	var b []byte
	wants := ipc.Consumer{Exclusive: g.IntN(6) == 0, Priority: int32(g.IntN(2))}
	if g.IntN(4) == 0 {
		wants.AckTimeoutMS = 1 + g.Uint64N(graceMS)
	}
	switch g.IntN(24) {
	case 0, 1:
		typ, b = ipc.TypeSubscribe, (&ipc.Subscribe{Head: h, Sub: sub, Queue: g.index(), Limit: g.Uint64N(20), Consumer: wants}).Append(nil)
	case 20, 21, 22, 23:
		typ, b = g.pulls(h)
	case 2, 3:
		typ, b = ipc.TypeCredit, (&ipc.Credit{Head: h, Sub: sub, Limit: g.Uint64N(60)}).Append(nil)
	case 4:
		typ, b = ipc.TypeUnsubscribe, (&ipc.Unsubscribe{Head: h, Sub: sub}).Append(nil)
	case 5:
		typ, b = ipc.TypeWait, (&ipc.Wait{Head: h, Index: g.index(), Beyond: g.Uint64N(30)}).Append(nil)
	case 6:
		typ, b = ipc.TypeUnwait, (&ipc.Unwait{Head: h, Target: g.Uint64N(g.req + 1)}).Append(nil)
	case 7:
		typ, b = ipc.TypeConnClosed, (&ipc.ConnClosed{Head: h}).Append(nil)
	case 8:
		typ, b = ipc.TypeOffsets, (&ipc.FetchOffsets{Head: h, Group: g.pick("g1", "g2")}).Append(nil)
	case 9:
		typ, b = ipc.TypeAck, (&ipc.Ack{Head: h, Sub: sub, Queue: g.index(), Index: g.index(), Lease: g.Uint64N(2) * g.one(g.leases), Verdict: ipc.VerdictRequeue, Ranges: g.ranges()}).Append(nil)
	case 10:
		typ, b = ipc.TypeResyncEnd, (&ipc.ResyncEnd{Head: h, Term: w.term, Ask: w.c.ask, Loops: 1}).Append(nil)
	case 11:
		typ, b = ipc.TypeSubState, (&ipc.SubState{Head: h, Term: w.term, Ask: w.c.ask, Sub: sub, Queue: g.index(), Limit: g.Uint64N(50), Consumer: wants, InHand: g.held()}).Append(nil)
	case 12, 13, 14, 15:
		typ, b = g.group(w)
	default:
		typ, b = g.hard()
	}
	if g.IntN(12) == 0 && len(b) > 0 { // damage it
		b = bytes.Clone(b)
		switch g.IntN(3) {
		case 0:
			b = b[:g.IntN(len(b))]
		case 1:
			b[g.IntN(len(b))] ^= byte(1 << g.IntN(8))
		default:
			typ = ipc.Type(g.IntN(20) + 40*g.IntN(2))
		}
	}
	return typ, b
}

// TestTurnSizes: the same inputs make the same state however they are cut into turns.
func TestTurnSizes(t *testing.T) {
	for seed := range uint64(60) {
		var want uint64
		for _, size := range []int{1, 3, 50, 1000} {
			w, g := newWorld(t, Config{}), newInputs(seed)
			g.core = w.c
			g.quiet = true
			for i := range 400 {
				w.step(g.hard())
				if i%size == size-1 {
					w.end()
					w.cursors(w.c.LSN(), w.c.LSN())
				}
			}
			w.settle()
			if got := w.rebuilt().Digest(); got != w.c.Digest() {
				t.Fatalf("seed %d turns of %d: digest %x, replayed %x", seed, size, w.c.Digest(), got)
			}
			w.c.lsn, w.c.pos = 0, 0 // of the last entry: all that may differ
			if got := w.c.Digest(); want == 0 {
				want = got
			} else if got != want {
				t.Fatalf("seed %d turns of %d: digest %x, want %x", seed, size, got, want)
			}
		}
	}
}

// TestRandomHistories: anything may come in, turns and cursors and kills and checkpoints fall
// anywhere, and after each step the state hangs together and equals its replay.
func TestRandomHistories(t *testing.T) {
	for seed := range uint64(150) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w, g := newWorld(t, Config{MaxProducers: 3}), newInputs(seed)
			w.attach(1)
			for range 500 {
				w.step(g.any(w))
				if g.IntN(3) == 0 {
					w.end()
					w.now += g.Int64N(2 * graceMS)
				}
				if g.IntN(8) == 0 {
					w.tellNotes()
				}
				switch g.IntN(25) {
				case 0:
					w.cursors(w.written+g.Uint64N(w.c.LSN()-w.written+1), w.synced)
				case 1:
					w.cursors(w.c.LSN(), w.synced+g.Uint64N(w.c.LSN()-w.synced+1))
				case 2:
					w.settle()
				case 3:
					w.settle()
					w.checkpoint()
				case 4:
					w.settle()
					if g.IntN(3) == 0 {
						w.newRings()
					} else {
						w.kill(w.pos, 0)
					}
					if g.IntN(2) == 0 {
						w.resync(1)
					}
				}
				checkSoft(t, w.c)
			}
		})
	}
}

// checkDerived checks that counts and lists agree with what they are made of.
func checkDerived(t *testing.T, c *Core) {
	t.Helper()
	lanes := map[uint64]int{}
	for _, p := range c.producers.byID {
		for i := range p.lanes {
			lanes[p.lanes[i].to]++
		}
	}
	if !maps.Equal(lanes, c.producers.lanesTo) {
		t.Fatalf("lanes %v, counted as %v", lanes, c.producers.lanesTo)
	}
	from, onward, to := map[*exchange]int{}, map[*exchange]int{}, map[*destination]int{}
	for id, b := range c.bindings.all {
		x, d := b.exchange, b.dest
		from[x]++
		to[d]++
		if d.exchange != nil {
			onward[x]++
		}
		info := b.info()
		if x.bindings[b.fromAt] != b || d.bindings[b.toAt] != b || info.Identity() != id || c.exchByID[x.id] != x || c.boundTo(&info) != d {
			t.Fatalf("binding %q is not where it should be", id)
		}
	}
	for name, x := range c.exchanges.all {
		if len(x.bindings) != from[x] || x.onward != onward[x] || len(x.dest.bindings) != to[&x.dest] || c.exchByID[x.id] != x {
			t.Fatalf("exchange %q lists %d bindings from it, %d to exchanges, %d to it", name, len(x.bindings), x.onward, len(x.dest.bindings))
		}
	}
	for name, d := range c.dests {
		if len(d.bindings) != to[d] {
			t.Fatalf("%q lists %d bindings", name, len(d.bindings))
		}
	}
	if len(c.emptied) > 0 || c.exchanges.len() != len(c.exchByID) {
		t.Fatalf("%d exchanges wait for their end; %d by name, %d by id", len(c.emptied), c.exchanges.len(), len(c.exchByID))
	}
}

// checkSoft checks the invariants between consumers, queues and what is in hand.
func checkSoft(t *testing.T, c *Core) {
	t.Helper()
	checkDerived(t, c)
	for name, q := range c.queues.all {
		for _, k := range q.cursors {
			checkCursor(t, c, name, k)
		}
	}
	checkGroups(t, c)
	for req, wait := range c.waits {
		if wait.head.Req != req || wait.ix.gone || wait.beyond < wait.ix.visible {
			t.Fatalf("wait %d beyond %d of index %d, visible %d", req, wait.beyond, wait.ix.id, wait.ix.visible)
		}
	}
}

// checkCursor checks one cursor of a queue: everything that is taken is in one hand, leased or
// dead, nothing of that is done with, and nothing below scan is ready.
func checkCursor(t *testing.T, c *Core, name string, k *cursor) {
	t.Helper()
	ix := k.ix
	if k.floor > ix.next || ix.visible > ix.next || k.acked.has(k.floor) {
		t.Fatalf("%s: floor %d visible %d next %d", name, k.floor, ix.visible, ix.next)
	}
	if ix.next > 1<<14 {
		return // a fuzzed count; what follows looks at every offset
	}
	held := map[uint64]string{}
	owners := append(slices.Clone(k.queue.consumers), k.queue.pullers...)
	for _, r := range c.returning {
		owners = append(owners, r.k)
	}
	note := func(who string, first, next uint64) {
		for x := first; x < next; x++ {
			if held[x] != "" {
				t.Fatalf("%s: offset %d of index %d in two hands, of %s and %s", name, x, ix.id, held[x], who)
			}
			held[x] = who
		}
	}
	for _, o := range owners {
		if h := o.held(k); h != nil {
			for first, next := range h.runs {
				k.pending(first, next, func(first, next uint64) { note(fmt.Sprint(o.subID), first, next) })
			}
		}
	}
	for _, l := range k.leases.list {
		note("lease", l.first, l.next)
	}
	for _, d := range k.dead.list {
		note("death", d.first, d.next)
	}
	for first, next := range k.taken.runs {
		for x := first; x < next; x++ {
			if held[x] == "" || x < k.floor || k.acked.has(x) {
				t.Fatalf("%s: offset %d of index %d taken, by nobody or done with; floor %d", name, x, ix.id, k.floor)
			}
		}
	}
	for x, who := range held {
		if x < k.floor || k.acked.has(x) || !k.taken.has(x) {
			t.Fatalf("%s: offset %d of index %d held by %s, but not taken", name, x, ix.id, who)
		}
	}
	for x := k.floor; x < min(k.scan, ix.next); x++ {
		if !k.acked.has(x) && !k.taken.has(x) {
			t.Fatalf("%s: offset %d of index %d lies below scan %d, ready", name, x, ix.id, k.scan)
		}
	}
}
