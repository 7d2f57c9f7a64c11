package core

import (
	"slices"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// Requests of groups that are read again after a restart, and whose outcome the log holds. What a
// member was told stands in the events, whatever has become of it since.

// groupOutcome is what the known events of an input have done.
type groupOutcome struct {
	member   string                    // whom a heartbeat was about
	assigned *journal.GroupAssigned    // the step that it took
	gone     []journal.GroupMemberGone // who has left
}

// groupEvents reads the known events of the input.
func (c *Core) groupEvents() (o groupOutcome, err error) {
	events := journal.Events(c.in.Known)
	for {
		ev, ok := events.Next()
		if !ok {
			return o, events.Err()
		}
		switch ev.Type {
		case journal.EvGroupMember:
			e, err := journal.DecodeGroupMember(ev)
			if err != nil {
				return o, err
			}
			o.member = e.Member
		case journal.EvShareMember:
			e, err := journal.DecodeShareMember(ev)
			if err != nil {
				return o, err
			}
			o.member = e.Member
		case journal.EvGroupAssigned:
			e, err := journal.DecodeGroupAssigned(ev)
			if err != nil {
				return o, err
			}
			o.assigned = &e
		case journal.EvGroupMemberGone:
			e, err := journal.DecodeGroupMemberGone(ev)
			if err != nil {
				return o, err
			}
			o.gone = append(o.gone, e)
		}
	}
}

// answerGroupAgain words the answer to a request of a group whose outcome is known.
func (c *Core) answerGroupAgain(h ipc.Head) error {
	o, err := c.groupEvents()
	if err != nil {
		return err
	}
	switch c.in.Type {
	case ipc.TypeGroupHeartbeat, ipc.TypeShareHeartbeat:
		m, err := ipc.DecodeGroupHeartbeat(c.in.Payload)
		if err == nil {
			c.answerHeartbeatAgain(&m, &o)
		}
		return err
	case ipc.TypeGroupSync:
		m, err := ipc.DecodeGroupSync(c.in.Payload)
		if err == nil {
			c.answerSyncAgain(&m)
		}
		return err
	case ipc.TypeGroupLeave:
		m, err := ipc.DecodeGroupLeave(c.in.Payload)
		if err == nil {
			c.answerLeft(h, m.Members, o.left)
		}
		return err
	}
	m := ipc.Done{Head: h}
	c.turn.sent(c.pastGate(ipc.LevelDisk), ipc.TypeCommitted, m.Append(c.turn.recs))
	return nil
}

// left tells whether a member that was to leave has.
func (o *groupOutcome) left(l *ipc.GroupLeaver) bool {
	return slices.ContainsFunc(o.gone, func(e journal.GroupMemberGone) bool {
		return e.Member == l.Member || l.Member == "" && l.Instance != "" && e.Instance == l.Instance
	})
}

// answerHeartbeatAgain repeats what a member was told.
func (c *Core) answerHeartbeatAgain(m *ipc.GroupHeartbeat, o *groupOutcome) {
	kind := admin.GroupModern
	if c.in.Type == ipc.TypeShareHeartbeat {
		kind = admin.GroupShare
	}
	reply := ipc.GroupAssignment{
		Head: m.Head, Member: m.Member, Epoch: m.Epoch, HeartbeatMS: c.heartbeatOf(kind, m.Group), SessionMS: c.sessionOf(kind, m.Group, m.SessionMS),
	}
	if o.member != "" {
		reply.Member = o.member
	}
	if m.Epoch >= 0 {
		member := c.groupOf(m.Group).member(reply.Member)
		switch {
		case o.assigned != nil:
			reply.Epoch, reply.HasTopics, reply.Topics = o.assigned.Epoch, true, c.byTopic(o.assigned.Assigned)
		case member != nil:
			reply.Epoch, reply.HasTopics, reply.Topics = member.epoch, true, c.byTopic(member.assigned)
		default:
			c.refuse(m.Head, errcode.UnknownMember, quoted(reply.Member)+" is no member any longer: join anew")
			return
		}
	}
	c.answerAssignment(&reply, c.pastGate(ipc.LevelDisk))
}
