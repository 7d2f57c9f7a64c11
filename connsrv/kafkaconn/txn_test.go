package kafkaconn

import (
	"reflect"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
)

// txnBatch is a batch that is part of a transaction of producer 8, epoch 3.
func txnBatch(count, size int) []byte {
	b := testBatch(count, size)
	b[batch.OffAttributes+1] |= 0x10
	batch.PatchProducer(b, 8, 3, 0)
	return b
}

func addRequest(topic string, partitions ...int32) *kmsg.AddPartitionsToTxnRequest {
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch = "t", 8, 3
	add := kmsg.NewAddPartitionsToTxnRequestTopic()
	add.Topic, add.Partitions = topic, partitions
	req.Topics = append(req.Topics, add)
	return req
}

func txnOffsetsRequest() *kmsg.TxnOffsetCommitRequest {
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = "t", 8, 3, "g"
	req.MemberID, req.Generation, req.InstanceID = "m", 5, kmsg.StringPtr("i")
	topic := kmsg.NewTxnOffsetCommitRequestTopic()
	topic.Topic = "a"
	for number, offset := range map[int32]int64{0: 10, 9: 10} {
		p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset, p.Metadata = number, offset, kmsg.StringPtr("text")
		topic.Partitions = append(topic.Partitions, p)
	}
	req.Topics = append(req.Topics, topic)
	return req
}

func endRequest(commit bool) *kmsg.EndTxnRequest {
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = "t", 8, 3, commit
	return req
}

// TestTransaction: what a producer asks for reaches logicsrv as it is.
func TestTransaction(t *testing.T) {
	by := ipc.Txnal{ID: "t", ProducerID: 8, Epoch: 3}
	for version := int16(0); version <= 3; version++ { // later ones: TestTransactionV2
		s := newStub(t)
		a := s.topic("a", 2)
		added := call1(s, version, addRequest("a", 0, 1), kmsg.NewPtrAddPartitionsToTxnResponse())
		if p := added.Topics[0].Partitions; len(p) != 2 || p[0].ErrorCode != 0 || p[1].ErrorCode != 0 {
			t.Errorf("version %d: %+v", version, added)
		}
		want := []ipc.TxnPart{{Index: a.Partitions[0].Index}, {Index: a.Partitions[1].Index}}
		if m := s.txns.adds; len(m) != 1 || m[0].Txnal != by || !reflect.DeepEqual(m[0].Parts, want) {
			t.Errorf("version %d: %+v", version, m)
		}
		group := kmsg.NewPtrAddOffsetsToTxnRequest()
		group.TransactionalID, group.ProducerID, group.ProducerEpoch, group.Group = "t", 8, 3, "g"
		if resp := call1(s, version, group, kmsg.NewPtrAddOffsetsToTxnResponse()); resp.ErrorCode != 0 || s.txns.adds[1].Group != "g" {
			t.Errorf("version %d: %+v, %+v", version, resp, s.txns.adds)
		}
		held := call1(s, version, txnOffsetsRequest(), kmsg.NewPtrTxnOffsetCommitResponse())
		for _, p := range held.Topics[0].Partitions {
			if p.Partition == 0 && p.ErrorCode != 0 || p.Partition == 9 && p.ErrorCode != codeUnknownTopic {
				t.Errorf("version %d: %+v", version, held)
			}
		}
		m := s.txns.offsets[0]
		if m.Txnal != by || m.Group != "g" || len(m.Offsets) != 1 || m.Offsets[0].Offset != 10 || (m.Member == "m") != (version >= 3) || (m.Generation == 5) != (version >= 3) {
			t.Errorf("version %d: %+v", version, m)
		}
		for _, commit := range []bool{true, false} {
			resp := call1(s, version, endRequest(commit), kmsg.NewPtrEndTxnResponse())
			if m := s.txns.finishes; resp.ErrorCode != 0 || m[len(m)-1].Commit != commit || m[len(m)-1].Txnal != by || m[0].Bump {
				t.Errorf("version %d: %+v, %+v", version, resp, m)
			}
		}
	}
}

// TestTransactionV2: clients of KIP-890 add nothing, and go on with the epoch that the end of a transaction gives them.
func TestTransactionV2(t *testing.T) {
	s := newStub(t)
	a := s.topic("a", 2)
	for _, version := range []int16{12, 13} {
		req := asksToStore(-1, "a", txnBatch(3, 10))
		req.TransactionID = kmsg.StringPtr("t")
		if resp := call1(s, version, req, kmsg.NewPtrProduceResponse()); outcomes(resp)[0][0] != codeNone {
			t.Errorf("version %d: %+v", version, resp)
		}
		if m := s.txns.appends; m[len(m)-1].Txnal != ipc.TxnalJoins || len(s.txns.adds) != 0 {
			t.Errorf("version %d: %+v, %+v", version, m, s.txns.adds)
		}
	}
	for version := int16(4); version <= 5; version++ {
		call1(s, version, txnOffsetsRequest(), kmsg.NewPtrTxnOffsetCommitResponse())
		if m := s.txns.offsets; m[len(m)-1].Joins != (version == 5) {
			t.Errorf("version %d: %+v", version, m)
		}
		resp := call1(s, version, endRequest(true), kmsg.NewPtrEndTxnResponse())
		m := s.txns.finishes
		if last := m[len(m)-1]; resp.ErrorCode != 0 || last.Bump != (version == 5) || version == 5 && (resp.ProducerID != last.ProducerID || resp.ProducerEpoch != 4) {
			t.Errorf("version %d: %+v, %+v", version, resp, m)
		}
	}
	// The start of a partition's log is told once, with the first batch behind it.
	s.begin(a.Partitions[0].Index, 2)
	for range 2 {
		req := asksToStore(-1, "a", txnBatch(3, 10))
		req.TransactionID = kmsg.StringPtr("t")
		call1(s, 12, req, kmsg.NewPtrProduceResponse())
	}
	want := ipc.TxnAdd{Txnal: ipc.Txnal{ID: "t", ProducerID: 8, Epoch: 3}, Parts: []ipc.TxnPart{{Index: a.Partitions[0].Index, Start: 2}}}
	if len(s.txns.adds) != 1 || !reflect.DeepEqual(s.txns.adds[0].Parts, want.Parts) || s.txns.adds[0].Txnal != want.Txnal || s.txns.adds[0].Req != 0 {
		t.Errorf("%+v", s.txns.adds)
	}
}

// TestTransactionRefusals: what logicsrv refuses is refused as Kafka's clients of each version know it.
func TestTransactionRefusals(t *testing.T) {
	for _, c := range []struct {
		refused               errcode.Code
		version               int16
		add, held, ended, ids int16
	}{
		{errcode.TxnalFenced, 3, codeProducerFenced, codeInvalidProducerEpoch, codeProducerFenced, codeInvalidProducerEpoch},
		{errcode.TxnalFenced, 1, codeInvalidProducerEpoch, codeInvalidProducerEpoch, codeInvalidProducerEpoch, codeInvalidProducerEpoch},
		{errcode.TxnalUnknown, 3, codeProducerIDMapping, codeProducerIDMapping, codeProducerIDMapping, codeProducerIDMapping},
		{errcode.Unavailable, 3, codeCoordinatorLoading, codeCoordinatorLoading, codeCoordinatorLoading, codeCoordinatorLoading},
		{errcode.TxnState, 3, codeInvalidTxnState, codeInvalidTxnState, codeInvalidTxnState, codeInvalidTxnState},
		{errcode.IllegalGeneration, 3, codeIllegalGeneration, codeIllegalGeneration, codeIllegalGeneration, codeIllegalGeneration},
	} {
		s := newStub(t)
		s.topic("a", 2)
		call1(s, 3, addRequest("a", 0), kmsg.NewPtrAddPartitionsToTxnResponse()) // the topic is known from here on
		s.refuses = c.refused
		added := call1(s, c.version, addRequest("a", 0), kmsg.NewPtrAddPartitionsToTxnResponse())
		held := call1(s, c.version, txnOffsetsRequest(), kmsg.NewPtrTxnOffsetCommitResponse())
		ended := call1(s, c.version, endRequest(true), kmsg.NewPtrEndTxnResponse())
		req := kmsg.NewPtrInitProducerIDRequest()
		req.TransactionalID = kmsg.StringPtr("t")
		ids := call1(s, c.version, req, kmsg.NewPtrInitProducerIDResponse())
		code := int16(0)
		for _, p := range held.Topics[0].Partitions {
			if p.Partition == 0 {
				code = p.ErrorCode
			}
		}
		if got := added.Topics[0].Partitions[0].ErrorCode; got != c.add || code != c.held || ended.ErrorCode != c.ended || ids.ErrorCode != c.ids {
			t.Errorf("%v at version %d: %d %d %d %d", c.refused, c.version, got, code, ended.ErrorCode, ids.ErrorCode)
		}
	}
	s := newStub(t)
	s.topic("a", 1)
	resp := call1(s, 3, addRequest("a", 0, 7), kmsg.NewPtrAddPartitionsToTxnResponse())
	if p := resp.Topics[0].Partitions; p[0].ErrorCode != codeNotAttempted || p[1].ErrorCode != codeUnknownTopic || len(s.txns.adds) > 0 {
		t.Errorf("a partition that is not there: %+v", resp)
	}
}

// TestProduceInTransaction: batches say what their request says, and nothing else is taken.
func TestProduceInTransaction(t *testing.T) {
	s := newStub(t)
	s.topic("a", 1)
	req := asksToStore(-1, "a", txnBatch(3, 10))
	if resp := call1(s, 9, req, kmsg.NewPtrProduceResponse()); outcomes(resp)[0][0] != codeInvalidTxnState {
		t.Errorf("a batch of a transaction without an id: %+v", resp)
	}
	req.TransactionID = kmsg.StringPtr("t")
	if resp := call1(s, 9, req, kmsg.NewPtrProduceResponse()); outcomes(resp)[0] != [2]int64{0, 0} {
		t.Errorf("%+v", resp)
	}
	if m := s.txns.appends; len(m) != 1 || m[0].Txnal != ipc.TxnalAdded {
		t.Errorf("%+v", m)
	}
	req = asksToStore(-1, "a", testBatch(3, 10))
	req.TransactionID = kmsg.StringPtr("t")
	if resp := call1(s, 9, req, kmsg.NewPtrProduceResponse()); outcomes(resp)[0][0] != codeInvalidTxnState {
		t.Errorf("a batch of no transaction with an id: %+v", resp)
	}
}

// TestFetchCommitted: committed readers are told what was aborted, and wait for what is stable.
func TestFetchCommitted(t *testing.T) {
	for version := int16(4); version <= 18; version++ {
		s := newStub(t)
		index := s.topic("a", 1).Partitions[0].Index
		s.store(index, txnBatch(5, 10))
		s.store(index, testBatch(5, 10))
		s.stableAt(index, 5, ipc.AbortedTxn{ProducerID: 8, First: 0, Last: 4})
		req := fetchRequest(0, 1, 1<<20, from{"a", 0, 0})
		req.IsolationLevel = readsCommitted
		p := fetched(call1(s, version, req, kmsg.NewPtrFetchResponse()))[0]
		if checkBatches(t, p.RecordBatches, 0) != 5 || p.HighWatermark != 10 || p.LastStableOffset != 5 {
			t.Errorf("version %d: %+v", version, p)
		}
		if len(p.AbortedTransactions) != 1 || p.AbortedTransactions[0].ProducerID != 8 || p.AbortedTransactions[0].FirstOffset != 0 {
			t.Errorf("version %d: aborted %+v", version, p.AbortedTransactions)
		}
		req.IsolationLevel = 0
		if p := fetched(call1(s, version, req, kmsg.NewPtrFetchResponse()))[0]; checkBatches(t, p.RecordBatches, 0) != 10 {
			t.Errorf("version %d: uncommitted %+v", version, p)
		}
		list := offsetsRequest("a", 1, timeLatest)
		list.IsolationLevel = readsCommitted
		if resp := call1(s, 2, list, kmsg.NewPtrListOffsetsResponse()); resp.Topics[0].Partitions[0].Offset != 5 {
			t.Errorf("the stable end: %+v", resp)
		}

		req = fetchRequest(60_000, 1, 1<<20, from{"a", 0, 5}) // waits
		req.IsolationLevel = readsCommitted
		s.feed(s.frame(version, req))
		s.turn()
		if len(s.link.Pieces) > 0 || len(s.txns.waits) != 1 {
			t.Fatalf("version %d: answered, or %d waits", version, len(s.txns.waits))
		}
		s.stableAt(index, 10)
		s.turn()
		resp := decode(s.rig, s.responses()[0], version, s.next, kmsg.NewPtrFetchResponse())
		if p := fetched(resp)[0]; checkBatches(t, p.RecordBatches, 5) != 5 || len(p.AbortedTransactions) != 0 {
			t.Errorf("version %d: %+v", version, p)
		}
	}
}

// TestDescribeTransactions: transactions, and the producers of partitions, are told in Kafka's words.
func TestDescribeTransactions(t *testing.T) {
	s := newStub(t)
	s.topic("a", 2)
	s.txns.known.Txnals = []admin.TxnalInfo{
		{ID: "t", ProducerID: 8, Epoch: 3, TimeoutMS: 5000, BegunMS: 77, Phase: admin.TxnalOpen, Parts: []admin.TxnalPart{{Topic: "a", Number: 0}, {Topic: "a", Number: 1}}},
		{ID: "u", ProducerID: 9, Phase: admin.TxnalCommitted},
	}
	describe := kmsg.NewPtrDescribeTransactionsRequest()
	describe.TransactionalIDs = []string{"u", "t", "none"}
	list := call1(s, 0, describe, kmsg.NewPtrDescribeTransactionsResponse()).TransactionStates
	if len(list) != 3 || list[0].State != "CompleteCommit" || list[0].StartTimestamp != -1 || list[2].ErrorCode != codeTxnIDNotFound {
		t.Errorf("%+v", list)
	}
	if x := list[1]; x.State != "Ongoing" || x.TimeoutMillis != 5000 || x.StartTimestamp != 77 || x.ProducerEpoch != 3 || len(x.Topics) != 1 || len(x.Topics[0].Partitions) != 2 {
		t.Errorf("%+v", x)
	}
	for _, c := range []struct {
		states  []string
		pids    []int64
		ms      int64
		want    int
		unknown int
	}{
		{nil, nil, 0, 2, 0}, {[]string{"Ongoing"}, nil, 0, 1, 0}, {[]string{"Ongoing", "What"}, nil, 0, 1, 1}, {nil, []int64{9}, 0, 1, 0},
		{nil, nil, 1000, 1, 0}, {[]string{"PrepareCommit"}, nil, 0, 0, 0},
	} {
		req := kmsg.NewPtrListTransactionsRequest()
		req.StateFilters, req.ProducerIDFilters, req.DurationFilterMillis = c.states, c.pids, c.ms
		if resp := call1(s, 1, req, kmsg.NewPtrListTransactionsResponse()); len(resp.TransactionStates) != c.want || len(resp.UnknownStateFilters) != c.unknown {
			t.Errorf("%+v: %+v", c, resp)
		}
	}
	byName := kmsg.NewPtrListTransactionsRequest()
	for pattern, want := range map[string]int{"": 2, "t": 1, ".": 2, "[": -1} {
		byName.TransactionalIDPattern = &pattern
		resp := call1(s, 2, byName, kmsg.NewPtrListTransactionsResponse())
		if want < 0 && resp.ErrorCode != codeInvalidRegex || want >= 0 && len(resp.TransactionStates) != want {
			t.Errorf("ids like %q: %+v", pattern, resp)
		}
	}
	s.txns.known.Producers = []admin.ProducersInfo{{Topic: "a", List: []admin.ProducerInfo{
		{Partition: 0, ProducerID: 8, Epoch: 3, Sequence: 5, UsedMS: 99, Open: true, First: 40}, {Partition: 1, ProducerID: 7, Sequence: 6},
	}}}
	req := kmsg.NewPtrDescribeProducersRequest()
	topic := kmsg.NewDescribeProducersRequestTopic()
	topic.Topic, topic.Partitions = "a", []int32{0, 1, 2}
	req.Topics = append(req.Topics, topic)
	parts := call1(s, 0, req, kmsg.NewPtrDescribeProducersResponse()).Topics[0].Partitions
	if p := parts[0].ActiveProducers; len(p) != 1 || p[0].ProducerID != 8 || p[0].CurrentTxnStartOffset != 40 || p[0].LastSequence != 5 || p[0].LastTimestamp != 99 {
		t.Errorf("%+v", parts[0])
	}
	if p := parts[1].ActiveProducers; len(p) != 1 || p[0].CurrentTxnStartOffset != -1 || parts[2].ErrorCode != codeUnknownTopic {
		t.Errorf("%+v", parts)
	}
}

// TestUnstableOffsets: who asks for stable positions is told which are about to change.
func TestUnstableOffsets(t *testing.T) {
	for version := int16(7); version <= 10; version++ {
		s := newStub(t)
		a := s.topic("a", 2)
		s.groups.offsets = []ipc.OffsetCommit{{Index: a.Partitions[0].Index, Offset: 9}, {Index: a.Partitions[1].Index, Offset: 5}}
		s.txns.known.Held = []admin.HeldInfo{{Group: "g", Indexes: []uint64{a.Partitions[1].Index}}}
		req := kmsg.NewPtrOffsetFetchRequest()
		req.Group = "g"
		topic, group, groupTopic := kmsg.NewOffsetFetchRequestTopic(), kmsg.NewOffsetFetchRequestGroup(), kmsg.NewOffsetFetchRequestGroupTopic()
		topic.Topic, topic.Partitions = "a", []int32{0, 1}
		groupTopic.Topic, groupTopic.TopicID, groupTopic.Partitions = topic.Topic, stubID(topic.Topic), topic.Partitions
		group.Group, group.Topics = "g", []kmsg.OffsetFetchRequestGroupTopic{groupTopic}
		req.Topics, req.Groups = []kmsg.OffsetFetchRequestTopic{topic}, []kmsg.OffsetFetchRequestGroup{group}
		for _, stable := range []bool{false, true} {
			req.RequireStable = stable
			resp := call1(s, version, req, kmsg.NewPtrOffsetFetchResponse())
			code, want := int16(-1), []position{{"a", 0, 9}, {"a", 1, 5}}
			if version < 8 {
				code = resp.Topics[0].Partitions[1].ErrorCode
			} else {
				code = resp.Groups[0].Topics[0].Partitions[1].ErrorCode
			}
			if stable {
				want[1].offset = -1
			}
			if got := positions(resp); !slices.Equal(got, want) || (code == codeUnstableOffset) != stable {
				t.Errorf("version %d, stable %v: %+v, code %d", version, stable, got, code)
			}
		}
	}
}

// TestLookUpFails: of what could not be looked up nobody is told that it is not there, but that he may ask again.
func TestLookUpFails(t *testing.T) {
	s := newStub(t)
	s.topic("a", 1)
	s.refuses = errcode.Unavailable
	for version := int16(9); version <= 10; version++ {
		if got := commitCodes(call1(s, version, commitRequest("m1", "a", 5), kmsg.NewPtrOffsetCommitResponse())); got[0] != codeCoordinatorLoading {
			t.Errorf("a commit of version %d: %v", version, got)
		}
	}
	if resp := call1(s, 3, addRequest("a", 0), kmsg.NewPtrAddPartitionsToTxnResponse()); resp.Topics[0].Partitions[0].ErrorCode != codeCoordinatorLoading {
		t.Errorf("added: %+v", resp)
	}
	if resp := call1(s, 5, txnOffsetsRequest(), kmsg.NewPtrTxnOffsetCommitResponse()); resp.Topics[0].Partitions[0].ErrorCode != codeCoordinatorLoading {
		t.Errorf("held: %+v", resp)
	}
	for version := int16(12); version <= 13; version++ {
		if p := fetched(call1(s, version, fetchRequest(0, 1, 1<<20, from{"a", 0, 0}), kmsg.NewPtrFetchResponse())); p[0].ErrorCode != codeNotLeader {
			t.Errorf("a fetch of version %d: %+v", version, p)
		}
	}
	remove := kmsg.NewPtrOffsetDeleteRequest()
	remove.Group = "g"
	topic, part := kmsg.NewOffsetDeleteRequestTopic(), kmsg.NewOffsetDeleteRequestTopicPartition()
	topic.Topic, topic.Partitions = "a", append(topic.Partitions, part)
	remove.Topics = append(remove.Topics, topic)
	if resp := call1(s, 0, remove, kmsg.NewPtrOffsetDeleteResponse()); resp.ErrorCode != codeCoordinatorLoading {
		t.Errorf("positions deleted: %+v", resp)
	}
}
