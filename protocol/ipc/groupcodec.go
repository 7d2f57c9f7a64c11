package ipc

// Records of consumer groups, in the conventions of codec.go. An optional list is a bool, and the
// list only where that is 1.
//
//	GroupHeartbeat  | head | group string | member string | epoch i32 | instance string | takeOver bool
//	                | clientID string | clientHost string | sessionMS i32 | rebalanceMS i32 | assignor string
//	                | optional list of topic string | optional list of index u64 |
//	GroupAssignment | head | member string | epoch i32 | heartbeatMS i32 | sessionMS i32
//	                | optional list of (topic string | uuid 16 | list of (partition u32 | index u64)) |
//	GroupJoin       | head | group string | member string | instance string | clientID string | clientHost string
//	                | requireID bool | sessionMS i32 | rebalanceMS i32 | protocolType string
//	                | list of (name string | metadata bytes) |
//	GroupJoined     | head | code u16 | member string | generation i32 | protocolType string | protocol string
//	                | leader string | skipAssignment bool | list of (member string | instance string | metadata bytes) |
//	GroupSync       | head | group string | member string | instance string | generation i32
//	                | protocolType string | protocol string | list of (member string | assignment bytes) |
//	GroupSynced     | head | protocolType string | protocol string | assignment bytes |
//	GroupBeat       | head | group string | member string | instance string | generation i32 |
//	GroupLeave      | head | group string | list of (member string | instance string) |
//	GroupLeft       | head | list of code u16 |
//	GroupCommit     | head | group string | member string | instance string | epoch i32 | level u8
//	                | list of (index u64 | offset u64 | metadata string | leader u32) |
//
// Version ladder: 1, as in hot.go.

import "github.com/trimq/trimq/protocol/wire"

// MaxGroupList bounds the lists of one record of a group: topics, partitions, members.
const MaxGroupList = 1 << 20

// readListOf reads a list whose elements take minBytes or more each.
func readListOf[T any](c *wire.Cursor, minBytes int, read func(*wire.Cursor) T) []T {
	n := c.Count(minBytes, MaxGroupList)
	if n == 0 {
		return nil
	}
	out := make([]T, n)
	for i := range out {
		out[i] = read(c)
	}
	return out
}

// appendListOf appends a count and the elements.
func appendListOf[T any](b []byte, list []T, element func([]byte, *T) []byte) []byte {
	b = wire.AppendUvarint(b, uint64(len(list)))
	for i := range list {
		b = element(b, &list[i])
	}
	return b
}

func appendText(b []byte, s *string) []byte      { return wire.AppendString(b, *s) }
func readText(c *wire.Cursor) string             { return c.String() }
func appendIndex(b []byte, index *uint64) []byte { return wire.AppendU64(b, *index) }
func readIndex(c *wire.Cursor) uint64            { return c.U64() }
func appendI32(b []byte, v int32) []byte         { return wire.AppendU32(b, uint32(v)) }

// readLevel reads a level that exists.
func readLevel(c *wire.Cursor) Level {
	l := Level(c.U8())
	if l > LevelQuorum {
		c.Fail(wire.ErrOutOfRange)
	}
	return l
}

func appendTexts(b []byte, texts ...string) []byte {
	for _, s := range texts {
		b = wire.AppendString(b, s)
	}
	return b
}

// Append appends the record.
func (m *GroupHeartbeat) Append(b []byte) []byte {
	b = appendI32(appendTexts(m.append(b), m.Group, m.Member), m.Epoch)
	b = wire.AppendBool(wire.AppendString(b, m.Instance), m.TakeOver)
	b = appendTexts(b, m.ClientID, m.ClientHost)
	b = appendI32(appendI32(b, m.SessionMS), m.RebalanceMS)
	b = wire.AppendBool(wire.AppendString(b, m.Assignor), m.HasTopics)
	if m.HasTopics {
		b = AppendTopicNames(b, m.Topics)
	}
	b = wire.AppendBool(b, m.HasOwned)
	if m.HasOwned {
		b = AppendIndexes(b, m.Owned)
	}
	return b
}

// DecodeGroupHeartbeat reads the record.
func DecodeGroupHeartbeat(b []byte) (GroupHeartbeat, error) {
	c := wire.Read(b)
	m := GroupHeartbeat{
		Head: readHead(&c), Group: c.String(), Member: c.String(), Epoch: c.I32(), Instance: c.String(), TakeOver: c.Bool(),
		ClientID: c.String(), ClientHost: c.String(), SessionMS: c.I32(), RebalanceMS: c.I32(), Assignor: c.String(),
	}
	if m.HasTopics = c.Bool(); m.HasTopics {
		m.Topics = ReadTopicNames(&c)
	}
	if m.HasOwned = c.Bool(); m.HasOwned {
		m.Owned = ReadIndexes(&c)
	}
	return m, done(&c, "group heartbeat")
}

// Append appends the record.
func (m *GroupAssignment) Append(b []byte) []byte {
	b = appendI32(wire.AppendString(m.append(b), m.Member), m.Epoch)
	b = wire.AppendBool(appendI32(appendI32(b, m.HeartbeatMS), m.SessionMS), m.HasTopics)
	if m.HasTopics {
		b = AppendAssignedTopics(b, m.Topics)
	}
	return b
}

// DecodeGroupAssignment reads the record.
func DecodeGroupAssignment(b []byte) (GroupAssignment, error) {
	c := wire.Read(b)
	m := GroupAssignment{Head: readHead(&c), Member: c.String(), Epoch: c.I32(), HeartbeatMS: c.I32(), SessionMS: c.I32(), HasTopics: c.Bool()}
	if m.HasTopics {
		m.Topics = ReadAssignedTopics(&c)
	}
	return m, done(&c, "group assignment")
}

// AppendAssignedTopics appends a list of topics; package native uses it too.
func AppendAssignedTopics(b []byte, topics []AssignedTopic) []byte {
	return appendListOf(b, topics, appendAssignedTopic)
}

// ReadAssignedTopics reads a list of topics.
func ReadAssignedTopics(c *wire.Cursor) []AssignedTopic { return readListOf(c, 18, readAssignedTopic) }

// AppendIndexes appends a list of indexes; package native uses it too.
func AppendIndexes(b []byte, indexes []uint64) []byte { return appendListOf(b, indexes, appendIndex) }

// ReadIndexes reads a list of indexes.
func ReadIndexes(c *wire.Cursor) []uint64 { return readListOf(c, 8, readIndex) }

// AppendTopicNames appends a list of names; package native uses it too.
func AppendTopicNames(b []byte, names []string) []byte { return appendListOf(b, names, appendText) }

// ReadTopicNames reads a list of names.
func ReadTopicNames(c *wire.Cursor) []string { return readListOf(c, 1, readText) }

func appendAssignedTopic(b []byte, t *AssignedTopic) []byte {
	b = append(wire.AppendString(b, t.Topic), t.UUID[:]...)
	return appendListOf(b, t.Partitions, func(b []byte, p *AssignedPartition) []byte {
		return wire.AppendU64(wire.AppendU32(b, p.Partition), p.Index)
	})
}

func readAssignedTopic(c *wire.Cursor) AssignedTopic {
	t := AssignedTopic{Topic: c.String()}
	copy(t.UUID[:], c.Raw(len(t.UUID)))
	t.Partitions = readListOf(c, 12, func(c *wire.Cursor) AssignedPartition { return AssignedPartition{c.U32(), c.U64()} })
	return t
}

// AppendGroupProtocols appends a list of protocols; package journal's events use it too.
func AppendGroupProtocols(b []byte, protocols []GroupProtocol) []byte {
	return appendListOf(b, protocols, func(b []byte, p *GroupProtocol) []byte {
		return wire.AppendBytes(wire.AppendString(b, p.Name), p.Metadata)
	})
}

// ReadGroupProtocols reads a list of protocols; the metadata aliases what is read.
func ReadGroupProtocols(c *wire.Cursor) []GroupProtocol {
	return readListOf(c, 2, func(c *wire.Cursor) GroupProtocol { return GroupProtocol{c.String(), c.Bytes()} })
}

// Append appends the record.
func (m *GroupJoin) Append(b []byte) []byte {
	b = appendTexts(m.append(b), m.Group, m.Member, m.Instance, m.ClientID, m.ClientHost)
	b = appendI32(appendI32(wire.AppendBool(b, m.RequireID), m.SessionMS), m.RebalanceMS)
	return AppendGroupProtocols(wire.AppendString(b, m.ProtocolType), m.Protocols)
}

// DecodeGroupJoin reads the record; the metadata aliases b.
func DecodeGroupJoin(b []byte) (GroupJoin, error) {
	c := wire.Read(b)
	m := GroupJoin{
		Head: readHead(&c), Group: c.String(), Member: c.String(), Instance: c.String(), ClientID: c.String(), ClientHost: c.String(),
		RequireID: c.Bool(), SessionMS: c.I32(), RebalanceMS: c.I32(), ProtocolType: c.String(), Protocols: ReadGroupProtocols(&c),
	}
	return m, done(&c, "group join")
}

// Append appends the record.
func (m *GroupJoined) Append(b []byte) []byte {
	b = appendI32(wire.AppendString(wire.AppendU16(m.append(b), m.Code), m.Member), m.Generation)
	b = wire.AppendBool(appendTexts(b, m.ProtocolType, m.Protocol, m.Leader), m.SkipAssignment)
	return appendListOf(b, m.Members, func(b []byte, p *GroupPeer) []byte {
		return wire.AppendBytes(appendTexts(b, p.Member, p.Instance), p.Metadata)
	})
}

// DecodeGroupJoined reads the record; the metadata aliases b.
func DecodeGroupJoined(b []byte) (GroupJoined, error) {
	c := wire.Read(b)
	m := GroupJoined{
		Head: readHead(&c), Code: c.U16(), Member: c.String(), Generation: c.I32(),
		ProtocolType: c.String(), Protocol: c.String(), Leader: c.String(), SkipAssignment: c.Bool(),
	}
	m.Members = readListOf(&c, 3, func(c *wire.Cursor) GroupPeer { return GroupPeer{c.String(), c.String(), c.Bytes()} })
	return m, done(&c, "group joined")
}

// Append appends the record.
func (m *GroupSync) Append(b []byte) []byte {
	b = appendI32(appendTexts(m.append(b), m.Group, m.Member, m.Instance), m.Generation)
	return appendListOf(appendTexts(b, m.ProtocolType, m.Protocol), m.Assignments, func(b []byte, s *GroupShare) []byte {
		return wire.AppendBytes(wire.AppendString(b, s.Member), s.Assignment)
	})
}

// DecodeGroupSync reads the record; the assignments alias b.
func DecodeGroupSync(b []byte) (GroupSync, error) {
	c := wire.Read(b)
	m := GroupSync{
		Head: readHead(&c), Group: c.String(), Member: c.String(), Instance: c.String(), Generation: c.I32(),
		ProtocolType: c.String(), Protocol: c.String(),
	}
	m.Assignments = readListOf(&c, 2, func(c *wire.Cursor) GroupShare { return GroupShare{c.String(), c.Bytes()} })
	return m, done(&c, "group sync")
}

// Append appends the record.
func (m *GroupSynced) Append(b []byte) []byte {
	return wire.AppendBytes(appendTexts(m.append(b), m.ProtocolType, m.Protocol), m.Assignment)
}

// DecodeGroupSynced reads the record; the assignment aliases b.
func DecodeGroupSynced(b []byte) (GroupSynced, error) {
	c := wire.Read(b)
	m := GroupSynced{readHead(&c), c.String(), c.String(), c.Bytes()}
	return m, done(&c, "group synced")
}

// Append appends the record.
func (m *GroupBeat) Append(b []byte) []byte {
	return appendI32(appendTexts(m.append(b), m.Group, m.Member, m.Instance), m.Generation)
}

// DecodeGroupBeat reads the record.
func DecodeGroupBeat(b []byte) (GroupBeat, error) {
	c := wire.Read(b)
	m := GroupBeat{readHead(&c), c.String(), c.String(), c.String(), c.I32()}
	return m, done(&c, "group beat")
}

// Append appends the record.
func (m *GroupLeave) Append(b []byte) []byte {
	return appendListOf(wire.AppendString(m.append(b), m.Group), m.Members, func(b []byte, l *GroupLeaver) []byte {
		return appendTexts(b, l.Member, l.Instance)
	})
}

// DecodeGroupLeave reads the record.
func DecodeGroupLeave(b []byte) (GroupLeave, error) {
	c := wire.Read(b)
	m := GroupLeave{Head: readHead(&c), Group: c.String()}
	m.Members = readListOf(&c, 2, func(c *wire.Cursor) GroupLeaver { return GroupLeaver{c.String(), c.String()} })
	return m, done(&c, "group leave")
}

// Append appends the record.
func (m *GroupLeft) Append(b []byte) []byte {
	return appendListOf(m.append(b), m.Codes, func(b []byte, code *uint16) []byte { return wire.AppendU16(b, *code) })
}

// DecodeGroupLeft reads the record.
func DecodeGroupLeft(b []byte) (GroupLeft, error) {
	c := wire.Read(b)
	m := GroupLeft{readHead(&c), readListOf(&c, 2, func(c *wire.Cursor) uint16 { return c.U16() })}
	return m, done(&c, "group left")
}

// Append appends the record.
func (m *GroupCommit) Append(b []byte) []byte {
	b = appendI32(appendTexts(m.append(b), m.Group, m.Member, m.Instance), m.Epoch)
	return AppendOffsetCommits(append(b, byte(m.Level)), m.Offsets)
}

// DecodeGroupCommit reads the record.
func DecodeGroupCommit(b []byte) (GroupCommit, error) {
	c := wire.Read(b)
	m := GroupCommit{
		Head: readHead(&c), Group: c.String(), Member: c.String(), Instance: c.String(), Epoch: c.I32(),
		Level: readLevel(&c), Offsets: ReadOffsetCommits(&c),
	}
	return m, done(&c, "group commit")
}
