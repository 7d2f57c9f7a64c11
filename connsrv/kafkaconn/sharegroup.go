package kafkaconn

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
)

// Members of share groups (KIP-932): who is one, and what it is to fetch.

// typeShare is what Kafka calls share groups, and their protocol.
const typeShare = "share"

// assignorShare is the name of the one way in which partitions are given to members.
const assignorShare = "simple"

// shareGroupHeartbeat passes on what a member says, and tells it what it shall have.
func (c *Conn) shareGroupHeartbeat(k *call, m *kmsg.ShareGroupHeartbeatRequest) {
	record := ipc.GroupHeartbeat{
		Group: m.GroupID, Member: m.MemberID, Epoch: m.MemberEpoch, ClientID: k.clientID, ClientHost: c.host(),
		HasTopics: m.SubscribedTopicNames != nil, Topics: m.SubscribedTopicNames,
	}
	c.ask(k, ipc.TypeShareHeartbeat, func(head ipc.Head, b []byte) []byte {
		record.Head = head
		return record.Append(b)
	}, func(a answer) {
		told, err := decoded(c, a, ipc.DecodeGroupAssignment)
		c.finishShareHeartbeat(k, m, &told, err)
	})
}

// finishShareHeartbeat answers a heartbeat.
func (c *Conn) finishShareHeartbeat(k *call, m *kmsg.ShareGroupHeartbeatRequest, told *ipc.GroupAssignment, err error) {
	resp := kmsg.NewPtrShareGroupHeartbeatResponse()
	if err != nil {
		resp.ErrorCode, resp.ErrorMessage = groupCode(m.GroupID, err), textOf(err)
		if is(err, errcode.InconsistentProtocol) {
			resp.ErrorCode = codeGroupNotFound // Kafka's answer to a member of another kind
		}
		c.finish(k, resp)
		return
	}
	resp.MemberID, resp.MemberEpoch, resp.HeartbeatIntervalMillis = &told.Member, told.Epoch, told.HeartbeatMS
	if told.HasTopics {
		shall := kmsg.NewShareGroupHeartbeatResponseAssignment()
		for i := range told.Topics {
			t := kmsg.NewShareGroupHeartbeatResponseAssignmentTopicPartition()
			t.TopicID = told.Topics[i].UUID
			for _, p := range told.Topics[i].Partitions {
				t.Partitions = append(t.Partitions, int32(p.Partition))
			}
			shall.TopicPartitions = append(shall.TopicPartitions, t)
		}
		resp.Assignment = &shall
	}
	c.finish(k, resp)
}

// shareGroupDescribe describes share groups.
func (c *Conn) shareGroupDescribe(k *call, m *kmsg.ShareGroupDescribeRequest) {
	c.memberships(k, m.GroupIDs, func(byName map[string]*admin.Membership, err error) {
		var indexes []uint64
		for _, d := range byName {
			for i := range d.Members {
				indexes = append(indexes, d.Members[i].Assigned...)
			}
		}
		c.nameIndexes(k, len(indexes), func(i int) uint64 { return indexes[i] }, func(error) {
			resp := kmsg.NewPtrShareGroupDescribeResponse()
			for _, name := range m.GroupIDs {
				g := kmsg.NewShareGroupDescribeResponseGroup()
				g.GroupID, g.ErrorCode = name, codeOf(err)
				if d := byName[name]; d != nil && d.Type == admin.GroupShare {
					c.describeShare(&g, d)
				} else if err == nil {
					g.ErrorCode, g.ErrorMessage = codeGroupNotFound, kmsg.StringPtr("there is no share group of this name")
				}
				resp.Groups = append(resp.Groups, g)
			}
			c.finish(k, resp)
		})
	})
}

// describeShare fills in what is known of a group.
func (c *Conn) describeShare(g *kmsg.ShareGroupDescribeResponseGroup, d *admin.Membership) {
	g.GroupState, g.GroupEpoch, g.AssignmentEpoch, g.Assignor = groupStates[d.State], d.Epoch, d.Epoch, assignorShare
	for i := range d.Members {
		info := &d.Members[i]
		m := kmsg.NewShareGroupDescribeResponseGroupMember()
		m.MemberID, m.MemberEpoch, m.ClientID, m.ClientHost, m.SubscribedTopicNames = info.ID, info.Epoch, info.ClientID, info.ClientHost, info.Topics
		for _, index := range info.Assigned {
			p, ok := c.loop.topics.byIndex[index]
			if !ok {
				continue
			}
			list := &m.Assignment.TopicPartitions
			at := slices.IndexFunc(*list, func(t kmsg.ShareGroupDescribeResponseGroupMemberAssignmentTopicPartition) bool {
				return t.TopicID == p.topic.id
			})
			if at < 0 {
				t := kmsg.NewShareGroupDescribeResponseGroupMemberAssignmentTopicPartition()
				t.TopicID, t.Topic = p.topic.id, p.topic.name
				at, *list = len(*list), append(*list, t)
			}
			(*list)[at].Partitions = append((*list)[at].Partitions, p.number)
		}
		g.Members = append(g.Members, m)
	}
}
