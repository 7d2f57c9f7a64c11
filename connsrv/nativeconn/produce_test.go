package nativeconn

import (
	"math"
	"strings"
	"testing"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
)

// bytesBody is a body that is encoded already.
type bytesBody []byte

func (b bytesBody) Append(to []byte) []byte { return append(to, b...) }

// publishBody is the body of a PUBLISH.
func publishBody(m native.Publish, messages []byte) bytesBody {
	return append(m.Append(nil), messages...)
}

func decodePublish(b []byte) (ipc.Publish, error) {
	m, _, err := ipc.DecodePublish(b)
	return m, err
}

func decodeAppend(b []byte) (ipc.Append, error) {
	m, _, err := ipc.DecodeAppend(b)
	return m, err
}

func TestPublishPassesAllOn(t *testing.T) {
	p := newPlay(t)
	now := p.conn.settings.UnixMS()
	want := ipc.Publish{
		Level: ipc.LevelPage, Mandatory: true, Priority: 200, Weight: 7, Txn: 9, DueMS: now + 5000, TTLMS: 60_000,
		Exchange: "x", RoutingKey: "k", Headers: []ipc.Header{{Key: "a", Value: "b"}},
	}
	p.ask(native.CmdPublish, publishBody(native.Publish{
		Level: want.Level, Mandatory: true, Priority: 200, Weight: 7, Txn: 9, DelayMS: 5000, TTLMS: 60_000,
		Exchange: "x", RoutingKey: "k", Headers: want.Headers,
	}, words(batch.None, "seven b")))
	got := one(p, ipc.TypePublish, decodePublish)
	want.Head, want.Batch = got.Head, got.Batch
	if len(got.Headers) != 1 || got.Headers[0] != want.Headers[0] {
		t.Errorf("%+v", got.Headers)
	}
	got.Headers, want.Headers = nil, nil
	if encoded := string(want.Append(nil)); string(got.Append(nil)) != encoded {
		t.Errorf("%+v, want %+v", got, want)
	}
	p.reply(ipc.TypePublished, &ipc.Published{Head: got.Head, Queues: 2, Full: 3, Duplicate: true})
	if r, err := native.DecodePublishReply(p.frame(native.CmdPublish).Body); err != nil || r != (native.PublishReply{Queues: 2, Full: 3, Duplicate: true}) {
		t.Errorf("%+v %v", r, err)
	}
}

func TestDelays(t *testing.T) {
	p := newPlay(t)
	now := p.conn.settings.UnixMS()
	for _, c := range []struct {
		delay uint64
		due   int64
	}{{0, 0}, {1, now + 1}, {math.MaxUint64, now + 1<<60}, {1 << 60, now + 1<<60}} {
		p.ask(native.CmdPublish, publishBody(native.Publish{DelayMS: c.delay, TTLMS: ipc.NoTTL}, words(batch.None, "a")))
		if m := one(p, ipc.TypePublish, decodePublish); m.DueMS != c.due {
			t.Errorf("a delay of %d is due at %d, want %d", c.delay, m.DueMS, c.due)
		}
	}
}

// A batch counts for what the client says, but for no more than can be in it.
func TestWeights(t *testing.T) {
	plain, packed := words(batch.None, strings.Repeat("v", 1000)), words(batch.Zstd, strings.Repeat("v", 1000))
	room := uint32(len(plain) - batch.HeaderSize)
	p := newPlay(t)
	for _, c := range []struct {
		b          []byte
		said, want uint32
	}{
		{plain, 0, 0}, {plain, 1000, 1000}, {plain, room, room}, {plain, math.MaxUint32, room},
		{packed, 1000, 1000}, {packed, math.MaxUint32, batch.DefaultLimit},
	} {
		p.ask(native.CmdPublish, publishBody(native.Publish{Weight: c.said, TTLMS: ipc.NoTTL}, c.b))
		if m := one(p, ipc.TypePublish, decodePublish); m.Weight != c.want {
			t.Errorf("%d bytes said to weigh %d count for %d, want %d", len(c.b), c.said, m.Weight, c.want)
		}
	}
}

// Batches of a transaction, small ones and those that go straight into the ring; where they lie is
// not told.
func TestProduceInATransaction(t *testing.T) {
	p := newPlay(t)
	for name, b := range map[string][]byte{"small": testBatch(1, 1), "direct": testBatch(1, directBytes)} {
		for _, txn := range []uint64{9, 0} {
			m := native.Produce{Index: 3, Txn: txn}
			p.ask(native.CmdProduce, bytesBody(append(m.Append(nil), b...)))
			got := one(p, ipc.TypeAppend, decodeAppend)
			if got.Txn != txn {
				t.Errorf("%s: %+v", name, got)
			}
			p.reply(ipc.TypeAppended, &ipc.Appended{Head: got.Head, Index: 3, Base: math.MaxUint64, Duplicate: true})
			r, err := native.DecodeProduceReply(p.frame(native.CmdProduce).Body)
			if err != nil || !r.Duplicate || (r.Base == 0) != (txn != 0) {
				t.Errorf("%s: %+v %v", name, r, err)
			}
		}
	}
}

// A batch with so much besides it that it could not be delivered is refused.
func TestPublishWithRoomForItsNote(t *testing.T) {
	p := newPlay(t)
	body := publishBody(native.Publish{RoutingKey: "k", TTLMS: ipc.NoTTL}, nil)
	most := p.conn.settings.MaxFrame - noteRoom - len(body)
	p.lane.MaxRecord = 1 << 20               // not what is in the way
	size := 2*most - len(testBatch(1, most)) // of the record in a batch of most bytes
	if n := len(testBatch(1, size)); n != most {
		t.Fatalf("a batch of %d bytes, want %d", n, most)
	}
	m, _, _ := native.DecodePublish(body)
	note := ipc.Note{Exchange: m.Exchange, Key: m.RoutingKey, Headers: m.Headers}
	if n := native.FrameHeaderSize + native.DeliverSize + len(note.Append(nil)) + most; n > p.conn.settings.MaxFrame {
		t.Errorf("it would be delivered in %d bytes", n)
	}
	p.refused(errcode.BatchTooLarge, native.CmdPublish, append(body, testBatch(1, size+1)...))
}
