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
	stable bool   // it waits for the stable end
	from   uint64 // … and its reader goes on from here
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
	c.waitFor(&wait{head: m.Head, beyond: m.Beyond}, m.Index)
}

// decideWaitStable is the same for a committed reader.
func (c *Core) decideWaitStable() {
	m, err := ipc.DecodeWaitStable(c.in.Payload)
	if err != nil {
		c.malformed()
		return
	}
	if !c.current(m.Epoch) || m.Req == 0 {
		return
	}
	c.waitFor(&wait{head: m.Head, beyond: m.Beyond, stable: true, from: m.From}, m.Index)
}

// waitFor answers or parks a wait for an index.
func (c *Core) waitFor(m *wait, index uint64) {
	if w := c.waits[m.head.Req]; w != nil {
		c.unpark(w) // told again
	}
	ix, ok := c.indexes.get(index)
	if ok && m.beyond == ipc.WaitStored {
		if m.beyond = ipc.WaitNow; ix.next > 0 {
			m.beyond = ix.next - 1
		}
	}
	switch {
	case !ok || ix.limbo != nil: // nobody reads what belongs to nobody yet
		c.refuse(m.head, errcode.UnknownIndex, fmt.Sprintf("index %d is no queue or partition", index))
	case m.beyond == ipc.WaitNow || m.end(ix) > m.beyond:
		c.tellEnd(m, ix)
	// A wait for an offset that was never given out would be silent for ever, and then lead to
	// a read of the wrong record: after a power cut a client may come with such a one.
	case m.beyond > ix.next:
		c.refuse(m.head, errcode.OffsetOutOfRange, fmt.Sprintf("offset %d of an index that ends at %d", m.beyond, ix.next))
	case len(c.waits) >= c.cfg.MaxWaits:
		c.refuse(m.head, errcode.LimitExceeded, fmt.Sprintf("at most %d parked requests", c.cfg.MaxWaits))
	default:
		c.park(m, ix)
	}
}

// end is up to where there is something for who waits.
func (w *wait) end(ix *index) uint64 {
	if w.stable {
		return ix.readable()
	}
	return ix.visible
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

// tellEnd answers with the visible end: readable already, so it may go at once. Where there are, or
// were, batches of transactions it is both ends, with what a committed reader has to know.
func (c *Core) tellEnd(w *wait, ix *index) {
	t := c.turn
	if ix.txns == nil && !w.stable {
		m := ipc.Visible{Head: w.head, Index: ix.id, End: ix.visible}
		t.sent(atOnce, ipc.TypeVisible, m.Append(t.recs))
		return
	}
	m := ipc.Stable{Head: w.head, Index: ix.id, End: ix.visible, Stable: ix.readable(), To: noOffset}
	switch {
	case ix.topic != nil && ix.txns == nil:
		m.To = ix.visible
	case ix.txns != nil && w.stable:
		m.Aborted, m.From, m.To = ix.txns.abortedFrom(w.from)
	case ix.txns != nil:
		m.From, m.To = m.Stable, m.Stable
	}
	t.sent(atOnce, ipc.TypeStable, m.Append(t.recs))
}

// park keeps a Wait until more is visible, its connection closes or its index goes.
func (c *Core) park(m *wait, ix *index) {
	w := c.freeWaits
	if w != nil {
		c.freeWaits = w.ixNext
	} else {
		w = new(wait)
	}
	owner := c.connOf(m.head.Conn)
	*w = wait{head: m.head, beyond: m.beyond, stable: m.stable, from: m.from, ix: ix, ixNext: ix.waits, connNext: owner.waits}
	if w.ixNext != nil {
		w.ixNext.ixPrev = w
	}
	if w.connNext != nil {
		w.connNext.connPrev = w
	}
	ix.waits, owner.waits = w, w
	c.waits[m.head.Req] = w
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
		if w.end(ix) > w.beyond {
			c.tellEnd(w, ix)
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
