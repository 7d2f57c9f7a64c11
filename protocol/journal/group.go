package journal

import (
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
)

// Events of consumer groups; types 40 to 50, 64 and 65 are theirs.
const (
	EvGroupMember     EventType = 40 // GroupMember
	EvGroupTarget     EventType = 41 // GroupTarget
	EvGroupAssigned   EventType = 42 // GroupAssigned
	EvGroupAway       EventType = 43 // GroupAway
	EvGroupMemberGone EventType = 44 // GroupMemberGone
	EvGroupGeneration EventType = 45 // GroupGeneration
	EvGroupSynced     EventType = 46 // GroupSynced
	EvGroupReplaced   EventType = 47 // GroupReplaced
	EvGroupDeleted    EventType = 48 // GroupDeleted
	EvOffsetsDeleted  EventType = 49 // OffsetsDeleted
	EvGroupUnsettled  EventType = 50 // GroupUnsettled
	EvShareMember     EventType = 64 // ShareMember
	EvGroupConfigured EventType = 65 // GroupConfigured
)

// Of a modern group: GroupMember when somebody joins or changes what it wants, GroupTarget, with a
// new epoch, what everybody shall have from now on, and for each member GroupAssigned when it
// has come a step closer to that.

// GroupMember: this is a member of a modern group, and what it wants; a new one, one that was
// there before, or one in place of the static member Replaces.
type GroupMember struct {
	Pos         uint64
	Group       string
	Replaces    string
	Member      string
	Instance    string
	ClientID    string
	ClientHost  string
	SessionMS   int32
	RebalanceMS int32
	Assignor    string
	Topics      []string // in order
}

// ShareMember is GroupMember of a share group: its members have what they shall have at once, and a
// partition may be several members' at a time.
type ShareMember GroupMember

// GroupConfigured: these settings of a group are so from now on; the group need not exist.
type GroupConfigured struct {
	Pos      uint64
	Group    string
	Settings []admin.Setting // all of them, in order of name; none: the broker's own count
}

// GroupTarget: what each member shall have, in order of the members' ids.
type GroupTarget struct {
	Pos    uint64
	Group  string
	Epoch  int32
	Shares [][]uint64 // each in order
}

// GroupAssigned: what a member has from now on, and what of it it is asked to give up.
type GroupAssigned struct {
	Pos      uint64
	Group    string
	Member   string
	Epoch    int32 // the member's
	Assigned []uint64
	Revoking []uint64 // no longer assigned, but nobody else's before the member has confirmed
}

// GroupAway: a static member has left, and will be back within its session timeout.
type GroupAway struct {
	Pos    uint64
	Group  string
	Member string
}

// Reason says why a member has gone.
type Reason uint8

const (
	GoneLeft     Reason = 1 // it left
	GoneSilent   Reason = 2 // its session timed out
	GoneStubborn Reason = 3 // it did not give up its partitions in time
)

// GroupMemberGone: this is no member any longer.
type GroupMemberGone struct {
	Pos      uint64
	Group    string
	Member   string
	Instance string
	Why      Reason
}

// Of a classic group: GroupUnsettled when a rebalance begins, GroupGeneration when it has gathered
// all members, GroupSynced when the leader has brought the assignment.

// GroupUnsettled: the members of this generation have to join another one.
type GroupUnsettled struct {
	Pos   uint64
	Group string
}

// GroupClassicMember is a member of a classic group.
type GroupClassicMember struct {
	Member      string
	Instance    string
	ClientID    string
	ClientHost  string
	SessionMS   int32
	RebalanceMS int32
	Protocols   []ipc.GroupProtocol
}

// GroupGeneration: these are the members from now on; none: the group is empty.
type GroupGeneration struct {
	Pos          uint64
	Group        string
	Generation   int32
	ProtocolType string
	Protocol     string
	Leader       string
	Members      []GroupClassicMember // in order of their ids
}

// GroupSynced: what the leader gave to each member, in order of the members' ids.
type GroupSynced struct {
	Pos         uint64
	Group       string
	Assignments [][]byte
}

// GroupReplaced: a static member came back with another id, and keeps its assignment.
type GroupReplaced struct {
	Pos    uint64
	Group  string
	Old    string
	Member GroupClassicMember
}

// GroupDeleted: a group without members is gone, with its positions.
type GroupDeleted struct {
	Pos   uint64
	Group string
}

// OffsetsDeleted: positions of a group are forgotten.
type OffsetsDeleted struct {
	Pos     uint64
	Group   string
	Indexes []uint64 // in order
}
