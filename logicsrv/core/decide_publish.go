package core

import (
	"fmt"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// The way of a batch through an exchange is that into a partition (decide_append.go) with a list
// of targets instead of one index. One body, one event, one item for each target: a message for
// 20 queues is stored once. All targets are in one entry, so it is in all of them or in none.
//
// Who publishes is answered at the highest level among what the batch reached, unless it asked
// for another. No target is success, with 0 queues, unless the message is mandatory. A queue that
// is full and takes no more is no error either, nor is a topic that does not take such a batch: the
// answer says how many there were.

// decidePublish routes a batch through an exchange. One body, however many it reaches.
func (c *Core) decidePublish() {
	m := &c.publish
	bodyOff, err := m.Decode(c.in.Payload)
	if err != nil {
		c.malformed()
		return
	}
	x, ok := c.exchanges.get(m.Exchange)
	if !ok {
		c.reject(m.Head, errcode.NotFound, "there is no exchange "+quoted(m.Exchange))
		return
	}
	if x.spec.Internal && !failpoint.Broken("internal-open") {
		c.reject(m.Head, errcode.AccessRefused, "exchange "+quoted(m.Exchange)+" is internal: only other exchanges hand it messages")
		return
	}
	if bodyOff > c.cfg.maxNote() {
		c.reject(m.Head, errcode.LimitExceeded, fmt.Sprintf("routing key and headers of %d bytes; at most %d are allowed", bodyOff, c.cfg.maxNote()))
		return
	}
	if code, text := checkBatch(m.Level, &m.Batch, 0); code != errcode.OK {
		c.reject(m.Head, code, text)
		return
	}
	switch s, result := c.producers.judge(x.id, &m.Batch, false); s {
	case fresh:
		if failpoint.Broken("appends-dropped") && m.Req%5 == 0 {
			c.answerRepublished(m, 1)
			return
		}
	case repeated, outdated:
		c.answerRepublished(m, result)
		return
	default:
		code, text := refusal(s, &m.Batch)
		c.reject(m.Head, code, text)
		return
	}
	if m.Txn != 0 && !failpoint.Broken("txn-visible-early") {
		c.holdPublish(m, bodyOff, x)
		return
	}
	if m.DelayedOnly && !x.spec.Delayed && !failpoint.Broken("delayed-only-ignored") {
		m.DueMS = 0
	}
	if c.msg = (message{m.RoutingKey, m.Headers, m.MoreKeys}); failpoint.Broken("more-keys-ignored") {
		c.msg.more = nil
	}
	c.route(x, &c.msg)
	switch n := len(c.targets); {
	case m.NoHeaders && (c.headersSeen || c.deathLooks()) && !failpoint.Broken("no-headers-ignored"):
		c.reject(m.Head, errcode.NeedHeaders, fmt.Sprintf("exchange %s, or one behind it, looks at headers", quoted(m.Exchange)))
	case n == 0 && m.Mandatory:
		c.reject(m.Head, errcode.Unroutable, fmt.Sprintf("no queue is bound to exchange %s for key %s", quoted(m.Exchange), quoted(m.RoutingKey)))
	case n > c.cfg.MaxTargets, n > c.cfg.MaxTargets/4 && c.placeBytes(m.Priority) > c.cfg.MaxEntryBytes/2:
		c.reject(m.Head, errcode.LimitExceeded, fmt.Sprintf("a batch reaches %d queues; at most %d are allowed", n, c.cfg.MaxTargets))
	case n > 0 && m.DueMS > c.turn.timeMS:
		c.delayBatch(m, bodyOff, x)
	default:
		c.routeBatch(m, bodyOff, x)
	}
}

// deathLooks tells whether one of c.targets is a queue whose dead-letter exchange looks at headers: what
// was left out now could not be found out when a message dies.
func (c *Core) deathLooks() bool {
	for _, ix := range c.targets {
		q := ix.owner()
		if q == nil || !q.set.DeadLetter {
			continue
		}
		if x, ok := c.exchanges.get(q.set.DeadLetterExchange); ok && x.looksAtHeaders() {
			return true
		}
	}
	return false
}

// sent is what events say of a published batch.
func sent(m *ipc.Publish, x *exchange) journal.Sent {
	return journal.Sent{
		Exchange: x.id, Count: m.Batch.Count, BaseSeq: m.Batch.BaseSeq, ProducerID: m.Batch.ProducerID,
		Epoch: m.Batch.Epoch, Weight: m.Weight, TTLMS: m.TTLMS,
	}
}

// noteOf is what consumers will be told of it, and what it is routed by later.
func noteOf(m *ipc.Publish) ipc.Note {
	return ipc.Note{Exchange: m.Exchange, Key: m.RoutingKey, Headers: m.Headers, Priority: m.Priority, More: m.MoreKeys}
}

// routeNoted routes what was noted before, into c.targets.
func (c *Core) routeNoted(x *exchange, n *ipc.Note) {
	if c.msg = (message{n.Key, n.Headers, n.More}); failpoint.Broken("more-keys-forgotten") {
		c.msg.more = nil
	}
	c.route(x, &c.msg)
}

// routeBatch decides that the batch becomes the next offsets of all of c.targets, but for
// queues that are full.
func (c *Core) routeBatch(m *ipc.Publish, bodyOff int, x *exchange) {
	t := c.turn
	p := c.place(arrival{priority: m.Priority, count: m.Batch.Count, weight: m.Weight, bytes: m.Batch.Length, keyless: m.Keyless})
	if m.Whole && p.full > 0 && m.Batch.Count > 1 && !failpoint.Broken("whole-ignored") {
		c.reject(m.Head, errcode.QueueFull, fmt.Sprintf("queue %s cannot take all of %d messages", quoted(p.fullName), m.Batch.Count))
		return
	}
	ev := journal.Routed{Pos: c.in.Pos, Sent: sent(m, x), Full: p.full, Dying: uint32(len(p.newborn)), Targets: p.targets, Note: noteOf(m)}
	level := m.Level
	if level == ipc.LevelUnset {
		level = p.level
	}
	x.count(m.Batch.Count, len(p.targets)-len(p.newborn))
	t.raise(max(level, p.level))
	note := journal.NoteAt(len(t.events))
	t.events = ev.Append(t.events)
	if len(p.targets) > 0 {
		c.addItems(m, bodyOff, p.targets, note)
	}
	c.stats.Routed++
	c.stats.Records += uint64(m.Batch.Count)
	if m.Req != 0 {
		reply := ipc.Published{Head: m.Head, Queues: reached(&ev), Full: p.full}
		t.sent(c.ownGate(level), ipc.TypePublished, reply.Append(t.recs))
	}
	if len(p.newborn) > 0 {
		c.applyNew()
		c.killNewborn(p.newborn)
	}
}

// addItems makes the body part of each target's index. Inside the batch stands one base
// offset only: a partition's if there is one, since partitions are sent as they lie in the
// log; readers of other indexes patch it.
func (c *Core) addItems(m *ipc.Publish, bodyOff int, targets []journal.Target, note uint32) {
	t := c.turn
	base := targets[0].Base
	for _, to := range targets {
		if ix, ok := c.indexes.get(to.Index); ok && ix.topic != nil {
			base = to.Base
			break
		}
	}
	body := t.addBody(&c.in, bodyOff, &m.Batch, base, note)
	for _, to := range targets {
		t.items = append(t.items, journal.IndexItem{
			Index: to.Index, Base: to.Base, Count: m.Batch.Count, Body: body, MaxTimeMS: m.Batch.MaxTimeMS,
		})
	}
}

// reached is how many queues and partitions have a routed batch: those are left out where it dies
// at once.
func reached(e *journal.Routed) uint32 { return uint32(len(e.Targets)) - e.Dying }

// routedResult is how a producer's lane remembers the answer to a published batch.
func routedResult(queues, full uint32) uint64 { return uint64(full)<<32 | uint64(queues) }

// answerRepublished repeats the answer to a batch that was routed before.
func (c *Core) answerRepublished(m *ipc.Publish, result uint64) {
	t := c.turn
	level := m.Level
	if level == ipc.LevelUnset {
		level = ipc.LevelDisk // where it went then is not known any more
	}
	ev := journal.Duplicate{Pos: c.in.Pos, Queues: uint32(result), Full: uint32(result >> 32)}
	t.raise(level)
	t.events = ev.Append(t.events)
	c.stats.Duplicates++
	if m.Req != 0 {
		reply := ipc.Published{Head: m.Head, Queues: ev.Queues, Full: ev.Full, Duplicate: true}
		t.sent(c.ownGate(level), ipc.TypePublished, reply.Append(t.recs))
	}
}
