package core

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
)

// A classic group against what its members may rely on: all who are told a generation are told the
// same of it, and get what its leader gave them; who was silent for a session is out, and nobody
// else; every request is answered, over deaths of logicsrv as well; and when nobody comes or goes
// any more, all are in one generation.

// peer is one client.
type peer struct {
	id        string
	conn      uint64
	session   int64
	meta      string
	requireID bool
	dead      bool // without a word; a connection that stays open all the same

	phase phase
	wait  *asked // its request that has no answer
	gen   int32
	heard int64 // when it was heard last; while a join waits, that is now
}

type phase string

const (
	outside phase = "outside"
	joined1 phase = "joined" // it is told a generation, and has to sync
	inside  phase = "inside"
)

// asked is a request on its way.
type asked struct {
	typ  ipc.Type
	req  uint64
	body []byte
	gen  int32
}

// told is what somebody was told of a generation.
type generation struct {
	protocol, leader string
	members          []string // as the leader was told
	shares           map[string]string
}

// classicModel plays one history.
type classicModel struct {
	t testing.TB
	*rand.Rand
	*world
	peers  []*peer
	gens   map[int32]*generation
	last   int32
	born   int
	silent int // found to be out
	calm   bool
}

const peerPatienceMS = 10_000_000

func newClassicModel(t testing.TB, seed uint64) *classicModel {
	m := &classicModel{t: t, Rand: rand.New(rand.NewPCG(seed, 3)), gens: map[int32]*generation{}}
	m.world = newWorld(t, Config{GroupInitialDelayMS: []int64{-1, 500}[m.IntN(2)]})
	m.attach(1)
	// With a position the group outlives its members, and its generations go on.
	commit := ipc.CommitOffsets{Head: ipc.Head{Epoch: 1, Conn: 1, Req: 1}, Group: "g", Offsets: []ipc.OffsetCommit{{Index: m.topic("t", 1, ipc.LevelPage)}}}
	m.turn(ipc.TypeCommit, commit.Append(nil))
	return m
}

// ask sends a request of a peer.
func (m *classicModel) ask(p *peer, typ ipc.Type, encode func(h ipc.Head) []byte) {
	m.t.Helper()
	quiet := typ == ipc.TypeGroupBeat && m.quiet()
	h := ipc.Head{Epoch: 1, Conn: p.conn, Req: m.pos + 1}
	p.wait = &asked{typ: typ, req: h.Req, gen: p.gen}
	p.wait.body = encode(h)
	pos := m.pos
	m.step(typ, p.wait.body)
	e, out := m.end()
	if !m.calm && m.IntN(25) == 0 {
		m.die(pos, e != nil && m.IntN(2) == 0)
		if quiet && m.c.gathers("g") {
			m.t.Fatal("a restart has begun a rebalance")
		}
		return
	}
	m.deliver(out)
}

// quiet tells whether all are in one generation, and nobody wants another.
func (m *classicModel) quiet() bool {
	return !m.c.gathers("g") && !slices.ContainsFunc(m.peers, func(p *peer) bool { return p.phase != inside || p.gen != m.last || p.wait != nil })
}

// die is the death of logicsrv before it has handed over what the last turn had to say.
func (m *classicModel) die(head uint64, lose bool) {
	lost := 0
	if lose {
		lost = 1
	}
	if back := min(m.IntN(6), len(m.ring)-1); back > 0 {
		head = min(head, m.ring[len(m.ring)-1-back].Pos)
	}
	m.kill(head, lost)
	_, out := m.end()
	m.deliver(out)
	m.deliver(m.resync(1))
	for _, p := range m.peers {
		p.heard = m.now
	}
	for _, p := range m.peers { // behind the ResyncEnd: what is parked is told again
		if p.wait != nil && (p.wait.typ == ipc.TypeGroupJoin || p.wait.typ == ipc.TypeGroupSync) {
			m.step(p.wait.typ, p.wait.body)
			_, out := m.end()
			m.deliver(out)
		}
	}
}

// deliver gives answers to those who wait for them.
func (m *classicModel) deliver(out []Output) {
	m.t.Helper()
	for _, o := range copied(out) {
		h, ok := ipc.PeekHead(o.Record)
		if !ok || o.Type == ipc.TypeMarker {
			continue
		}
		i := slices.IndexFunc(m.peers, func(p *peer) bool { return p.wait != nil && p.wait.req == h.Req && p.conn == h.Conn })
		if i >= 0 {
			p := m.peers[i]
			was := p.wait
			p.wait = nil
			m.answered(p, was, o)
		}
	}
}

func (m *classicModel) answered(p *peer, was *asked, o Output) {
	m.t.Helper()
	switch o.Type {
	case ipc.TypeGroupJoined:
		j, err := ipc.DecodeGroupJoined(o.Record)
		if err != nil {
			m.t.Fatal(err)
		}
		p.id, p.heard = j.Member, m.now
		if j.Code != 0 {
			return // it joins with the id that it got
		}
		m.joined(p, &j)
	case ipc.TypeGroupSynced:
		s, err := ipc.DecodeGroupSynced(o.Record)
		if err != nil {
			m.t.Fatal(err)
		}
		g := m.gens[was.gen]
		if g == nil || g.shares[p.id] == "" || g.shares[p.id] != string(s.Assignment) {
			m.t.Fatalf("%s gets %q in generation %d, the leader gave %v", p.id, s.Assignment, was.gen, g)
		}
		p.phase, p.heard = inside, m.now
	case ipc.TypeGroupAlive:
		p.heard = m.now
	case ipc.TypeGroupLeft:
		p.phase, p.id = outside, ""
	case ipc.TypeError:
		e, _ := ipc.DecodeError(o.Record)
		m.refused(p, was, errcode.Code(e.Code), e.Text)
	default:
		m.t.Fatalf("%s is answered by a record of type %d", p.id, o.Type)
	}
}

// joined holds what a peer is told of a generation against what others were told.
func (m *classicModel) joined(p *peer, j *ipc.GroupJoined) {
	m.t.Helper()
	g := m.gens[j.Generation]
	if g == nil {
		if j.Generation <= m.last {
			m.t.Fatalf("generation %d begins behind %d", j.Generation, m.last)
		}
		m.last = j.Generation
		g = &generation{protocol: j.Protocol, leader: j.Leader}
		m.gens[j.Generation] = g
	}
	if g.protocol != j.Protocol || g.leader != j.Leader {
		m.t.Fatalf("%s is told leader %s of generation %d, others were told %s", p.id, j.Leader, j.Generation, g.leader)
	}
	if (len(j.Members) > 0) != (j.Leader == p.id) {
		m.t.Fatalf("%s is told of %d members, the leader is %s", p.id, len(j.Members), j.Leader)
	}
	if len(j.Members) > 0 {
		g.members = g.members[:0]
		for _, k := range j.Members {
			g.members = append(g.members, k.Member)
		}
	}
	p.phase, p.gen = joined1, j.Generation
}

// refused: a peer that was told so joins again, and as somebody new if it is none any more.
func (m *classicModel) refused(p *peer, was *asked, code errcode.Code, text string) {
	m.t.Helper()
	switch code {
	case errcode.RebalanceInProgress, errcode.IllegalGeneration:
		p.phase = outside
		if was.typ == ipc.TypeGroupBeat && code == errcode.RebalanceInProgress {
			p.heard = m.now
		}
	case errcode.UnknownMember:
		// A join with an id that was promised by a logicsrv which has died since is unknown too.
		if p.phase == inside && was.gen == m.last && m.now < p.heard+p.session {
			m.t.Fatalf("%s is no member any longer, though it was heard %d ms ago: %s", p.id, m.now-p.heard, text)
		}
		m.silent++
		p.phase, p.id = outside, ""
	default:
		m.t.Fatalf("%s: %v %s", p.id, code, text)
	}
}

func (m *classicModel) join(p *peer) {
	m.ask(p, ipc.TypeGroupJoin, func(h ipc.Head) []byte {
		protocols := []ipc.GroupProtocol{{Name: "range", Metadata: []byte(p.meta)}, {Name: "sticky", Metadata: []byte(p.meta)}}
		if m.born%2 == 0 {
			slices.Reverse(protocols)
		}
		j := ipc.GroupJoin{
			Head: h, Group: "g", Member: p.id, ClientID: "c", RequireID: p.requireID, SessionMS: int32(p.session),
			RebalanceMS: peerPatienceMS, ProtocolType: "consumer", Protocols: protocols,
		}
		return j.Append(nil)
	})
}

func (m *classicModel) sync(p *peer) {
	m.ask(p, ipc.TypeGroupSync, func(h ipc.Head) []byte {
		s := ipc.GroupSync{Head: h, Group: "g", Member: p.id, Generation: p.gen}
		g := m.gens[p.gen]
		if g.leader == p.id && g.shares == nil {
			g.shares = map[string]string{}
			for _, id := range g.members {
				share := fmt.Sprintf("%d for %s", p.gen, id)
				g.shares[id] = share
				s.Assignments = append(s.Assignments, ipc.GroupShare{Member: id, Assignment: []byte(share)})
			}
		} else if g.leader == p.id {
			for _, id := range g.members { // again: it had no answer
				s.Assignments = append(s.Assignments, ipc.GroupShare{Member: id, Assignment: []byte(g.shares[id])})
			}
		}
		return s.Append(nil)
	})
}

// tick lets a peer do what is next.
func (m *classicModel) tick(p *peer) {
	switch {
	case p.dead || p.wait != nil:
	case p.phase == outside:
		m.join(p)
	case p.phase == joined1:
		m.sync(p)
	default:
		m.ask(p, ipc.TypeGroupBeat, func(h ipc.Head) []byte {
			b := ipc.GroupBeat{Head: h, Group: "g", Member: p.id, Generation: p.gen}
			return b.Append(nil)
		})
	}
}

func (m *classicModel) pass(ms int64) {
	for ms > 0 {
		step := min(ms, 900)
		m.now += step
		ms -= step
		_, out := m.end()
		m.deliver(out)
	}
}

func (m *classicModel) act() {
	any := func() *peer {
		if len(m.peers) == 0 {
			return nil
		}
		return m.peers[m.IntN(len(m.peers))]
	}
	p := any()
	switch k := m.IntN(30); {
	case k < 2 && len(m.peers) < 6:
		m.born++
		n := &peer{conn: uint64(m.born) << 8, session: 6000 + m.Int64N(4000), meta: fmt.Sprint(m.born), phase: outside, requireID: m.IntN(2) == 0}
		m.peers = append(m.peers, n)
		m.join(n)
	case p == nil:
	case k == 2:
		p.dead = true
	case k == 3 && p.phase == inside && p.wait == nil:
		m.ask(p, ipc.TypeGroupLeave, func(h ipc.Head) []byte {
			l := ipc.GroupLeave{Head: h, Group: "g", Members: []ipc.GroupLeaver{{Member: p.id}}}
			return l.Append(nil)
		})
		p.dead = p.wait == nil
	case k == 4: // its connection closes, and it comes back over another one
		closed := ipc.ConnClosed{Head: ipc.Head{Epoch: 1, Conn: p.conn}}
		m.step(ipc.TypeConnClosed, closed.Append(nil))
		_, out := m.end()
		p.wait = nil
		m.deliver(out)
		m.born++
		p.conn = uint64(m.born) << 8
		if p.phase != inside {
			p.phase = outside
			p.heard = m.now
		}
	case k == 5:
		p.meta += "+" // the next join says something else
	case k < 10:
		m.pass(m.Int64N(900))
	default:
		m.tick(p)
	}
	m.peers = slices.DeleteFunc(m.peers, func(p *peer) bool { return p.dead && p.wait == nil })
	checkGroups(m.t, m.c)
}

// rest lets all who are alive be prompt until all are in one generation.
func (m *classicModel) rest() {
	m.t.Helper()
	m.calm = true
	for range 60 {
		m.pass(400)
		for _, p := range m.peers {
			m.tick(p)
		}
	}
	for _, p := range m.peers {
		switch {
		case p.dead:
		case p.wait != nil:
			m.t.Fatalf("%s waits for an answer to a request of type %d", p.id, p.wait.typ)
		case p.phase != inside || p.gen != m.last:
			m.t.Fatalf("%s is %s in generation %d, the last is %d", p.id, p.phase, p.gen, m.last)
		}
	}
}

// playClassic plays one history, and returns how many found that they were out.
func playClassic(t testing.TB, seed uint64) int {
	m := newClassicModel(t, seed)
	for range 150 {
		m.act()
	}
	m.rest()
	return m.silent
}

// TestClassicGroupAgainstModel plays histories of joins, leaves, deaths, closed connections and
// deaths of logicsrv.
func TestClassicGroupAgainstModel(t *testing.T) {
	silent := 0
	for seed := range uint64(150) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { silent += playClassic(t, seed) })
	}
	if silent == 0 {
		t.Error("nobody was out")
	}
}
