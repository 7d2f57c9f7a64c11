package kafkaconn

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/protocol/admin"
)

// describeCluster names the brokers that there are.
func (c *Conn) describeCluster(k *call, m *kmsg.DescribeClusterRequest) {
	const endpointBrokers, codeUnsupportedEndpoint = 1, 115
	resp := kmsg.NewPtrDescribeClusterResponse()
	if m.EndpointType != endpointBrokers {
		resp.ErrorCode, resp.ErrorMessage = codeUnsupportedEndpoint, kmsg.StringPtr("brokers are described here, not controllers")
		c.finish(k, resp)
		return
	}
	b, at := kmsg.NewDescribeClusterResponseBroker(), c.advertised()
	b.NodeID, b.Host, b.Port = nodeID, at.Host, int32(at.Port)
	resp.EndpointType, resp.ClusterID, resp.ControllerID = endpointBrokers, c.settings.Cluster, nodeID
	resp.Brokers = append(resp.Brokers, b)
	c.finish(k, resp)
}

// describeTopicPartitions tells what Metadata tells, in pages for who has many partitions. Here all
// of it is one page.
func (c *Conn) describeTopicPartitions(k *call, m *kmsg.DescribeTopicPartitionsRequest) {
	var names []string
	for i := range m.Topics {
		if validTopic(m.Topics[i].Topic) {
			names = append(names, m.Topics[i].Topic)
		}
	}
	if len(m.Topics) > 0 && len(names) == 0 {
		c.finishPartitions(k, m, nil)
		return
	}
	c.describeTopics(k, names, func(list []admin.TopicInfo, _ error) { c.finishPartitions(k, m, list) })
}

// finishPartitions describes the topics that are asked for, in order of name.
func (c *Conn) finishPartitions(k *call, m *kmsg.DescribeTopicPartitionsRequest, list []admin.TopicInfo) {
	resp := kmsg.NewPtrDescribeTopicPartitionsResponse()
	for i := range list {
		t := kmsg.NewDescribeTopicPartitionsResponseTopic()
		t.Topic, t.TopicID, t.IsInternal = &list[i].Name, list[i].UUID, internal(list[i].Name)
		for number := range list[i].Partitions {
			p := kmsg.NewDescribeTopicPartitionsResponseTopicPartition()
			p.Partition, p.LeaderID, p.LeaderEpoch = int32(number), nodeID, leaderEpoch
			p.Replicas, p.ISR = []int32{nodeID}, []int32{nodeID}
			p.EligibleLeaderReplicas, p.LastKnownELR = []int32{}, []int32{} // Java's client does not bear null
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	for i := range m.Topics {
		name := m.Topics[i].Topic
		if slices.ContainsFunc(list, func(t admin.TopicInfo) bool { return t.Name == name }) {
			continue
		}
		t := kmsg.NewDescribeTopicPartitionsResponseTopic()
		if t.Topic, t.ErrorCode = &name, codeUnknownTopic; !validTopic(name) {
			t.ErrorCode = codeInvalidTopic
		}
		resp.Topics = append(resp.Topics, t)
	}
	slices.SortStableFunc(resp.Topics, func(a, b kmsg.DescribeTopicPartitionsResponseTopic) int {
		switch {
		case *a.Topic < *b.Topic:
			return -1
		case *a.Topic > *b.Topic:
			return 1
		}
		return 0
	})
	c.finish(k, resp)
}

// listPartitionReassignments: no partition is on its way to another broker.
func (c *Conn) listPartitionReassignments(k *call, _ *kmsg.ListPartitionReassignmentsRequest) {
	c.finish(k, kmsg.NewPtrListPartitionReassignmentsResponse())
}
