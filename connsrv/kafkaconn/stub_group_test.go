package kafkaconn

import (
	"slices"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
)

// stubGroups is what the stub knows of groups: it takes in whatever is said, and answers as it was
// told to.
type stubGroups struct {
	parked  [][]byte // joins and syncs that are not answered
	joins   []ipc.GroupJoin
	syncs   []ipc.GroupSync
	beats   []ipc.GroupBeat
	leaves  []ipc.GroupLeave
	hearts  []ipc.GroupHeartbeat
	commits []ipc.GroupCommit
	simple  []ipc.CommitOffsets
	offsets []ipc.OffsetCommit
	deleted []string
	park    bool
	members []admin.Membership
	assign  ipc.GroupAssignment
	promise bool // members are told an id and sent away
	forgets bool // the catalogue is forgotten while positions are read
}

func take1[T any](s *stub, list *[]T, b []byte, decode func([]byte) (T, error)) T {
	m, err := decode(b)
	must(s.tb, err)
	*list = append(*list, m)
	return m
}

func (s *stub) takeGroup(typ ipc.Type, b []byte) {
	g := &s.groups
	if g.park && (typ == ipc.TypeGroupJoin || typ == ipc.TypeGroupSync) {
		g.parked = append(g.parked, b)
		return
	}
	switch typ {
	case ipc.TypeGroupJoin:
		m := take1(s, &g.joins, b, ipc.DecodeGroupJoin)
		r := ipc.GroupJoined{Head: m.Head, Member: "m1"}
		if g.promise {
			r.Code = uint16(errcode.MemberIDRequired)
		} else {
			r.Generation, r.ProtocolType, r.Protocol, r.Leader = 3, m.ProtocolType, m.Protocols[0].Name, "m1"
			r.Members = []ipc.GroupPeer{{Member: "m1", Instance: m.Instance, Metadata: m.Protocols[0].Metadata}, {Member: "m2", Metadata: []byte("x")}}
		}
		s.reply(ipc.TypeGroupJoined, r.Append(nil))
	case ipc.TypeGroupSync:
		m := take1(s, &g.syncs, b, ipc.DecodeGroupSync)
		r := ipc.GroupSynced{Head: m.Head, ProtocolType: m.ProtocolType, Protocol: m.Protocol, Assignment: []byte("all")}
		s.reply(ipc.TypeGroupSynced, r.Append(nil))
	case ipc.TypeGroupBeat:
		m := take1(s, &g.beats, b, ipc.DecodeGroupBeat)
		s.reply(ipc.TypeGroupAlive, (&ipc.Done{Head: m.Head}).Append(nil))
	case ipc.TypeGroupLeave:
		m := take1(s, &g.leaves, b, ipc.DecodeGroupLeave)
		r := ipc.GroupLeft{Head: m.Head, Codes: make([]uint16, len(m.Members))}
		r.Codes[len(r.Codes)-1] = uint16(errcode.UnknownMember)
		s.reply(ipc.TypeGroupLeft, r.Append(nil))
	case ipc.TypeGroupHeartbeat:
		m := take1(s, &g.hearts, b, ipc.DecodeGroupHeartbeat)
		r := g.assign
		r.Head = m.Head
		s.reply(ipc.TypeGroupAssignment, r.Append(nil))
	case ipc.TypeGroupCommit:
		m := take1(s, &g.commits, b, ipc.DecodeGroupCommit)
		s.commit(m.Head, m.Offsets)
	case ipc.TypeCommit:
		m := take1(s, &g.simple, b, ipc.DecodeCommitOffsets)
		s.commit(m.Head, m.Offsets)
	case ipc.TypeOffsets:
		m, err := ipc.DecodeFetchOffsets(b)
		must(s.tb, err)
		if g.forgets {
			s.loop.Marked()
		}
		r := ipc.OffsetList{Head: m.Head}
		for _, o := range g.offsets {
			if len(m.Indexes) == 0 || slices.Contains(m.Indexes, o.Index) {
				r.Offsets = append(r.Offsets, o)
			}
		}
		s.reply(ipc.TypeOffsetList, r.Append(nil))
	default:
		s.takeTxn(typ, b)
	}
}

// commit keeps positions, all of them or none.
func (s *stub) commit(h ipc.Head, offsets []ipc.OffsetCommit) {
	for _, o := range offsets {
		if s.indexes[o.Index] == nil {
			s.refuse(h, errcode.UnknownIndex)
			return
		}
	}
	s.groups.offsets = append(s.groups.offsets, offsets...)
	s.reply(ipc.TypeCommitted, (&ipc.Done{Head: h}).Append(nil))
}

func (s *stub) adminGroup(m *ipc.Admin) {
	switch admin.Command(m.Command) {
	case admin.CmdDeleteGroup:
		ask, err := admin.DecodeDelete(m.Body)
		must(s.tb, err)
		at := slices.IndexFunc(s.groups.members, func(g admin.Membership) bool { return g.Name == ask.Name })
		switch {
		case at < 0:
			s.refuse(m.Head, errcode.NotFound)
		case len(s.groups.members[at].Members) > 0:
			s.refuse(m.Head, errcode.InUse)
		default:
			s.groups.deleted = append(s.groups.deleted, ask.Name)
			s.answer(m, &admin.Created{})
		}
	case admin.CmdDeleteOffsets:
		ask, err := admin.DecodeDeleteOffsets(m.Body)
		must(s.tb, err)
		s.groups.offsets = slices.DeleteFunc(s.groups.offsets, func(o ipc.OffsetCommit) bool { return slices.Contains(ask.Indexes, o.Index) })
		s.answer(m, &admin.Created{})
	default:
		s.tb.Errorf("command %d", m.Command)
	}
}

// describeGroups lists groups, one on a page.
func (s *stub) describeGroups(m *ipc.Admin, ask *admin.Describe) {
	d := admin.Description{Kind: ask.Kind}
	for _, g := range s.groups.members {
		switch {
		case len(ask.Names) > 0 && !slices.Contains(ask.Names, g.Name), ask.After != "" && g.Name <= ask.After:
			continue
		case len(d.Memberships)+len(d.Summaries) > 0:
			d.More = true
			continue
		case ask.Kind == admin.KindMembership:
			d.Memberships = append(d.Memberships, g)
		default:
			d.Summaries = append(d.Summaries, admin.GroupSummary{
				Name: g.Name, Type: g.Type, State: g.State, ProtocolType: g.ProtocolType, Members: uint32(len(g.Members)),
			})
		}
	}
	s.answer(m, &d)
}
