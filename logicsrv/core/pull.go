package core

import (
	"fmt"
	"slices"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/invariant"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// Pulls take what is ready, or wait for it. What they get is either in the hand of the connection,
// like what was pushed, or leased: invisible for a time, which is hard state, for it holds whatever
// becomes of connections and daemons.
//
// A Pull that waits is soft state: connsrv tells it again after a Marker, unless it has been
// answered. So one that is read before its event loop has answered the Marker is void: if it was
// answered by our predecessor, nobody waits for it, and to give it messages would be to give them
// to nobody. And one that is told again may have a lease already, of which the answer was lost:
// it gets the same once more.

// pull is a Pull that waits. It stands in two lists, its queue's and its connection's.
type pull struct {
	ipc.Pull
	queue   *queue
	indexes []uint64 // that it is restricted to, in order; none: it is not

	queueLinks, connLinks links
}

// links are a pull's neighbours in one list.
type links struct{ next, prev *pull }

// pullList is a list of pulls, oldest first.
type pullList struct {
	first, last *pull
	n           int
	brief       int // of them those that do not wait for what is yet to be published
}

func (l *pullList) push(p *pull, at func(*pull) *links) {
	if at(p).prev = l.last; l.last != nil {
		at(l.last).next = p
	} else {
		l.first = p
	}
	l.last = p
	l.n++
	if !p.Wait {
		l.brief++
	}
}

func (l *pullList) remove(p *pull, at func(*pull) *links) {
	k := at(p)
	if k.prev != nil {
		at(k.prev).next = k.next
	} else {
		l.first = k.next
	}
	if k.next != nil {
		at(k.next).prev = k.prev
	} else {
		l.last = k.prev
	}
	*k = links{}
	l.n--
	if !p.Wait {
		l.brief--
	}
}

func ofQueue(p *pull) *links { return &p.queueLinks }
func ofConn(p *pull) *links  { return &p.connLinks }

// decidePull answers a Pull, or parks it.
func (c *Core) decidePull() {
	m, indexes, err := c.readPull()
	if err != nil {
		c.malformed()
		return
	}
	if !c.current(m.Epoch) || m.Req == 0 || c.void(m.Conn) {
		return
	}
	q := c.queueByID[m.Queue]
	switch {
	case q == nil:
		c.reject(m.Head, errcode.UnknownIndex, fmt.Sprintf("there is no queue with the id %d", m.Queue))
		return
	case m.Max == 0 || m.Max > ipc.MaxPull:
		c.reject(m.Head, errcode.InvalidArgument, fmt.Sprintf("a pull of %d messages; 1 to %d are allowed", m.Max, ipc.MaxPull))
		return
	case m.InvisibleMS > maxDelayMS:
		c.reject(m.Head, errcode.InvalidArgument, fmt.Sprintf("messages cannot be invisible for %d ms; at most %d", m.InvisibleMS, int64(maxDelayMS)))
		return
	case c.locked(q, m.Head):
		c.reject(m.Head, errcode.Locked, fmt.Sprintf("queue %s belongs to another connection", quoted(q.name)))
		return
	}
	if c.pulls[m.Req] != nil || c.answered[asker{m.Epoch, m.Req}] {
		return // told twice
	}
	c.unused(q)
	p := &pull{Pull: m, queue: q, indexes: indexes}
	c.expireFirst(q)
	switch {
	case !c.mayHand() || c.overdue(q) || !c.leaseFits(p):
		// Until all loops have told what is in hand, and what has expired is dead, nobody can be
		// given anything.
		c.parkPull(p)
	case c.leaseAgain(p):
	case c.serve(p, c.in.Pos, c.cfg.turnPulled()) > 0:
	case m.Wait, p.comes():
		c.parkPull(p)
	default:
		c.answerPull(p, atOnce, nil, 0, 0)
	}
}

// comes tells whether messages that the pull may get are stored and not visible yet. One that was
// asked for after they were published gets them: it waits for the disk, as little as that is. Those
// of topics are left out, of which it may be long before they count.
func (p *pull) comes() bool {
	if failpoint.Broken("pull-overtakes") {
		return false
	}
	return slices.ContainsFunc(p.queue.cursors, func(k *cursor) bool {
		return k.ix.cursor == k && k.ix.visible < k.ix.next && (p.indexes == nil || listed(p.indexes, k.ix.id))
	})
}

// readPull reads a Pull of either kind.
func (c *Core) readPull() (ipc.Pull, []uint64, error) {
	if c.in.Type == ipc.TypePull {
		m, err := ipc.DecodePull(c.in.Payload)
		return m, nil, err
	}
	m, err := ipc.DecodePullFrom(c.in.Payload)
	slices.Sort(m.Indexes)
	return m.Pull, m.Indexes, err
}

// void tells whether a soft request that waits is void: its loop has not answered the Marker,
// and tells it again if it still waits.
func (c *Core) void(conn uint64) bool { return !c.resynced && !c.told[conn%maxLoops] }

// asker names a Pull.
type asker struct{ epoch, req uint64 }

// notePulls notes which pulls our predecessors gave leases: they alone may be told again and have
// one, for within a term no Marker that asks the same connsrv follows a lease.
func (c *Core) notePulls() {
	c.leasedTo = map[asker]bool{}
	for _, q := range c.queues.all {
		for _, k := range q.cursors {
			for _, l := range k.leases.list {
				c.leasedTo[l.v.asker] = true
			}
		}
	}
}

// leaseAgain answers a Pull that has been told again from the lease that it got.
func (c *Core) leaseAgain(p *pull) bool {
	who := asker{p.Epoch, p.Req}
	if p.InvisibleMS == 0 || !c.leasedTo[who] || failpoint.Broken("lease-retold-twice") {
		return false
	}
	var runs []ipc.PulledRun
	var info leaseInfo
	for _, k := range p.queue.cursors {
		for _, l := range k.leases.list {
			if l.v.asker == who {
				info = l.v
				attempts, _ := k.attempts.at(l.first)
				runs = append(runs, ipc.PulledRun{Index: k.ix.id, First: l.first, Count: uint32(l.next - l.first), Attempts: attempts})
			}
		}
	}
	if len(runs) == 0 {
		return false // it is over
	}
	c.answerPull(p, c.pastGate(ipc.LevelPage), runs, info.lease, info.until)
	return true
}

// serve gives a pull what is ready, in most runs at most: they stand in its answer and, if they
// are leased, in an event, both of which have limits. It returns how many runs it gave; 0: nothing
// is ready. pos is of the input that asks now; NoInput: it has waited.
func (c *Core) serve(p *pull, pos uint64, most int) int {
	runs := c.pullReady(p, most)
	if len(runs) == 0 {
		return 0
	}
	if p.InvisibleMS == 0 {
		c.giveTo(p, runs)
		return len(runs)
	}
	t, q := c.turn, p.queue
	ev := journal.Leased{
		Pos: pos, Epoch: p.Epoch, Req: p.Req, Queue: q.id, Lease: t.serial(q.lease), UntilMS: t.timeMS + int64(p.InvisibleMS),
	}
	for _, r := range runs {
		ev.Runs = append(ev.Runs, journal.Run{Index: r.Index, Range: ipc.Range{First: r.First, Count: r.Count}})
	}
	t.raise(ipc.LevelPage)
	t.events = ev.Append(t.events)
	c.answerPull(p, c.ownGate(ipc.LevelPage), runs, ev.Lease, ev.UntilMS)
	c.applyNew()
	return len(runs)
}

// leaseFits tells whether the entry takes the event of a lease, if it is to be one.
func (c *Core) leaseFits(p *pull) bool {
	return p.InvisibleMS == 0 || c.fits(80+20*int(min(uint64(p.Max), uint64(c.cfg.turnPulled()))))
}

// pullReady takes up to as many ready messages as a pull asks for, in maxRuns runs at most and in
// the order of deliveries.
func (c *Core) pullReady(p *pull, maxRuns int) (runs []ipc.PulledRun) {
	for most := uint64(p.Max); most > 0 && len(runs) < maxRuns; {
		k, first, next, attempts, ok := p.queue.nextReadyOf(p.indexes, most)
		if !ok {
			break
		}
		k.take(first, next)
		k.scan = next
		most -= next - first
		runs = append(runs, ipc.PulledRun{Index: k.ix.id, First: first, Count: uint32(next - first), Attempts: attempts})
	}
	return runs
}

// giveTo puts pulled messages into the hand of who pulls for the connection.
func (c *Core) giveTo(p *pull, runs []ipc.PulledRun) {
	k := c.puller(p.subID(), p.queue)
	for _, r := range runs {
		k.hand(p.queue.cursor(r.Index)).add(r.First, r.First+uint64(r.Count))
		k.delivered += uint64(r.Count)
		c.stats.Delivered += uint64(r.Count)
	}
	c.answerPull(p, atOnce, runs, 0, 0)
}

func (p *pull) subID() subID { return subID{p.Conn, p.Sub} }

// puller is the consumer in whose hand pulled messages are, made where there is none.
func (c *Core) puller(id subID, q *queue) *consumer {
	if k := c.consumers[id]; k != nil {
		return k
	}
	k := &consumer{subID: id, queue: q, wants: ipc.Consumer{Puller: true}}
	c.join(k)
	return k
}

// answerPull tells what a pull has got.
func (c *Core) answerPull(p *pull, g gate, runs []ipc.PulledRun, lease uint64, untilMS int64) {
	m := ipc.Pulled{Head: p.Head, Queue: p.Queue, Lease: lease, UntilMS: untilMS, Filter: p.queue.filter(), Runs: runs}
	c.turn.sent(g, ipc.TypePulled, m.Append(c.turn.recs))
}

// parkPull keeps a Pull until there is something for it, or it is ended.
func (c *Core) parkPull(p *pull) {
	if len(c.pulls) >= c.cfg.MaxWaits {
		c.reject(p.Head, errcode.LimitExceeded, fmt.Sprintf("at most %d parked requests", c.cfg.MaxWaits))
		return
	}
	p.queue.pulls.push(p, ofQueue)
	c.connOf(p.Conn).pulls.push(p, ofConn)
	c.pulls[p.Req] = p
	c.touch(p.queue)
}

// unparkPull takes a Pull out of its lists.
func (c *Core) unparkPull(p *pull) {
	delete(c.pulls, p.Req)
	p.queue.pulls.remove(p, ofQueue)
	if owner := c.conns[p.Conn]; owner != nil {
		owner.pulls.remove(p, ofConn)
		c.dropConn(p.Conn, owner)
	}
	c.unused(p.queue)
}

// servePulls gives what is ready to the pulls that wait, oldest first; false: the turn's limit,
// in runs, came first.
func (c *Core) servePulls(q *queue, left *int) bool {
	for p := q.pulls.first; p != nil && !c.overdue(q); {
		next := p.queueLinks.next
		if *left <= 0 || !c.leaseFits(p) {
			return false
		}
		runs := 1
		if !c.leaseAgain(p) {
			runs = c.serve(p, journal.NoInput, min(*left, c.cfg.turnPulled()))
		}
		if runs == 0 {
			waits := p.Wait || p.comes()
			if waits && p.indexes == nil && q.pulls.brief == 0 {
				return true
			}
			if waits { // there may be something for one that asks for others, or one that waits no longer
				p = next
				continue
			}
			c.answerPull(p, atOnce, nil, 0, 0)
		}
		*left -= max(runs, 1)
		c.unparkPull(p)
		p = next
	}
	return true
}

// decidePullEnd answers a Pull that waits with nothing. Where its answer is under way, that is it.
func (c *Core) decidePullEnd() {
	m, err := ipc.DecodePullEnd(c.in.Payload)
	if err != nil {
		c.malformed()
		return
	}
	if !c.current(m.Epoch) {
		return
	}
	if p := c.pulls[m.Target]; p != nil && p.Conn == m.Conn {
		c.answerPull(p, atOnce, nil, 0, 0)
		c.unparkPull(p)
	}
}

// refusePulls ends all pulls from a queue that is deleted.
func (c *Core) refusePulls(q *queue) {
	for p := q.pulls.first; p != nil; p = q.pulls.first {
		c.refuse(p.Head, errcode.UnknownIndex, fmt.Sprintf("queue %s has been deleted", quoted(q.name)))
		c.unparkPull(p)
	}
}

// decideExtend sets another end to the lease of a message.
func (c *Core) decideExtend() {
	m, err := ipc.DecodeExtend(c.in.Payload)
	if err != nil {
		c.malformed()
		return
	}
	k, code, text := c.leased(m.Queue, m.Index, m.Lease, []ipc.Range{{First: m.Offset, Count: 1}})
	if code == errcode.OK && m.InvisibleMS > maxDelayMS {
		code, text = errcode.InvalidArgument, fmt.Sprintf("messages cannot be invisible for %d ms; at most %d", m.InvisibleMS, int64(maxDelayMS))
	}
	if code != errcode.OK {
		c.reject(m.Head, code, text)
		return
	}
	t := c.turn
	if m.InvisibleMS == 0 {
		g := c.givingFor(k, c.in.Pos, ipc.ReasonLeaseOver, ipc.LevelPage, 1)
		g.give(m.Offset, m.Offset+1)
		g.done()
	} else {
		t.raise(ipc.LevelPage)
		ev := journal.LeaseMoved{
			Pos: c.in.Pos, Queue: m.Queue, Index: m.Index, Offset: m.Offset, Lease: m.Lease, UntilMS: t.timeMS + int64(m.InvisibleMS),
		}
		t.events = ev.Append(t.events)
	}
	c.answerExtend(m.Head, c.ownGate(ipc.LevelPage))
}

func (c *Core) answerExtend(h ipc.Head, g gate) {
	if h.Req != 0 {
		reply := ipc.Done{Head: h}
		c.turn.sent(g, ipc.TypeExtended, reply.Append(c.turn.recs))
	}
}

// leased finds the cursor of messages of which all have one lease.
func (c *Core) leased(queue, index, lease uint64, ranges []ipc.Range) (*cursor, errcode.Code, string) {
	k, code, text := c.cursorFor(queue, index, ranges)
	if code != errcode.OK {
		return nil, code, text
	}
	for _, r := range ranges {
		for at, next := r.First, r.First+uint64(r.Count); at < next; {
			run, ok := k.leases.at(at)
			if !ok || run.v.lease != lease {
				return nil, errcode.LeaseExpired, fmt.Sprintf("the lease %d of offset %d is over", lease, at)
			}
			invariant.Check(run.next > at, "lease %d of [%d,%d) at %d", lease, run.first, run.next, at)
			at = run.next
		}
	}
	return k, errcode.OK, ""
}
