package journal

import (
	"slices"
	"testing"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/wire"
)

// groupEventCodecs lists the events of consumer groups.
func groupEventCodecs() []eventCodec {
	member := GroupClassicMember{"m", "i", "client", "/host", 45_000, 60_000, []ipc.GroupProtocol{{Name: "range", Metadata: []byte("meta")}, {Name: "x"}}}
	const memberLayout = "member:s instance:s clientID:s clientHost:s sessionMS:4 rebalanceMS:4 protocols:v name:s metadata:s name:s metadata:s "
	return []eventCodec{
		event(EvGroupMember, "group_member", "group:s replaces:s member:s instance:s clientID:s clientHost:s sessionMS:4 rebalanceMS:4 "+
			"assignor:s topics:v topic:s topic:s pad:*",
			GroupMember{4096, "g", "old", "m", "i", "client", "/host", 45_000, 60_000, "sticky", []string{"a", "b"}}, DecodeGroupMember),
		event(EvShareMember, "share_member", "group:s replaces:s member:s instance:s clientID:s clientHost:s sessionMS:4 rebalanceMS:4 "+
			"assignor:s topics:v topic:s topic:s pad:*",
			ShareMember{4096, "g", "", "m", "", "client", "/host", 45_000, 0, "", []string{"a", "b"}}, DecodeShareMember),
		event(EvGroupConfigured, "group_configured", "group:s settings:v name:s value:s name:s value:s pad:*",
			GroupConfigured{4096, "g", []admin.Setting{{Name: "a", Value: "1"}, {Name: "b"}}}, DecodeGroupConfigured),
		event(EvGroupTarget, "group_target", "group:s epoch:4 shares:v ids:v id:v step:v ids:v ids:v id:v pad:*",
			GroupTarget{4096, "g", 7, [][]uint64{{9, 300}, nil, {10}}}, DecodeGroupTarget),
		event(EvGroupAssigned, "group_assigned", "group:s member:s epoch:4 assigned:v id:v step:v revoking:v id:v pad:*",
			GroupAssigned{4096, "g", "m", 7, []uint64{9, 12}, []uint64{11}}, DecodeGroupAssigned),
		event(EvGroupAway, "group_away", "group:s member:s pad:4", GroupAway{4096, "g", "m"}, DecodeGroupAway),
		event(EvGroupMemberGone, "group_member_gone", "group:s member:s instance:s why:1 pad:1", GroupMemberGone{4096, "g", "m", "i", GoneSilent}, DecodeGroupMemberGone),
		event(EvGroupGeneration, "group_generation", "group:s generation:4 protocolType:s protocol:s leader:s members:v "+memberLayout+"pad:*",
			GroupGeneration{4096, "g", 3, "consumer", "range", "m", []GroupClassicMember{member}}, DecodeGroupGeneration),
		event(EvGroupSynced, "group_synced", "group:s assignments:v assignment:s assignment:s pad:*",
			GroupSynced{4096, "g", [][]byte{[]byte("share"), nil}}, DecodeGroupSynced),
		event(EvGroupReplaced, "group_replaced", "group:s old:s "+memberLayout+"pad:*", GroupReplaced{4096, "g", "old", member}, DecodeGroupReplaced),
		event(EvGroupDeleted, "group_deleted", "group:s pad:6", GroupDeleted{4096, "g"}, DecodeGroupDeleted),
		event(EvGroupUnsettled, "group_unsettled", "group:s pad:6", GroupUnsettled{4096, "g"}, DecodeGroupUnsettled),
		event(EvOffsetsDeleted, "offsets_deleted", "group:s indexes:v id:v step:v pad:*", OffsetsDeleted{4096, "g", []uint64{9, 300}}, DecodeOffsetsDeleted),
	}
}

// TestIDs: lists of indexes have one form, and no other is read.
func TestIDs(t *testing.T) {
	for _, ids := range [][]uint64{nil, {0}, {0, 1}, {7, 300, 1 << 48}, {1<<64 - 2, 1<<64 - 1}} {
		c := wire.Read(AppendIDs(nil, ids))
		if got := ReadIDs(&c); c.Done("ids") != nil || !slices.Equal(got, ids) {
			t.Errorf("%v reads as %v, %v", ids, got, c.Err())
		}
	}
	for name, b := range map[string][]byte{
		"one twice":          {2, 5, 0},
		"beyond the largest": {2, 5, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1},
		"cut short":          {3, 5, 1},
	} {
		c := wire.Read(b)
		if ReadIDs(&c); c.Done("ids") == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
