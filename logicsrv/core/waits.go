package core

import (
	"fmt"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
)

// The long poll of a fetch. connsrv serves reads by itself as far as it knows an index to be
// visible. At the end it sends a Wait, beyond what it knows, and answers the client when Visible
// comes. After a Marker it tells the waits again that have no answer, so a parked one is soft
// state like any other. Waits are many and short-lived: their entries are reused, and a Wait
// that is told twice is parked once.

// wait is a parked Wait. It stands in two lists, its index's and its connection's, and in
// Core.waits by its request. Free ones are kept for reuse, linked by ixNext.
type wait struct {
	head   ipc.Head
	beyond uint64
	ix     *index

	ixNext, ixPrev     *wait
	connNext, connPrev *wait
}

// decideWait answers at once if more is visible, or if nobody wants to wait; else it parks.
func (c *Core) decideWait() {
	m, err := ipc.DecodeWait(c.in.Payload)
	if err != nil {
		c.malformed()
		return
	}
	if !c.current(m.Epoch) || m.Req == 0 {
		return
	}
	if w := c.waits[m.Req]; w != nil {
		c.unpark(w) // told again
	}
	ix, ok := c.indexes.get(m.Index)
	switch {
	case !ok || ix.limbo != nil: // nobody reads what belongs to nobody yet
		c.refuse(m.Head, errcode.UnknownIndex, fmt.Sprintf("index %d is no queue or partition", m.Index))
	case m.Beyond == ipc.WaitNow || ix.visible > m.Beyond:
		c.tellVisible(m.Head, ix)
	// A wait for an offset that was never given out would be silent for ever, and then lead to
	// a read of the wrong record: after a power cut a client may come with such a one.
	case m.Beyond > ix.next:
		c.refuse(m.Head, errcode.OffsetOutOfRange, fmt.Sprintf("offset %d of an index that ends at %d", m.Beyond, ix.next))
	case len(c.waits) >= c.cfg.MaxWaits:
		c.refuse(m.Head, errcode.LimitExceeded, fmt.Sprintf("at most %d parked requests", c.cfg.MaxWaits))
	default:
		c.park(&m, ix)
	}
}

// decideUnwait takes a Wait back. Where its answer is under way already, connsrv drops that.
func (c *Core) decideUnwait() {
	m, err := ipc.DecodeUnwait(c.in.Payload)
	if err != nil {
		c.malformed()
		return
	}
	if !c.current(m.Epoch) {
		return
	}
	if w := c.waits[m.Target]; w != nil && w.head.Conn == m.Conn {
		c.unpark(w)
	}
}

// tellVisible answers with the visible end: readable already, so it may go at once.
func (c *Core) tellVisible(h ipc.Head, ix *index) {
	m := ipc.Visible{Head: h, Index: ix.id, End: ix.visible}
	c.turn.sent(atOnce, ipc.TypeVisible, m.Append(c.turn.recs))
}

// park keeps a Wait until more is visible, its connection closes or its index goes.
func (c *Core) park(m *ipc.Wait, ix *index) {
	w := c.freeWaits
	if w != nil {
		c.freeWaits = w.ixNext
	} else {
		w = new(wait)
	}
	owner := c.connOf(m.Conn)
	*w = wait{head: m.Head, beyond: m.Beyond, ix: ix, ixNext: ix.waits, connNext: owner.waits}
	if w.ixNext != nil {
		w.ixNext.ixPrev = w
	}
	if w.connNext != nil {
		w.connNext.connPrev = w
	}
	ix.waits, owner.waits = w, w
	c.waits[m.Req] = w
}

// unpark takes w out of its lists and keeps it for reuse.
func (c *Core) unpark(w *wait) {
	delete(c.waits, w.head.Req)
	// Out of the index's list …
	if w.ixNext != nil {
		w.ixNext.ixPrev = w.ixPrev
	}
	if w.ixPrev != nil {
		w.ixPrev.ixNext = w.ixNext
	} else {
		w.ix.waits = w.ixNext
	}
	// … and of the connection's, which may be gone itself by now.
	if w.connNext != nil {
		w.connNext.connPrev = w.connPrev
	}
	if w.connPrev != nil {
		w.connPrev.connNext = w.connNext
	} else if owner := c.conns[w.head.Conn]; owner != nil {
		owner.waits = w.connNext
		c.dropConn(w.head.Conn, owner)
	}
	*w = wait{ixNext: c.freeWaits}
	c.freeWaits = w
}

// wakeWaits answers those that wait for what has just become visible.
func (c *Core) wakeWaits(ix *index) {
	for w := ix.waits; w != nil; {
		next := w.ixNext
		if ix.visible > w.beyond {
			c.tellVisible(w.head, ix)
			c.unpark(w)
		}
		w = next
	}
}

// refuseWaits ends all waits on an index that is deleted.
func (c *Core) refuseWaits(ix *index) {
	for w := ix.waits; w != nil; w = ix.waits {
		c.refuse(w.head, errcode.UnknownIndex, fmt.Sprintf("index %d has been deleted", ix.id))
		c.unpark(w)
	}
}
