package nativeconn

import (
	"testing"

	"github.com/trimq/trimq/protocol/native"
)

// Requests to read are within the window even where no answer is wanted: nothing else bounds
// how many of them are parked.
func TestQuietFetchesAreBounded(t *testing.T) {
	r := newRig(t)
	r.feed(t, native.AppendFrame(nil, native.CmdHello, 0, 1, &native.Hello{MinVersion: native.Version, MaxVersion: native.Version}))
	for range 100 {
		r.feed(t, native.AppendFrame(nil, native.CmdFetch, native.FlagNoReply, 2, &native.Fetch{Index: 1, MaxBytes: 100, MaxWaitMS: 60_000}))
	}
	if n := r.conn.pending.Len(); n > r.conn.window {
		t.Errorf("%d requests are parked, the window is %d", n, r.conn.window)
	}
}

// The link has a chance to stop a connection between two answers to INFO.
func TestInfoIsAnsweredOneByOne(t *testing.T) {
	r := newRig(t)
	r.feed(t, native.AppendFrame(nil, native.CmdHello, 0, 1, &native.Hello{MinVersion: native.Version, MaxVersion: native.Version}))
	one := native.AppendFrame(nil, native.CmdInfo, 0, 2, native.Empty{})
	if used, want := r.conn.Input(append(append([]byte(nil), one...), one...)); used != len(one) || want.Bytes != 0 {
		t.Errorf("used %d bytes of two requests of %d, wants %+v", used, len(one), want)
	}
}

// A request that wants an answer waits behind those that do not; it is not refused for them.
func TestQuietRequestsDoNotUseUpTheWindow(t *testing.T) {
	r := newRig(t)
	r.feed(t, native.AppendFrame(nil, native.CmdHello, 0, 1, &native.Hello{MinVersion: native.Version, MaxVersion: native.Version}))
	r.link.Pieces = nil
	body := append((&native.Produce{Index: 1}).Append(nil), testBatch(1, 10)...)
	for range r.conn.window {
		r.feed(t, append(native.AppendHeader(nil, native.CmdProduce, native.FlagNoReply, 0, len(body)), body...))
	}
	one := append(native.AppendHeader(nil, native.CmdProduce, 0, 7, len(body)), body...)
	if used, want := r.conn.Input(one); used != 0 || !want.Pause || len(r.link.Sent()) != 0 {
		t.Errorf("used %d bytes, wants %+v, answered %d bytes", used, want, len(r.link.Sent()))
	}
}
