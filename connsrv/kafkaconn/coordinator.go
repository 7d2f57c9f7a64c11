package kafkaconn

import (
	"net"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/protocol/errcode"
)

// Key types of FindCoordinator.
const (
	coordinatorOfGroups = 0
	coordinatorOfTxns   = 1
)

// findCoordinator names the broker that looks after a group, or a transactional id: this one.
func (c *Conn) findCoordinator(k *call, m *kmsg.FindCoordinatorRequest) {
	resp := kmsg.NewPtrFindCoordinatorResponse()
	keys := m.CoordinatorKeys
	if m.Version < 4 {
		keys = []string{m.CoordinatorKey}
	}
	for _, key := range keys {
		found := kmsg.NewFindCoordinatorResponseCoordinator()
		found.Key = key
		if m.CoordinatorType == coordinatorOfGroups || m.CoordinatorType == coordinatorOfTxns {
			at := c.advertised()
			found.NodeID, found.Host, found.Port = nodeID, at.Host, int32(at.Port)
		} else {
			found.NodeID, found.Port, found.ErrorCode = -1, -1, codeInvalidRequest
			found.ErrorMessage = kmsg.StringPtr("only groups and transactional ids have coordinators: what a share group has got done is looked after by the coordinator of the group")
		}
		resp.Coordinators = append(resp.Coordinators, found)
	}
	if m.Version < 4 {
		found := resp.Coordinators[0]
		resp.ErrorCode, resp.ErrorMessage, resp.NodeID, resp.Host, resp.Port = found.ErrorCode, found.ErrorMessage, found.NodeID, found.Host, found.Port
	}
	if m.CoordinatorType != coordinatorOfGroups {
		c.finish(k, resp)
		return
	}
	c.withOffsetsTopic(k, func() { c.finish(k, resp) })
}

// host is the peer's, as descriptions of groups show it.
func (c *Conn) host() string {
	host, _, err := net.SplitHostPort(c.link.Remote())
	if err != nil {
		host = c.link.Remote()
	}
	return "/" + host
}

// groupCode is Kafka's code for an error about a group.
func groupCode(group string, err error) int16 {
	switch {
	case group == "" && is(err, errcode.InvalidArgument):
		return codeInvalidGroupID
	case is(err, errcode.NotFound):
		return codeGroupNotFound
	case is(err, errcode.InUse):
		return codeNonEmptyGroup
	}
	return codeOf(err)
}

// orEmpty is a string that may be left out.
func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// orNull is a string that is left out where it is empty.
func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
