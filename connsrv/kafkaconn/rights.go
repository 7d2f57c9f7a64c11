package kafkaconn

import (
	"reflect"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/connsrv/access"
	"github.com/trimq/trimq/protocol/admin"
)

// What the user of a connection may do, where clients log in. Topics, groups and transactional ids are names in the
// vhost of Kafka's clients, to which permissions apply as to queues: write (produce to a topic, use a transactional
// id), read (fetch from a topic, be a member of a group, commit its positions), configure (make, change and delete).
// Who has one of the three sees that it is there. What concerns the broker is for administrators. Rights are looked up
// for each request anew, in the newest table.

// may tells whether the client may do something with what is called so.
func (c *Conn) may(what access.Op, name string) bool {
	if len(c.settings.Mechanisms) == 0 {
		return true
	}
	t := c.settings.Access.Load()
	return t != nil && t.May(c.login.user, admin.DefaultVHost, what, name)
}

// maySee tells whether the client may know that there is something that is called so.
func (c *Conn) maySee(name string) bool {
	return c.may(access.Read, name) || c.may(access.Write, name) || c.may(access.Configure, name)
}

// mayAdminister tells whether the client may do what concerns the broker.
func (c *Conn) mayAdminister() bool {
	if len(c.settings.Mechanisms) == 0 {
		return true
	}
	t := c.settings.Access.Load()
	u := (*access.User)(nil)
	if t != nil {
		u = t.User(c.login.user)
	}
	return u != nil && u.Has("administrator")
}

// forbidden refuses a request that the client may not make as a whole: about a group or a transactional id that it may
// not use, or about the broker. false: it may be carried out, as far as its topics go.
func (c *Conn) forbidden(k *call, req kmsg.Request) bool {
	if len(c.settings.Mechanisms) == 0 {
		return false
	}
	code := c.refusedGroup(req)
	if code == codeNone {
		code = c.refusedTxn(req)
	}
	if code == codeNone && !c.mayAdminister() {
		switch req.(type) {
		case *kmsg.DescribeUserSCRAMCredentialsRequest, *kmsg.AlterUserSCRAMCredentialsRequest, *kmsg.DescribeClientQuotasRequest,
			*kmsg.DescribeACLsRequest, *kmsg.ElectLeadersRequest, *kmsg.AlterPartitionAssignmentsRequest, *kmsg.ListPartitionReassignmentsRequest,
			*kmsg.DescribeLogDirsRequest, *kmsg.UpdateFeaturesRequest, *kmsg.ListConfigResourcesRequest:
			code = codeClusterDenied
		}
	}
	if code == codeNone {
		return false
	}
	c.finish(k, refusal(req, code))
	return true
}

// refusedGroup is why a request about one group cannot be made.
func (c *Conn) refusedGroup(req kmsg.Request) int16 {
	group, what := "", access.Read
	switch m := req.(type) {
	case *kmsg.JoinGroupRequest:
		group = m.Group
	case *kmsg.SyncGroupRequest:
		group = m.Group
	case *kmsg.HeartbeatRequest:
		group = m.Group
	case *kmsg.LeaveGroupRequest:
		group = m.Group
	case *kmsg.OffsetCommitRequest:
		group = m.Group
	case *kmsg.ConsumerGroupHeartbeatRequest:
		group = m.Group
	case *kmsg.ShareGroupHeartbeatRequest:
		group = m.GroupID
	case *kmsg.ShareFetchRequest:
		group = orEmpty(m.GroupID)
	case *kmsg.ShareAcknowledgeRequest:
		group = orEmpty(m.GroupID)
	case *kmsg.AlterShareGroupOffsetsRequest:
		group = m.GroupID
	case *kmsg.TxnOffsetCommitRequest:
		group = m.Group
	case *kmsg.AddOffsetsToTxnRequest:
		group = m.Group
	case *kmsg.OffsetDeleteRequest:
		group, what = m.Group, access.Configure
	case *kmsg.DeleteShareGroupOffsetsRequest:
		group, what = m.GroupID, access.Configure
	default:
		return codeNone
	}
	if !c.may(what, group) {
		return codeGroupDenied
	}
	return codeNone
}

// refusedTxn is why a request about a transactional id cannot be made.
func (c *Conn) refusedTxn(req kmsg.Request) int16 {
	id := ""
	switch m := req.(type) {
	case *kmsg.InitProducerIDRequest:
		if m.TransactionalID == nil {
			return codeNone
		}
		id = *m.TransactionalID
	case *kmsg.AddPartitionsToTxnRequest:
		id = m.TransactionalID
	case *kmsg.AddOffsetsToTxnRequest:
		id = m.TransactionalID
	case *kmsg.EndTxnRequest:
		id = m.TransactionalID
	case *kmsg.TxnOffsetCommitRequest:
		id = m.TransactionalID
	default:
		return codeNone
	}
	if !c.may(access.Write, id) {
		return codeTxnDenied
	}
	return codeNone
}

// refusal is the response that refuses a request as a whole: by its error code, or those of all its partitions.
func refusal(req kmsg.Request, code int16) kmsg.Response {
	switch m := req.(type) {
	case *kmsg.OffsetCommitRequest:
		resp := kmsg.NewPtrOffsetCommitResponse()
		fillCommits(m, resp)
		for i := range resp.Topics {
			for j := range resp.Topics[i].Partitions {
				resp.Topics[i].Partitions[j].ErrorCode = code
			}
		}
		return resp
	case *kmsg.TxnOffsetCommitRequest:
		resp := kmsg.NewPtrTxnOffsetCommitResponse()
		fillHeld(m, resp)
		for i := range resp.Topics {
			for j := range resp.Topics[i].Partitions {
				resp.Topics[i].Partitions[j].ErrorCode = code
			}
		}
		return resp
	case *kmsg.AddPartitionsToTxnRequest:
		return addedAll(m, code)
	case *kmsg.AlterUserSCRAMCredentialsRequest:
		return alteredScram(m, func(string) (int16, string) { return code, "only administrators may do that" })
	}
	resp := req.ResponseKind()
	reflect.ValueOf(resp).Elem().FieldByName("ErrorCode").SetInt(int64(code))
	return resp
}
