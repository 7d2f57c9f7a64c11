package core

import (
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// Where a batch comes to lie that has been routed: in which index of a queue, and whether the
// queue takes it at all.
//
//	partition                       its index
//	… whose topic does not take it  nowhere, and the publisher is told, as by a full queue that rejects;
//	                                in its index if he was told before
//	queue                           its index, or that of the message's priority
//	full queue, drop-head           … and at the end of the turn the oldest make room
//	full queue, reject              nowhere, and the publisher is told; in its index if he was
//	                                told before that it is stored (delays, commits, dead letters)
//	full queue, reject-publish-dlx  in its index, where it dies at once; the publisher is told

// placing is where one batch goes: the result of place, valid until the next.
type placing struct {
	targets  []journal.Target
	full     uint32        // queues and topics that do not take it
	level    ipc.Level     // the highest of the targets'
	newborn  []journal.Run // of targets: those that die at once
	fullName string        // of one of those, for people
}

// arrival is a batch that is to be placed.
type arrival struct {
	priority uint8
	count    uint32
	weight   uint32
	bytes    uint32 // of the batch; 0 if it is promised
	keyless  bool   // a record has no key, as far as is known
	promised bool   // it was acknowledged to its publisher before
}

// place finds a place in each of c.targets for a batch. Indexes for priorities that come for the first
// time are made by events of their own.
func (c *Core) place(a arrival) *placing {
	p := &c.placing
	*p = placing{targets: p.targets[:0], newborn: p.newborn[:0], level: ipc.LevelMemory}
	for _, ix := range c.targets {
		q := ix.owner()
		if q == nil {
			if !a.promised && !ix.topic.takes(&a) {
				p.refuse(ix.topic.name)
				continue
			}
			p.targets = append(p.targets, journal.Target{Index: ix.id, Base: ix.next})
			p.level = max(p.level, ix.level)
			continue
		}
		dies := false
		switch {
		case q.accepts(a.count, a.weight):
		case q.set.Overflow == admin.DropHead:
			c.overflows(q)
		case a.promised && q.set.Overflow == admin.RejectPublish:
			// Nobody can be told any more; what was acknowledged is not dropped.
		case !c.resynced:
			// What is in hands does not count, and is not known yet: it is not called full.
		case q.set.Overflow == admin.RejectPublish:
			p.refuse(q.name)
			continue
		default:
			p.refuse(q.name)
			dies = true
		}
		to := c.laneFor(q, a.priority)
		p.targets = append(p.targets, to)
		p.level = max(p.level, q.level)
		if dies {
			p.newborn = append(p.newborn, journal.Run{Index: to.Index, Range: ipc.Range{First: to.Base, Count: a.count}})
		}
	}
	return p
}

// placedBytes is what an entry takes at most for a batch in one of its targets: there, a reference, and
// perhaps an index that has to be made, or its death there at once.
const placedBytes = targetBytes + journal.RefSize + roomBytes

// placeBytes is what an entry takes for references to a batch of a priority in all of c.targets.
func (c *Core) placeBytes(priority uint8) (n int) {
	for _, ix := range c.targets {
		n += targetBytes + journal.RefSize
		if q := ix.owner(); q != nil && (q.lane(q.clip(priority)) == nil || q.set.Overflow == admin.RejectDeadLetter) {
			n += roomBytes
		}
	}
	return n
}

// refuse counts a queue or topic of that name that does not take the batch.
func (p *placing) refuse(name string) {
	p.full++
	p.fullName = name
}

// takes tells whether a topic takes a batch that comes through an exchange, as it takes those that are sent to it.
func (t *topic) takes(a *arrival) bool {
	max := t.set.MaxMessageBytes
	return (max < 0 || int64(a.bytes) <= max) && !(t.set.Compact && a.keyless)
}

// accepts tells whether a queue stays within its limits with so much more.
func (q *queue) accepts(count, weight uint32) bool {
	if m := q.set.MaxMessages; m.Given && q.readyNow()+uint64(count) > m.N {
		return failpoint.Broken("queue-limit-ignored")
	}
	if m := q.set.MaxBytes; m.Given && q.readyBytes()+uint64(weight) > m.N {
		return failpoint.Broken("queue-limit-ignored")
	}
	return true
}

// readyBytes is what all ready messages of a queue weigh.
func (q *queue) readyBytes() (bytes uint64) {
	for _, k := range q.cursors {
		bytes += k.readyBytes()
	}
	return bytes
}

// laneFor is the place of the next message of a priority in a queue.
func (c *Core) laneFor(q *queue, priority uint8) journal.Target {
	if failpoint.Broken("priorities-ignored") {
		priority = 0
	}
	k := q.lane(q.clip(priority))
	if k == nil {
		return c.addLane(q, q.clip(priority))
	}
	return journal.Target{Index: k.ix.id, Base: k.ix.next}
}

// addLane decides an index for messages of a priority. The event bears no input: it is not
// that input's outcome.
func (c *Core) addLane(q *queue, priority uint8) journal.Target {
	id := c.lastID + 1
	ev := journal.LaneAdded{Pos: journal.NoInput, Queue: q.id, Index: id, Priority: priority}
	c.turn.raise(max(q.level, ipc.LevelPage))
	c.turn.events = ev.Append(c.turn.events)
	c.op(journal.OpCreate, ipc.IndexSettings{Index: id})
	c.applyNew()
	return journal.Target{Index: id}
}

// killNewborn lets die what a full queue has taken for its dead-letter exchange alone.
func (c *Core) killNewborn(newborn []journal.Run) {
	for _, run := range newborn {
		ix, _ := c.indexes.get(run.Index)
		c.die(ix.cursor, ipc.ReasonMaxLength, ipc.Head{}, 0, []ipc.Range{run.Range})
	}
}

// overflows lists a queue that may have more ready than it may hold.
func (c *Core) overflows(q *queue) {
	limited := q.set.MaxMessages.Given || q.set.MaxBytes.Given
	if limited && q.set.Overflow == admin.DropHead && !q.over {
		q.over = true
		c.over = append(c.over, q)
	}
}

// dropHeads lets the oldest ready messages of full queues die, those of the lowest priority
// first, as far as the turn has room. It comes behind the deliveries: what a consumer can have
// need not be dropped.
func (c *Core) dropHeads() {
	if !c.resynced {
		return // what is in hands does not count, and is not known yet
	}
	done := 0
	for _, q := range c.over {
		if !q.gone && q.set.Overflow == admin.DropHead && !c.dropHead(q) { // a policy may want it to refuse meanwhile
			break
		}
		q.over = false
		done++
	}
	rest := copy(c.over, c.over[done:])
	clear(c.over[rest:])
	c.over = c.over[:rest]
}

// dropHead lets die what one queue holds too much; false: the turn has no room for all.
func (c *Core) dropHead(q *queue) bool {
	for _, k := range q.cursors { // in order of priority, lowest first
		for {
			n := q.excess(k)
			if n == 0 {
				break
			}
			if !c.takeRoom(1) {
				return false
			}
			first := k.nextFree(k.floor)
			if failpoint.Broken("newest-dropped") {
				first = k.ix.next - 1
			}
			if first >= k.ix.next {
				break // nothing is ready here
			}
			next := min(first+n, first+maxCount, k.ix.next, k.acked.nextSet(first), k.taken.nextSet(first))
			c.die(k, ipc.ReasonMaxLength, ipc.Head{}, 0, []ipc.Range{{First: first, Count: uint32(next - first)}})
		}
	}
	return true
}

// excess is how many messages of a cursor, from its front on, the queue has too many.
func (q *queue) excess(k *cursor) (n uint64) {
	if m := q.set.MaxMessages; m.Given {
		if ready := q.readyNow(); ready > m.N {
			n = ready - m.N
		}
	}
	if m := q.set.MaxBytes; m.Given && n == 0 {
		if bytes := q.readyBytes(); bytes > m.N {
			n = k.sizes.covering(k.nextFree(k.floor), bytes-m.N)
		}
	}
	return n
}
