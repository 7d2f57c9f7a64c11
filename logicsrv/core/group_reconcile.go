package core

import (
	"slices"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// How a member of a modern group gets from what it has to what it shall have. A step is taken with
// its own heartbeats alone, and the answer tells it what it has then, so what the broker takes for
// the member's is what the member takes for its own, or what it is about to hear.
//
//	assigned   a b c          the target of epoch 8 is  b c d
//	heartbeat ────► assigned b c, revoking a, epoch 7       told: b c. Nobody else gets a.
//	heartbeat ────► the same, until owned is without a
//	heartbeat, owned b c ─► assigned b c d, epoch 8         told: b c d, if nobody has d any more
//
// b and c, which stay, are assigned at every instant. A partition that another member has not
// given up yet is left out, and comes with a later heartbeat under the same epoch.

// reconcile takes the next step of a member, and tells whether it was one.
func (c *Core) reconcile(g *group, m *member, owned []uint64, known bool) (moved bool) {
	if g.kind == admin.GroupShare {
		return c.giveShare(g, m)
	}
	if m.settled() {
		return false
	}
	if len(m.revoking) > 0 && (!known || meet(owned, m.revoking)) {
		return false // it has not given up what it was asked to
	}
	e := journal.GroupAssigned{Pos: c.in.Pos, Group: g.name, Member: m.id, Epoch: m.epoch}
	e.Assigned = inBoth(m.assigned, m.target)
	e.Revoking = less(m.assigned, m.target)
	if len(e.Revoking) == 0 || known && !meet(owned, e.Revoking) {
		// Nothing to give up, or the member says that it does not even have it.
		e.Revoking = nil
		e.Assigned = joined(e.Assigned, c.gain(g, m))
		e.Epoch = g.epoch
	}
	if e.Epoch == m.epoch && slices.Equal(e.Assigned, m.assigned) && slices.Equal(e.Revoking, m.revoking) {
		return false // it waits for what others have not given up
	}
	c.enact(&e)
	c.urge(m)
	return true
}

// gain lists what a member shall have, has not, and can have.
func (c *Core) gain(g *group, m *member) (out []uint64) {
	for _, id := range m.target {
		if !listed(m.assigned, id) && (g.takable(m, id) || failpoint.Broken("revoke-not-awaited")) {
			out = append(out, id)
		}
	}
	return out
}

// tellAssignment answers a heartbeat from the state; told: with what the member has.
func (c *Core) tellAssignment(h ipc.Head, m *member, told bool) {
	reply := ipc.GroupAssignment{Head: h, Member: m.id, Epoch: m.epoch, HeartbeatMS: c.heartbeatOf(m.group.kind, m.group.name), SessionMS: m.sessionMS, HasTopics: told}
	if told {
		reply.Topics = c.byTopic(m.assigned)
	}
	if !m.settled() {
		reply.HeartbeatMS = min(reply.HeartbeatMS, max(reply.HeartbeatMS/hurry, hurryMS))
	}
	c.answerAssignment(&reply, c.readGate())
}

// A member that gives something up, or waits for something, is asked to come sooner: by a factor,
// but not more often than so many ms.
const (
	hurry   = 10
	hurryMS = 200
)

// answerAssignment answers a heartbeat.
func (c *Core) answerAssignment(reply *ipc.GroupAssignment, g gate) {
	if reply.Req != 0 {
		c.turn.sent(g, ipc.TypeGroupAssignment, reply.Append(c.turn.recs))
	}
}

// byTopic shows partitions under their topics, in order of name and number. Those that have gone
// since are left out.
func (c *Core) byTopic(ids []uint64) []ipc.AssignedTopic {
	at := make(map[string]int)
	var out []ipc.AssignedTopic
	for _, id := range ids {
		ix, ok := c.indexes.get(id)
		if !ok || ix.topic == nil {
			continue
		}
		t := ix.topic
		i, seen := at[t.name]
		if !seen {
			i = len(out)
			at[t.name] = i
			out = append(out, ipc.AssignedTopic{Topic: t.name, UUID: t.uuid})
		}
		out[i].Partitions = append(out[i].Partitions, ipc.AssignedPartition{Partition: t.number(id), Index: id})
	}
	slices.SortFunc(out, func(a, b ipc.AssignedTopic) int {
		if a.Topic < b.Topic {
			return -1
		}
		return 1
	})
	return out
}

// number is that of the topic's partition with this index. REQUIRES: there is one.
func (t *topic) number(id uint64) uint32 {
	i, _ := slices.BinarySearchFunc(t.partitions, id, func(ix *index, id uint64) int {
		switch {
		case ix.id < id:
			return -1
		case ix.id > id:
			return 1
		}
		return 0
	})
	return uint32(i)
}
