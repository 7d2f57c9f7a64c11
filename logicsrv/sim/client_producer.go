//go:build failpoints

package sim

import (
	"fmt"
	"slices"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/shmqueue"
)

// producer sends messages to one partition or through one exchange, with a window of
// unanswered ones. An idempotent one repeats what was not answered when its connection is
// gone; another one never sends a message twice.
type producer struct {
	party
	idempotent bool
	window     int
	topic      string // appends to partition of topic, or
	partition  int
	exchange   string // publishes
	keys       []string
	headers    [][]ipc.Header
	level      ipc.Level
	varied     bool // priorities, times to live, delays
	curated    bool // its exchange comes and goes

	made    int
	open    []*flight
	pid     int64 // -1: none yet
	epoch   int16
	seq     int32
	asking  bool // for a producer id
	broken  bool // a message was refused: a new id once all is answered
	stopped bool
	once    bool // one message, though it is stopped
}

// flight is a message that is not answered.
type flight struct {
	m   *message
	key string
	hdr []ipc.Header

	more        []string // keys besides key
	mandatory   bool
	priority    uint8
	ttlMS       int64
	weight      uint32
	dueMS       int64
	delayedOnly bool // that counts only where the exchange delays
	whole       bool // all of it, or nothing where a queue rejects a part
	noHeaders   bool // its headers are left out

	sent  bool // on the present connection
	again bool // it may have been stored before
	seq   int32
}

func (p *producer) settled() bool {
	return len(p.open) == 0 && !p.asking && (!p.once || p.made > 0)
}

func (p *producer) dropped() {
	p.conn = nil
	p.asking = false
	keep := p.open[:0]
	for _, f := range p.open {
		f.sent = false
		if p.idempotent || !f.m.offered {
			keep = append(keep, f)
		}
	}
	p.open = keep
}

func (p *producer) tick() {
	if !p.stopped && p.conn != nil && p.w.rng.IntN(p.w.plan.clientDeath) == 0 {
		p.die(p)
		return
	}
	if p.topic != "" && p.w.indexOf(p.topic, p.partition) == 0 || p.topic == "" && !p.w.admin.done() || !p.ready(p) {
		return
	}
	if p.w.ringB.Word(shmqueue.WordStatus).Load()&shmqueue.StatusDiskFull != 0 {
		p.w.stats.diskFull++ // connsrv refuses before the ring; the client tries again later
		return
	}
	if p.broken && len(p.open) == 0 {
		p.pid, p.broken = batch.NoProducer, false
	}
	if p.idempotent && p.pid < 0 {
		p.askID()
		return
	}
	for _, f := range p.open {
		if !f.sent {
			p.send(f)
			return
		}
	}
	if p.broken || len(p.open) >= p.window || p.stopped && !p.once || p.once && p.made > 0 {
		return
	}
	f := &flight{seq: p.seq}
	pid := int64(batch.NoProducer)
	epoch, seq := int16(-1), int32(-1)
	if p.idempotent {
		pid, epoch, seq = p.pid, p.epoch, p.seq
	}
	f.m = p.w.newMessage(p, pid, epoch, seq)
	f.m.level = p.level
	if p.idempotent {
		p.seq = batch.NextSequence(p.seq, int(f.m.meta.Count))
	}
	if p.topic != "" {
		f.m.index = p.w.indexOf(p.topic, p.partition)
	} else {
		f.mandatory = p.w.rng.IntN(3) > 0
		f.key = p.keys[p.w.rng.IntN(len(p.keys))]
		if len(p.headers) > 0 {
			f.hdr = p.headers[p.w.rng.IntN(len(p.headers))]
		}
		p.vary(f)
	}
	p.open = append(p.open, f)
	p.send(f)
}

// vary chooses what of a message is the publisher's choice.
func (p *producer) vary(f *flight) {
	r := p.w.rng
	f.ttlMS = ipc.NoTTL
	if !p.varied {
		return
	}
	f.priority, f.weight = uint8(r.IntN(5)), f.m.meta.Count*uint32(10+20*r.IntN(2))
	if r.IntN(4) == 0 {
		f.ttlMS = []int64{0, 5, 80, 600}[r.IntN(4)]
	}
	if p.w.theme.delays && r.IntN(3) == 0 {
		f.dueMS, f.m.apart = p.w.now+int64(r.IntN(2500)), true
		if f.delayedOnly = r.IntN(2) == 0; !f.delayedOnly {
			f.m.dueMS = f.dueMS
		}
	}
	f.whole, f.noHeaders = r.IntN(4) == 0, len(f.hdr) == 0 && r.IntN(6) == 0
	for range max(0, r.IntN(6)-3) {
		f.more = append(f.more, p.keys[r.IntN(len(p.keys))])
	}
	if p.exchange == "" && p.w.hermitage != "" && r.IntN(4) == 0 {
		f.key = p.w.hermitage
	}
}

func (p *producer) askID() {
	if p.asking {
		return
	}
	p.asking = true
	p.w.conn.ask(p.conn, ipc.TypeInitProducer, func(h ipc.Head) []byte {
		m := ipc.InitProducer{Head: h, ProducerID: batch.NoProducer}
		return m.Append(nil)
	}, nil, func(typ ipc.Type, b []byte) {
		p.asking = false
		if typ != ipc.TypeProducer {
			code, text := p.refusal(b)
			p.w.fail("%s gets no producer id: %v %s", p.name, code, text)
		}
		m, err := ipc.DecodeProducer(b)
		p.w.must(err, "decode a producer id")
		p.w.newProducerID(p, m.ProducerID, m.Epoch)
		p.pid, p.epoch, p.seq = m.ProducerID, m.Epoch, 0
	})
}

func (p *producer) send(f *flight) {
	m := f.m
	f.sent, f.again = true, m.offered
	m.again = m.again || f.again && p.curated
	typ, encode := ipc.TypeAppend, func(h ipc.Head) []byte {
		a := ipc.Append{Head: h, Index: m.index, Level: m.level, Batch: m.meta}
		return a.Append(nil)
	}
	if p.topic == "" {
		typ, encode = ipc.TypePublish, func(h ipc.Head) []byte {
			a := ipc.Publish{
				Head: h, Level: m.level, Mandatory: f.mandatory, Priority: f.priority, Weight: f.weight, DueMS: f.dueMS, TTLMS: f.ttlMS,
				Batch: m.meta, Exchange: p.exchange, RoutingKey: f.key, Headers: f.hdr, MoreKeys: f.more,
				DelayedOnly: f.delayedOnly, Whole: f.whole, NoHeaders: f.noHeaders,
			}
			return a.Append(nil)
		}
	}
	p.w.trace("%s sends %v", p.name, m)
	o := p.w.conn.ask(p.conn, typ, encode, m.bytes, func(typ ipc.Type, b []byte) { p.answered(f, typ, b) })
	o.before = func() { m.offered = true }
}

func (p *producer) answered(f *flight, typ ipc.Type, b []byte) {
	p.open = slices.DeleteFunc(p.open, func(x *flight) bool { return x == f })
	m := f.m
	duplicate := false
	switch typ {
	case ipc.TypeAppended:
		a, err := ipc.DecodeAppended(b)
		p.w.must(err, "decode an answer")
		if a.Index != m.index || m.index == 0 {
			p.w.fail("%v is answered for index %d", m, a.Index)
		}
		m.base, duplicate = a.Base, a.Duplicate
	case ipc.TypePublished:
		a, err := ipc.DecodePublished(b)
		p.w.must(err, "decode an answer")
		m.queues, duplicate = a.Queues, a.Duplicate
	case ipc.TypeError:
		code, text := p.refusal(b)
		p.refused(f, code, text)
		return
	default:
		p.w.fail("%v is answered by a record of type %d", m, typ)
	}
	if duplicate && !p.idempotent {
		p.w.fail("%v is called a duplicate", m)
	}
	p.w.acknowledged(m)
}

// refused checks that there was a reason.
func (p *producer) refused(f *flight, code errcode.Code, text string) {
	m := f.m
	p.w.trace("%s: %v refused: %v %s", p.name, m, code, text)
	p.w.stats.refused++
	// An exchange that goes takes with it what it knew of its producers' sequences: what it had
	// stored is refused then.
	m.refused = !(f.again && p.curated)
	reason := false
	switch code {
	case errcode.Unroutable:
		reason = p.topic == "" && f.mandatory && (f.key == unroutableKey || p.w.theme != nil)
	case errcode.NotFound, errcode.AccessRefused:
		reason = p.curated // the model knows more
	case errcode.QueueFull:
		reason = f.whole && m.meta.Count > 1
	case errcode.NeedHeaders:
		reason = f.noHeaders
	case errcode.OutOfOrderSequence, errcode.UnknownProducer, errcode.ProducerFenced:
		reason = p.idempotent && (p.broken || p.curated || p.w.forgot(p.pid))
	}
	if !reason {
		p.w.fail("%v is refused without a reason: %v %s", m, code, text)
	}
	p.broken = p.broken || p.idempotent
}

// unroutableKey is bound nowhere.
const unroutableKey = "nowhere.at.all"

func (p *producer) String() string { return fmt.Sprintf("producer %s", p.name) }
