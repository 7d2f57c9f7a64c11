package core

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
)

// A modern group against a model that knows its rules from the documents alone: who must be a
// member at each moment, which heartbeat must be refused and how, what may be taken from whom. What
// the assignor chooses is the core's; that it is shared out well is package assign's test.

// fellow is one client. It knows what it was told, unless the answer was lost.
type fellow struct {
	id, instance string
	topics       []string
	session      int64
	epoch        int32
	owned        []uint64
	full         bool // the last answer was lost, or an error
	slow         int  // heartbeats until it gives up what it is asked to
	silent       bool // dead, though nobody has said so
}

// standingOf is what the model knows of a member, from all answers, lost ones too.
type standingOf struct {
	*fellow
	heard, asked  int64 // when it was heard last; when it was asked to give something up
	epoch, before int32
	assigned      []uint64
	revoking      []uint64
	away          bool
}

const patienceMS = 4000

// groupModel plays one history.
type groupModel struct {
	t testing.TB
	*rand.Rand
	*world
	fellows []*fellow
	members map[string]*standingOf
	topics  map[string]int // partitions
	born    int
	expired int
}

func newGroupModel(t testing.TB, seed uint64) *groupModel {
	m := &groupModel{t: t, Rand: rand.New(rand.NewPCG(seed, 2)), world: newWorld(t, Config{}), members: map[string]*standingOf{}, topics: map[string]int{}}
	m.attach(1)
	m.topic("t1", 7, ipc.LevelPage)
	m.topic("t2", 4, ipc.LevelPage)
	m.topics["t1"], m.topics["t2"] = 7, 4
	return m
}

// pass lets time go by: who was silent for a session is out, and nobody else.
func (m *groupModel) pass(ms int64) {
	m.now += ms
	m.end()
	for id, s := range m.members {
		silent := m.now >= s.heard+s.session
		stubborn := len(s.revoking) > 0 && m.now >= s.asked+patienceMS
		if silent || stubborn {
			m.drop(id)
			m.expired++
		}
	}
	m.compare("after %d ms", ms)
}

func (m *groupModel) drop(id string) { delete(m.members, id) }

// compare holds the core's members against the model's.
func (m *groupModel) compare(format string, args ...any) {
	m.t.Helper()
	g := m.c.groupOf("g")
	n := 0
	if g != nil {
		n = len(g.members)
		for _, k := range g.members {
			if m.members[k.id] == nil {
				m.t.Fatalf("%s: %s is still a member", fmt.Sprintf(format, args...), k.id)
			}
		}
	}
	if n != len(m.members) {
		m.t.Fatalf("%s: %d members, want %d", fmt.Sprintf(format, args...), n, len(m.members))
	}
	checkGroups(m.t, m.c)
	m.exclusive()
}

// exclusive: no partition is owned by two clients that are members.
func (m *groupModel) exclusive() {
	m.t.Helper()
	of := map[uint64]string{}
	for _, f := range m.fellows {
		s := m.members[f.id]
		if s == nil || s.fellow != f || s.away || f.epoch != s.epoch && f.epoch != s.before {
			continue // it will hear that it is fenced
		}
		for _, id := range f.owned {
			if of[id] != "" {
				m.t.Fatalf("index %d is owned by %s and by %s", id, of[id], f.id)
			}
			of[id] = f.id
		}
	}
}

// join lets a client join, or join again.
func (m *groupModel) join(f *fellow, takeOver bool) {
	holder := m.holder(f.instance)
	a, code := m.beat(&ipc.GroupHeartbeat{
		Group: "g", Member: f.id, Instance: f.instance, TakeOver: takeOver, SessionMS: int32(f.session), RebalanceMS: patienceMS,
		HasTopics: true, Topics: f.topics, HasOwned: true,
	})
	f.owned = nil
	switch {
	case holder != nil && holder.id != f.id && !holder.away && !takeOver:
		m.want(code, errcode.UnreleasedInstanceID, "join of %s beside %s", f.id, holder.id)
		return
	case holder != nil && holder.id != f.id:
		m.drop(holder.id)
	}
	m.want(code, errcode.OK, "join of %s", f.id)
	f.id = a.Member
	s := m.members[f.id]
	if s == nil {
		s = &standingOf{}
		m.members[f.id] = s
		if holder != nil {
			s.assigned = holder.assigned
		}
	}
	s.fellow, s.away, s.revoking = f, false, nil
	m.told(s, &a)
}

func (m *groupModel) holder(instance string) *standingOf {
	for _, s := range m.members {
		if instance != "" && s.instance == instance {
			return s
		}
	}
	return nil
}

func (m *groupModel) want(got, want errcode.Code, format string, args ...any) {
	m.t.Helper()
	if got != want {
		m.t.Fatalf("%s: %v, want %v", fmt.Sprintf(format, args...), got, want)
	}
}

// told notes an answer, and sometimes loses it on its way to the client.
func (m *groupModel) told(s *standingOf, a *ipc.GroupAssignment) {
	m.t.Helper()
	s.heard = m.now
	was := s.assigned
	if a.HasTopics {
		s.assigned = indexesOf(a)
		for _, o := range m.members { // who is away holds nothing that is another's now
			if o.away && o != s {
				o.assigned = less(o.assigned, s.assigned)
			}
		}
	}
	// What stays with its member is never taken away in between.
	target := m.c.groupOf("g").member(a.Member).target
	for _, id := range was {
		if slices.Contains(target, id) && !slices.Contains(s.assigned, id) && m.exists(id) {
			m.t.Fatalf("index %d stays with %s, and is taken away: %v, then %v, target %v", id, a.Member, was, s.assigned, target)
		}
	}
	if lost := less(was, s.assigned); len(lost) > 0 && len(s.revoking) == 0 && s.epoch == a.Epoch {
		s.revoking, s.asked = slices.DeleteFunc(lost, func(id uint64) bool { return !m.exists(id) }), m.now
	}
	if a.Epoch != s.epoch {
		s.before, s.epoch = s.epoch, a.Epoch
	}
	if m.IntN(8) == 0 {
		s.full = true
		return
	}
	f := s.fellow
	f.epoch, f.full = a.Epoch, false
	if !a.HasTopics {
		return
	}
	next := indexesOf(a)
	if giving := less(f.owned, next); len(giving) > 0 {
		// It takes its time with what it is asked to give up, and begins nothing new so long.
		f.slow = m.IntN(4)
	}
	if f.slow == 0 || len(less(f.owned, next)) == 0 {
		f.owned = next
		f.slow = 0
	}
}

func (m *groupModel) exists(id uint64) bool { _, ok := m.c.indexes.get(id); return ok }

// stay is the heartbeat of a client that takes itself for a member.
func (m *groupModel) stay(f *fellow) {
	h := ipc.GroupHeartbeat{Group: "g", Member: f.id, Instance: f.instance, Epoch: f.epoch}
	s := m.members[f.id]
	if s != nil && f.slow > 0 {
		if f.slow--; f.slow == 0 && f.epoch == s.epoch {
			f.owned = inBoth(f.owned, s.assigned)
		}
	}
	if f.full || m.IntN(2) == 0 || s != nil && len(s.revoking) > 0 {
		h.HasOwned, h.Owned = true, f.owned
	}
	if f.full || m.IntN(12) == 0 {
		h.HasTopics, h.Topics = true, f.topics
	}
	subset := h.HasOwned && s != nil && len(less(f.owned, s.assigned)) == 0
	confirms := s != nil && h.HasOwned && f.epoch == s.epoch && !meet(f.owned, s.revoking)
	a, code := m.beat(&h)
	switch {
	case s == nil && m.holder(f.instance) != nil:
		m.want(code, errcode.FencedInstanceID, "heartbeat of %s", f.id)
	case s == nil:
		m.want(code, errcode.UnknownMember, "heartbeat of %s", f.id)
	case f.epoch == s.epoch || f.epoch == s.before && s.before > 0 && subset:
		m.want(code, errcode.OK, "heartbeat of %s at epoch %d", f.id, f.epoch)
		if f.epoch != a.Epoch && f.epoch == s.before && !a.HasTopics {
			m.t.Fatalf("%s has missed an answer, and is not told its assignment", f.id)
		}
		if confirms {
			s.revoking = nil
		}
		m.told(s, &a)
		return
	default:
		m.want(code, errcode.FencedMemberEpoch, "heartbeat of %s at epoch %d, it is at %d", f.id, f.epoch, s.epoch)
	}
	// It gives everything up, and begins again: under its id if it was fenced, as another one else.
	f.owned, f.epoch, f.full, f.slow = nil, 0, false, 0
	if code == errcode.UnknownMember {
		f.id = ""
	}
	if code == errcode.FencedInstanceID {
		f.silent = true
	}
}

// commitAs commits as a member: it counts if the member is at that epoch.
func (m *groupModel) commitAs(f *fellow) {
	s := m.members[f.id]
	t, _ := m.c.topics.get("t1")
	if t == nil || f.epoch <= 0 {
		return
	}
	h := ipc.Head{Epoch: 1, Conn: 256, Req: m.pos + 1}
	commit := ipc.GroupCommit{Head: h, Group: "g", Member: f.id, Instance: f.instance, Epoch: f.epoch, Offsets: []ipc.OffsetCommit{{Index: t.partitions[0].id, Offset: m.Uint64N(9)}}}
	want := errcode.OK
	switch {
	case s == nil && m.holder(f.instance) != nil:
		want = errcode.FencedInstanceID
	case s == nil:
		want = errcode.UnknownMember
	case s.epoch != f.epoch || s.away:
		want = errcode.StaleMemberEpoch
	}
	m.step(ipc.TypeGroupCommit, commit.Append(nil))
	_, out := m.end()
	code := errcode.OK
	for _, o := range out {
		if e, err := ipc.DecodeError(o.Record); o.Type == ipc.TypeError && err == nil && e.Req == h.Req {
			code = errcode.Code(e.Code)
		}
	}
	m.want(code, want, "commit of %s at epoch %d", f.id, f.epoch)
}

// act lets something happen.
func (m *groupModel) act() {
	switch k := m.IntN(40); {
	case k < 4 && len(m.fellows) < 7:
		m.born++
		f := &fellow{topics: [][]string{{"t1"}, {"t1", "t2"}, {"t1", "t2"}}[m.IntN(3)], session: 6000 + m.Int64N(6000)}
		if m.IntN(3) == 0 {
			f.instance = fmt.Sprintf("i%d", m.IntN(3))
		}
		if m.IntN(2) == 0 {
			f.id = fmt.Sprintf("own-%d", m.born)
		}
		m.fellows = append(m.fellows, f)
		m.join(f, m.IntN(2) == 0)
	case k == 4 && len(m.fellows) > 0: // it dies
		m.fellows[m.IntN(len(m.fellows))].silent = true
	case k == 5 && len(m.fellows) > 0:
		m.leave(m.fellows[m.IntN(len(m.fellows))])
	case k == 6:
		m.changeTopics()
	case k == 7:
		m.restart()
	case k == 8 && len(m.fellows) > 0:
		if f := m.fellows[m.IntN(len(m.fellows))]; !f.silent {
			m.commitAs(f)
		}
	case k < 14:
		m.pass(m.Int64N(900))
	default:
		if len(m.fellows) > 0 {
			m.tick(m.fellows[m.IntN(len(m.fellows))])
		}
	}
	m.fellows = slices.DeleteFunc(m.fellows, func(f *fellow) bool { return f.silent })
}

func (m *groupModel) tick(f *fellow) {
	switch {
	case f.silent:
	case f.epoch == 0:
		m.join(f, m.IntN(4) == 0)
	default:
		m.stay(f)
	}
	m.compare("after a heartbeat of %s", f.id)
}

func (m *groupModel) leave(f *fellow) {
	s := m.members[f.id]
	if s == nil || f.epoch <= 0 {
		return
	}
	h := ipc.GroupHeartbeat{Group: "g", Member: f.id, Instance: f.instance, Epoch: ipc.EpochLeave}
	if f.instance != "" && m.IntN(2) == 0 {
		h.Epoch = ipc.EpochAway
	}
	a, code := m.beat(&h)
	m.want(code, errcode.OK, "%s leaves", f.id)
	if a.Epoch != h.Epoch {
		m.t.Fatalf("%s leaves with epoch %d, is answered %d", f.id, h.Epoch, a.Epoch)
	}
	f.silent = true
	if h.Epoch == ipc.EpochLeave {
		m.drop(f.id)
		return
	}
	s.away, s.heard, s.epoch, s.before, s.revoking = true, m.now, ipc.EpochAway, 0, nil
}

func (m *groupModel) changeTopics() {
	name := []string{"t1", "t2"}[m.IntN(2)]
	switch n := m.topics[name]; {
	case n == 0:
		m.topics[name] = 1 + m.IntN(5)
		m.admin(admin.CmdCreateTopic, &admin.CreateTopic{Name: name, Partitions: uint32(m.topics[name]), Level: ipc.LevelPage})
	case m.IntN(3) == 0:
		m.topics[name] = 0
		m.admin(admin.CmdDeleteTopic, &admin.Delete{Name: name})
	default:
		m.topics[name] += 1 + m.IntN(3)
		m.admin(admin.CmdAddPartitions, &admin.AddPartitions{Name: name, Total: uint32(m.topics[name])})
	}
	for _, s := range m.members {
		gone := func(id uint64) bool { return !m.exists(id) }
		s.assigned = slices.DeleteFunc(slices.Clone(s.assigned), gone)
		s.revoking = slices.DeleteFunc(slices.Clone(s.revoking), gone)
		s.owned = slices.DeleteFunc(slices.Clone(s.owned), gone)
	}
}

// restart kills the core and reads some of the ring again. Nobody is out because of it.
func (m *groupModel) restart() {
	if m.IntN(2) == 0 {
		m.checkpoint()
	}
	back := min(m.IntN(12), len(m.ring))
	head := m.pos
	if back > 0 {
		head = m.ring[len(m.ring)-back].Pos
	}
	m.kill(head, 0)
	m.end()
	m.resync(1)
	for _, s := range m.members {
		s.heard, s.asked = m.now, m.now
	}
	m.compare("after a restart")
}

// rest lets everybody be prompt until nothing moves, and checks that all is shared out.
func (m *groupModel) rest() {
	for range 60 { // longer than any session
		m.pass(300)
		for _, f := range m.fellows {
			f.slow = min(f.slow, 1)
			m.tick(f)
		}
	}
	m.fellows = slices.DeleteFunc(m.fellows, func(f *fellow) bool { return f.silent })
	m.pass(300)
	for _, s := range m.members {
		if k := m.c.groupOf("g").member(s.id); !k.settled() && !k.away() {
			m.t.Fatalf("%s does not settle: epoch %d of %d, assigned %v, target %v, revoking %v", s.id, k.epoch, k.group.epoch, k.assigned, k.target, k.revoking)
		}
	}
}

// playModel plays one history, and returns how many members were expelled.
func playModel(t testing.TB, seed uint64) int {
	m := newGroupModel(t, seed)
	for range 150 {
		m.act()
	}
	m.rest()
	return m.expired
}

// TestModernGroupAgainstModel plays histories of joins, leaves, deaths, lost answers, slow
// members, takeovers, changes of topics and restarts.
func TestModernGroupAgainstModel(t *testing.T) {
	expired := 0
	for seed := range uint64(150) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			expired += playModel(t, seed)
		})
	}
	if expired == 0 {
		t.Error("nobody's session has ended")
	}
}
