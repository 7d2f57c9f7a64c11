package core

import (
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
	"github.com/trimq/trimq/protocol/wire"
)

// The groups in a checkpoint, in order of name; notation as in snapshot.go, ids as in the
// journal's events (journal.AppendIDs):
//
//	| name str | type u8 | epoch v | emptyMS v | stale bool | list of (index v | offset v | metadata str | leader v) |
//
// and, of a modern or share group, its members in order of id:
//
//	| list of: id str | instance str | clientID str | clientHost str | sessionMS v | rebalanceMS v
//	|          | epoch + 2 v | before v | assignor str | list of topic str | target ids | assigned ids | revoking ids |
//
// of a classic one:
//
//	| protocolType str | protocol str | leader str | synced bool
//	| list of: member as in the journal's GroupGeneration | assignment str, where synced |

// appendGroups encodes groups with their positions and members.
func (c *Core) appendGroups(b []byte) []byte {
	b = wire.AppendUvarint(b, uint64(c.groups.len()))
	for _, g := range c.groups.all {
		b = append(wire.AppendString(b, g.name), byte(g.kind))
		b = wire.AppendUvarint(wire.AppendUvarint(b, uint64(g.epoch)), uint64(g.emptyMS))
		b = wire.AppendUvarint(wire.AppendBool(b, g.stale), uint64(len(g.offsets)))
		for i := range g.offsets {
			o := &g.offsets[i]
			b = wire.AppendUvarint(wire.AppendUvarint(b, o.Index), o.Offset)
			b = wire.AppendUvarint(wire.AppendString(b, o.Metadata), uint64(o.Leader))
		}
		switch g.kind {
		case admin.GroupModern, admin.GroupShare:
			b = appendModern(b, g)
		case admin.GroupClassic:
			b = appendClassic(b, g)
		}
	}
	return b
}

// appendModern encodes the members of a modern group.
func appendModern(b []byte, g *group) []byte {
	b = wire.AppendUvarint(b, uint64(len(g.members)))
	for _, m := range g.members {
		b = wire.AppendString(wire.AppendString(b, m.id), m.instance)
		b = wire.AppendString(wire.AppendString(b, m.clientID), m.clientHost)
		b = wire.AppendUvarint(wire.AppendUvarint(b, uint64(m.sessionMS)), uint64(m.rebalanceMS))
		b = wire.AppendUvarint(wire.AppendUvarint(b, uint64(int64(m.epoch)-ipc.EpochAway)), uint64(m.before))
		b = wire.AppendUvarint(wire.AppendString(b, m.assignor), uint64(len(m.topics)))
		for _, t := range m.topics {
			b = wire.AppendString(b, t)
		}
		b = journal.AppendIDs(journal.AppendIDs(journal.AppendIDs(b, m.target), m.assigned), m.revoking)
	}
	return b
}

// appendClassic encodes the generation of a classic group.
func appendClassic(b []byte, g *group) []byte {
	b = wire.AppendString(wire.AppendString(wire.AppendString(b, g.protocolType), g.protocol), g.leader)
	b = wire.AppendUvarint(wire.AppendBool(b, g.synced), uint64(len(g.members)))
	for _, m := range g.members {
		e := m.introduction()
		b = journal.AppendClassicMember(b, &e)
		if g.synced {
			b = wire.AppendBytes(b, m.assignment)
		}
	}
	return b
}

// introduction is what a member of a classic group has told of itself.
func (m *member) introduction() journal.GroupClassicMember {
	return journal.GroupClassicMember{
		Member: m.id, Instance: m.instance, ClientID: m.clientID, ClientHost: m.clientHost,
		SessionMS: m.sessionMS, RebalanceMS: m.rebalanceMS, Protocols: m.protocols,
	}
}
