package amqpconn

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/trimq/trimq/connsrv/handover"
	"github.com/trimq/trimq/connsrv/handover/passtest"
	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/connsrv/session/roomtest"
	"github.com/trimq/trimq/protocol/amqp"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/golden"
	"github.com/trimq/trimq/protocol/ipc"
)

// between is called before and after each record, and each piece of the stream.
func (s *stub) between() {
	if s.wanders != nil && s.wanders() {
		s.handOver()
	}
}

// written is the room as it is passed on.
func written(c *Conn) []byte {
	w := handover.Write(nil)
	c.Pass(w)
	return w.Written()
}

// handOver puts another program's room and lane in the place of these.
func (r *rig) handOver() {
	r.tb.Helper()
	b := written(r.conn)
	w := handover.Write(nil)
	r.lane.Pass(w, session.Directory{IDs: map[session.Protocol]uint64{r.conn: r.link.ID()}})
	lane := session.NewLane(r.lane.Rings, r.lane.Loop)
	next := New(r.conn.settings, NewLoop(lane), r.link)
	s := handover.Read(b)
	next.Pass(s)
	must(r.tb, s.Done("the room"))
	if again := written(next); !bytes.Equal(again, b) {
		r.tb.Fatalf("it was passed on as\n%x\nand is\n%x", b, again)
	}
	s = handover.Read(w.Written())
	lane.Pass(s, session.Directory{
		IDs:   map[session.Protocol]uint64{next: r.link.ID()},
		Links: map[uint64]session.Link{r.link.ID(): r.link}, Rooms: map[uint64]session.Protocol{r.link.ID(): next},
	})
	must(r.tb, s.Done("the lane"))
	r.conn, r.lane = next, lane
	next.TakenOver()
}

// on is what a client sends on a channel.
func on(channel uint16, methods ...amqp.Arguments) (b []byte) {
	for _, m := range methods {
		b = amqp.AppendMethod(b, channel, m)
	}
	return b
}

// message is one that a client publishes on a channel.
func message(channel uint16, m *amqp.BasicPublish, p *amqp.Properties, body string) []byte {
	b := on(channel, m)
	b = amqp.AppendContentHeader(b, channel, len(body), p.Append(nil))
	for len(body) > 0 {
		n := min(len(body), 8192-amqp.FrameOverhead)
		b = append(append(amqp.AppendFrameHeader(b, amqp.FrameBody, channel, n), body[:n]...), amqp.FrameEnd)
		body = body[n:]
	}
	return b
}

// scenes are what a client sends, one after the other: what one asks for is answered when the next begins.
func scenes() [][]byte {
	to := func(key string) *amqp.BasicPublish { return &amqp.BasicPublish{RoutingKey: []byte(key)} }
	kept := &amqp.Properties{Flags: amqp.HasDeliveryMode, DeliveryMode: persistent}
	headed := &amqp.Properties{Flags: amqp.HasHeaders, Headers: amqp.Table(nil).Add("format", amqp.String("pdf"))}
	q, work := []byte("q"), []byte("work")
	return [][]byte{
		opening(),
		on(1, &amqp.ConfirmSelect{}, &amqp.QueueDeclare{Queue: q, Durable: true}, &amqp.QueueBind{Queue: q, Exchange: []byte("amq.fanout"), RoutingKey: []byte("k")},
			&amqp.QueueDeclare{Queue: work, Durable: true}, &amqp.QueueBind{Queue: work, Exchange: []byte("headed")}),
		slices.Concat(message(1, to("q"), kept, "one"), message(1, to("q"), kept, "two"), message(1, to("q"), &amqp.Properties{}, string(bytes.Repeat([]byte("large"), 4000)))),
		slices.Concat(message(1, &amqp.BasicPublish{RoutingKey: []byte("nowhere"), Mandatory: true}, kept, "back"), message(1, to("q"), kept, "")),
		slices.Concat(message(1, &amqp.BasicPublish{Exchange: []byte("headed")}, headed, "h1"), message(1, &amqp.BasicPublish{Exchange: []byte("headed")}, headed, "h2")),
		message(1, &amqp.BasicPublish{Exchange: []byte("headed")}, headed, "h3"),
		on(2, &amqp.ChannelOpen{}, &amqp.BasicQos{PrefetchCount: 2}, &amqp.BasicConsume{Queue: q, ConsumerTag: []byte("a"), Arguments: amqp.Table(nil).Add("x-priority", amqp.Int32(5))}),
		on(2, &amqp.BasicAck{DeliveryTag: 1}, &amqp.BasicNack{DeliveryTag: 2, Requeue: true}),
		on(2, &amqp.BasicReject{DeliveryTag: 3}, &amqp.BasicCancel{ConsumerTag: []byte("a")}),
		on(2, &amqp.BasicAck{DeliveryTag: 4}),
		on(3, &amqp.ChannelOpen{}, &amqp.TxSelect{}, &amqp.BasicGet{Queue: work}, &amqp.BasicGet{Queue: work}, &amqp.BasicGet{Queue: work}, &amqp.BasicGet{Queue: work}),
		slices.Concat(message(3, to("q"), kept, "in a transaction"), on(3, &amqp.BasicAck{DeliveryTag: 1}, &amqp.BasicNack{DeliveryTag: 2, Requeue: true}, &amqp.TxCommit{})),
		slices.Concat(message(3, to("q"), kept, "rolled back"), on(3, &amqp.BasicAck{DeliveryTag: 3}, &amqp.TxRollback{}, &amqp.BasicReject{DeliveryTag: 3}, &amqp.TxCommit{})),
		on(3, &amqp.BasicGet{Queue: work, NoAck: true}, &amqp.ChannelClose{}),
		on(4, &amqp.ChannelOpen{}, &amqp.BasicQos{PrefetchCount: 1, Global: true}, &amqp.BasicConsume{Queue: q, ConsumerTag: []byte("b")}, &amqp.BasicConsume{Queue: q, ConsumerTag: []byte("c")}),
		on(4, &amqp.BasicConsume{Queue: []byte(replyQueue), ConsumerTag: []byte("r"), NoAck: true}, &amqp.BasicAck{Multiple: true}),
		message(4, to("work"), &amqp.Properties{Flags: amqp.HasReplyTo, ReplyTo: []byte(replyQueue)}, "question"),
		message(4, to(replyPrefix+"1"), kept, "answer"),
		on(4, &amqp.BasicAck{Multiple: true}, &amqp.BasicRecover{Requeue: true}),
		on(5, &amqp.ChannelOpen{}, &amqp.QueueDeclare{Queue: []byte("missing"), Passive: true}),
		on(5, &amqp.ChannelCloseOk{}, &amqp.ChannelOpen{}, &amqp.BasicQos{PrefetchCount: 3},
			&amqp.BasicConsume{Queue: []byte("stream"), ConsumerTag: []byte("s"), Arguments: amqp.Table(nil).Add("x-stream-offset", amqp.String("first"))}),
		on(5, &amqp.BasicAck{DeliveryTag: 2, Multiple: true}),
		on(5, &amqp.BasicAck{DeliveryTag: 5, Multiple: true}, &amqp.QueuePurge{Queue: work}, &amqp.QueueDelete{Queue: []byte("gone")}, &amqp.ExchangeDeclare{Exchange: []byte("new"), Type: []byte("odd")}),
		slices.Concat(message(1, to("q"), kept, "last"), on(1, &amqp.ChannelFlow{Active: true})),
		on(0, &amqp.ConnectionClose{ReplyCode: 200}),
	}
}

// play has a client send the scenes in pieces, and returns what it is sent.
func (s *stub) play(cut func() int) []byte {
	var sent []byte
	for number, rest := range scenes() {
		for len(rest) > 0 {
			n := min(len(rest), cut())
			s.between()
			s.feed(rest[:n])
			rest = rest[n:]
			s.between()
			s.turn()
		}
		if number%4 == 2 { // somebody else publishes to the stream
			var b batch.Builder
			b.Add(1000, nil, []byte{byte(number)}, nil)
			s.store(s.stream, b.Seal(batch.None, batch.NoProducer, -1, -1))
			s.answerWaits()
			s.turn()
		}
		sent = append(sent, bytes.Join(s.link.Pieces, nil)...)
		s.link.Pieces = nil
	}
	return sent
}

// changing are the records but for the Waits, without their heads: what is visible is asked again.
func changing(records []record) (list []record) {
	for _, r := range records {
		if r.typ != ipc.TypeWait && r.typ != ipc.TypeUnwait {
			list = append(list, record{r.typ, r.payload[ipc.HeadSize:]})
		}
	}
	return list
}

// Wherever a room is handed over, its client is sent the same, and the same is put into the ring.
func TestHandOverAnywhere(t *testing.T) {
	for seed := range uint64(40) {
		pieces := func() func() int {
			rnd := rand.New(rand.NewPCG(seed, 1))
			return func() int { return 1 + rnd.IntN(1<<(4+rnd.IntN(12))) }
		}
		calm, restless := newStub(t), newStub(t)
		want := calm.play(pieces())
		rnd := rand.New(rand.NewPCG(seed, 2))
		often, times := 1+rnd.IntN(6), 0
		restless.wanders = func() bool {
			if rnd.IntN(often) > 0 {
				return false
			}
			times++
			return true
		}
		got := restless.play(pieces())
		if !bytes.Equal(got, want) {
			t.Fatalf("seed %d: with %d hand-overs the client is sent\n%q\nwithout\n%q", seed, times, got, want)
		}
		if a, b := changing(restless.taken), changing(calm.taken); !slices.EqualFunc(a, b, func(a, b record) bool { return a.typ == b.typ && bytes.Equal(a.payload, b.payload) }) {
			t.Fatalf("seed %d: with %d hand-overs %d records are put, %d without, or others", seed, times, len(a), len(b))
		}
		if !restless.link.Closed || times < 10 {
			t.Fatalf("seed %d: closed: %v, after %d hand-overs", seed, restless.link.Closed, times)
		}
	}
}

// A tag that the broker has chosen is the consumer's behind a hand-over too.
func TestHandOverKeepsAGivenTag(t *testing.T) {
	s := newStub(t)
	s.feed(slices.Concat(opening(), on(1, &amqp.QueueDeclare{Queue: []byte("q"), Durable: true})))
	s.turn()
	s.sent()
	s.wanders = func() bool { return true }
	s.feed(on(1, &amqp.BasicConsume{}))
	s.turn()
	tag := one[*amqp.BasicConsumeOk](s.rig).ConsumerTag
	s.feed(slices.Concat(message(1, &amqp.BasicPublish{RoutingKey: []byte("q")}, &amqp.Properties{}, "x")))
	s.turn()
	if m, ok := s.sent()[0].(*amqp.BasicDeliver); !ok || !bytes.Equal(m.ConsumerTag, tag) {
		t.Errorf("%+v is not for %q", m, tag)
	}
	if n := len(s.subs); n != 1 {
		t.Errorf("%d consumers", n)
	}
}

// What logicsrv could not answer yet is asked again by the next program.
func TestHandOverOfWhatIsToBeAskedAgain(t *testing.T) {
	s := newStub(t)
	s.open()
	s.feed(on(1, &amqp.QueueDeclare{Queue: []byte("q"), Durable: true}))
	for range 3 {
		list := s.records()
		if len(list) != 1 || list[0].typ != ipc.TypeAdmin {
			t.Fatalf("%d records", len(list))
		}
		head, _ := ipc.PeekHead(list[0].payload)
		s.refuse(head, errcode.Unavailable)
		s.handOver()
	}
	s.turn()
	if m := one[*amqp.QueueDeclareOk](s.rig); string(m.Queue) != "q" {
		t.Errorf("%+v", m)
	}
}

// What waits for room in the ring goes on behind a hand-over, in order; so does what waits until less is
// under way.
func TestHandOverOfWhatWaitsForRoom(t *testing.T) {
	s := newStub(t)
	s.open()
	s.feed(on(1, &amqp.ConfirmSelect{NoWait: true}, &amqp.QueueDeclare{Queue: []byte("q"), Durable: true, NoWait: true}))
	s.turn()
	const n = 12
	for i := range n {
		s.feed(message(1, &amqp.BasicPublish{RoutingKey: []byte("q"), Mandatory: i%2 == 0}, &amqp.Properties{}, string(bytes.Repeat([]byte{byte(i)}, 48<<10))))
		s.handOver()
	}
	if s.conn.run == nil || !s.conn.stuck {
		t.Fatal("nothing waits")
	}
	s.turn()
	var last uint64
	for _, m := range s.sent() {
		ack, ok := m.(*amqp.BasicAck)
		if !ok || ack.DeliveryTag <= last {
			t.Fatalf("%+v behind %d", m, last)
		}
		last = ack.DeliveryTag
	}
	if q := s.queues["q"]; last != n || q.next != n {
		t.Errorf("%d confirmed, %d stored", last, q.next)
	}
}

// A method's arguments are its own: what comes over other connections in the same memory does not
// change them.
func TestArgumentsOutliveTheirFrame(t *testing.T) {
	s := newStub(t)
	s.open()
	s.feed(on(1, &amqp.QueueDeclare{Queue: []byte("q"), Durable: true}))
	s.turn()
	b := on(1, &amqp.QueueBind{Queue: []byte("q"), Exchange: []byte("amq.fanout"), RoutingKey: []byte("key")})
	if used, _ := s.conn.Input(b); used != len(b) {
		t.Fatalf("%d of %d bytes used", used, len(b))
	}
	clear(b)
	s.turn()
	for _, r := range s.taken {
		if r.typ == ipc.TypeAdmin && bytes.Contains(r.payload, []byte("amq.fanout")) && bytes.Contains(r.payload, []byte("key")) {
			return
		}
	}
	t.Error("the binding has another key")
}

// sampleBusy is a room in which nothing is zero, in one place at least, that is passed on.
func sampleBusy(r *rig) *Conn {
	c := New(r.conn.settings, NewLoop(r.lane), r.link)
	c.state, c.draining, c.told, c.blocked, c.notified, c.cancels, c.unknown = stateOpen, true, true, true, true, true, true
	c.held, c.short, c.stuck = true, true, true
	c.user, c.vhost, c.mechanism, c.clientProperties = "user", "vhost", "PLAIN", amqp.Table(nil).Add("product", amqp.String("client"))
	c.openedMS, c.frameMax, c.channelMax, c.heartbeatMS, c.heardMS, c.saidMS, c.closeMS, c.deadlineMS = 1, 8192, 7, 2000, 3, 4, 5, 6
	c.lastSub, c.resyncSub, c.resyncReq = 9, 2, 3<<8
	plain := &channel{
		conn: c, number: 1, mode: modeConfirm, queue: "queue", prefetch: 5, shared: 6, sorting: true,
		confirms: confirms{published: 9, open: []confirming{{3, 2, true, true}, {5, 1, false, false}}},
		incoming: &incoming{
			awaits: awaitsBody, exchange: []byte("exchange"), key: []byte("key"), more: []string{"more"}, mandatory: true, properties: []byte{0, 0},
			size: 100, body: []byte("body"), ready: true, routing: routing{ipc.LevelDisk, true, 3, 1000, 2000, 7},
		},
	}
	c.loop.byHeaders[c.full("exchange")] = true
	closed := &channel{conn: c, number: 2, gone: true, closing: true}
	tx := &channel{conn: c, number: 3, mode: modeTx, incoming: &incoming{exchange: []byte("other")}, tx: transaction{number: 77}}
	c.channels = map[uint16]*channel{1: plain, 2: closed, 3: tx}
	sampleConsumers(c, plain, tx)
	record := (&ipc.Admin{Head: c.head(3 << 8), Command: 1}).Append(nil)
	plain.doing = &doing{method: &amqp.BasicGet{Queue: []byte("q")}, questions: []question{
		{typ: ipc.TypeAdmin, record: record, had: &reply{ipc.TypeAdminReply, []byte("answer")}}, {req: 3 << 8, typ: ipc.TypeAdmin, record: record},
	}}
	sampleRuns(c, plain)
	return c
}

// sampleConsumers are of all kinds, and what they have given.
func sampleConsumers(c *Conn, plain, tx *channel) {
	queue := &consumer{channel: plain, tag: []byte("tag"), prefetch: 3, window: 6, noAck: true, quorum: true, name: "q", arguments: amqp.Table(nil).Add("x", amqp.Bool(true))}
	queue.Sub = session.Sub{ID: 2, Index: 10, Queue: true, Answered: true, Limit: 5, Told: 4, Delivered: 3}
	queue.InHand.Add(10, 5, 2)
	c.filter(queue, ipc.Filter{Kind: 1, Text: "a = 1"})
	retired := &consumer{channel: tx, tag: []byte("old"), ended: true, reply: true}
	retired.Sub = session.Sub{ID: 3, Index: 11, Queue: true, Puller: true, Answered: true}
	puller := &consumer{channel: tx}
	puller.Sub = session.Sub{ID: 5, Index: 12, Queue: true, Puller: true, Answered: true}
	stream := &consumer{channel: tx, tag: []byte("s"), given: 2, parts: []part{{index: 20, next: 7, wait: &ask{req: 4 << 8, typ: ipc.TypeWaitStable, beyond: 6}}, {index: 21}}}
	stream.Sub = session.Sub{ID: 6, Answered: true}
	dropped := &consumer{channel: plain}
	dropped.Sub = session.Sub{ID: 1, Index: 9, Queue: true, Closing: true}
	c.subs = []*consumer{queue, retired, puller, stream}
	plain.tags, tx.tags, tx.pullers = map[string]*consumer{"tag": queue}, map[string]*consumer{"s": stream}, []*consumer{puller}
	plain.unacked = unacked{last: 8, list: []held{{2, dropped, 9, 1}, {4, queue, 10, 5}}, count: 2, pushed: 1}
	plain.line = []parcel{{queue, ipc.PulledRun{Index: 10, First: 6, Count: 1, Attempts: 2}}}
	tx.tx.verdicts = []verdictOn{{held{1, retired, 11, 3}, ipc.VerdictRequeue}}
	tx.tx.pushed = 1
	tx.tx.pledged = []ipc.TxnVerdict{{Sub: 5, Queue: 12, Index: 12, Verdict: ipc.VerdictAck, Range: ipc.Range{First: 1, Count: 1}}}
}

// sampleRuns are publishes without an answer, of which one finds no room.
func sampleRuns(c *Conn, ch *channel) {
	begin := func(of *channel) *run {
		x := &run{
			channel: of, routing: routing{level: ipc.LevelPage, ttlMS: ipc.NoTTL}, exchange: []byte("x"), key: []byte("k"), more: []string{"m"}, headers: []byte{}, left: true, single: true, first: 5,
		}
		x.add(1000, noProperties, &amqp.Properties{}, []byte("body"))
		x.listed, x.sealed, x.left = nil, x.builder.Seal(batch.None, batch.NoProducer, -1, -1), true
		return x
	}
	c.sends = map[uint64]sending{}
	for i, of := range []*channel{ch, {conn: c, gone: true, closing: true}} {
		req, x := uint64(i+1)<<8, begin(of)
		x.builder = batch.Builder{}
		c.pending.Add(session.Request{Req: req, Bytes: 100})
		s := sending{channel: of, count: 1, run: x}
		if i == 0 {
			s.first = x.first
		}
		c.sends[req] = s
		of.sending++
	}
	c.run = begin(ch)
	c.channels[3].tx.returns = []*run{begin(c.channels[3])}
	c.channels[3].tx.returns[0].builder = batch.Builder{}
}

// Every field of a room comes back as it was, but for those that are named here.
func TestPassEveryField(t *testing.T) {
	r := newRig(t)
	c := sampleBusy(r)
	plain, closed, tx := c.channels[1], c.channels[2], c.channels[3]
	for _, x := range []struct {
		not     []string
		samples []any
	}{
		{[]string{"asks", "again", "againMS", "settled", "gathers"}, []any{*c}},
		{[]string{"busy", "permit", "asking", "due"}, []any{*plain, *closed, *tx}},
		{[]string{"getting"}, []any{*c.subs[0], *c.subs[1], *c.subs[3]}},
		{nil, []any{c.subs[3].parts[0]}},
		{[]string{"channel", "doing", "place", "parked", "sub", "encode", "then"}, []any{*c.subs[3].parts[0].wait}},
		{[]string{"open", "recalled"}, []any{*plain.doing}},
		{[]string{"asked"}, []any{plain.doing.questions[0], plain.doing.questions[1]}},
		{nil, []any{*plain.doing.questions[0].had}},
		{nil, []any{*plain.incoming}},
		{nil, []any{plain.incoming.routing}},
		{nil, []any{plain.confirms}},
		{nil, []any{plain.confirms.open[0]}},
		{[]string{"head"}, []any{plain.unacked}},
		{nil, []any{plain.unacked.list[0]}},
		{nil, []any{plain.line[0]}},
		{nil, []any{tx.tx}},
		{nil, []any{tx.tx.verdicts[0], tx.tx.pledged[0]}[:1]},
		{nil, []any{c.sends[1<<8]}},
		{[]string{"listed", "own"}, []any{*c.run}},
	} {
		for _, fault := range passtest.Unset(x.not, x.samples...) {
			t.Error(fault)
		}
	}
	next := New(c.settings, NewLoop(c.lane), c.link)
	s := handover.Read(written(c))
	next.Pass(s)
	must(t, s.Done("the room"))
	if !reflect.DeepEqual(c.loop.byHeaders, next.loop.byHeaders) {
		t.Errorf("behind %v headers are looked at, and they came back as %v", c.loop.byHeaders, next.loop.byHeaders)
	}
	c.loop, next.loop = nil, nil
	if !reflect.DeepEqual(c, next) {
		t.Errorf("passed on\n%+v\ncame back\n%+v", c, next)
	}
	if next.sends[1<<8].channel != next.channels[1] || next.channels[1].line[0].sub != next.subs[0] || next.subs[3].channel != next.channels[3] {
		t.Error("what was one thing is two")
	}
}

// The format of a room is frozen.
func TestGoldenPass(t *testing.T) {
	golden.Check(t, "handover_v4_amqp", "room:*", written(sampleBusy(newRig(t))))
}

// A method that this program does not know ends its connection, and no other.
func TestPassOfWhatIsNotKnown(t *testing.T) {
	r := newRig(t)
	b := written(sampleBusy(r))
	id := handover.Write(nil)
	method := uint32(amqp.MethodBasicGet)
	handover.Uint(id, &method)
	other := handover.Write(nil)
	method = uint32(amqp.MethodOf(amqp.ClassBasic, 72))
	handover.Uint(other, &method)
	s := handover.Read(bytes.Replace(b, id.Written(), other.Written(), 1))
	New(r.conn.settings, NewLoop(r.lane), r.link).Pass(s)
	if s.Done("the room") == nil {
		t.Error("taken")
	}
}

// Whatever bytes come, a room is read or refused; what is read is written as the same bytes, and goes
// on without a panic.
func FuzzPass(f *testing.F) {
	r := newRig(f)
	f.Add(written(r.conn))
	r.open()
	f.Add(written(r.conn))
	b := written(sampleBusy(r))
	f.Add(b)
	for at := 3; at < len(b); at += len(b) / 40 {
		bad := slices.Clone(b)
		bad[at] ^= 0x41
		f.Add(bad)
		f.Add(b[:at])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		lane := session.NewLane(r.lane.Rings, 0)
		c := New(r.conn.settings, NewLoop(lane), &roomtest.Link{})
		s := handover.Read(b)
		c.Pass(s)
		if s.Done("the room") != nil {
			return
		}
		if !bytes.Equal(written(c), b) {
			t.Fatalf("%x is written as %x", b, written(c))
		}
		for range 10 { // the lane has given more numbers than the samples have
			lane.Req()
		}
		last := uint64(0)
		c.pending.Each(func(q *session.Request) { last = q.Req })
		if last >= lane.Req() {
			return
		}
		c.TakenOver()
		c.Deadline(1 << 40)
		c.Resync(ipc.Marker{Term: 1, Ask: 1}, true)
		c.AskAgain(true)
		c.Shutdown()
		c.Closed()
		r.records()
	})
}
