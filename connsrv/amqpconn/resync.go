package amqpconn

import (
	"slices"

	"github.com/trimq/trimq/protocol/ipc"
)

// Resync tells consumers and waits again, in answer to a marker.
func (c *Conn) Resync(m ipc.Marker, first bool) bool {
	if c.state == stateClosed {
		return true
	}
	if first {
		c.resyncSub, c.resyncReq = 0, 0
	}
	return c.tellSubs(m) && c.tellAsks(ipc.TypeWait, ipc.TypeWaitStable)
}

// AskAgain tells the pulls again that were not answered.
func (c *Conn) AskAgain(first bool) bool {
	if c.state == stateClosed {
		return true
	}
	if first {
		c.resyncReq = 0
	}
	return c.tellAsks(ipc.TypePull)
}

// tellSubs tells the consumers that were not told yet, and pullers that hold something; false: the
// ring is full.
func (c *Conn) tellSubs(m ipc.Marker) bool {
	for i := c.subAt(c.resyncSub); i < len(c.subs); i++ {
		s := c.subs[i]
		if s.Queue && !s.Closing && (!s.Puller || s.Gaps() > 0) {
			state := s.State(c.head(0), m)
			if !c.lane.Put(nil, ipc.TypeSubState, state.Append(c.lane.Scratch())) {
				c.resyncSub = s.ID
				return false
			}
			s.Recalls = 0
		}
	}
	c.resyncSub = c.lastSub + 1
	return true
}

// tellAsks tells the questions of some types again, which logicsrv may have parked; false: the ring is full.
func (c *Conn) tellAsks(types ...ipc.Type) bool {
	var reqs []uint64
	for req, a := range c.asks {
		if slices.Contains(types, a.typ) && req > c.resyncReq {
			reqs = append(reqs, req)
		}
	}
	slices.Sort(reqs)
	for _, req := range reqs {
		if !c.lane.Put(nil, c.asks[req].typ, c.asks[req].encode(c.head(req), c.lane.Scratch())) {
			return false
		}
		c.resyncReq = req
	}
	return true
}
