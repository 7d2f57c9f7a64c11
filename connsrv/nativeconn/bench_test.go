package nativeconn

import (
	"fmt"
	"testing"

	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
)

// reuseLink is a fakeLink that forgets what was sent.
type reuseLink struct {
	fakeLink
	buf [4096]byte
}

func (l *reuseLink) Append(n int) []byte { return l.buf[:n] }

// BenchmarkProduce is the way of one small batch through a room: frame in, record into the
// ring, reply in, frame out.
func BenchmarkProduce(b *testing.B) {
	for _, size := range []int{1, 16, 256} {
		messages := testBatch(size, 100)
		b.Run(fmt.Sprintf("%d messages", size), func(b *testing.B) {
			r := newRig(b)
			link := &reuseLink{}
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
	link := &reuseLink{}
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
