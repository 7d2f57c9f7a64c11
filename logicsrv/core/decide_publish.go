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
// for another. No target is success, with 0 queues, unless the message is mandatory.

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
	if code, text := checkBatch(m.Level, &m.Batch, 0); code != errcode.OK {
		c.reject(m.Head, code, text)
		return
	}
	switch s, queues := c.producers.judge(x.id, &m.Batch); s {
	case fresh:
	case repeated, outdated:
		c.answerRepublished(m, uint32(queues))
		return
	default:
		code, text := refusal(s, &m.Batch)
		c.reject(m.Head, code, text)
		return
	}
	c.msg = message{m.RoutingKey, m.Headers}
	c.route(x, &c.msg)
	switch n := len(c.targets); {
	case n == 0 && m.Mandatory:
		c.reject(m.Head, errcode.Unroutable, fmt.Sprintf("no queue is bound to exchange %s for key %s", quoted(m.Exchange), quoted(m.RoutingKey)))
	case n > c.cfg.MaxTargets:
		c.reject(m.Head, errcode.LimitExceeded, fmt.Sprintf("a batch reaches %d queues; at most %d are allowed", n, c.cfg.MaxTargets))
	default:
		c.routeBatch(m, bodyOff, x)
	}
}

// routeBatch decides that the batch becomes the next offsets of all of c.targets.
func (c *Core) routeBatch(m *ipc.Publish, bodyOff int, x *exchange) {
	t := c.turn
	ev := &c.routed
	*ev = journal.Routed{
		Pos: c.in.Pos, Exchange: x.id, Count: m.Batch.Count, BaseSeq: m.Batch.BaseSeq,
		ProducerID: m.Batch.ProducerID, Epoch: m.Batch.Epoch, Targets: ev.Targets[:0],
	}
	visible := ipc.LevelMemory // the highest level of those it reaches
	for _, ix := range c.targets {
		ev.Targets = append(ev.Targets, journal.Target{Index: ix.id, Base: ix.next})
		visible = max(visible, ix.level)
	}
	level := m.Level
	if level == ipc.LevelUnset {
		level = visible
	}
	t.raise(max(level, visible))
	t.events = ev.Append(t.events)
	if len(c.targets) > 0 {
		c.addItems(m, bodyOff)
	}
	c.stats.Routed++
	c.stats.Records += uint64(m.Batch.Count)
	if m.Req != 0 {
		reply := ipc.Published{Head: m.Head, Queues: uint32(len(ev.Targets))}
		t.sent(c.ownGate(level), ipc.TypePublished, reply.Append(t.recs))
	}
}

// addItems makes the body part of each target's index. Inside the batch stands one base
// offset only: a partition's if there is one, since partitions are sent as they lie in the
// log; readers of other indexes patch it.
func (c *Core) addItems(m *ipc.Publish, bodyOff int) {
	t := c.turn
	base := c.targets[0].next
	for _, ix := range c.targets {
		if ix.topic != nil {
			base = ix.next
			break
		}
	}
	body := t.addBody(&c.in, bodyOff, &m.Batch, base)
	for _, ix := range c.targets {
		t.items = append(t.items, journal.IndexItem{
			Index: ix.id, Base: ix.next, Count: m.Batch.Count, Body: body, MaxTimeMS: m.Batch.MaxTimeMS,
		})
	}
}

// answerRepublished repeats the answer to a batch that was routed before.
func (c *Core) answerRepublished(m *ipc.Publish, queues uint32) {
	t := c.turn
	level := m.Level
	if level == ipc.LevelUnset {
		level = ipc.LevelDisk // where it went then is not known any more
	}
	ev := journal.Duplicate{Pos: c.in.Pos, Queues: queues}
	t.raise(level)
	t.events = ev.Append(t.events)
	c.stats.Duplicates++
	if m.Req != 0 {
		reply := ipc.Published{Head: m.Head, Queues: queues, Duplicate: true}
		t.sent(c.ownGate(level), ipc.TypePublished, reply.Append(t.recs))
	}
}
