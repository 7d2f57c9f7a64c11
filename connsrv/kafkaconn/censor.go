package kafkaconn

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/connsrv/access"
)

// What responses that only tell something tell to who may not know all of it: what was named is refused, what was not
// is left out.

// censor takes out of a response what the client may not know.
func (c *Conn) censor(k *call, resp kmsg.Response) {
	if len(c.settings.Mechanisms) == 0 {
		return
	}
	switch r := resp.(type) {
	case *kmsg.MetadataResponse:
		c.censorMetadata(k, r)
	case *kmsg.DescribeTopicPartitionsResponse:
		c.censorPartitions(k, r)
	case *kmsg.DescribeConfigsResponse:
		c.censorConfigs(r)
	case *kmsg.DescribeProducersResponse:
		for i := range r.Topics {
			for j := range r.Topics[i].Partitions {
				if p := &r.Topics[i].Partitions[j]; !c.may(access.Read, r.Topics[i].Topic) {
					p.ErrorCode, p.ActiveProducers = codeTopicDenied, nil
				}
			}
		}
	case *kmsg.DescribeTransactionsResponse:
		for i := range r.TransactionStates {
			if t := &r.TransactionStates[i]; !c.maySee(t.TransactionalID) {
				id := t.TransactionalID
				*t = kmsg.NewDescribeTransactionsResponseTransactionState()
				t.TransactionalID, t.ProducerID, t.ProducerEpoch, t.StartTimestamp, t.ErrorCode = id, -1, -1, -1, codeTxnDenied
			}
		}
	case *kmsg.ListTransactionsResponse:
		r.TransactionStates = slices.DeleteFunc(r.TransactionStates, func(t kmsg.ListTransactionsResponseTransactionState) bool { return !c.maySee(t.TransactionalID) })
	default:
		c.censorGroups(k, resp)
	}
}

// censorMetadata leaves topics out, or refuses those that were named.
func (c *Conn) censorMetadata(k *call, r *kmsg.MetadataResponse) {
	m, _ := k.req.(*kmsg.MetadataRequest)
	all := m.Topics == nil || m.Version == 0 && len(m.Topics) == 0
	hidden := func(t kmsg.MetadataResponseTopic) bool {
		return t.Topic != nil && *t.Topic != "" && !c.maySee(*t.Topic)
	}
	if all {
		r.Topics = slices.DeleteFunc(r.Topics, hidden)
		return
	}
	for i := range r.Topics {
		if t := &r.Topics[i]; hidden(*t) {
			name, id := t.Topic, m.Topics[i].TopicID
			*t = kmsg.NewMetadataResponseTopic()
			t.ErrorCode, t.Topic = codeTopicDenied, name
			if m.Topics[i].Topic == nil { // the name is not for him to know
				t.Topic, t.TopicID, t.ErrorCode = nil, id, codeUnknownTopicID
				if m.Version < 12 {
					t.Topic = kmsg.StringPtr("")
				}
			}
		}
	}
}

// censorPartitions does the same for DescribeTopicPartitions.
func (c *Conn) censorPartitions(k *call, r *kmsg.DescribeTopicPartitionsResponse) {
	m, _ := k.req.(*kmsg.DescribeTopicPartitionsRequest)
	hidden := func(t kmsg.DescribeTopicPartitionsResponseTopic) bool { return !c.maySee(orEmpty(t.Topic)) }
	if len(m.Topics) == 0 {
		r.Topics = slices.DeleteFunc(r.Topics, hidden)
		return
	}
	for i := range r.Topics {
		if t := &r.Topics[i]; hidden(*t) {
			name := t.Topic
			*t = kmsg.NewDescribeTopicPartitionsResponseTopic()
			t.Topic, t.ErrorCode = name, codeTopicDenied
		}
	}
}

// censorConfigs refuses configurations of what the client may not see; that of the broker is for administrators.
func (c *Conn) censorConfigs(r *kmsg.DescribeConfigsResponse) {
	for i := range r.Resources {
		t, code := &r.Resources[i], int16(codeNone)
		switch {
		case t.ResourceType == kmsg.ConfigResourceTypeTopic && !c.maySee(t.ResourceName):
			code = codeTopicDenied
		case t.ResourceType == kmsg.ConfigResourceTypeGroupConfig && !c.maySee(t.ResourceName):
			code = codeGroupDenied
		case t.ResourceType == kmsg.ConfigResourceTypeBroker && !c.mayAdminister():
			code = codeClusterDenied
		}
		if code != codeNone {
			t.ErrorCode, t.ErrorMessage, t.Configs = code, kmsg.StringPtr("the user may not see it"), nil
		}
	}
}

// censorGroups refuses what is told of groups that the client may not see.
func (c *Conn) censorGroups(k *call, resp kmsg.Response) {
	switch r := resp.(type) {
	case *kmsg.ListGroupsResponse:
		r.Groups = slices.DeleteFunc(r.Groups, func(g kmsg.ListGroupsResponseGroup) bool { return !c.maySee(g.Group) })
	case *kmsg.DescribeGroupsResponse:
		for i := range r.Groups {
			if g := &r.Groups[i]; !c.maySee(g.Group) {
				name := g.Group
				*g = kmsg.NewDescribeGroupsResponseGroup()
				g.Group, g.ErrorCode = name, codeGroupDenied
			}
		}
	case *kmsg.ConsumerGroupDescribeResponse:
		for i := range r.Groups {
			if g := &r.Groups[i]; !c.maySee(g.Group) {
				name := g.Group
				*g = kmsg.NewConsumerGroupDescribeResponseGroup()
				g.Group, g.ErrorCode = name, codeGroupDenied
			}
		}
	case *kmsg.ShareGroupDescribeResponse:
		for i := range r.Groups {
			if g := &r.Groups[i]; !c.maySee(g.GroupID) {
				name := g.GroupID
				*g = kmsg.NewShareGroupDescribeResponseGroup()
				g.GroupID, g.ErrorCode = name, codeGroupDenied
			}
		}
	case *kmsg.DescribeShareGroupOffsetsResponse:
		for i := range r.Groups {
			if g := &r.Groups[i]; !c.maySee(g.GroupID) {
				g.Topics, g.ErrorCode = nil, codeGroupDenied
			}
		}
	case *kmsg.OffsetFetchResponse:
		c.censorOffsets(k, r)
	}
}

// censorOffsets refuses positions of groups that the client may not see; those in topics that it may not see are
// refused, or left out where all were asked for.
func (c *Conn) censorOffsets(k *call, r *kmsg.OffsetFetchResponse) {
	m, _ := k.req.(*kmsg.OffsetFetchRequest)
	if m.Version < 8 && !c.maySee(m.Group) {
		r.Topics, r.ErrorCode = nil, codeGroupDenied
	}
	for i := range r.Topics {
		t := &r.Topics[i]
		for j := range t.Partitions {
			if !c.maySee(t.Topic) {
				p := committedPartition(t.Partitions[j].Partition, nil)
				t.Partitions[j].Offset, t.Partitions[j].Metadata, t.Partitions[j].ErrorCode = p.Offset, p.Metadata, codeTopicDenied
			}
		}
	}
	for i := range r.Groups {
		g := &r.Groups[i]
		if !c.maySee(g.Group) {
			g.Topics, g.ErrorCode = nil, codeGroupDenied
		}
		for j := range g.Topics {
			t := &g.Topics[j]
			for n := range t.Partitions {
				if t.Topic != "" && !c.maySee(t.Topic) {
					t.Partitions[n] = committedPartition(t.Partitions[n].Partition, nil)
					t.Partitions[n].ErrorCode = codeTopicDenied
				}
			}
		}
	}
}
