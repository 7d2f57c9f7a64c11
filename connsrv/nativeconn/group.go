package nativeconn

import (
	"net"

	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
)

// Members of consumer groups. A member is no matter of its connection: it lives on without one until it
// has been silent for too long, so nothing is kept of it here. What it says is journaled where it
// changes something; a heartbeat that was in the ring when logicsrv died is answered by the next one.

// groupHeartbeat passes on what a member says, and who it is.
func (c *Conn) groupHeartbeat(h native.Header, body []byte) bool {
	m, err := native.DecodeGroupHeartbeat(body)
	if err != nil {
		c.refuse(h, err)
		return true
	}
	host, _, err := net.SplitHostPort(c.link.Remote())
	if err != nil {
		host = c.link.Remote()
	}
	return c.forward(h, ipc.TypeGroupHeartbeat, func(head ipc.Head, b []byte) []byte {
		record := ipc.GroupHeartbeat{
			Head: head, Group: m.Group, Member: m.Member, Epoch: m.Epoch, Instance: m.Instance, TakeOver: m.TakeOver,
			ClientID: c.client, ClientHost: host, SessionMS: m.SessionMS, RebalanceMS: m.RebalanceMS, Assignor: m.Assignor,
			HasTopics: m.HasTopics, Topics: m.Topics, HasOwned: m.HasOwned, Owned: m.Owned,
		}
		return record.Append(b)
	})
}

// groupCommit stores positions of a group for one of its members.
func (c *Conn) groupCommit(h native.Header, body []byte) bool {
	m, err := native.DecodeGroupCommit(body)
	if err != nil {
		c.refuse(h, err)
		return true
	}
	return c.forward(h, ipc.TypeGroupCommit, func(head ipc.Head, b []byte) []byte {
		record := ipc.GroupCommit{
			Head: head, Group: m.Group, Member: m.Member, Instance: m.Instance, Epoch: m.Epoch, Level: m.Level, Offsets: m.Offsets,
		}
		return record.Append(b)
	})
}

// groupReply answers a heartbeat.
func (c *Conn) groupReply(payload []byte) error {
	m, err := ipc.DecodeGroupAssignment(payload)
	if err == nil {
		c.plain(m.Head, &native.GroupAssignment{
			Member: m.Member, Epoch: m.Epoch, HeartbeatMS: m.HeartbeatMS, SessionMS: m.SessionMS, HasTopics: m.HasTopics, Topics: m.Topics,
		})
	}
	return err
}
