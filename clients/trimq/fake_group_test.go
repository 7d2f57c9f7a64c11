package trimq

import (
	"slices"
	"time"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
)

// The fake's groups: members under docs/queues.md and docs/formats/native.md, in so far as the
// client can tell the difference. It checks what a client must never do: to commit for what is
// another member's, and to set a position back.

const (
	fakeBeat      = 20 * time.Millisecond
	fakeSession   = 30 * time.Second
	fakeRebalance = 30 * time.Second
	// fakeMercy is how much later than its session ends a member is out: a test that compares
	// what a member has just read with what it may read must not be as quick as that.
	fakeMercy = 500 * time.Millisecond
)

type fakeGroup struct {
	name    string
	epoch   int32
	members []*fakeMember
	turn    int             // shifts assignments, so that more moves than must
	kicked  map[string]bool // put out for no reason, and not yet back
	log     []string        // what has become of members
	rewinds bool            // a test sets positions back on purpose
}

type fakeMember struct {
	id, instance       string
	epoch, before      int32
	topics             []string
	target             []uint64
	assigned, revoking []uint64
	session, rebalance time.Duration
	heard, urged       time.Time
}

// group finds a group, or makes it. REQUIRES: f.mu held.
func (f *fake) group(name string) *fakeGroup {
	g := f.groups[name]
	if g == nil {
		g = &fakeGroup{name: name, kicked: map[string]bool{}}
		if f.groups[name] = g; len(f.groups) == 1 {
			f.done.Add(1)
			go f.watchGroups()
		}
	}
	return g
}

// watchGroups puts out the silent and the stubborn.
func (f *fake) watchGroups() {
	defer f.done.Done()
	for {
		select {
		case <-time.After(2 * time.Millisecond):
		case <-f.closing:
			return
		}
		f.mu.Lock()
		now := time.Now()
		for _, g := range f.groups {
			for _, m := range slices.Clone(g.members) {
				silent := now.Sub(m.heard) > m.session+fakeMercy
				if silent || len(m.revoking) > 0 && now.Sub(m.urged) > m.rebalance+fakeMercy {
					f.expel(g, m, "expelled")
				}
			}
		}
		f.mu.Unlock()
	}
}

func (f *fake) expel(g *fakeGroup, m *fakeMember, why string) {
	g.members = slices.DeleteFunc(g.members, func(x *fakeMember) bool { return x == m })
	g.log = append(g.log, why+" "+m.id)
	f.retarget(g)
}

func (g *fakeGroup) member(id string) *fakeMember {
	for _, m := range g.members {
		if m.id == id {
			return m
		}
	}
	return nil
}

// owner is who has an index, or has not confirmed yet that it has given it up.
func (g *fakeGroup) owner(index uint64) *fakeMember {
	for _, m := range g.members {
		if slices.Contains(m.assigned, index) || slices.Contains(m.revoking, index) {
			return m
		}
	}
	return nil
}

// retarget shares the partitions out: what a member was to have it keeps, up to its share; with
// turn, everything moves on.
func (f *fake) retarget(g *fakeGroup) {
	g.epoch++
	if len(g.members) == 0 {
		return
	}
	var all []uint64
	for _, name := range keys(f.topics) {
		if slices.ContainsFunc(g.members, func(m *fakeMember) bool { return slices.Contains(m.topics, name) }) {
			for _, p := range f.topics[name].Partitions {
				all = append(all, p.Index)
			}
		}
	}
	most := (len(all) + len(g.members) - 1) / len(g.members)
	free := slices.Clone(all)
	for _, m := range g.members {
		kept := m.target[:0:0]
		for _, id := range m.target {
			if g.turn == 0 && len(kept) < most && slices.Contains(free, id) {
				kept = append(kept, id)
				free = slices.DeleteFunc(free, func(x uint64) bool { return x == id })
			}
		}
		m.target = kept
	}
	for i, id := range free {
		at := (i + g.turn) % len(g.members)
		for len(g.members[at].target) >= most {
			at = (at + 1) % len(g.members)
		}
		m := g.members[at]
		m.target = append(m.target, id)
		slices.Sort(m.target)
	}
}

// heartbeat answers GROUP_HEARTBEAT.
func (f *fake) heartbeat(body []byte) ([]byte, error) {
	h, err := native.DecodeGroupHeartbeat(body)
	if err != nil {
		return nil, err
	}
	g := f.group(h.Group)
	m := g.member(h.Member)
	if h.Epoch == ipc.EpochJoin {
		if m, err = f.join(g, m, &h); err != nil {
			return nil, err
		}
		f.reconcile(g, m, nil, true)
		return f.assignment(m, true)
	}
	for _, x := range g.members {
		if h.Instance != "" && x.instance == h.Instance && x.id != h.Member {
			return nil, errcode.New(errcode.FencedInstanceID, "%s", h.Instance)
		}
	}
	if m == nil {
		return nil, errcode.New(errcode.UnknownMember, "%q is no member of group %q", h.Member, h.Group)
	}
	if h.Epoch < 0 {
		return f.leaveGroup(g, m, &h)
	}
	lost := h.Epoch == m.before && h.HasOwned && !slices.ContainsFunc(h.Owned, func(id uint64) bool { return !slices.Contains(m.assigned, id) })
	if h.Epoch != m.epoch && !lost {
		return nil, errcode.New(errcode.FencedMemberEpoch, "epoch %d, not %d", m.epoch, h.Epoch)
	}
	m.heard = time.Now()
	if h.Epoch != m.epoch {
		return f.assignment(m, true)
	}
	if h.HasTopics && !slices.Equal(h.Topics, m.topics) {
		m.topics = h.Topics
		f.retarget(g)
	}
	for _, id := range h.Owned {
		if g.owner(id) != m {
			f.t.Errorf("%s says that it owns %d, which is not its own", m.id, id)
		}
	}
	moved := f.reconcile(g, m, h.Owned, h.HasOwned)
	return f.assignment(m, moved || h.HasTopics && h.HasOwned)
}

// join takes a member in, or lets one begin again.
func (f *fake) join(g *fakeGroup, m *fakeMember, h *native.GroupHeartbeat) (*fakeMember, error) {
	if !h.HasTopics || len(h.Owned) > 0 || h.Member == "" {
		return nil, errcode.New(errcode.InvalidArgument, "a join of %q with %v and %v", h.Member, h.Topics, h.Owned)
	}
	if h.Assignor == "bogus" {
		return nil, errcode.New(errcode.UnsupportedAssignor, "bogus; there is sticky")
	}
	delete(g.kicked, h.Member)
	fresh := &fakeMember{
		id: h.Member, instance: h.Instance, topics: h.Topics, heard: time.Now(), urged: time.Now(),
		session: fakeSession, rebalance: fakeRebalance,
	}
	if h.SessionMS > 0 {
		fresh.session = time.Duration(h.SessionMS) * time.Millisecond
	}
	if h.RebalanceMS > 0 {
		fresh.rebalance = time.Duration(h.RebalanceMS) * time.Millisecond
	}
	holder := slices.IndexFunc(g.members, func(x *fakeMember) bool { return h.Instance != "" && x.instance == h.Instance && x != m })
	switch {
	case holder >= 0 && g.members[holder].epoch != ipc.EpochAway && !h.TakeOver:
		return nil, errcode.New(errcode.UnreleasedInstanceID, "instance id %q is that of member %q, which has not left", h.Instance, g.members[holder].id)
	case holder >= 0:
		old := g.members[holder]
		fresh.target, fresh.assigned = old.target, old.assigned
		g.members[holder] = fresh
		g.log = append(g.log, "replaced "+old.id)
		return fresh, nil
	case m != nil:
		m.heard = time.Now()
		return m, nil
	}
	g.members = append(g.members, fresh)
	f.retarget(g)
	return fresh, nil
}

func (f *fake) leaveGroup(g *fakeGroup, m *fakeMember, h *native.GroupHeartbeat) ([]byte, error) {
	switch {
	case h.Epoch == ipc.EpochAway && m.instance == "":
		return nil, errcode.New(errcode.InvalidArgument, "%q is not static", m.id)
	case h.Epoch == ipc.EpochAway:
		m.epoch, m.before, m.heard = ipc.EpochAway, 0, time.Now()
		m.assigned, m.revoking = append(m.assigned, m.revoking...), nil
		g.log = append(g.log, "away "+m.id)
	default:
		f.expel(g, m, "left")
	}
	return reply(&native.GroupAssignment{Member: h.Member, Epoch: h.Epoch}, nil)
}

// reconcile takes a member's next step.
func (f *fake) reconcile(g *fakeGroup, m *fakeMember, owned []uint64, known bool) bool {
	meets := func(ids []uint64) bool {
		return slices.ContainsFunc(ids, func(id uint64) bool { return slices.Contains(owned, id) })
	}
	if m.epoch == g.epoch && len(m.revoking) == 0 && slices.Equal(m.assigned, m.target) || len(m.revoking) > 0 && (!known || meets(m.revoking)) {
		return false
	}
	was := slices.Clone(m.assigned)
	stays := func(id uint64) bool { return slices.Contains(m.target, id) }
	var keep, give []uint64
	for _, id := range m.assigned {
		if stays(id) {
			keep = append(keep, id)
		} else {
			give = append(give, id)
		}
	}
	epoch := m.epoch
	if len(give) > 0 && !(known && !meets(give)) {
		m.assigned, m.revoking, m.urged = keep, give, time.Now()
		return true
	}
	m.assigned, m.revoking = keep, nil
	for _, id := range m.target {
		if g.owner(id) == nil {
			m.assigned = append(m.assigned, id)
		}
	}
	slices.Sort(m.assigned)
	if epoch != g.epoch {
		m.before, m.epoch = max(m.epoch, 0), g.epoch
	}
	return epoch != m.epoch || !slices.Equal(was, m.assigned)
}

func (f *fake) assignment(m *fakeMember, all bool) ([]byte, error) {
	r := native.GroupAssignment{Member: m.id, Epoch: m.epoch, HeartbeatMS: int32(fakeBeat.Milliseconds()), SessionMS: int32(m.session.Milliseconds()), HasTopics: all}
	for _, name := range keys(f.topics) {
		t := ipc.AssignedTopic{Topic: name, UUID: f.topics[name].UUID}
		for n, p := range f.topics[name].Partitions {
			if all && slices.Contains(m.assigned, p.Index) {
				t.Partitions = append(t.Partitions, ipc.AssignedPartition{Partition: uint32(n), Index: p.Index})
			}
		}
		if len(t.Partitions) > 0 {
			r.Topics = append(r.Topics, t)
		}
	}
	return reply(&r, nil)
}

// groupCommit answers GROUP_COMMIT.
func (f *fake) groupCommit(body []byte) ([]byte, error) {
	c, err := native.DecodeGroupCommit(body)
	if err != nil {
		return nil, err
	}
	g := f.group(c.Group)
	m := g.member(c.Member)
	switch {
	case m == nil:
		return nil, errcode.New(errcode.UnknownMember, "%q is no member of group %q", c.Member, c.Group)
	case m.epoch != c.Epoch:
		return nil, errcode.New(errcode.StaleMemberEpoch, "epoch %d, not %d", m.epoch, c.Epoch)
	}
	if f.offsets[c.Group] == nil {
		f.offsets[c.Group] = map[uint64]ipc.OffsetCommit{}
	}
	for _, o := range c.Offsets {
		if g.owner(o.Index) != m {
			f.t.Errorf("%s commits %d, which is not its own", m.id, o.Index)
		}
		if old := f.offsets[c.Group][o.Index]; old.Offset > o.Offset && !g.rewinds {
			f.t.Errorf("%s sets index %d back from %d to %d", m.id, o.Index, old.Offset, o.Offset)
		}
		f.offsets[c.Group][o.Index] = o
	}
	return nil, nil
}

// governGroup answers commands about groups.
func (f *fake) governGroup(cmd native.Command, body []byte) ([]byte, error) {
	switch cmd {
	case native.CmdDeleteGroup:
		m, err := admin.DecodeDelete(body)
		if err != nil {
			return nil, err
		}
		if f.offsets[m.Name] == nil {
			return nil, errcode.New(errcode.NotFound, "there is no group %q", m.Name)
		}
		if err := f.withoutMembers(m.Name); err != nil {
			return nil, err
		}
		delete(f.offsets, m.Name)
	case native.CmdResetOffsets:
		m, err := admin.DecodeResetOffsets(body)
		if err != nil {
			return nil, err
		}
		if err := f.withoutMembers(m.Group); err != nil {
			return nil, err
		}
		if f.offsets[m.Group] == nil {
			f.offsets[m.Group] = map[uint64]ipc.OffsetCommit{}
		}
		for _, o := range m.Offsets {
			f.offsets[m.Group][o.Index] = o
		}
	case native.CmdDeleteOffsets:
		m, err := admin.DecodeDeleteOffsets(body)
		if err != nil {
			return nil, err
		}
		for _, index := range m.Indexes {
			delete(f.offsets[m.Group], index)
		}
	}
	return nil, nil
}

func (f *fake) withoutMembers(name string) error {
	if n := len(f.group(name).members); n > 0 {
		return errcode.New(errcode.InUse, "group %q has %d members; stop them first", name, n)
	}
	return nil
}

// groupNames lists the groups that have members or positions.
func (f *fake) groupNames() []string {
	there := map[string]bool{}
	for name := range f.offsets {
		there[name] = true
	}
	for name, g := range f.groups {
		there[name] = there[name] || len(g.members) > 0
		if !there[name] {
			delete(there, name)
		}
	}
	return keys(there)
}

// describeGroup describes a group in the way that is asked for.
func (f *fake) describeGroup(kind admin.Kind, name string, d *admin.Description) {
	g := f.group(name)
	at := f.offsets[name]
	info := admin.Membership{Name: name, Epoch: g.epoch, State: admin.GroupStable, Type: admin.GroupModern, Protocol: "sticky"}
	if len(g.members) == 0 {
		info.State, info.Type, info.EmptyMS = admin.GroupEmpty, admin.GroupSimple, 1
	}
	for _, m := range g.members {
		info.Members = append(info.Members, admin.MemberInfo{ID: m.id, Instance: m.instance, Epoch: m.epoch, Topics: m.topics, Assigned: m.assigned, Target: m.target})
	}
	var offsets []ipc.OffsetCommit
	for _, o := range at {
		offsets = append(offsets, o)
	}
	slices.SortFunc(offsets, func(a, b ipc.OffsetCommit) int { return int(a.Index) - int(b.Index) })
	for _, o := range offsets {
		info.Offsets = append(info.Offsets, admin.LagInfo{Index: o.Index, Offset: o.Offset, Visible: f.indexes[o.Index].next})
	}
	switch kind {
	case admin.KindGroup:
		d.Groups = append(d.Groups, admin.GroupInfo{Name: name, Offsets: offsets})
	case admin.KindMembership:
		d.Memberships = append(d.Memberships, info)
	case admin.KindGroupSummary:
		d.Summaries = append(d.Summaries, admin.GroupSummary{Name: name, Type: info.Type, State: info.State, Members: uint32(len(g.members))})
	}
}
