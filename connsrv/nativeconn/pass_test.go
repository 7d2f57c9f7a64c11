package nativeconn

import (
	"bytes"
	"reflect"
	"slices"
	"testing"

	"github.com/trimq/trimq/connsrv/handover"
	"github.com/trimq/trimq/connsrv/handover/passtest"
	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/golden"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
)

// written is the room as it is passed on.
func written(c *Conn) []byte {
	w := handover.Write(nil)
	c.Pass(w)
	return w.Written()
}

// handOver puts another program's room and lane in the place of these.
func (r *rig) handOver(t failer) {
	t.Helper()
	b := written(r.conn)
	w := handover.Write(nil)
	r.lane.Pass(w, session.Directory{IDs: map[session.Protocol]uint64{r.conn: r.link.ID()}})
	lane := session.NewLane(r.lane.Rings, r.lane.Loop)
	next := New(r.conn.settings, lane, r.link)
	s := handover.Read(b)
	next.Pass(s)
	if err := s.Done("the room"); err != nil {
		t.Fatal(err)
	}
	if again := written(next); !bytes.Equal(again, b) {
		t.Fatalf("it was passed on as\n%x\nand is\n%x", b, again)
	}
	s = handover.Read(w.Written())
	lane.Pass(s, session.Directory{
		IDs:   map[session.Protocol]uint64{next: r.link.ID()},
		Links: map[uint64]session.Link{r.link.ID(): r.link}, Rooms: map[uint64]session.Protocol{r.link.ID(): next},
	})
	if err := s.Done("the lane"); err != nil {
		t.Fatal(err)
	}
	again := handover.Write(nil)
	lane.Pass(again, session.Directory{IDs: map[session.Protocol]uint64{next: r.link.ID()}})
	if !bytes.Equal(again.Written(), w.Written()) {
		t.Fatalf("the lane was passed on as\n%x\nand is\n%x", w.Written(), again.Written())
	}
	r.conn, r.lane = next, lane
}

// sample is a room in which nothing is zero that is passed on.
func sample(r *rig) *Conn {
	c := r.conn
	c.state, c.maxFrame, c.window, c.share, c.skip = stateOpen, 1<<20, 8, 1<<16, 17
	c.challenge, c.client, c.shareWait, c.deadlineMS, c.resting, c.told = []byte("challenge"), "client", true, 4711, true, true
	c.direct = native.Header{Length: 70000, Command: native.CmdProduce, Flags: native.FlagNoReply, Correlation: 12}
	c.directBody = native.Produce{Index: 3, Level: ipc.LevelPage, Txn: 9}
	c.resyncSub, c.resyncGroup, c.resyncReq = 5, 1, 1<<8
	c.groups, c.pullers = []string{"a", "b"}, 1
	sub := &session.Sub{
		ID: 4, Index: 7, Queue: true, Closing: true, Answered: true, Limit: 100, Told: 90, Delivered: 80, Skipped: 3, Recalls: 2,
		Consumer: ipc.Consumer{AutoAck: true, Exclusive: true, Priority: -3, AckTimeoutMS: 1000, Tag: "tag"},
		Next:     8, Wait: 2 << 8, CutAt: 12345,
	}
	sub.Cut.Record, sub.Cut.Off = 3, 99
	c.filter(sub, word("a"))
	sub.InHand.Add(7, 10, 5)
	sub.InHand.Add(7, 20, 1)
	sub.InHand.Add(9, 0, 1)
	sub.Pledged.Add(7, 30, 2)
	puller := &session.Sub{ID: native.PullerBit | 1, Index: 8, Queue: true, Puller: true, Consumer: ipc.Consumer{Puller: true}, Asked: 40}
	gone := &session.Sub{ID: 6, Index: 7, Queue: true, Closing: true}
	leased := &session.Sub{Index: 8, Queue: true, Puller: true, Asked: 2}
	c.subs = []*session.Sub{sub, puller}
	answered := &session.Pulling{
		Req: 6 << 8, Sub: puller, Max: 40, AutoAck: true, InvisibleMS: 5, DeadlineMS: 77, Told: true, Ended: true, Answered: true,
		Lease: 3, UntilMS: 88, Runs: []ipc.PulledRun{{Index: 8, First: 1, Count: 2, Attempts: 3}, {Index: 8, First: 9, Count: 1}}, Next: 1, Sent: 2,
	}
	c.pulls = map[uint64]*session.Pulling{6 << 8: answered, 7 << 8: {Req: 7 << 8, Sub: leased, Max: 2}}
	c.asked = 42
	for _, q := range []session.Request{
		{Req: 1 << 8, Correlation: 4, Bytes: 1000, Command: uint16(native.CmdProduce), Quiet: true, InTxn: true},
		{Req: 2 << 8, Sub: sub},
		{Req: 3 << 8, Correlation: 5, Command: uint16(native.CmdFetch), Park: &session.Park{
			Req: 3 << 8, Index: 1, Offset: 2, Beyond: 3, MaxBytes: 4, MinBytes: 5, DeadlineMS: 6, Asking: true, Times: true, Line: true, TimeMS: -2,
		}},
		{Req: 4 << 8, Correlation: 6, Command: uint16(native.CmdUnsubscribe), Sub: gone},
		{Req: 5 << 8, Correlation: 7, Command: uint16(native.CmdEndTxn)},
		{Req: 6 << 8, Correlation: 8, Command: uint16(native.CmdPull)},
		{Req: 7 << 8, Correlation: 9, Command: uint16(native.CmdPull)},
	} {
		c.pending.Add(q)
	}
	c.quiet, c.internal, c.asking = 1, 1, true
	c.txns = map[uint64]txnChange{5 << 8: {
		verdicts: []ipc.TxnVerdict{{Sub: 4, Queue: 7, Index: 7, Verdict: ipc.VerdictAck, Range: ipc.Range{First: 30, Count: 2}}}, joined: "b",
	}}
	c.line = []parcel{
		{sub: sub, run: ipc.PulledRun{Index: 7, First: 10, Count: 2, Attempts: 1}},
		{pull: answered},
		{sub: sub, recalled: &native.Recall{Sub: 4, Index: 7, Ranges: []ipc.Range{{First: 1, Count: 1}}}},
	}
	return c
}

// Every field of a room comes back as it was: there is none that is zero in the sample, but for
// those that are not passed on, which are named here.
func TestPassEveryField(t *testing.T) {
	r := newRig(t)
	c := sample(r)
	for _, x := range []struct {
		of  any
		not []string
	}{
		{*c, []string{"slot"}},
		{*c.subs[0], []string{"Puller", "Asked"}},
		{*c.pulls[6<<8], nil},
		{*c.pending.Get(1 << 8), []string{"Park", "Sub"}},
		{*c.pending.Get(3 << 8).Park, nil},
		{c.txns[5<<8], nil},
		{c.line[0], []string{"pull", "recalled"}},
	} {
		for _, fault := range passtest.Unset(x.not, x.of) {
			t.Error(fault)
		}
	}
	next := New(c.settings, c.lane, c.link)
	s := handover.Read(written(c))
	next.Pass(s)
	if err := s.Done("the room"); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(c, next) {
		t.Errorf("passed on\n%+v\ncame back\n%+v", c, next)
	}
	if next.line[1].pull != next.pulls[6<<8] || next.pending.Get(2<<8).Sub != next.subs[0] || next.pulls[6<<8].Sub != next.subs[1] {
		t.Error("what was one thing is two")
	}
}

// The format of a room is frozen.
func TestGoldenPass(t *testing.T) {
	golden.Check(t, "handover_v4_room", "room:*", written(sample(newRig(t))))
}

// The answer to a pull that nobody waits for any more is left out.
func TestPassLeavesOutWhatNobodyWaitsFor(t *testing.T) {
	r := newRig(t)
	c := sample(r)
	c.line = append(c.line, parcel{pull: &session.Pulling{Req: 99 << 8, Sub: c.subs[1]}})
	next := New(c.settings, c.lane, c.link)
	s := handover.Read(written(c))
	next.Pass(s)
	if err := s.Done("the room"); err != nil || len(next.line) != 3 {
		t.Errorf("%d in line: %v", len(next.line), err)
	}
}

// Whatever bytes come, a room is read or refused; what is read is written as the same bytes.
func FuzzPass(f *testing.F) {
	r := newRig(f)
	f.Add(written(r.conn))
	b := written(sample(r))
	f.Add(b)
	for _, at := range []int{3, len(b) / 3, len(b) / 2, len(b) - 2} {
		bad := slices.Clone(b)
		bad[at] ^= 0x41
		f.Add(bad)
		f.Add(b[:at])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := New(r.conn.settings, r.lane, r.link)
		s := handover.Read(b)
		c.Pass(s)
		if s.Done("the room") == nil && !bytes.Equal(written(c), b) {
			t.Errorf("%x is written as %x", b, written(c))
		}
	})
}
