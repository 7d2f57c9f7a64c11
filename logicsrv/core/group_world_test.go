package core

import (
	"slices"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
)

// Requests of groups, for tests that are no scripts.

// smallGroups makes a group of each kind: a modern one in which a partition is on its way, and a
// classic one that is synced.
func (w *world) smallGroups(h ipc.Head) {
	for _, id := range []string{"a", "b"} {
		w.turn(ipc.TypeGroupHeartbeat, (&ipc.GroupHeartbeat{
			Head: h, Group: "m", Member: id, Instance: "i" + id, ClientID: "c", ClientHost: "/h", HasTopics: true, Topics: []string{"t"},
		}).Append(nil))
	}
	w.turn(ipc.TypeGroupHeartbeat, (&ipc.GroupHeartbeat{Head: h, Group: "m", Member: "a", Instance: "ia", Epoch: 1}).Append(nil))
	out := w.turn(ipc.TypeGroupJoin, (&ipc.GroupJoin{
		Head: h, Group: "classic", Instance: "j", ClientID: "c", ClientHost: "/h", SessionMS: 10_000, RebalanceMS: 20_000,
		ProtocolType: "consumer", Protocols: []ipc.GroupProtocol{{Name: "range", Metadata: []byte("meta")}},
	}).Append(nil))
	j, err := ipc.DecodeGroupJoined(out[len(out)-1].Record)
	if err != nil {
		w.tb.Fatal(err)
	}
	w.turn(ipc.TypeGroupSync, (&ipc.GroupSync{
		Head: h, Group: "classic", Member: j.Member, Generation: 1, Assignments: []ipc.GroupShare{{Member: j.Member, Assignment: []byte("share")}},
	}).Append(nil))
	w.turn(ipc.TypeShareHeartbeat, (&ipc.GroupHeartbeat{
		Head: h, Group: "s", Member: "a", ClientID: "c", ClientHost: "/h", HasTopics: true, Topics: []string{"t"},
	}).Append(nil))
	w.admin(admin.CmdSetGroup, &admin.SetGroup{Group: "s", Set: []admin.Setting{{Name: "share.auto.offset.reset", Value: "earliest"}}})
}

// beat sends a heartbeat in a turn of its own, and returns the answer, or why it was refused.
func (w *world) beat(m *ipc.GroupHeartbeat) (ipc.GroupAssignment, errcode.Code) {
	w.tb.Helper()
	m.Head = ipc.Head{Epoch: 1, Conn: 256, Req: w.pos + 1}
	w.step(ipc.TypeGroupHeartbeat, m.Append(nil))
	_, out := w.end()
	for _, o := range out {
		switch h, _ := ipc.PeekHead(o.Record); {
		case h.Req != m.Req:
		case o.Type == ipc.TypeGroupAssignment:
			a, err := ipc.DecodeGroupAssignment(o.Record)
			if err != nil {
				w.tb.Fatal(err)
			}
			return a, errcode.OK
		case o.Type == ipc.TypeError:
			e, _ := ipc.DecodeError(o.Record)
			return ipc.GroupAssignment{}, errcode.Code(e.Code)
		}
	}
	w.tb.Fatal("a heartbeat is not answered")
	return ipc.GroupAssignment{}, 0
}

// indexesOf lists what an assignment assigns.
func indexesOf(a *ipc.GroupAssignment) (ids []uint64) {
	for _, t := range a.Topics {
		for _, p := range t.Partitions {
			ids = append(ids, p.Index)
		}
	}
	slices.Sort(ids)
	return ids
}
