package nativeconn

import (
	"reflect"
	"testing"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
)

// A heartbeat says who the member is, and its answer comes back whole.
func TestGroupHeartbeat(t *testing.T) {
	p := newPlay(t)
	said := native.GroupHeartbeat{
		Group: "g", Member: "m", Epoch: 3, Instance: "i", TakeOver: true, SessionMS: 9000, RebalanceMS: 8000, Assignor: "range",
		HasTopics: true, Topics: []string{"t"}, HasOwned: true, Owned: []uint64{7},
	}
	p.ask(native.CmdGroupHeartbeat, &said)
	m := one(p, ipc.TypeGroupHeartbeat, ipc.DecodeGroupHeartbeat)
	want := ipc.GroupHeartbeat{
		Head: m.Head, Group: "g", Member: "m", Epoch: 3, Instance: "i", TakeOver: true, ClientID: p.conn.client, ClientHost: "test",
		SessionMS: 9000, RebalanceMS: 8000, Assignor: "range", HasTopics: true, Topics: []string{"t"}, HasOwned: true, Owned: []uint64{7},
	}
	if !reflect.DeepEqual(m, want) {
		t.Errorf("%+v", m)
	}
	topics := []ipc.AssignedTopic{{Topic: "t", UUID: [16]byte{1}, Partitions: []ipc.AssignedPartition{{Partition: 2, Index: 9}}}}
	p.reply(ipc.TypeGroupAssignment, &ipc.GroupAssignment{Head: m.Head, Member: "m", Epoch: 4, HeartbeatMS: 5000, SessionMS: 9000, HasTopics: true, Topics: topics})
	r, err := native.DecodeGroupAssignment(p.frame(native.CmdGroupHeartbeat).Body)
	if err != nil || !reflect.DeepEqual(r, native.GroupAssignment{Member: "m", Epoch: 4, HeartbeatMS: 5000, SessionMS: 9000, HasTopics: true, Topics: topics}) {
		t.Errorf("%+v %v", r, err)
	}
}

func TestGroupCommit(t *testing.T) {
	p := newPlay(t)
	said := native.GroupCommit{Group: "g", Member: "m", Instance: "i", Epoch: 3, Level: ipc.LevelPage, Offsets: []ipc.OffsetCommit{{Index: 7, Offset: 8, Metadata: "x"}}}
	p.ask(native.CmdGroupCommit, &said)
	m := one(p, ipc.TypeGroupCommit, ipc.DecodeGroupCommit)
	if want := (ipc.GroupCommit{Head: m.Head, Group: "g", Member: "m", Instance: "i", Epoch: 3, Level: ipc.LevelPage, Offsets: said.Offsets}); !reflect.DeepEqual(m, want) {
		t.Errorf("%+v", m)
	}
	p.reply(ipc.TypeError, &ipc.Error{Head: m.Head, Code: uint16(errcode.StaleMemberEpoch), Text: "later"})
	if e, err := native.DecodeErrorBody(p.frame(native.CmdGroupCommit).Body); err != nil || e.Code != errcode.StaleMemberEpoch {
		t.Errorf("%+v %v", e, err)
	}
	p.ask(native.CmdGroupCommit, &said)
	m = one(p, ipc.TypeGroupCommit, ipc.DecodeGroupCommit)
	p.reply(ipc.TypeCommitted, &ipc.Done{Head: m.Head})
	if f := p.frame(native.CmdGroupCommit); len(f.Body) != 0 || f.Flags&native.FlagError != 0 {
		t.Errorf("%+v", f)
	}
}

// The lists of a heartbeat cannot be larger than what logicsrv can take.
func TestGroupHeartbeatTooLarge(t *testing.T) {
	p := newPlay(t)
	p.conn.lane.MaxRecord = 4096
	p.ask(native.CmdGroupHeartbeat, &native.GroupHeartbeat{Group: "g", HasOwned: true, Owned: make([]uint64, 1000)})
	if e, err := native.DecodeErrorBody(p.frame(native.CmdGroupHeartbeat).Body); err != nil || e.Code != errcode.LimitExceeded {
		t.Errorf("%+v %v", e, err)
	}
}
