package nativeconn

import (
	"fmt"
	"testing"

	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
	"github.com/trimq/trimq/shmqueue"
)

// pull sends a PULL of queue 7 and returns the record that it becomes.
func (p *play) pull(m native.Pull) ipc.Pull {
	p.t.Helper()
	m.Queue = 7
	p.ask(native.CmdPull, &m)
	return one(p, ipc.TypePull, ipc.DecodePull)
}

// give answers a Pull with runs of index 7.
func (p *play) give(to ipc.Pull, runs ...ipc.Range) {
	m := ipc.Pulled{Head: to.Head, Queue: to.Queue}
	if to.InvisibleMS > 0 {
		m.Lease, m.UntilMS = 55, 99_000
	}
	for _, r := range runs {
		m.Runs = append(m.Runs, ipc.PulledRun{Index: 7, First: r.First, Count: r.Count, Attempts: 2})
	}
	p.reply(ipc.TypePulled, &m)
}

// response decodes the last frame of a list.
func (p *play) response(list []native.Frame) native.PullReply {
	p.t.Helper()
	if len(list) == 0 {
		p.t.Fatal("no response")
	}
	f := list[len(list)-1]
	m, err := native.DecodePullReply(f.Body)
	if f.Command != native.CmdPull || f.Flags != native.FlagResponse || err != nil {
		p.t.Fatalf("%+v %v", f.Header, err)
	}
	return m
}

func TestPullIntoTheHand(t *testing.T) {
	p := newPlay(t)
	p.log.store(7, words(batch.None, "a", "b"), 0)
	p.log.store(7, words(batch.None, "c"), 0)
	r := p.pull(native.Pull{Max: 10})
	if r.Sub != native.PullerBit|1 || r.Queue != 7 || r.Max != 10 || r.Wait || r.InvisibleMS != 0 {
		t.Errorf("%+v", r)
	}
	p.give(r, ipc.Range{First: 0, Count: 3})
	list := p.frames()
	got := p.delivered(list, 1)
	if len(got) != 2 || got[0].Sub != native.PullerBit|1 || got[0].correlation != p.next || got[0].Attempts != 2 || got[1].First != 2 {
		t.Errorf("%+v", got)
	}
	if m := p.response(list); m != (native.PullReply{Count: 3}) {
		t.Errorf("%+v", m)
	}
	p.give(r, ipc.Range{First: 0, Count: 3}) // a repeated answer
	if list := p.frames(); len(list) != 0 || p.counter(shmqueue.ConnStaleReplies) != 1 {
		t.Errorf("answered again: %+v", headersOf(list))
	}
	p.conn.Resync(ipc.Marker{Term: 2, Ask: 1}, true)
	if s := one(p, ipc.TypeSubState, ipc.DecodeSubState); !s.Consumer.Puller || s.Queue != 7 || s.Sub != native.PullerBit|1 || fmt.Sprint(s.InHand) != "[{7 {0 3}}]" {
		t.Errorf("told again as %+v", s)
	}
	p.ask(native.CmdAck, &native.Ack{Sub: native.PullerBit | 1, Queue: 7, Index: 7, Verdict: ipc.VerdictRequeue, Ranges: []ipc.Range{{First: 1, Count: 2}}})
	if v := p.verdicts(); len(v) != 1 || v[0].Sub != native.PullerBit|1 || v[0].Verdict != ipc.VerdictRequeue {
		t.Errorf("%+v", v)
	}
	for cmd, body := range map[native.Command]native.Body{
		native.CmdCredit: &native.Credit{Sub: native.PullerBit | 1, Limit: 5}, native.CmdUnsubscribe: &native.Unsubscribe{Sub: native.PullerBit | 1},
	} {
		p.refused(errcode.UnknownSubscription, cmd, body)
	}
	if again := p.pull(native.Pull{Max: 1}); again.Sub != r.Sub {
		t.Errorf("another puller of the same queue: %+v", again)
	}
	if n := p.counter(shmqueue.ConnPulled); n != 3 {
		t.Errorf("%d messages were pulled", n)
	}
}

// What is leased is in no hand: DELIVER names no subscription, verdicts name the lease.
func TestPullWithALease(t *testing.T) {
	p := newPlay(t)
	p.log.store(7, words(batch.None, "a", "b"), 0)
	r := p.pull(native.Pull{Max: 2, InvisibleMS: 30_000, WaitMS: 5})
	if r.Sub != 0 || !r.Wait || r.InvisibleMS != 30_000 {
		t.Errorf("%+v", r)
	}
	p.give(r, ipc.Range{First: 0, Count: 2})
	list := p.frames()
	if got := p.delivered(list, 1); len(got) != 1 || got[0].Sub != 0 || got[0].Count != 2 {
		t.Errorf("%+v", got)
	}
	if m := p.response(list); m != (native.PullReply{Lease: 55, UntilMS: 99_000, Count: 2}) {
		t.Errorf("%+v", m)
	}
	p.conn.Resync(ipc.Marker{Term: 2, Ask: 1}, true)
	p.conn.AskAgain(true)
	if list := p.records(); len(list) != 0 {
		t.Errorf("told again: %+v", list)
	}
	for _, v := range []ipc.Verdict{ipc.VerdictAck, ipc.VerdictRequeue, ipc.VerdictReject} {
		p.ask(native.CmdAck, &native.Ack{Queue: 7, Index: 7, Lease: 55, Verdict: v, Ranges: []ipc.Range{{First: 1, Count: 1}}})
		m := one(p, ipc.TypeAck, ipc.DecodeAck)
		if m.Lease != 55 || m.Sub != 0 || m.Verdict != v {
			t.Errorf("%+v", m)
		}
		p.fail(m.Req, errcode.LeaseExpired)
		if e := p.refusal(native.CmdAck); e.Code != errcode.LeaseExpired {
			t.Errorf("%+v", e)
		}
	}
	p.ask(native.CmdExtend, &native.Extend{Queue: 7, Index: 8, Offset: 1, Lease: 55, InvisibleMS: 9})
	x := one(p, ipc.TypeExtend, ipc.DecodeExtend)
	if x.Queue != 7 || x.Index != 8 || x.Offset != 1 || x.Lease != 55 || x.InvisibleMS != 9 {
		t.Errorf("%+v", x)
	}
	p.reply(ipc.TypeExtended, &ipc.Done{Head: x.Head})
	if f := p.frame(native.CmdExtend); f.Flags != native.FlagResponse || len(f.Body) != 0 {
		t.Errorf("%+v", f)
	}
}

// A pull whose time is over is ended through logicsrv; what is on its way by then is the answer.
func TestPullWaits(t *testing.T) {
	p := newPlay(t)
	p.log.store(7, words(batch.None, "a"), 0)
	first, second := p.pull(native.Pull{Max: 1, WaitMS: 50}), p.pull(native.Pull{Max: 1, WaitMS: 80})
	if !first.Wait || p.link.Deadline != 1050 {
		t.Errorf("%+v, deadline %d", first, p.link.Deadline)
	}
	p.conn.Deadline(1050)
	if m := one(p, ipc.TypePullEnd, ipc.DecodePullEnd); m.Target != first.Req || p.link.Deadline != 1080 {
		t.Errorf("%+v, deadline %d", m, p.link.Deadline)
	}
	p.conn.Deadline(1060)
	if list := p.records(); len(list) != 0 {
		t.Errorf("ended twice: %+v", list)
	}
	p.conn.Resync(ipc.Marker{Term: 2, Ask: 1}, true)
	if list := p.records(); len(list) != 0 {
		t.Errorf("told in front of the answer's end, where it is void: %+v", list)
	}
	p.conn.AskAgain(true)
	told := sent(p, ipc.TypePull, ipc.DecodePull)
	if len(told) != 2 || told[0].Req != first.Req || told[0].Wait || told[1].Req != second.Req || !told[1].Wait {
		t.Errorf("told again: %+v", told)
	}
	p.give(first, ipc.Range{First: 0, Count: 1})
	if list := p.frames(); p.response(list).Count != 1 {
		t.Errorf("%+v", headersOf(list))
	}
	p.conn.Deadline(1080)
	p.records()
	p.give(second)
	if list := p.frames(); len(list) != 1 || p.response(list) != (native.PullReply{}) {
		t.Errorf("%+v", headersOf(list))
	}
	if p.link.Deadline != 0 || p.conn.pending.Len() != 0 || p.conn.asked != 0 {
		t.Errorf("deadline %d, %d requests, %d messages are asked for", p.link.Deadline, p.conn.pending.Len(), p.conn.asked)
	}
}

// A long answer goes out as the link takes it; what was not sent is neither acknowledged nor
// forgotten in answer to a marker, and the pull itself is not told again.
func TestLongAnswersAreStreamed(t *testing.T) {
	p := newPlay(t)
	const n = 300
	for i := range n {
		p.log.store(7, words(batch.None, fmt.Sprint(i)), 0)
	}
	r := p.pull(native.Pull{Max: n, AutoAck: true})
	p.link.Most = 2000
	p.give(r, ipc.Range{First: 0, Count: 100}, ipc.Range{First: 100, Count: n - 100})
	at, steps := uint64(0), 0
	var list []native.Frame
	for {
		size := p.link.Bytes
		if list = p.frames(); size > 2500 {
			t.Fatalf("%d bytes at once", size)
		}
		last := len(list) > 0 && list[len(list)-1].Command == native.CmdPull
		rest := 0
		if last {
			rest = 1
		}
		for _, h := range p.delivered(list, rest) {
			if h.First != at {
				t.Fatalf("%d instead of %d", h.First, at)
			}
			at++
		}
		acked := uint64(0)
		for _, v := range p.verdicts() {
			if v.Verdict != ipc.VerdictAck || v.Sub != r.Sub {
				t.Fatalf("%+v", v)
			}
			acked += countOf(v.Ranges)
		}
		if acked == 0 || steps == 0 && acked != at {
			t.Fatalf("%d acknowledged, %d sent", acked, at)
		}
		if last {
			break
		}
		p.conn.Resync(ipc.Marker{Term: 2, Ask: 1}, true)
		p.conn.AskAgain(true)
		if s := one(p, ipc.TypeSubState, ipc.DecodeSubState); uint64(s.InHand[0].Range.First) != at {
			t.Fatalf("%d were sent, %+v is in hand", at, s.InHand)
		}
		if steps++; steps > n {
			t.Fatal("no progress")
		}
		p.conn.Drained()
	}
	if at != n || steps < 5 || p.response(list).Count != n {
		t.Errorf("%d sent in %d steps, %+v", at, steps, p.response(list))
	}
}

// A pull of which nothing matches goes on, within its time, and tells what matched in the end.
func TestPullUnderAFilter(t *testing.T) {
	p := newPlay(t)
	p.log.store(7, words(batch.None, "b", "b", "a", "b"), 0)
	give := func(to ipc.Pull, first uint64, count uint32) {
		m := ipc.Pulled{Head: to.Head, Queue: 7, Filter: word("a")}
		if to.InvisibleMS > 0 {
			m.Lease, m.UntilMS = 40+to.Req, 9
		}
		if count > 0 {
			m.Runs = []ipc.PulledRun{{Index: 7, First: first, Count: count}}
		}
		p.reply(ipc.TypePulled, &m)
	}
	// next is the skip of what did not match, and the Pull that follows.
	next := func(lease uint64) ipc.Pull {
		t.Helper()
		list := p.records()
		if len(list) != 2 || list[0].typ != ipc.TypeAck || list[1].typ != ipc.TypePull {
			t.Fatalf("%+v", list)
		}
		skip, _ := ipc.DecodeAck(list[0].payload)
		if skip.Verdict != ipc.VerdictSkip || skip.Lease != lease {
			t.Errorf("%+v", skip)
		}
		m, _ := ipc.DecodePull(list[1].payload)
		return m
	}
	for _, invisibleMS := range []uint64{0, 5000} {
		r := p.pull(native.Pull{Max: 2, WaitMS: 100, InvisibleMS: invisibleMS})
		lease := uint64(0)
		if invisibleMS > 0 {
			lease = 40 + r.Req
		}
		give(r, 0, 2)
		if list := p.frames(); len(list) != 0 {
			t.Fatalf("answered: %+v", headersOf(list))
		}
		again := next(lease)
		if again.Req == r.Req || again.Max != 2 || !again.Wait || again.Sub != r.Sub || again.InvisibleMS != invisibleMS || p.conn.pending.Len() != 1 {
			t.Errorf("%+v", again)
		}
		give(again, 2, 2)
		list := p.frames()
		if got := p.delivered(list, 1); len(got) != 1 || fmt.Sprint(got[0].values) != "[a]" || got[0].correlation != p.next {
			t.Errorf("%+v", got)
		}
		if m := p.response(list); m.Count != 1 || (m.Lease != 0) != (invisibleMS > 0) {
			t.Errorf("%+v", m)
		}
		p.records()
		p.conn.subs = nil // nobody holds the message any more
	}
	// One that does not wait looks at all there is.
	r := p.pull(native.Pull{Max: 1})
	give(r, 3, 1)
	again := next(0)
	if again.Wait {
		t.Errorf("%+v", again)
	}
	give(again, 0, 0)
	if list := p.frames(); len(list) != 1 || p.response(list) != (native.PullReply{}) {
		t.Errorf("%+v", headersOf(list))
	}
	// Its time ends, a while after it is over.
	r = p.pull(native.Pull{Max: 1, WaitMS: 10})
	p.link.LaterMS = 20
	give(r, 0, 1)
	if again = next(0); again.Wait {
		t.Errorf("it waits on: %+v", again)
	}
	p.link.LaterMS = 10 + scanMS
	give(again, 1, 1)
	if list := p.frames(); len(list) != 1 || p.response(list).Count != 0 {
		t.Errorf("%+v", headersOf(list))
	}
}

// largeRoom tells a large record in answer to a marker.
type largeRoom struct {
	session.Protocol
	lane *session.Lane
}

func (r *largeRoom) Resync(ipc.Marker, bool) bool {
	return r.lane.Put(nil, ipc.TypeSkip, make([]byte, 60<<10))
}

func (r *largeRoom) AskAgain(bool) bool { return true }

// A pull that goes on in the middle of the answer to a marker would be void for logicsrv: it comes
// behind the answer's end, once.
func TestPullGoesOnBehindAResync(t *testing.T) {
	p := newPlay(t)
	p.log.store(7, words(batch.None, "b"), 0)
	r := p.pull(native.Pull{Max: 2, WaitMS: 100, InvisibleMS: 7})
	for _, before := range []bool{true, false} {
		for range 4 { // no room for a large record
			p.lane.Put(nil, ipc.TypeSkip, make([]byte, 50<<10))
		}
		rooms := []session.Protocol{p.conn, &largeRoom{lane: p.lane}}
		if before {
			rooms[0], rooms[1] = rooms[1], rooms[0]
		}
		p.lane.Marked(ipc.Marker{Term: 2, Ask: 1}, rooms)
		p.reply(ipc.TypePulled, &ipc.Pulled{Head: r.Head, Queue: 7, Lease: 5, Filter: word("a"), Runs: []ipc.PulledRun{{Index: 7, First: 0, Count: 1}}})
		pulls, ended := 0, false
		var last ipc.Pull
		for _, rec := range append(p.records(), p.records()...) {
			switch rec.typ {
			case ipc.TypeResyncEnd:
				ended = true
			case ipc.TypePull:
				if last, _ = ipc.DecodePull(rec.payload); last.Req != r.Req {
					if pulls++; !ended {
						t.Errorf("held up in front %v: told in front of the end", before)
					}
				}
			}
		}
		if pulls != 1 || !ended {
			t.Errorf("held up in front %v: %d Pulls, ended %v", before, pulls, ended)
		}
		r = last
	}
}

func TestPullsAreBounded(t *testing.T) {
	p := newPlay(t)
	p.conn.window = 1 << 20
	p.refused(errcode.InvalidArgument, native.CmdPull, &native.Pull{Queue: 7, Max: ipc.MaxPull + 1})
	// Messages asked for.
	var asked []ipc.Pull
	for p.conn.asked < maxAsked {
		r := p.pull(native.Pull{Max: 4000, InvisibleMS: 1, WaitMS: 1000})
		asked = append(asked, r)
	}
	if last := asked[len(asked)-1]; last.Max != uint32(maxAsked%4000) {
		t.Errorf("the last one asks for %d", last.Max)
	}
	p.refused(errcode.LimitExceeded, native.CmdPull, &native.Pull{Queue: 7, Max: 1, InvisibleMS: 1})
	for i, r := range asked {
		if i%2 == 0 {
			p.give(r)
		} else {
			p.fail(r.Req, errcode.UnknownIndex)
		}
		p.frame(native.CmdPull)
	}
	if p.conn.asked != 0 {
		t.Errorf("%d messages are still asked for", p.conn.asked)
	}
	// Ranges in hand, with what is on its way.
	room := p.lane.MaxGaps() + int(p.lane.Ahead())
	for i := range 400 {
		p.log.store(7, words(batch.None, fmt.Sprint(i)), 0)
	}
	for left := room; left > 0; left -= min(left, 2000) {
		asked = append(asked, p.pull(native.Pull{Max: 2000, WaitMS: 1000}))
	}
	p.refused(errcode.LimitExceeded, native.CmdPull, &native.Pull{Queue: 7, Max: 1})
	var scattered []ipc.Range
	for i := range uint64(100) {
		scattered = append(scattered, ipc.Range{First: 2 * i, Count: 1})
	}
	last := asked[len(asked)-1]
	p.give(last, scattered...)
	p.frames()
	if r := p.pull(native.Pull{Max: 4000, WaitMS: 1000}); int(r.Max) != room%2000-100 {
		t.Errorf("%d may be asked for", r.Max)
	}
}

// A connection holds messages of so many queues; one of which it holds nothing makes room.
func TestPullersAreBounded(t *testing.T) {
	p := newPlay(t)
	p.log.store(7, words(batch.None, "a"), 0)
	p.log.store(8, words(batch.None, "a"), 0)
	var last ipc.Pull
	for q := range uint64(maxPullers) {
		p.ask(native.CmdPull, &native.Pull{Queue: 1000 + q, Max: 1})
		last = one(p, ipc.TypePull, ipc.DecodePull)
		p.reply(ipc.TypePulled, &ipc.Pulled{Head: last.Head, Queue: last.Queue, Runs: []ipc.PulledRun{{Index: 7, First: 0, Count: 1}}})
		p.frames()
	}
	p.refused(errcode.LimitExceeded, native.CmdPull, &native.Pull{Queue: 8, Max: 1})
	p.ask(native.CmdPull, &native.Pull{Queue: 8, Max: 1, InvisibleMS: 10}) // leases are in no hand
	one(p, ipc.TypePull, ipc.DecodePull)
	p.ask(native.CmdAck, &native.Ack{Sub: last.Sub, Queue: last.Queue, Index: 7, Verdict: ipc.VerdictAck, Ranges: []ipc.Range{{Count: 1}}})
	p.records()
	p.ask(native.CmdPull, &native.Pull{Queue: 8, Max: 1})
	list := p.records()
	if len(list) != 2 || list[0].typ != ipc.TypeUnsubscribe || list[1].typ != ipc.TypePull {
		t.Fatalf("%+v", list)
	}
	gone, _ := ipc.DecodeUnsubscribe(list[0].payload)
	r, _ := ipc.DecodePull(list[1].payload)
	if gone.Sub != last.Sub || r.Sub != native.PullerBit|(maxPullers+1) {
		t.Errorf("%+v %+v", gone, r)
	}
	// A deleted queue takes its puller with it.
	p.conn.Broadcast(ipc.TypeIndexGone, (&ipc.IndexGone{Index: 1000}).Append(nil))
	if p.conn.sub(native.PullerBit|1) != nil {
		t.Error("the puller of a deleted queue is still there")
	}
}

// What cannot be read is an error, and goes back with all that was not sent.
func TestPullOfADamagedBatch(t *testing.T) {
	p := newPlay(t)
	p.log.store(7, words(batch.None, "a"), 0)
	p.log.enter(7, commitlog.Entry{Count: 1, Flags: commitlog.FlagDamaged})
	p.log.store(7, words(batch.None, "c"), 0)
	for _, invisibleMS := range []uint64{0, 9} {
		r := p.pull(native.Pull{Max: 3, InvisibleMS: invisibleMS})
		p.give(r, ipc.Range{First: 0, Count: 2}, ipc.Range{First: 2, Count: 1})
		list := p.frames()
		if len(list) != 2 || list[0].Command != native.CmdDeliver || list[1].Flags&native.FlagError == 0 {
			t.Fatalf("%+v", headersOf(list))
		}
		if e, err := native.DecodeErrorBody(list[1].Body); err != nil || e.Code != errcode.Damaged {
			t.Errorf("%+v %v", e, err)
		}
		back := p.verdicts()
		if len(back) != 2 || back[0].Verdict != ipc.VerdictRequeue || fmt.Sprint(back[0].Ranges, back[1].Ranges) != "[{1 1}] [{2 1}]" || (back[0].Lease != 0) != (invisibleMS > 0) {
			t.Errorf("%+v", back)
		}
		if p.conn.pending.Len() != 0 || p.conn.asked != 0 {
			t.Errorf("%d requests, %d asked", p.conn.pending.Len(), p.conn.asked)
		}
	}
}

// A stop, or a client that ends its side, ends the waiting; what comes of it is still sent.
func TestPullAtTheEnd(t *testing.T) {
	for name, end := range map[string]func(c *Conn){"stop": (*Conn).Shutdown, "half-closed": (*Conn).Ended} {
		p := newPlay(t)
		p.log.store(7, words(batch.None, "a"), 0)
		r := p.pull(native.Pull{Max: 1, WaitMS: 60_000})
		end(p.conn)
		if m := one(p, ipc.TypePullEnd, ipc.DecodePullEnd); m.Target != r.Req || p.link.Closed {
			t.Errorf("%s: %+v, closed %v", name, m, p.link.Closed)
		}
		p.frames() // GOODBYE
		p.link.Most = 1
		p.ask(native.CmdPing, &native.Ping{})
		p.give(r, ipc.Range{First: 0, Count: 1})
		if p.link.Closed {
			t.Errorf("%s: closed before the answer was sent", name)
		}
		p.frames()
		p.conn.Drained()
		list := p.frames()
		if got := p.delivered(list, 1); len(got) != 1 || p.response(list).Count != 1 || !p.link.Closed {
			t.Errorf("%s: %+v, closed %v", name, got, p.link.Closed)
		}
	}
}
