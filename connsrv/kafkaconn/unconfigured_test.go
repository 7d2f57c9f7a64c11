package kafkaconn

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/protocol/errcode"
)

func TestElectLeaders(t *testing.T) {
	for version := int16(0); version <= 2; version++ {
		s := newStub(t)
		s.topic("a", 1)
		req, topic := kmsg.NewPtrElectLeadersRequest(), kmsg.NewElectLeadersRequestTopic()
		topic.Topic, topic.Partitions = "a", []int32{0, 7}
		req.Topics = append(req.Topics, topic)
		list := call1(s, version, req, kmsg.NewPtrElectLeadersResponse()).Topics[0].Partitions
		if list[0].ErrorCode != codeElectionNotNeeded || list[1].ErrorCode != codeUnknownTopic {
			t.Errorf("version %d: %+v", version, list)
		}
		req.Topics = nil
		if list := call1(s, version, req, kmsg.NewPtrElectLeadersResponse()).Topics; len(list) != 0 {
			t.Errorf("version %d, all: %+v", version, list)
		}
	}
}

func TestAlterPartitionAssignments(t *testing.T) {
	s := newStub(t)
	s.topic("a", 1)
	for _, row := range []struct {
		partition int32
		replicas  []int32
		code      int16
	}{
		{0, []int32{nodeID}, codeNone}, {0, nil, codeNoReassignmentUnderWay}, {0, []int32{nodeID, nodeID + 1}, codeInvalidAssignment},
		{0, []int32{3}, codeInvalidAssignment}, {5, []int32{nodeID}, codeUnknownTopic},
	} {
		req, topic := kmsg.NewPtrAlterPartitionAssignmentsRequest(), kmsg.NewAlterPartitionAssignmentsRequestTopic()
		p := kmsg.NewAlterPartitionAssignmentsRequestTopicPartition()
		topic.Topic, p.Partition, p.Replicas = "a", row.partition, row.replicas
		topic.Partitions = append(topic.Partitions, p)
		req.Topics = append(req.Topics, topic)
		for version := int16(0); version <= 1; version++ {
			if got := call1(s, version, req, kmsg.NewPtrAlterPartitionAssignmentsResponse()).Topics[0].Partitions[0]; got.ErrorCode != row.code {
				t.Errorf("version %d, %+v: %+v", version, row, got)
			}
		}
	}
	s.refuses = errcode.Unavailable
	req, topic := kmsg.NewPtrElectLeadersRequest(), kmsg.NewElectLeadersRequestTopic()
	topic.Topic, topic.Partitions = "b", []int32{0}
	req.Topics = append(req.Topics, topic)
	if got := call1(s, 2, req, kmsg.NewPtrElectLeadersResponse()).Topics[0].Partitions[0]; got.ErrorCode != codeCoordinatorLoading {
		t.Errorf("%+v", got)
	}
}

// TestWithoutAuthorizer: access lists and quotas are told of as by a broker that has none.
func TestWithoutAuthorizer(t *testing.T) {
	s := newStub(t)
	for version := int16(1); version <= 3; version++ {
		if got := call1(s, version, kmsg.NewPtrDescribeACLsRequest(), kmsg.NewPtrDescribeACLsResponse()); got.ErrorCode != codeSecurityDisabled {
			t.Errorf("%+v", got)
		}
		create, remove := kmsg.NewPtrCreateACLsRequest(), kmsg.NewPtrDeleteACLsRequest()
		create.Creations = append(create.Creations, kmsg.NewCreateACLsRequestCreation())
		remove.Filters = append(remove.Filters, kmsg.NewDeleteACLsRequestFilter())
		if got := call1(s, version, create, kmsg.NewPtrCreateACLsResponse()).Results; len(got) != 1 || got[0].ErrorCode != codeSecurityDisabled {
			t.Errorf("%+v", got)
		}
		if got := call1(s, version, remove, kmsg.NewPtrDeleteACLsResponse()).Results; len(got) != 1 || got[0].ErrorCode != codeSecurityDisabled {
			t.Errorf("%+v", got)
		}
	}
	for version := int16(0); version <= 1; version++ {
		if got := call1(s, version, kmsg.NewPtrDescribeClientQuotasRequest(), kmsg.NewPtrDescribeClientQuotasResponse()); got.ErrorCode != 0 || got.Entries == nil || len(got.Entries) != 0 {
			t.Errorf("%+v", got)
		}
	}
}

// TestInternalTopic: the topic of groups comes with the first that asks for a coordinator, is marked as
// internal wherever topics are listed, and is nobody's to write to.
func TestInternalTopic(t *testing.T) {
	s := newStub(t)
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorKeys = []string{"g"}
	for range 2 {
		call1(s, 4, find, kmsg.NewPtrFindCoordinatorResponse())
	}
	if info := s.topics[offsetsTopic]; info == nil || len(info.Partitions) != 1 {
		t.Fatalf("%+v", info)
	}
	s.topic("a", 1)
	all := kmsg.NewPtrMetadataRequest()
	for _, topic := range call1(s, 12, all, kmsg.NewPtrMetadataResponse()).Topics {
		if topic.IsInternal != (*topic.Topic == offsetsTopic) {
			t.Errorf("%+v", topic)
		}
	}
	for _, topic := range call1(s, 0, kmsg.NewPtrDescribeTopicPartitionsRequest(), kmsg.NewPtrDescribeTopicPartitionsResponse()).Topics {
		if topic.IsInternal != (*topic.Topic == offsetsTopic) {
			t.Errorf("%+v", topic)
		}
	}
	if got := call1(s, 9, asksToStore(-1, offsetsTopic, testBatch(1, 1)), kmsg.NewPtrProduceResponse()); outcomes(got)[0][0] != codeInvalidTopic {
		t.Errorf("%+v", got)
	}
	// A logicsrv that cannot create it keeps nobody from his group.
	s = newStub(t)
	s.refuses = errcode.LimitExceeded
	if got := call1(s, 4, find, kmsg.NewPtrFindCoordinatorResponse()).Coordinators; len(got) != 1 || got[0].ErrorCode != 0 {
		t.Errorf("%+v", got)
	}
}

// TestUpdateFeatures: features stay at their levels.
func TestUpdateFeatures(t *testing.T) {
	s := newStub(t)
	for version := int16(0); version <= 2; version++ {
		for _, row := range []struct {
			name  string
			level int16
			code  int16
		}{{"transaction.version", 2, codeNone}, {"transaction.version", 1, codeInvalidUpdate}, {"what.version", 1, codeInvalidUpdate}} {
			req, update := kmsg.NewPtrUpdateFeaturesRequest(), kmsg.NewUpdateFeaturesRequestFeatureUpdate()
			update.Feature, update.MaxVersionLevel = row.name, row.level
			req.FeatureUpdates = append(req.FeatureUpdates, update)
			resp := call1(s, version, req, kmsg.NewPtrUpdateFeaturesResponse())
			code := resp.ErrorCode
			if version < 2 {
				code = resp.Results[0].ErrorCode
			}
			if code != row.code {
				t.Errorf("version %d, %+v: %+v", version, row, resp)
			}
		}
	}
}

// TestFeatures: what clusters of Kafka can be told is told as it is, at versions whose clients bear it.
func TestFeatures(t *testing.T) {
	for version := int16(2); version <= 4; version++ {
		req := kmsg.NewPtrApiVersionsRequest()
		req.ClientSoftwareName, req.ClientSoftwareVersion = "test", "1"
		resp := call1(newStub(t), version, req, kmsg.NewPtrApiVersionsResponse())
		levels := map[string]int16{}
		for _, f := range resp.FinalizedFeatures {
			levels[f.Name] = f.MaxVersionLevel
		}
		if (levels["transaction.version"] == 2) != (version >= 3) || (len(resp.SupportedFeatures) == len(features)) != (version >= 4) {
			t.Errorf("version %d: %+v", version, resp)
		}
	}
}

// TestDescribeLogDirs: partitions are as large as their batches; what was not asked for is not told.
func TestDescribeLogDirs(t *testing.T) {
	for version := int16(1); version <= 5; version++ {
		s := newStub(t)
		a := s.topic("a", 2)
		s.topic("b", 1)
		one := int64(len(testBatch(3, 100)))
		s.store(a.Partitions[1].Index, testBatch(3, 100))
		s.store(a.Partitions[1].Index, testBatch(3, 100))
		all := call1(s, version, kmsg.NewPtrDescribeLogDirsRequest(), kmsg.NewPtrDescribeLogDirsResponse())
		if d := all.Dirs[0]; d.Dir != "/data" || len(d.Topics) != 2 || d.Topics[0].Partitions[1].Size != 2*one || d.Topics[0].Partitions[0].Size != 0 || version >= 4 && d.UsableBytes != 900 {
			t.Errorf("version %d: %+v", version, all)
		}
		s.begin(a.Partitions[1].Index, 3) // the first batch is gone
		req, topic := kmsg.NewPtrDescribeLogDirsRequest(), kmsg.NewDescribeLogDirsRequestTopic()
		topic.Topic, topic.Partitions = "a", []int32{1, 7}
		req.Topics = append(req.Topics, topic)
		some := call1(s, version, req, kmsg.NewPtrDescribeLogDirsResponse())
		if d := some.Dirs[0]; len(d.Topics) != 1 || len(d.Topics[0].Partitions) != 1 || d.Topics[0].Partitions[0].Size != one {
			t.Errorf("version %d: %+v", version, some)
		}
		req.Topics = []kmsg.DescribeLogDirsRequestTopic{}
		if none := call1(s, version, req, kmsg.NewPtrDescribeLogDirsResponse()); len(none.Dirs) != 1 || len(none.Dirs[0].Topics) != 0 {
			t.Errorf("version %d: %+v", version, none)
		}
	}
}
