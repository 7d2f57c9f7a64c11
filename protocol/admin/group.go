package admin

import "github.com/trimq/trimq/protocol/ipc"

// Commands of consumer groups; numbers 60 to 69 are theirs.
const (
	CmdDeleteGroup   Command = 60 // Delete: a group without members, with its positions
	CmdResetOffsets  Command = 61 // ResetOffsets
	CmdDeleteOffsets Command = 62 // DeleteOffsets
	CmdSetGroup      Command = 63 // SetGroup
)

// What Describe lists of consumer groups besides their positions.
const (
	KindMembership   Kind = 60 // Membership: members, assignments, lag
	KindGroupSummary Kind = 61 // GroupSummary: a line for each group
	KindGroupConfig  Kind = 62 // GroupConfig: of groups that have settings of their own
)

// ResetOffsets sets positions of a group that has no members, all of them or none.
type ResetOffsets struct {
	Group   string
	Offsets []ipc.OffsetCommit
}

// DeleteOffsets forgets positions of a group; nobody may be subscribed to the topics.
type DeleteOffsets struct {
	Group   string
	Indexes []uint64
}

// SetGroup changes settings of a group, which need not exist yet: those of Set have these values from
// now on, those of Unset the broker's own again.
type SetGroup struct {
	Group string
	Set   []Setting
	Unset []string
}

// Setting is one setting of a group, as text; whoever knows the name knows what it means.
type Setting struct{ Name, Value string }

// GroupConfig is the settings of a group that are not the broker's own, in order of name.
type GroupConfig struct {
	Group    string
	Settings []Setting
}

// Settings of groups that the broker itself looks at.
const (
	SettingSessionMS   = "share.session.timeout.ms"    // of the members of a share group
	SettingHeartbeatMS = "share.heartbeat.interval.ms" // likewise
)

// GroupType is how a group shares partitions out.
type GroupType uint8

const (
	GroupSimple  GroupType = 0 // nobody is a member: positions alone
	GroupModern  GroupType = 1 // the broker assigns
	GroupClassic GroupType = 2 // the members assign
	GroupShare   GroupType = 3 // the members work partitions off together
)

// GroupState is where a group stands.
type GroupState uint8

const (
	GroupEmpty       GroupState = 0 // no members
	GroupPreparing   GroupState = 1 // classic: the next generation gathers
	GroupCompleting  GroupState = 2 // classic: its leader has not brought the assignment yet
	GroupStable      GroupState = 3 // everybody has what it shall have
	GroupReconciling GroupState = 4 // modern: partitions move
)

// Membership describes a group with its members.
type Membership struct {
	Name         string
	Type         GroupType
	State        GroupState
	Epoch        int32  // or the generation
	ProtocolType string // of a classic group
	Protocol     string // likewise; of a modern one its assignor
	Leader       string // of a classic group
	EmptyMS      int64  // since when nobody is a member, in Unix ms; 0: somebody is
	Members      []MemberInfo
	MembersLeft  uint32 // members that did not fit into the reply
	Offsets      []LagInfo
}

// MemberInfo describes a member; what belongs to the other type of group is empty.
type MemberInfo struct {
	ID         string
	Instance   string
	ClientID   string
	ClientHost string
	Epoch      int32
	Topics     []string
	Assigned   []uint64 // indexes that it has
	Target     []uint64 // indexes that it shall have
	Metadata   []byte
	Assignment []byte
}

// LagInfo is a committed position, and the visible end of its index.
type LagInfo struct {
	Index   uint64
	Offset  uint64
	Visible uint64
}

// Lag is how many records lie behind the position; 0 where the position is beyond the end.
func (l *LagInfo) Lag() uint64 { return l.Visible - min(l.Visible, l.Offset) }

// GroupSummary is a line about a group.
type GroupSummary struct {
	Name         string
	Type         GroupType
	State        GroupState
	ProtocolType string
	Members      uint32
}
