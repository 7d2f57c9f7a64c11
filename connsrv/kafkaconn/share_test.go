package kafkaconn

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
)

// sharer is a member of a share group over one connection.
type sharer struct {
	*stub
	group, member string
	epoch         int32
}

func newSharer(t *testing.T) *sharer {
	s := &sharer{stub: newStub(t), group: "g", member: "m"}
	s.shares.settings["g"] = []admin.Setting{{Name: groupReset, Value: resetEarliest}, {Name: groupLock, Value: "20000"}}
	return s
}

// part names a partition with what is acknowledged in it.
func part(topic *admin.TopicInfo, number int32, acks ...kmsg.ShareFetchRequestTopicPartitionAcknowledgementBatch) kmsg.ShareFetchRequestTopic {
	t := kmsg.NewShareFetchRequestTopic()
	t.TopicID = topic.UUID
	p := kmsg.NewShareFetchRequestTopicPartition()
	p.Partition, p.AcknowledgementBatches = number, acks
	t.Partitions = append(t.Partitions, p)
	return t
}

// says acknowledges [first, last], with one type or one for each offset.
func says(first, last int64, types ...int8) kmsg.ShareFetchRequestTopicPartitionAcknowledgementBatch {
	a := kmsg.NewShareFetchRequestTopicPartitionAcknowledgementBatch()
	a.FirstOffset, a.LastOffset, a.AcknowledgeTypes = first, last, types
	return a
}

func (s *sharer) request(epoch int32, topics ...kmsg.ShareFetchRequestTopic) *kmsg.ShareFetchRequest {
	req := kmsg.NewPtrShareFetchRequest()
	req.GroupID, req.MemberID, req.ShareSessionEpoch, req.Topics = &s.group, &s.member, epoch, topics
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.MaxRecords, req.BatchSize = 500, 1, 1<<20, 500, 500
	return req
}

// fetch sends a share fetch at the session's epoch, and returns the response.
func (s *sharer) fetch(change func(*kmsg.ShareFetchRequest), topics ...kmsg.ShareFetchRequestTopic) *kmsg.ShareFetchResponse {
	s.tb.Helper()
	req := s.request(s.epoch, topics...)
	if change != nil {
		change(req)
	}
	s.epoch = req.ShareSessionEpoch + 1
	return call1(s.stub, 2, req, kmsg.NewPtrShareFetchResponse())
}

// shareRequest opens a session of one partition.
func shareRequest(topic [16]byte) *kmsg.ShareFetchRequest {
	return (&sharer{group: "g", member: "m"}).request(0, part(&admin.TopicInfo{UUID: topic}, 0))
}

// acquired words what a response has of a partition: offsets, and how often they were delivered.
func acquired(resp *kmsg.ShareFetchResponse, number int32) (list []string) {
	for i := range resp.Topics {
		for _, p := range resp.Topics[i].Partitions {
			for _, a := range p.AcquiredRecords {
				if p.Partition == number {
					list = append(list, fmt.Sprintf("%d-%d×%d", a.FirstOffset, a.LastOffset, a.DeliveryCount))
				}
			}
		}
	}
	return list
}

func want(t *testing.T, got []string, list ...string) {
	t.Helper()
	if !slices.Equal(got, list) {
		t.Fatalf("acquired %q, want %q", got, list)
	}
}

// TestShareFetch: whole batches are acquired and sent once; what is accepted is done with, what is
// released comes again.
func TestShareFetch(t *testing.T) {
	s := newSharer(t)
	topic := s.topic("t", 2)
	index := topic.Partitions[0].Index
	s.store(index, testBatch(10, 20))
	s.store(index, testBatch(10, 20))
	few := func(m *kmsg.ShareFetchRequest) { m.MaxRecords = 4 }
	resp := s.fetch(few, part(topic, 0), part(topic, 1))
	want(t, acquired(resp, 0), "0-3×1", "4-9×1")
	if n := checkBatches(t, resp.Topics[0].Partitions[0].Records, 0); n != 10 || resp.AcquisitionLockTimeoutMillis != 20_000 {
		t.Fatalf("%d records, lock %d", n, resp.AcquisitionLockTimeoutMillis)
	}
	// A strict member gets no more than it asks for, though it has to be sent all of the batch.
	strict := func(m *kmsg.ShareFetchRequest) { m.MaxRecords, m.ShareAcquireMode = 4, 1 }
	resp = s.fetch(strict, part(topic, 0, says(0, 4, shareAccept), says(5, 9, shareRelease, shareReject, shareGap, shareAccept, shareRelease)))
	want(t, acquired(resp, 0), "5-5×2", "9-9×2", "10-11×1")
	if p := resp.Topics[0].Partitions[0]; p.AcknowledgeErrorCode != 0 || checkBatches(t, p.Records, 0) != 20 {
		t.Fatalf("%+v", p)
	}
	q := s.shares.queues["share/g/t"]
	for offset, verdict := range []ipc.Verdict{1, 1, 1, 1, 1, 0, ipc.VerdictReject, ipc.VerdictSkip, ipc.VerdictAck, 0} {
		if got := q.at(index, uint64(offset)).done; got != verdict {
			t.Errorf("offset %d: verdict %d, want %d", offset, got, verdict)
		}
	}
	if set := q.info; !set.Durable || set.DeliveryLimit != admin.Some(4) || set.From != admin.FromEarliest {
		t.Errorf("the queue is %+v", set)
	}
}

// TestShareFetchWaits: a fetch without records waits for some, and its time ends it.
func TestShareFetchWaits(t *testing.T) {
	s := newSharer(t)
	a, b := s.topic("a", 1), s.topic("b", 1)
	s.feed(s.frame(2, s.request(0, part(a, 0), part(b, 0))))
	s.turn()
	if len(s.responses()) != 0 || len(s.shares.parked) != 2 || s.link.Deadline != 1500 {
		t.Fatalf("%d pulls are parked, deadline %d", len(s.shares.parked), s.link.Deadline)
	}
	s.store(b.Partitions[0].Index, testBatch(2, 10))
	s.servePulls()
	s.turn()
	resp := decode(s.rig, s.responses()[0], 2, s.next, kmsg.NewPtrShareFetchResponse())
	want(t, acquired(resp, 0), "0-1×1")
	if len(s.shares.parked) != 0 || s.link.Deadline != 0 {
		t.Fatalf("%d pulls are parked, deadline %d", len(s.shares.parked), s.link.Deadline)
	}
	s.feed(s.frame(2, s.request(1)))
	s.turn()
	s.shares.parked = nil // logicsrv dies, and is told again what waits
	s.restart()
	if len(s.shares.parked) != 2 || s.shares.pulls < 6 {
		t.Fatalf("%d pulls are parked after a restart", len(s.shares.parked))
	}
	s.link.LaterMS += 500
	s.conn.Deadline(s.link.NowMS())
	s.turn()
	if resp := decode(s.rig, s.responses()[0], 2, s.next, kmsg.NewPtrShareFetchResponse()); len(resp.Topics) != 0 {
		t.Fatalf("%+v", resp)
	}
}

// TestShareFetchBytes: what does not fit into a response goes back as if it had never been given.
func TestShareFetchBytes(t *testing.T) {
	s := newSharer(t)
	topic := s.topic("t", 1)
	for range 3 {
		s.store(topic.Partitions[0].Index, testBatch(2, 1000))
	}
	small := func(m *kmsg.ShareFetchRequest) { m.MaxBytes = 2500 }
	want(t, acquired(s.fetch(small, part(topic, 0)), 0), "0-1×1")
	want(t, acquired(s.fetch(nil, part(topic, 0, says(0, 1, shareAccept))), 0), "2-5×1")
}

// TestShareFetchGone: what retention has removed is done with.
func TestShareFetchGone(t *testing.T) {
	s := newSharer(t)
	topic := s.topic("t", 1)
	index := topic.Partitions[0].Index
	s.store(index, testBatch(5, 10))
	s.store(index, testBatch(2, 10))
	s.trim(index, 5)
	resp := s.fetch(nil, part(topic, 0))
	want(t, acquired(resp, 0), "5-6×1")
	if q := s.shares.queues["share/g/t"]; q.at(index, 4).done != ipc.VerdictSkip {
		t.Errorf("what is gone: %+v", q.at(index, 4))
	}
}

// TestShareSession: epochs, and what is told who has none.
func TestShareSession(t *testing.T) {
	s := newSharer(t)
	topic := s.topic("t", 1)
	s.store(topic.Partitions[0].Index, testBatch(6, 10))
	at := func(epoch int32) func(*kmsg.ShareFetchRequest) {
		return func(m *kmsg.ShareFetchRequest) { m.ShareSessionEpoch, m.MaxWaitMillis = epoch, 0 }
	}
	code := func(resp *kmsg.ShareFetchResponse, want int16) {
		t.Helper()
		if resp.ErrorCode != want {
			t.Fatalf("error %d, want %d", resp.ErrorCode, want)
		}
	}
	code(s.fetch(at(1), part(topic, 0)), codeShareSessionNotFound)
	code(s.fetch(at(-1)), codeShareSessionNotFound)
	code(s.fetch(at(0), part(topic, 0, says(0, 0, 1))), codeInvalidRequest)
	code(s.fetch(func(m *kmsg.ShareFetchRequest) { m.MemberID = nil }), codeInvalidRequest)
	code(s.fetch(at(0), part(topic, 0)), 0)
	code(s.fetch(at(2)), codeInvalidShareEpoch)
	code(s.fetch(at(1)), 0)
	// Another one in its place leaves what is acquired to the member.
	code(s.fetch(at(0), part(topic, 0)), 0)
	resp := s.fetch(at(1), part(topic, 0, says(0, 1, shareAccept)))
	if code(resp, 0); resp.Topics[0].Partitions[0].AcknowledgeErrorCode != 0 {
		t.Fatalf("%+v", resp.Topics)
	}
	// The end gives back what is left, as if it had not been given.
	code(s.fetch(at(-1), part(topic, 0, says(2, 2, shareAccept))), 0)
	q, index := s.shares.queues["share/g/t"], topic.Partitions[0].Index
	for offset, done := range []ipc.Verdict{1, 1, 1, 0, 0, 0} {
		if x := q.at(index, uint64(offset)); x.done != done || x.lease != 0 || x.attempts != 0 {
			t.Errorf("offset %d: %+v", offset, x)
		}
	}
	code(s.fetch(at(2)), codeShareSessionNotFound)
	for i := range maxShareSessions + 1 {
		s.member = fmt.Sprint("m", i)
		code(s.fetch(at(0)), map[bool]int16{true: codeShareSessionLimit}[i == maxShareSessions])
	}
}

// TestShareForget: a partition that is forgotten is fetched no longer; unknown ones are told.
func TestShareForget(t *testing.T) {
	s := newSharer(t)
	topic := s.topic("t", 2)
	for _, p := range topic.Partitions {
		s.store(p.Index, testBatch(2, 10))
	}
	forget := func(m *kmsg.ShareFetchRequest) {
		f := kmsg.NewShareFetchRequestForgottenTopicsData()
		f.TopicID, f.Partitions = topic.UUID, []int32{1}
		m.ForgottenTopicsData = append(m.ForgottenTopicsData, f)
	}
	resp := s.fetch(forget, part(topic, 0), part(topic, 1), part(topic, 7), part(&admin.TopicInfo{UUID: [16]byte{9}}, 0))
	if want(t, acquired(resp, 0), "0-1×1"); len(acquired(resp, 1)) > 0 {
		t.Error("what is forgotten is fetched")
	}
	codes := map[string]int16{}
	for _, r := range resp.Topics {
		for _, p := range r.Partitions {
			codes[fmt.Sprint(string(r.TopicID[:1]), "/", p.Partition)] = p.ErrorCode
		}
	}
	if codes["t/7"] != codeUnknownTopic || codes["\t/0"] != codeUnknownTopicID {
		t.Errorf("%v", codes)
	}
}

// TestShareAcknowledge: what is acquired is settled, what is not is refused, by partition.
func TestShareAcknowledge(t *testing.T) {
	s := newSharer(t)
	topic := s.topic("t", 2)
	index := topic.Partitions[0].Index
	s.store(index, testBatch(9, 10))
	want(t, acquired(s.fetch(nil, part(topic, 0)), 0), "0-8×1")
	acknowledge := func(epoch int32, number int32, batches ...kmsg.ShareFetchRequestTopicPartitionAcknowledgementBatch) int16 {
		t.Helper()
		req := kmsg.NewPtrShareAcknowledgeRequest()
		req.GroupID, req.MemberID, req.ShareSessionEpoch = &s.group, &s.member, epoch
		from := part(topic, number, batches...)
		r := kmsg.NewShareAcknowledgeRequestTopic()
		p := kmsg.NewShareAcknowledgeRequestTopicPartition()
		r.TopicID, p.Partition, p.AcknowledgementBatches = from.TopicID, number, shareAcks(s.request(1, from))[0].batches
		r.Partitions = append(r.Partitions, p)
		req.Topics = append(req.Topics, r)
		resp := call1(s.stub, 2, req, kmsg.NewPtrShareAcknowledgeResponse())
		if resp.ErrorCode != 0 {
			return resp.ErrorCode
		}
		return resp.Topics[0].Partitions[0].ErrorCode
	}
	for i, k := range []struct {
		epoch, part int32
		batch       []kmsg.ShareFetchRequestTopicPartitionAcknowledgementBatch
		code        int16
	}{
		{0, 0, []kmsg.ShareFetchRequestTopicPartitionAcknowledgementBatch{says(0, 0, 1)}, codeInvalidShareEpoch},
		{1, 0, []kmsg.ShareFetchRequestTopicPartitionAcknowledgementBatch{says(0, 1, shareAccept), says(3, 4, shareRelease, shareRenew)}, 0},
		{2, 0, []kmsg.ShareFetchRequestTopicPartitionAcknowledgementBatch{says(0, 0, shareAccept)}, codeInvalidRecordState},
		{3, 0, []kmsg.ShareFetchRequestTopicPartitionAcknowledgementBatch{says(4, 9, shareAccept)}, codeInvalidRecordState},
		{4, 0, []kmsg.ShareFetchRequestTopicPartitionAcknowledgementBatch{says(4, 5, shareAccept, shareAccept, shareAccept)}, codeInvalidRequest},
		{5, 0, []kmsg.ShareFetchRequestTopicPartitionAcknowledgementBatch{says(4, 4, 5)}, codeInvalidRequest},
		{6, 0, []kmsg.ShareFetchRequestTopicPartitionAcknowledgementBatch{says(5, 4, 1)}, codeInvalidRequest},
		{7, 0, []kmsg.ShareFetchRequestTopicPartitionAcknowledgementBatch{says(5, 5, 1), says(4, 4, 1)}, codeInvalidRequest},
		{8, 1, []kmsg.ShareFetchRequestTopicPartitionAcknowledgementBatch{says(0, 0, 1)}, codeInvalidRecordState},
		{9, 5, []kmsg.ShareFetchRequestTopicPartitionAcknowledgementBatch{says(0, 0, 1)}, codeUnknownTopic},
		{10, 0, []kmsg.ShareFetchRequestTopicPartitionAcknowledgementBatch{says(4, 5, shareAccept)}, 0},
		{-1, 0, []kmsg.ShareFetchRequestTopicPartitionAcknowledgementBatch{says(6, 6, shareAccept)}, 0},
		{12, 0, []kmsg.ShareFetchRequestTopicPartitionAcknowledgementBatch{says(7, 7, shareAccept)}, codeShareSessionNotFound},
	} {
		if code := acknowledge(k.epoch, k.part, k.batch...); code != k.code {
			t.Fatalf("case %d: error %d, want %d", i, code, k.code)
		}
	}
	q := s.shares.queues["share/g/t"]
	for offset := uint64(7); offset < 9; offset++ {
		if x := q.at(index, offset); x.lease != 0 || x.attempts != 0 {
			t.Errorf("the end of the session leaves offset %d: %+v", offset, x)
		}
	}
}

// TestShareLeaseOver: who comes too late with a verdict is told so, and the session goes on.
func TestShareLeaseOver(t *testing.T) {
	s := newSharer(t)
	topic := s.topic("t", 1)
	index := topic.Partitions[0].Index
	s.store(index, testBatch(2, 10))
	s.fetch(nil, part(topic, 0))
	q := s.shares.queues["share/g/t"]
	for offset := range uint64(2) {
		*q.at(index, offset) = stubMessage{attempts: 1}
	}
	resp := s.fetch(nil, part(topic, 0, says(0, 1, shareAccept)))
	want(t, acquired(resp, 0), "0-1×2")
	if code := resp.Topics[0].Partitions[0].AcknowledgeErrorCode; code != codeInvalidRecordState {
		t.Errorf("error %d", code)
	}
	s.conn.Closed()
	s.turn()
	if x := q.at(index, 0); x.lease != 0 {
		t.Error("the end of the connection leaves what it has acquired")
	}
}

// TestShareQueueGone: a queue that was deleted is made again, by the next fetch.
func TestShareQueueGone(t *testing.T) {
	s := newSharer(t)
	topic := s.topic("t", 1)
	s.store(topic.Partitions[0].Index, testBatch(2, 10))
	s.fetch(nil, part(topic, 0))
	delete(s.shares.queues, "share/g/t")
	resp := s.fetch(nil)
	if code := resp.Topics[0].Partitions[0].ErrorCode; code != codeUnknownTopic {
		t.Fatalf("error %d", code)
	}
	want(t, acquired(s.fetch(nil, part(topic, 0)), 0), "0-1×1")
}

// TestShareReset: where a group begins.
func TestShareReset(t *testing.T) {
	for reset, want := range map[string]uint64{resetEarliest: 0, resetLatest: 4, resetDuration + "PT0.5S": 2, resetDuration + "PT24H": 0} {
		s := newSharer(t)
		topic := s.topic("t", 1)
		for i := range 2 {
			var b batch.Builder
			for j := range 2 {
				b.Add(s.conn.settings.Clock()-1000+int64(i)*800+int64(j), nil, []byte("x"), nil)
			}
			s.store(topic.Partitions[0].Index, b.Seal(batch.None, batch.NoProducer, 0, 0))
		}
		s.shares.settings["g"] = []admin.Setting{{Name: groupReset, Value: reset}}
		s.fetch(func(m *kmsg.ShareFetchRequest) { m.MaxWaitMillis = 0 }, part(topic, 0))
		if got := s.shares.queues["share/g/t"].from[topic.Partitions[0].Index]; got != want {
			t.Errorf("%s: begins at %d, want %d", reset, got, want)
		}
	}
}

// TestShareGroup: heartbeats and descriptions.
func TestShareGroup(t *testing.T) {
	s := newSharer(t)
	topic := s.topic("t", 2)
	s.groups.assign = ipc.GroupAssignment{Member: "m", Epoch: 3, HeartbeatMS: 5000, HasTopics: true, Topics: []ipc.AssignedTopic{{
		Topic: "t", UUID: topic.UUID, Partitions: []ipc.AssignedPartition{{Partition: 1, Index: topic.Partitions[1].Index}},
	}}}
	req := kmsg.NewPtrShareGroupHeartbeatRequest()
	req.GroupID, req.MemberID, req.SubscribedTopicNames = "g", "m", []string{"t"}
	beat := call1(s.stub, 1, req, kmsg.NewPtrShareGroupHeartbeatResponse())
	if beat.ErrorCode != 0 || beat.MemberEpoch != 3 || beat.Assignment.TopicPartitions[0].Partitions[0] != 1 || !s.shares.hearts[0].HasTopics || s.shares.hearts[0].HasOwned {
		t.Fatalf("%+v, told as %+v", beat, s.shares.hearts[0])
	}
	s.refuses = errcode.InconsistentProtocol
	if again := call1(s.stub, 1, req, kmsg.NewPtrShareGroupHeartbeatResponse()); again.ErrorCode != codeGroupNotFound {
		t.Errorf("a group of another kind: %d", again.ErrorCode)
	}
	s.refuses = 0
	s.groups.members = []admin.Membership{
		{Name: "g", Type: admin.GroupShare, State: admin.GroupStable, Epoch: 3, Members: []admin.MemberInfo{
			{ID: "m", Epoch: 3, Topics: []string{"t"}, Assigned: []uint64{topic.Partitions[0].Index, topic.Partitions[1].Index}},
		}},
		{Name: "h", Type: admin.GroupModern},
	}
	ask := kmsg.NewPtrShareGroupDescribeRequest()
	ask.GroupIDs = []string{"g", "h", "i"}
	d := call1(s.stub, 1, ask, kmsg.NewPtrShareGroupDescribeResponse())
	if g := d.Groups[0]; g.GroupState != "Stable" || g.Assignor != assignorShare || len(g.Members[0].Assignment.TopicPartitions[0].Partitions) != 2 {
		t.Errorf("%+v", g)
	}
	if d.Groups[1].ErrorCode != codeGroupNotFound || d.Groups[2].ErrorCode != codeGroupNotFound {
		t.Errorf("%+v", d.Groups[1:])
	}
	list := kmsg.NewPtrListGroupsRequest()
	list.TypesFilter = []string{"share"}
	if l := call1(s.stub, 5, list, kmsg.NewPtrListGroupsResponse()); len(l.Groups) != 1 || l.Groups[0].GroupType != typeShare {
		t.Errorf("%+v", l.Groups)
	}
}

// TestShareOffsets: they are set, described and forgotten while nobody is a member.
func TestShareOffsets(t *testing.T) {
	s := newSharer(t)
	topic := s.topic("t", 2)
	s.store(topic.Partitions[0].Index, testBatch(9, 10))
	alter := func(offset int64) *kmsg.AlterShareGroupOffsetsResponse {
		req := kmsg.NewPtrAlterShareGroupOffsetsRequest()
		req.GroupID = "g"
		for _, name := range []string{"t", "nothing"} {
			r := kmsg.NewAlterShareGroupOffsetsRequestTopic()
			r.Topic = name
			r.Partitions = []kmsg.AlterShareGroupOffsetsRequestTopicPartition{{Partition: 0, StartOffset: offset}}
			req.Topics = append(req.Topics, r)
		}
		return call1(s.stub, 0, req, kmsg.NewPtrAlterShareGroupOffsetsResponse())
	}
	describe := func(topics []kmsg.DescribeShareGroupOffsetsRequestGroupTopic) kmsg.DescribeShareGroupOffsetsResponseGroup {
		req := kmsg.NewPtrDescribeShareGroupOffsetsRequest()
		req.Groups = []kmsg.DescribeShareGroupOffsetsRequestGroup{{GroupID: "g", Topics: topics}}
		return call1(s.stub, 1, req, kmsg.NewPtrDescribeShareGroupOffsetsResponse()).Groups[0]
	}
	if g := describe(nil); g.ErrorCode != codeGroupNotFound {
		t.Errorf("a group that is not there: %+v", g)
	}
	resp := alter(5)
	if resp.ErrorCode != 0 || resp.Topics[0].Partitions[0].ErrorCode != 0 || resp.Topics[1].Partitions[0].ErrorCode != codeUnknownTopic {
		t.Fatalf("%+v", resp)
	}
	s.groups.members = []admin.Membership{{Name: "g", Type: admin.GroupShare}}
	if p := describe(nil).Topics[0].Partitions; len(p) != 2 || p[0].StartOffset != 5 || p[0].Lag != 4 || p[1].StartOffset != 0 {
		t.Errorf("%+v", p)
	}
	if alter(2); len(s.shares.sought) != 1 {
		t.Errorf("a queue that is there is sought, not made: %v", s.shares.sought)
	}
	ask := []kmsg.DescribeShareGroupOffsetsRequestGroupTopic{{Topic: "t", Partitions: []int32{0, 9}}, {Topic: "nothing", Partitions: []int32{0}}}
	g := describe(ask)
	if p := g.Topics[0].Partitions; p[0].StartOffset != 2 || p[1].ErrorCode != codeUnknownTopic || g.Topics[1].Partitions[0].ErrorCode != codeUnknownTopic {
		t.Errorf("%+v", g)
	}
	forget := kmsg.NewPtrDeleteShareGroupOffsetsRequest()
	forget.GroupID, forget.Topics = "g", []kmsg.DeleteShareGroupOffsetsRequestTopic{{Topic: "t"}, {Topic: "nothing"}}
	s.groups.members[0].Members = []admin.MemberInfo{{ID: "m"}}
	if d := call1(s.stub, 0, forget, kmsg.NewPtrDeleteShareGroupOffsetsResponse()); d.ErrorCode != codeNonEmptyGroup {
		t.Errorf("%+v", d)
	}
	if d := alter(1); d.ErrorCode != codeNonEmptyGroup {
		t.Errorf("%+v", d)
	}
	s.groups.members[0].Members = nil
	if d := call1(s.stub, 0, forget, kmsg.NewPtrDeleteShareGroupOffsetsResponse()); d.Topics[0].ErrorCode != 0 || d.Topics[1].ErrorCode != codeUnknownTopic {
		t.Errorf("%+v", d)
	}
}

// TestGroupConfigs: keys of groups are set, shown and refused.
func TestGroupConfigs(t *testing.T) {
	s := newStub(t)
	alter := func(only bool, name string, op kmsg.IncrementalAlterConfigOp, value *string) int16 {
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		r := kmsg.NewIncrementalAlterConfigsRequestResource()
		r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeGroupConfig, "g"
		r.Configs = []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: name, Op: op, Value: value}}
		req.ValidateOnly, req.Resources = only, append(req.Resources, r)
		return call1(s, 1, req, kmsg.NewPtrIncrementalAlterConfigsResponse()).Resources[0].ErrorCode
	}
	show := func(name string) (value string, own bool) {
		req := kmsg.NewPtrDescribeConfigsRequest()
		req.IncludeSynonyms = true
		req.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeGroupConfig, ResourceName: "g", ConfigNames: []string{name}}}
		g := call1(s, 4, req, kmsg.NewPtrDescribeConfigsResponse()).Resources[0].Configs[0]
		return *g.Value, g.Source == configSourceGroup
	}
	for _, k := range []struct {
		name, value string
		code        int16
	}{
		{groupReset, "earliest", 0}, {groupReset, "first", codeInvalidConfig}, {groupReset, "by_duration:P1D", 0}, {groupReset, "by_duration:1h", codeInvalidConfig},
		{groupLimit, "7", 0}, {groupLimit, "1", codeInvalidConfig}, {groupLimit, "11", codeInvalidConfig},
		{groupLock, "15000", 0}, {groupLock, "1", codeInvalidConfig}, {groupLock, "x", codeInvalidConfig},
		{groupIsolation, isolationUncommitted, 0}, {groupIsolation, isolationCommitted, 0}, {groupIsolation, "none", codeInvalidConfig}, {"consumer.what", "1", codeInvalidConfig},
	} {
		if code := alter(false, k.name, kmsg.IncrementalAlterConfigOpSet, &k.value); code != k.code {
			t.Errorf("%s = %s: error %d, want %d", k.name, k.value, code, k.code)
		}
	}
	if v, own := show(groupLock); v != "15000" || !own {
		t.Errorf("%s, its own %t", v, own)
	}
	if code := alter(true, groupLock, kmsg.IncrementalAlterConfigOpDelete, nil); code != 0 {
		t.Error(code)
	}
	if v, _ := show(groupLock); v != "15000" {
		t.Error("validate only has changed it")
	}
	if code := alter(false, groupLock, kmsg.IncrementalAlterConfigOpDelete, nil); code != 0 {
		t.Error(code)
	}
	if v, own := show(groupLock); v != "30000" || own {
		t.Errorf("%s, its own %t", v, own)
	}
	if code := alter(false, groupLock, kmsg.IncrementalAlterConfigOpAppend, kmsg.StringPtr("1")); code != codeInvalidConfig {
		t.Error(code)
	}
}

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"PT24H": 24 * time.Hour, "P1D": 24 * time.Hour, "P2DT3H4M5.5S": 51*time.Hour + 4*time.Minute + 5500*time.Millisecond, "PT0S": 0,
		"": -1, "P": -1, "24H": -1, "P1": -1, "PT": -1, "PT5": -1, "PT-5S": -1, "PT5MS": -1, "P1H": -1,
	} {
		if d, ok := parseDuration(text); ok != (want >= 0) || ok && d != want {
			t.Errorf("%q: %v, %t", text, d, ok)
		}
	}
}

// TestShareHold holds what is acquired against a map.
func TestShareHold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h shareHold
		model := map[[2]uint64]uint64{}
		for i := range rapid.IntRange(0, 30).Draw(t, "steps") {
			index, first := rapid.Uint64Range(1, 2).Draw(t, "index"), rapid.Uint64Range(0, 20).Draw(t, "first")
			next := first + rapid.Uint64Range(1, 6).Draw(t, "count")
			all := true
			for o := first; o < next; o++ {
				all = all && model[[2]uint64{index, o}] != 0
			}
			if got := h.covers(index, first, next); got != all {
				t.Fatalf("covers [%d,%d) of %d: %t", first, next, index, got)
			}
			add := rapid.Bool().Draw(t, "add")
			if add {
				h.add(shareRun{index: index, first: first, next: next, lease: uint64(i + 1)})
			} else {
				for _, r := range h.take(index, first, next) {
					for o := r.first; o < r.next; o++ {
						if model[[2]uint64{index, o}] != r.lease {
							t.Fatalf("offset %d of %d was taken with lease %d", o, index, r.lease)
						}
					}
				}
			}
			for o := first; o < next; o++ {
				if delete(model, [2]uint64{index, o}); add {
					model[[2]uint64{index, o}] = uint64(i + 1)
				}
			}
			n := uint64(0)
			for j, r := range h.runs {
				if n += r.next - r.first; j > 0 && (h.runs[j-1].index > r.index || h.runs[j-1].index == r.index && h.runs[j-1].next > r.first) || r.first >= r.next {
					t.Fatalf("%+v", h.runs)
				}
			}
			if n != uint64(len(model)) {
				t.Fatalf("%d offsets are held, want %d", n, len(model))
			}
		}
	})
}

// TestShareDeliveryLimit: a group's queues are made with the limit that it has then, and it stays theirs.
func TestShareDeliveryLimit(t *testing.T) {
	s := newSharer(t)
	topic := s.topic("t", 1)
	alter := func() int16 {
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		g := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		g.Name, g.Value = groupLimit, kmsg.StringPtr("3")
		req.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeGroupConfig, ResourceName: "g", Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{g}}}
		return call1(s.stub, 1, req, kmsg.NewPtrIncrementalAlterConfigsResponse()).Resources[0].ErrorCode
	}
	if code := alter(); code != codeNone {
		t.Fatalf("error %d", code)
	}
	s.fetch(func(req *kmsg.ShareFetchRequest) { req.MaxWaitMillis = 0 }, part(topic, 0))
	if q := s.shares.queues["share/g/t"]; q == nil || q.info.DeliveryLimit != admin.Some(2) {
		t.Errorf("%+v", q)
	}
	if code := alter(); code != codeInvalidConfig {
		t.Errorf("error %d", code)
	}
}
