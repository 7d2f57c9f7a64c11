package core

import (
	"slices"
	"testing"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
)

// group makes a request of a group: over few groups and members, so that they meet, and with what
// members know most of the time.
func (g *inputs) group(w *world) (ipc.Type, []byte) {
	h := g.head()
	name := g.pick("g1", "g2", "g3")
	in := w.c.groupOf(name)
	id, epoch := g.pick("a", "b", "c", ""), int32(g.IntN(4)-2)
	instance := g.pick("", "", "i")
	if in != nil && len(in.members) > 0 && g.IntN(4) > 0 {
		m := in.members[g.IntN(len(in.members))]
		id, instance, epoch = m.id, m.instance, m.epoch
		if in.kind == admin.GroupClassic {
			epoch = in.epoch
		}
	}
	if g.IntN(3) == 0 {
		return g.shared(h, in, name, id, epoch)
	}
	switch g.IntN(12) {
	case 0, 1, 2, 3, 4:
		m := ipc.GroupHeartbeat{Head: h, Group: name, Member: id, Epoch: epoch, Instance: instance, TakeOver: g.IntN(3) == 0, Assignor: g.pick("", "range", "hash")}
		if m.HasTopics = g.IntN(2) == 0; m.HasTopics {
			m.Topics = [][]string{{"t1"}, {"t2"}, {"t1", "t2"}, nil}[g.IntN(4)]
		}
		if m.HasOwned = g.IntN(2) == 0; m.HasOwned && g.IntN(2) == 0 && in.member(id) != nil {
			m.Owned = in.member(id).assigned
		}
		if g.IntN(6) == 0 {
			m.Epoch = ipc.EpochJoin
		}
		return ipc.TypeGroupHeartbeat, m.Append(nil)
	case 5, 6, 7:
		m := ipc.GroupJoin{
			Head: h, Group: name, Member: id, Instance: instance, RequireID: g.IntN(3) == 0, SessionMS: 10_000, RebalanceMS: int32(g.IntN(3) * 20_000),
			ProtocolType: "consumer", Protocols: []ipc.GroupProtocol{{Name: "range", Metadata: []byte(g.pick("x", "y"))}},
		}
		if g.IntN(3) > 0 && m.Member != "" && in.member(m.Member) == nil {
			m.Member = ""
		}
		return ipc.TypeGroupJoin, m.Append(nil)
	case 8, 9:
		m := ipc.GroupSync{Head: h, Group: name, Member: id, Instance: instance, Generation: epoch, Assignments: []ipc.GroupShare{{Member: id, Assignment: []byte("s")}}}
		return ipc.TypeGroupSync, m.Append(nil)
	case 10:
		if g.IntN(2) == 0 {
			return ipc.TypeGroupBeat, (&ipc.GroupBeat{Head: h, Group: name, Member: id, Instance: instance, Generation: epoch}).Append(nil)
		}
		return ipc.TypeGroupLeave, (&ipc.GroupLeave{Head: h, Group: name, Members: []ipc.GroupLeaver{{Member: id, Instance: instance}, {Instance: "i"}}}).Append(nil)
	}
	commits := []ipc.OffsetCommit{{Index: g.index(), Offset: g.Uint64N(50)}}
	switch g.IntN(5) {
	case 0:
		return ipc.TypeAdmin, (&ipc.Admin{Head: h, Command: uint16(admin.CmdDeleteGroup), Body: (&admin.Delete{Name: name}).Append(nil)}).Append(nil)
	case 1:
		return ipc.TypeAdmin, (&ipc.Admin{Head: h, Command: uint16(admin.CmdResetOffsets), Body: (&admin.ResetOffsets{Group: name, Offsets: commits}).Append(nil)}).Append(nil)
	case 2:
		return ipc.TypeAdmin, (&ipc.Admin{Head: h, Command: uint16(admin.CmdDeleteOffsets), Body: (&admin.DeleteOffsets{Group: name, Indexes: []uint64{g.index(), g.index()}}).Append(nil)}).Append(nil)
	}
	return ipc.TypeGroupCommit, (&ipc.GroupCommit{Head: h, Group: name, Member: id, Instance: instance, Epoch: epoch, Offsets: commits}).Append(nil)
}

// shared makes a request of a share group.
func (g *inputs) shared(h ipc.Head, in *group, name, id string, epoch int32) (ipc.Type, []byte) {
	topic := g.pick("t1", "t2")
	command := func(cmd admin.Command, body interface{ Append([]byte) []byte }) (ipc.Type, []byte) {
		return ipc.TypeAdmin, (&ipc.Admin{Head: h, Command: uint16(cmd), Body: body.Append(nil)}).Append(nil)
	}
	switch g.IntN(8) {
	case 0:
		set := admin.QueueSettings{Durable: g.IntN(6) > 0, Topic: topic, DeliveryLimit: admin.Some(g.Uint64N(3))}
		return command(admin.CmdCreateQueue, &admin.CreateQueue{Name: sharePrefix + name + "/" + topic, QueueSettings: set})
	case 1:
		return command(admin.CmdDeleteQueue, &admin.Delete{Name: sharePrefix + name + "/" + topic})
	case 2:
		return command(admin.CmdDeleteGroup, &admin.Delete{Name: name})
	case 3:
		m := admin.SetGroup{Group: name, Set: []admin.Setting{{Name: g.pick("a", admin.SettingSessionMS), Value: g.pick("x", "2000")}}}
		if g.IntN(2) == 0 {
			m = admin.SetGroup{Group: name, Unset: []string{"a", admin.SettingSessionMS}}
		}
		return command(admin.CmdSetGroup, &m)
	case 4:
		q := g.index()
		m := ipc.PullFrom{Pull: ipc.Pull{Head: h, Queue: q, Max: uint32(1 + g.IntN(4)), Wait: g.IntN(2) == 0, InvisibleMS: 1 + g.Uint64N(graceMS)}, Indexes: []uint64{g.index(), q}}
		return ipc.TypePullFrom, m.Append(nil)
	}
	if in != nil && in.kind != admin.GroupShare && len(in.members) > 0 && g.IntN(3) > 0 {
		epoch = ipc.EpochLeave // or few share groups would come about
		return ipc.TypeGroupHeartbeat, (&ipc.GroupHeartbeat{Head: h, Group: name, Member: id, Epoch: epoch}).Append(nil)
	}
	m := ipc.GroupHeartbeat{Head: h, Group: name, Member: id, Epoch: epoch}
	if m.HasTopics = g.IntN(2) == 0; m.HasTopics {
		m.Topics = [][]string{{"t1"}, {"t2"}, {"t1", "t2"}, nil}[g.IntN(4)]
	}
	if g.IntN(4) == 0 {
		m.Epoch, m.HasTopics = ipc.EpochJoin, true
	}
	return ipc.TypeShareHeartbeat, m.Append(nil)
}

// checkGroups checks the invariants of groups: between what members have and what is derived of it,
// between the generation and those who wait for the next one.
func checkGroups(t testing.TB, c *Core) {
	t.Helper()
	begun := c.begunMS != 0 // before its first turn a term has no timers
	for name, g := range c.groups.all {
		shares := g.kind == admin.GroupShare && c.shares[name] > 0
		if (g.kind == admin.GroupSimple) != (len(g.members) == 0) && !shares || len(g.members)+len(g.offsets)+c.shares[name] == 0 ||
			(g.emptyMS == 0) != (len(g.members) > 0) && len(g.members) > 0 || g.kind != admin.GroupShare && c.shares[name] > 0 {
			t.Fatalf("group %s of kind %d: %d members, %d positions, empty since %d", name, g.kind, len(g.members), len(g.offsets), g.emptyMS)
		}
		owned, meant := 0, 0
		for _, m := range g.members {
			if m.group != g || m.gone || g.holder(m.instance) != nil && g.holder(m.instance) != m || begun && m.session.at == 0 {
				t.Fatalf("group %s, member %s: gone %t, session armed %t", name, m.id, m.gone, m.session.at != 0)
			}
			if meet(m.assigned, m.revoking) || begun && m.patience.at == 0 && len(m.revoking) > 0 {
				t.Fatalf("group %s, member %s: assigned %v, revoking %v, patience armed %t", name, m.id, m.assigned, m.revoking, m.patience.at != 0)
			}
			for _, id := range slices.Concat(m.assigned, m.revoking) {
				if owned++; g.kind == admin.GroupShare {
					owned--
				} else if g.owner[id] != m {
					t.Fatalf("group %s: index %d is assigned to %s, and not its own", name, id, m.id)
				}
			}
			meant += len(m.target)
		}
		if owned != len(g.owner) {
			t.Fatalf("group %s: %d indexes are assigned, %d have owners", name, owned, len(g.owner))
		}
		if g.kind == admin.GroupModern && !g.stale && meant != c.subscribed(g, nil, nil) {
			t.Fatalf("group %s: %d of %d partitions are meant for somebody", name, meant, c.subscribed(g, nil, nil))
		}
		if g.kind == admin.GroupClassic && g.stale && begun && !c.gathers(name) {
			t.Fatalf("group %s is unsettled, and nobody gathers", name)
		}
	}
	parked := map[uint64]int{}
	for name, l := range c.lobbies.all {
		if len(l.byID) != len(l.seats) || l.gathering && (l.untilMS == 0 || l.timer.at == 0) || !l.gathering && len(l.seats) > 0 {
			t.Fatalf("lobby %s: %d seats, %d by id, gathering %t", name, len(l.seats), len(l.byID), l.gathering)
		}
		for _, s := range l.seats {
			parked[s.head.Conn]++
		}
		for _, s := range l.syncs {
			parked[s.head.Conn]++
		}
		for _, p := range l.promised {
			if p.timer.at == 0 || c.groupOf(name).member(p.id) != nil {
				t.Fatalf("lobby %s has promised %s: timer %t", name, p.id, p.timer.at != 0)
			}
		}
	}
	for conn, n := range c.parkedOf {
		if parked[conn] != n {
			t.Fatalf("connection %d: %d requests are parked, %d are counted", conn, parked[conn], n)
		}
		delete(parked, conn)
	}
	if len(parked) > 0 {
		t.Fatalf("parked, and not counted: %v", parked)
	}
}
