package native

import (
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/wire"
)

// GroupHeartbeat is all that a member of a consumer group says: it joins, stays in and leaves with
// it, and tells what it owns. After an error, or where no answer came, the next one is a full one, with
// topics and owned partitions. Kafka's KIP-848 calls it ConsumerGroupHeartbeat.
//
//	| group string | member string | epoch i32 | instance string | takeOver bool | sessionMS i32 | rebalanceMS i32
//	| assignor string | hasTopics bool | topics list of string | hasOwned bool | owned list of index u64 |
//
// A list stands only behind a bool of 1.
type GroupHeartbeat struct {
	Group       string
	Member      string // empty at a join: the broker chooses the id
	Epoch       int32  // what it was told last; ipc.EpochJoin, EpochLeave, EpochAway
	Instance    string // of a static member; empty: a dynamic one
	TakeOver    bool   // at a join: in the place of whoever has the instance id
	SessionMS   int32  // it is out when it has been silent for so long; 0: the broker's choice
	RebalanceMS int32  // time to give up what it is asked to; 0: the broker's choice
	Assignor    string // that it prefers; empty: what others prefer
	HasTopics   bool   // Topics is its subscription; otherwise that has not changed
	Topics      []string
	HasOwned    bool // Owned is all that it has; otherwise that has not changed
	Owned       []uint64
}

// Append encodes the body.
func (m *GroupHeartbeat) Append(b []byte) []byte {
	b = wire.AppendString(wire.AppendString(b, m.Group), m.Member)
	b = wire.AppendBool(wire.AppendString(wire.AppendU32(b, uint32(m.Epoch)), m.Instance), m.TakeOver)
	b = wire.AppendU32(wire.AppendU32(b, uint32(m.SessionMS)), uint32(m.RebalanceMS))
	b = wire.AppendBool(wire.AppendString(b, m.Assignor), m.HasTopics)
	if m.HasTopics {
		b = ipc.AppendTopicNames(b, m.Topics)
	}
	if b = wire.AppendBool(b, m.HasOwned); m.HasOwned {
		b = ipc.AppendIndexes(b, m.Owned)
	}
	return b
}

// DecodeGroupHeartbeat decodes it.
func DecodeGroupHeartbeat(b []byte) (GroupHeartbeat, error) {
	c := wire.Read(b)
	m := GroupHeartbeat{
		Group: c.String(), Member: c.String(), Epoch: c.I32(), Instance: c.String(), TakeOver: c.Bool(),
		SessionMS: c.I32(), RebalanceMS: c.I32(), Assignor: c.String(),
	}
	if m.HasTopics = c.Bool(); m.HasTopics {
		m.Topics = ipc.ReadTopicNames(&c)
	}
	if m.HasOwned = c.Bool(); m.HasOwned {
		m.Owned = ipc.ReadIndexes(&c)
	}
	return m, malformed(c.Done("GROUP_HEARTBEAT"))
}

// GroupAssignment answers GroupHeartbeat.
//
//	| member string | epoch i32 | heartbeatMS i32 | sessionMS i32 | hasTopics bool
//	| topics list of (topic string, uuid 16, list of (partition u32, index u64)) |
type GroupAssignment struct {
	Member      string
	Epoch       int32 // that the next heartbeat bears; EpochLeave or EpochAway: it has left
	HeartbeatMS int32 // time until the next one
	SessionMS   int32 // after so long without one the member is out
	HasTopics   bool  // Topics is all that it shall have; otherwise that has not changed
	Topics      []ipc.AssignedTopic
}

// Append encodes the body.
func (m *GroupAssignment) Append(b []byte) []byte {
	b = wire.AppendU32(wire.AppendString(b, m.Member), uint32(m.Epoch))
	b = wire.AppendU32(wire.AppendU32(b, uint32(m.HeartbeatMS)), uint32(m.SessionMS))
	if b = wire.AppendBool(b, m.HasTopics); m.HasTopics {
		b = ipc.AppendAssignedTopics(b, m.Topics)
	}
	return b
}

// DecodeGroupAssignment decodes it.
func DecodeGroupAssignment(b []byte) (GroupAssignment, error) {
	c := wire.Read(b)
	m := GroupAssignment{Member: c.String(), Epoch: c.I32(), HeartbeatMS: c.I32(), SessionMS: c.I32(), HasTopics: c.Bool()}
	if m.HasTopics {
		m.Topics = ipc.ReadAssignedTopics(&c)
	}
	return m, malformed(c.Done("GROUP_HEARTBEAT response"))
}

// GroupCommit is COMMIT_OFFSETS of a member: refused if it is none any more. Answered by an empty
// body.
//
//	| group string | member string | instance string | epoch i32 | level u8
//	| offsets list of (index u64, offset u64, metadata string) |
type GroupCommit struct {
	Group    string
	Member   string
	Instance string
	Epoch    int32
	Level    ipc.Level // LevelUnset: the topic's
	Offsets  []ipc.OffsetCommit
}

// Append encodes the body.
func (m *GroupCommit) Append(b []byte) []byte {
	b = wire.AppendString(wire.AppendString(wire.AppendString(b, m.Group), m.Member), m.Instance)
	b = append(wire.AppendU32(b, uint32(m.Epoch)), byte(m.Level))
	return ipc.AppendPositions(b, m.Offsets)
}

// DecodeGroupCommit decodes it.
func DecodeGroupCommit(b []byte) (GroupCommit, error) {
	c := wire.Read(b)
	m := GroupCommit{Group: c.String(), Member: c.String(), Instance: c.String(), Epoch: c.I32(), Level: ipc.Level(c.U8())}
	checkLevel(&c, m.Level)
	m.Offsets = ipc.ReadPositions(&c)
	return m, malformed(c.Done("GROUP_COMMIT"))
}
