package nativeconn

import (
	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/ipc"
)

// Resync tells consumers, groups and waits again, in answer to a marker.
func (c *Conn) Resync(m ipc.Marker, first bool) bool {
	if c.state == stateClosed || c.lane == nil {
		return true
	}
	if first {
		c.resyncSub, c.resyncGroup, c.resyncReq = 0, 0, 0
	}
	return c.tellSubs(m) && c.tellGroups() && c.tellRequests(c.tellWait)
}

// AskAgain tells the pulls again that were not answered.
func (c *Conn) AskAgain(first bool) bool {
	if c.state == stateClosed {
		return true
	}
	if first {
		c.resyncReq = 0
	}
	return c.tellRequests(c.tellPull)
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
		if s.ID == 1<<64-1 {
			break
		}
		c.resyncSub = s.ID + 1
	}
	c.resyncSub = 1<<64 - 1
	return true
}

// tellGroups tells for which producer groups the connection answers.
func (c *Conn) tellGroups() bool {
	for ; c.resyncGroup < len(c.groups); c.resyncGroup++ {
		m := ipc.TxnMember{Head: c.head(0), Group: c.groups[c.resyncGroup], Join: true}
		if !c.lane.Put(nil, ipc.TypeTxnMember, m.Append(c.lane.Scratch())) {
			return false
		}
	}
	return true
}

// tellRequests tells what is parked in logicsrv: the records of other requests are in the ring.
// tell returns false, and sets done so, where that is full.
func (c *Conn) tellRequests(tell func(r *session.Request, done *bool) bool) bool {
	done := true
	c.pending.Each(func(r *session.Request) {
		if done && r.Req > c.resyncReq && tell(r, &done) {
			c.resyncReq = r.Req
		}
	})
	return done
}

// tellPull tells a request again if it is a Pull without an answer.
func (c *Conn) tellPull(r *session.Request, done *bool) bool {
	if p := c.pullOf(r); p != nil && !p.Answered {
		record := p.Pull(c.head(p.Req))
		*done = c.lane.Put(nil, ipc.TypePull, record.Append(c.lane.Scratch()))
		p.Told = p.Told || *done
	}
	return *done
}

// tellWait tells a request again if it is a Wait.
func (c *Conn) tellWait(r *session.Request, done *bool) bool {
	switch {
	case r.Park != nil && r.Park.Line:
		*done = c.lane.Put(nil, ipc.TypeWaitStable, c.lineWait(r.Req, r.Park))
	case r.Park != nil:
		*done = c.putWait(nil, r.Req, r.Park.Index, r.Park.Beyond, r.Park.Offset)
	case r.Sub != nil && r.Sub.Wait == r.Req && r.Sub.Answered:
		*done = c.putWait(nil, r.Req, r.Sub.Index, r.Sub.Next, r.Sub.Next)
	case r.Sub != nil && r.Sub.Wait == r.Req:
		*done = c.putWait(nil, r.Req, r.Sub.Index, ipc.WaitNow, r.Sub.Next)
	default:
		return true
	}
	return *done
}
