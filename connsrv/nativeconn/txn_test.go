package nativeconn

import (
	"fmt"
	"testing"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
)

func TestBeginTxn(t *testing.T) {
	p := newPlay(t)
	p.ask(native.CmdBeginTxn, &native.BeginTxn{Group: "g", Key: "k", CheckMS: 7})
	m := one(p, ipc.TypeBeginTxn, ipc.DecodeBeginTxn)
	if m.Group != "g" || m.Key != "k" || m.CheckMS != 7 {
		t.Errorf("%+v", m)
	}
	p.reply(ipc.TypeTxnBegun, &ipc.TxnBegun{Head: m.Head, Txn: 9})
	if r, err := native.DecodeBeginTxnReply(p.frame(native.CmdBeginTxn).Body); err != nil || r.Txn != 9 {
		t.Errorf("%+v %v", r, err)
	}
	p.conn.Closed()
	if m := one(p, ipc.TypeConnClosed, ipc.DecodeConnClosed); m.Conn != p.link.ID() {
		t.Errorf("%+v", m) // else logicsrv would not roll back
	}
}

// holding is a consumer that holds offsets 0 to 5 of index 7, and a puller that holds 6 and 7.
func holding(t *testing.T) *play {
	p := newPlay(t)
	for range 2 {
		p.log.store(7, words(batch.None, "a", "b", "c", "d"), 0)
	}
	p.subscribe(native.Subscribe{Sub: 1, Limit: 6}, ipc.Filter{})
	p.deliver(7, 0, 6)
	p.give(p.pull(native.Pull{Max: 2}), ipc.Range{First: 6, Count: 2})
	p.frames()
	return p
}

// hands is what is told again of what is in hand.
func (p *play) hands() string {
	p.t.Helper()
	p.conn.Resync(ipc.Marker{Term: 2, Ask: 1}, true)
	s := ""
	for _, m := range sent(p, ipc.TypeSubState, ipc.DecodeSubState) {
		for _, h := range m.InHand {
			s += fmt.Sprintf("[%d,%d)", h.Range.First, h.Range.First+uint64(h.Range.Count))
		}
	}
	return s
}

func verdict(sub, first uint64, count uint32) ipc.TxnVerdict {
	return ipc.TxnVerdict{Sub: sub, Queue: 7, Index: 7, Verdict: ipc.VerdictAck, Range: ipc.Range{First: first, Count: count}}
}

// Verdicts of an END_TXN are in hand until it is answered, and out of reach of others.
func TestEndTxn(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(p *play, m ipc.EndTxn)
		ok     bool
		hands  string
	}{
		"committed": {func(p *play, m ipc.EndTxn) {
			p.reply(ipc.TypeTxnEnded, &ipc.TxnEnded{Head: m.Head, Committed: true, Queues: 3})
		}, true, "[0,1)[3,6)[6,7)"},
		"refused": {func(p *play, m ipc.EndTxn) { p.fail(m.Req, errcode.LimitExceeded) }, false, "[0,6)[6,8)"},
	} {
		p := holding(t)
		p.ask(native.CmdEndTxn, &native.EndTxn{Txn: 9, Commit: true, Verdicts: []ipc.TxnVerdict{verdict(1, 1, 2), verdict(native.PullerBit|1, 7, 1)}})
		m := one(p, ipc.TypeEndTxn, ipc.DecodeEndTxn)
		if m.Txn != 9 || !m.Commit || m.Unheld || len(m.Verdicts) != 2 || m.Verdicts[1] != verdict(native.PullerBit|1, 7, 1) {
			t.Fatalf("%s: %+v", name, m)
		}
		p.refused(errcode.InvalidArgument, native.CmdAck, &native.Ack{Sub: 1, Queue: 7, Index: 7, Verdict: ipc.VerdictRequeue, Ranges: []ipc.Range{{First: 2, Count: 1}}})
		if got := p.hands(); got != "[0,1)[3,6)[1,3)[6,7)[7,8)" {
			t.Errorf("%s: on the way %s is in hand", name, got)
		}
		c.answer(p, m)
		f := p.frame(native.CmdEndTxn)
		if ok := f.Flags&native.FlagError == 0; ok != c.ok {
			t.Errorf("%s: %+v", name, f.Header)
		}
		if r, err := native.DecodeEndTxnReply(f.Body); c.ok && (err != nil || r != (native.EndTxnReply{Committed: true, Queues: 3})) {
			t.Errorf("%s: %+v %v", name, r, err)
		}
		if got := p.hands(); got != c.hands {
			t.Errorf("%s: %s is in hand", name, got)
		}
	}
}

// A rollback needs no verdicts; what is in hand stays there.
func TestRollback(t *testing.T) {
	p := holding(t)
	p.ask(native.CmdEndTxn, &native.EndTxn{Txn: 9, Verdicts: []ipc.TxnVerdict{verdict(1, 1, 2), verdict(5, 1, 2)}})
	m := one(p, ipc.TypeEndTxn, ipc.DecodeEndTxn)
	if m.Commit || m.Unheld || len(m.Verdicts) != 0 {
		t.Errorf("%+v", m)
	}
	p.reply(ipc.TypeTxnEnded, &ipc.TxnEnded{Head: m.Head})
	if r, err := native.DecodeEndTxnReply(p.frame(native.CmdEndTxn).Body); err != nil || r.Committed || p.hands() != "[0,6)[6,8)" {
		t.Errorf("%+v %v", r, err)
	}
}

// A commit with verdicts on what is in no hand is logicsrv's to refuse, unless it was committed
// before; no hand is changed.
func TestCommitOfWhatIsNotHeld(t *testing.T) {
	for name, list := range map[string][]ipc.TxnVerdict{
		"not in hand": {verdict(1, 0, 1), verdict(1, 5, 2)}, "twice": {verdict(1, 0, 2), verdict(1, 1, 1)}, "of nobody": {verdict(1, 0, 1), verdict(3, 0, 1)},
		"of another queue": {{Sub: 1, Queue: 8, Index: 7, Verdict: ipc.VerdictAck, Range: ipc.Range{Count: 1}}},
		"of another index": {{Sub: 1, Queue: 7, Index: 8, Verdict: ipc.VerdictAck, Range: ipc.Range{Count: 1}}},
	} {
		p := holding(t)
		p.ask(native.CmdEndTxn, &native.EndTxn{Txn: 9, Commit: true, Verdicts: list})
		m := one(p, ipc.TypeEndTxn, ipc.DecodeEndTxn)
		if !m.Commit || !m.Unheld || len(m.Verdicts) != 0 || p.hands() != "[0,6)[6,8)" {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

// What is recalled while its END_TXN is under way is gone, whatever comes of that.
func TestRecallOfWhatIsPledged(t *testing.T) {
	p := holding(t)
	p.ask(native.CmdEndTxn, &native.EndTxn{Txn: 9, Commit: true, Verdicts: []ipc.TxnVerdict{verdict(1, 1, 4)}})
	m := one(p, ipc.TypeEndTxn, ipc.DecodeEndTxn)
	p.reply(ipc.TypeRecall, &ipc.Recall{Head: p.head(0), Sub: 1, Index: 7, Ranges: []ipc.Range{{First: 0, Count: 3}}})
	if r, err := native.DecodeRecall(p.frame(native.CmdRecall).Body); err != nil || fmt.Sprint(r.Ranges) != "[{0 1} {1 2}]" {
		t.Errorf("%+v %v", r, err)
	}
	p.fail(m.Req, errcode.InvalidArgument)
	p.frames()
	if got := p.hands(); got != "[3,6)[6,8)" {
		t.Errorf("%s is in hand", got)
	}
}

// The verdicts of a transaction make no more ranges than others may.
func TestPledgesAreBounded(t *testing.T) {
	p := holding(t)
	s := p.conn.sub(1)
	for i := range uint64(p.lane.MaxGaps()) {
		s.InHand.Add(9, 3*i, 2)
	}
	p.refused(errcode.LimitExceeded, native.CmdEndTxn, &native.EndTxn{Txn: 9, Commit: true, Verdicts: []ipc.TxnVerdict{verdict(1, 0, 6), {Sub: 1, Queue: 7, Index: 9, Verdict: ipc.VerdictAck, Range: ipc.Range{First: 1, Count: 1}}}})
	if s.Pledged.Count() != 0 || !s.InHand.Holds(9, ipc.Range{First: 0, Count: 2}) || !s.InHand.Holds(7, ipc.Range{First: 0, Count: 6}) {
		t.Error("what was refused has changed the hand")
	}
}

// Who answers for a group is told again, and asked; who leaves, or is about to go, is neither.
func TestTxnMembers(t *testing.T) {
	p := newPlay(t)
	join := func(group string, join bool) ipc.TxnMember {
		t.Helper()
		p.ask(native.CmdTxnMember, &native.TxnMember{Group: group, Join: join})
		m := one(p, ipc.TypeTxnMember, ipc.DecodeTxnMember)
		if m.Group != group || m.Join != join {
			t.Errorf("%+v", m)
		}
		return m
	}
	told := func() (groups string) {
		t.Helper()
		p.conn.Resync(ipc.Marker{Term: 2, Ask: 1}, true)
		for _, m := range sent(p, ipc.TypeTxnMember, ipc.DecodeTxnMember) {
			if !m.Join || m.Req != 0 {
				t.Errorf("%+v", m)
			}
			groups += m.Group + " "
		}
		return groups
	}
	for _, g := range []string{"b", "a", "b"} {
		p.reply(ipc.TypeAcked, &ipc.Done{Head: join(g, true).Head})
		p.frame(native.CmdTxnMember)
	}
	bad := join("bad", true)
	if got := told(); got != "a b bad " {
		t.Errorf("told again: %s", got)
	}
	p.fail(bad.Req, errcode.InvalidArgument)
	p.refusal(native.CmdTxnMember)
	p.fail(join("a", true).Req, errcode.InvalidArgument) // it was a member before
	p.frames()
	if got := told(); got != "a b " {
		t.Errorf("told again: %s", got)
	}
	p.reply(ipc.TypeCheckTxn, &ipc.CheckTxn{Head: p.head(0), Txn: 9, Group: "b", Key: "k", Checks: 2})
	f := p.frame(native.CmdCheckTxn)
	if m, err := native.DecodeCheckTxn(f.Body); err != nil || f.Correlation != 0 || m != (native.CheckTxn{Txn: 9, Group: "b", Key: "k", Checks: 2}) {
		t.Errorf("%+v %v", m, err)
	}
	join("b", false)
	p.reply(ipc.TypeCheckTxn, &ipc.CheckTxn{Head: p.head(0), Txn: 9, Group: "b", Key: "k", Checks: 3})
	if list := p.frames(); len(list) != 0 {
		t.Errorf("asked: %+v", headersOf(list))
	}
	p.conn.Shutdown()
	if m := one(p, ipc.TypeTxnMember, ipc.DecodeTxnMember); m.Join || m.Group != "a" {
		t.Errorf("%+v", m)
	}
}

func TestTxnMembersAreBounded(t *testing.T) {
	p := newPlay(t)
	p.conn.window = 1 << 20
	for i := range maxGroups {
		p.ask(native.CmdTxnMember, &native.TxnMember{Group: fmt.Sprint("g", i), Join: true})
	}
	p.records()
	p.refused(errcode.LimitExceeded, native.CmdTxnMember, &native.TxnMember{Group: "one more", Join: true})
	p.ask(native.CmdTxnMember, &native.TxnMember{Group: "g1", Join: true}) // it is one
	one(p, ipc.TypeTxnMember, ipc.DecodeTxnMember)
}

// A draining connection still takes the end of a transaction, and more time for a lease.
func TestEndsAreTakenWhileDraining(t *testing.T) {
	p := newPlay(t)
	p.ask(native.CmdInitProducer, &native.InitProducer{ProducerID: -1}) // so that it is not closed at once
	p.records()
	p.conn.Shutdown()
	p.frames()
	p.ask(native.CmdEndTxn, &native.EndTxn{Txn: 9, Commit: true})
	one(p, ipc.TypeEndTxn, ipc.DecodeEndTxn)
	p.ask(native.CmdExtend, &native.Extend{Queue: 7, Index: 7, Lease: 1})
	one(p, ipc.TypeExtend, ipc.DecodeExtend)
	p.refused(errcode.ShuttingDown, native.CmdPull, &native.Pull{Queue: 7, Max: 1})
	p.refused(errcode.ShuttingDown, native.CmdBeginTxn, &native.BeginTxn{})
}
