package nativeconn

import (
	"errors"
	"testing"

	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
)

// A consumer that acknowledges every second message is stopped before its state outgrows a
// record; closing gaps helps it on.
func TestVerdictsCannotMakeEndlessGaps(t *testing.T) {
	r := newRig(t)
	s := &session.Sub{ID: 1, Index: 1, Queue: true}
	s.InHand.Add(1, 0, 1_000_000)
	take := func(first uint64, count uint32) error {
		return r.conn.takeFromHand(s, &native.Ack{Queue: 1, Index: 1, Ranges: []ipc.Range{{First: first, Count: count}}})
	}
	var err error
	n := uint64(0)
	for ; err == nil && n < 1_000_000; n += 2 {
		err = take(n+1, 1)
	}
	var refused *errcode.Error
	if !errors.As(err, &refused) || refused.Code != errcode.LimitExceeded || s.InHand.Gaps() != r.lane.MaxGaps() {
		t.Fatalf("%v with %d gaps", err, s.InHand.Gaps())
	}
	if !s.InHand.Holds(1, ipc.Range{First: n - 1, Count: 1}) {
		t.Error("what was refused is no longer in hand")
	}
	// Deliveries may have made more; then what makes fewer is welcome.
	for i := range uint64(10) {
		s.InHand.Add(1, 2_000_000+2*i, 1)
	}
	if err := take(0, 1); err != nil {
		t.Errorf("closing a gap: %v", err)
	}
	if err := take(n-1, 1_000_000-uint32(n-1)); err != nil {
		t.Errorf("closing a gap: %v", err)
	}
}

// An ACK of more ranges than a record takes is refused, not stuck.
func TestTooManyRangesInOneAck(t *testing.T) {
	r := newRig(t)
	hello := native.AppendFrame(nil, native.CmdHello, 0, 1, &native.Hello{MinVersion: native.Version, MaxVersion: native.Version})
	r.feed(t, native.AppendFrame(hello, native.CmdSubscribe, 0, 2, &native.Subscribe{Sub: 1, Index: 1, Limit: 10, Kind: native.SubQueue}))
	r.commands()
	r.link.Pieces = nil
	ack := native.Ack{Sub: 1, Queue: 1, Index: 1, Verdict: ipc.VerdictAck}
	for i := range uint64(9000) {
		ack.Ranges = append(ack.Ranges, ipc.Range{First: i, Count: 1})
	}
	r.feed(t, native.AppendFrame(nil, native.CmdAck, 0, 3, &ack))
	f := r.link.Sent()
	h, err := native.ParseHeader(f, 1<<20)
	if err != nil || h.Correlation != 3 || h.Flags&native.FlagError == 0 {
		t.Fatalf("%+v %v", h, err)
	}
	if m, err := native.DecodeErrorBody(f[native.FrameHeaderSize:]); err != nil || m.Code != errcode.LimitExceeded {
		t.Errorf("%+v %v", m, err)
	}
}
