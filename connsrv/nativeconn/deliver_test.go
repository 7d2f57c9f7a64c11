package nativeconn

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
	"github.com/trimq/trimq/shmqueue"
)

// Messages of one queue come from several indexes, and verdicts name which.
func TestDeliveriesOfSeveralIndexes(t *testing.T) {
	p := newPlay(t)
	p.log.store(8, words(batch.None, "a", "b", "c"), 0)
	p.log.store(9, words(batch.None, "x", "y"), 0)
	s := p.subscribe(native.Subscribe{Sub: 1, Limit: 10, Exclusive: true, Priority: -5, AckTimeoutMS: 9000, Tag: "me"}, ipc.Filter{})
	if want := (ipc.Consumer{Exclusive: true, Priority: -5, AckTimeoutMS: 9000, Tag: "me"}); s.Consumer != want || s.Queue != 7 || s.Limit != 10 {
		t.Errorf("subscribes %+v", s)
	}
	p.deliver(9, 0, 2)
	p.deliver(8, 0, 3)
	p.deliver(9, 1, 1) // a second time: an old one
	got := p.delivered(p.frames(), 0)
	if len(got) != 2 || got[0].Index != 9 || fmt.Sprint(got[0].values) != "[x y]" || got[1].Index != 8 || got[1].Count != 3 {
		t.Fatalf("%+v", got)
	}
	ack := func(index, first uint64, count uint32) *native.Ack {
		return &native.Ack{Sub: 1, Queue: 7, Index: index, Verdict: ipc.VerdictAck, Ranges: []ipc.Range{{First: first, Count: count}}}
	}
	p.refused(errcode.InvalidArgument, native.CmdAck, ack(9, 0, 3))
	p.refused(errcode.InvalidArgument, native.CmdAck, ack(7, 0, 1))
	other := ack(8, 0, 1)
	other.Queue = 8
	p.refused(errcode.InvalidArgument, native.CmdAck, other)
	p.ask(native.CmdAck, ack(8, 1, 2))
	if m := one(p, ipc.TypeAck, ipc.DecodeAck); m.Queue != 7 || m.Index != 8 || m.Sub != 1 {
		t.Errorf("%+v", m)
	}
	p.conn.Resync(ipc.Marker{Term: 2, Ask: 1}, true)
	state := one(p, ipc.TypeSubState, ipc.DecodeSubState)
	want := []ipc.Held{{Index: 8, Range: ipc.Range{First: 0, Count: 1}}, {Index: 9, Range: ipc.Range{First: 0, Count: 2}}}
	if !reflect.DeepEqual(state.InHand, want) || state.Consumer != s.Consumer || state.Delivered != 5 || state.Queue != 7 {
		t.Errorf("told again as %+v", state)
	}
}

// A DELIVER brings the note of its batch as it was published; what has none, or a damaged one, is
// delivered all the same.
func TestDeliveriesWithNotes(t *testing.T) {
	p := newPlay(t)
	note := ipc.Note{
		Exchange: "orders", Key: "eu.de", Priority: 4, Headers: []ipc.Header{{Key: "a", Value: "b"}},
		Deaths: []ipc.Death{{Queue: "q", Reason: ipc.ReasonRejected, Count: 2, FirstMS: 5, Exchange: "first", Keys: []string{"k"}}},
	}
	long := ipc.Note{Exchange: "orders", Key: strings.Repeat("k", 10_000)}
	large := strings.Repeat("v", 126<<10) // with the long note, too large for a frame
	damaged := p.log.note(note)
	p.log.write([]byte("x"))
	p.log.corrupt(damaged)
	p.log.store(7, words(batch.None, "none"), 0)
	p.log.store(7, words(batch.None, "first", "second"), p.log.note(note))
	p.log.store(7, words(batch.None, "long"), p.log.note(long))
	p.log.store(7, words(batch.None, "damaged"), damaged)
	p.log.store(7, words(batch.None, large), p.log.note(long))
	p.subscribe(native.Subscribe{Sub: 1, Limit: 10}, ipc.Filter{})
	p.deliver(7, 0, 6)
	got := p.delivered(p.frames(), 0)
	if len(got) != 5 {
		t.Fatalf("%+v", got)
	}
	for i, want := range []ipc.Note{{}, note, long, {}, {}} {
		if !reflect.DeepEqual(got[i].note, want) {
			t.Errorf("the note of %.10q is %+v", got[i].values, got[i].note)
		}
	}
	if n := p.counter(shmqueue.ConnNotesLost); n != 2 {
		t.Errorf("%d notes were lost", n)
	}
}

// Of a batch that is in an index in part, what is delivered has its place there.
func TestDeliveryOfAPart(t *testing.T) {
	p := newPlay(t)
	b := words(batch.None, "a", "b", "c", "d", "e")
	p.log.enter(7, commitlog.Entry{Position: p.log.write(b), Length: uint32(len(b)), Count: 2, Skip: 2, Flags: commitlog.FlagPartial | commitlog.FlagRebase})
	p.subscribe(native.Subscribe{Sub: 1, Limit: 10}, word("d"))
	p.deliver(7, 0, 2)
	got := p.delivered(p.frames(), 0)
	if len(got) != 1 || fmt.Sprint(got[0].values) != "[d]" || got[0].First != 1 {
		t.Errorf("%+v", got)
	}
	if v, err := ipc.DecodeAck(p.records()[0].payload); err != nil || v.Verdict != ipc.VerdictSkip || fmt.Sprint(v.Ranges) != "[{0 1}]" {
		t.Errorf("%+v %v", v, err)
	}
}

// What does not match the filter is skipped, costs the client no credit, and is in nobody's hand.
func TestFilteredDeliveries(t *testing.T) {
	for _, codec := range []batch.Codec{batch.None, batch.Zstd} {
		p := newPlay(t)
		p.log.store(7, words(codec, "a", "b", "a", "a", "b", "b"), 0)
		p.log.store(7, words(codec, "b", "b"), 0)
		p.log.store(7, words(codec, "b", "a"), 0)
		p.subscribe(native.Subscribe{Sub: 1, Limit: 8}, word("a"))
		p.deliver(7, 0, 8)
		var values []string
		for _, h := range p.delivered(p.frames(), 0) {
			values = append(values, h.values...)
		}
		if fmt.Sprint(values) != "[a a a]" {
			t.Errorf("%s: %q", codec, values)
		}
		list := p.records()
		if len(list) != 2 || list[0].typ != ipc.TypeAck || list[1].typ != ipc.TypeCredit {
			t.Fatalf("%s: %+v", codec, list)
		}
		ack, _ := ipc.DecodeAck(list[0].payload)
		credit, _ := ipc.DecodeCredit(list[1].payload)
		if ack.Verdict != ipc.VerdictSkip || ack.Req != 0 || fmt.Sprint(ack.Ranges) != "[{1 1} {4 4}]" || credit.Limit != 8+5 {
			t.Errorf("%s: %+v %+v", codec, ack, credit)
		}
		p.deliver(7, 8, 2)
		if got := p.delivered(p.frames(), 0); len(got) != 1 || got[0].First != 9 {
			t.Errorf("%s: %+v", codec, got)
		}
		p.records()
		p.conn.Resync(ipc.Marker{Term: 2, Ask: 1}, true)
		state := one(p, ipc.TypeSubState, ipc.DecodeSubState)
		if len(state.InHand) != 3 || state.Limit != 8+6 || state.Delivered != 10 {
			t.Errorf("%s: %+v", codec, state)
		}
		if n := p.counter(shmqueue.ConnSkipped); n != 6 {
			t.Errorf("%s: %d were skipped", codec, n)
		}
	}
}

// A filter decides on nothing that it cannot read: that is delivered.
func TestUnreadableBatchesPassFilters(t *testing.T) {
	p := newPlay(t)
	foreign := words(batch.None, "a", "b")
	foreign[batch.OffAttributes+1] = byte(batch.Gzip)
	binary.BigEndian.PutUint32(foreign[batch.OffCRC:], batch.Checksum(foreign))
	damaged := words(batch.None, "b", "b")
	damaged[len(damaged)-1] ^= 1
	p.log.store(7, foreign, 0)
	p.log.store(7, damaged, 0)
	p.subscribe(native.Subscribe{Sub: 1, Limit: 8}, word("a"))
	p.deliver(7, 0, 4)
	if list := p.frames(); len(list) != 2 || list[0].Command != native.CmdDeliver || list[1].Command != native.CmdDeliver {
		t.Errorf("%+v", headersOf(list))
	}
	if v := p.verdicts(); len(v) != 0 {
		t.Errorf("skipped: %+v", v)
	}
}

// With automatic acknowledgement what was sent is acknowledged, what was skipped is skipped, and no
// time-out is told, as nothing is held.
func TestAutoAckOfFilteredDeliveries(t *testing.T) {
	p := newPlay(t)
	p.log.store(7, words(batch.None, "a", "b", "b", "a", "a", "b"), 0)
	if s := p.subscribe(native.Subscribe{Sub: 1, Limit: 8, AutoAck: true, AckTimeoutMS: 5}, word("a")); s.Consumer.AckTimeoutMS != 0 || !s.Consumer.AutoAck {
		t.Errorf("%+v", s.Consumer)
	}
	p.deliver(7, 0, 6)
	list := p.records()
	if len(list) != 3 {
		t.Fatalf("%+v", list)
	}
	acked, _ := ipc.DecodeAck(list[0].payload)
	skipped, _ := ipc.DecodeAck(list[1].payload)
	if acked.Verdict != ipc.VerdictAck || fmt.Sprint(acked.Ranges) != "[{0 1} {3 2}]" ||
		skipped.Verdict != ipc.VerdictSkip || fmt.Sprint(skipped.Ranges) != "[{1 2} {5 1}]" {
		t.Errorf("%+v %+v", acked, skipped)
	}
	p.conn.Resync(ipc.Marker{Term: 2, Ask: 1}, true)
	if state := one(p, ipc.TypeSubState, ipc.DecodeSubState); len(state.InHand) != 0 {
		t.Errorf("holds %+v", state.InHand)
	}
}

// What retention has removed is skipped, in large steps, and does not end the consumer.
func TestGoneMessagesAreSkipped(t *testing.T) {
	p := newPlay(t)
	p.log.store(7, words(batch.None, "a", "b", "c"), 0)
	p.log.store(7, words(batch.None, "d"), 0)
	p.log.trim(7, 3)
	p.subscribe(native.Subscribe{Sub: 1, Limit: 4}, ipc.Filter{})
	p.deliver(7, 0, 2)
	if list := p.frames(); len(list) != 0 {
		t.Errorf("sent %+v", headersOf(list))
	}
	list := p.records()
	if len(list) != 3 || list[2].typ != ipc.TypeCredit {
		t.Fatalf("%+v", list)
	}
	ahead, _ := ipc.DecodeAck(list[0].payload)
	own, _ := ipc.DecodeAck(list[1].payload)
	if ahead.Verdict != ipc.VerdictSkip || fmt.Sprint(ahead.Ranges) != "[{2 1}]" || own.Verdict != ipc.VerdictSkip || fmt.Sprint(own.Ranges) != "[{0 2}]" {
		t.Errorf("%+v %+v", ahead, own)
	}
	p.deliver(7, 2, 2) // decided before logicsrv had read that
	if got := p.delivered(p.frames(), 0); len(got) != 1 || got[0].First != 3 {
		t.Errorf("%+v", got)
	}
}

// The front of a run was acknowledged over a connection after that on which it had been held, and is
// trimmed by the time that the run comes: the rest is sent, and the consumer goes on.
func TestRunWhoseFrontIsGone(t *testing.T) {
	p := newPlay(t)
	p.log.store(7, words(batch.None, "a", "b", "c"), 0)
	p.log.store(7, words(batch.None, "d"), 0)
	p.log.trim(7, 2)
	p.subscribe(native.Subscribe{Sub: 1, Limit: 4}, ipc.Filter{})
	p.deliver(7, 0, 4)
	got := p.delivered(p.frames(), 0)
	if len(got) != 2 || got[0].First != 2 || fmt.Sprint(got[0].values) != "[c]" || fmt.Sprint(got[1].values) != "[d]" {
		t.Fatalf("%+v", got)
	}
	list := p.records()
	if len(list) == 0 || list[0].typ != ipc.TypeAck {
		t.Fatalf("%+v", list)
	}
	if m, err := ipc.DecodeAck(list[0].payload); err != nil || m.Verdict != ipc.VerdictSkip || fmt.Sprint(m.Ranges) != "[{0 2}]" {
		t.Errorf("%+v %v", m, err)
	}
	for _, r := range list[1:] {
		if r.typ != ipc.TypeCredit {
			t.Errorf("%+v", r)
		}
	}
	p.ask(native.CmdAck, &native.Ack{Sub: 1, Queue: 7, Index: 7, Verdict: ipc.VerdictAck, Ranges: []ipc.Range{{First: 2, Count: 2}}})
}

// What cannot be read ends its consumer; the messages go back.
func TestDamagedBatchEndsTheConsumer(t *testing.T) {
	p := newPlay(t)
	p.log.store(7, words(batch.None, "a"), 0)
	p.log.enter(7, commitlog.Entry{Count: 1, Flags: commitlog.FlagDamaged})
	p.subscribe(native.Subscribe{Sub: 1, Limit: 4}, ipc.Filter{})
	p.deliver(7, 0, 2)
	list := p.frames()
	if len(list) != 2 || list[1].Command != native.CmdSubClosed {
		t.Fatalf("%+v", headersOf(list))
	}
	if m, err := native.DecodeSubClosed(list[1].Body); err != nil || m.Code != errcode.Damaged {
		t.Errorf("%+v %v", m, err)
	}
	if m := one(p, ipc.TypeUnsubscribe, ipc.DecodeUnsubscribe); m.Sub != 1 {
		t.Errorf("%+v", m)
	}
	p.deliver(7, 0, 1) // it has ended
	if list := p.frames(); len(list) != 0 {
		t.Errorf("sent %+v", headersOf(list))
	}
}

// A consumer that does not read is owed offsets; when it reads on it gets all of them, and what was
// recalled meanwhile is recalled behind them.
func TestDeliveriesWaitForTheLink(t *testing.T) {
	p := newPlay(t)
	for i := range 50 {
		p.log.store(7, words(batch.None, fmt.Sprint(i)), 0)
	}
	p.subscribe(native.Subscribe{Sub: 1, Limit: 1 << 40}, ipc.Filter{})
	p.link.Most = 400
	p.deliver(7, 0, 20)
	p.deliver(7, 20, 20)
	p.reply(ipc.TypeRecall, &ipc.Recall{Head: p.head(0), Sub: 1, Index: 7, Ranges: []ipc.Range{{First: 15, Count: 10}}})
	first := p.delivered(p.frames(), 0)
	if len(first) == 0 || len(first) > 10 || len(p.conn.line) != 3 {
		t.Fatalf("%d were sent, %d parcels wait", len(first), len(p.conn.line))
	}
	if list := p.records(); len(list) != 0 {
		t.Errorf("credit is told to a consumer that does not read: %+v", list)
	}
	at := uint64(len(first))
	for range 100 {
		p.conn.Drained()
		list := p.frames()
		rest := 0
		if n := len(list); n > 0 && list[n-1].Command == native.CmdRecall {
			m, err := native.DecodeRecall(list[n-1].Body)
			if err != nil || fmt.Sprint(m.Ranges) != "[{15 10}]" || m.Index != 7 || m.Sub != 1 {
				t.Errorf("%+v %v", m, err)
			}
			rest = 1
		}
		for _, h := range p.delivered(list, rest) {
			if h.First != at {
				t.Fatalf("%d instead of %d", h.First, at)
			}
			at++
		}
		if rest == 1 {
			break
		}
	}
	if at != 40 || len(p.conn.line) != 0 {
		t.Fatalf("up to %d were sent", at)
	}
	p.refused(errcode.InvalidArgument, native.CmdAck, &native.Ack{Sub: 1, Queue: 7, Index: 7, Verdict: ipc.VerdictAck, Ranges: []ipc.Range{{First: 15, Count: 1}}})
	p.conn.Resync(ipc.Marker{Term: 2, Ask: 1}, true)
	if state := one(p, ipc.TypeSubState, ipc.DecodeSubState); fmt.Sprint(state.InHand) != "[{7 {0 15}} {7 {25 15}}]" {
		t.Errorf("%+v", state.InHand)
	}
}

// What was recalled before it could be skipped is in no hand, nor is what was skipped beside it.
func TestRecallOfWhatIsSkipped(t *testing.T) {
	p := newPlay(t)
	p.log.store(7, words(batch.None, "b", "b", "b"), 0)
	p.subscribe(native.Subscribe{Sub: 1, Limit: 4}, word("a"))
	p.link.Most = 1
	p.ask(native.CmdPing, &native.Ping{})
	p.deliver(7, 0, 3)
	p.reply(ipc.TypeRecall, &ipc.Recall{Head: p.head(0), Sub: 1, Index: 7, Ranges: []ipc.Range{{First: 1, Count: 1}}})
	p.frames()
	p.link.Most = 0
	p.conn.Drained()
	p.records()
	p.conn.Resync(ipc.Marker{Term: 2, Ask: 1}, true)
	if s := one(p, ipc.TypeSubState, ipc.DecodeSubState); len(s.InHand) != 0 || s.Limit != 7 {
		t.Errorf("%+v", s)
	}
}

// What stands in line for a consumer that has ended is not sent any more.
func TestNothingBehindTheEnd(t *testing.T) {
	p := newPlay(t)
	p.log.store(7, words(batch.None, "a", "b"), 0)
	p.subscribe(native.Subscribe{Sub: 1, Limit: 4}, ipc.Filter{})
	p.link.Most = 1
	p.ask(native.CmdPing, &native.Ping{})
	p.deliver(7, 0, 2)
	p.reply(ipc.TypeRecall, &ipc.Recall{Head: p.head(0), Sub: 1, Index: 7, Ranges: []ipc.Range{{First: 1, Count: 1}}})
	p.ask(native.CmdUnsubscribe, &native.Unsubscribe{Sub: 1})
	m := one(p, ipc.TypeUnsubscribe, ipc.DecodeUnsubscribe)
	p.frames()
	p.conn.Drained()
	p.reply(ipc.TypeSubClosed, &ipc.SubClosed{Head: p.head(m.Req), Sub: 1})
	p.frame(native.CmdUnsubscribe)
}

// What a consumer has passed a verdict on is not recalled from it.
func TestRecall(t *testing.T) {
	p := newPlay(t)
	p.log.store(7, words(batch.None, "a", "b", "c", "d"), 0)
	p.subscribe(native.Subscribe{Sub: 1, Limit: 4, AckTimeoutMS: 100}, ipc.Filter{})
	p.deliver(7, 0, 4)
	p.ask(native.CmdAck, &native.Ack{Sub: 1, Queue: 7, Index: 7, Verdict: ipc.VerdictAck, Ranges: []ipc.Range{{First: 1, Count: 1}}})
	p.frames()
	recall := func(first uint64, count uint32) {
		p.reply(ipc.TypeRecall, &ipc.Recall{Head: p.head(0), Sub: 1, Index: 7, Ranges: []ipc.Range{{First: first, Count: count}}})
	}
	recall(0, 3)
	if m, err := native.DecodeRecall(p.frame(native.CmdRecall).Body); err != nil || fmt.Sprint(m.Ranges) != "[{0 1} {2 1}]" {
		t.Errorf("%+v %v", m, err)
	}
	recall(0, 3)
	if list := p.frames(); len(list) != 0 {
		t.Errorf("recalled twice: %+v", headersOf(list))
	}
	p.reply(ipc.TypeRecall, &ipc.Recall{Head: p.head(0), Sub: 9, Index: 7, Ranges: []ipc.Range{{First: 3, Count: 1}}})
	if list := p.frames(); len(list) != 0 || p.counter(shmqueue.ConnRecalled) != 2 {
		t.Errorf("recalled from nobody: %+v", headersOf(list))
	}
	p.deliver(7, 0, 1) // once more, as of anybody
	if got := p.delivered(p.frames(), 0); len(got) != 1 {
		t.Errorf("%+v", got)
	}
}

// A filter that costs much lets others have their turn: what is left goes on a while later, though
// the link has room.
func TestCostlyFiltersRest(t *testing.T) {
	p := newPlay(t)
	const n = 40
	large := strings.Repeat("v", 1<<20) // in a frame, compressed
	for range n {
		p.log.store(7, words(batch.Zstd, "b", large), 0)
	}
	p.log.store(7, words(batch.Zstd, "a"), 0)
	p.subscribe(native.Subscribe{Sub: 1, Limit: 2*n + 1}, word("a"))
	p.deliver(7, 0, 2*n+1)
	steps := 0
	for ; len(p.conn.line) > 0; steps++ {
		if v := p.records(); len(v) == 0 || p.link.Deadline != p.link.NowMS() || steps > n {
			t.Fatalf("step %d: %+v, deadline %d", steps, v, p.link.Deadline)
		}
		if steps == 1 {
			p.conn.expireParks(p.link.NowMS()) // does not forget it
		}
		p.conn.Deadline(p.link.NowMS())
	}
	if got := p.delivered(p.frames(), 0); steps < 5 || len(got) != 1 || p.counter(shmqueue.ConnSkipped) != 2*n || p.link.Deadline != 0 {
		t.Errorf("%d steps, %+v, deadline %d", steps, got, p.link.Deadline)
	}
}

// Batches that are small only as long as they are compressed are not unpacked for a filter.
func TestFiltersDoNotUnpackBombs(t *testing.T) {
	p := newPlay(t)
	var values []string
	for range 20 {
		values = append(values, strings.Repeat("v", 1<<20))
	}
	bomb := words(batch.Zstd, values...)
	if len(bomb) > 100<<10 {
		t.Fatalf("%d bytes", len(bomb))
	}
	p.log.store(7, bomb, 0)
	p.subscribe(native.Subscribe{Sub: 1, Limit: 20}, word("a"))
	p.deliver(7, 0, 20)
	if list := p.frames(); len(list) != 1 || list[0].Command != native.CmdDeliver {
		t.Errorf("%+v", headersOf(list))
	}
}
