package kafkaconn

import (
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
)

func TestFindCoordinator(t *testing.T) {
	s := newStub(t)
	for version := int16(0); version <= 4; version++ {
		req := kmsg.NewPtrFindCoordinatorRequest()
		req.CoordinatorKey, req.CoordinatorKeys = "g", []string{"g", "h"}
		resp := call1(s, version, req, kmsg.NewPtrFindCoordinatorResponse())
		if version < 4 && (resp.ErrorCode != 0 || resp.NodeID != nodeID || resp.Host != "192.0.2.1" || resp.Port != 9092) {
			t.Errorf("version %d: %+v", version, resp)
		}
		if version == 4 && (len(resp.Coordinators) != 2 || resp.Coordinators[1].Key != "h" || resp.Coordinators[1].Port != 9092) {
			t.Errorf("version %d: %+v", version, resp)
		}
	}
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.CoordinatorKey, req.CoordinatorType = "t", coordinatorOfTxns
	if resp := call1(s, 3, req, kmsg.NewPtrFindCoordinatorResponse()); resp.ErrorCode != 0 || resp.Port != 9092 {
		t.Errorf("of transactions: %+v", resp)
	}
	req.CoordinatorType = 9
	if resp := call1(s, 3, req, kmsg.NewPtrFindCoordinatorResponse()); resp.ErrorCode != codeInvalidRequest {
		t.Errorf("of an unknown type: %+v", resp)
	}
}

func joinRequest() *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.SessionTimeoutMillis, req.RebalanceTimeoutMillis, req.ProtocolType = "g", 10_000, 20_000, "consumer"
	req.InstanceID = kmsg.StringPtr("i")
	for _, name := range []string{"range", "sticky"} {
		p := kmsg.NewJoinGroupRequestProtocol()
		p.Name, p.Metadata = name, []byte("about "+name)
		req.Protocols = append(req.Protocols, p)
	}
	return req
}

func TestJoinGroup(t *testing.T) {
	for version := int16(0); version <= 9; version++ {
		s := newStub(t)
		resp := call1(s, version, joinRequest(), kmsg.NewPtrJoinGroupResponse())
		if resp.ErrorCode != 0 || resp.Generation != 3 || *resp.Protocol != "range" || resp.MemberID != "m1" || resp.LeaderID != "m1" || len(resp.Members) != 2 ||
			string(resp.Members[0].ProtocolMetadata) != "about range" {
			t.Errorf("version %d: %+v", version, resp)
		}
		m := s.groups.joins[0]
		if m.ClientID != "test" || m.ClientHost != "/192.0.2.7" || m.SessionMS != 10_000 || m.RequireID != (version >= 4) || len(m.Protocols) != 2 ||
			(m.Instance == "i") != (version >= 5) || (m.RebalanceMS == 20_000) != (version >= 1) {
			t.Errorf("version %d: %+v", version, m)
		}
		s.groups.promise = true
		if resp := call1(s, version, joinRequest(), kmsg.NewPtrJoinGroupResponse()); resp.ErrorCode != codeMemberIDRequired || resp.MemberID != "m1" || resp.Generation != -1 {
			t.Errorf("version %d: %+v", version, resp)
		}
		s.refuses = errcode.FencedInstanceID
		if resp := call1(s, version, joinRequest(), kmsg.NewPtrJoinGroupResponse()); resp.ErrorCode != codeFencedInstanceID {
			t.Errorf("version %d: %+v", version, resp)
		}
	}
}

func TestSyncBeatLeave(t *testing.T) {
	s := newStub(t)
	for version := int16(0); version <= 5; version++ {
		req := kmsg.NewPtrSyncGroupRequest()
		req.Group, req.MemberID, req.Generation, req.ProtocolType, req.Protocol = "g", "m1", 3, kmsg.StringPtr("consumer"), kmsg.StringPtr("range")
		share := kmsg.NewSyncGroupRequestGroupAssignment()
		share.MemberID, share.MemberAssignment = "m2", []byte("some")
		req.GroupAssignment = append(req.GroupAssignment, share)
		if resp := call1(s, version, req, kmsg.NewPtrSyncGroupResponse()); resp.ErrorCode != 0 || string(resp.MemberAssignment) != "all" {
			t.Errorf("version %d: %+v", version, resp)
		}
		if m := s.groups.syncs[len(s.groups.syncs)-1]; m.Generation != 3 || m.Assignments[0].Member != "m2" || string(m.Assignments[0].Assignment) != "some" {
			t.Errorf("version %d: %+v", version, m)
		}
		leave := kmsg.NewPtrLeaveGroupRequest()
		leave.Group, leave.MemberID = "g", "m1"
		for _, id := range []string{"m1", "m2"} {
			m := kmsg.NewLeaveGroupRequestMember()
			m.MemberID = id
			leave.Members = append(leave.Members, m)
		}
		resp := call1(s, version, leave, kmsg.NewPtrLeaveGroupResponse())
		if version < 3 && resp.ErrorCode != codeUnknownMember || version >= 3 && (resp.ErrorCode != 0 || resp.Members[0].ErrorCode != 0 || resp.Members[1].ErrorCode != codeUnknownMember) {
			t.Errorf("version %d: %+v", version, resp)
		}
	}
	for version := int16(0); version <= 4; version++ {
		req := kmsg.NewPtrHeartbeatRequest()
		req.Group, req.MemberID, req.Generation = "g", "m1", 3
		s.refuses = errcode.OK
		if resp := call1(s, version, req, kmsg.NewPtrHeartbeatResponse()); resp.ErrorCode != 0 {
			t.Errorf("version %d: %+v", version, resp)
		}
		s.refuses = errcode.RebalanceInProgress
		if resp := call1(s, version, req, kmsg.NewPtrHeartbeatResponse()); resp.ErrorCode != codeRebalanceInProgress {
			t.Errorf("version %d: %+v", version, resp)
		}
	}
}

// Parked joins and syncs are told again, behind the end of the answer to a Marker.
func TestJoinOverARestart(t *testing.T) {
	s := newStub(t)
	s.groups.park = true
	s.feed(s.frame(9, joinRequest()))
	s.turn()
	if len(s.groups.parked) != 1 {
		t.Fatal("the join is not parked")
	}
	before := slices.Clone(s.groups.parked[0])
	s.restart()
	if len(s.groups.parked) != 1 || !slices.Equal(s.groups.parked[0], before) {
		t.Fatalf("%d joins were told again", len(s.groups.parked))
	}
	s.groups.park = false
	s.takeGroup(ipc.TypeGroupJoin, s.groups.parked[0])
	if resp := decode(s.rig, s.responses()[0], 9, s.next, kmsg.NewPtrJoinGroupResponse()); resp.Generation != 3 {
		t.Errorf("%+v", resp)
	}
}

// commitRequest stores a position of each partition of a topic from 0 on.
func commitRequest(member string, topic string, offsets ...int64) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.MemberID, req.Generation = "g", member, -1
	if member != "" {
		req.Generation = 3
	}
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic, t.TopicID = topic, stubID(topic)
	for i, offset := range offsets {
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset, p.LeaderEpoch, p.Metadata = int32(i), offset, int32(i), kmsg.StringPtr("so far")
		t.Partitions = append(t.Partitions, p)
	}
	req.Topics = append(req.Topics, t)
	return req
}

func commitCodes(resp *kmsg.OffsetCommitResponse) (codes []int16) {
	for _, p := range resp.Topics[0].Partitions {
		codes = append(codes, p.ErrorCode)
	}
	return codes
}

func TestOffsetCommit(t *testing.T) {
	for version := int16(2); version <= 10; version++ {
		unknown := int16(codeUnknownTopic)
		if version >= topicIDOffsets {
			unknown = codeUnknownTopicID
		}
		s := newStub(t)
		a := s.topic("a", 2)
		resp := call1(s, version, commitRequest("m1", "a", 5, 6, 7), kmsg.NewPtrOffsetCommitResponse())
		if !slices.Equal(commitCodes(resp), []int16{0, 0, codeUnknownTopic}) {
			t.Errorf("version %d: %+v", version, resp)
		}
		told := uint32(0)
		if version >= 6 {
			told = 2
		}
		if m := s.groups.commits[0]; m.Member != "m1" || m.Epoch != 3 || m.Offsets[1] != (ipc.OffsetCommit{Index: a.Partitions[1].Index, Offset: 6, Metadata: "so far", Leader: told}) {
			t.Errorf("version %d: %+v", version, m)
		}
		if resp := call1(s, version, commitRequest("", "a", 9), kmsg.NewPtrOffsetCommitResponse()); commitCodes(resp)[0] != 0 || len(s.groups.simple) != 1 {
			t.Errorf("version %d: %+v", version, resp)
		}
		if resp := call1(s, version, commitRequest("m1", "none", 9), kmsg.NewPtrOffsetCommitResponse()); commitCodes(resp)[0] != unknown {
			t.Errorf("version %d: %+v", version, resp)
		}
		long := commitRequest("m1", "a", 9, -5)
		text := string(make([]byte, maxMetadataBytes+1))
		long.Topics[0].Partitions[0].Metadata = &text
		if resp := call1(s, version, long, kmsg.NewPtrOffsetCommitResponse()); !slices.Equal(commitCodes(resp), []int16{codeMetadataTooLong, codeOffsetOutOfRange}) {
			t.Errorf("version %d: %+v", version, resp)
		}
		s.refuses = errcode.IllegalGeneration
		if resp := call1(s, version, commitRequest("m1", "a", 5), kmsg.NewPtrOffsetCommitResponse()); commitCodes(resp)[0] != codeIllegalGeneration {
			t.Errorf("version %d: %+v", version, resp)
		}
	}
}

// A topic that was created anew since the catalogue learned it is looked up again.
func TestOffsetCommitToANewTopic(t *testing.T) {
	s := newStub(t)
	s.topic("a", 1)
	call1(s, 8, commitRequest("m1", "a", 5), kmsg.NewPtrOffsetCommitResponse())
	s.drop("a")
	index := s.topic("x", 1).Partitions[0].Index + 1
	s.topic("a", 1)
	resp := call1(s, 8, commitRequest("m1", "a", 7), kmsg.NewPtrOffsetCommitResponse())
	if last := s.groups.offsets[len(s.groups.offsets)-1]; commitCodes(resp)[0] != 0 || last.Offset != 7 || last.Index != index {
		t.Errorf("%+v, stored %+v", resp, last)
	}
}

// positions lists what an OffsetFetch has found of the first group.
func positions(resp *kmsg.OffsetFetchResponse) (list []position) {
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			list = append(list, position{t.Topic, p.Partition, p.Offset})
		}
	}
	if len(resp.Groups) > 0 {
		for _, t := range resp.Groups[0].Topics {
			for _, p := range t.Partitions {
				list = append(list, position{stubName(t.Topic, t.TopicID), p.Partition, p.Offset})
			}
		}
	}
	return list
}

type position struct {
	topic     string
	partition int32
	offset    int64
}

func TestOffsetFetch(t *testing.T) {
	for version := int16(1); version <= 10; version++ {
		s := newStub(t)
		a, b := s.topic("a", 2), s.topic("b", 3)
		s.groups.offsets = []ipc.OffsetCommit{{Index: b.Partitions[2].Index, Offset: 9}, {Index: a.Partitions[1].Index, Offset: 5}, {Index: b.Partitions[0].Index, Offset: 7}}
		req := kmsg.NewPtrOffsetFetchRequest()
		req.Group = "g"
		topic, group, groupTopic := kmsg.NewOffsetFetchRequestTopic(), kmsg.NewOffsetFetchRequestGroup(), kmsg.NewOffsetFetchRequestGroupTopic()
		topic.Topic, topic.Partitions = "b", []int32{0, 1, 5}
		groupTopic.Topic, groupTopic.TopicID, groupTopic.Partitions = topic.Topic, stubID(topic.Topic), topic.Partitions
		group.Group, group.Topics = "g", []kmsg.OffsetFetchRequestGroupTopic{groupTopic}
		req.Topics, req.Groups = []kmsg.OffsetFetchRequestTopic{topic}, []kmsg.OffsetFetchRequestGroup{group}
		got := positions(call1(s, version, req, kmsg.NewPtrOffsetFetchResponse()))
		if want := []position{{"b", 0, 7}, {"b", 1, -1}, {"b", 5, -1}}; !slices.Equal(got, want) {
			t.Errorf("version %d: %+v", version, got)
		}
		if version < 2 { // it cannot ask for all
			continue
		}
		req.Topics, req.Groups[0].Topics = nil, nil
		s.loop.Marked() // the catalogue is empty
		got = positions(call1(s, version, req, kmsg.NewPtrOffsetFetchResponse()))
		if want := []position{{"a", 1, 5}, {"b", 0, 7}, {"b", 2, 9}}; !slices.Equal(got, want) {
			t.Errorf("version %d: %+v", version, got)
		}
		req.Topics = []kmsg.OffsetFetchRequestTopic{}
		req.Groups[0].Topics = []kmsg.OffsetFetchRequestGroupTopic{}
		if got := positions(call1(s, version, req, kmsg.NewPtrOffsetFetchResponse())); len(got) != 0 {
			t.Errorf("version %d: %+v", version, got)
		}
	}
}

// TestCommittedEpoch: the leader epoch that was committed with a position is told, −1 where none was.
func TestCommittedEpoch(t *testing.T) {
	for _, epoch := range []int32{-1, 0, 7, math.MaxInt32} {
		s := newStub(t)
		s.topic("a", 1)
		commit := commitRequest("", "a", 5)
		commit.Topics[0].Partitions[0].LeaderEpoch = epoch
		call1(s, 9, commit, kmsg.NewPtrOffsetCommitResponse())
		group, topic, req := kmsg.NewOffsetFetchRequestGroup(), kmsg.NewOffsetFetchRequestGroupTopic(), kmsg.NewPtrOffsetFetchRequest()
		topic.Topic, topic.Partitions = "a", []int32{0}
		group.Group, group.Topics = "g", append(group.Topics, topic)
		req.Groups = append(req.Groups, group)
		got := call1(s, 9, req, kmsg.NewPtrOffsetFetchResponse()).Groups[0].Topics[0].Partitions[0]
		if got.Offset != 5 || got.LeaderEpoch != epoch {
			t.Errorf("epoch %d: %+v", epoch, got)
		}
	}
}

// A logicsrv that dies while positions are read has the catalogue forgotten: they are there all the same.
func TestOffsetFetchOverARestart(t *testing.T) {
	s := newStub(t)
	a := s.topic("a", 2)
	s.groups.offsets, s.groups.forgets = []ipc.OffsetCommit{{Index: a.Partitions[1].Index, Offset: 5}}, true
	topic, req := kmsg.NewOffsetFetchRequestTopic(), kmsg.NewPtrOffsetFetchRequest()
	topic.Topic, topic.Partitions = "a", []int32{0, 1}
	req.Group, req.Topics = "g", []kmsg.OffsetFetchRequestTopic{topic}
	got := positions(call1(s, 5, req, kmsg.NewPtrOffsetFetchResponse()))
	if want := []position{{"a", 0, -1}, {"a", 1, 5}}; !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
}

func TestOffsetDelete(t *testing.T) {
	s := newStub(t)
	a := s.topic("a", 2)
	s.groups.offsets = []ipc.OffsetCommit{{Index: a.Partitions[0].Index, Offset: 9}, {Index: a.Partitions[1].Index, Offset: 5}}
	req := kmsg.NewPtrOffsetDeleteRequest()
	topic := kmsg.NewOffsetDeleteRequestTopic()
	topic.Topic = "a"
	for _, number := range []int32{1, 7} {
		p := kmsg.NewOffsetDeleteRequestTopicPartition()
		p.Partition = number
		topic.Partitions = append(topic.Partitions, p)
	}
	req.Group, req.Topics = "g", []kmsg.OffsetDeleteRequestTopic{topic}
	resp := call1(s, 0, req, kmsg.NewPtrOffsetDeleteResponse())
	if len(s.groups.offsets) != 1 || resp.ErrorCode != 0 || resp.Topics[0].Partitions[1].ErrorCode != codeUnknownTopic {
		t.Errorf("%+v", resp)
	}
	req.Topics[0].Partitions = req.Topics[0].Partitions[:1] // nothing is looked up any more
	for code, want := range map[errcode.Code][2]int16{errcode.InUse: {0, codeGroupSubscribed}, errcode.NotFound: {codeGroupNotFound, 0}} {
		s.refuses = code
		resp := call1(s, 0, req, kmsg.NewPtrOffsetDeleteResponse())
		if resp.ErrorCode != want[0] || want[1] != 0 && resp.Topics[0].Partitions[0].ErrorCode != want[1] {
			t.Errorf("%s: %+v", code, resp)
		}
	}
}

// someGroups are one of each kind.
func someGroups(a *admin.TopicInfo) []admin.Membership {
	return []admin.Membership{
		{Name: "classic", Type: admin.GroupClassic, State: admin.GroupStable, Epoch: 3, ProtocolType: "consumer", Protocol: "range", Members: []admin.MemberInfo{
			{ID: "m1", Instance: "i", ClientID: "c", ClientHost: "/h", Metadata: []byte("meta"), Assignment: []byte("share")},
		}},
		{Name: "modern", Type: admin.GroupModern, State: admin.GroupReconciling, Epoch: 7, Protocol: "sticky", Members: []admin.MemberInfo{
			{ID: "m2", ClientID: "c", Epoch: 6, Topics: []string{"a"}, Assigned: []uint64{a.Partitions[1].Index}, Target: []uint64{a.Partitions[0].Index, a.Partitions[1].Index}},
		}},
		{Name: "simple"},
	}
}

func TestListGroups(t *testing.T) {
	for version := int16(0); version <= 5; version++ {
		s := newStub(t)
		s.groups.members = someGroups(s.topic("a", 2))
		req := kmsg.NewPtrListGroupsRequest()
		resp := call1(s, version, req, kmsg.NewPtrListGroupsResponse())
		if len(resp.Groups) != 3 || resp.Groups[0].ProtocolType != "consumer" || version >= 4 && resp.Groups[0].GroupState != "Stable" || version >= 5 && resp.Groups[1].GroupType != "consumer" {
			t.Errorf("version %d: %+v", version, resp)
		}
		req.StatesFilter, req.TypesFilter = []string{"stable", "Empty"}, []string{"Classic"}
		if resp := call1(s, version, req, kmsg.NewPtrListGroupsResponse()); version >= 4 && len(resp.Groups) != 2 {
			t.Errorf("version %d: %+v", version, resp)
		}
	}
}

func TestDescribeGroups(t *testing.T) {
	for version := int16(0); version <= 6; version++ {
		s := newStub(t)
		s.groups.members = someGroups(s.topic("a", 2))
		req := kmsg.NewPtrDescribeGroupsRequest()
		req.Groups = []string{"simple", "classic", "modern", "none"}
		list := call1(s, version, req, kmsg.NewPtrDescribeGroupsResponse()).Groups
		if g := list[0]; g.State != "Empty" || g.ErrorCode != 0 {
			t.Errorf("version %d: %+v", version, g)
		}
		if g := list[1]; g.State != "Stable" || g.Protocol != "range" || g.Members[0].MemberID != "m1" || string(g.Members[0].MemberAssignment) != "share" || string(g.Members[0].ProtocolMetadata) != "meta" {
			t.Errorf("version %d: %+v", version, g)
		}
		for _, g := range list[2:] {
			if g.State != "Dead" || (g.ErrorCode == codeGroupNotFound) != (version >= 6) {
				t.Errorf("version %d: %+v", version, g)
			}
		}
	}
}

func TestDeleteGroups(t *testing.T) {
	for version := int16(0); version <= 2; version++ {
		s := newStub(t)
		s.groups.members = someGroups(s.topic("a", 2))
		req := kmsg.NewPtrDeleteGroupsRequest()
		req.Groups = []string{"simple", "classic", "none"}
		list := call1(s, version, req, kmsg.NewPtrDeleteGroupsResponse()).Groups
		if list[0].ErrorCode != 0 || list[1].ErrorCode != codeNonEmptyGroup || list[2].ErrorCode != codeGroupNotFound || !slices.Equal(s.groups.deleted, []string{"simple"}) {
			t.Errorf("version %d: %+v", version, list)
		}
	}
}

func TestConsumerGroupHeartbeat(t *testing.T) {
	for version := int16(0); version <= 1; version++ {
		s := newStub(t)
		a := s.topic("a", 2)
		s.groups.assign = ipc.GroupAssignment{Member: "m1", Epoch: 4, HeartbeatMS: 500, HasTopics: true, Topics: []ipc.AssignedTopic{
			{Topic: "a", UUID: a.UUID, Partitions: []ipc.AssignedPartition{{Partition: 1, Index: a.Partitions[1].Index}}},
		}}
		req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		req.Group, req.MemberID, req.RebalanceTimeoutMillis, req.SubscribedTopicNames = "g", "m1", 9000, []string{"a"}
		req.ServerAssignor = kmsg.StringPtr("uniform")
		owned := kmsg.NewConsumerGroupHeartbeatRequestTopic()
		owned.TopicID, owned.Partitions = a.UUID, []int32{0, 9}
		gone := kmsg.NewConsumerGroupHeartbeatRequestTopic()
		gone.TopicID, gone.Partitions = topicID{9}, []int32{0}
		req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{owned, gone}
		resp := call1(s, version, req, kmsg.NewPtrConsumerGroupHeartbeatResponse())
		if resp.ErrorCode != 0 || *resp.MemberID != "m1" || resp.MemberEpoch != 4 || resp.HeartbeatIntervalMillis != 500 || resp.Assignment.Topics[0].TopicID != a.UUID || resp.Assignment.Topics[0].Partitions[0] != 1 {
			t.Errorf("version %d: %+v", version, resp)
		}
		m := s.groups.hearts[0]
		if !m.HasTopics || !m.HasOwned || !slices.Equal(m.Owned, []uint64{a.Partitions[0].Index}) || m.Assignor != "sticky" || m.RebalanceMS != 9000 || m.ClientID != "test" {
			t.Errorf("version %d: %+v", version, m)
		}
		s.groups.assign.HasTopics = false
		brief := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		brief.Group, brief.MemberID, brief.MemberEpoch = "g", "m1", 4
		if resp := call1(s, version, brief, kmsg.NewPtrConsumerGroupHeartbeatResponse()); resp.Assignment != nil {
			t.Errorf("version %d: %+v", version, resp)
		}
		if m := s.groups.hearts[1]; m.HasTopics || m.HasOwned || m.Epoch != 4 {
			t.Errorf("version %d: %+v", version, m)
		}
		s.refuses = errcode.FencedMemberEpoch
		if resp := call1(s, version, brief, kmsg.NewPtrConsumerGroupHeartbeatResponse()); resp.ErrorCode != codeFencedMemberEpoch || resp.ErrorMessage == nil {
			t.Errorf("version %d: %+v", version, resp)
		}
	}
}

// A pattern is a subscription to what matches it, now and later.
func TestSubscriptionByPattern(t *testing.T) {
	s := newStub(t)
	for _, name := range []string{"a1", "b1", "ba1"} {
		s.topic(name, 1)
	}
	s.groups.assign = ipc.GroupAssignment{Member: "m1", Epoch: 4}
	heart := func(regex *string) *ipc.GroupHeartbeat {
		req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		req.Group, req.MemberID, req.SubscribedTopicRegex = "g", "m1", regex
		if resp := call1(s, 1, req, kmsg.NewPtrConsumerGroupHeartbeatResponse()); resp.ErrorCode != 0 {
			t.Fatalf("%+v", resp)
		}
		return &s.groups.hearts[len(s.groups.hearts)-1]
	}
	if m := heart(kmsg.StringPtr("a.*")); !m.HasTopics || !reflect.DeepEqual(m.Topics, []string{"a1"}) {
		t.Errorf("%+v", m)
	}
	if m := heart(nil); m.HasTopics {
		t.Errorf("nothing has changed: %+v", m)
	}
	s.topic("a2", 1)
	if m := heart(nil); !m.HasTopics || !reflect.DeepEqual(m.Topics, []string{"a1", "a2"}) {
		t.Errorf("%+v", m)
	}
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Group, req.MemberID, req.SubscribedTopicRegex = "g", "m1", kmsg.StringPtr("(")
	if resp := call1(s, 1, req, kmsg.NewPtrConsumerGroupHeartbeatResponse()); resp.ErrorCode != codeInvalidRegex {
		t.Errorf("%+v", resp)
	}
	if m := heart(kmsg.StringPtr("")); !m.HasTopics || len(m.Topics) > 0 {
		t.Errorf("no pattern any more: %+v", m)
	}
	s.topic("a3", 1)
	if m := heart(nil); m.HasTopics {
		t.Errorf("no pattern any more: %+v", m)
	}
}

func TestConsumerGroupDescribe(t *testing.T) {
	for version := int16(0); version <= 1; version++ {
		s := newStub(t)
		a := s.topic("a", 2)
		s.groups.members = someGroups(a)
		req := kmsg.NewPtrConsumerGroupDescribeRequest()
		req.Groups = []string{"modern", "classic", "none"}
		list := call1(s, version, req, kmsg.NewPtrConsumerGroupDescribeResponse()).Groups
		g := list[0]
		if g.ErrorCode != 0 || g.State != "Reconciling" || g.AssignorName != "uniform" || g.Epoch != 7 || g.Members[0].MemberEpoch != 6 {
			t.Fatalf("version %d: %+v", version, g)
		}
		if have := g.Members[0].Assignment.TopicPartitions; len(have) != 1 || have[0].Topic != "a" || have[0].TopicID != a.UUID || !slices.Equal(have[0].Partitions, []int32{1}) {
			t.Errorf("version %d: %+v", version, have)
		}
		if shall := g.Members[0].TargetAssignment.TopicPartitions; !slices.Equal(shall[0].Partitions, []int32{0, 1}) {
			t.Errorf("version %d: %+v", version, shall)
		}
		if list[1].ErrorCode != codeGroupNotFound || list[2].ErrorCode != codeGroupNotFound {
			t.Errorf("version %d: %+v", version, list[1:])
		}
	}
}
