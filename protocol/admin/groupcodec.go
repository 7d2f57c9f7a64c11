package admin

// Commands and descriptions of consumer groups, in the conventions of codec.go.
//
//	ResetOffsets    | group string | list of (index u64 | offset u64 | metadata string) |
//	DeleteOffsets   | group string | list of index u64 |
//	SetGroup        | group string | list of setting | list of unset string |
//	setting         | name string | value string |
//
//	membership      | name string | type u8 | state u8 | epoch i32 | protocolType string | protocol string | leader string
//	                | emptyMS i64 | list of member | membersLeft u32 | list of (index u64 | offset u64 | visible u64) |
//	member          | id string | instance string | clientID string | clientHost string | epoch i32 | list of topic string
//	                | assigned list of index u64 | target list of index u64 | metadata bytes | assignment bytes |
//	group summary   | name string | type u8 | state u8 | protocolType string | members u32 |
//	group config    | group string | list of setting |
//
// Version ladder: 1, as in codec.go.

import (
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/wire"
)

// Append appends the encoded body.
func (m *ResetOffsets) Append(b []byte) []byte {
	return ipc.AppendPositions(wire.AppendString(b, m.Group), m.Offsets)
}

// DecodeResetOffsets reads a body.
func DecodeResetOffsets(b []byte) (ResetOffsets, error) {
	c := wire.Read(b)
	m := ResetOffsets{c.String(), ipc.ReadPositions(&c)}
	return m, c.Done("reset offsets")
}

// Append appends the encoded body.
func (m *DeleteOffsets) Append(b []byte) []byte {
	return appendIndexes(wire.AppendString(b, m.Group), m.Indexes)
}

// DecodeDeleteOffsets reads a body.
func DecodeDeleteOffsets(b []byte) (DeleteOffsets, error) {
	c := wire.Read(b)
	m := DeleteOffsets{c.String(), readIndexes(&c)}
	return m, c.Done("delete offsets")
}

// Append appends the encoded body.
func (m *SetGroup) Append(b []byte) []byte {
	return appendNames(AppendSettings(wire.AppendString(b, m.Group), m.Set), m.Unset)
}

// DecodeSetGroup reads a body.
func DecodeSetGroup(b []byte) (SetGroup, error) {
	c := wire.Read(b)
	m := SetGroup{c.String(), ReadSettingList(&c), readNames(&c)}
	return m, c.Done("set group")
}

// AppendSettings appends a list of settings; the journal and the checkpoint have such lists too.
func AppendSettings(b []byte, settings []Setting) []byte {
	b = wire.AppendUvarint(b, uint64(len(settings)))
	for _, s := range settings {
		b = wire.AppendString(wire.AppendString(b, s.Name), s.Value)
	}
	return b
}

// ReadSettingList reads a list of settings.
func ReadSettingList(c *wire.Cursor) []Setting {
	return readList(c, 2, func(c *wire.Cursor) Setting { return Setting{c.String(), c.String()} })
}

func (m *GroupConfig) append(b []byte) []byte {
	return AppendSettings(wire.AppendString(b, m.Group), m.Settings)
}

func readGroupConfig(c *wire.Cursor) GroupConfig { return GroupConfig{c.String(), ReadSettingList(c)} }

func appendIndexes(b []byte, indexes []uint64) []byte {
	b = wire.AppendUvarint(b, uint64(len(indexes)))
	for _, index := range indexes {
		b = wire.AppendU64(b, index)
	}
	return b
}

func readIndexes(c *wire.Cursor) []uint64 {
	n := c.Count(8, MaxElements)
	if n == 0 {
		return nil
	}
	indexes := make([]uint64, n)
	for i := range indexes {
		indexes[i] = c.U64()
	}
	return indexes
}

func (m *Membership) append(b []byte) []byte {
	b = append(wire.AppendString(b, m.Name), byte(m.Type), byte(m.State))
	b = wire.AppendU32(b, uint32(m.Epoch))
	b = wire.AppendString(wire.AppendString(wire.AppendString(b, m.ProtocolType), m.Protocol), m.Leader)
	b = wire.AppendU64(b, uint64(m.EmptyMS))
	b = wire.AppendUvarint(b, uint64(len(m.Members)))
	for i := range m.Members {
		b = m.Members[i].append(b)
	}
	b = wire.AppendUvarint(wire.AppendU32(b, m.MembersLeft), uint64(len(m.Offsets)))
	for i := range m.Offsets {
		o := &m.Offsets[i]
		b = wire.AppendU64(wire.AppendU64(wire.AppendU64(b, o.Index), o.Offset), o.Visible)
	}
	return b
}

func readMembership(c *wire.Cursor) Membership {
	return Membership{
		Name: c.String(), Type: readGroupType(c), State: readGroupState(c), Epoch: c.I32(),
		ProtocolType: c.String(), Protocol: c.String(), Leader: c.String(), EmptyMS: c.I64(),
		Members: readList(c, 13, readMember), MembersLeft: c.U32(),
		Offsets: readList(c, 24, func(c *wire.Cursor) LagInfo { return LagInfo{c.U64(), c.U64(), c.U64()} }),
	}
}

func readGroupType(c *wire.Cursor) GroupType {
	t := GroupType(c.U8())
	if t > GroupShare {
		c.Fail(wire.ErrOutOfRange)
	}
	return t
}

func readGroupState(c *wire.Cursor) GroupState {
	s := GroupState(c.U8())
	if s > GroupReconciling {
		c.Fail(wire.ErrOutOfRange)
	}
	return s
}

func (m *MemberInfo) append(b []byte) []byte {
	b = wire.AppendString(wire.AppendString(b, m.ID), m.Instance)
	b = wire.AppendString(wire.AppendString(b, m.ClientID), m.ClientHost)
	b = appendNames(wire.AppendU32(b, uint32(m.Epoch)), m.Topics)
	b = appendIndexes(appendIndexes(b, m.Assigned), m.Target)
	return wire.AppendBytes(wire.AppendBytes(b, m.Metadata), m.Assignment)
}

// readMember reads a member; metadata and assignment are copies, as strings are.
func readMember(c *wire.Cursor) MemberInfo {
	return MemberInfo{
		ID: c.String(), Instance: c.String(), ClientID: c.String(), ClientHost: c.String(), Epoch: c.I32(),
		Topics: readNames(c), Assigned: readIndexes(c), Target: readIndexes(c),
		Metadata: copied(c.Bytes()), Assignment: copied(c.Bytes()),
	}
}

// copied is a copy of what aliases a body; nothing stays nil.
func copied(b []byte) []byte { return append([]byte(nil), b...) }

func (m *GroupSummary) append(b []byte) []byte {
	b = append(wire.AppendString(b, m.Name), byte(m.Type), byte(m.State))
	return wire.AppendU32(wire.AppendString(b, m.ProtocolType), m.Members)
}

func readGroupSummary(c *wire.Cursor) GroupSummary {
	return GroupSummary{c.String(), readGroupType(c), readGroupState(c), c.String(), c.U32()}
}
