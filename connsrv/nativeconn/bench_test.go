package nativeconn

import (
	"fmt"
	"testing"

	"github.com/trimq/trimq/connsrv/session/roomtest"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
)

// BenchmarkProduce is the way of one small batch through a room: frame in, record into the
// ring, reply in, frame out.
func BenchmarkProduce(b *testing.B) {
	for _, size := range []int{1, 16, 256} {
		messages := testBatch(size, 100)
		b.Run(fmt.Sprintf("%d messages", size), func(b *testing.B) {
			r := newRig(b)
			link := &roomtest.Forgetful{}
			r.conn = New(r.conn.settings, r.lane, link)
			r.feed(b, native.AppendFrame(nil, native.CmdHello, 0, 1, &native.Hello{MinVersion: native.Version, MaxVersion: native.Version}))
			frame := appendBody(nil, native.CmdProduce, append((&native.Produce{Index: 1}).Append(nil), messages...))
			reply := make([]byte, 0, 64)
			b.SetBytes(int64(len(frame)))
			b.ReportAllocs()
			for b.Loop() {
				if used, _ := r.conn.Input(frame); used != len(frame) {
					b.Fatal("not taken")
				}
				rec, ok := r.in.Next()
				if !ok {
					b.Fatal("nothing in the ring")
				}
				head, _ := ipc.PeekHead(rec.Payload)
				r.in.Release(rec.End)
				m := ipc.Appended{Head: head, Index: 1}
				r.conn.Reply(ipc.TypeAppended, m.Append(reply))
			}
		})
	}
}

// TestMessagePathAllocatesNothing: what is done for every batch makes no garbage.
func TestMessagePathAllocatesNothing(t *testing.T) {
	r := newRig(t)
	link := &roomtest.Forgetful{}
	r.conn = New(r.conn.settings, r.lane, link)
	r.feed(t, native.AppendFrame(nil, native.CmdHello, 0, 1, &native.Hello{MinVersion: native.Version, MaxVersion: native.Version}))
	frame := appendBody(nil, native.CmdProduce, append((&native.Produce{Index: 1}).Append(nil), testBatch(3, 100)...))
	reply := make([]byte, 0, 64)
	n := testing.AllocsPerRun(1000, func() {
		r.conn.Input(frame)
		rec, _ := r.in.Next()
		head, _ := ipc.PeekHead(rec.Payload)
		r.in.Release(rec.End)
		m := ipc.Appended{Head: head, Index: 1}
		r.conn.Reply(ipc.TypeAppended, m.Append(reply))
	})
	if n > 0 {
		t.Errorf("%v allocations for a batch", n)
	}
}

// BenchmarkDeliver is the way of messages to a consumer of a queue, and of the verdict on them:
// a Deliver in, DELIVER out, ACK in, Ack out.
func BenchmarkDeliver(b *testing.B) {
	for _, bc := range []struct {
		name             string
		batches, records int
		note             bool
	}{
		{"1 message", 1, 1, false},
		{"1 message with a note", 1, 1, true},
		{"1 batch of 100", 1, 100, true},
		{"32 batches of 1", 32, 1, true},
	} {
		b.Run(bc.name, func(b *testing.B) {
			r := newRig(b)
			log := newTestLog(b, r.dir)
			note := ipc.Note{Exchange: "orders", Key: "eu.de.hamburg", Headers: []ipc.Header{{Key: "area", Value: "hh"}, {Key: "kind", Value: "new"}}}
			for range bc.batches {
				at := uint64(0)
				if bc.note {
					at = log.note(note)
				}
				log.store(7, testBatch(bc.records, 100), at)
			}
			link := &roomtest.Forgetful{}
			r.conn = New(r.conn.settings, r.lane, link)
			stream := native.AppendFrame(nil, native.CmdHello, 0, 1, &native.Hello{MinVersion: native.Version, MaxVersion: native.Version})
			r.feed(b, native.AppendFrame(stream, native.CmdSubscribe, 0, 2, &native.Subscribe{Sub: 1, Index: 7, Limit: 1 << 60, Kind: native.SubQueue}))
			r.drain()
			count := uint32(bc.batches * bc.records)
			head := ipc.Head{Epoch: r.lane.Requests.Epoch(), Conn: link.ID()}
			deliver := (&ipc.Deliver{Head: head, Sub: 1, Index: 7, Count: count}).Append(nil)
			ack := native.AppendFrame(nil, native.CmdAck, native.FlagNoReply, 0, &native.Ack{
				Sub: 1, Queue: 7, Index: 7, Verdict: ipc.VerdictAck, Ranges: []ipc.Range{{Count: count}},
			})
			b.ReportAllocs()
			for b.Loop() {
				r.conn.Reply(ipc.TypeDeliver, deliver)
				if used, _ := r.conn.Input(ack); used != len(ack) {
					b.Fatal("the verdict is not taken")
				}
				r.drain()
			}
		})
	}
}
