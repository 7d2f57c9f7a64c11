package kafkaconn

import (
	"bytes"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/connsrv/session/roomtest"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
)

// asksToStore asks for batches to be stored in partitions 0, 1, … of a topic.
func asksToStore(acks int16, topic string, batches ...[]byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = acks, 1000
	return andMore(req, topic, batches...)
}

func andMore(req *kmsg.ProduceRequest, topic string, batches ...[]byte) *kmsg.ProduceRequest {
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.TopicID = topic, stubID(topic)
	for i, b := range batches {
		p := kmsg.NewProduceRequestTopicPartition()
		p.Partition, p.Records = int32(i), b
		t.Partitions = append(t.Partitions, p)
	}
	req.Topics = append(req.Topics, t)
	return req
}

// outcomes lists code and base offset of all partitions of a response.
func outcomes(resp *kmsg.ProduceResponse) (list [][2]int64) {
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			list = append(list, [2]int64{int64(p.ErrorCode), p.BaseOffset})
		}
	}
	return list
}

func TestProduce(t *testing.T) {
	for version := int16(3); version <= 13; version++ {
		s := newStub(t)
		s.topic("a", 3)
		s.topic("b", 1)
		req := asksToStore(-1, "a", testBatch(3, 100), testBatch(400, 100), testBatch(1, 1))
		resp := call1(s, version, andMore(req, "b", testBatch(5, 10)), kmsg.NewPtrProduceResponse())
		if want := [][2]int64{{0, 0}, {0, 0}, {0, 0}, {0, 0}}; !slices.Equal(outcomes(resp), want) || stubName(resp.Topics[1].Topic, resp.Topics[1].TopicID) != "b" {
			t.Errorf("version %d: %+v", version, resp)
		}
		resp = call1(s, version, asksToStore(1, "a", testBatch(2, 1)), kmsg.NewPtrProduceResponse())
		if want := [][2]int64{{0, 3}}; !slices.Equal(outcomes(resp), want) {
			t.Errorf("version %d: %+v", version, resp)
		}
		unset, page := ipc.LevelUnset, ipc.LevelPage
		if want := []ipc.Level{unset, unset, unset, unset, page}; !slices.Equal(s.levels, want) {
			t.Errorf("levels %v", s.levels)
		}
	}
}

func TestProduceRefusals(t *testing.T) {
	s := newStub(t)
	s.topic("a", 2)
	bad := testBatch(3, 10)
	bad[len(bad)-1] ^= 1
	for _, row := range []struct {
		name    string
		version int16
		req     *kmsg.ProduceRequest
		codes   []int16
	}{
		{"no such topic", 9, andMore(asksToStore(-1, "none", testBatch(1, 1)), "a", testBatch(1, 1)), []int16{codeUnknownTopic, codeNone}},
		{"no such topic id", 13, andMore(asksToStore(-1, "none", testBatch(1, 1)), "a", testBatch(1, 1)), []int16{codeUnknownTopicID, codeNone}},
		{"no such partition of an id", 13, asksToStore(-1, "a", testBatch(1, 1), testBatch(1, 1), testBatch(1, 1)), []int16{codeNone, codeNone, codeUnknownTopic}},
		{"no such partition", 9, asksToStore(-1, "a", testBatch(1, 1), testBatch(1, 1), testBatch(1, 1)), []int16{codeNone, codeNone, codeUnknownTopic}},
		{"bad checksum", 8, asksToStore(-1, "a", bad, testBatch(1, 1)), []int16{codeCorruptMessage, codeNone}},
		{"no batch", 7, asksToStore(-1, "a", nil), []int16{codeInvalidRecord}},
		{"two batches", 9, asksToStore(-1, "a", append(testBatch(1, 1), testBatch(1, 1)...)), []int16{codeInvalidRecord}},
		{"too large", 9, asksToStore(-1, "a", testBatch(1, 200<<10), testBatch(1, 1)), []int16{codeMessageTooLarge, codeNone}},
		{"strange acks", 9, asksToStore(2, "a", testBatch(1, 1)), []int16{codeInvalidRequiredAcks}},
	} {
		resp := call1(s, row.version, row.req, kmsg.NewPtrProduceResponse())
		var codes []int16
		for _, o := range outcomes(resp) {
			codes = append(codes, int16(o[0]))
		}
		if !slices.Equal(codes, row.codes) {
			t.Errorf("%s: codes %v, want %v", row.name, codes, row.codes)
		}
	}
	txn := asksToStore(-1, "a", testBatch(1, 1))
	txn.TransactionID = kmsg.StringPtr("t")
	if resp := call1(s, 9, txn, kmsg.NewPtrProduceResponse()); outcomes(resp)[0][0] != codeInvalidTxnState {
		t.Errorf("a transaction: %+v", resp)
	}
	s.refuses = errcode.OutOfOrderSequence
	if resp := call1(s, 9, asksToStore(-1, "a", testBatch(1, 1)), kmsg.NewPtrProduceResponse()); outcomes(resp)[0] != [2]int64{codeOutOfOrderSequence, -1} {
		t.Errorf("a gap: %+v", resp)
	}
}

// A topic that was deleted since it was looked up is looked up again, and so is one that has grown.
func TestProduceToWhatHasChanged(t *testing.T) {
	s := newStub(t)
	s.topic("a", 1)
	call1(s, 9, asksToStore(-1, "a", testBatch(1, 1)), kmsg.NewPtrProduceResponse())
	s.drop("a")
	for range 2 {
		if resp := call1(s, 9, asksToStore(-1, "a", testBatch(1, 1)), kmsg.NewPtrProduceResponse()); outcomes(resp)[0][0] != codeUnknownTopic {
			t.Fatalf("%+v", resp)
		}
	}
	s.topic("a", 1)
	call1(s, 9, asksToStore(-1, "a", testBatch(1, 1)), kmsg.NewPtrProduceResponse())
	s.topic("a", 2)
	resp := call1(s, 9, asksToStore(-1, "a", nil, testBatch(1, 1)), kmsg.NewPtrProduceResponse())
	if outcomes(resp)[1] != [2]int64{0, 0} {
		t.Errorf("%+v", resp)
	}
}

// Requests are answered in their order, and what is no Produce request waits for those before it.
func TestOrderOfResponses(t *testing.T) {
	s := newStub(t)
	s.topic("a", 1)
	call1(s, 9, asksToStore(-1, "a", testBatch(1, 1)), kmsg.NewPtrProduceResponse())
	s.held = true
	for range 3 {
		s.feed(s.frame(9, asksToStore(-1, "a", testBatch(1, 1))))
	}
	s.feed(s.frame(3, &kmsg.ApiVersionsRequest{ClientSoftwareName: "test", ClientSoftwareVersion: "1"}))
	s.feed(s.frame(9, asksToStore(-1, "a", testBatch(1, 1))))
	if n := s.conn.pending.Len(); n != 3 || len(s.sent()) > 0 {
		t.Fatalf("%d batches in the ring", n)
	}
	// The last reply comes first.
	var replies [][]byte
	for range 3 {
		rec, _ := s.in.Next()
		m, _, err := ipc.DecodeAppend(rec.Payload)
		must(t, err)
		replies = append(replies, (&ipc.Appended{Head: m.Head, Index: m.Index, Base: 7}).Append(nil))
		s.in.Release(rec.End)
	}
	s.reply(ipc.TypeAppended, replies[2])
	if len(s.link.Pieces) > 0 {
		t.Fatal("answered out of order")
	}
	s.reply(ipc.TypeAppended, replies[0])
	s.reply(ipc.TypeAppended, replies[1])
	s.reply(ipc.TypeAppended, replies[1]) // a logicsrv that has restarted says it again
	s.held = false
	s.turn()
	list := s.responses()
	if len(list) != 5 {
		t.Fatalf("%d responses", len(list))
	}
	for i, frame := range list {
		if i == 3 {
			decode(s.rig, frame, 3, s.next-1, kmsg.NewPtrApiVersionsResponse())
			continue
		}
		decode(s.rig, frame, 9, s.next-4+int32(i), kmsg.NewPtrProduceResponse())
	}
}

// acks=0 has no response; if the batch is refused the connection ends.
func TestProduceWithoutAnswer(t *testing.T) {
	s := newStub(t)
	s.topic("a", 1)
	s.feed(s.frame(9, asksToStore(0, "a", testBatch(1, 1))))
	s.turn()
	resp := call1(s, 9, asksToStore(-1, "a", testBatch(1, 1)), kmsg.NewPtrProduceResponse())
	if outcomes(resp)[0] != [2]int64{0, 1} || !slices.Equal(s.levels, []ipc.Level{ipc.LevelMemory, ipc.LevelUnset}) {
		t.Errorf("%+v, levels %v", resp, s.levels)
	}
	s.feed(s.frame(9, asksToStore(0, "none", testBatch(1, 1))))
	s.turn()
	if !s.link.Closed || len(s.sent()) > 0 {
		t.Error("the connection goes on")
	}
}

// What a request says is looked at once it is there: half of it may look like something else.
func TestProduceByteByByte(t *testing.T) {
	for version := int16(3); version <= 11; version++ {
		s := newStub(t)
		s.topic("a", 1)
		for _, b := range s.frame(version, andMore(asksToStore(-1, "none", testBatch(1, 1)), "a", testBatch(1, 1))) {
			s.feed([]byte{b})
			s.turn()
		}
		list := s.responses()
		if len(list) != 1 || s.link.Closed {
			t.Fatalf("version %d: %d responses, closed %t", version, len(list), s.link.Closed)
		}
		resp := decode(s.rig, list[0], version, s.next, kmsg.NewPtrProduceResponse())
		if want := [][2]int64{{codeUnknownTopic, -1}, {0, 0}}; !slices.Equal(outcomes(resp), want) {
			t.Errorf("version %d: %+v", version, resp)
		}
	}
}

// One connection holds no more than its share of the ring.
func TestShareOfTheRing(t *testing.T) {
	s := newStub(t)
	s.topic("a", 1)
	call1(s, 9, asksToStore(-1, "a", testBatch(1, 1)), kmsg.NewPtrProduceResponse())
	s.held = true
	for range 5 {
		s.feed(s.frame(9, asksToStore(-1, "a", testBatch(1, 80<<10))))
	}
	if n := s.conn.pending.Len(); n != 3 {
		t.Errorf("%d batches of 80 KiB in 256 KiB", n)
	}
	s.held = false
	s.turn()
	if n := len(s.responses()); n != 5 {
		t.Errorf("%d responses", n)
	}
}

// A connection that ends in the middle of a request gets the answers that it has a right to.
func TestEndWithinARequest(t *testing.T) {
	s := newStub(t)
	s.topic("a", 2)
	call1(s, 9, asksToStore(-1, "a", testBatch(1, 1)), kmsg.NewPtrProduceResponse())
	s.held = true
	s.feed(s.frame(9, asksToStore(-1, "a", testBatch(1, 1))))
	whole := s.frame(9, asksToStore(-1, "a", testBatch(1, 1), testBatch(3, 100)))
	s.feed(whole[:len(whole)-100])
	s.conn.Ended()
	s.held = false
	s.turn()
	if n := len(s.responses()); n != 1 || !s.link.Closed {
		t.Errorf("%d responses, closed %t", n, s.link.Closed)
	}
	s.conn.Closed()
}

func BenchmarkProduce(b *testing.B) {
	s := newStub(b)
	r := s.rig
	r.loop.topics.learn(s.topic("a", 1))
	frame := r.frame(9, asksToStore(-1, "a", testBatch(16, 100)))
	reply := make([]byte, 0, 64)
	r.conn.link = &roomtest.Forgetful{}
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	for b.Loop() {
		used := 0
		for used < len(frame) {
			n, _ := r.conn.Input(frame[used:])
			used += n
		}
		rec, ok := r.in.Next()
		if !ok {
			b.Fatal("nothing in the ring")
		}
		head, _ := ipc.PeekHead(rec.Payload)
		r.in.Release(rec.End)
		m := ipc.Appended{Head: head, Index: 10}
		r.conn.Reply(ipc.TypeAppended, m.Append(reply))
	}
}

func TestReaderFaults(t *testing.T) {
	for _, row := range []struct {
		name  string
		b     []byte
		total int
		read  func(*reader)
		fault fault
	}{
		{"enough", []byte{0, 1, 'x'}, 3, func(r *reader) { r.text(false) }, sound},
		{"to come", []byte{0, 2, 'x'}, 4, func(r *reader) { r.text(false) }, short},
		{"never", []byte{0, 3, 'x'}, 4, func(r *reader) { r.text(false) }, malformed},
		{"null", []byte{0xff, 0xff}, 2, func(r *reader) { r.text(false) }, sound},
		{"a list too long", []byte{0, 0, 0, 3, 0, 0, 0, 0}, 8, func(r *reader) { r.count(false, 2) }, malformed},
		{"a long varint", bytes.Repeat([]byte{0x80}, 6), 20, func(r *reader) { r.uvarint() }, malformed},
		{"tags", []byte{1, 5, 2, 8, 8}, 5, func(r *reader) { r.tags(true) }, sound},
		{"tags to come", []byte{1, 5, 2, 8}, 5, func(r *reader) { r.tags(true) }, short},
		{"too many tags", []byte{9}, 5, func(r *reader) { r.tags(true) }, malformed},
		{"a long text", append([]byte{0x81, 0x80, 8}, 0), 1 << 20, func(r *reader) { r.text(true) }, malformed},
	} {
		r := reader{b: row.b, total: row.total}
		if row.read(&r); r.fault != row.fault {
			t.Errorf("%s: fault %d, want %d", row.name, r.fault, row.fault)
		}
	}
}
