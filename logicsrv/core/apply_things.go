package core

import (
	"slices"
	"strings"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// applyThing applies the events that make and end topics, queues, exchanges and bindings.
func (c *Core) applyThing(ev journal.Event, timeMS int64) error {
	switch ev.Type {
	case journal.EvTopicCreated:
		e, err := journal.DecodeTopicCreated(ev)
		return firstError(err, func() error { return c.applyTopicCreated(&e, timeMS) })
	case journal.EvTopicDeleted:
		e, err := journal.DecodeTopicDeleted(ev)
		return firstError(err, func() error { return c.applyTopicDeleted(&e) })
	case journal.EvPartitionsAdded:
		e, err := journal.DecodePartitionsAdded(ev)
		return firstError(err, func() error { return c.applyPartitionsAdded(&e) })
	case journal.EvQueueCreated:
		e, err := journal.DecodeQueueCreated(ev)
		return firstError(err, func() error { return c.applyQueueCreated(&e) })
	case journal.EvQueueDeleted:
		e, err := journal.DecodeQueueDeleted(ev)
		return firstError(err, func() error { return c.applyQueueDeleted(&e) })
	case journal.EvExchangeCreated:
		e, err := journal.DecodeExchangeCreated(ev)
		return firstError(err, func() error { return c.applyExchangeCreated(&e) })
	case journal.EvExchangeDeleted:
		e, err := journal.DecodeExchangeDeleted(ev)
		return firstError(err, func() error { return c.applyExchangeDeleted(&e) })
	case journal.EvBindingCreated:
		e, err := journal.DecodeBindingCreated(ev)
		return firstError(err, func() error { return c.applyBindingCreated(&e.Binding) })
	case journal.EvBindingDeleted:
		e, err := journal.DecodeBindingDeleted(ev)
		return firstError(err, func() error { return c.applyBindingDeleted(&e.Binding) })
	}
	return c.applyGroup(ev, timeMS)
}

// keepable tells whether an index can have this level: a broker that stands alone has no quorum.
func keepable(level ipc.Level) bool { return level >= ipc.LevelMemory && level <= ipc.LevelDisk }

// claimID takes an id into use. Ids only rise, so one that has ended is never given again.
func (c *Core) claimID(id uint64) error {
	// Within the shard's own range: another shard's ids would collide with those of its log.
	if id <= c.lastID || id>>shardShift != uint64(c.cfg.Shard) {
		return misfit("id %d, when %d is in use", id, c.lastID)
	}
	c.lastID = id
	return nil
}

// applyTopicCreated: topic and partitions get the ids that decide chose. The time of creation is
// that of the entry, the same on replay.
func (c *Core) applyTopicCreated(e *journal.TopicCreated, timeMS int64) error {
	if _, ok := c.dests[e.Name]; ok || !keepable(e.Level) || e.RetentionBytes < 0 || e.RetentionMS < 0 {
		return misfit("topic %q of level %d, retention %d bytes, %d ms", e.Name, e.Level, e.RetentionBytes, e.RetentionMS)
	}
	if err := c.claimID(e.ID); err != nil {
		return err
	}
	t := &topic{
		id: e.ID, uuid: e.UUID, name: strings.Clone(e.Name), level: e.Level,
		retentionBytes: e.RetentionBytes, retentionMS: e.RetentionMS, createdMS: timeMS,
	}
	t.dest = &destination{name: t.name, topic: t}
	c.topics.add(t.name, t)
	c.topicByID[t.id] = t
	c.dests[t.name] = t.dest
	return c.addIndexes(t, e.Indexes)
}

// applyPartitionsAdded: keys move to other partitions from here on, as they do in Kafka.
func (c *Core) applyPartitionsAdded(e *journal.PartitionsAdded) error {
	t := c.topicByID[e.ID]
	if t == nil {
		return misfit("topic %d does not exist", e.ID)
	}
	return c.addIndexes(t, e.Indexes)
}

// addIndexes appends partitions to a topic, in the order of their numbers.
func (c *Core) addIndexes(t *topic, ids []uint64) error {
	if len(t.partitions)+len(ids) == 0 {
		return misfit("topic %d without partitions", t.id)
	}
	for _, id := range ids {
		if err := c.claimID(id); err != nil {
			return err
		}
		ix := &index{id: id, level: t.level, topic: t}
		t.partitions = append(t.partitions, ix)
		c.indexes.add(id, ix)
	}
	c.partitions += len(ids)
	c.topicChanged(t.name)
	return nil
}

// applyTopicDeleted forgets the topic with all that refers to it: partitions, bindings, the lanes
// of producers, the positions of groups. Its ids are never used again, so what is on its way with
// one of them (marks, waits, records in ring 12345) finds nothing instead of a stranger.
func (c *Core) applyTopicDeleted(e *journal.TopicDeleted) error {
	t := c.topicByID[e.ID]
	if t == nil {
		return misfit("topic %d does not exist", e.ID)
	}
	gone := make(map[uint64]bool, len(t.partitions))
	for _, ix := range t.partitions {
		gone[ix.id] = true
		c.dropIndex(ix)
	}
	c.partitions -= len(t.partitions)
	c.dropDestination(t.dest)
	c.topics.remove(t.name)
	delete(c.topicByID, t.id)
	c.producers.forget(gone)
	for _, name := range c.groups.keys() {
		c.indexesGone(c.groupOf(name), gone)
	}
	c.topicChanged(t.name)
	return nil
}

// dropIndex forgets an index; marks and consumers on their way see that it is gone.
func (c *Core) dropIndex(ix *index) {
	ix.gone = true
	c.indexes.remove(ix.id)
	if !c.begun {
		c.endedInReplay = append(c.endedInReplay, ix.id)
	}
}

// dropDestination forgets a name and all bindings to it.
func (c *Core) dropDestination(d *destination) {
	for len(d.bindings) > 0 {
		c.unbind(d.bindings[len(d.bindings)-1])
	}
	delete(c.dests, d.name)
}

// applyQueueCreated: the queue begins empty at offset 0; its index is its id.
func (c *Core) applyQueueCreated(e *journal.QueueCreated) error {
	if _, ok := c.dests[e.Name]; ok || !keepable(e.Level) {
		return misfit("queue %q of level %d", e.Name, e.Level)
	}
	if err := c.claimID(e.Index); err != nil {
		return err
	}
	q := &queue{name: strings.Clone(e.Name), durable: e.Durable}
	c.addQueue(&index{id: e.Index, level: e.Level, queue: q})
	return nil
}

// addQueue enters a queue under its id and its name; the checkpoint is loaded through it too.
func (c *Core) addQueue(ix *index) {
	q := ix.queue
	q.dest = &destination{name: q.name, queue: ix}
	c.indexes.add(ix.id, ix)
	c.queues.add(q.name, ix)
	c.dests[q.name] = q.dest
}

// applyQueueDeleted forgets the queue, its messages and the bindings to it. Consumers were ended
// by decide; those of a replay do not exist.
func (c *Core) applyQueueDeleted(e *journal.QueueDeleted) error {
	ix, ok := c.indexes.get(e.Index)
	if !ok || ix.queue == nil {
		return misfit("queue %d does not exist", e.Index)
	}
	c.dropIndex(ix)
	c.dropDestination(ix.queue.dest)
	c.queues.remove(ix.queue.name)
	return nil
}

// applyExchangeCreated: an exchange without bindings.
func (c *Core) applyExchangeCreated(e *journal.ExchangeCreated) error {
	if _, ok := c.exchanges.get(e.Name); ok || e.Type < admin.Fanout || e.Type > admin.Headers {
		return misfit("exchange %q of type %d", e.Name, e.Type)
	}
	if err := c.claimID(e.ID); err != nil {
		return err
	}
	c.addExchange(&exchange{id: e.ID, name: strings.Clone(e.Name), typ: e.Type, durable: e.Durable, router: newRouter(e.Type)})
	return nil
}

// addExchange enters an exchange under its id, which events name, and its name.
func (c *Core) addExchange(x *exchange) {
	c.exchanges.add(x.name, x)
	c.exchByID[x.id] = x
}

// applyExchangeDeleted forgets the exchange, its bindings and the lanes of producers to it. The
// default exchange stays.
func (c *Core) applyExchangeDeleted(e *journal.ExchangeDeleted) error {
	x := c.exchByID[e.ID]
	if x == nil || x.router == nil {
		return misfit("exchange %d does not exist", e.ID)
	}
	if x.bindings > 0 {
		for _, b := range c.bindingsOf(x) {
			c.unbind(b)
		}
	}
	c.exchanges.remove(x.name)
	delete(c.exchByID, x.id)
	c.producers.forget(map[uint64]bool{x.id: true})
	return nil
}

// bindingsOf lists an exchange's bindings, in order.
func (c *Core) bindingsOf(x *exchange) []*binding {
	out := make([]*binding, 0, x.bindings)
	ids := c.bindings.keys()
	from, _ := slices.BinarySearch(ids, x.name+"\x00")
	for _, id := range ids[from:] {
		b, _ := c.bindings.get(id)
		if b.exchange != x {
			break
		}
		out = append(out, b)
	}
	return out
}

// applyBindingCreated binds. The event bears names, which are resolved again here: no id of a
// binding exists, its parts are its identity. Strings are cloned, they alias the entry.
func (c *Core) applyBindingCreated(m *admin.CreateBinding) error {
	x, known := c.exchanges.get(m.Exchange)
	d := c.dests[m.Queue]
	if !known || d == nil || x.router == nil || strings.IndexByte(m.RoutingKey, 0) >= 0 {
		return misfit("binding of %q to %q", m.Queue, m.Exchange)
	}
	headers := make([]ipc.Header, len(m.Headers))
	for i, h := range m.Headers {
		headers[i] = ipc.Header{Key: strings.Clone(h.Key), Value: strings.Clone(h.Value)}
	}
	b := &binding{exchange: x, dest: d, key: strings.Clone(m.RoutingKey), matchAny: m.MatchAny, headers: orderHeaders(headers)}
	info := b.info()
	if _, ok := c.bindings.get(identity(&info)); ok {
		return misfit("%q is bound to %q already", m.Queue, m.Exchange)
	}
	c.bind(b)
	return nil
}

// bind enters a binding in all four places that know of it: the list of all, the exchange's
// router and count, the destination.
func (c *Core) bind(b *binding) {
	info := b.info()
	c.bindings.add(identity(&info), b)
	b.exchange.router.bind(b)
	b.exchange.bindings++
	b.dest.bindings = append(b.dest.bindings, b)
}

// unbind is the reverse of bind. The order of what is left means nothing, see router.
func (c *Core) unbind(b *binding) {
	info := b.info()
	c.bindings.remove(identity(&info))
	b.exchange.router.unbind(b)
	b.exchange.bindings--
	b.dest.bindings = without(b.dest.bindings, b)
}

// applyBindingDeleted finds the binding by its parts.
func (c *Core) applyBindingDeleted(m *admin.CreateBinding) error {
	m.Headers = orderHeaders(m.Headers)
	b, ok := c.bindings.get(identity(m))
	if !ok {
		return misfit("%q is not bound to %q", m.Queue, m.Exchange)
	}
	c.unbind(b)
	return nil
}
