package kafkaconn

import (
	"slices"
	"strconv"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/topicconf"
)

// createRequest asks for a topic. change may alter it.
func createRequest(name string, partitions int32, change func(*kmsg.CreateTopicsRequestTopic)) *kmsg.CreateTopicsRequest {
	req, t := kmsg.NewPtrCreateTopicsRequest(), kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, 1
	if change != nil {
		change(&t)
	}
	req.Topics = append(req.Topics, t)
	return req
}

// with is a change that sets a key.
func with(name, value string) func(*kmsg.CreateTopicsRequestTopic) {
	return func(t *kmsg.CreateTopicsRequestTopic) {
		g := kmsg.NewCreateTopicsRequestTopicConfig()
		g.Name, g.Value = name, &value
		t.Configs = append(t.Configs, g)
	}
}

func TestCreateTopics(t *testing.T) {
	for version := int16(2); version <= 7; version++ {
		s := newStub(t)
		resp := call1(s, version, createRequest("a", 3, with("retention.ms", "5000")), kmsg.NewPtrCreateTopicsResponse()).Topics[0]
		a := s.topics["a"]
		if resp.ErrorCode != 0 || len(a.Partitions) != 3 || topicconf.Text(a.Configs) != "retention.ms=5000" || version >= 5 && resp.NumPartitions != 3 || version >= 7 && resp.TopicID != a.UUID {
			t.Errorf("version %d: %+v, %+v", version, resp, a)
		}
		if again := call1(s, version, createRequest("a", 3, nil), kmsg.NewPtrCreateTopicsResponse()).Topics[0]; again.ErrorCode != codeTopicExists {
			t.Errorf("version %d: %+v", version, again)
		}
		if d := call1(s, version, createRequest("d", -1, nil), kmsg.NewPtrCreateTopicsResponse()).Topics[0]; d.ErrorCode != 0 || len(s.topics["d"].Partitions) != 2 {
			t.Errorf("version %d: %+v", version, d)
		}
		req := createRequest("b", 3, nil)
		req.ValidateOnly = true
		req.Topics = append(req.Topics, createRequest("a", 1, nil).Topics...)
		list := call1(s, version, req, kmsg.NewPtrCreateTopicsResponse()).Topics
		if list[0].ErrorCode != 0 || list[1].ErrorCode != codeTopicExists || s.topics["b"] != nil {
			t.Errorf("version %d: %+v", version, list)
		}
	}
}

func TestCreateTopicsRefusals(t *testing.T) {
	replicas := func(list ...int32) func(*kmsg.CreateTopicsRequestTopic) {
		return func(m *kmsg.CreateTopicsRequestTopic) {
			m.NumPartitions, m.ReplicationFactor = -1, -1
			for i, broker := range list {
				r := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
				r.Partition, r.Replicas = int32(i), []int32{broker}
				m.ReplicaAssignment = append(m.ReplicaAssignment, r)
			}
		}
	}
	s := newStub(t)
	for _, row := range []struct {
		req  *kmsg.CreateTopicsRequest
		code int16
	}{
		{createRequest("a/b", 1, nil), codeInvalidTopic},
		{createRequest("a", 0, nil), codeInvalidPartitions},
		{createRequest("a", 1, func(m *kmsg.CreateTopicsRequestTopic) { m.ReplicationFactor = 3 }), codeInvalidReplication},
		{createRequest("a", 1, with("no.such.key", "1")), codeInvalidConfig},
		{createRequest("a", 1, with("cleanup.policy", "shred")), codeInvalidConfig},
		{createRequest("a", 1, with("compression.type", "uncompressed")), codeInvalidConfig},
		{createRequest("a", 1, with("min.insync.replicas", "2")), codeInvalidConfig},
		{createRequest("a", 1, with("retention.ms", "soon")), codeInvalidConfig},
		{createRequest("a", 1, replicas(nodeID, 5)), codeInvalidAssignment},
		{createRequest("a", 1, func(m *kmsg.CreateTopicsRequestTopic) { replicas(nodeID)(m); m.NumPartitions = 4 }), codeInvalidRequest},
		{createRequest("b", 1, with("cleanup.policy", "delete")), codeNone},
		{createRequest("c", 1, with("retention.bytes", "-1")), codeNone},
		{createRequest("d", -1, nil), codeNone},
		{createRequest("e", 1, replicas(nodeID, nodeID)), codeNone},
	} {
		if got := call1(s, 5, row.req, kmsg.NewPtrCreateTopicsResponse()).Topics[0]; got.ErrorCode != row.code || (got.ErrorMessage == nil) != (row.code == codeNone) {
			t.Errorf("%+v: %+v, want code %d", row.req.Topics[0], got, row.code)
		}
	}
	twice := createRequest("x", 1, nil)
	twice.Topics = append(twice.Topics, twice.Topics[0])
	if got := call1(s, 5, twice, kmsg.NewPtrCreateTopicsResponse()).Topics; got[0].ErrorCode != codeInvalidRequest || s.topics["x"] != nil {
		t.Errorf("%+v", got)
	}
	if s.topics["a"] != nil || len(s.topics["d"].Partitions) != 2 || len(s.topics["e"].Partitions) != 2 {
		t.Errorf("%+v", s.topics)
	}
	s.conn.settings.MaxReplication = 3
	if got := call1(s, 5, createRequest("f", 1, func(m *kmsg.CreateTopicsRequestTopic) { m.ReplicationFactor = 3 }), kmsg.NewPtrCreateTopicsResponse()).Topics[0]; got.ErrorCode != 0 {
		t.Errorf("%+v", got)
	}
}

func TestDeleteTopics(t *testing.T) {
	for version := int16(1); version <= 6; version++ {
		s := newStub(t)
		a, b := s.topic("a", 1), s.topic("b", 1)
		req := kmsg.NewPtrDeleteTopicsRequest()
		req.TopicNames = []string{"a", "none"}
		for _, name := range req.TopicNames {
			topic := kmsg.NewDeleteTopicsRequestTopic()
			topic.Topic = kmsg.StringPtr(name)
			req.Topics = append(req.Topics, topic)
		}
		for _, id := range []topicID{b.UUID, {9}} {
			topic := kmsg.NewDeleteTopicsRequestTopic()
			topic.TopicID = id
			req.Topics = append(req.Topics, topic)
		}
		list := call1(s, version, req, kmsg.NewPtrDeleteTopicsResponse()).Topics
		if list[0].ErrorCode != 0 || list[1].ErrorCode != codeUnknownTopic || s.topics["a"] != nil {
			t.Errorf("version %d: %+v", version, list)
		}
		if version >= 6 && (list[0].TopicID != a.UUID || list[2].ErrorCode != 0 || *list[2].Topic != "b" || list[3].ErrorCode != codeUnknownTopicID || s.topics["b"] != nil) {
			t.Errorf("version %d: %+v", version, list)
		}
	}
}

func TestCreatePartitions(t *testing.T) {
	for version := int16(0); version <= 3; version++ {
		s := newStub(t)
		s.topic("a", 2)
		s.topic("b", 2)
		req := kmsg.NewPtrCreatePartitionsRequest()
		for name, count := range map[string]int32{"a": 5, "b": 2, "none": 3} {
			topic := kmsg.NewCreatePartitionsRequestTopic()
			topic.Topic, topic.Count = name, count
			req.Topics = append(req.Topics, topic)
		}
		slices.SortFunc(req.Topics, func(x, y kmsg.CreatePartitionsRequestTopic) int { return int(x.Topic[0]) - int(y.Topic[0]) })
		list := call1(s, version, req, kmsg.NewPtrCreatePartitionsResponse()).Topics
		if list[0].ErrorCode != 0 || list[1].ErrorCode != codeInvalidPartitions || list[2].ErrorCode != codeUnknownTopic || len(s.topics["a"].Partitions) != 5 {
			t.Errorf("version %d: %+v", version, list)
		}
	}
}

func TestDescribeConfigs(t *testing.T) {
	for version := int16(1); version <= 4; version++ {
		s := newStub(t)
		s.topic("a", 2).Configs = []ipc.Header{{Key: "retention.bytes", Value: "1048576"}}
		req := kmsg.NewPtrDescribeConfigsRequest()
		req.IncludeSynonyms = true
		for _, r := range []struct {
			kind  kmsg.ConfigResourceType
			name  string
			names []string
		}{
			{kmsg.ConfigResourceTypeTopic, "a", nil}, {kmsg.ConfigResourceTypeTopic, "a", []string{"retention.ms", "none"}}, {kmsg.ConfigResourceTypeTopic, "none", nil},
			{kmsg.ConfigResourceTypeTopic, "a/b", nil}, {kmsg.ConfigResourceTypeBroker, strconv.Itoa(nodeID), nil}, {kmsg.ConfigResourceTypeBroker, "7", nil},
		} {
			ask := kmsg.NewDescribeConfigsRequestResource()
			ask.ResourceType, ask.ResourceName, ask.ConfigNames = r.kind, r.name, r.names
			req.Resources = append(req.Resources, ask)
		}
		list := call1(s, version, req, kmsg.NewPtrDescribeConfigsResponse()).Resources
		var set []string
		for _, g := range list[0].Configs {
			if g.Source == kmsg.ConfigSourceDynamicTopicConfig {
				set = append(set, g.Name+"="+*g.Value)
			}
		}
		if len(list[0].Configs) != len(topicconf.Keys()) || !slices.Equal(set, []string{"retention.bytes=1048576"}) {
			t.Errorf("version %d: %+v, set are %v", version, list[0], set)
		}
		if len(list[1].Configs) != 1 || *list[1].Configs[0].Value != "-1" || len(list[1].Configs[0].ConfigSynonyms) != 1 {
			t.Errorf("version %d: %+v", version, list[1])
		}
		if list[2].ErrorCode != codeUnknownTopic || list[3].ErrorCode != codeInvalidTopic || len(list[4].Configs) != len(brokerConfigs) || list[5].ErrorCode != codeInvalidRequest {
			t.Errorf("version %d: %+v", version, list[2:])
		}
	}
}

func TestDescribeCluster(t *testing.T) {
	s := newStub(t)
	for version := int16(0); version <= 2; version++ {
		req := kmsg.NewPtrDescribeClusterRequest()
		resp := call1(s, version, req, kmsg.NewPtrDescribeClusterResponse())
		if resp.ErrorCode != 0 || resp.ClusterID != "test" || len(resp.Brokers) != 1 || resp.Brokers[0].Port != 9092 {
			t.Errorf("version %d: %+v", version, resp)
		}
	}
	req := kmsg.NewPtrDescribeClusterRequest()
	req.EndpointType = 2
	if resp := call1(s, 1, req, kmsg.NewPtrDescribeClusterResponse()); resp.ErrorCode == 0 {
		t.Errorf("%+v", resp)
	}
	if resp := call1(s, 0, kmsg.NewPtrListPartitionReassignmentsRequest(), kmsg.NewPtrListPartitionReassignmentsResponse()); resp.ErrorCode != 0 || len(resp.Topics) != 0 {
		t.Errorf("%+v", resp)
	}
}

func TestDescribeTopicPartitions(t *testing.T) {
	s := newStub(t)
	s.topic("b", 2)
	s.topic("a", 1)
	req := kmsg.NewPtrDescribeTopicPartitionsRequest()
	if list := call1(s, 0, req, kmsg.NewPtrDescribeTopicPartitionsResponse()).Topics; len(list) != 2 || *list[0].Topic != "a" || len(list[1].Partitions) != 2 {
		t.Errorf("%+v", list)
	}
	for _, name := range []string{"x/y", "b", "none"} {
		topic := kmsg.NewDescribeTopicPartitionsRequestTopic()
		topic.Topic = name
		req.Topics = append(req.Topics, topic)
	}
	list := call1(s, 0, req, kmsg.NewPtrDescribeTopicPartitionsResponse()).Topics
	if len(list) != 3 || *list[0].Topic != "b" || list[1].ErrorCode != codeUnknownTopic || list[2].ErrorCode != codeInvalidTopic {
		t.Errorf("%+v", list)
	}
	s.refuses = errcode.Internal
	if list := call1(s, 0, req, kmsg.NewPtrDescribeTopicPartitionsResponse()).Topics; len(list) != 3 {
		t.Errorf("%+v", list)
	}
}
