package ipc

// Records of consumer groups from connsrv to logicsrv (ring 12345). A *modern* group is assigned
// its partitions by the broker, over heartbeats (Kafka's KIP-848); in a *classic* one the members
// do that among themselves, in generations.
//
// GroupJoin and GroupSync may be parked: connsrv keeps them until they are answered, and tells
// those without an answer again behind the ResyncEnd with which their loop answers a Marker.
const (
	TypeGroupHeartbeat Type = 50 // GroupHeartbeat: joins, stays in or leaves a modern group
	TypeGroupJoin      Type = 51 // GroupJoin: wants to be in a classic group's next generation
	TypeGroupSync      Type = 52 // GroupSync: asks for its assignment, or brings everybody's
	TypeGroupBeat      Type = 53 // GroupBeat: a member of a classic group is alive
	TypeGroupLeave     Type = 54 // GroupLeave: members of a group go
	TypeGroupCommit    Type = 55 // GroupCommit: CommitOffsets of a member
)

// Records of consumer groups from logicsrv to connsrv (ring 54321).
const (
	TypeGroupAssignment Type = 110 // GroupAssignment: answers GroupHeartbeat
	TypeGroupJoined     Type = 111 // GroupJoined: answers GroupJoin
	TypeGroupSynced     Type = 112 // GroupSynced: answers GroupSync
	TypeGroupAlive      Type = 113 // Done: answers GroupBeat
	TypeGroupLeft       Type = 114 // GroupLeft: answers GroupLeave
)

// Member epochs of a GroupHeartbeat, and of its answer, that are none.
const (
	EpochJoin  = 0  // the member joins, or joins again; it has no partitions
	EpochLeave = -1 // it leaves for good
	EpochAway  = -2 // a static member leaves, and will be back within its session timeout
)

// GroupHeartbeat is all that a member of a modern group says. A member that got no answer, or an
// error, sends a full one next time: with topics and owned partitions.
type GroupHeartbeat struct {
	Head
	Group    string
	Member   string // empty at a join: the broker chooses the id
	Epoch    int32  // what it was told last, or one of the three above
	Instance string // of a static member; empty: a dynamic one
	// TakeOver: a join with an instance id that another member has puts this one in its place, and
	// the other is fenced. Without it the join is refused (errcode.UnreleasedInstanceID).
	TakeOver    bool
	ClientID    string
	ClientHost  string
	SessionMS   int32  // 0: the broker's default at a join, and what it was later
	RebalanceMS int32  // time to give up what it is asked to; 0 as in SessionMS
	Assignor    string // that it prefers; empty: what others prefer
	HasTopics   bool   // Topics is its subscription; otherwise that has not changed
	Topics      []string
	HasOwned    bool // Owned is all that it has; otherwise that has not changed
	Owned       []uint64
}

// GroupAssignment answers GroupHeartbeat.
type GroupAssignment struct {
	Head
	Member      string
	Epoch       int32 // that the next heartbeat bears; EpochLeave or EpochAway: it has left
	HeartbeatMS int32 // time until the next one
	SessionMS   int32 // after so long without one the member is out
	HasTopics   bool  // Topics is all that it shall have; otherwise that has not changed
	Topics      []AssignedTopic
}

// AssignedTopic is what a member is assigned of one topic.
type AssignedTopic struct {
	Topic      string
	UUID       [16]byte
	Partitions []AssignedPartition
}

// AssignedPartition is a partition by its number within the topic and by its index.
type AssignedPartition struct {
	Partition uint32
	Index     uint64
}

// GroupProtocol is one way to share partitions out that a member of a classic group knows, with
// what it has to say about itself. The broker does not look into that.
type GroupProtocol struct {
	Name     string
	Metadata []byte
}

// GroupJoin asks for a place in the next generation of a classic group.
type GroupJoin struct {
	Head
	Group      string
	Member     string // empty: the broker chooses the id
	Instance   string // of a static member
	ClientID   string
	ClientHost string
	// RequireID: without a member id, and dynamic, the member is told one and has to join with
	// that (errcode.MemberIDRequired), so that a join which is repeated makes no second member.
	RequireID    bool
	SessionMS    int32
	RebalanceMS  int32 // 0: as SessionMS
	ProtocolType string
	Protocols    []GroupProtocol // the one that it likes best first
}

// GroupJoined answers GroupJoin once the generation is complete.
type GroupJoined struct {
	Head
	Code           uint16 // errcode.OK, or errcode.MemberIDRequired: only Member means anything then
	Member         string
	Generation     int32
	ProtocolType   string
	Protocol       string // that all members know
	Leader         string // the member that shares the partitions out
	SkipAssignment bool   // to the leader: the assignment of this generation is there already
	Members        []GroupPeer
}

// GroupPeer is what the leader learns of a member.
type GroupPeer struct {
	Member   string
	Instance string
	Metadata []byte // of the protocol that was chosen
}

// GroupSync asks for the member's assignment in a generation; the leader's brings all of them.
type GroupSync struct {
	Head
	Group        string
	Member       string
	Instance     string
	Generation   int32
	ProtocolType string // empty, as Protocol may be: it is not compared
	Protocol     string
	Assignments  []GroupShare
}

// GroupShare is what the leader gives to one member. The broker does not look into it.
type GroupShare struct {
	Member     string
	Assignment []byte
}

// GroupSynced answers GroupSync once the leader's has come.
type GroupSynced struct {
	Head
	ProtocolType string
	Protocol     string
	Assignment   []byte
}

// GroupBeat is the heartbeat of a member of a classic group.
type GroupBeat struct {
	Head
	Group      string
	Member     string
	Instance   string
	Generation int32
}

// GroupLeave ends members of a group. One that names an instance id alone ends the static member
// that has it.
type GroupLeave struct {
	Head
	Group   string
	Members []GroupLeaver
}

// GroupLeaver names a member that goes.
type GroupLeaver struct{ Member, Instance string }

// GroupLeft answers GroupLeave, member by member.
type GroupLeft struct {
	Head
	Codes []uint16 // errcode.Code, in the order of GroupLeave.Members
}

// GroupCommit stores positions of a group for one of its members.
type GroupCommit struct {
	Head
	Group    string
	Member   string
	Instance string
	Epoch    int32 // the member's epoch, or the generation
	Level    Level // LevelUnset: the topic's
	Offsets  []OffsetCommit
}
