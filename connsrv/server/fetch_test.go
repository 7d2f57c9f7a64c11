package server

import (
	"bytes"
	"testing"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
	"github.com/trimq/trimq/shmqueue"
)

// checkBatches counts the records of fetched batches, whose offsets must begin at base.
func checkBatches(t *testing.T, batches []byte, base uint64) (records int) {
	t.Helper()
	for len(batches) > 0 {
		first, rest, err := batch.Split(batches)
		must(t, err)
		meta, err := batch.Validate(first)
		must(t, err)
		if got := batch.Header(first).BaseOffset(); got != base {
			t.Fatalf("batch begins at %d, want %d", got, base)
		}
		base += uint64(meta.Count)
		records += int(meta.Count)
		batches = rest
	}
	return records
}

func TestFetchWhatIsThere(t *testing.T) {
	b := start(t, nil)
	c := b.connect()
	var want []byte
	for i := range 20 {
		m := makeBatch(10+i, 500)
		r := c.produce(1, m)
		batch.PatchBase(m, r.Base, 0)
		want = append(want, m...)
	}
	r, got := c.fetch(native.Fetch{Index: 1, MaxBytes: 1 << 20, MinBytes: 1, MaxWaitMS: 1000})
	if !bytes.Equal(got, want) || r.Start != 0 || r.Visible != 390 || r.Index != 1 {
		t.Errorf("%d bytes of %d, %+v", len(got), len(want), r)
	}
	// From the middle of a batch; the first one whole though it is too large.
	r, got = c.fetch(native.Fetch{Index: 1, Offset: 25, MaxBytes: 1})
	if n := checkBatches(t, got, 21); n != 12 {
		t.Errorf("%d records, %+v", n, r)
	}
	// At the end, and beyond it.
	r, got = c.fetch(native.Fetch{Index: 1, Offset: 390, MaxBytes: 1})
	if len(got) != 0 || r.Visible != 390 {
		t.Errorf("%d bytes, %+v", len(got), r)
	}
	c.refused(errcode.OffsetOutOfRange, native.CmdFetch, &native.Fetch{Index: 1, Offset: 391, MaxBytes: 1})
	c.refused(errcode.OffsetOutOfRange, native.CmdFetch, &native.Fetch{Index: 1, Offset: 391, MaxBytes: 1, MaxWaitMS: 60_000})
	c.refused(errcode.UnknownIndex, native.CmdFetch, &native.Fetch{Index: 99, MaxBytes: 1})
	// Another connection's appends are found, though this loop knows an old end only.
	d := b.connect()
	d.produce(1, makeBatch(5, 5))
	if _, got = c.fetch(native.Fetch{Index: 1, Offset: 390, MaxBytes: 1}); checkBatches(t, got, 390) != 5 {
		t.Error("the new batch is not seen")
	}
}

// Batches that lie in several indexes get this index's offsets on the way out.
func TestFetchPatchesBaseOffsets(t *testing.T) {
	b := start(t, nil)
	c := b.connect()
	for i := range 5 {
		c.produce(2, makeBatch(3+i, 2000))
	}
	_, got := c.fetch(native.Fetch{Index: 2, MaxBytes: 1 << 20})
	if n := checkBatches(t, got, 0); n != 25 {
		t.Errorf("%d records", n)
	}
}

func TestLongPoll(t *testing.T) {
	b := start(t, nil)
	c, p := b.connect(), b.connect()
	// Nothing comes: an empty answer after the time.
	if r, got := c.fetch(native.Fetch{Index: 1, MaxBytes: 1, MinBytes: 1, MaxWaitMS: 20}); len(got) != 0 || r.Visible != 0 {
		t.Errorf("%d bytes, %+v", len(got), r)
	}
	b.stub.until("the wait to be taken back", func() bool { return len(b.stub.waits) == 0 })
	// Something comes.
	c.send(native.CmdFetch, &native.Fetch{Index: 1, MaxBytes: 1 << 20, MinBytes: 1, MaxWaitMS: 60_000})
	b.stub.until("the wait", func() bool { return len(b.stub.waits) == 1 })
	p.produce(1, makeBatch(2, 10))
	_, got, err := native.DecodeFetchReply(c.read().Body)
	must(t, err)
	if checkBatches(t, got, 0) != 2 {
		t.Error("not the batch")
	}
	// Too little comes, then enough.
	c.send(native.CmdFetch, &native.Fetch{Index: 1, Offset: 2, MaxBytes: 1 << 20, MinBytes: 2000, MaxWaitMS: 60_000})
	b.stub.until("the wait", func() bool { return len(b.stub.waits) == 1 })
	p.produce(1, makeBatch(1, 1000))
	b.stub.until("a wait for more", func() bool { return len(b.stub.waits) == 1 && b.stub.waits[0].Beyond == 3 })
	p.produce(1, makeBatch(1, 1000))
	_, got, err = native.DecodeFetchReply(c.read().Body)
	must(t, err)
	if checkBatches(t, got, 2) != 2 {
		t.Error("not both batches")
	}
	// Too little until the time is over: that.
	if _, got = c.fetch(native.Fetch{Index: 1, Offset: 3, MaxBytes: 1 << 20, MinBytes: 5000, MaxWaitMS: 20}); checkBatches(t, got, 3) != 1 {
		t.Error("not what was there")
	}
}

func TestListOffsets(t *testing.T) {
	b := start(t, nil)
	c := b.connect()
	list := func(index uint64, time int64) native.ListOffsetsReply {
		f := c.call(native.CmdListOffsets, &native.ListOffsets{Index: index, TimeMS: time})
		m, err := native.DecodeListOffsetsReply(f.Body)
		must(t, err)
		return m
	}
	if m := list(1, native.TimeLatest); m.Offset != 0 || m.Visible != 0 {
		t.Errorf("%+v", m)
	}
	if m := list(1, 5); m.Offset != 0 || m.TimeMS != -1 {
		t.Errorf("%+v", m)
	}
	c.produce(1, makeBatch(10, 10)) // times 1000 to 1009
	c.produce(1, makeBatch(20, 10)) // times 1000 to 1019
	for _, tc := range []struct{ time, offset, at int64 }{
		{native.TimeLatest, 30, -1}, {native.TimeEarliest, 0, -1}, {1005, 0, 1009}, {1015, 10, 1019}, {2000, 30, -1},
	} {
		if m := list(1, tc.time); int64(m.Offset) != tc.offset || m.TimeMS != tc.at || m.Visible != 30 {
			t.Errorf("time %d: %+v", tc.time, m)
		}
	}
	c.refused(errcode.UnknownIndex, native.CmdListOffsets, &native.ListOffsets{Index: 99, TimeMS: native.TimeLatest})
}

// readDeliver reads a DELIVER.
func (c *client) readDeliver() (native.Deliver, []byte) {
	c.t.Helper()
	f := c.read()
	if f.Command != native.CmdDeliver {
		c.t.Fatalf("%s instead of DELIVER: %+v", f.Command, f.Header)
	}
	m, _, batches, err := native.DecodeDeliver(f.Body)
	must(c.t, err)
	return m, batches
}

func TestPushFromAPartition(t *testing.T) {
	b := start(t, nil)
	c, p := b.connect(), b.connect()
	p.produce(1, makeBatch(10, 1000))
	c.call(native.CmdSubscribe, &native.Subscribe{Sub: 7, Index: 1, Offset: 4, Limit: 5000, Kind: native.SubTopic})
	m, got := c.readDeliver()
	if m.Sub != 7 || m.Base != 0 || m.First != 4 || m.Count != 6 || checkBatches(t, got, 0) != 10 {
		t.Errorf("%+v", m)
	}
	// The credit is used up (the last batch may exceed it); more brings more.
	p.produce(1, makeBatch(5, 1000))
	c.call(native.CmdPing, &native.Ping{})
	c.call(native.CmdCredit, &native.Credit{Sub: 7, Limit: 1 << 30})
	if m, got = c.readDeliver(); m.First != 10 || m.Count != 5 || checkBatches(t, got, 10) != 5 {
		t.Errorf("%+v", m)
	}
	// What comes later is pushed as it comes.
	for i := range 10 {
		p.produce(1, makeBatch(2, 10))
		if m, got = c.readDeliver(); m.First != uint64(15+2*i) || checkBatches(t, got, m.First) != int(m.Count) {
			t.Errorf("%+v", m)
		}
	}
	c.refused(errcode.AlreadyExists, native.CmdSubscribe, &native.Subscribe{Sub: 7, Index: 1, Kind: native.SubTopic})
	c.refused(errcode.OffsetOutOfRange, native.CmdSubscribe, &native.Subscribe{Sub: 8, Index: 1, Offset: 1000, Kind: native.SubTopic})
	c.refused(errcode.UnknownIndex, native.CmdSubscribe, &native.Subscribe{Sub: 8, Index: 99, Kind: native.SubTopic})
	c.call(native.CmdUnsubscribe, &native.Unsubscribe{Sub: 7})
	p.produce(1, makeBatch(1, 1))
	c.call(native.CmdPing, &native.Ping{})
	c.refused(errcode.UnknownSubscription, native.CmdUnsubscribe, &native.Unsubscribe{Sub: 7})
	b.stub.until("its wait to be taken back", func() bool { return len(b.stub.waits) == 0 })
}

func TestQueueDeliveryAndVerdicts(t *testing.T) {
	b := start(t, nil)
	c, p := b.connect(), b.connect()
	p.produce(2, makeBatch(10, 100))
	p.produce(2, makeBatch(10, 100))
	c.call(native.CmdSubscribe, &native.Subscribe{Sub: 1, Index: 2, Limit: 15, Kind: native.SubQueue})
	m, got := c.readDeliver()
	if m.Base != 0 || m.First != 0 || m.Count != 10 {
		t.Fatalf("%+v", m)
	}
	if meta, err := batch.Validate(got); err != nil || meta.Count != 10 {
		t.Fatalf("%+v %v", meta, err)
	}
	if m, _ = c.readDeliver(); m.Base != 10 || m.First != 10 || m.Count != 5 {
		t.Fatalf("%+v", m)
	}
	ack := func(sub, index uint64, ranges ...ipc.Range) *native.Ack {
		return &native.Ack{Sub: sub, Queue: index, Index: index, Verdict: ipc.VerdictAck, Ranges: ranges}
	}
	c.call(native.CmdAck, ack(1, 2, ipc.Range{First: 3, Count: 4}, ipc.Range{First: 12, Count: 1}))
	// Not in hand: never delivered, acknowledged before, twice in one request. All or nothing.
	c.refused(errcode.InvalidArgument, native.CmdAck, ack(1, 2, ipc.Range{First: 0, Count: 1}, ipc.Range{First: 15, Count: 1}))
	c.refused(errcode.InvalidArgument, native.CmdAck, ack(1, 2, ipc.Range{First: 2, Count: 2}))
	c.refused(errcode.InvalidArgument, native.CmdAck, ack(1, 2, ipc.Range{First: 0, Count: 2}, ipc.Range{First: 1, Count: 1}))
	c.refused(errcode.InvalidArgument, native.CmdAck, ack(1, 1, ipc.Range{First: 0, Count: 1}))
	requeue := ack(2, 2, ipc.Range{First: 0, Count: 1})
	requeue.Verdict = ipc.VerdictRequeue
	c.refused(errcode.UnknownSubscription, native.CmdAck, requeue)
	c.call(native.CmdAck, ack(1, 2, ipc.Range{First: 0, Count: 3}))
	c.call(native.CmdCredit, &native.Credit{Sub: 1, Limit: 100})
	if m, _ = c.readDeliver(); m.Base != 10 || m.First != 15 || m.Count != 5 {
		t.Fatalf("%+v", m)
	}
	b.stub.set(func() {
		if len(b.stub.acks) != 2 || b.stub.acks[0].Ranges[1].First != 12 {
			t.Errorf("verdicts %+v", b.stub.acks)
		}
	})
	c.call(native.CmdUnsubscribe, &native.Unsubscribe{Sub: 1})
	c.refused(errcode.UnknownIndex, native.CmdSubscribe, &native.Subscribe{Sub: 1, Index: 99, Limit: 1, Kind: native.SubQueue})
}

// Endless credit of a consumer that does not read: logicsrv is told a little of it at a time.
func TestEndlessCreditIsToldInSteps(t *testing.T) {
	b := start(t, nil)
	c, p := b.connect(), b.connect()
	const total = 20_000
	for range 10 {
		p.produce(1, makeBatch(total/10, 10))
	}
	c.call(native.CmdSubscribe, &native.Subscribe{Sub: 1, Index: 1, Limit: 1 << 60, Kind: native.SubQueue, AutoAck: true})
	next := uint64(0)
	for next < total {
		m, _ := c.readDeliver()
		if m.First != next {
			t.Fatalf("%+v, want %d", m, next)
		}
		next += uint64(m.Count)
	}
	b.stub.set(func() {
		for _, s := range b.stub.subs {
			if s.Limit > total+5000 {
				t.Errorf("logicsrv was told a limit of %d", s.Limit)
			}
		}
	})
}

// A consumer with little credit gets parts of a large batch, not all of it each time.
func TestLittleCreditOfLargeBatches(t *testing.T) {
	b := start(t, nil)
	c, p := b.connect(), b.connect()
	const each = 1000
	whole := makeBatch(each, 200)
	p.produce(2, whole)
	p.produce(2, whole)
	c.call(native.CmdSubscribe, &native.Subscribe{Sub: 1, Index: 2, Limit: 7, Kind: native.SubQueue, AutoAck: true})
	next := uint64(0)
	for next < 2*each {
		m, got := c.readDeliver()
		meta, err := batch.Validate(got)
		must(t, err)
		if m.First != next || m.Base != next || meta.Count != m.Count || uint64(m.Count) > 100 {
			t.Fatalf("%+v with %d records, want offset %d", m, meta.Count, next)
		}
		if err := batch.Iterate(got, func(r *batch.Record) error {
			if want := int64(1000 + next%each); r.TimeMS != want || r.Offset != next || len(r.Value) != 200 {
				t.Fatalf("record %d: offset %d, time %d, want %d", next, r.Offset, r.TimeMS, want)
			}
			next++
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		c.write(native.AppendFrame(nil, native.CmdCredit, native.FlagNoReply, 0, &native.Credit{Sub: 1, Limit: next + 50}))
	}
	if n := b.counter(shmqueue.ConnPushedBytes); n > uint64(3*len(whole)) {
		t.Errorf("%d bytes were pushed for %d stored", n, 2*len(whole))
	}
}
