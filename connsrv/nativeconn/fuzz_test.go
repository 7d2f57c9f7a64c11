package nativeconn

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"

	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/connsrv/session/roomtest"
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
	"github.com/trimq/trimq/shmqueue"
)

// rig is a room on a ring in plain memory.
type rig struct {
	conn *Conn
	lane *session.Lane
	link *roomtest.Link
	in   *shmqueue.Consumer
	dir  string // of the log
	buf  []byte
	want session.Want
}

const rigCapacity = 256 << 10

func newRig(tb testing.TB) *rig {
	lane, in, dir := roomtest.Lane(tb, rigCapacity, MaxBatch(128<<10))
	r := &rig{lane: lane, link: &roomtest.Link{Peer: "test"}, in: in, dir: dir}
	settings := &Settings{
		WindowRequests: 8, WindowBytes: 256 << 10, MaxFrame: 128 << 10, Server: "test",
		Info: func() native.InfoReply { return native.InfoReply{} }, UnixMS: func() int64 { return 1_700_000_000_000 },
		Log: slog.New(slog.DiscardHandler),
	}
	r.conn = New(settings, lane, r.link)
	return r
}

// feed does with some bytes what the reactor does: it shows them, keeps what was not used,
// and brings large bodies to their place once they are complete.
func (r *rig) feed(tb failer, b []byte) {
	r.buf = append(r.buf, b...)
	for !r.link.Closed && len(r.buf) > 0 && len(r.buf) >= r.want.Bytes {
		if r.want.Direct {
			dst := r.conn.Space(r.want.Bytes)
			if dst == nil {
				return
			}
			r.buf = r.buf[copy(dst, r.buf):]
			r.want = session.Want{}
			r.conn.Filled()
			continue
		}
		used, want := r.conn.Input(r.buf)
		if used == 0 && !want.Pause && want.Bytes <= len(r.buf) && !want.Direct && !r.link.Closed {
			tb.Fatalf("no progress with %d bytes: %+v", len(r.buf), want)
		}
		r.buf, r.want = r.buf[used:], want
		if want.Pause {
			return
		}
	}
}

// commands lists what came out on the ring.
func (r *rig) commands() []string {
	var list []string
	for {
		rec, ok := r.in.Next()
		if !ok {
			return list
		}
		list = append(list, fmt.Sprintf("%d %x", rec.Type, rec.Payload))
	}
}

// drain takes all that came out on the ring, and makes room for more.
func (r *rig) drain() {
	for {
		rec, ok := r.in.Next()
		if !ok {
			return
		}
		r.in.Release(rec.End)
	}
}

// FuzzAnySplit: however a stream is cut, the same commands and answers come out of it, and
// nothing panics.
func FuzzAnySplit(f *testing.F) {
	hello := native.AppendFrame(nil, native.CmdHello, 0, 1, &native.Hello{MinVersion: native.Version, MaxVersion: native.Version})
	var good []byte
	good = append(good, hello...)
	small, large := testBatch(3, 40), testBatch(400, 100)
	produce := native.Produce{Index: 1}
	good = appendBody(good, native.CmdProduce, append(produce.Append(nil), small...))
	good = appendBody(good, native.CmdProduce, append(produce.Append(nil), large...))
	publish := native.Publish{TTLMS: ipc.NoTTL, Exchange: "x", RoutingKey: "y"}
	good = appendBody(good, native.CmdPublish, append(publish.Append(nil), small...))
	good = native.AppendFrame(good, native.CmdPing, 0, 4, &native.Ping{Token: 4})
	good = native.AppendFrame(good, native.CmdSubscribe, 0, 5, &native.Subscribe{Sub: 1, Index: 1, Limit: 10, Kind: native.SubQueue})
	good = native.AppendFrame(good, native.CmdPull, 0, 6, &native.Ping{})
	f.Add(good, uint64(1))
	f.Add(queueStream(append([]byte(nil), hello...)), uint64(5))
	f.Add(good[:len(good)-3], uint64(7))
	f.Add(append(append([]byte(nil), hello...), 0xff, 0xff, 0xff, 0xff, 1, 2, 3), uint64(3))
	bad := append([]byte(nil), good...)
	bad[len(hello)+200] ^= 1
	f.Add(bad, uint64(9))
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64) {
		if len(stream) > 256<<10 {
			return
		}
		whole := newRig(t)
		whole.feed(t, stream)
		pieces := newRig(t)
		rnd := rand.New(rand.NewPCG(seed, 1))
		for rest := stream; len(rest) > 0; {
			n := min(len(rest), 1+rnd.IntN(1<<rnd.IntN(17)))
			pieces.feed(t, rest[:n])
			rest = rest[n:]
		}
		a, b := whole.commands(), pieces.commands()
		if len(a) != len(b) {
			t.Fatalf("%d commands in one piece, %d in several", len(a), len(b))
		}
		for i := range a {
			if a[i] != b[i] {
				t.Fatalf("command %d differs", i)
			}
		}
		if !bytes.Equal(whole.link.Sent(), pieces.link.Sent()) || whole.link.Closed != pieces.link.Closed {
			t.Fatal("the answers differ")
		}
	})
}

// queueStream appends one of each request about queues, transactions and their messages.
func queueStream(b []byte) []byte {
	ranges := []ipc.Range{{First: 1, Count: 2}}
	for i, r := range []struct {
		cmd  native.Command
		body native.Body
	}{
		{native.CmdSubscribe, &native.Subscribe{Sub: 1, Index: 7, Limit: 10, Kind: native.SubQueue, Priority: 3, AckTimeoutMS: 5, Tag: "me"}},
		{native.CmdPull, &native.Pull{Queue: 7, Max: 3}},
		{native.CmdPull, &native.Pull{Queue: 7, Max: 3, WaitMS: 9, InvisibleMS: 7}},
		{native.CmdAck, &native.Ack{Sub: 1, Queue: 7, Index: 7, Verdict: ipc.VerdictReject, Ranges: ranges}},
		{native.CmdAck, &native.Ack{Queue: 7, Index: 7, Lease: 3, Verdict: ipc.VerdictAck, Ranges: ranges}},
		{native.CmdExtend, &native.Extend{Queue: 7, Index: 7, Offset: 1, Lease: 3, InvisibleMS: 9}},
		{native.CmdBeginTxn, &native.BeginTxn{Group: "g", Key: "k"}},
		{native.CmdEndTxn, &native.EndTxn{Txn: 1, Commit: true, Verdicts: []ipc.TxnVerdict{{Sub: 1, Queue: 7, Index: 7, Verdict: ipc.VerdictAck, Range: ranges[0]}}}},
		{native.CmdTxnMember, &native.TxnMember{Group: "g", Join: true}},
		{native.CmdPurge, &admin.Purge{Name: "q"}},
		{native.CmdSeek, &admin.Seek{Name: "q", To: []admin.SeekTo{{Index: 7, Offset: 1}}}},
		{native.CmdListOffsets, &native.ListOffsets{Index: 7, TimeMS: 5}},
	} {
		b = native.AppendFrame(b, r.cmd, 0, uint64(10+i), r.body)
	}
	return b
}

func appendBody(b []byte, cmd native.Command, body []byte) []byte {
	b = native.AppendHeader(b, cmd, 0, 3, len(body))
	return append(b, body...)
}

func testBatch(n, size int) []byte {
	var b batch.Builder
	for i := range n {
		b.Add(int64(i), nil, bytes.Repeat([]byte{byte(i)}, size), nil)
	}
	return append([]byte(nil), b.Seal(batch.None, batch.NoProducer, 0, 0)...)
}

// FuzzReply: records of another process do not break a room, whatever they hold.
func FuzzReply(f *testing.F) {
	head := ipc.Head{Epoch: 1, Conn: 0x100, Req: 1 << 8}
	f.Add(uint16(ipc.TypeAppended), (&ipc.Appended{Head: head, Index: 1, Base: 5}).Append(nil))
	f.Add(uint16(ipc.TypeVisible), (&ipc.Visible{Head: head, Index: 1, End: 5}).Append(nil))
	f.Add(uint16(ipc.TypeDeliver), (&ipc.Deliver{Head: head, Sub: 1, Index: 1, First: 0, Count: 3}).Append(nil))
	f.Add(uint16(ipc.TypeError), (&ipc.Error{Head: head, Code: 13, Text: "x"}).Append(nil))
	f.Add(uint16(ipc.TypeSubClosed), (&ipc.SubClosed{Sub: 1, Code: 13}).Append(nil))
	f.Add(uint16(ipc.TypeRecall), (&ipc.Recall{Head: head, Sub: 1, Index: 7, Ranges: []ipc.Range{{First: 0, Count: 9}}}).Append(nil))
	f.Add(uint16(ipc.TypePulled), (&ipc.Pulled{Head: ipc.Head{Epoch: 1, Conn: 0x100, Req: 2 << 8}, Queue: 7, Filter: word("a"), Runs: []ipc.PulledRun{{Index: 7, First: 0, Count: 9}}}).Append(nil))
	f.Add(uint16(ipc.TypeTxnEnded), (&ipc.TxnEnded{Head: head, Committed: true}).Append(nil))
	f.Add(uint16(ipc.TypeCheckTxn), (&ipc.CheckTxn{Head: head, Txn: 1, Group: "g"}).Append(nil))
	f.Fuzz(func(t *testing.T, typ uint16, payload []byte) {
		r := newRig(t)
		log := newTestLog(t, r.dir)
		log.store(7, words(batch.None, "a", "b", "c"), log.note(ipc.Note{Key: "k"}))
		stream := native.AppendFrame(nil, native.CmdHello, 0, 1, &native.Hello{MinVersion: native.Version, MaxVersion: native.Version})
		stream = native.AppendFrame(stream, native.CmdSubscribe, 0, 5, &native.Subscribe{Sub: 3, Index: 7, Limit: 10, Kind: native.SubQueue})
		stream = native.AppendFrame(stream, native.CmdPull, 0, 6, &native.Pull{Queue: 7, Max: 9, WaitMS: 50})
		stream = native.AppendFrame(stream, native.CmdFetch, 0, 2, &native.Fetch{Index: 1, MaxBytes: 100, MaxWaitMS: 50})
		stream = native.AppendFrame(stream, native.CmdSubscribe, 0, 5, &native.Subscribe{Sub: 1, Index: 1, Limit: 10, Kind: native.SubQueue})
		stream = native.AppendFrame(stream, native.CmdSubscribe, 0, 6, &native.Subscribe{Sub: 2, Index: 1, Limit: 10, Kind: native.SubTopic})
		r.feed(t, stream)
		r.conn.Reply(ipc.Type(typ), payload)
		r.conn.Broadcast(ipc.Type(typ), payload)
		r.conn.Resync(ipc.Marker{Term: 1, Ask: 1}, true)
		r.conn.AskAgain(true)
		r.conn.Deadline(1 << 40)
		r.conn.Drained()
		r.conn.Shutdown()
		r.conn.Closed()
	})
}
