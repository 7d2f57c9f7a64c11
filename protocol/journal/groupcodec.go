package journal

// Events of consumer groups. ids is a list of indexes in order, as uvarints: the first one, and
// then each one's distance from the one before, which is not 0.
//
//	GroupMember     | group string | replaces string | member string | instance string | clientID string | clientHost string
//	                | sessionMS i32 | rebalanceMS i32 | assignor string | list of topic string |
//	GroupTarget     | group string | epoch i32 | list of ids |
//	GroupAssigned   | group string | member string | epoch i32 | assigned ids | revoking ids |
//	GroupAway       | group string | member string |
//	GroupMemberGone | group string | member string | instance string | why u8 |
//	GroupGeneration | group string | generation i32 | protocolType string | protocol string | leader string | list of member |
//	GroupSynced     | group string | list of assignment bytes |
//	GroupReplaced   | group string | old string | member |
//	GroupDeleted    | group string |
//	OffsetsDeleted  | group string | ids |
//	GroupUnsettled  | group string |
//	ShareMember     as GroupMember
//	GroupConfigured | group string | list of (name string | value string) |
//
//	member          | member string | instance string | clientID string | clientHost string | sessionMS i32 | rebalanceMS i32
//	                | list of (name string | metadata bytes) |
//
// Version ladder: 1 (the entry's).

import (
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/wire"
)

// AppendIDs appends a list of indexes, which is in order; checkpoints have such lists too.
func AppendIDs(b []byte, ids []uint64) []byte {
	b = wire.AppendUvarint(b, uint64(len(ids)))
	last := uint64(0)
	for _, id := range ids {
		b = wire.AppendUvarint(b, id-last)
		last = id
	}
	return b
}

// ReadIDs reads a list of indexes; one out of order is an error.
func ReadIDs(c *wire.Cursor) []uint64 {
	n := c.Count(1, ipc.MaxGroupList)
	if n == 0 {
		return nil
	}
	ids := make([]uint64, n)
	last := uint64(0)
	for i := range ids {
		step := c.Uvarint()
		if i > 0 && (step == 0 || last+step < last) {
			c.Fail(wire.ErrOutOfRange)
		}
		last += step
		ids[i] = last
	}
	return ids
}

func appendStrings(b []byte, texts ...string) []byte {
	for _, s := range texts {
		b = wire.AppendString(b, s)
	}
	return b
}

func appendI32(b []byte, v int32) []byte { return wire.AppendU32(b, uint32(v)) }

// groupEvent begins an event of a group.
func groupEvent(b []byte, typ EventType, pos uint64, texts ...string) []byte {
	return appendStrings(beginEvent(b, typ, pos), texts...)
}

// readGroupEvent begins to read one.
func readGroupEvent(ev Event, typ EventType) (wire.Cursor, error) {
	if err := ev.expect(typ); err != nil {
		return wire.Cursor{}, err
	}
	return wire.Read(ev.Body), nil
}

// Append appends the event.
func (ev *GroupMember) Append(b []byte) []byte { return ev.append(b, EvGroupMember) }

// Append appends the event.
func (ev *ShareMember) Append(b []byte) []byte { return (*GroupMember)(ev).append(b, EvShareMember) }

func (ev *GroupMember) append(b []byte, typ EventType) []byte {
	start := len(b)
	b = groupEvent(b, typ, ev.Pos, ev.Group, ev.Replaces, ev.Member, ev.Instance, ev.ClientID, ev.ClientHost)
	b = wire.AppendString(appendI32(appendI32(b, ev.SessionMS), ev.RebalanceMS), ev.Assignor)
	b = wire.AppendUvarint(b, uint64(len(ev.Topics)))
	return endEvent(appendStrings(b, ev.Topics...), start)
}

// DecodeGroupMember reads the event's body.
func DecodeGroupMember(ev Event) (GroupMember, error) { return readGroupMember(ev, EvGroupMember) }

// DecodeShareMember reads the event's body.
func DecodeShareMember(ev Event) (ShareMember, error) {
	m, err := readGroupMember(ev, EvShareMember)
	return ShareMember(m), err
}

func readGroupMember(ev Event, typ EventType) (GroupMember, error) {
	c, err := readGroupEvent(ev, typ)
	if err != nil {
		return GroupMember{}, err
	}
	m := GroupMember{
		Pos: ev.Pos, Group: c.String(), Replaces: c.String(), Member: c.String(), Instance: c.String(), ClientID: c.String(),
		ClientHost: c.String(), SessionMS: c.I32(), RebalanceMS: c.I32(), Assignor: c.String(),
	}
	if n := c.Count(1, ipc.MaxGroupList); n > 0 {
		m.Topics = make([]string, n)
	}
	for i := range m.Topics {
		m.Topics[i] = c.String()
	}
	return m, eventErr(c.Done("group member"))
}

// Append appends the event.
func (ev *GroupConfigured) Append(b []byte) []byte {
	start := len(b)
	return endEvent(admin.AppendSettings(groupEvent(b, EvGroupConfigured, ev.Pos, ev.Group), ev.Settings), start)
}

// DecodeGroupConfigured reads the event's body.
func DecodeGroupConfigured(ev Event) (GroupConfigured, error) {
	c, err := readGroupEvent(ev, EvGroupConfigured)
	if err != nil {
		return GroupConfigured{}, err
	}
	m := GroupConfigured{Pos: ev.Pos, Group: c.String(), Settings: admin.ReadSettingList(&c)}
	return m, eventErr(c.Done("group configured"))
}

// Append appends the event.
func (ev *GroupTarget) Append(b []byte) []byte {
	start := len(b)
	b = appendI32(groupEvent(b, EvGroupTarget, ev.Pos, ev.Group), ev.Epoch)
	b = wire.AppendUvarint(b, uint64(len(ev.Shares)))
	for _, share := range ev.Shares {
		b = AppendIDs(b, share)
	}
	return endEvent(b, start)
}

// DecodeGroupTarget reads the event's body.
func DecodeGroupTarget(ev Event) (GroupTarget, error) {
	c, err := readGroupEvent(ev, EvGroupTarget)
	if err != nil {
		return GroupTarget{}, err
	}
	t := GroupTarget{Pos: ev.Pos, Group: c.String(), Epoch: c.I32()}
	if n := c.Count(1, ipc.MaxGroupList); n > 0 {
		t.Shares = make([][]uint64, n)
	}
	for i := range t.Shares {
		t.Shares[i] = ReadIDs(&c)
	}
	return t, eventErr(c.Done("group target"))
}

// Append appends the event.
func (ev *GroupAssigned) Append(b []byte) []byte {
	start := len(b)
	b = appendI32(groupEvent(b, EvGroupAssigned, ev.Pos, ev.Group, ev.Member), ev.Epoch)
	return endEvent(AppendIDs(AppendIDs(b, ev.Assigned), ev.Revoking), start)
}

// DecodeGroupAssigned reads the event's body.
func DecodeGroupAssigned(ev Event) (GroupAssigned, error) {
	c, err := readGroupEvent(ev, EvGroupAssigned)
	if err != nil {
		return GroupAssigned{}, err
	}
	a := GroupAssigned{Pos: ev.Pos, Group: c.String(), Member: c.String(), Epoch: c.I32(), Assigned: ReadIDs(&c), Revoking: ReadIDs(&c)}
	return a, eventErr(c.Done("group assigned"))
}

// Append appends the event.
func (ev *GroupAway) Append(b []byte) []byte {
	return endEvent(groupEvent(b, EvGroupAway, ev.Pos, ev.Group, ev.Member), len(b))
}

// DecodeGroupAway reads the event's body.
func DecodeGroupAway(ev Event) (GroupAway, error) {
	c, err := readGroupEvent(ev, EvGroupAway)
	if err != nil {
		return GroupAway{}, err
	}
	a := GroupAway{Pos: ev.Pos, Group: c.String(), Member: c.String()}
	return a, eventErr(c.Done("group away"))
}

// Append appends the event.
func (ev *GroupMemberGone) Append(b []byte) []byte {
	start := len(b)
	b = groupEvent(b, EvGroupMemberGone, ev.Pos, ev.Group, ev.Member, ev.Instance)
	return endEvent(append(b, byte(ev.Why)), start)
}

// DecodeGroupMemberGone reads the event's body.
func DecodeGroupMemberGone(ev Event) (GroupMemberGone, error) {
	c, err := readGroupEvent(ev, EvGroupMemberGone)
	if err != nil {
		return GroupMemberGone{}, err
	}
	g := GroupMemberGone{Pos: ev.Pos, Group: c.String(), Member: c.String(), Instance: c.String(), Why: Reason(c.U8())}
	if g.Why < GoneLeft || g.Why > GoneStubborn {
		c.Fail(wire.ErrOutOfRange)
	}
	return g, eventErr(c.Done("group member gone"))
}

// AppendClassicMember appends a member of a classic group; checkpoints have such members too.
func AppendClassicMember(b []byte, m *GroupClassicMember) []byte {
	b = appendStrings(b, m.Member, m.Instance, m.ClientID, m.ClientHost)
	return ipc.AppendGroupProtocols(appendI32(appendI32(b, m.SessionMS), m.RebalanceMS), m.Protocols)
}

// ReadClassicMember reads one; the metadata of its protocols aliases what is read.
func ReadClassicMember(c *wire.Cursor) GroupClassicMember {
	return GroupClassicMember{
		Member: c.String(), Instance: c.String(), ClientID: c.String(), ClientHost: c.String(),
		SessionMS: c.I32(), RebalanceMS: c.I32(), Protocols: ipc.ReadGroupProtocols(c),
	}
}

// minClassicMember is the size of a member without anything.
const minClassicMember = 13

// Append appends the event.
func (ev *GroupGeneration) Append(b []byte) []byte {
	start := len(b)
	b = appendI32(groupEvent(b, EvGroupGeneration, ev.Pos, ev.Group), ev.Generation)
	b = wire.AppendUvarint(appendStrings(b, ev.ProtocolType, ev.Protocol, ev.Leader), uint64(len(ev.Members)))
	for i := range ev.Members {
		b = AppendClassicMember(b, &ev.Members[i])
	}
	return endEvent(b, start)
}

// DecodeGroupGeneration reads the event's body; the metadata of protocols aliases it.
func DecodeGroupGeneration(ev Event) (GroupGeneration, error) {
	c, err := readGroupEvent(ev, EvGroupGeneration)
	if err != nil {
		return GroupGeneration{}, err
	}
	g := GroupGeneration{Pos: ev.Pos, Group: c.String(), Generation: c.I32(), ProtocolType: c.String(), Protocol: c.String(), Leader: c.String()}
	if n := c.Count(minClassicMember, ipc.MaxGroupList); n > 0 {
		g.Members = make([]GroupClassicMember, n)
	}
	for i := range g.Members {
		g.Members[i] = ReadClassicMember(&c)
	}
	return g, eventErr(c.Done("group generation"))
}

// Append appends the event.
func (ev *GroupSynced) Append(b []byte) []byte {
	start := len(b)
	b = wire.AppendUvarint(groupEvent(b, EvGroupSynced, ev.Pos, ev.Group), uint64(len(ev.Assignments)))
	for _, a := range ev.Assignments {
		b = wire.AppendBytes(b, a)
	}
	return endEvent(b, start)
}

// DecodeGroupSynced reads the event's body; the assignments alias it.
func DecodeGroupSynced(ev Event) (GroupSynced, error) {
	c, err := readGroupEvent(ev, EvGroupSynced)
	if err != nil {
		return GroupSynced{}, err
	}
	s := GroupSynced{Pos: ev.Pos, Group: c.String()}
	if n := c.Count(1, ipc.MaxGroupList); n > 0 {
		s.Assignments = make([][]byte, n)
	}
	for i := range s.Assignments {
		s.Assignments[i] = c.Bytes()
	}
	return s, eventErr(c.Done("group synced"))
}

// Append appends the event.
func (ev *GroupReplaced) Append(b []byte) []byte {
	start := len(b)
	b = groupEvent(b, EvGroupReplaced, ev.Pos, ev.Group, ev.Old)
	return endEvent(AppendClassicMember(b, &ev.Member), start)
}

// DecodeGroupReplaced reads the event's body; the metadata of protocols aliases it.
func DecodeGroupReplaced(ev Event) (GroupReplaced, error) {
	c, err := readGroupEvent(ev, EvGroupReplaced)
	if err != nil {
		return GroupReplaced{}, err
	}
	r := GroupReplaced{Pos: ev.Pos, Group: c.String(), Old: c.String(), Member: ReadClassicMember(&c)}
	return r, eventErr(c.Done("group replaced"))
}

// Append appends the event.
func (ev *GroupDeleted) Append(b []byte) []byte {
	return endEvent(groupEvent(b, EvGroupDeleted, ev.Pos, ev.Group), len(b))
}

// DecodeGroupDeleted reads the event's body.
func DecodeGroupDeleted(ev Event) (GroupDeleted, error) {
	c, err := readGroupEvent(ev, EvGroupDeleted)
	if err != nil {
		return GroupDeleted{}, err
	}
	g := GroupDeleted{Pos: ev.Pos, Group: c.String()}
	return g, eventErr(c.Done("group deleted"))
}

// Append appends the event.
func (ev *GroupUnsettled) Append(b []byte) []byte {
	return endEvent(groupEvent(b, EvGroupUnsettled, ev.Pos, ev.Group), len(b))
}

// DecodeGroupUnsettled reads the event's body.
func DecodeGroupUnsettled(ev Event) (GroupUnsettled, error) {
	c, err := readGroupEvent(ev, EvGroupUnsettled)
	if err != nil {
		return GroupUnsettled{}, err
	}
	g := GroupUnsettled{Pos: ev.Pos, Group: c.String()}
	return g, eventErr(c.Done("group unsettled"))
}

// Append appends the event.
func (ev *OffsetsDeleted) Append(b []byte) []byte {
	return endEvent(AppendIDs(groupEvent(b, EvOffsetsDeleted, ev.Pos, ev.Group), ev.Indexes), len(b))
}

// DecodeOffsetsDeleted reads the event's body.
func DecodeOffsetsDeleted(ev Event) (OffsetsDeleted, error) {
	c, err := readGroupEvent(ev, EvOffsetsDeleted)
	if err != nil {
		return OffsetsDeleted{}, err
	}
	o := OffsetsDeleted{Pos: ev.Pos, Group: c.String(), Indexes: ReadIDs(&c)}
	return o, eventErr(c.Done("offsets deleted"))
}
