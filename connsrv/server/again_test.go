package server

import (
	"testing"

	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
	"github.com/trimq/trimq/shmqueue/tier"
)

// The verdicts of a consumer whose connection broke are passed on from its next one, before
// it consumes again and after; what it holds there is untouched.
func TestVerdictsOfABrokenConnection(t *testing.T) {
	b := start(t, nil)
	c, p := b.connect(), b.connect()
	p.produce(1, makeBatch(10, 10))
	ack := func(sub uint64, v ipc.Verdict, first uint64) *native.Ack {
		return &native.Ack{Sub: sub, Queue: 1, Index: 1, Verdict: v, Ranges: []ipc.Range{{First: first, Count: 1}}}
	}
	c.call(native.CmdAck, ack(1, ipc.VerdictAck, 7))
	c.call(native.CmdSubscribe, &native.Subscribe{Sub: 1, Index: 1, Limit: 5, Kind: native.SubQueue})
	if m, _ := c.readDeliver(); m.First != 0 || m.Count != 5 {
		t.Fatalf("%+v", m)
	}
	c.call(native.CmdAck, ack(2, ipc.VerdictReject, 8))
	c.call(native.CmdAck, &native.Ack{Sub: 1, Queue: 1, Index: 1, Verdict: ipc.VerdictAck, Ranges: []ipc.Range{{First: 0, Count: 5}}})
	b.stub.set(func() {
		if len(b.stub.acks) != 3 || b.stub.acks[0].Ranges[0].First != 7 || b.stub.acks[1].Verdict != ipc.VerdictReject {
			t.Errorf("verdicts %+v", b.stub.acks)
		}
	})
}

// Pushed records come in frames of the size that was agreed upon.
func TestPushKeepsTheFrameLimit(t *testing.T) {
	b := start(t, func(c *tier.Config) { c.MaxFrameBytes = 128 << 10 })
	c, p := b.connect(), b.connect()
	const batches = 40
	for range batches {
		p.produce(1, makeBatch(1, 50_000))
	}
	c.call(native.CmdSubscribe, &native.Subscribe{Sub: 1, Index: 1, Limit: 1 << 30, Kind: native.SubTopic})
	for next := uint64(0); next < batches; {
		m, records := c.readDeliver()
		if size := native.FrameHeaderSize + native.DeliverSize + len(records); m.First != next || size > int(b.config.MaxFrameBytes) {
			t.Fatalf("%+v in a frame of %d bytes", m, size)
		}
		next += uint64(m.Count)
	}
}
