package nativeconn

import (
	"slices"
	"testing"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
	"github.com/trimq/trimq/shmqueue"
)

// play is a rig whose test plays the client and logicsrv: frames in, records out; replies in,
// frames out.
type play struct {
	*rig
	t    failer
	log  *testLog
	next uint64 // correlation
}

// failer is a test, or a history of one.
type failer interface {
	Helper()
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// newPlay is a connection that has said HELLO.
func newPlay(t *testing.T) *play {
	r := newRig(t)
	p := &play{rig: r, t: t, log: newTestLog(t, r.dir), next: 100}
	p.ask(native.CmdHello, &native.Hello{MinVersion: native.Version, MaxVersion: native.Version})
	p.frames()
	return p
}

// ask sends a request and returns its correlation.
func (p *play) ask(cmd native.Command, body native.Body) uint64 {
	p.t.Helper()
	p.next++
	p.feed(p.t, native.AppendFrame(nil, cmd, 0, p.next, body))
	return p.next
}

// frames are those sent since the last call.
func (p *play) frames() (list []native.Frame) {
	p.t.Helper()
	for b := p.link.Sent(); len(b) > 0; {
		h, err := native.ParseHeader(b, 1<<30)
		if err != nil || h.FrameLen() > len(b) {
			p.t.Fatalf("%d bytes are no frame: %+v %v", len(b), h, err)
		}
		list = append(list, native.Frame{Header: h, Body: b[native.FrameHeaderSize:h.FrameLen()]})
		b = b[h.FrameLen():]
	}
	p.link.Pieces, p.link.Bytes = nil, 0
	return list
}

// frame is the only one sent, of a command.
func (p *play) frame(cmd native.Command) native.Frame {
	p.t.Helper()
	list := p.frames()
	if len(list) != 1 || list[0].Command != cmd {
		p.t.Fatalf("sent %v, want one %s", headersOf(list), cmd)
	}
	return list[0]
}

func headersOf(list []native.Frame) (out []native.Header) {
	for i := range list {
		out = append(out, list[i].Header)
	}
	return out
}

// refusal is the error of the only frame sent.
func (p *play) refusal(cmd native.Command) native.ErrorBody {
	p.t.Helper()
	f := p.frame(cmd)
	if f.Flags&native.FlagError == 0 {
		p.t.Fatalf("%s was not refused", cmd)
	}
	m, err := native.DecodeErrorBody(f.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return m
}

// refused asks for what must be refused without logicsrv.
func (p *play) refused(code errcode.Code, cmd native.Command, body native.Body) {
	p.t.Helper()
	p.ask(cmd, body)
	if m := p.refusal(cmd); m.Code != code {
		p.t.Errorf("%s is refused with %+v, want %s", cmd, m, code)
	}
	if list := p.records(); len(list) > 0 {
		p.t.Errorf("%s was passed on as %+v", cmd, list)
	}
}

// record is one of ring 12345.
type record struct {
	typ     ipc.Type
	payload []byte
}

// records are those that came since the last call; their room is free again.
func (p *play) records() (list []record) {
	for {
		rec, ok := p.in.Next()
		if !ok {
			break
		}
		list = append(list, record{ipc.Type(rec.Type), slices.Clone(rec.Payload)})
		p.in.Release(rec.End)
	}
	p.lane.Advance()
	return list
}

// sent decodes all records that came since the last call, which must be of one type.
func sent[T any](p *play, typ ipc.Type, decode func([]byte) (T, error)) (list []T) {
	p.t.Helper()
	for _, rec := range p.records() {
		if rec.typ != typ {
			p.t.Fatalf("a record of type %d, want %d", rec.typ, typ)
		}
		m, err := decode(rec.payload)
		if err != nil {
			p.t.Fatal(err)
		}
		list = append(list, m)
	}
	return list
}

// one is the only record that came.
func one[T any](p *play, typ ipc.Type, decode func([]byte) (T, error)) T {
	p.t.Helper()
	list := sent(p, typ, decode)
	if len(list) != 1 {
		p.t.Fatalf("%d records of type %d, want one", len(list), typ)
	}
	return list[0]
}

// head is that of a reply.
func (p *play) head(req uint64) ipc.Head {
	return ipc.Head{Epoch: p.lane.Requests.Epoch(), Conn: p.link.ID(), Req: req}
}

// encoded is a record of logicsrv.
type encoded interface{ Append([]byte) []byte }

func (p *play) reply(typ ipc.Type, m encoded) { p.conn.Reply(typ, m.Append(nil)) }

// fail answers a request with an error.
func (p *play) fail(req uint64, code errcode.Code) {
	p.reply(ipc.TypeError, &ipc.Error{Head: p.head(req), Code: uint16(code), Text: "no"})
}

// subscribe makes a consumer of queue 7.
func (p *play) subscribe(m native.Subscribe, filter ipc.Filter) ipc.Subscribe {
	p.t.Helper()
	m.Index, m.Kind = 7, native.SubQueue
	p.ask(native.CmdSubscribe, &m)
	s := one(p, ipc.TypeSubscribe, ipc.DecodeSubscribe)
	p.reply(ipc.TypeSubscribed, &ipc.Subscribed{Head: p.head(s.Req), Sub: m.Sub, Filter: filter})
	p.frame(native.CmdSubscribe)
	return s
}

// deliver hands offsets to consumer 1.
func (p *play) deliver(index, first uint64, count uint32) {
	p.reply(ipc.TypeDeliver, &ipc.Deliver{Head: p.head(0), Sub: 1, Index: index, First: first, Count: count})
}

// handed is what a DELIVER has brought.
type handed struct {
	native.Deliver
	correlation uint64
	note        ipc.Note
	values      []string // of the records that are for the consumer
}

// delivered decodes the DELIVER frames of a list, which must be all of it but the last rest frames.
func (p *play) delivered(list []native.Frame, rest int) (out []handed) {
	p.t.Helper()
	for _, f := range list[:len(list)-rest] {
		if f.Command != native.CmdDeliver {
			p.t.Fatalf("%s among deliveries", f.Command)
		}
		m, note, batches, err := native.DecodeDeliver(f.Body)
		if err != nil {
			p.t.Fatal(err)
		}
		h := handed{Deliver: m, correlation: f.Correlation}
		if len(note) > 0 {
			if h.note, err = native.DecodeNote(note); err != nil {
				p.t.Fatal(err)
			}
		}
		n := uint64(0)
		err = batch.Iterate(batches, func(r *batch.Record) error {
			if at := m.Base + n; at-m.First < uint64(m.Count) {
				h.values = append(h.values, string(r.Value))
			}
			n++
			return nil
		})
		if err != nil || len(h.values) != int(m.Count) {
			p.t.Fatalf("%+v brings %q: %v", m, h.values, err)
		}
		out = append(out, h)
	}
	return out
}

// verdicts are the Acks that came, with nothing else.
func (p *play) verdicts() []ipc.Ack {
	p.t.Helper()
	return sent(p, ipc.TypeAck, ipc.DecodeAck)
}

func (p *play) counter(id shmqueue.CounterID) uint64 { return p.lane.Counters.Load(id) }

// words makes a batch of records with a value and a header each.
func words(codec batch.Codec, values ...string) []byte {
	var b batch.Builder
	for i, v := range values {
		b.Add(int64(i), nil, []byte(v), []batch.RecordHeader{{Key: "word", Value: []byte(v)}})
	}
	return slices.Clone(b.Seal(codec, batch.NoProducer, 0, 0))
}

// word is the filter that lets one value pass.
func word(v string) ipc.Filter { return ipc.Filter{Kind: 1, Text: "word = '" + v + "'"} }
