package trimq

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
)

// FuzzFetched gives a consumer's decoder arbitrary batches. Invariants: no panic; what comes
// out is in order, from the offset that was asked for to the end that was computed before.
func FuzzFetched(f *testing.F) {
	var b batch.Builder
	for i := range 3 {
		b.Add(int64(i), []byte("key"), []byte("value"), []Header{{Key: "h", Value: []byte("v")}})
	}
	plain := bytes.Clone(b.Seal(batch.None, 1, 0, 0))
	packed := bytes.Clone(b.Seal(batch.Zstd, 1, 0, 0))
	batch.PatchBase(packed, 3, 0)
	f.Add(plain, uint64(0))
	f.Add(append(bytes.Clone(plain), packed...), uint64(2))
	f.Add(plain[:70], uint64(0))
	f.Fuzz(func(t *testing.T, run []byte, from uint64) {
		end, err := endOf(run, from)
		if err != nil {
			return
		}
		ch := chunk{p: &part{}, from: from, end: end, batches: run, s: newSlab(1)}
		got, err := ch.decode()
		if err != nil {
			return
		}
		next := from
		for _, r := range got.Records {
			if r.Offset < next || r.Offset >= end {
				t.Fatalf("offset %d outside of [%d,%d)", r.Offset, next, end)
			}
			next = r.Offset // a batch with gaps, or with doubles, is the producer's doing
		}
		got.Release()
	})
}

// FuzzFrames reads frames from arbitrary bytes, in pieces. Invariants: no panic; the same
// frames as the reference decoder finds, whatever the pieces.
func FuzzFrames(f *testing.F) {
	two := native.AppendFrame(nil, native.CmdPing, native.FlagResponse, 1, &native.Ping{Token: 7})
	two = native.AppendFrame(two, native.CmdInfo, 0, 2, nil)
	f.Add(two, uint8(5))
	f.Add(two[:20], uint8(255))
	f.Fuzz(func(t *testing.T, stream []byte, piece uint8) {
		const limit = 1 << 16
		mine := newFrameReader(&pieces{stream, int(piece)%64 + 1}, 64, limit)
		ref := native.NewDecoder(bytes.NewReader(stream), 64, limit)
		var kept []*slab
		var bodies, copies [][]byte
		for {
			h, body, s, err := mine.next()
			want, wantErr := ref.Next()
			if (err == nil) != (wantErr == nil) {
				t.Fatalf("%v, reference %v", err, wantErr)
			}
			if err != nil {
				break
			}
			if h != want.Header || !bytes.Equal(body, want.Body) {
				t.Fatalf("frame %+v, reference %+v", h, want.Header)
			}
			if len(kept)%2 == 0 {
				s.retain()
				kept, bodies, copies = append(kept, s), append(bodies, body), append(copies, bytes.Clone(body))
			}
		}
		for i := range bodies {
			if !bytes.Equal(bodies[i], copies[i]) {
				t.Fatalf("frame %d was overwritten while it was retained", i)
			}
			kept[i].release()
		}
		mine.close()
	})
}

// FuzzQueueFrames shows arbitrary frames to a queue consumer and to calls, between what a user does.
// Invariants: no panic; an error is ErrProtocol; what is counted as held is held.
func FuzzQueueFrames(f *testing.F) {
	var b batch.Builder
	for i := range 3 {
		b.Add(int64(i), nil, []byte("value"), nil)
	}
	run := bytes.Clone(b.Seal(batch.None, 1, 0, 0))
	m := native.Deliver{Sub: queueSub, Index: 1, Base: 4, First: 4, Count: 3}
	deliver := append([]byte{0, byte(native.DeliverSize + len(run))}, append(m.Append(nil), run...)...)
	recalled := (&native.Recall{Sub: queueSub, Index: 1, Ranges: []ipc.Range{{First: 5, Count: 1}}}).Append(nil)
	recall := append([]byte{1, byte(len(recalled))}, recalled...)
	f.Add(slices.Concat(deliver, []byte{6, 0}, recall, []byte{7, 0, 5, 0, 3, 0}))
	f.Add(slices.Concat(deliver, recall, []byte{6, 0, 7, 0, 5, 0, 8, 0}))
	f.Fuzz(func(t *testing.T, stream []byte) {
		q := benchConsumer(t)
		cs := newCalls(q.link)
		x := &Txn{}
		cs.put(nil, native.CmdPull, &native.Pull{Queue: 1, Max: 9})
		var o outbox
		c := &conn{hello: native.HelloReply{WindowRequests: 64}}
		q.gather(c, &o)
		cs.gather(c, &o)
		var kept *Deliveries
		for len(stream) >= 2 {
			what, n := stream[0]%9, min(int(stream[1]), len(stream)-2)
			body := stream[2 : 2+n]
			stream = stream[2+n:]
			s := newSlab(1)
			var err error
			switch what {
			case 0:
				err = q.handle(nil, native.Header{Command: native.CmdDeliver}, body, s)
			case 1:
				err = q.handle(nil, native.Header{Command: native.CmdRecall}, body, s)
			case 2:
				err = q.handle(nil, native.Header{Command: native.CmdSubClosed}, body, s)
			case 3:
				err = q.handle(nil, native.Header{Command: native.CmdAck, Flags: native.FlagResponse, Correlation: q.corr}, body, s)
			case 4:
				err = cs.handle(nil, native.Header{Command: native.CmdDeliver, Correlation: cs.corr}, body, s)
			case 5:
				if kept != nil {
					q.settle(ipc.VerdictAck, kept.Index, kept.first, kept.next)
				}
			case 6:
				if in, _ := q.take(); in != nil {
					kept, _ = q.open(in)
				}
			case 7:
				q.gather(c, &o)
			case 8:
				if kept != nil {
					q.bind(x, ipc.VerdictAck, kept.Index, kept.first, kept.next)
				}
			}
			if err != nil && !errors.Is(err, ErrProtocol) {
				t.Fatal(err)
			}
			held := uint64(0)
			for _, h := range q.hands {
				held += h.held.count() + h.bound.count()
			}
			if held != q.holding {
				t.Fatalf("%d messages are held, %d are counted", held, q.holding)
			}
		}
	})
}

// pieces gives at most n bytes at a time.
type pieces struct {
	b []byte
	n int
}

func (p *pieces) Read(b []byte) (int, error) {
	n := copy(b[:min(len(b), p.n)], p.b)
	p.b = p.b[n:]
	if n == 0 {
		return 0, bytes.ErrTooLarge // any error: the end
	}
	return n, nil
}
