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
		if got := call1(s, version, kmsg.NewPtrDescribeClientQuotasRequest(), kmsg.NewPtrDescribeClientQuotasResponse()); got.ErrorCode != 0 || len(got.Entries) != 0 {
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
