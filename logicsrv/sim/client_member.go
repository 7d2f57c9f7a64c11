//go:build failpoints

package sim

import (
	"fmt"
	"slices"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
)

// member is a member of the modern group: it owns what it was told, gives up what it is asked to
// after a while, and says so with its heartbeats.
type member struct {
	party
	standing
	instance string // of a static one
	epoch    int32
	told     []uint64 // what it shall have
	full     bool     // an answer was lost, or refused: the next heartbeat says all
	asking   bool
	beats    int64 // when the next heartbeat is due
	slow     int   // ticks until it gives up what it is asked to
	stopped  bool
}

// standing is what the ledger knows of a member of a group of either kind.
type standing struct {
	name   string
	group  string
	id     string // empty: none yet
	owned  []uint64
	saidMS int64 // when the last request that was answered stood in ring 12345
	putMS  int64 // when the last one did
}

const modernGroup = "modern"

// settled: it is a member, and has what it was told last.
func (m *member) settled() bool {
	return m.epoch > 0 && !m.asking && !m.full && slices.Equal(m.owned, m.told)
}

func (m *member) dropped() { m.conn, m.asking, m.full = nil, false, true }

func (m *member) tick() {
	r := m.w.rng
	if !m.stopped && m.conn != nil && r.IntN(m.w.plan.clientDeath) == 0 {
		m.die(m)
		if r.IntN(2) == 0 {
			m.crash()
		}
		return
	}
	if !m.w.admin.done() || !m.ready(m) || m.asking {
		return
	}
	if len(m.owned) > 0 && !slices.Equal(m.owned, m.told) {
		if m.slow--; m.slow > 0 && !m.stopped {
			return
		}
		m.w.giveUp(&m.standing, func(index uint64) bool { return !slices.Contains(m.told, index) })
		m.beats = m.w.now
	}
	if m.w.now >= m.beats {
		m.beat()
	}
}

// crash ends the process: what it owned it no longer touches, and it comes back as somebody new.
func (m *member) crash() {
	m.w.trace("%s crashes", m.name())
	m.w.giveUp(&m.standing, func(uint64) bool { return true })
	m.id, m.epoch, m.told, m.full = "", 0, nil, false
}

func (m *member) name() string { return m.party.name }

// beat sends a heartbeat.
func (m *member) beat() {
	m.asking = true
	h := ipc.GroupHeartbeat{Group: m.group, Member: m.id, Epoch: m.epoch, Instance: m.instance, TakeOver: true}
	if m.epoch == 0 || m.full || m.w.rng.IntN(4) == 0 {
		h.HasTopics, h.HasOwned = true, true
		for _, t := range topicSpec {
			h.Topics = append(h.Topics, t.name)
		}
	}
	if m.epoch == 0 {
		h.SessionMS, h.RebalanceMS = int32(m.w.plan.sessionMS), 1<<30
	}
	if h.HasOwned || m.w.rng.IntN(2) == 0 {
		h.HasOwned, h.Owned = true, slices.Clone(m.owned)
	}
	m.w.trace("%s: heartbeat of %q at epoch %d, owns %v, full %t", m.name(), m.id, m.epoch, m.owned, h.HasTopics)
	o := m.w.conn.ask(m.conn, ipc.TypeGroupHeartbeat, func(head ipc.Head) []byte {
		h.Head = head
		return h.Append(nil)
	}, nil, m.answered)
	o.after = func() { m.putMS = m.w.now }
}

func (m *member) answered(typ ipc.Type, b []byte) {
	m.asking = false
	if typ == ipc.TypeError {
		m.refused(m.refusal(b))
		return
	}
	a, err := ipc.DecodeGroupAssignment(b)
	m.w.must(err, "decode an assignment")
	if a.Epoch <= 0 || a.Member == "" {
		m.w.fail("%s is told epoch %d as %q", m.name(), a.Epoch, a.Member)
	}
	m.id, m.epoch, m.saidMS = a.Member, a.Epoch, m.putMS
	if a.HasTopics {
		m.told = nil
		for _, t := range a.Topics {
			for _, p := range t.Partitions {
				m.told = append(m.told, p.Index)
			}
		}
		slices.Sort(m.told)
	} else if m.full {
		m.w.fail("%s has sent a full heartbeat, and is not told its assignment", m.name())
	}
	m.full = false
	m.w.takeUp(&m.standing, m.told)
	m.slow = m.w.rng.IntN(4)
	m.beats = m.w.now + int64(a.HeartbeatMS)
	if m.stopped && slices.Equal(m.owned, m.told) {
		m.beats = m.w.now + m.w.plan.sessionMS/3 // there is nothing more to wait for
	}
	m.w.stats.beats++
}

// refused: it gives everything up, and joins again; as somebody new if it is no member any more.
func (m *member) refused(code errcode.Code, text string) {
	m.w.trace("%s: %v %s", m.name(), code, text)
	switch code {
	case errcode.UnknownMember:
		if m.epoch > 0 {
			m.w.expelled(&m.standing, text)
		}
		m.id = ""
	case errcode.FencedMemberEpoch, errcode.FencedInstanceID:
		if !m.w.cut {
			m.w.fail("%s is fenced: %v %s", m.name(), code, text)
		}
		m.id = ""
	case errcode.LimitExceeded:
		if m.epoch > 0 {
			m.w.fail("%s, which is a member: %v %s", m.name(), code, text)
		} // else joins whose answers were lost have filled the group: their sessions end
	default:
		m.w.fail("%s: %v %s", m.name(), code, text)
	}
	m.w.giveUp(&m.standing, func(uint64) bool { return true })
	m.epoch, m.told, m.full = 0, nil, false
}

// takeUp lets a member own what it was told, but for what it has to give up first. A partition
// that another one owns was given away too early, unless that one's session is over.
func (w *world) takeUp(s *standing, told []uint64) {
	for _, index := range told {
		if slices.Contains(s.owned, index) {
			continue
		}
		k := share{s.group, index}
		if o := w.owners[k]; o != nil && o != s {
			if w.now < o.saidMS+w.plan.sessionMS {
				w.fail("%s is given index %d of group %s, which %s owns: it was heard %d ms ago", s.name, index, s.group, o.name, w.now-o.saidMS)
			}
			w.stats.takenOver++
			o.owned = slices.DeleteFunc(o.owned, func(i uint64) bool { return i == index })
		}
		w.owners[k] = s
		s.owned = append(s.owned, index)
	}
	slices.Sort(s.owned)
}

// giveUp ends the ownership of some partitions.
func (w *world) giveUp(s *standing, which func(index uint64) bool) {
	s.owned = slices.DeleteFunc(s.owned, func(index uint64) bool {
		if !which(index) {
			return false
		}
		delete(w.owners, share{s.group, index})
		return true
	})
}

// expelled: a member finds that it is none any more. Its session must have been over.
func (w *world) expelled(s *standing, text string) {
	w.stats.expelled++
	if w.now < s.saidMS+w.plan.sessionMS {
		w.fail("%s is out %d ms after it was heard: %s", s.name, w.now-s.saidMS, text)
	}
}

// sharedOut tells whether each partition has an owner in each group that has members.
func (w *world) sharedOut() bool {
	if w.theme != nil {
		return true // nobody is in a group
	}
	for _, group := range w.plan.groups {
		for _, t := range topicSpec {
			for i := range int(t.partitions) {
				if w.owners[share{group, w.indexOf(t.name, i)}] == nil {
					return false
				}
			}
		}
	}
	return true
}

// castMembers puts the members of groups into the history.
func (w *world) castMembers() {
	for _, group := range w.plan.groups {
		for i := range 3 {
			p := party{w: w, name: fmt.Sprintf("m%d", len(w.clients))}
			s := standing{name: p.name, group: group}
			if group == classicGroup {
				w.clients = append(w.clients, &peer{party: p, standing: s, requireID: i > 0})
				continue
			}
			m := &member{party: p, standing: s}
			if i == 0 {
				m.instance = "static"
			}
			w.clients = append(w.clients, m)
		}
	}
}
