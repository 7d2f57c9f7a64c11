package server

import (
	"fmt"
	"net"
	"testing"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
	"github.com/trimq/trimq/shmqueue"
	"github.com/trimq/trimq/shmqueue/tier"
)

// readPull reads the answer to a PULL: its messages and its response.
func (c *client) readPull(correlation uint64) (messages []native.Deliver, m native.PullReply) {
	c.t.Helper()
	for {
		f := c.read()
		if f.Correlation != correlation {
			c.t.Fatalf("%+v within the answer to %d", f.Header, correlation)
		}
		if f.Command == native.CmdDeliver {
			d, _, _, err := native.DecodeDeliver(f.Body)
			must(c.t, err)
			messages = append(messages, d)
			continue
		}
		if f.Command != native.CmdPull || f.Flags != native.FlagResponse {
			c.t.Fatalf("%+v", f.Header)
		}
		m, err := native.DecodePullReply(f.Body)
		must(c.t, err)
		return messages, m
	}
}

func (c *client) pull(m native.Pull) ([]native.Deliver, native.PullReply) {
	c.t.Helper()
	return c.readPull(c.send(native.CmdPull, &m))
}

func TestPulls(t *testing.T) {
	b := start(t, nil)
	c, p := b.connect(), b.connect()
	p.produce(2, makeBatch(10, 100))
	got, m := c.pull(native.Pull{Queue: 2, Max: 4})
	if len(got) != 1 || got[0].Count != 4 || got[0].Sub&native.PullerBit == 0 || m != (native.PullReply{Count: 4}) {
		t.Fatalf("%+v %+v", got, m)
	}
	ack := &native.Ack{Sub: got[0].Sub, Queue: 2, Index: 2, Verdict: ipc.VerdictAck, Ranges: []ipc.Range{{First: 0, Count: 4}}}
	c.call(native.CmdAck, ack)
	c.refused(errcode.InvalidArgument, native.CmdAck, ack)
	got, m = c.pull(native.Pull{Queue: 2, Max: 100, InvisibleMS: 1000})
	if len(got) != 1 || got[0].First != 4 || got[0].Sub != 0 || m != (native.PullReply{Lease: 5, UntilMS: 6, Count: 6}) {
		t.Fatalf("%+v %+v", got, m)
	}
	c.call(native.CmdAck, &native.Ack{Queue: 2, Index: 2, Lease: 5, Verdict: ipc.VerdictAck, Ranges: []ipc.Range{{First: 4, Count: 1}}})
	c.call(native.CmdExtend, &native.Extend{Queue: 2, Index: 2, Offset: 5, Lease: 5, InvisibleMS: 9})
	// Nothing is there: at once, after a while, and then something.
	if got, m = c.pull(native.Pull{Queue: 2, Max: 1}); len(got) != 0 || m != (native.PullReply{}) {
		t.Errorf("%+v %+v", got, m)
	}
	if got, m = c.pull(native.Pull{Queue: 2, Max: 1, WaitMS: 20}); len(got) != 0 || m != (native.PullReply{}) {
		t.Errorf("%+v %+v", got, m)
	}
	waiting := c.send(native.CmdPull, &native.Pull{Queue: 2, Max: 9, WaitMS: 60_000, AutoAck: true})
	b.stub.until("the pull", func() bool { return len(b.stub.pulls) == 1 })
	p.produce(2, makeBatch(3, 10))
	b.stub.set(b.stub.answerPulls)
	if got, m = c.readPull(waiting); len(got) != 1 || m.Count != 3 {
		t.Errorf("%+v %+v", got, m)
	}
	b.stub.until("the acknowledgement", func() bool {
		last := b.stub.acks[len(b.stub.acks)-1]
		return last.Verdict == ipc.VerdictAck && last.Req == 0 && last.Ranges[0] == ipc.Range{First: 10, Count: 3}
	})
	if n := b.counter(shmqueue.ConnPulls); n != 5 {
		t.Errorf("%d pulls", n)
	}
}

// What a client has pulled that does not read costs no memory; it is closed in the end, and the
// connection's end is told, with which what it held goes back.
func TestPullOfASlowClient(t *testing.T) {
	b := start(t, func(c *tier.Config) {
		c.ConnectionMemoryBytes = 64 << 10
		c.SlowReaderTimeoutMS = 500
	})
	c, p := b.connect(), b.connect()
	must(t, c.conn.(*net.TCPConn).SetReadBuffer(4096))
	const batches, each = 60, 40
	for range batches {
		p.produce(2, makeBatch(each, 10_000))
	}
	for range batches / 2 {
		c.send(native.CmdPull, &native.Pull{Queue: 2, Max: 2 * each})
	}
	b.until("the connection to be closed as slow", func() bool { return b.counter(shmqueue.ConnClosedSlow) == 1 })
	b.stub.until("its end", func() bool { return b.stub.seen[ipc.TypeConnClosed] == 1 })
	if n := b.counter(shmqueue.ConnPulled); n == batches*each {
		t.Error("all of it was queued for a client that does not read")
	}
	b.stillServes()
}

// A consumer's filter is the queue's: the rest is skipped.
func TestFilteredQueue(t *testing.T) {
	b := start(t, nil)
	b.stub.set(func() { b.stub.filter = ipc.Filter{Kind: 1, Text: "$timestamp >= 1005"} })
	c, p := b.connect(), b.connect()
	p.produce(1, makeBatch(10, 100)) // times 1000 to 1009
	c.call(native.CmdSubscribe, &native.Subscribe{Sub: 1, Index: 1, Limit: 3, Kind: native.SubQueue})
	// The stub hands out from the front, as far as it knows of credit.
	if m, _ := c.readDeliver(); m.First != 5 {
		t.Errorf("%+v", m)
	}
	n := uint32(1)
	for n < 3 {
		m, _ := c.readDeliver()
		n += m.Count
	}
	c.sync()
	b.stub.set(func() {
		skipped := 0
		for _, a := range b.stub.acks {
			if a.Verdict != ipc.VerdictSkip {
				t.Errorf("%+v", a)
			}
			for _, r := range a.Ranges {
				skipped += int(r.Count)
			}
		}
		if skipped != 5 {
			t.Errorf("%d were skipped", skipped)
		}
	})
	c.call(native.CmdUnsubscribe, &native.Unsubscribe{Sub: 1})
	if got, m := c.pull(native.Pull{Queue: 1, Max: 2, WaitMS: 60_000}); m.Count != 1 || got[0].First != 5 {
		t.Errorf("%+v %+v", got, m)
	}
}

func TestRecallIsTold(t *testing.T) {
	b := start(t, nil)
	c, p := b.connect(), b.connect()
	p.produce(1, makeBatch(5, 10))
	c.call(native.CmdSubscribe, &native.Subscribe{Sub: 1, Index: 1, Limit: 5, Kind: native.SubQueue, AckTimeoutMS: 100, Tag: "slow"})
	c.readDeliver()
	b.stub.set(func() {
		b.stub.toSub(ipc.TypeRecall, func(h ipc.Head) []byte {
			return (&ipc.Recall{Head: h, Sub: 1, Index: 1, Ranges: []ipc.Range{{First: 1, Count: 2}}}).Append(nil)
		})
	})
	f := c.read()
	if m, err := native.DecodeRecall(f.Body); f.Command != native.CmdRecall || err != nil || fmt.Sprint(m.Ranges) != "[{1 2}]" {
		t.Errorf("%+v %v", m, err)
	}
	c.refused(errcode.InvalidArgument, native.CmdAck, &native.Ack{Sub: 1, Queue: 1, Index: 1, Verdict: ipc.VerdictAck, Ranges: []ipc.Range{{First: 0, Count: 3}}})
	// Who wants no answer settles what is still his.
	c.write(native.AppendFrame(nil, native.CmdAck, native.FlagNoReply, 0, &native.Ack{Sub: 1, Queue: 1, Index: 1, Verdict: ipc.VerdictAck, Ranges: []ipc.Range{{First: 0, Count: 5}}}))
	b.stub.until("the verdict", func() bool { return len(b.stub.acks) == 1 })
	b.stub.set(func() {
		if got := fmt.Sprint(b.stub.acks[0].Ranges); got != "[{0 1} {3 2}]" {
			t.Errorf("the verdict is on %s", got)
		}
	})
}

func TestTransactions(t *testing.T) {
	b := start(t, nil)
	c, p := b.connect(), b.connect()
	p.produce(1, makeBatch(5, 10))
	f := c.call(native.CmdBeginTxn, &native.BeginTxn{Group: "g", Key: "k"})
	if m, err := native.DecodeBeginTxnReply(f.Body); err != nil || m.Txn != 77 {
		t.Errorf("%+v %v", m, err)
	}
	got, _ := c.pull(native.Pull{Queue: 1, Max: 5})
	end := &native.EndTxn{Txn: 77, Commit: true, Verdicts: []ipc.TxnVerdict{{Sub: got[0].Sub, Queue: 1, Index: 1, Verdict: ipc.VerdictReject, Range: ipc.Range{First: 1, Count: 2}}}}
	f = c.call(native.CmdEndTxn, end)
	if m, err := native.DecodeEndTxnReply(f.Body); err != nil || m != (native.EndTxnReply{Committed: true, Queues: 1}) {
		t.Errorf("%+v %v", m, err)
	}
	c.call(native.CmdEndTxn, end) // logicsrv knows the answer; the hand is not asked
	b.stub.set(func() {
		if e := b.stub.ended; len(e) != 2 || e[0].Unheld || len(e[0].Verdicts) != 1 || !e[1].Unheld || len(e[1].Verdicts) != 0 {
			t.Errorf("%+v", e)
		}
	})
	c.call(native.CmdTxnMember, &native.TxnMember{Group: "g", Join: true})
	b.stub.set(func() {
		m := b.stub.members[0]
		b.stub.put(ipc.TypeCheckTxn, (&ipc.CheckTxn{Head: ipc.Head{Epoch: m.Epoch, Conn: m.Conn}, Txn: 78, Group: "g", Key: "k", Checks: 1}).Append(nil))
	})
	f = c.read()
	if m, err := native.DecodeCheckTxn(f.Body); f.Command != native.CmdCheckTxn || err != nil || m.Txn != 78 {
		t.Errorf("%+v %v", m, err)
	}
}

// Connections that own something in logicsrv are told to have ended.
func TestOwnersEndsAreTold(t *testing.T) {
	b := start(t, nil)
	for i, own := range []func(c *client){
		func(c *client) { c.call(native.CmdBeginTxn, &native.BeginTxn{}) },
		func(c *client) {
			c.call(native.CmdCreateQueue, &admin.CreateQueue{Name: "q", QueueSettings: admin.QueueSettings{Exclusive: true}})
		},
		func(c *client) { c.pull(native.Pull{Queue: 1, Max: 1}) },
		func(c *client) { c.call(native.CmdTxnMember, &native.TxnMember{Group: "g", Join: true}) },
	} {
		c := b.connect()
		own(c)
		c.conn.Close()
		b.stub.until(fmt.Sprint("end ", i), func() bool { return b.stub.seen[ipc.TypeConnClosed] == i+1 })
	}
}

// A restart of logicsrv with everything under way: what is soft is told again, once, what is in
// hand with it; nobody is answered twice, or not at all.
func TestLogicRestartOfQueues(t *testing.T) {
	for _, loops := range []int{1, 3} {
		b := start(t, func(c *tier.Config) { c.EventLoops = loops })
		p, consumer, puller, txn := b.connect(), b.connect(), b.connect(), b.connect()
		p.produce(1, makeBatch(10, 10))
		p.produce(2, makeBatch(10, 10))
		consumer.call(native.CmdSubscribe, &native.Subscribe{Sub: 5, Index: 1, Limit: 8, Kind: native.SubQueue, Priority: 9, AckTimeoutMS: 70_000, Tag: "c"})
		consumer.readDeliver()
		consumer.call(native.CmdAck, &native.Ack{Sub: 5, Queue: 1, Index: 1, Verdict: ipc.VerdictAck, Ranges: []ipc.Range{{First: 2, Count: 3}}})
		puller.pull(native.Pull{Queue: 2, Max: 4})
		puller.pull(native.Pull{Queue: 2, Max: 6, InvisibleMS: 60_000})
		waits := puller.send(native.CmdPull, &native.Pull{Queue: 2, Max: 3, WaitMS: 60_000})
		leases := puller.send(native.CmdPull, &native.Pull{Queue: 2, Max: 3, WaitMS: 60_000, InvisibleMS: 60_000})
		txn.call(native.CmdTxnMember, &native.TxnMember{Group: "g", Join: true})
		got, _ := txn.pull(native.Pull{Queue: 1, Max: 2})
		b.stub.until("the pulls", func() bool { return len(b.stub.pulls) == 2 })
		b.stub.set(func() { b.stub.keep = true })
		ends := txn.send(native.CmdEndTxn, &native.EndTxn{Txn: 77, Commit: true, Verdicts: []ipc.TxnVerdict{
			{Sub: got[0].Sub, Queue: 1, Index: 1, Verdict: ipc.VerdictAck, Range: ipc.Range{First: 1, Count: 1}},
		}})
		b.stub.until("the end of the transaction", func() bool { return len(b.stub.ended) == 1 })

		b.stub.restart()
		b.stub.until("every loop's answer", func() bool { return b.stub.ends == loops && len(b.stub.pulls) == 2 })
		b.stub.set(func() {
			hands := map[string]bool{}
			for _, s := range b.stub.told {
				hands[fmt.Sprint(s.Consumer.Puller, s.Queue, s.Consumer.Tag, s.Consumer.Priority, s.Consumer.AckTimeoutMS, s.InHand)] = true
			}
			for _, want := range []string{
				"false1c970000[{1 {0 2}} {1 {5 3}}]", "true200[{2 {0 4}}]", "true100[{1 {0 1}} {1 {1 1}}]",
			} {
				found := false
				for have := range hands {
					found = found || compact(have) == compact(want)
				}
				if !found || len(b.stub.told) != 3 {
					t.Errorf("%d loops: told %v, want %s", loops, hands, want)
				}
			}
			if len(b.stub.members) != 1 || b.stub.members[0].Group != "g" {
				t.Errorf("%d loops: members %+v", loops, b.stub.members)
			}
			for _, e := range b.stub.ended {
				b.stub.put(ipc.TypeTxnEnded, (&ipc.TxnEnded{Head: e.Head, Committed: true}).Append(nil))
				b.stub.put(ipc.TypeTxnEnded, (&ipc.TxnEnded{Head: e.Head, Committed: true}).Append(nil))
			}
		})
		if f := txn.read(); f.Correlation != ends || f.Flags != native.FlagResponse {
			t.Errorf("%+v", f.Header)
		}
		p.produce(2, makeBatch(5, 10))
		b.stub.set(b.stub.answerPulls)
		for _, correlation := range []uint64{waits, leases} {
			if _, m := puller.readPull(correlation); m.Count == 0 || (m.Lease != 0) != (correlation == leases) {
				t.Errorf("%+v", m)
			}
		}
		for _, c := range []*client{p, consumer, puller, txn} {
			c.sync() // still open, and nothing else has come
		}
		b.stop()
	}
}

// compact drops blanks.
func compact(s string) string {
	out := []rune{}
	for _, r := range s {
		if r != ' ' {
			out = append(out, r)
		}
	}
	return string(out)
}

// What a client that ends its side has pulled for is still answered; its half-open transactions and
// memberships end.
func TestHalfClosedPuller(t *testing.T) {
	b := start(t, nil)
	c := b.connect()
	c.call(native.CmdTxnMember, &native.TxnMember{Group: "g", Join: true})
	correlation := c.send(native.CmdPull, &native.Pull{Queue: 1, Max: 1, WaitMS: 60_000})
	c.sync()
	must(t, c.conn.(*net.TCPConn).CloseWrite())
	if got, m := c.readPull(correlation); len(got) != 0 || m.Count != 0 {
		t.Errorf("%+v %+v", got, m)
	}
	c.wantClosed()
	b.stub.until("the connection's end", func() bool {
		last := b.stub.members[len(b.stub.members)-1]
		return b.stub.seen[ipc.TypeConnClosed] == 1 && !last.Join && last.Group == "g"
	})
}

// Rewinding to a time: LIST_OFFSETS tells the offset in an index of a queue as in a partition.
func TestListOffsetsOfAQueue(t *testing.T) {
	b := start(t, nil)
	c := b.connect()
	p := native.Publish{TTLMS: ipc.NoTTL, Exchange: "x"}
	for range 2 {
		c.call(native.CmdPublish, bytesBody(append(p.Append(nil), makeBatch(10, 10)...)))
	}
	f := c.call(native.CmdListOffsets, &native.ListOffsets{Index: 1, TimeMS: 1005})
	if m, err := native.DecodeListOffsetsReply(f.Body); err != nil || m.Offset != 0 || m.Visible != 20 {
		t.Errorf("%+v %v", m, err)
	}
}

// Bad bodies of every request about queues are refused, and the connection goes on; half a frame is
// not taken for one.
func TestBadQueueRequests(t *testing.T) {
	b := start(t, nil)
	c := b.connect()
	ranges := []ipc.Range{{First: 1, Count: 2}}
	verdict := ipc.TxnVerdict{Sub: 1, Queue: 1, Index: 1, Verdict: ipc.VerdictAck, Range: ranges[0]}
	for cmd, body := range map[native.Command]native.Body{
		native.CmdPull:      &native.Pull{Queue: 1, Max: 1},
		native.CmdExtend:    &native.Extend{Queue: 1, Index: 1, Lease: 1},
		native.CmdBeginTxn:  &native.BeginTxn{Group: "g", Key: "k"},
		native.CmdEndTxn:    &native.EndTxn{Txn: 1, Commit: true, Verdicts: []ipc.TxnVerdict{verdict}},
		native.CmdTxnMember: &native.TxnMember{Group: "g", Join: true},
		native.CmdSubscribe: &native.Subscribe{Sub: 1, Index: 1, Kind: native.SubQueue, Tag: "t"},
		native.CmdAck:       &native.Ack{Sub: 1, Queue: 1, Index: 1, Verdict: ipc.VerdictAck, Ranges: ranges},
	} {
		whole := body.Append(nil)
		for n := range whole {
			c.refused(errcode.Malformed, cmd, bytesBody(whole[:n]))
		}
		c.refused(errcode.Malformed, cmd, bytesBody(append(whole, 0)))
	}
	requeue := verdict
	requeue.Verdict = ipc.VerdictRequeue
	for _, r := range []struct {
		code errcode.Code
		cmd  native.Command
		body native.Body
	}{
		{errcode.Malformed, native.CmdPull, &native.Pull{Queue: 1}},
		{errcode.Malformed, native.CmdPull, &native.Pull{Queue: 1, Max: 1, AutoAck: true, InvisibleMS: 5}},
		{errcode.InvalidArgument, native.CmdPull, &native.Pull{Queue: 1, Max: ipc.MaxPull + 1}},
		{errcode.Malformed, native.CmdExtend, &native.Extend{Queue: 1, Index: 1}},
		{errcode.Malformed, native.CmdEndTxn, &native.EndTxn{Txn: 1, Commit: true, Verdicts: []ipc.TxnVerdict{requeue}}},
		{errcode.Malformed, native.CmdAck, &native.Ack{Sub: 1, Queue: 1, Index: 1, Lease: 2, Verdict: ipc.VerdictAck, Ranges: ranges}},
		{errcode.Malformed, native.CmdAck, &native.Ack{Sub: 1, Queue: 1, Index: 1, Verdict: ipc.VerdictSkip, Ranges: ranges}},
		{errcode.Malformed, native.CmdSubscribe, &native.Subscribe{Sub: native.PullerBit | 1, Index: 1, Kind: native.SubQueue}},
		{errcode.InvalidArgument, native.CmdSubscribe, &native.Subscribe{Sub: 1, Index: 1, Kind: native.SubQueue, Tag: string(make([]byte, ipc.MaxTag+1))}},
		{errcode.UnsupportedCommand, native.CmdRecall, &native.Recall{Sub: 1}},
		{errcode.UnsupportedCommand, native.CmdCheckTxn, &native.CheckTxn{Txn: 1}},
	} {
		c.refused(r.code, r.cmd, r.body)
	}
	b.stub.set(func() {
		if len(b.stub.pulls)+len(b.stub.members)+len(b.stub.ended)+len(b.stub.acks)+len(b.stub.subs) > 0 {
			t.Error("something of it came through")
		}
	})
	half := native.AppendFrame(nil, native.CmdPull, 0, 1, &native.Pull{Queue: 1, Max: 1})
	c.write(half[:len(half)-1])
	must(t, c.conn.(*net.TCPConn).CloseWrite())
	c.wantClosed()
	b.stillServes()
}
