package kafkaconn

import (
	"regexp"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
)

// Members of modern groups (KIP-848). Topics have ids here, and names there.

// codeInvalidRegex says of a pattern of topics that it cannot be read.
const codeInvalidRegex = 128

// Kafka's assignor uniform is our sticky one.
const (
	assignorUniform = "uniform"
	assignorSticky  = "sticky"
)

// consumerGroupHeartbeat passes on what a member says, and tells it what it shall have.
func (c *Conn) consumerGroupHeartbeat(k *call, m *kmsg.ConsumerGroupHeartbeatRequest) {
	record := ipc.GroupHeartbeat{
		Group: m.Group, Member: m.MemberID, Epoch: m.MemberEpoch, Instance: orEmpty(m.InstanceID), ClientID: k.clientID, ClientHost: c.host(),
		RebalanceMS: max(0, m.RebalanceTimeoutMillis), Assignor: orEmpty(m.ServerAssignor),
		HasTopics: m.SubscribedTopicNames != nil, Topics: m.SubscribedTopicNames, HasOwned: m.Topics != nil,
	}
	if record.Assignor == assignorUniform {
		record.Assignor = assignorSticky
	}
	c.subscribe(k, m, &record, func(next *pattern, err error) {
		if err != nil {
			c.finishHeartbeat(k, m, nil, nil, err)
			return
		}
		c.own(k, m, &record, func() { c.sendHeartbeat(k, m, next, &record) })
	})
}

// subscribe adds to a member's subscription the topics that its pattern matches. It is looked at with
// each heartbeat as long as the connection lives, for topics come and go; what is told of it is the
// subscription as a whole. then gets the pattern as it is when the heartbeat was accepted; nil: none.
func (c *Conn) subscribe(k *call, m *kmsg.ConsumerGroupHeartbeatRequest, record *ipc.GroupHeartbeat, then func(*pattern, error)) {
	p := c.patterns[m.MemberID]
	switch {
	case m.SubscribedTopicRegex == nil:
	case *m.SubscribedTopicRegex == "":
		if p != nil && !record.HasTopics {
			record.HasTopics, record.Topics = true, p.names
		}
		p = nil
	default:
		compiled, err := regexp.Compile("^(?:" + *m.SubscribedTopicRegex + ")$")
		if err != nil {
			c.invalidRegex(k, err)
			return
		}
		p = &pattern{match: compiled}
	}
	if p == nil {
		then(nil, nil)
		return
	}
	next := &pattern{match: p.match, names: p.names}
	if m.SubscribedTopicNames != nil {
		next.names = m.SubscribedTopicNames
	}
	c.describeTopics(k, nil, func(list []admin.TopicInfo, err error) {
		next.told = slices.Clone(next.names)
		for i := range list {
			if next.match.MatchString(list[i].Name) {
				next.told = append(next.told, list[i].Name)
			}
		}
		if !slices.Equal(next.told, p.told) || m.SubscribedTopicRegex != nil || m.SubscribedTopicNames != nil {
			record.HasTopics, record.Topics = true, next.told
		}
		then(next, err)
	})
}

// pattern is a subscription to all topics whose names match.
type pattern struct {
	match *regexp.Regexp
	names []string // that are subscribed to besides
	told  []string
}

// maxPatterns bounds the members with patterns that one connection speaks for.
const maxPatterns = 16

// keepPattern remembers the pattern of a member; nil: it has none.
func (c *Conn) keepPattern(member string, p *pattern) {
	if p == nil {
		delete(c.patterns, member)
		return
	}
	if c.patterns == nil || len(c.patterns) >= maxPatterns && c.patterns[member] == nil {
		c.patterns = map[string]*pattern{}
	}
	c.patterns[member] = p
}

func (c *Conn) invalidRegex(k *call, err error) {
	resp := kmsg.NewPtrConsumerGroupHeartbeatResponse()
	resp.ErrorCode, resp.ErrorMessage = codeInvalidRegex, kmsg.StringPtr(err.Error())
	c.finish(k, resp)
}

// own finds the indexes of the partitions that a member says it has. One of a topic that is gone is
// had by nobody.
func (c *Conn) own(k *call, m *kmsg.ConsumerGroupHeartbeatRequest, record *ipc.GroupHeartbeat, then func()) {
	known := !slices.ContainsFunc(m.Topics, func(t kmsg.ConsumerGroupHeartbeatRequestTopic) bool { return c.loop.topics.byID[t.TopicID] == nil })
	find := func() {
		for i := range m.Topics {
			for _, number := range m.Topics[i].Partitions {
				if index, ok := c.loop.topics.byID[m.Topics[i].TopicID].index(number); ok {
					record.Owned = append(record.Owned, index)
				}
			}
		}
		then()
	}
	if known {
		find()
		return
	}
	c.describeTopics(k, nil, func([]admin.TopicInfo, error) { find() })
}

// sendHeartbeat asks logicsrv.
func (c *Conn) sendHeartbeat(k *call, m *kmsg.ConsumerGroupHeartbeatRequest, next *pattern, record *ipc.GroupHeartbeat) {
	c.ask(k, ipc.TypeGroupHeartbeat, func(head ipc.Head, b []byte) []byte {
		record.Head = head
		return record.Append(b)
	}, func(a answer) {
		told, err := decoded(c, a, ipc.DecodeGroupAssignment)
		c.finishHeartbeat(k, m, next, &told, err)
	})
}

// finishHeartbeat answers a heartbeat. Only one that was accepted has changed anything.
func (c *Conn) finishHeartbeat(k *call, m *kmsg.ConsumerGroupHeartbeatRequest, next *pattern, told *ipc.GroupAssignment, err error) {
	resp := kmsg.NewPtrConsumerGroupHeartbeatResponse()
	if err != nil {
		resp.ErrorCode, resp.ErrorMessage = groupCode(m.Group, err), textOf(err)
		if is(err, errcode.InconsistentProtocol) {
			resp.ErrorCode = codeGroupNotFound // Kafka's answer to a member of the other kind
		}
		c.finish(k, resp)
		return
	}
	c.keepPattern(m.MemberID, nil)
	c.keepPattern(told.Member, next)
	resp.MemberID, resp.MemberEpoch, resp.HeartbeatIntervalMillis = &told.Member, told.Epoch, told.HeartbeatMS
	if told.HasTopics {
		shall := kmsg.NewConsumerGroupHeartbeatResponseAssignment()
		for i := range told.Topics {
			t := kmsg.NewConsumerGroupHeartbeatResponseAssignmentTopic()
			t.TopicID = told.Topics[i].UUID
			for _, p := range told.Topics[i].Partitions {
				t.Partitions = append(t.Partitions, int32(p.Partition))
			}
			shall.Topics = append(shall.Topics, t)
		}
		resp.Assignment = &shall
	}
	c.finish(k, resp)
}

// consumerGroupDescribe describes modern groups.
func (c *Conn) consumerGroupDescribe(k *call, m *kmsg.ConsumerGroupDescribeRequest) {
	c.memberships(k, m.Groups, func(byName map[string]*admin.Membership, err error) {
		var indexes []uint64
		for _, d := range byName {
			for i := range d.Members {
				indexes = append(append(indexes, d.Members[i].Assigned...), d.Members[i].Target...)
			}
		}
		c.nameIndexes(k, len(indexes), func(i int) uint64 { return indexes[i] }, func(error) {
			resp := kmsg.NewPtrConsumerGroupDescribeResponse()
			for _, name := range m.Groups {
				g := kmsg.NewConsumerGroupDescribeResponseGroup()
				g.Group, g.ErrorCode = name, codeOf(err)
				if d := byName[name]; d != nil && d.Type == admin.GroupModern {
					c.describeModern(&g, d)
				} else if err == nil {
					g.ErrorCode, g.ErrorMessage = codeGroupNotFound, kmsg.StringPtr("there is no consumer group of this name")
				}
				resp.Groups = append(resp.Groups, g)
			}
			c.finish(k, resp)
		})
	})
}

// describeModern fills in what is known of a group.
func (c *Conn) describeModern(g *kmsg.ConsumerGroupDescribeResponseGroup, d *admin.Membership) {
	g.State, g.Epoch, g.AssignmentEpoch, g.AssignorName = groupStates[d.State], d.Epoch, d.Epoch, d.Protocol
	if g.AssignorName == assignorSticky {
		g.AssignorName = assignorUniform
	}
	for i := range d.Members {
		info := &d.Members[i]
		m := kmsg.NewConsumerGroupDescribeResponseGroupMember()
		m.MemberID, m.InstanceID, m.MemberEpoch = info.ID, orNull(info.Instance), info.Epoch
		m.ClientID, m.ClientHost, m.SubscribedTopics = info.ClientID, info.ClientHost, info.Topics
		m.Assignment, m.TargetAssignment = c.assignment(info.Assigned), c.assignment(info.Target)
		g.Members = append(g.Members, m)
	}
}

// assignment lists indexes by topic and partition.
func (c *Conn) assignment(indexes []uint64) kmsg.Assignment {
	a := kmsg.NewAssignment()
	for _, index := range indexes {
		p, ok := c.loop.topics.byIndex[index]
		if !ok {
			continue
		}
		at := slices.IndexFunc(a.TopicPartitions, func(t kmsg.AssignmentTopicPartition) bool { return t.TopicID == p.topic.id })
		if at < 0 {
			t := kmsg.NewAssignmentTopicPartition()
			t.TopicID, t.Topic = p.topic.id, p.topic.name
			at, a.TopicPartitions = len(a.TopicPartitions), append(a.TopicPartitions, t)
		}
		a.TopicPartitions[at].Partitions = append(a.TopicPartitions[at].Partitions, p.number)
	}
	return a
}
