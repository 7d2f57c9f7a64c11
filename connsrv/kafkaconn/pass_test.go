package kafkaconn

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"regexp"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/connsrv/access"
	"github.com/trimq/trimq/connsrv/handover"
	"github.com/trimq/trimq/connsrv/handover/passtest"
	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/golden"
	"github.com/trimq/trimq/protocol/ipc"
)

// restless rooms are handed over before and after each record that is taken from them.
var restless bool

// between is called before and after each record.
func (s *stub) between() {
	if restless || s.wanders != nil && s.wanders() {
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
	r.loop.Lane.Pass(w, session.Directory{IDs: map[session.Protocol]uint64{r.conn: r.link.ID()}})
	loop := NewLoop(session.NewLane(r.loop.Lane.Rings, r.loop.Lane.Loop))
	next := New(r.conn.settings, loop, r.link, r.conn.local)
	s := handover.Read(b)
	next.Pass(s)
	must(r.tb, s.Done("the room"))
	if again := written(next); !bytes.Equal(again, b) {
		r.tb.Fatalf("it was passed on as\n%x\nand is\n%x", b, again)
	}
	s = handover.Read(w.Written())
	loop.Lane.Pass(s, session.Directory{
		IDs:   map[session.Protocol]uint64{next: r.link.ID()},
		Links: map[uint64]session.Link{r.link.ID(): r.link}, Rooms: map[uint64]session.Protocol{r.link.ID(): next},
	})
	must(r.tb, s.Done("the lane"))
	r.conn, r.loop = next, loop
	next.TakenOver()
}

// What clients see of a room that is handed over before and after each answer is what they see of one
// that is not.
func TestRestless(t *testing.T) {
	restless = true
	defer func() { restless = false }()
	for name, f := range map[string]func(*testing.T){
		"TestCreateTopics":            TestCreateTopics,
		"TestCreateTopicsRefusals":    TestCreateTopicsRefusals,
		"TestDeleteTopics":            TestDeleteTopics,
		"TestCreatePartitions":        TestCreatePartitions,
		"TestDescribeConfigs":         TestDescribeConfigs,
		"TestDescribeTopicPartitions": TestDescribeTopicPartitions,
		"TestInitProducerID":          TestInitProducerID,
		"TestListOffsets":             TestListOffsets,
		"TestOffsetForLeaderEpoch":    TestOffsetForLeaderEpoch,
		"TestFetch":                   TestFetch,
		"TestFetchLimits":             TestFetchLimits,
		"TestLogin":                   TestLogin,
		"TestLoginAgain":              TestLoginAgain,
		"TestScramUsers":              TestScramUsers,
		"TestFetchSession":            TestFetchSession,
		"TestFetchSessionLongPoll":    TestFetchSessionLongPoll,
		"TestFetchCommitted":          TestFetchCommitted,
		"TestTransaction":             TestTransaction,
		"TestFetchErrors":             TestFetchErrors,
		"TestLongPoll":                TestLongPoll,
		"TestShutdownEndsLongPolls":   TestShutdownEndsLongPolls,
		"TestJoinGroup":               TestJoinGroup,
		"TestSyncBeatLeave":           TestSyncBeatLeave,
		"TestJoinOverARestart":        TestJoinOverARestart,
		"TestOffsetCommitToANewTopic": TestOffsetCommitToANewTopic,
		"TestOffsetFetch":             TestOffsetFetch,
		"TestListGroups":              TestListGroups,
		"TestDescribeGroups":          TestDescribeGroups,
		"TestDeleteGroups":            TestDeleteGroups,
		"TestConsumerGroupHeartbeat":  TestConsumerGroupHeartbeat,
		"TestSubscriptionByPattern":   TestSubscriptionByPattern,
		"TestConsumerGroupDescribe":   TestConsumerGroupDescribe,
		"TestShareFetch":              TestShareFetch,
		"TestShareFetchWaits":         TestShareFetchWaits,
		"TestShareFetchBytes":         TestShareFetchBytes,
		"TestShareFetchGone":          TestShareFetchGone,
		"TestShareSession":            TestShareSession,
		"TestShareForget":             TestShareForget,
		"TestShareAcknowledge":        TestShareAcknowledge,
		"TestShareLeaseOver":          TestShareLeaseOver,
		"TestShareReset":              TestShareReset,
		"TestShareGroup":              TestShareGroup,
		"TestShareOffsets":            TestShareOffsets,
		"TestGroupConfigs":            TestGroupConfigs,
		"TestMetadata":                TestMetadata,
		"TestAutoCreate":              TestAutoCreate,
		"TestMetadataByID":            TestMetadataByID,
		"TestProduce":                 TestProduce,
		"TestProduceToWhatHasChanged": TestProduceToWhatHasChanged,
		"TestProduceWithoutAnswer":    TestProduceWithoutAnswer,
		"TestProduceByteByByte":       TestProduceByteByByte,
		"TestEndOfAConnection":        TestEndOfAConnection,
	} {
		t.Run(name, f)
	}
}

// Wherever a room is handed over, the answers are the same, and nothing that changes anything is
// asked for twice.
func TestHandOverAnywhere(t *testing.T) {
	want, wantAnswers, _ := history(t, goodStream(), func() int { return 1 << 20 })
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 9))
		often := 1 + rnd.IntN(8)
		s := newStub(t)
		s.topic("a", 3)
		s.wanders = func() bool { return rnd.IntN(often) == 0 }
		got := s.play(goodStream(), func() int { return 1 + rnd.IntN(1<<rnd.IntN(16)) })
		if answers := s.sent(); !bytes.Equal(answers, wantAnswers) {
			t.Fatalf("seed %d: %d bytes of answers, want %d, or others", seed, len(answers), len(wantAnswers))
		}
		if !slices.Equal(changing(got), changing(want)) {
			t.Fatalf("seed %d: asked for\n%v\nwant\n%v", seed, changing(got), changing(want))
		}
	}
}

// changing are the records that are no questions about the state, without their heads.
func changing(records []taken) (list []taken) {
	for _, r := range records {
		b := []byte(r.payload)
		if m, err := ipc.DecodeAdmin(b); r.typ == ipc.TypeWait || r.typ == ipc.TypeAdmin && err == nil && admin.Command(m.Command) == admin.CmdDescribe {
			continue
		}
		list = append(list, taken{r.typ, r.payload[ipc.HeadSize:]})
	}
	return list
}

// sampleProducing and sampleAsking are rooms in which nothing is zero, between the two, that is
// passed on.
func sampleProducing(r *rig) *Conn {
	c := New(r.conn.settings, r.loop, r.link, r.conn.local)
	c.state, c.told, c.shareWait, c.calls, c.resyncReq = stateOpen, true, true, 12, 1<<8
	head := requestHead{size: 1000, key: int16(kmsg.Produce), version: 9, correlation: -7}
	first := &call{requestHead: head, number: 10, begunMS: 5, done: true, produce: &produced{
		level: ipc.LevelDisk, silent: true, whole: true, transactional: true, txnalID: "t", refusal: codeInvalidTxnState,
		topics: []producedTopic{{"a", topicID{1, 2}, 1}}, parts: []producedPart{{number: 3, code: codeStorage, index: 10, base: -1, timeMS: -1, text: "text", bad: []badRecord{{2, badTooOld, 77}}}},
	}}
	second := &call{requestHead: head, number: 11, begunMS: 6, open: 1, unasked: 1, produce: &produced{
		topics: []producedTopic{{name: "a", parts: 2}}, parts: []producedPart{{index: 10}, {index: 11}},
	}}
	second.asks = []ask{{req: 3 << 8, typ: ipc.TypeAdmin, record: (&ipc.Admin{Head: c.head(3 << 8), Command: 1}).Append(nil)}}
	c.line = []*call{first, second}
	c.intake = &intake{
		k: second, stage: stagePartition, flexible: true, left: 900, skip: 5, topics: 1, parts: 2,
		topic: configured(&topic{name: "a", id: topicID{1, 2}, indexes: []uint64{10, 11}}), asking: true, asked: "a", batch: 70,
	}
	c.pending.Add(session.Request{Req: 2 << 8, Bytes: 1000, Command: ofBatch, Correlation: 11<<32 | 1})
	c.pending.Add(session.Request{Req: 3 << 8, Command: ofAsk, Correlation: 11 << 32})
	c.pending.Add(session.Request{Req: 4 << 8, Command: ofWatch, Correlation: 10})
	c.watches = map[uint64]uint64{10: 4 << 8}
	c.patterns = map[string]*pattern{
		"m1": {match: regexp.MustCompile("^(?:a.*)$"), names: []string{"x"}, told: []string{"x", "ab"}}, "m2": {match: regexp.MustCompile("^(?:b)$")},
	}
	c.shares = map[shareKey]*shareSession{{"g", "m"}: sampleShare()}
	c.fetches = []*fetchSession{{
		id: 77, epoch: 5, byID: true,
		parts: []sessionPart{{topic: "a", id: topicID{1, 2}, number: 1, leaderEpoch: -1, offset: 9, maxBytes: 1 << 20, toldEnd: 12, toldStart: untold}},
	}, {id: 78, epoch: 1, parts: []sessionPart{{topic: "b"}}}}
	c.login = login{user: "u", by: plainMechanism, untilMS: 99, mechanism: "SCRAM-SHA-256", raw: true, scram: sampleScram(), refusedMS: 5_000}
	return c
}

func sampleScram() *access.ScramExchange {
	return &access.ScramExchange{Mechanism: "SCRAM-SHA-256", User: "u", Binding: "n,,", First: "n=u,r=a", Server: "r=ab,s=c2FsdA==,i=4096", Nonce: "ab"}
}

func sampleShare() *shareSession {
	return &shareSession{
		shareKey: shareKey{"g", "m"}, epoch: 7, turn: 3, askedMS: 1000, settings: shareSettings{15_000, resetEarliest, 7, true},
		parts: []sharePart{{topicID{1}, 2}, {topicID{1}, 0}}, queues: map[topicID]uint64{{1}: 500, {2}: 501},
		hold: shareHold{[]shareRun{{500, 10, 3, 5, 77, 20_000, 1}, {500, 10, 5, 6, 78, 20_000, 0}, {500, 11, 0, 1, 78, 20_000, 0}}},
	}
}

func sampleAsking(r *rig) *Conn {
	c := New(r.conn.settings, r.loop, r.link, r.conn.local)
	c.state, c.calls = stateOpen, 1
	req := kmsg.NewPtrMetadataRequest()
	req.SetVersion(9)
	c.line = []*call{{requestHead: requestHead{size: 30, key: int16(kmsg.Metadata), version: 9, correlation: 8}, clientID: "client", begunMS: 5, req: req, unasked: 2}}
	record := (&ipc.Admin{Head: c.head(3 << 8), Command: 1}).Append(nil)
	c.line[0].asks = []ask{
		{typ: ipc.TypeAdmin, record: record, had: &reply{ipc.TypeAdminReply, []byte("answer")}}, {req: 3 << 8, typ: ipc.TypeAdmin, record: record},
	}
	c.pending.Add(session.Request{Req: 3 << 8, Command: ofAsk, Correlation: 1})
	return c
}

// Every field of a room comes back as it was, but for those that are named here.
func TestPassEveryField(t *testing.T) {
	r := newRig(t)
	a, b := sampleProducing(r), sampleAsking(r)
	for _, x := range []struct {
		not     []string
		samples []any
	}{
		{[]string{"slot", "recalled"}, []any{*a, *b}},
		{[]string{"fetch", "share", "resp"}, []any{*a.line[0], *a.line[1], *b.line[0]}},
		{[]string{"then"}, []any{b.line[0].asks[0], b.line[0].asks[1]}},
		{nil, []any{*b.line[0].asks[0].had}},
		{nil, []any{a.line[0].requestHead, b.line[0].requestHead}},
		{nil, []any{*a.line[0].produce}},
		{nil, []any{a.line[0].produce.topics[0]}},
		{[]string{"count"}, []any{a.line[0].produce.parts[0]}},
		{nil, []any{*a.intake}},
		{nil, []any{*a.intake.topic}},
		{nil, []any{*a.patterns["m1"]}},
		{nil, []any{*a.fetches[0]}},
		{nil, []any{a.fetches[0].parts[0]}},
		{nil, []any{a.login}},
		{nil, []any{*sampleScram()}},
		{nil, []any{*sampleShare(), sampleShare().settings, sampleShare().parts[0], sampleShare().hold.runs[0]}},
	} {
		for _, fault := range passtest.Unset(x.not, x.samples...) {
			t.Error(fault)
		}
	}
	for _, c := range []*Conn{a, b} {
		next := New(c.settings, c.loop, c.link, c.local)
		s := handover.Read(written(c))
		next.Pass(s)
		must(t, s.Done("the room"))
		c.line[0].number = next.line[0].number // numbers count from the first in line
		if !reflect.DeepEqual(c, next) {
			t.Errorf("passed on\n%+v\ncame back\n%+v", c, next)
		}
	}
}

// The format of a room is frozen.
func TestGoldenPass(t *testing.T) {
	r := newRig(t)
	golden.Check(t, "handover_v4_kafka_producing", "room:*", written(sampleProducing(r)))
	golden.Check(t, "handover_v4_kafka_asking", "room:*", written(sampleAsking(r)))
}

// A request of a version that this program does not serve ends its connection, and no other.
func TestPassOfAVersionThatIsGone(t *testing.T) {
	r := newRig(t)
	c := sampleAsking(r)
	c.line[0].version = apiOf(c.line[0].key).max + 1
	s := handover.Read(written(c))
	New(c.settings, c.loop, c.link, c.local).Pass(s)
	if s.Done("the room") == nil {
		t.Error("taken")
	}
}

// Whatever bytes come, a room is read or refused; what is read is written as the same bytes, and goes
// on without a panic.
func FuzzPass(f *testing.F) {
	r := newRig(f)
	f.Add(written(r.conn))
	for _, b := range [][]byte{written(sampleProducing(r)), written(sampleAsking(r))} {
		f.Add(b)
		for _, at := range []int{3, len(b) / 3, len(b) / 2, len(b) - 2} {
			bad := slices.Clone(b)
			bad[at] ^= 0x41
			f.Add(bad)
			f.Add(b[:at])
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := newRig(t)
		c := r.conn
		s := handover.Read(b)
		c.Pass(s)
		if s.Done("the room") != nil {
			return
		}
		if !bytes.Equal(written(c), b) {
			t.Fatalf("%x is written as %x", b, written(c))
		}
		for range 10 { // the lane has given more numbers than the samples have
			r.loop.Lane.Req()
		}
		last := uint64(0)
		c.pending.Each(func(q *session.Request) { last = q.Req })
		if last >= r.loop.Lane.Req() {
			return
		}
		c.TakenOver()
		c.Deadline(1 << 40)
		c.Resync(ipc.Marker{Term: 1, Ask: 1}, true)
		c.AskAgain(true)
		c.Shutdown()
		c.Closed()
	})
}

// configured gives a topic a configuration.
func configured(t *topic) *topic {
	t.configure([]ipc.Header{{Key: "retention.ms", Value: "5"}})
	return t
}
