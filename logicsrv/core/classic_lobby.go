package core

import (
	"slices"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// Where members of a classic group wait for each other. A lobby is soft: parked joins and syncs,
// ids that were promised, a timer. connsrv tells parked requests again in answer to a Marker,
// behind the ResyncEnd of their loop; what is read of them in a new term before that is void
// (untold), for our predecessor may have answered it.
//
//	           join                    all have joined, or time is up
//	(empty) ─────────► gathering ──────────────────────────────────► completing ──────────► stable
//	                       ▲                                              │    leader's sync   │
//	                       └──────────────────────────────────────────────┴────────────────────┘
//	                          somebody joins, goes, or wants something else
//
// Gathering is the lobby's alone; completing and stable are the group's hard state (synced).

// lobby is that of one group, which need not exist yet.
type lobby struct {
	group     string
	gathering bool    // the next generation gathers
	opening   bool    // it stays open for a while, for others to come, even if all have joined
	seats     []*seat // parked joins, in order of coming
	byID      map[string]*seat
	promised  []*promise
	syncs     []waiter // parked syncs, in order of coming

	protocolType string // of those who gather; empty: of the group
	lastMS       int64  // when all members have had their time to join
	untilMS      int64  // when the gathering ends, or the leader's sync is overdue; 0: neither
	doubt        uint64 // as a member's
	timer        timer
}

// waiter is a parked request.
type waiter struct {
	id   string // the member's
	head ipc.Head
}

// seat is a member's place in the next generation.
type seat struct {
	waiter
	about journal.GroupClassicMember
}

// promise is a member id that was given out and not used yet.
type promise struct {
	id      string
	lobby   *lobby
	untilMS int64
	timer   timer
}

// untold tells whether a request that may have been parked is void: it is read before its event
// loop has answered the latest marker, and will be told again if it has no answer yet.
func (c *Core) untold(h ipc.Head) bool {
	return !c.resynced && !c.told[uint8(h.Conn)] && !failpoint.Broken("void-requests-parked")
}

// lobbyOf finds a group's lobby; nil where nobody waits.
func (c *Core) lobbyOf(name string) *lobby {
	l, _ := c.lobbies.get(name)
	return l
}

// lobbyFor finds a group's lobby, or opens one.
func (c *Core) lobbyFor(name string) *lobby {
	l := c.lobbyOf(name)
	if l == nil {
		l = &lobby{group: name, byID: make(map[string]*seat)}
		c.lobbies.add(name, l)
	}
	return l
}

// leaveLobby closes a lobby in which nobody waits for anything.
func (c *Core) leaveLobby(l *lobby) {
	if !l.gathering && len(l.promised)+len(l.syncs)+len(l.seats) == 0 && l.untilMS == 0 {
		c.lobbies.remove(l.group)
	}
}

// gathers tells whether somebody is about to become a member of a classic group.
func (c *Core) gathers(name string) bool {
	l := c.lobbyOf(name)
	return l != nil && (l.gathering || len(l.promised) > 0)
}

// waitsForUs tells whether a request of a member is parked: it need give no other sign of life.
func (c *Core) waitsForUs(m *member) bool {
	l := c.lobbyOf(m.group.name)
	return l != nil && (l.byID[m.id] != nil || slices.ContainsFunc(l.syncs, func(w waiter) bool { return w.id == m.id }))
}

// seat finds a parked join by the member's id; nil where there is none.
func (l *lobby) seat(id string) *seat {
	if l == nil {
		return nil
	}
	return l.byID[id]
}

// seatOf finds a parked join by the instance id.
func (l *lobby) seatOf(instance string) *seat {
	if l == nil || instance == "" {
		return nil
	}
	i := slices.IndexFunc(l.seats, func(s *seat) bool { return s.about.Instance == instance })
	if i < 0 {
		return nil
	}
	return l.seats[i]
}

// take parks a join, in place of an earlier one of the same member.
func (c *Core) take(l *lobby, about journal.GroupClassicMember, h ipc.Head) {
	c.parkedOf[h.Conn]++
	if s := l.byID[about.Member]; s != nil {
		c.supersede(&s.waiter, h)
		s.head, s.about = h, about
		return
	}
	s := &seat{waiter{about.Member, h}, about}
	l.seats = append(l.seats, s)
	l.byID[s.id] = s
}

// supersede ends a parked request whose member has sent another one. One that is the same, told
// again, is no other.
func (c *Core) supersede(w *waiter, by ipc.Head) {
	if w.head.Req != by.Req {
		c.refuse(w.head, errcode.RebalanceInProgress, "the member has sent another request")
	}
	c.unparked(w.head)
}

// unparked notes that a request is parked no longer.
func (c *Core) unparked(h ipc.Head) {
	if c.parkedOf[h.Conn]--; c.parkedOf[h.Conn] <= 0 {
		delete(c.parkedOf, h.Conn)
	}
}

// vacate takes a seat away; the caller has answered it, or nobody waits for the answer.
func (c *Core) vacate(l *lobby, s *seat) {
	c.unparked(s.head)
	delete(l.byID, s.id)
	l.seats = slices.DeleteFunc(l.seats, func(o *seat) bool { return o == s })
}

// waitForSync parks a sync.
func (c *Core) waitForSync(l *lobby, id string, h ipc.Head) {
	c.parkedOf[h.Conn]++
	for i := range l.syncs {
		if w := &l.syncs[i]; w.id == id {
			c.supersede(w, h)
			w.head = h
			return
		}
	}
	l.syncs = append(l.syncs, waiter{id, h})
}

// endSyncs lets go of parked syncs, each with the answer that reply gives.
func (c *Core) endSyncs(l *lobby, reply func(w *waiter)) {
	syncs := l.syncs
	l.syncs = nil
	for i := range syncs {
		c.unparked(syncs[i].head)
		reply(&syncs[i])
	}
}

// dropSyncs forgets the parked syncs for which gone holds.
func (c *Core) dropSyncs(l *lobby, gone func(w *waiter) bool) {
	l.syncs = slices.DeleteFunc(l.syncs, func(w waiter) bool {
		if gone(&w) {
			c.unparked(w.head)
			return true
		}
		return false
	})
}

// closeParked forgets what a connection that is gone had parked. A member lives on without its
// join for a session; one that was none yet does not.
func (c *Core) closeParked(conn uint64) {
	if c.parkedOf[conn] == 0 {
		return
	}
	for _, name := range slices.Clone(c.lobbies.keys()) {
		l := c.lobbyOf(name)
		c.dropSyncs(l, func(w *waiter) bool { return w.head.Conn == conn })
		for _, s := range slices.Clone(l.seats) {
			if s.head.Conn != conn {
				continue
			}
			c.vacate(l, s)
			if m := c.groupOf(name).member(s.id); m != nil {
				c.watch(m)
			}
		}
		c.gather(name)
	}
}

// dropParked forgets everything that is parked, and all that was promised: the connsrv whose
// connections these were is dead.
func (c *Core) dropParked() {
	for _, name := range slices.Clone(c.lobbies.keys()) {
		l := c.lobbyOf(name)
		l.seats, l.syncs, l.promised = nil, nil, nil
		clear(l.byID)
		c.gather(name)
	}
	clear(c.parkedOf)
	c.everybodyHeard()
}
