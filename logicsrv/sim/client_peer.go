//go:build failpoints

package sim

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
)

// peer is a member of the classic group, an eager one: before it joins a generation it gives up
// what it had in the one before. Whoever is the leader deals the partitions out in turn.
type peer struct {
	party
	standing
	requireID  bool
	phase      peerPhase
	generation int32
	leads      []string // of the leader: all members of the generation
	asking     bool
	beats      int64 // when the next heartbeat is due
	stopped    bool
}

// peerPhase is where a peer stands in the course of a generation.
type peerPhase uint8

const (
	mustJoin peerPhase = iota
	mustSync
	inside
)

const classicGroup = "classic"

func (p *peer) settled() bool { return p.phase == inside && !p.asking }

// dropped: what it was waiting for it asks for again, over another connection.
func (p *peer) dropped() { p.conn, p.asking = nil, false }

func (p *peer) tick() {
	r := p.w.rng
	if !p.stopped && p.conn != nil && r.IntN(p.w.plan.clientDeath) == 0 {
		p.die(p)
		if r.IntN(2) == 0 {
			p.w.trace("%s crashes", p.party.name)
			p.leave()
			p.id = ""
		}
		return
	}
	if !p.w.admin.done() || !p.ready(p) || p.asking {
		return
	}
	switch {
	case p.phase == mustJoin:
		p.join()
	case p.phase == mustSync:
		p.sync()
	case p.w.now < p.beats:
	case len(p.owned) > 0 && r.IntN(4) == 0:
		p.commit()
	default:
		p.beat()
	}
}

// leave ends the generation for this peer.
func (p *peer) leave() {
	p.w.giveUp(&p.standing, func(uint64) bool { return true })
	p.phase = mustJoin
}

func (p *peer) join() {
	p.leave()
	j := ipc.GroupJoin{
		Group: p.group, Member: p.id, ClientID: p.party.name, RequireID: p.requireID, SessionMS: int32(p.w.plan.sessionMS), RebalanceMS: 1 << 30,
		ProtocolType: "consumer", Protocols: []ipc.GroupProtocol{{Name: "deal", Metadata: []byte(p.party.name)}},
	}
	p.request(ipc.TypeGroupJoin, true, func(h ipc.Head) []byte { j.Head = h; return j.Append(nil) }, func(b []byte) {
		j, err := ipc.DecodeGroupJoined(b)
		p.w.must(err, "decode a generation")
		p.id = j.Member
		if j.Code != 0 {
			return
		}
		p.phase, p.generation, p.leads = mustSync, j.Generation, nil
		for _, k := range j.Members {
			p.leads = append(p.leads, k.Member)
		}
		p.w.joinedGeneration(p, &j)
	})
}

func (p *peer) sync() {
	s := ipc.GroupSync{Group: p.group, Member: p.id, Generation: p.generation, Protocol: "deal"}
	var all []uint64
	for _, t := range topicSpec {
		all = append(all, p.w.names[t.name][:t.partitions]...)
	}
	for i, id := range p.leads {
		var share []byte
		for k := i; k < len(all); k += len(p.leads) {
			share = binary.LittleEndian.AppendUint64(share, all[k])
		}
		s.Assignments = append(s.Assignments, ipc.GroupShare{Member: id, Assignment: share})
	}
	generation := p.generation
	p.request(ipc.TypeGroupSync, true, func(h ipc.Head) []byte { s.Head = h; return s.Append(nil) }, func(b []byte) {
		a, err := ipc.DecodeGroupSynced(b)
		p.w.must(err, "decode a share")
		var told []uint64
		for b := a.Assignment; len(b) >= 8; b = b[8:] {
			told = append(told, binary.LittleEndian.Uint64(b))
		}
		if len(told) == 0 || generation != p.generation {
			p.w.fail("%s gets %v in generation %d", p.party.name, told, generation)
		}
		p.w.takeUp(&p.standing, told)
		p.phase, p.beats = inside, p.w.now+30
	})
}

func (p *peer) beat() {
	b := ipc.GroupBeat{Group: p.group, Member: p.id, Generation: p.generation}
	p.request(ipc.TypeGroupBeat, false, func(h ipc.Head) []byte { b.Head = h; return b.Append(nil) }, func([]byte) {
		p.beats = p.w.now + 30
		if p.stopped {
			p.beats = p.w.now + p.w.plan.sessionMS/3
		}
	})
}

// commit stores a position. With the first one the group outlives its members, and its generations
// go on for ever.
func (p *peer) commit() {
	m := ipc.GroupCommit{
		Group: p.group, Member: p.id, Epoch: p.generation, Level: ipc.LevelDisk,
		Offsets: []ipc.OffsetCommit{{Index: p.owned[0], Offset: uint64(p.generation)}},
	}
	p.request(ipc.TypeGroupCommit, false, func(h ipc.Head) []byte { m.Head = h; return m.Append(nil) }, func([]byte) {
		p.beats = p.w.now + 30
		p.w.stats.commits++
		p.w.lasting = true
	})
}

// request sends a request; parked: connsrv tells it again after a marker.
func (p *peer) request(typ ipc.Type, parked bool, encode func(ipc.Head) []byte, done func(b []byte)) {
	p.asking = true
	p.w.trace("%s: request of type %d as %q in generation %d", p.party.name, typ, p.id, p.generation)
	reply := func(answer ipc.Type, b []byte) {
		p.asking = false
		if answer == ipc.TypeError {
			p.refused(p.refusal(b))
			return
		}
		p.saidMS = p.putMS
		p.w.stats.beats++
		done(b)
	}
	o := p.w.conn.ask(p.conn, typ, encode, nil, reply)
	if parked {
		p.w.conn.keep(o)
	}
	o.after = func() { p.putMS = p.w.now }
}

// refused: it joins again; as somebody new if it is no member any more.
func (p *peer) refused(code errcode.Code, text string) {
	p.w.trace("%s: %v %s", p.party.name, code, text)
	switch code {
	case errcode.UnknownMember:
		if p.phase == inside { // an id that was promised ends with the logicsrv that has promised it
			p.w.expelled(&p.standing, text)
		}
		p.id = ""
	case errcode.RebalanceInProgress:
		if p.phase == inside {
			p.saidMS = p.putMS
		}
	case errcode.IllegalGeneration:
		if p.phase == inside {
			p.w.expelled(&p.standing, text)
		}
	default:
		p.w.fail("%s: %v %s", p.party.name, code, text)
	}
	p.leave()
}

// joinedGeneration holds what a peer is told of a generation against what others were told.
func (w *world) joinedGeneration(p *peer, j *ipc.GroupJoined) {
	k := fmt.Sprintf("%d led by %s", j.Generation, j.Leader)
	if j.Generation < w.generation && !w.lasting {
		w.generation = 0 // the group has ended with its last member
	}
	if w.generation == j.Generation && w.leader != j.Leader && w.lasting {
		w.fail("%s is told of generation %s, others of leader %s", p.party.name, k, w.leader)
	}
	if (j.Leader == p.id) != (len(j.Members) > 0) || len(j.Members) > 0 && !slices.ContainsFunc(j.Members, func(m ipc.GroupPeer) bool { return m.Member == p.id }) {
		w.fail("%s is told of generation %s with members %v", p.id, k, j.Members)
	}
	if j.Generation > w.generation {
		w.generation, w.leader = j.Generation, j.Leader
	}
}
