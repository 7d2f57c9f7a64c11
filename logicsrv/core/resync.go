package core

import (
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/ipc"
)

// Soft state is connsrv's, and reaches core in one way only: as the answer to the latest
// marker, and what follows it in the ring. A Hello is no second way to become synced: read
// again after a restart it would let us deliver what consumers already hold.
//
//	Begin, or a Hello ──► Marker(term, ask) ──► … SubState … ResyncEnd, from every loop
//
// Until the last ResyncEnd nothing is delivered and no new consumer joins.

// Why this is a consistent cut without a time-out: both rings are in order. Everything that an
// earlier logicsrv sent lies before the marker in ring 54321, so connsrv has seen all of its
// deliveries when it answers. Everything that connsrv had to say before (verdicts, credit,
// closed connections) lies before its answer in ring 12345, so it is in the state when the
// answer is read. Verdicts in between need no table to be applied.
//
// What may go wrong, and why it does not:
//
//   - a marker's answer is under way when logicsrv dies: its term is another, it is dropped;
//   - connsrv dies while it answers: the next Hello makes a new marker, and the first is void;
//   - a Hello is read again: one more marker; the answers to all but the latest are dropped;
//   - a consumer is told again that has asked to be one in the ring as well: the state told
//     wins, for it holds what was delivered.

// sendMarker asks for all soft state.
func (c *Core) sendMarker() {
	c.ask++
	c.resynced, c.toldLoops = false, 0
	c.told = [maxLoops]bool{}
	if failpoint.Broken("no-marker") {
		c.resynced = true
		return
	}
	m := ipc.Marker{Term: c.ownTerm, Ask: c.ask}
	c.turn.sent(atOnce, ipc.TypeMarker, m.Append(c.turn.recs))
}

// learnEpoch takes connsrv's epoch from the first input behind a restart, whatever it is: who owns
// a queue or a transaction has to be known before anything is decided. The ring is in order, so
// the oldest record in it bears the lowest epoch, and a Hello of each later one comes before all
// else of it.
func (c *Core) learnEpoch() {
	if c.epoch != 0 || c.in.Type == ipc.TypeSkip {
		return
	}
	if h, ok := ipc.PeekHead(c.in.Payload); ok {
		c.epoch = h.Epoch
	}
}

// current tells whether soft state of this epoch counts.
func (c *Core) current(epoch uint64) bool { return epoch == c.epoch && epoch != 0 }

// decideHello: a connsrv has attached. What its predecessor's connections held goes back.
func (c *Core) decideHello() {
	m, err := ipc.DecodeHello(c.in.Payload)
	if err != nil || m.Epoch == 0 || m.Loops == 0 || m.Loops > maxLoops {
		c.malformed()
		return
	}
	if m.Epoch < c.epoch {
		return // of one that was followed by another; its soft state is gone already
	}
	// An equal epoch is a Hello that is read again, or whose epoch we learned from a record
	// behind it: nothing to drop, but the marker may have been lost with our predecessor.
	if m.Epoch > c.epoch {
		c.dropSoft()
		c.epoch = m.Epoch
	}
	c.ownerGone(0)
	if failpoint.Broken("hello-syncs") {
		c.resynced = true
		return
	}
	c.sendMarker()
}

// dropSoft forgets all consumers and waits.
func (c *Core) dropSoft() {
	for _, q := range c.queues.all {
		for len(q.consumers) > 0 {
			c.detach(q.consumers[0])
		}
		for len(q.pullers) > 0 {
			c.detach(q.pullers[0])
		}
		q.pulls = pullList{}
	}
	for _, ix := range c.indexes.all {
		ix.waits = nil
	}
	clear(c.conns)
	clear(c.waits)
	clear(c.pulls)
	clear(c.txnGroups)
	c.freeWaits = nil
	c.joining = c.joining[:0]
	c.dropParked()
}

// decideSubState takes one consumer's state in.
func (c *Core) decideSubState() {
	m, err := ipc.DecodeSubState(c.in.Payload)
	if err != nil {
		c.malformed()
		return
	}
	if !c.current(m.Epoch) || m.Term != c.ownTerm || m.Ask != c.ask || c.resynced {
		return // the answer to another marker
	}
	id := subID{m.Conn, m.Sub}
	if c.consumers[id] != nil {
		return // told twice
	}
	q := c.queueByID[m.Queue]
	if q == nil {
		// Deleted by our predecessor, who may have died before it said so.
		if !m.Consumer.Puller {
			c.closeSub(m.Head, m.Sub)
		}
		return
	}
	c.dropJoining(func(s *ipc.Subscribe) bool { return subID{s.Conn, s.Sub} == id })
	k := &consumer{subID: id, queue: q, limit: m.Limit, delivered: m.Delivered, wants: m.Consumer}
	c.join(k)
	for _, h := range m.InHand {
		if cur := q.cursor(h.Index); cur != nil {
			c.holdAgain(k, cur, h.Range)
		}
	}
}

// holdAgain puts a range that connsrv reports in hand into the consumer's hand, less what
// is done with, leased or dead or, were connsrv wrong, in another's hand.
func (c *Core) holdAgain(k *consumer, cur *cursor, r ipc.Range) {
	next := min(r.First+uint64(r.Count), cur.ix.next)
	if r.First >= next || (next > cur.floor && next-cur.floor > maxSpan/2) {
		return
	}
	cur.readyIn(r.First, next, func(first, next uint64) bool {
		cur.take(first, next)
		k.hand(cur).add(first, next)
		c.mindHand(k, cur, first, next)
		return true
	})
}

// decideResyncEnd: one loop has told all. With the last one the cut is consistent.
func (c *Core) decideResyncEnd() {
	m, err := ipc.DecodeResyncEnd(c.in.Payload)
	if err != nil || m.Loops > maxLoops || m.Loop >= m.Loops {
		c.malformed()
		return
	}
	if !c.current(m.Epoch) || m.Term != c.ownTerm || m.Ask != c.ask || c.resynced || c.told[m.Loop] {
		return
	}
	c.told[m.Loop] = true
	c.toldLoops++
	if c.toldLoops < m.Loops {
		return // each loop speaks for its own connections
	}
	c.resynced = true
	joining := c.joining
	c.joining = nil
	for i := range joining {
		c.joinLate(&joining[i])
	}
	// All of them: what was ready when they joined was not delivered so long.
	for _, q := range c.queues.all {
		c.touch(q)
	}
	c.lookAtUnused()
	c.lookAtTxns()
}
