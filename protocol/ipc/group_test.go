package ipc

// groupCodecs lists the records of consumer groups.
func groupCodecs() []codec {
	protocols := []GroupProtocol{{"range", []byte("meta")}, {"sticky", nil}}
	const protocolsLayout = "protocols:v name:s metadata:s name:s metadata:s"
	return []codec{
		record("group_heartbeat", headLayout+"group:s member:s epoch:4 instance:s takeOver:1 clientID:s clientHost:s "+
			"sessionMS:4 rebalanceMS:4 assignor:s hasTopics:1 topics:v topic:s topic:s hasOwned:1 owned:v index:8",
			GroupHeartbeat{
				Head: head, Group: "g", Member: "m", Epoch: 5, Instance: "i", TakeOver: true, ClientID: "client", ClientHost: "/10.0.0.1",
				SessionMS: 45_000, RebalanceMS: 60_000, Assignor: "sticky", HasTopics: true, Topics: []string{"a", "b"},
				HasOwned: true, Owned: []uint64{9},
			}, DecodeGroupHeartbeat),
		record("group_heartbeat_short", headLayout+"group:s member:s epoch:4 instance:s takeOver:1 clientID:s clientHost:s "+
			"sessionMS:4 rebalanceMS:4 assignor:s hasTopics:1 hasOwned:1",
			GroupHeartbeat{Head: head, Group: "g", Member: "m", Epoch: EpochLeave}, DecodeGroupHeartbeat),
		record("group_assignment", headLayout+"member:s epoch:4 heartbeatMS:4 sessionMS:4 hasTopics:1 topics:v topic:s uuid:16 "+
			"partitions:v partition:4 index:8 partition:4 index:8",
			GroupAssignment{head, "m", 5, 5000, 45_000, true, []AssignedTopic{
				{"a", [16]byte{1, 15: 16}, []AssignedPartition{{0, 9}, {3, 12}}},
			}}, DecodeGroupAssignment),
		record("group_join", headLayout+"group:s member:s instance:s clientID:s clientHost:s requireID:1 sessionMS:4 rebalanceMS:4 "+
			"protocolType:s "+protocolsLayout,
			GroupJoin{head, "g", "m", "i", "client", "/10.0.0.1", true, 45_000, 60_000, "consumer", protocols}, DecodeGroupJoin),
		record("group_joined", headLayout+"code:2 member:s generation:4 protocolType:s protocol:s leader:s skipAssignment:1 "+
			"members:v member:s instance:s metadata:s",
			GroupJoined{head, 69, "m", 7, "consumer", "range", "m", true, []GroupPeer{{"m", "i", []byte("meta")}}}, DecodeGroupJoined),
		record("group_sync", headLayout+"group:s member:s instance:s generation:4 protocolType:s protocol:s assignments:v member:s assignment:s",
			GroupSync{head, "g", "m", "i", 7, "consumer", "range", []GroupShare{{"m", []byte("share")}}}, DecodeGroupSync),
		record("group_synced", headLayout+"protocolType:s protocol:s assignment:s",
			GroupSynced{head, "consumer", "range", []byte("share")}, DecodeGroupSynced),
		record("group_beat", headLayout+"group:s member:s instance:s generation:4", GroupBeat{head, "g", "m", "i", 7}, DecodeGroupBeat),
		record("group_leave", headLayout+"group:s members:v member:s instance:s",
			GroupLeave{head, "g", []GroupLeaver{{"m", "i"}}}, DecodeGroupLeave),
		record("group_left", headLayout+"codes:v code:2 code:2", GroupLeft{head, []uint16{0, 64}}, DecodeGroupLeft),
		record("group_commit", headLayout+"group:s member:s instance:s epoch:4 level:1 "+offsLayout,
			GroupCommit{head, "g", "m", "i", 5, LevelDisk, commits}, DecodeGroupCommit),
	}
}
