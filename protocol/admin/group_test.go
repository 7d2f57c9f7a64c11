package admin

import (
	"testing"

	"github.com/trimq/trimq/protocol/ipc"
)

// groupCodecs lists the bodies of consumer groups.
func groupCodecs() []codec {
	members := []MemberInfo{
		{"m1", "i", "client", "/host", 7, []string{"a"}, []uint64{9}, []uint64{9, 10}, nil, nil},
		{"m2", "", "client", "/host", 0, nil, nil, nil, []byte("meta"), []byte("share")},
	}
	const described = "kind:1 more:1 missing:v "
	const member = "id:s instance:s clientID:s clientHost:s epoch:4 "
	return []codec{
		body("reset_offsets", "group:s offsets:v index:8 offset:8 metadata:s",
			ResetOffsets{"g", []ipc.OffsetCommit{{Index: 9, Offset: 7, Metadata: "m"}}}, DecodeResetOffsets),
		body("delete_offsets", "group:s indexes:v index:8 index:8", DeleteOffsets{"g", []uint64{9, 10}}, DecodeDeleteOffsets),
		body("set_group", "group:s set:v name:s value:s unset:v name:s", SetGroup{"g", []Setting{{"a", "1"}}, []string{"b"}}, DecodeSetGroup),
		body("description_group_config", described+"groups:v name:s settings:v name:s value:s name:s value:s",
			Description{Kind: KindGroupConfig, Configs: []GroupConfig{{"g", []Setting{{"a", "1"}, {"b", "2"}}}}}, DecodeDescription),
		body("description_membership", described+"groups:v name:s type:1 state:1 epoch:4 protocolType:s protocol:s leader:s emptyMS:8 members:v "+
			member+"topics:v topic:s assigned:v index:8 target:v index:8 index:8 metadata:s assignment:s "+
			member+"topics:v assigned:v target:v metadata:s assignment:s membersLeft:4 offsets:v index:8 offset:8 visible:8",
			Description{Kind: KindMembership, Memberships: []Membership{
				{"g", GroupModern, GroupReconciling, 8, "consumer", "sticky", "m1", 1_700_000_000_123, members, 1, []LagInfo{{9, 5, 12}}},
			}}, DecodeDescription),
		body("description_group_summary", described+"groups:v name:s type:1 state:1 protocolType:s members:4",
			Description{Kind: KindGroupSummary, Summaries: []GroupSummary{{"g", GroupClassic, GroupPreparing, "consumer", 3}}}, DecodeDescription),
	}
}

func TestLag(t *testing.T) {
	for _, k := range []struct {
		l    LagInfo
		want uint64
	}{{LagInfo{1, 5, 12}, 7}, {LagInfo{1, 12, 12}, 0}, {LagInfo{1, 13, 12}, 0}} {
		if got := k.l.Lag(); got != k.want {
			t.Errorf("%+v: %d", k.l, got)
		}
	}
}
