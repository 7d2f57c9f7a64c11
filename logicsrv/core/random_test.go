package core

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// inputs makes random inputs over few names and numbers, so that they meet.
type inputs struct {
	*rand.Rand
	req uint64
	seq map[[2]uint64]int32 // producer and index or exchange: the sequence to send next
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

func (g *inputs) command() (admin.Command, []byte) {
	queue, exchange, topic := g.pick("q1", "q2", "q3"), g.pick("", "x1", "x2", "x3", "x4"), g.pick("t1", "t2")
	binding := admin.CreateBinding{Exchange: exchange, Queue: g.pick(queue, topic), RoutingKey: g.pick("a", "a.*", "#", "")}
	if g.IntN(3) == 0 {
		binding.MatchAny, binding.Headers = g.IntN(2) == 0, []ipc.Header{{Key: "h", Value: g.pick("1", "2")}}
	}
	gone := admin.Delete{IfUnused: g.IntN(3) == 0, IfEmpty: g.IntN(3) == 0}
	switch g.IntN(14) {
	case 0, 1:
		return admin.CmdCreateTopic, (&admin.CreateTopic{Name: topic, Partitions: uint32(g.IntN(4)), Level: ipc.Level(g.IntN(4))}).Append(nil)
	case 2, 3, 4:
		return admin.CmdCreateQueue, (&admin.CreateQueue{Name: queue, Level: ipc.Level(g.IntN(4)), Durable: g.IntN(2) == 0}).Append(nil)
	case 5, 6:
		return admin.CmdCreateExchange, (&admin.CreateExchange{Name: exchange, Type: admin.ExchangeType(g.IntN(5))}).Append(nil)
	case 7, 8, 9:
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
	return admin.CmdDescribe, (&admin.Describe{Kind: admin.Kind(g.IntN(7)), Max: uint32(g.IntN(3))}).Append(nil)
}

// hard makes an input whose effect on hard state does not depend on soft state.
func (g *inputs) hard() (ipc.Type, []byte) {
	h := g.head()
	switch g.IntN(9) {
	case 0, 1:
		m := ipc.Append{Head: h, Index: g.index(), Level: g.level()}
		m.Batch = g.batch(m.Index)
		return ipc.TypeAppend, appendRecord(&m)
	case 2, 3, 4:
		m := ipc.Publish{Head: h, Level: g.level(), Mandatory: g.IntN(3) == 0, Exchange: g.pick("", "", "x1", "x2", "x3", "x4"), RoutingKey: g.pick("q1", "q2", "q3", "t1", "a", "a.b", "")}
		if g.IntN(2) == 0 {
			m.Headers = []ipc.Header{{Key: "h", Value: g.pick("1", "2")}}
		}
		m.Batch = g.batch(1 << 20)
		return ipc.TypePublish, publishRecord(&m)
	case 5:
		verdict := ipc.VerdictAck
		if g.IntN(4) == 0 {
			verdict = ipc.VerdictReject
		}
		return ipc.TypeAck, (&ipc.Ack{Head: h, Sub: 1, Index: g.index(), Verdict: verdict, Ranges: g.ranges()}).Append(nil)
	case 6:
		return ipc.TypeCommit, (&ipc.CommitOffsets{Head: h, Group: g.pick("g1", "g2", ""), Level: g.level(), Offsets: []ipc.OffsetCommit{{Index: g.index(), Offset: g.Uint64N(50), Metadata: g.pick("", "m")}}}).Append(nil)
	case 7:
		m := ipc.InitProducer{Head: h, ProducerID: int64(g.IntN(5) - 1), Epoch: int16(g.IntN(3) - 1)}
		return ipc.TypeInitProducer, m.Append(nil)
	}
	cmd, body := g.command()
	return ipc.TypeAdmin, (&ipc.Admin{Head: h, Command: uint16(cmd), Body: body}).Append(nil)
}

// any makes any input, damaged ones among them.
func (g *inputs) any(w *world) (ipc.Type, []byte) {
	h, sub := g.head(), uint64(1+g.IntN(2))
	var typ ipc.Type
	var b []byte
	switch g.IntN(20) {
	case 0, 1:
		typ, b = ipc.TypeSubscribe, (&ipc.Subscribe{Head: h, Sub: sub, Index: g.index(), Limit: g.Uint64N(20), AutoAck: g.IntN(4) == 0, Exclusive: g.IntN(6) == 0}).Append(nil)
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
		typ, b = ipc.TypeAck, (&ipc.Ack{Head: h, Sub: sub, Index: g.index(), Verdict: ipc.VerdictRequeue, Ranges: g.ranges()}).Append(nil)
	case 10:
		typ, b = ipc.TypeResyncEnd, (&ipc.ResyncEnd{Head: h, Term: w.term, Ask: w.c.ask, Loops: 1}).Append(nil)
	case 11:
		typ, b = ipc.TypeSubState, (&ipc.SubState{Head: h, Term: w.term, Ask: w.c.ask, Sub: sub, Index: g.index(), Limit: g.Uint64N(50), InHand: g.ranges()}).Append(nil)
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
					w.kill(w.pos, 0)
					if g.IntN(2) == 0 {
						w.resync(1)
					}
				}
				checkSoft(t, w.c)
			}
		})
	}
}

// checkSoft checks the invariants between consumers, queues and what is in hand.
func checkSoft(t *testing.T, c *Core) {
	t.Helper()
	for name, ix := range c.queues.all {
		q := ix.queue
		if q.floor > ix.next || ix.visible > ix.next || q.acked.has(q.floor) {
			t.Fatalf("%s: floor %d visible %d next %d", name, q.floor, ix.visible, ix.next)
		}
		if ix.next > 1<<14 {
			continue // a fuzzed count; what follows looks at every offset
		}
		held := map[uint64]*consumer{}
		owners := append(slices.Clone(q.consumers), c.returning...)
		for _, k := range owners {
			if k.ix != ix {
				continue
			}
			for first, next := range k.held.runs {
				for x := first; x < next; x++ {
					if held[x] != nil {
						t.Fatalf("%s: offset %d in two hands", name, x)
					}
					held[x] = k
				}
			}
		}
		for first, next := range q.inHand.runs {
			for x := first; x < next; x++ {
				if held[x] == nil || x < q.floor || q.acked.has(x) {
					t.Fatalf("%s: offset %d in hand, of nobody or acknowledged; floor %d", name, x, q.floor)
				}
			}
		}
		for x, k := range held {
			if done := x < q.floor || q.acked.has(x); !done && !q.inHand.has(x) {
				t.Fatalf("%s: offset %d held by %v, but not in hand", name, x, k.subID)
			}
		}
		for x := q.floor; x < min(q.scan, ix.next); x++ {
			if !q.acked.has(x) && !q.inHand.has(x) {
				t.Fatalf("%s: offset %d lies below scan %d, ready", name, x, q.scan)
			}
		}
	}
	checkGroups(t, c)
	for req, wait := range c.waits {
		if wait.head.Req != req || wait.ix.gone || wait.beyond < wait.ix.visible {
			t.Fatalf("wait %d beyond %d of index %d, visible %d", req, wait.beyond, wait.ix.id, wait.ix.visible)
		}
	}
}
