package kafkaconn

import (
	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/invariant"
	"github.com/trimq/trimq/protocol/ipc"
)

// Resync tells the Waits again, in answer to a marker. There are no consumers of queues here.
func (c *Conn) Resync(_ ipc.Marker, first bool) bool {
	return c.tellAgain(first, isWait)
}

// AskAgain tells what members of groups wait for.
func (c *Conn) AskAgain(first bool) bool {
	return c.tellAgain(first, func(typ ipc.Type) bool { return !isWait(typ) })
}

// isWait tells what waits for the end of an index.
func isWait(typ ipc.Type) bool { return typ == ipc.TypeWait || typ == ipc.TypeWaitStable }

// tellAgain puts what is parked in logicsrv into the ring again, from where the last call stopped;
// false: the ring is full.
func (c *Conn) tellAgain(first bool, wanted func(ipc.Type) bool) bool {
	if c.state == stateClosed {
		return true
	}
	if first {
		c.resyncReq = 0
	}
	done := true
	c.pending.Each(func(r *session.Request) {
		if !done || r.Req <= c.resyncReq {
			return
		}
		if typ, record := c.parked(r); record != nil && wanted(typ) {
			done = c.loop.Lane.Put(nil, typ, record)
		}
		if done {
			c.resyncReq = r.Req
		}
	})
	return done
}

// parked is the record of a request that logicsrv has parked; nil: of no other.
func (c *Conn) parked(r *session.Request) (ipc.Type, []byte) {
	switch r.Command {
	case ofWatch:
		return c.watchRecord(r.Req, r.Correlation)
	case ofAsk:
		if k := c.callOf(uint32(r.Correlation >> 32)); k != nil {
			if a := &k.asks[uint32(r.Correlation)]; again(a.typ) {
				return a.typ, k.now(a)
			}
		}
	}
	return 0, nil
}

// now is the record of a question as it is told again: a pull that was to end waits no longer.
func (k *call) now(a *ask) []byte {
	if k.share == nil || !k.share.gathering || a.typ != ipc.TypePullFrom {
		return a.record
	}
	m, err := ipc.DecodePullFrom(a.record)
	invariant.Check(err == nil, "a pull of ours cannot be read: %v", err)
	m.Wait = false
	return m.Append(nil)
}
