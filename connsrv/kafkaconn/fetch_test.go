package kafkaconn

import (
	"bytes"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/connsrv/session/roomtest"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/ipc"
)

// from is where a fetch of one partition begins.
type from struct {
	topic     string
	partition int32
	offset    int64
}

// fetchRequest asks for partitions, each of up to 1 MiB.
func fetchRequest(waitMS, minBytes, maxBytes int32, list ...from) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.SessionEpoch = waitMS, minBytes, maxBytes, -1
	for _, f := range list {
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.FetchOffset, p.PartitionMaxBytes = f.partition, f.offset, 1<<20
		if n := len(req.Topics); n == 0 || req.Topics[n-1].Topic != f.topic {
			t := kmsg.NewFetchRequestTopic()
			t.Topic, t.TopicID = f.topic, stubID(f.topic)
			req.Topics = append(req.Topics, t)
		}
		t := &req.Topics[len(req.Topics)-1]
		t.Partitions = append(t.Partitions, p)
	}
	return req
}

// fetched are the partitions of a response, one after the other.
func fetched(resp *kmsg.FetchResponse) (list []kmsg.FetchResponseTopicPartition) {
	for i := range resp.Topics {
		list = append(list, resp.Topics[i].Partitions...)
	}
	return list
}

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

func TestFetch(t *testing.T) {
	for version := int16(4); version <= 18; version++ {
		unknown := int16(codeUnknownTopic)
		if version >= topicIDFetch {
			unknown = codeUnknownTopicID
		}
		s := newStub(t)
		a, b := s.topic("a", 2), s.topic("b", 1)
		for range 3 {
			s.store(a.Partitions[0].Index, testBatch(10, 100))
		}
		s.store(a.Partitions[1].Index, testBatch(5, 10))
		s.store(b.Partitions[0].Index, testBatch(7, 10))
		req := fetchRequest(0, 1, 1<<20, from{"a", 0, 12}, from{"a", 1, 5}, from{"b", 0, 0}, from{"b", 1, 0}, from{"none", 0, 0})
		req.IsolationLevel = int8(version % 2)
		resp := call1(s, version, req, kmsg.NewPtrFetchResponse())
		list := fetched(resp)
		if len(list) != 5 || stubName(resp.Topics[1].Topic, resp.Topics[1].TopicID) != "b" {
			t.Fatalf("version %d: %+v", version, resp)
		}
		if p := list[0]; p.ErrorCode != 0 || p.HighWatermark != 30 || p.LastStableOffset != 30 || checkBatches(t, p.RecordBatches, 10) != 20 {
			t.Errorf("version %d: %+v", version, p)
		}
		if p := list[1]; p.ErrorCode != 0 || p.HighWatermark != 5 || len(p.RecordBatches) != 0 {
			t.Errorf("version %d: %+v", version, p)
		}
		if p := list[2]; p.ErrorCode != 0 || checkBatches(t, p.RecordBatches, 0) != 7 || version >= 5 && p.LogStartOffset != 0 {
			t.Errorf("version %d: %+v", version, p)
		}
		if list[3].ErrorCode != codeUnknownTopic || list[4].ErrorCode != unknown {
			t.Errorf("version %d: %+v", version, list[3:])
		}
	}
}

// The first batch is whole, whatever its size; what goes beyond the limits stays away.
func TestFetchLimits(t *testing.T) {
	s := newStub(t)
	a := s.topic("a", 3)
	for _, p := range a.Partitions {
		s.store(p.Index, testBatch(10, 1000))
		s.store(p.Index, testBatch(10, 1000))
	}
	one := len(testBatch(10, 1000))
	all := []from{{"a", 0, 0}, {"a", 1, 0}, {"a", 2, 0}}
	for _, row := range []struct {
		maxBytes int
		batches  [3]int
	}{{1, [3]int{1, 0, 0}}, {2 * one, [3]int{2, 0, 0}}, {3 * one, [3]int{2, 1, 0}}, {3*one + one/2, [3]int{2, 1, 0}}, {1 << 20, [3]int{2, 2, 2}}} {
		resp := call1(s, 11, fetchRequest(100, 1, int32(row.maxBytes), all...), kmsg.NewPtrFetchResponse())
		for i, p := range fetched(resp) {
			if got := checkBatches(t, p.RecordBatches, 0); got != 10*row.batches[i] {
				t.Errorf("%d bytes: %d records of partition %d, want %d batches", row.maxBytes, got, i, row.batches[i])
			}
		}
	}
	req := fetchRequest(100, 1, 1<<20, all...)
	req.Topics[0].Partitions[0].PartitionMaxBytes = 0
	if p := fetched(call1(s, 11, req, kmsg.NewPtrFetchResponse()))[0]; checkBatches(t, p.RecordBatches, 0) != 10 {
		t.Error("a partition that may send nothing sends its first batch")
	}
}

func TestFetchErrors(t *testing.T) {
	s := newStub(t)
	a := s.topic("a", 1)
	s.store(a.Partitions[0].Index, testBatch(10, 10))
	for _, row := range []struct {
		offset int64
		epoch  int32
		code   int16
	}{{10, -1, 0}, {11, -1, codeOffsetOutOfRange}, {-1, -1, codeOffsetOutOfRange}, {0, 0, 0}, {0, 1, codeUnknownLeaderEpoch}} {
		req := fetchRequest(0, 0, 1<<20, from{"a", 0, row.offset})
		req.Topics[0].Partitions[0].CurrentLeaderEpoch = row.epoch
		if p := fetched(call1(s, 11, req, kmsg.NewPtrFetchResponse()))[0]; p.ErrorCode != row.code {
			t.Errorf("%+v: %+v", row, p)
		}
	}
	req := fetchRequest(0, 0, 1<<20, from{"a", 0, 0})
	req.SessionID = 5
	for epoch, code := range map[int32]int16{1: codeFetchSessionNotFound, 0: 0, -1: 0} { // only with the first some partitions go without saying
		req.SessionEpoch = epoch
		if resp := call1(s, 11, req, kmsg.NewPtrFetchResponse()); resp.ErrorCode != code {
			t.Errorf("a session that is not there, epoch %d: %+v", epoch, resp)
		}
	}
	if resp := call1(s, 11, fetchRequest(5000, 1, 1<<20), kmsg.NewPtrFetchResponse()); resp.ErrorCode != 0 {
		t.Errorf("nothing is asked for: %+v", resp)
	}
	s.drop("a")
	s.gone(a)
	for range 2 {
		if p := fetched(call1(s, 11, fetchRequest(0, 0, 1<<20, from{"a", 0, 3}), kmsg.NewPtrFetchResponse()))[0]; p.ErrorCode != codeUnknownTopic {
			t.Errorf("a topic that is gone: %+v", p)
		}
	}
}

func TestLongPoll(t *testing.T) {
	s := newStub(t)
	a := s.topic("a", 2)
	index := a.Partitions[0].Index
	ask := func(minBytes int32, offset int64) {
		s.feed(s.frame(11, fetchRequest(500, minBytes, 1<<20, from{"a", 0, offset}, from{"a", 1, 0})))
		s.turn()
	}
	got := func() []kmsg.FetchResponseTopicPartition {
		t.Helper()
		list := s.responses()
		if len(list) != 1 {
			t.Fatalf("%d responses", len(list))
		}
		return fetched(decode(s.rig, list[0], 11, s.next, kmsg.NewPtrFetchResponse()))
	}
	ask(1, 0)
	if len(s.waits) != 2 || len(s.link.Pieces) > 0 || s.link.Deadline != s.link.NowMS()+500 {
		t.Fatalf("%d waits, deadline %d", len(s.waits), s.link.Deadline)
	}
	s.store(index, testBatch(3, 100))
	if p := got()[0]; checkBatches(t, p.RecordBatches, 0) != 3 || s.link.Deadline != 0 {
		t.Errorf("%+v", p)
	}
	// The wait for the other partition stands still.
	before := s.seen[ipc.TypeWait]
	ask(1, 3)
	if n := s.seen[ipc.TypeWait] - before; n != 1 || len(s.waits) != 2 {
		t.Errorf("%d new waits, %d in all", n, len(s.waits))
	}
	// Nothing comes: an empty answer in time.
	s.link.LaterMS += 500
	s.conn.Deadline(s.link.NowMS())
	if p := got()[0]; p.ErrorCode != 0 || len(p.RecordBatches) > 0 || p.HighWatermark != 3 {
		t.Errorf("%+v", p)
	}
	// Too little comes, and then the time is over.
	ask(10_000, 3)
	s.store(index, testBatch(3, 100))
	s.turn()
	if len(s.link.Pieces) > 0 || len(s.waits) != 2 {
		t.Fatalf("answered with too little, or %d waits", len(s.waits))
	}
	s.link.LaterMS += 500
	s.conn.Deadline(s.link.NowMS())
	if p := got()[0]; checkBatches(t, p.RecordBatches, 3) != 3 {
		t.Errorf("%+v", p)
	}
	// Another partition alone: the wait for the first one is taken back.
	s.feed(s.frame(11, fetchRequest(500, 1, 1<<20, from{"a", 1, 0})))
	s.turn()
	if len(s.waits) != 1 || s.waits[0].Index != a.Partitions[1].Index {
		t.Errorf("waits %+v", s.waits)
	}
	// The topic goes.
	s.drop("a")
	s.answerWaits()
	if p := got()[0]; p.ErrorCode != codeUnknownTopic {
		t.Errorf("%+v", p)
	}
}

// A fetch lives through the death of logicsrv: what it waits for is told again.
func TestFetchOverARestart(t *testing.T) {
	s := newStub(t)
	a := s.topic("a", 1)
	s.feed(s.frame(11, fetchRequest(500, 1, 1<<20, from{"a", 0, 0})))
	s.turn()
	s.restart()
	if len(s.waits) != 1 || s.seen[ipc.TypeResyncEnd] != 1 {
		t.Fatalf("waits %+v", s.waits)
	}
	s.store(a.Partitions[0].Index, testBatch(3, 100))
	resp := decode(s.rig, s.responses()[0], 11, s.next, kmsg.NewPtrFetchResponse())
	if checkBatches(t, fetched(resp)[0].RecordBatches, 0) != 3 {
		t.Errorf("%+v", resp)
	}
	// One that asks for the end is told again as well.
	call1(s, 9, metadataRequest(false, "a"), kmsg.NewPtrMetadataResponse())
	s.held = true
	s.feed(s.frame(11, fetchRequest(0, 1, 1<<20, from{"a", 0, 3})))
	for {
		rec, ok := s.in.Next()
		if !ok {
			break
		}
		s.in.Release(rec.End)
	}
	s.held = false
	s.restart()
	if n := len(s.responses()); n != 1 {
		t.Errorf("%d responses", n)
	}
}

// A server that stops answers what waits, and closes.
func TestShutdownEndsLongPolls(t *testing.T) {
	s := newStub(t)
	s.topic("a", 1)
	s.feed(s.frame(11, fetchRequest(5000, 1, 1<<20, from{"a", 0, 0})))
	s.turn()
	s.conn.Shutdown()
	if n := len(s.responses()); n != 1 || !s.link.Closed {
		t.Errorf("%d responses, closed %t", n, s.link.Closed)
	}
}

func TestBytesByTheHandAreKmsgs(t *testing.T) {
	s := newStub(t)
	a := s.topic("a", 1)
	messages := testBatch(3, 100)
	s.store(a.Partitions[0].Index, messages)
	resp := call1(s, 12, fetchRequest(0, 1, 1<<20, from{"a", 0, 0}), kmsg.NewPtrFetchResponse())
	batch.PatchBase(messages, 0, 0)
	if !bytes.Equal(fetched(resp)[0].RecordBatches, messages) {
		t.Error("the batch has changed")
	}
}

func BenchmarkFetch(b *testing.B) {
	s := newStub(b)
	a := s.topic("a", 1)
	s.loop.topics.learn(a)
	for range 100 {
		s.store(a.Partitions[0].Index, testBatch(16, 100))
	}
	s.loop.Lane.Ends.Raise(a.Partitions[0].Index, 1600)
	frame := s.frame(12, fetchRequest(500, 1, 1<<20, from{"a", 0, 0}))
	s.conn.link = &roomtest.Forgetful{}
	b.ReportAllocs()
	for b.Loop() {
		if used, _ := s.conn.Input(frame); used != len(frame) {
			b.Fatal("not taken")
		}
	}
}
