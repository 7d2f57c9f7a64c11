package kafkaconn

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
)

// Members of classic groups. A member is no matter of its connection: it lives on without one until
// it has been silent for too long. What a member says about itself and is assigned is passed on
// unseen.

// joinGroup waits for the group's next generation.
func (c *Conn) joinGroup(k *call, m *kmsg.JoinGroupRequest) {
	protocols := make([]ipc.GroupProtocol, len(m.Protocols))
	for i := range m.Protocols {
		protocols[i] = ipc.GroupProtocol{Name: m.Protocols[i].Name, Metadata: m.Protocols[i].Metadata}
	}
	record := ipc.GroupJoin{
		Group: m.Group, Member: m.MemberID, Instance: orEmpty(m.InstanceID), ClientID: k.clientID, ClientHost: c.host(),
		RequireID: m.Version >= 4, SessionMS: m.SessionTimeoutMillis, RebalanceMS: max(0, m.RebalanceTimeoutMillis),
		ProtocolType: m.ProtocolType, Protocols: protocols,
	}
	if m.Version < 1 {
		record.RebalanceMS = 0 // as the session
	}
	c.ask(k, ipc.TypeGroupJoin, func(head ipc.Head, b []byte) []byte {
		record.Head = head
		return record.Append(b)
	}, func(a answer) {
		joined, err := decoded(c, a, ipc.DecodeGroupJoined)
		c.finish(k, joinResponse(m, &joined, err))
	})
}

// joinResponse tells a member of its generation, or why it is in none.
func joinResponse(m *kmsg.JoinGroupRequest, joined *ipc.GroupJoined, err error) *kmsg.JoinGroupResponse {
	resp := kmsg.NewPtrJoinGroupResponse()
	if err == nil && errcode.Code(joined.Code) != errcode.OK {
		err = errcode.New(errcode.Code(joined.Code), "")
	}
	if err != nil {
		resp.ErrorCode, resp.Generation, resp.MemberID = groupCode(m.Group, err), -1, m.MemberID
		if joined.Member != "" {
			resp.MemberID = joined.Member
		}
		if m.Version < 7 {
			resp.Protocol = kmsg.StringPtr("")
		}
		return resp
	}
	resp.Generation, resp.ProtocolType, resp.Protocol = joined.Generation, &joined.ProtocolType, &joined.Protocol
	resp.LeaderID, resp.MemberID = joined.Leader, joined.Member
	resp.SkipAssignment = joined.SkipAssignment && m.Version >= 9
	for i := range joined.Members {
		peer := kmsg.NewJoinGroupResponseMember()
		peer.MemberID, peer.InstanceID, peer.ProtocolMetadata = joined.Members[i].Member, orNull(joined.Members[i].Instance), joined.Members[i].Metadata
		resp.Members = append(resp.Members, peer)
	}
	return resp
}

// syncGroup waits for the member's assignment.
func (c *Conn) syncGroup(k *call, m *kmsg.SyncGroupRequest) {
	shares := make([]ipc.GroupShare, len(m.GroupAssignment))
	for i := range m.GroupAssignment {
		shares[i] = ipc.GroupShare{Member: m.GroupAssignment[i].MemberID, Assignment: m.GroupAssignment[i].MemberAssignment}
	}
	record := ipc.GroupSync{
		Group: m.Group, Member: m.MemberID, Instance: orEmpty(m.InstanceID), Generation: m.Generation,
		ProtocolType: orEmpty(m.ProtocolType), Protocol: orEmpty(m.Protocol), Assignments: shares,
	}
	c.ask(k, ipc.TypeGroupSync, func(head ipc.Head, b []byte) []byte {
		record.Head = head
		return record.Append(b)
	}, func(a answer) {
		synced, err := decoded(c, a, ipc.DecodeGroupSynced)
		resp := kmsg.NewPtrSyncGroupResponse()
		if resp.ErrorCode = groupCode(m.Group, err); err == nil {
			resp.ProtocolType, resp.Protocol, resp.MemberAssignment = orNull(synced.ProtocolType), orNull(synced.Protocol), synced.Assignment
		}
		c.finish(k, resp)
	})
}

// heartbeat says that a member is alive.
func (c *Conn) heartbeat(k *call, m *kmsg.HeartbeatRequest) {
	record := ipc.GroupBeat{Group: m.Group, Member: m.MemberID, Instance: orEmpty(m.InstanceID), Generation: m.Generation}
	c.ask(k, ipc.TypeGroupBeat, func(head ipc.Head, b []byte) []byte {
		record.Head = head
		return record.Append(b)
	}, func(a answer) {
		_, err := decoded(c, a, ipc.DecodeDone)
		resp := kmsg.NewPtrHeartbeatResponse()
		resp.ErrorCode = groupCode(m.Group, err)
		c.finish(k, resp)
	})
}

// leaveGroup ends members of a group.
func (c *Conn) leaveGroup(k *call, m *kmsg.LeaveGroupRequest) {
	record := ipc.GroupLeave{Group: m.Group}
	if m.Version < 3 {
		record.Members = []ipc.GroupLeaver{{Member: m.MemberID}}
	}
	for i := range m.Members {
		record.Members = append(record.Members, ipc.GroupLeaver{Member: m.Members[i].MemberID, Instance: orEmpty(m.Members[i].InstanceID)})
	}
	c.ask(k, ipc.TypeGroupLeave, func(head ipc.Head, b []byte) []byte {
		record.Head = head
		return record.Append(b)
	}, func(a answer) {
		left, err := decoded(c, a, ipc.DecodeGroupLeft)
		resp := kmsg.NewPtrLeaveGroupResponse()
		resp.ErrorCode = groupCode(m.Group, err)
		for i := range left.Codes {
			code := codeOf(errcode.New(errcode.Code(left.Codes[i]), ""))
			if m.Version < 3 {
				resp.ErrorCode = code
				break
			}
			member := kmsg.NewLeaveGroupResponseMember()
			member.MemberID, member.InstanceID, member.ErrorCode = record.Members[i].Member, orNull(record.Members[i].Instance), code
			resp.Members = append(resp.Members, member)
		}
		c.finish(k, resp)
	})
}
