package core

import (
	"slices"
	"strings"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
	"github.com/trimq/trimq/protocol/topicconf"
)

// applyThing applies the events that make and end topics, queues, exchanges and bindings.
func (c *Core) applyThing(ev journal.Event, timeMS int64) error {
	switch ev.Type {
	case journal.EvTopicCreated:
		e, err := journal.DecodeTopicCreated(ev)
		return firstError(err, func() error { return c.applyTopicCreated(&e, timeMS) })
	case journal.EvTopicConfigured:
		e, err := journal.DecodeTopicConfigured(ev)
		return firstError(err, func() error { return c.applyTopicConfigured(&e) })
	case journal.EvRecordsDeleted:
		_, err := journal.DecodeRecordsDeleted(ev) // where partitions begin is persistsrv's knowledge
		return err
	case journal.EvTopicDeleted:
		e, err := journal.DecodeTopicDeleted(ev)
		return firstError(err, func() error { return c.applyTopicDeleted(&e, timeMS) })
	case journal.EvPartitionsAdded:
		e, err := journal.DecodePartitionsAdded(ev)
		return firstError(err, func() error { return c.applyPartitionsAdded(&e) })
	case journal.EvQueueCreated:
		e, err := journal.DecodeQueueCreated(ev)
		return firstError(err, func() error { return c.applyQueueCreated(&e) })
	case journal.EvQueueDeleted:
		e, err := journal.DecodeQueueDeleted(ev)
		return firstError(err, func() error { return c.applyQueueDeleted(e.Queue, timeMS) })
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
	return c.applyDefinition(ev, timeMS)
}

// keepable tells whether an index can have this level: a broker that stands alone has no quorum.
func keepable(level ipc.Level) bool { return level >= ipc.LevelMemory && level <= ipc.LevelDisk }

// inShard tells whether an id is of the shard's own range, without the reserved ones.
func (c *Core) inShard(id uint64) bool {
	first := uint64(c.cfg.Shard) << shardShift
	return id >= first && id-first < 1<<shardShift-reservedIDs
}

// claimID takes an id into use. Ids only rise, so one that has ended is never given again.
func (c *Core) claimID(id uint64) error {
	// Within the shard's own range: another shard's ids would collide with those of its log.
	if id <= c.lastID || !c.inShard(id) {
		return misfit("id %d, when %d is in use", id, c.lastID)
	}
	c.lastID = id
	return nil
}

// applyTopicCreated: topic and partitions get the ids that decide chose. The time of creation is
// that of the entry, the same on replay.
func (c *Core) applyTopicCreated(e *journal.TopicCreated, timeMS int64) error {
	if _, ok := c.dests[e.Name]; ok || !keepable(e.Level) || !topicconf.Sound(e.Configs) {
		return misfit("topic %q of level %d, configuration %s", e.Name, e.Level, topicconf.Text(e.Configs))
	}
	if err := c.claimID(e.ID); err != nil {
		return err
	}
	t := &topic{id: e.ID, uuid: e.UUID, name: strings.Clone(e.Name), level: e.Level, createdMS: timeMS}
	t.configure(e.Configs)
	t.dest = &destination{name: t.name, topic: t}
	c.topics.add(t.name, t)
	c.topicByID[t.id] = t
	c.dests[t.name] = t.dest
	return c.addIndexes(t, e.Indexes)
}

// applyTopicConfigured: it counts for what is decided from here on.
func (c *Core) applyTopicConfigured(e *journal.TopicConfigured) error {
	t := c.topicByID[e.ID]
	if t == nil || !topicconf.Sound(e.Configs) {
		return misfit("topic %d, configuration %s", e.ID, topicconf.Text(e.Configs))
	}
	t.configure(e.Configs)
	return nil
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
		for _, q := range t.views {
			c.addView(q, ix, uint32(len(t.partitions)-1))
		}
	}
	c.partitions += len(ids)
	c.topicChanged(t.name)
	return nil
}

// applyTopicDeleted forgets the topic with all that refers to it: partitions, bindings, the lanes
// of producers, the positions of groups. Its ids are never used again, so what is on its way with
// one of them (marks, waits, records in ring 12345) finds nothing instead of a stranger.
func (c *Core) applyTopicDeleted(e *journal.TopicDeleted, timeMS int64) error {
	t := c.topicByID[e.ID]
	if t == nil {
		return misfit("topic %d does not exist", e.ID)
	}
	for len(t.views) > 0 { // queues over it go with it
		if err := c.applyQueueDeleted(t.views[0].id, timeMS); err != nil {
			return err
		}
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
	c.txnalsForget(gone)
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

// applyQueueCreated: the queue begins empty at offset 0; its index is its id. One over a topic has
// no index of its own.
func (c *Core) applyQueueCreated(e *journal.QueueCreated) error {
	_, taken := c.queues.get(e.Name)
	if _, ok := c.dests[e.Name]; ok || taken || !keepable(e.Level) {
		return misfit("queue %q of level %d", e.Name, e.Level)
	}
	if err := c.claimID(e.Queue); err != nil {
		return err
	}
	q := &queue{id: e.Queue, name: strings.Clone(e.Name), level: e.Level, owner: e.Owner}
	set := cloneSettings(&e.Settings)
	q.declared = c.intern(&set)
	c.govern(q)
	if set.Topic == "" {
		c.addQueue(q, &index{id: e.Queue, level: e.Level})
		c.unused(q)
		return nil
	}
	t, ok := c.topics.get(set.Topic)
	if !ok || len(e.Starts) != len(t.partitions) {
		return misfit("queue %q over topic %q with %d positions", e.Name, set.Topic, len(e.Starts))
	}
	c.addQueue(q, nil)
	for i, ix := range t.partitions {
		if s := e.Starts[i]; s.Index != ix.id || s.Offset > ix.next {
			return misfit("queue %q at %d of index %d", e.Name, s.Offset, s.Index)
		}
		c.addView(q, ix, uint32(i)).floor = e.Starts[i].Offset
	}
	c.unused(q)
	return c.shareBegun(q)
}

// cloneSettings keeps settings whose strings alias an event.
func cloneSettings(s *admin.QueueSettings) admin.QueueSettings {
	out := *s
	out.DeadLetterExchange, out.DeadLetterKey = strings.Clone(s.DeadLetterExchange), strings.Clone(s.DeadLetterKey)
	out.Topic, out.Filter, out.Arguments = strings.Clone(s.Topic), strings.Clone(s.Filter), strings.Clone(s.Arguments)
	return out
}

// addQueue enters a queue under its id and its name; the checkpoint is loaded through it too. ix
// is its index, nil for one over a topic, to which nothing can be published.
func (c *Core) addQueue(q *queue, ix *index) {
	c.queues.add(q.name, q)
	c.queueByID[q.id] = q
	c.countQueue(q, 1)
	if q.set.Exclusive {
		c.own(q.owner)
	}
	if ix == nil {
		t, _ := c.topics.get(q.set.Topic)
		q.topic = t
		t.views = append(t.views, q)
		if group, _, ok := shareOf(q.name); ok {
			c.shares[group]++
		}
		return
	}
	q.dest = &destination{name: q.name, queue: q}
	c.dests[q.name] = q.dest
	q.own = cursor{queue: q, ix: ix}
	ix.cursor = &q.own
	q.cursors = append(q.cursors, &q.own)
	c.indexes.add(ix.id, ix)
}

// addView gives a queue over a topic its cursor in a partition.
func (c *Core) addView(q *queue, ix *index, number uint32) *cursor {
	k := &cursor{queue: q, ix: ix, number: number}
	q.cursors = append(q.cursors, k)
	ix.views = append(ix.views, k)
	return k
}

// applyQueueDeleted forgets the queue, its messages and the bindings to it. Consumers were ended
// by decide; those of a replay do not exist.
func (c *Core) applyQueueDeleted(id uint64, timeMS int64) error {
	q := c.queueByID[id]
	if q == nil {
		return misfit("queue %d does not exist", id)
	}
	q.gone = true
	for _, k := range q.cursors {
		if q.topic == nil {
			c.dropIndex(k.ix)
		} else {
			k.ix.views = slices.DeleteFunc(k.ix.views, func(v *cursor) bool { return v == k })
		}
	}
	if q.topic != nil {
		q.topic.views = slices.DeleteFunc(q.topic.views, func(v *queue) bool { return v == q })
	} else {
		c.dropDestination(q.dest)
	}
	c.queues.remove(q.name)
	delete(c.queueByID, q.id)
	c.countQueue(q, -1)
	if q.set.Exclusive {
		c.disown(q.owner)
	}
	c.shareEnded(q, timeMS)
	return nil
}
