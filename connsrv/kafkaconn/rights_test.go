package kafkaconn

import (
	"reflect"
	"strconv"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/protocol/ipc"
)

// asBob is a stub at which bob is logged in, with topics and groups that he may write to (w), read (r), make (m), and
// not even see (x).
func asBob(t *testing.T) *stub {
	s := newGuarded(t)
	for _, name := range []string{"w", "r", "m", "x"} {
		s.topic(name, 1)
	}
	s.login(1, plainMechanism, "bob", "bob")
	return s
}

// TestRightsOfTopics: each topic that is named is refused for itself.
func TestRightsOfTopics(t *testing.T) {
	s := asBob(t)
	denied := func(what string, codes map[string]int16, allowed string) {
		t.Helper()
		for _, name := range []string{"w", "r", "m", "x"} {
			if code, ok := codes[name]; !ok || (code == codeTopicDenied) != (name != allowed) {
				t.Errorf("%s: topic %s: code %d", what, name, code)
			}
		}
	}
	for _, version := range []int16{9, 13} {
		codes := map[string]int16{}
		for _, name := range []string{"w", "r", "m", "x"} {
			codes[name] = int16(outcomes(call1(s, version, asksToStore(-1, name, testBatch(1, 1)), kmsg.NewPtrProduceResponse()))[0][0])
		}
		denied("produce", codes, "w")
	}
	for _, version := range []int16{12, 13} {
		codes := map[string]int16{}
		resp := call1(s, version, fetchRequest(0, 1, 1<<20, from{"w", 0, 0}, from{"r", 0, 0}, from{"m", 0, 0}, from{"x", 0, 0}), kmsg.NewPtrFetchResponse())
		for _, topic := range resp.Topics {
			codes[stubName(topic.Topic, topic.TopicID)] = topic.Partitions[0].ErrorCode
		}
		denied("fetch", codes, "r")
	}
	remove, grow := kmsg.NewPtrDeleteTopicsRequest(), kmsg.NewPtrCreatePartitionsRequest()
	remove.TopicNames = []string{"w", "r", "x"} // m stays
	codes := map[string]int16{"m": 0}
	for _, r := range call1(s, 5, remove, kmsg.NewPtrDeleteTopicsResponse()).Topics {
		codes[*r.Topic] = r.ErrorCode
	}
	denied("delete", codes, "m")
	for _, name := range []string{"w", "r", "m", "x"} {
		topic := kmsg.NewCreatePartitionsRequestTopic()
		topic.Topic, topic.Count = name, 3
		grow.Topics = append(grow.Topics, topic)
	}
	for _, r := range call1(s, 1, grow, kmsg.NewPtrCreatePartitionsResponse()).Topics {
		codes[r.Topic] = r.ErrorCode
	}
	denied("grow", codes, "m")
	if resp := call1(s, 7, createRequest("xnew", 1, nil), kmsg.NewPtrCreateTopicsResponse()); resp.Topics[0].ErrorCode != codeTopicDenied || s.topics["xnew"] != nil {
		t.Errorf("create: %+v", resp)
	}
	if resp := call1(s, 7, createRequest("mnew", 1, nil), kmsg.NewPtrCreateTopicsResponse()); resp.Topics[0].ErrorCode != 0 {
		t.Errorf("create: %+v", resp)
	}
}

// TestRightsToSee: what is not to be seen is left out of lists, refused where it is named, and not created by asking.
func TestRightsToSee(t *testing.T) {
	s := asBob(t)
	for _, line := range described(call1(s, 12, metadataRequest(false), kmsg.NewPtrMetadataResponse())) {
		if line.name == "x" || line.code != 0 {
			t.Errorf("all: %+v", line)
		}
	}
	got := described(call1(s, 12, metadataRequest(true, "x", "r", "xnew", "mnew"), kmsg.NewPtrMetadataResponse()))
	if got[0] != (topicLine{"x", codeTopicDenied, 0}) || got[1] != (topicLine{"r", 0, 1}) || got[2].code != codeTopicDenied || got[3] != (topicLine{"mnew", 0, 2}) || s.topics["xnew"] != nil {
		t.Errorf("some: %+v", got)
	}
	byID := kmsg.NewPtrMetadataRequest()
	topic := kmsg.NewMetadataRequestTopic()
	topic.TopicID = stubID("x")
	byID.Topics = append(byID.Topics, topic)
	if got := described(call1(s, 12, byID, kmsg.NewPtrMetadataResponse())); got[0] != (topicLine{"", codeUnknownTopicID, 0}) {
		t.Errorf("by its id: %+v", got)
	}
	parts := kmsg.NewPtrDescribeTopicPartitionsRequest()
	if resp := call1(s, 0, parts, kmsg.NewPtrDescribeTopicPartitionsResponse()); len(resp.Topics) != 4 {
		t.Errorf("partitions: %+v", resp)
	}
	if resp := call1(s, 1, offsetsRequest("x", 1, timeLatest), kmsg.NewPtrListOffsetsResponse()); resp.Topics[0].Partitions[0].ErrorCode != codeTopicDenied {
		t.Errorf("offsets: %+v", resp)
	}
	configs := kmsg.NewPtrDescribeConfigsRequest()
	for kind, name := range map[kmsg.ConfigResourceType]string{kmsg.ConfigResourceTypeTopic: "x", kmsg.ConfigResourceTypeBroker: strconv.Itoa(nodeID), kmsg.ConfigResourceTypeGroupConfig: "x"} {
		r := kmsg.NewDescribeConfigsRequestResource()
		r.ResourceType, r.ResourceName = kind, name
		configs.Resources = append(configs.Resources, r)
	}
	want := map[kmsg.ConfigResourceType]int16{kmsg.ConfigResourceTypeTopic: codeTopicDenied, kmsg.ConfigResourceTypeBroker: codeClusterDenied, kmsg.ConfigResourceTypeGroupConfig: codeGroupDenied}
	for _, r := range call1(s, 4, configs, kmsg.NewPtrDescribeConfigsResponse()).Resources {
		if r.ErrorCode != want[r.ResourceType] || len(r.Configs) > 0 {
			t.Errorf("configs: %+v", r)
		}
	}
}

// TestRightsOfGroups: members need the right to read their group, and positions that to read their topic.
func TestRightsOfGroups(t *testing.T) {
	s := asBob(t)
	join := joinRequest()
	join.Group = "x"
	if resp := call1(s, 9, join, kmsg.NewPtrJoinGroupResponse()); resp.ErrorCode != codeGroupDenied {
		t.Errorf("join: %+v", resp)
	}
	commit := commitRequest("m1", "r", 5)
	commit.Group = "x"
	if got := commitCodes(call1(s, 9, commit, kmsg.NewPtrOffsetCommitResponse())); got[0] != codeGroupDenied {
		t.Errorf("commit: %v", got)
	}
	commit.Group = "rg"
	if got := commitCodes(call1(s, 9, commit, kmsg.NewPtrOffsetCommitResponse())); got[0] != codeNone {
		t.Errorf("commit: %v", got)
	}
	commit = commitRequest("m1", "w", 5)
	commit.Group = "rg"
	if got := commitCodes(call1(s, 10, commit, kmsg.NewPtrOffsetCommitResponse())); got[0] != codeTopicDenied {
		t.Errorf("commit to a topic: %v", got)
	}
	s.groups.offsets = []ipc.OffsetCommit{{Index: s.topics["r"].Partitions[0].Index, Offset: 3}}
	for version := int16(7); version <= 9; version++ {
		fetch := kmsg.NewPtrOffsetFetchRequest()
		fetch.Group = "x"
		group := kmsg.NewOffsetFetchRequestGroup()
		group.Group = "x"
		fetch.Groups = append(fetch.Groups, group)
		resp := call1(s, version, fetch, kmsg.NewPtrOffsetFetchResponse())
		if version < 8 && resp.ErrorCode != codeGroupDenied || version >= 8 && resp.Groups[0].ErrorCode != codeGroupDenied {
			t.Errorf("positions, version %d: %+v", version, resp)
		}
	}
	for _, c := range []struct {
		req  kmsg.Request
		code int16
	}{
		{&kmsg.HeartbeatRequest{Group: "x"}, codeGroupDenied}, {&kmsg.SyncGroupRequest{Group: "x"}, codeGroupDenied}, {&kmsg.LeaveGroupRequest{Group: "x"}, codeGroupDenied},
		{&kmsg.OffsetDeleteRequest{Group: "rg"}, codeGroupDenied}, {&kmsg.ConsumerGroupHeartbeatRequest{Group: "x"}, codeGroupDenied},
		{&kmsg.ShareGroupHeartbeatRequest{GroupID: "x"}, codeGroupDenied}, {&kmsg.ShareFetchRequest{GroupID: kmsg.StringPtr("x")}, codeGroupDenied},
		{&kmsg.ShareAcknowledgeRequest{GroupID: kmsg.StringPtr("x")}, codeGroupDenied}, {&kmsg.AlterShareGroupOffsetsRequest{GroupID: "x"}, codeGroupDenied},
		{&kmsg.DeleteShareGroupOffsetsRequest{GroupID: "rg"}, codeGroupDenied},
		{&kmsg.InitProducerIDRequest{TransactionalID: kmsg.StringPtr("x")}, codeTxnDenied}, {&kmsg.EndTxnRequest{TransactionalID: "x"}, codeTxnDenied},
		{&kmsg.AddOffsetsToTxnRequest{TransactionalID: "x", Group: "rg"}, codeTxnDenied}, {&kmsg.AddOffsetsToTxnRequest{TransactionalID: "w", Group: "x"}, codeGroupDenied},
		{&kmsg.DescribeUserSCRAMCredentialsRequest{}, codeClusterDenied}, {&kmsg.DescribeACLsRequest{}, codeClusterDenied}, {&kmsg.ElectLeadersRequest{}, codeClusterDenied},
		{&kmsg.AlterPartitionAssignmentsRequest{}, codeClusterDenied}, {&kmsg.ListPartitionReassignmentsRequest{}, codeClusterDenied}, {&kmsg.DescribeClientQuotasRequest{}, codeClusterDenied},
	} {
		resp := call1(s, apiOf(c.req.Key()).max, c.req, c.req.ResponseKind())
		if got := reflect.ValueOf(resp).Elem().FieldByName("ErrorCode").Int(); got != int64(c.code) {
			t.Errorf("%T: code %d, want %d", c.req, got, c.code)
		}
	}
	if resp := call1(s, 3, addRequest("w", 0), kmsg.NewPtrAddPartitionsToTxnResponse()); resp.Topics[0].Partitions[0].ErrorCode != codeTxnDenied {
		t.Errorf("a transaction: %+v", resp)
	}
	add := addRequest("x", 0)
	add.TransactionalID = "w"
	if resp := call1(s, 3, add, kmsg.NewPtrAddPartitionsToTxnResponse()); resp.Topics[0].Partitions[0].ErrorCode != codeTopicDenied {
		t.Errorf("a topic in a transaction: %+v", resp)
	}
	hold := txnOffsetsRequest()
	if resp := call1(s, 3, hold, kmsg.NewPtrTxnOffsetCommitResponse()); resp.Topics[0].Partitions[0].ErrorCode != codeGroupDenied {
		t.Errorf("positions in a transaction: %+v", resp)
	}
	alter := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
	gone := kmsg.NewAlterUserSCRAMCredentialsRequestDeletion()
	gone.Name, gone.Mechanism = "ann", 2
	alter.Deletions = append(alter.Deletions, gone)
	if resp := call1(s, 0, alter, kmsg.NewPtrAlterUserSCRAMCredentialsResponse()); resp.Results[0].ErrorCode != codeClusterDenied {
		t.Errorf("a secret: %+v", resp)
	}
}

// TestRightsOfShareGroups: members of share groups need the right to read the topic, too.
func TestRightsOfShareGroups(t *testing.T) {
	s := &sharer{stub: asBob(t), group: "rg", member: "m"}
	resp := s.fetch(func(req *kmsg.ShareFetchRequest) { req.MaxWaitMillis = 0 }, part(s.topics["r"], 0), part(s.topics["w"], 0))
	codes := map[string]int16{}
	for _, topic := range resp.Topics {
		codes[stubName("", topic.TopicID)] = topic.Partitions[0].ErrorCode
	}
	if codes["w"] != codeTopicDenied || codes["r"] != codeNone || s.shares.queues[shareQueueName("rg", "w")] != nil {
		t.Errorf("%v", codes)
	}
	alter := kmsg.NewPtrAlterShareGroupOffsetsRequest()
	alter.GroupID = "rg"
	topic, to := kmsg.NewAlterShareGroupOffsetsRequestTopic(), kmsg.NewAlterShareGroupOffsetsRequestTopicPartition()
	topic.Topic, topic.Partitions = "x", append(topic.Partitions, to)
	alter.Topics = append(alter.Topics, topic)
	if resp := call1(s.stub, 0, alter, kmsg.NewPtrAlterShareGroupOffsetsResponse()); resp.Topics[0].Partitions[0].ErrorCode != codeTopicDenied {
		t.Errorf("offsets: %+v", resp)
	}
}
