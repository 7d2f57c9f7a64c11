package trimq

import (
	"slices"
	"sync"
	"time"

	"github.com/trimq/trimq/protocol/native"
)

// role is something that a link carries: calls, a producer, a consumer. Several roles share a
// link where what they do is bound to one connection. A link calls the methods of a role one at
// a time, but for gather, which its writer calls beside handle and those between two handles.
type role interface {
	// up begins a connection: what was unanswered on the last one is to be sent again.
	up(c *conn)
	// gather appends what is to be sent now. It returns after what time it wants to be asked
	// again though nobody kicks; 0: not before.
	gather(c *conn, o *outbox) time.Duration
	// handle takes an answer to one of its requests, or what it takes; body is valid during the
	// call unless s is retained. An error ends the connection.
	handle(c *conn, h native.Header, body []byte, s *slab) error
	// takes tells whether a command that the broker sends unasked is for this role.
	takes(cmd native.Command) bool
	// down ends a connection.
	down(err error)
	// refused reports an attempt to connect that failed; fatal: trying again will not help.
	refused(err error, fatal bool)
}

// roles are those of a link, in the order in which they may fill the broker's window. Each counts
// its correlations from a number of its own, by which answers find it.
type roles struct {
	mu      sync.RWMutex // held for reading while gather or handle of one is called, for writing otherwise
	members []member
	last    uint64 // number of the latest
	conn    *conn  // nil: not connected
}

type member struct {
	number uint64
	role   role
}

// memberShift leaves 2⁴⁰ correlations for each of 2²⁴ roles of a link.
const memberShift = 40

// add has the link carry r, which counts its correlations in corr.
func (g *roles) add(r role, corr *uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	*corr = g.last << memberShift
	g.members = append(g.members, member{g.last, r})
	g.last++
	if g.conn != nil {
		r.up(g.conn)
	}
}

// remove ends r's part in the link. Answers to it that still come are thrown away.
func (g *roles) remove(r role, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.IndexFunc(g.members, func(m member) bool { return m.role == r })
	if i < 0 {
		return
	}
	g.members = slices.Delete(g.members, i, i+1)
	if g.conn != nil {
		r.down(err)
	}
}

func (g *roles) up(c *conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conn = c
	for _, m := range g.members {
		m.role.up(c)
	}
}

func (g *roles) down(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conn = nil
	for _, m := range g.members {
		m.role.down(err)
	}
}

func (g *roles) refused(err error, fatal bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, m := range g.members {
		m.role.refused(err, fatal)
	}
}

// gather asks all roles; it returns when the first of them wants to be asked again.
func (g *roles) gather(c *conn, o *outbox) (next time.Duration) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	for _, m := range g.members {
		if due := m.role.gather(c, o); due > 0 && (next == 0 || due < next) {
			next = due
		}
	}
	return next
}

// handle hands a frame to the role that has asked, or that takes such frames.
func (g *roles) handle(c *conn, h native.Header, body []byte, s *slab) error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	asked := h.Flags&native.FlagResponse != 0 || h.Correlation != 0
	for _, m := range g.members {
		if asked && m.number == h.Correlation>>memberShift || !asked && m.role.takes(h.Command) {
			return m.role.handle(c, h, body, s)
		}
	}
	if asked && h.Correlation>>memberShift < g.last {
		return nil // it is gone
	}
	return protocolError("%s with correlation %d, for which nobody has asked", h.Command, h.Correlation)
}
