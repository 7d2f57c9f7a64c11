package core

import (
	"slices"

	"github.com/trimq/trimq/protocol/errcode"
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
	c.redeemed = nil
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
	if k := c.consumers[id]; k != nil {
		k.recalls = 0 // connsrv counts anew
		return        // told twice
	}
	q := c.queueByID[m.Queue]
	if q == nil {
		// Deleted by our predecessor, who may have died before it said so.
		if !m.Consumer.Puller {
			c.closeSub(m.Head, m.Sub)
		}
		return
	}
	if m.Delivered == 0 && c.joinsLate(id, m.Limit) {
		return
	}
	c.dropJoining(func(s *joiner) bool { return subID{s.Conn, s.Sub} == id })
	k := &consumer{subID: id, queue: q, limit: m.Limit, delivered: m.Delivered, wants: m.Consumer}
	c.join(k)
	if k.delivered > 0 && !k.wants.Puller && !failpoint.Broken("active-forgotten") {
		q.active = k // where one at a time gets messages it is this one: nobody else has got any
	}
	for _, h := range m.InHand {
		if cur := q.cursor(h.Index); cur != nil {
			c.unredeemed(id, h.Index, h.Range, func(r ipc.Range) {
				c.holdAgain(k, cur, r)
				c.leasedMeanwhile(k, cur, r)
			})
		}
	}
}

// joinsLate is told of a consumer that has got nothing yet. If its Subscribe is in the ring it joins
// by that, once all others are known: it may be that it cannot be one beside them.
func (c *Core) joinsLate(id subID, limit uint64) bool {
	for i := range c.joining {
		if s := &c.joining[i]; s.Conn == id.conn && s.Sub == id.sub {
			s.Limit, s.told = limit, true
			return true
		}
	}
	return false
}

// keepAlone sees to it that an exclusive consumer is the only one. A Subscribe that was answered
// during a resync, of which our predecessor did not see the end, was compared with nobody; who has
// got something is not one of those.
func (c *Core) keepAlone(q *queue) {
	exclusive := func(k *consumer) bool { return k.wants.Exclusive }
	if len(q.consumers) < 2 || !slices.ContainsFunc(q.consumers, exclusive) {
		return
	}
	stays := q.consumers[0]
	for _, k := range q.consumers {
		if k.delivered > 0 {
			stays = k
		}
	}
	for _, k := range slices.Clone(q.consumers) {
		if k != stays && (k.wants.Exclusive || stays.wants.Exclusive) {
			c.endSub(ipc.Head{Epoch: c.epoch, Conn: k.conn}, k.sub, errcode.InUse, "another consumer has the queue")
			c.leave(k)
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

// leasedMeanwhile tells a consumer what it does not hold any more although connsrv says so: it was
// taken from it, and pulled with a lease, and our predecessor died before it could say that.
func (c *Core) leasedMeanwhile(k *consumer, cur *cursor, r ipc.Range) {
	ranges := c.recalled[:0]
	cur.leases.within(r.First, r.First+uint64(r.Count), func(first, next uint64) {
		ranges = append(ranges, ipc.Range{First: first, Count: uint32(next - first)})
	})
	c.recalled = ranges
	for len(ranges) > 0 {
		n := min(len(ranges), maxRanges)
		c.tellRecall(k, cur, ranges[:n])
		ranges = ranges[n:]
	}
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
	// A Subscribe that lies before this, and of which the loop has told nothing, is one that is read
	// again: its consumer has ended since, by what our predecessor said.
	c.dropJoining(func(s *joiner) bool { return s.Conn%maxLoops == uint64(m.Loop) && !s.told })
	if c.toldLoops < m.Loops {
		return // each loop speaks for its own connections
	}
	c.resynced, c.redeemed = true, nil
	c.findLost()
	for _, q := range c.queues.all {
		c.keepAlone(q)
	}
	joining := c.joining
	c.joining = nil
	for i := range joining {
		c.joinLate(&joining[i].Subscribe)
	}
	// All of them: what was ready when they joined was not delivered so long, and what was in hands
	// of which nothing is told is ready again.
	for _, q := range c.queues.all {
		c.touch(q)
		c.overflows(q)
	}
	c.lookAtUnused()
	c.lookAtTxns()
}
