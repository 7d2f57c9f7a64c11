package kafkaconn

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What tools ask of any cluster, answered as by a broker of Kafka that stands alone, without authorizer
// and quotas: there is another leader for nothing, and no access list.

// Error codes of these answers.
const (
	codeSecurityDisabled        = 54
	codeElectionNotNeeded       = 84
	codeNoReassignmentUnderWay  = 85
	textNoAuthorizer            = "no authorizer is configured: there are no access lists"
	textOnlyBroker              = "there is one broker alone, and it has all partitions"
	textLeadsAlready            = "the one broker leads the partition already"
	textNoReassignmentInTheWork = "no reassignment is under way"
)

// electLeaders: the preferred leader of each partition leads it.
func (c *Conn) electLeaders(k *call, m *kmsg.ElectLeadersRequest) {
	var list []wanted
	for i := range m.Topics {
		for _, number := range m.Topics[i].Partitions {
			list = append(list, wanted{m.Topics[i].Topic, number})
		}
	}
	c.resolve(k, list, func(err error) {
		resp := kmsg.NewPtrElectLeadersResponse()
		for i := range m.Topics {
			t := kmsg.NewElectLeadersResponseTopic()
			t.Topic = m.Topics[i].Topic
			for _, number := range m.Topics[i].Partitions {
				p := kmsg.NewElectLeadersResponseTopicPartition()
				p.Partition, p.ErrorCode, p.ErrorMessage = number, codeElectionNotNeeded, kmsg.StringPtr(textLeadsAlready)
				if code := c.missing(t.Topic, number, err); code != codeNone {
					p.ErrorCode, p.ErrorMessage = code, nil
				}
				t.Partitions = append(t.Partitions, p)
			}
			resp.Topics = append(resp.Topics, t)
		}
		c.finish(k, resp)
	})
}

// missing is why there is no such partition, given what became of looking it up; codeNone: there is.
func (c *Conn) missing(topic string, number int32, err error) int16 {
	if _, ok := c.loop.topics.byName[topic].index(number); ok {
		return codeNone
	}
	if err != nil {
		return codeOf(err)
	}
	return codeUnknownTopic
}

// alterPartitionAssignments: each partition is where it can be, and on its way to nowhere.
func (c *Conn) alterPartitionAssignments(k *call, m *kmsg.AlterPartitionAssignmentsRequest) {
	var list []wanted
	for i := range m.Topics {
		for j := range m.Topics[i].Partitions {
			list = append(list, wanted{m.Topics[i].Topic, m.Topics[i].Partitions[j].Partition})
		}
	}
	c.resolve(k, list, func(err error) {
		resp := kmsg.NewPtrAlterPartitionAssignmentsResponse()
		for i := range m.Topics {
			t := kmsg.NewAlterPartitionAssignmentsResponseTopic()
			t.Topic = m.Topics[i].Topic
			for j := range m.Topics[i].Partitions {
				t.Partitions = append(t.Partitions, c.reassigned(t.Topic, &m.Topics[i].Partitions[j], err))
			}
			resp.Topics = append(resp.Topics, t)
		}
		c.finish(k, resp)
	})
}

// reassigned answers for one partition. No replicas: the reassignment that is under way shall end.
func (c *Conn) reassigned(
	topic string, m *kmsg.AlterPartitionAssignmentsRequestTopicPartition, err error,
) kmsg.AlterPartitionAssignmentsResponseTopicPartition {
	p := kmsg.NewAlterPartitionAssignmentsResponseTopicPartition()
	p.Partition = m.Partition
	switch code := c.missing(topic, m.Partition, err); {
	case code != codeNone:
		p.ErrorCode = code
	case m.Replicas == nil:
		p.ErrorCode, p.ErrorMessage = codeNoReassignmentUnderWay, kmsg.StringPtr(textNoReassignmentInTheWork)
	case len(m.Replicas) != 1 || m.Replicas[0] != nodeID:
		p.ErrorCode, p.ErrorMessage = codeInvalidAssignment, kmsg.StringPtr(textOnlyBroker)
	}
	return p
}

// describeACLs, createACLs and deleteACLs: there is no authorizer.

func (c *Conn) describeACLs(k *call, _ *kmsg.DescribeACLsRequest) {
	resp := kmsg.NewPtrDescribeACLsResponse()
	resp.ErrorCode, resp.ErrorMessage = codeSecurityDisabled, kmsg.StringPtr(textNoAuthorizer)
	c.finish(k, resp)
}

func (c *Conn) createACLs(k *call, m *kmsg.CreateACLsRequest) {
	resp := kmsg.NewPtrCreateACLsResponse()
	for range m.Creations {
		r := kmsg.NewCreateACLsResponseResult()
		r.ErrorCode, r.ErrorMessage = codeSecurityDisabled, kmsg.StringPtr(textNoAuthorizer)
		resp.Results = append(resp.Results, r)
	}
	c.finish(k, resp)
}

func (c *Conn) deleteACLs(k *call, m *kmsg.DeleteACLsRequest) {
	resp := kmsg.NewPtrDeleteACLsResponse()
	for range m.Filters {
		r := kmsg.NewDeleteACLsResponseResult()
		r.ErrorCode, r.ErrorMessage = codeSecurityDisabled, kmsg.StringPtr(textNoAuthorizer)
		resp.Results = append(resp.Results, r)
	}
	c.finish(k, resp)
}

// describeClientQuotas: there are none.
func (c *Conn) describeClientQuotas(k *call, _ *kmsg.DescribeClientQuotasRequest) {
	resp := kmsg.NewPtrDescribeClientQuotasResponse()
	resp.Entries = []kmsg.DescribeClientQuotasResponseEntry{} // Java's client does not bear null
	c.finish(k, resp)
}

// serveUnconfigured carries a request of these out; false: it is another.
func (c *Conn) serveUnconfigured(k *call, req kmsg.Request) bool {
	switch m := req.(type) {
	case *kmsg.ElectLeadersRequest:
		c.electLeaders(k, m)
	case *kmsg.AlterPartitionAssignmentsRequest:
		c.alterPartitionAssignments(k, m)
	case *kmsg.DescribeACLsRequest:
		c.describeACLs(k, m)
	case *kmsg.CreateACLsRequest:
		c.createACLs(k, m)
	case *kmsg.DeleteACLsRequest:
		c.deleteACLs(k, m)
	case *kmsg.ListConfigResourcesRequest:
		c.listConfigResources(k, m)
	case *kmsg.DescribeClientQuotasRequest:
		c.describeClientQuotas(k, m)
	case *kmsg.DescribeLogDirsRequest:
		c.describeLogDirs(k, m)
	case *kmsg.UpdateFeaturesRequest:
		c.updateFeatures(k, m)
	case *kmsg.DescribeUserSCRAMCredentialsRequest:
		c.describeScram(k, m)
	case *kmsg.AlterUserSCRAMCredentialsRequest:
		c.alterScram(k, m)
	default:
		return false
	}
	return true
}
