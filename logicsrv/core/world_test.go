package core

import (
	"testing"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

const testNonce = 0x7171

// world is a shell for tests: it keeps the ring and the log in slices, so that a core can be
// killed and rebuilt at any point.
type world struct {
	tb   testing.TB
	cfg  Config
	c    *Core
	now  int64
	term uint64
	pos  uint64

	nonce   uint64           // of the ring
	ring    []Input          // all inputs so far
	log     []*journal.Entry // all entries so far
	blob    []byte           // the last checkpoint
	blobLSN uint64

	written, synced uint64
}

func newWorld(tb testing.TB, cfg Config) *world {
	w := &world{tb: tb, cfg: cfg, now: 1_000_000, term: 1, nonce: testNonce}
	w.c = New(cfg)
	w.c.Begin(w.term, w.nonce, 0, 0)
	return w
}

// put appends a record to the ring.
func (w *world) put(typ ipc.Type, payload []byte) Input {
	in := Input{Pos: w.pos, PayloadPos: w.pos + 16, Type: typ, Payload: payload}
	w.pos += 16 + uint64(len(payload)+15)&^15
	w.ring = append(w.ring, in)
	return in
}

// step puts a record into the ring and lets the core read it.
func (w *world) step(typ ipc.Type, payload []byte) { w.c.Step(w.now, w.put(typ, payload)) }

// end closes the turn and keeps its entry.
func (w *world) end() (*journal.Entry, []Output) {
	e, out := w.c.EndTurn(w.now, w.nonce, w.pos)
	if e == nil {
		return nil, out
	}
	kept := *e
	kept.Events = append([]byte(nil), e.Events...)
	kept.Ops = append([]journal.IndexOp(nil), e.Ops...)
	kept.Items = append([]journal.IndexItem(nil), e.Items...)
	kept.Bodies = append([]journal.Body(nil), e.Bodies...)
	kept.Refs = append([]journal.Ref(nil), e.Refs...)
	kept.Inline = append([]byte(nil), e.Inline...)
	w.log = append(w.log, &kept)
	return &kept, out
}

// turn is one input in a turn of its own, with the cursors behind it at once.
func (w *world) turn(typ ipc.Type, payload []byte) []Output {
	w.step(typ, payload)
	_, out := w.end()
	out = copied(out)
	w.cursors(w.c.LSN(), w.c.LSN())
	_, more := w.end()
	return append(out, copied(more)...)
}

// settle ends turns until nothing is left to do.
func (w *world) settle() (out []Output) {
	for range 10_000 {
		w.cursors(w.c.LSN(), w.c.LSN())
		_, o := w.end()
		out = append(out, copied(o)...)
		if !w.c.Busy() && w.written == w.c.LSN() {
			return out
		}
	}
	c := w.c
	w.tb.Fatalf("the core stays busy: returning %d, dirty %d, late timers %d, notes %d, over %d, doomed %d and %d; written %d of %d",
		len(c.returning), len(c.dirty), len(c.timers.late), len(c.notes), len(c.over), len(c.doomed), len(c.doomedTxns), w.written, c.LSN())
	return nil
}

func copied(out []Output) []Output {
	c := make([]Output, len(out))
	for i, o := range out {
		c[i] = o
		c[i].Record = append([]byte(nil), o.Record...)
	}
	return c
}

func (w *world) cursors(written, synced uint64) {
	w.written, w.synced = max(w.written, written), max(w.synced, synced)
	w.c.Advance(w.written, w.synced)
}

func (w *world) checkpoint() {
	w.blob, w.blobLSN = w.c.Checkpoint(nil), w.c.LSN()
}

// rebuilt is the core that checkpoint and log give.
func (w *world) rebuilt() *Core {
	c := New(w.cfg)
	if w.blob != nil {
		var err error
		if c, err = Load(w.cfg, w.blob); err != nil {
			w.tb.Fatalf("load: %v", err)
		}
	}
	for _, e := range w.log {
		if e.LSN <= c.LSN() {
			continue
		}
		if err := c.Replay(e); err != nil {
			w.tb.Fatalf("replay: %v", err)
		}
	}
	return c
}

// known are the journaled events of the input at pos.
func (w *world) known(pos uint64) (raw []byte) {
	for _, e := range w.log {
		if e.Nonce != w.nonce {
			continue
		}
		r := journal.Events(e.Events)
		for ev, ok := r.Next(); ok; ev, ok = r.Next() {
			if ev.Pos == pos {
				raw = append(raw, ev.Raw...)
			}
		}
	}
	return raw
}

// kill replaces the core by one rebuilt from what is durable, which reads the ring again
// from the first input at or behind head. The last entries, lose of them, had not reached
// ring 65432.
func (w *world) kill(head uint64, lose int) {
	w.tb.Helper()
	live := uint64(0)
	if !w.c.turn.open && lose == 0 {
		live = w.c.Digest()
	}
	w.log = w.log[:len(w.log)-lose]
	w.c = w.rebuilt()
	if got := w.c.Digest(); live != 0 && got != live {
		w.tb.Fatalf("lsn %d: live digest %x, replayed %x", w.c.LSN(), live, got)
	}
	w.term++
	nonce, passed := w.c.Position()
	if nonce != w.nonce {
		passed = 0
	}
	w.c.Begin(w.term, w.nonce, w.written, w.synced)
	for _, in := range w.ring {
		if in.Pos >= head {
			in.Known, in.Passed = w.known(in.Pos), in.Pos < passed
			w.c.Step(w.now, in)
		}
	}
}

// newRings is what the first start of a broker does, and one behind a lost machine.
func (w *world) newRings() {
	w.tb.Helper()
	w.nonce, w.ring, w.pos = w.nonce+1, nil, 0
	w.kill(0, 0)
}

// attach lets a connsrv with one loop attach and answer the latest marker.
func (w *world) attach(epoch uint64) {
	hello := ipc.Hello{Head: ipc.Head{Epoch: epoch}, Loops: 1}
	w.turn(ipc.TypeHello, hello.Append(nil))
	w.resync(epoch)
}

func (w *world) resync(epoch uint64, subs ...ipc.SubState) []Output {
	for _, s := range subs {
		s.Epoch, s.Term, s.Ask = epoch, w.term, w.c.ask
		w.step(ipc.TypeSubState, s.Append(nil))
	}
	end := ipc.ResyncEnd{Head: ipc.Head{Epoch: epoch}, Term: w.term, Ask: w.c.ask, Loops: 1}
	return w.turn(ipc.TypeResyncEnd, end.Append(nil))
}

// admin runs a command and returns the queue's index, if it has one.
func (w *world) admin(cmd admin.Command, body interface{ Append([]byte) []byte }) admin.Created {
	w.tb.Helper()
	m := ipc.Admin{Head: ipc.Head{Epoch: 1, Conn: 1, Req: 1}, Command: uint16(cmd), Body: body.Append(nil)}
	for _, o := range w.turn(ipc.TypeAdmin, m.Append(nil)) {
		switch o.Type {
		case ipc.TypeAdminReply:
			r, err := ipc.DecodeAdminReply(o.Record)
			if err != nil {
				w.tb.Fatal(err)
			}
			made, err := admin.DecodeCreated(r.Body)
			if err != nil {
				w.tb.Fatal(err)
			}
			return made
		case ipc.TypeError:
			e, _ := ipc.DecodeError(o.Record)
			w.tb.Fatalf("%s: %d %s", admin.Text(cmd), e.Code, e.Text)
		}
	}
	w.tb.Fatalf("%s: no answer", admin.Text(cmd))
	return admin.Created{}
}

func (w *world) queue(name string, level ipc.Level) uint64 {
	w.tb.Helper()
	return w.admin(admin.CmdCreateQueue, &admin.CreateQueue{Name: name, Level: level, QueueSettings: admin.QueueSettings{Durable: true}}).Index
}

// topic creates a topic and returns the index of its first partition.
func (w *world) topic(name string, partitions uint32, level ipc.Level) uint64 {
	w.tb.Helper()
	w.admin(admin.CmdCreateTopic, &admin.CreateTopic{Name: name, Partitions: partitions, Level: level})
	t, _ := w.c.topics.get(name)
	return t.partitions[0].id
}

// batch is the metadata of a batch that is not idempotent.
func batch(count uint32) ipc.BatchMeta {
	return ipc.BatchMeta{Count: count, Length: 100, ProducerID: journal.NoProducer, CRC: 0xc0de}
}

// appendRecord is an Append with a body of the right length.
func appendRecord(m *ipc.Append) []byte {
	return append(m.Append(nil), make([]byte, m.Batch.Length)...)
}

func publishRecord(m *ipc.Publish) []byte {
	if m.TTLMS == 0 {
		m.TTLMS = ipc.NoTTL
	}
	return append(m.Append(nil), make([]byte, m.Batch.Length)...)
}
