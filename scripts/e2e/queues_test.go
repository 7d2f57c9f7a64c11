package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
	"github.com/trimq/trimq/scripts/broker"
)

// TestQueueFeatures plays each feature of queues over real sockets, with a tier killed in the middle:
// the connections stay open, and what was promised is kept.
func TestQueueFeatures(t *testing.T) {
	for _, tier := range []string{"", "logicsrv", "persistsrv"} {
		for _, f := range []struct {
			name string
			play func(t *testing.T, p *play)
		}{
			{"priorities", playPriorities},
			{"delay", playDelay},
			{"dead letters", playDeadLetters},
			{"leases", playLeases},
			{"recall", playRecall},
			{"filter", playFilter},
			{"commit", playCommit},
			{"rollback", playRollback},
			{"check-back", playCheckBack},
			{"purge and rewind", playRewind},
		} {
			t.Run(f.name+"/"+tier, func(t *testing.T) {
				f.play(t, &play{b: started(t, nil), t: t, tier: tier, name: strings.ReplaceAll(strings.TrimSpace(f.name+" "+tier), " ", "-")})
			})
		}
	}
}

// play is one feature with one tier that dies.
type play struct {
	b    *broker.Broker
	t    *testing.T
	tier string // who dies; empty: nobody
	name string // of the queue
}

// kill ends the tier as kill -9 does; its supervisor starts it again.
func (p *play) kill() {
	p.t.Helper()
	if p.tier == "" {
		return
	}
	eventually(p.t, "it is there to be killed", func() bool { return p.b.Kill(p.tier) == nil })
}

// want compares values.
func want(t *testing.T, got []handed, expected ...string) {
	t.Helper()
	if !slices.Equal(values(got), expected) {
		t.Fatalf("got %q, want %q", values(got), expected)
	}
}

func playPriorities(t *testing.T, p *play) {
	s := speak(t, p.b)
	q := s.queue(p.name, admin.QueueSettings{MaxPriority: 5})
	for _, priority := range []uint8{0, 3, 200, 1} {
		s.publish(native.Publish{RoutingKey: p.name, Priority: priority}, fmt.Sprint(priority))
	}
	p.kill()
	s.subscribe(1, q, 2, 0)
	first := s.receive(1, 2)
	want(t, first, "200", "3")
	if first[0].note.Priority != 200 || first[0].note.Key != p.name || first[0].Index == first[1].Index {
		t.Errorf("%+v", first)
	}
	p.kill()
	s.settle(q, first[0], ipc.VerdictAck)
	s.settle(q, first[1], ipc.VerdictRequeue)
	s.call(native.CmdCredit, &native.Credit{Sub: 1, Limit: 5})
	rest := s.receive(1, 3)
	want(t, rest, "3", "1", "0")
	if rest[0].Attempts != 1 || rest[1].Attempts != 0 {
		t.Errorf("%+v", rest)
	}
}

func playDelay(t *testing.T, p *play) {
	s := speak(t, p.b)
	q := s.queue(p.name, admin.QueueSettings{})
	due := time.Now().Add(1500 * time.Millisecond)
	s.publish(native.Publish{RoutingKey: p.name, DelayMS: 1500}, "late")
	s.publish(native.Publish{RoutingKey: p.name}, "now")
	s.subscribe(1, q, 10, 0)
	want(t, s.receive(1, 1), "now")
	p.kill()
	want(t, s.receive(1, 1), "late")
	if early := time.Until(due); early > 0 {
		t.Errorf("%v early", early)
	}
}

func playDeadLetters(t *testing.T, p *play) {
	s := speak(t, p.b)
	dead := s.queue(p.name+"-dead", admin.QueueSettings{})
	q := s.queue(p.name, admin.QueueSettings{DeadLetter: true, DeadLetterKey: p.name + "-dead", DeliveryLimit: admin.Some(1)})
	s.publish(native.Publish{RoutingKey: p.name, Headers: []ipc.Header{{Key: "h", Value: "v"}}}, "a", "b", "c")
	s.subscribe(1, q, 10, 0)
	got := s.receive(1, 3)
	want(t, got, "a", "b", "c")
	p.kill()
	s.settle(q, got[1], ipc.VerdictReject)
	s.settle(q, got[2], ipc.VerdictRequeue)
	back := s.receive(1, 1)
	want(t, back, "c")
	s.settle(q, back[0], ipc.VerdictRequeue) // once too often
	p.kill()
	var buried []handed
	for len(buried) < 2 {
		list, _ := s.pull(native.Pull{Queue: dead, Max: 5, WaitMS: 10_000, AutoAck: true})
		buried = append(buried, list...)
	}
	want(t, buried, "b", "c")
	for i, reason := range []ipc.Reason{ipc.ReasonRejected, ipc.ReasonDeliveryLimit} {
		n := buried[i].note
		if len(n.Deaths) != 1 || n.Deaths[0].Queue != p.name || n.Deaths[0].Reason != reason || n.Deaths[0].Count != 1 ||
			!slices.Equal(n.Deaths[0].Keys, []string{p.name}) || len(n.Headers) != 1 || n.Key != p.name+"-dead" {
			t.Errorf("%q came with %+v", buried[i].value, n)
		}
	}
	if list, _ := s.pull(native.Pull{Queue: dead, Max: 5}); len(list) != 0 {
		t.Errorf("more: %+v", list)
	}
}

func playLeases(t *testing.T, p *play) {
	s := speak(t, p.b)
	q := s.queue(p.name, admin.QueueSettings{})
	s.publish(native.Publish{RoutingKey: p.name}, "a", "b", "c")
	got, lease := s.pull(native.Pull{Queue: q, Max: 10, InvisibleMS: 600_000})
	want(t, got, "a", "b", "c")
	p.kill()
	s.conn.Close() // leases are of nobody
	s = speak(t, p.b)
	if list, _ := s.pull(native.Pull{Queue: q, Max: 1}); len(list) != 0 {
		t.Errorf("pulled, though leased: %+v", list)
	}
	extend := func(h handed, invisibleMS uint64) *native.Extend {
		return &native.Extend{Queue: q, Index: h.Index, Offset: h.offset, Lease: lease.Lease, InvisibleMS: invisibleMS}
	}
	remove := func(h handed) *native.Ack {
		return &native.Ack{Queue: q, Index: h.Index, Lease: lease.Lease, Verdict: ipc.VerdictAck, Ranges: []ipc.Range{{First: h.offset, Count: 1}}}
	}
	s.call(native.CmdAck, remove(got[0]))
	s.refused(errcode.LeaseExpired, native.CmdAck, remove(got[0]))
	s.call(native.CmdExtend, extend(got[1], 0))
	s.refused(errcode.LeaseExpired, native.CmdExtend, extend(got[1], 100))
	waiting := speak(t, p.b)
	correlation := waiting.send(native.CmdPull, &native.Pull{Queue: q, Max: 5, WaitMS: 30_000, InvisibleMS: 100})
	back, _ := s.pull(native.Pull{Queue: q, Max: 5, WaitMS: 30_000})
	if len(back) == 0 { // the other was faster, and gives it back
		back, _ = s.pull(native.Pull{Queue: q, Max: 5, WaitMS: 30_000})
	}
	want(t, back, "b")
	if back[0].Attempts == 0 {
		t.Errorf("%+v", back[0])
	}
	p.kill()
	s.settle(q, back[0], ipc.VerdictAck)
	s.call(native.CmdExtend, extend(got[2], 1))
	waiting.until(func(f *native.Frame) bool {
		return f.Correlation == correlation && f.Command == native.CmdPull
	})
	eventually(t, "the last message comes back and is pulled for good", func() bool {
		list, _ := s.pull(native.Pull{Queue: q, Max: 5, WaitMS: 100, AutoAck: true})
		return len(list) == 1 && list[0].value == "c"
	})
}

func playRecall(t *testing.T, p *play) {
	s, other := speak(t, p.b), speak(t, p.b)
	q := s.queue(p.name, admin.QueueSettings{})
	s.publish(native.Publish{RoutingKey: p.name}, "a", "b")
	s.subscribe(1, q, 2, 300)
	got := s.receive(1, 2)
	s.settle(q, got[0], ipc.VerdictAck)
	p.kill()
	f := s.until(func(f *native.Frame) bool { return f.Command == native.CmdRecall })
	m, err := native.DecodeRecall(f.Body)
	if err != nil || m.Sub != 1 || m.Index != got[1].Index || !slices.Equal(m.Ranges, []ipc.Range{{First: got[1].offset, Count: 1}}) {
		t.Fatalf("%+v %v", m, err)
	}
	s.refused(errcode.InvalidArgument, native.CmdAck, &native.Ack{Sub: 1, Queue: q, Index: got[1].Index, Verdict: ipc.VerdictAck, Ranges: m.Ranges})
	other.subscribe(1, q, 2, 0)
	late := other.receive(1, 1)
	want(t, late, "b")
	if late[0].Attempts != 1 {
		t.Errorf("%+v", late[0])
	}
	other.settle(q, late[0], ipc.VerdictAck)
}

func playFilter(t *testing.T, p *play) {
	s := speak(t, p.b)
	topic := p.name + "-topic"
	index := s.topic(topic)
	q := s.queue(p.name, admin.QueueSettings{Topic: topic, FilterKind: admin.FilterSelector, Filter: "word = 'yes' OR word LIKE 'x%'"})
	f := s.try(native.CmdCreateQueue, &admin.CreateQueue{Name: "bad", QueueSettings: admin.QueueSettings{Durable: true, Topic: topic, FilterKind: admin.FilterSelector, Filter: "word >"}})
	if f.Flags&native.FlagError == 0 {
		t.Error("a filter that cannot be read is taken")
	}
	s.produce(index, 0, "no", "yes", "no", "no", "x1")
	s.subscribe(1, q, 2, 0)
	got := s.receive(1, 2)
	want(t, got, "yes", "x1")
	p.kill()
	s.produce(index, 0, "no", "no")
	s.produce(index, 0, "yes")
	s.settle(q, got[0], ipc.VerdictAck)
	s.call(native.CmdCredit, &native.Credit{Sub: 1, Limit: 3})
	want(t, s.receive(1, 1), "yes")
	s.call(native.CmdUnsubscribe, &native.Unsubscribe{Sub: 1})
	p.kill()
	var pulled []handed
	for len(pulled) < 2 {
		list, _ := s.pull(native.Pull{Queue: q, Max: 1, WaitMS: 10_000, AutoAck: true})
		pulled = append(pulled, list...)
	}
	want(t, pulled, "x1", "yes")
	if list, _ := s.pull(native.Pull{Queue: q, Max: 1}); len(list) != 0 {
		t.Errorf("more: %+v", list)
	}
}

// begin opens a transaction with a message for the queue and one for a topic, while two others are
// in hand.
func (p *play) begin(t *testing.T, s *speaker) (q, index, txn uint64, held []handed) {
	q, index = s.queue(p.name, admin.QueueSettings{}), s.topic(p.name+"-topic")
	s.publish(native.Publish{RoutingKey: p.name}, "first", "second")
	s.subscribe(1, q, 2, 0)
	held = s.receive(1, 2)
	m, err := native.DecodeBeginTxnReply(s.call(native.CmdBeginTxn, &native.BeginTxn{}))
	if err != nil {
		t.Fatal(err)
	}
	if r := s.publish(native.Publish{RoutingKey: p.name, Txn: m.Txn}, "third"); r.Queues != 0 {
		t.Errorf("%+v", r)
	}
	s.produce(index, m.Txn, "record")
	return q, index, m.Txn, held
}

func commitOf(txn, q uint64, h handed) *native.EndTxn {
	return &native.EndTxn{Txn: txn, Commit: true, Verdicts: []ipc.TxnVerdict{
		{Sub: h.Sub, Queue: q, Index: h.Index, Verdict: ipc.VerdictAck, Range: ipc.Range{First: h.offset, Count: 1}},
	}}
}

// visible is how much of a partition can be read.
func (s *speaker) visible(index uint64) uint64 {
	m, err := native.DecodeListOffsetsReply(s.call(native.CmdListOffsets, &native.ListOffsets{Index: index, TimeMS: native.TimeLatest}))
	if err != nil {
		s.t.Fatal(err)
	}
	return m.Visible
}

func playCommit(t *testing.T, p *play) {
	s := speak(t, p.b)
	q, index, txn, held := p.begin(t, s)
	p.kill()
	if s.visible(index) != 0 {
		t.Error("a transaction shows before its end")
	}
	s.refused(errcode.InvalidArgument, native.CmdEndTxn, commitOf(txn, q, handed{Deliver: held[0].Deliver, offset: 99}))
	end := commitOf(txn, q, held[0])
	correlation := s.send(native.CmdEndTxn, end)
	p.kill()
	f := s.until(func(f *native.Frame) bool { return f.Correlation == correlation })
	if m, err := native.DecodeEndTxnReply(f.Body); f.Flags != native.FlagResponse || err != nil || m != (native.EndTxnReply{Committed: true, Queues: 2}) {
		t.Fatalf("%+v %+v %v", f.Header, m, err)
	}
	s.call(native.CmdEndTxn, end) // asked again, it is answered like the first time
	s.refused(errcode.TxnEnded, native.CmdEndTxn, &native.EndTxn{Txn: txn})
	s.refused(errcode.InvalidArgument, native.CmdAck, &native.Ack{Sub: 1, Queue: q, Index: held[0].Index, Verdict: ipc.VerdictAck, Ranges: []ipc.Range{{First: held[0].offset, Count: 1}}})
	s.settle(q, held[1], ipc.VerdictAck)
	s.call(native.CmdCredit, &native.Credit{Sub: 1, Limit: 3})
	want(t, s.receive(1, 1), "third")
	eventually(t, "the record is visible", func() bool { return s.visible(index) == 1 })
}

func playRollback(t *testing.T, p *play) {
	s := speak(t, p.b)
	q, index, txn, held := p.begin(t, s)
	p.kill()
	s.call(native.CmdEndTxn, &native.EndTxn{Txn: txn})
	s.refused(errcode.TxnEnded, native.CmdEndTxn, commitOf(txn, q, held[0]))
	s.settle(q, held[0], ipc.VerdictAck)
	s.settle(q, held[1], ipc.VerdictAck)
	// Another one, whose connection ends.
	lost := speak(t, p.b)
	m, err := native.DecodeBeginTxnReply(lost.call(native.CmdBeginTxn, &native.BeginTxn{}))
	if err != nil {
		t.Fatal(err)
	}
	lost.publish(native.Publish{RoutingKey: p.name, Txn: m.Txn}, "lost")
	lost.conn.Close()
	p.kill()
	eventually(t, "it is rolled back", func() bool {
		d, err := admin.DecodeDescription(s.call(native.CmdDescribe, &admin.Describe{Kind: admin.KindTxn}))
		return err == nil && len(d.Txns) == 0
	})
	s.publish(native.Publish{RoutingKey: p.name}, "last")
	s.call(native.CmdCredit, &native.Credit{Sub: 1, Limit: 5})
	want(t, s.receive(1, 1), "last")
	if s.visible(index) != 0 {
		t.Error("what was rolled back shows")
	}
}

func playCheckBack(t *testing.T, p *play) {
	s, asked := speak(t, p.b), speak(t, p.b)
	q := s.queue(p.name, admin.QueueSettings{})
	group := "payers-of-" + p.name
	asked.call(native.CmdTxnMember, &native.TxnMember{Group: group, Join: true})
	m, err := native.DecodeBeginTxnReply(s.call(native.CmdBeginTxn, &native.BeginTxn{Group: group, Key: "order-7", CheckMS: 300}))
	if err != nil {
		t.Fatal(err)
	}
	s.publish(native.Publish{RoutingKey: p.name, Txn: m.Txn}, "half")
	s.conn.Close()
	p.kill()
	f := asked.until(func(f *native.Frame) bool { return f.Command == native.CmdCheckTxn })
	check, err := native.DecodeCheckTxn(f.Body)
	if err != nil || check.Txn != m.Txn || check.Group != group || check.Key != "order-7" {
		t.Fatalf("%+v %v", check, err)
	}
	p.kill()
	asked.call(native.CmdEndTxn, &native.EndTxn{Txn: check.Txn, Commit: true})
	list, _ := asked.pull(native.Pull{Queue: q, Max: 1, WaitMS: 30_000})
	want(t, list, "half")
}

// playRewind goes back to a time: LIST_OFFSETS tells for each index of the queue where that is.
func playRewind(t *testing.T, p *play) {
	s := speak(t, p.b)
	q := s.queue(p.name, admin.QueueSettings{RewindMS: admin.Some(3_600_000), MaxPriority: 3})
	s.publish(native.Publish{RoutingKey: p.name}, "old")
	s.publish(native.Publish{RoutingKey: p.name}, "a", "b") // times 1000 and 1001
	s.publish(native.Publish{RoutingKey: p.name, Priority: 2}, "first")
	s.subscribe(1, q, 4, 0)
	for _, h := range s.receive(1, 4) {
		s.settle(q, h, ipc.VerdictAck)
	}
	p.kill()
	d, err := admin.DecodeDescription(s.call(native.CmdDescribe, &admin.Describe{Kind: admin.KindQueue, Names: []string{p.name}}))
	if err != nil || len(d.Queues) != 1 || len(d.Queues[0].Indexes) != 2 {
		t.Fatalf("%+v %v", d, err)
	}
	var to []admin.SeekTo
	for _, x := range d.Queues[0].Indexes {
		m, err := native.DecodeListOffsetsReply(s.call(native.CmdListOffsets, &native.ListOffsets{Index: x.Index, TimeMS: 1001}))
		if err != nil {
			t.Fatal(err)
		}
		to = append(to, admin.SeekTo{Index: x.Index, Offset: m.Offset})
	}
	if to[0].Offset != 1 || to[1].Offset != 1 { // the batch of a and b; behind the only one of priority 2
		t.Fatalf("%+v", to)
	}
	s.call(native.CmdSeek, &admin.Seek{Name: p.name, To: to})
	s.call(native.CmdCredit, &native.Credit{Sub: 1, Limit: 5})
	want(t, s.receive(1, 1), "a")
	p.kill()
	eventually(t, "what is ready is purged", func() bool { // not while it is not known what is in hand
		f := s.try(native.CmdPurge, &admin.Purge{Name: p.name})
		m, err := admin.DecodeCreated(f.Body)
		return f.Flags&native.FlagError == 0 && err == nil && m.Messages == 1
	})
	s.publish(native.Publish{RoutingKey: p.name}, "new")
	s.call(native.CmdCredit, &native.Credit{Sub: 1, Limit: 9})
	want(t, s.receive(1, 1), "new")
}
