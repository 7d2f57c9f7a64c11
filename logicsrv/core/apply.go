package core

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/invariant"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// ErrReplay is wrapped by what Replay finds wrong with an entry: it does not follow from
// the state before it, so the log is damaged or from elsewhere.
var ErrReplay = errors.New("the entry does not fit the state")

func misfit(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrReplay, fmt.Sprintf(format, args...))
}

// Replay applies one entry of the log. After an error the core is of no use any more.
func (c *Core) Replay(e *journal.Entry) error {
	invariant.Check(!c.begun, "replay of lsn=%d within a term", e.LSN)
	switch {
	case e.LSN != c.nextLSN():
		return misfit("lsn %d behind %d", e.LSN, c.lsn)
	case e.Shard != c.cfg.Shard:
		return misfit("lsn %d is of shard %d, not %d", e.LSN, e.Shard, c.cfg.Shard)
	case e.Term < c.term:
		return misfit("lsn %d is of term %d behind %d", e.LSN, e.Term, c.term)
	}
	if err := c.apply(e.Events, e.TimeMS); err != nil {
		return fmt.Errorf("lsn %d: %w", e.LSN, err)
	}
	c.commit(e)
	return nil
}

// commit ends an entry whose events have been applied.
func (c *Core) commit(e *journal.Entry) {
	c.lsn, c.term, c.nonce, c.pos = e.LSN, e.Term, e.Nonce, e.Pos
	c.timeMS = max(c.timeMS, e.TimeMS)
	if e.Level >= ipc.LevelDisk {
		c.lastDisk = e.LSN
	}
}

// applyNew applies the events that were decided since mark: the bytes that go to the log,
// read as replay will read them.
func (c *Core) applyNew(mark int) {
	t := c.turn
	if len(t.events) == mark {
		return
	}
	invariant.Check(t.level != ipc.LevelUnset, "an event without a level")
	err := c.apply(t.events[mark:], t.timeMS)
	invariant.Check(err == nil, "decided what cannot be applied: %v", err)
}

// apply folds encoded events into the hard state. It is the only code that changes it.
func (c *Core) apply(events []byte, timeMS int64) error {
	r := journal.Events(events)
	for {
		ev, ok := r.Next()
		if !ok {
			return r.Err()
		}
		if err := c.applyEvent(ev, timeMS); err != nil {
			return fmt.Errorf("event of type %d at position %d: %w", ev.Type, ev.Pos, err)
		}
	}
}

func (c *Core) applyEvent(ev journal.Event, timeMS int64) error {
	switch ev.Type {
	case journal.EvAppended:
		e, err := journal.DecodeAppended(ev)
		return firstError(err, func() error { return c.applyAppended(&e, timeMS) })
	case journal.EvRouted:
		if err := c.routed.Decode(ev); err != nil {
			return err
		}
		return c.applyRouted(&c.routed, timeMS)
	case journal.EvAcked:
		if err := c.acked.Decode(ev); err != nil {
			return err
		}
		return c.applyAcked(&c.acked)
	case journal.EvReturned:
		if err := c.returned.Decode(ev); err != nil {
			return err
		}
		return c.applyReturned(&c.returned)
	case journal.EvRejected, journal.EvDuplicate, journal.EvUnchanged:
		return nil // they are there to be found again, see answer.go
	case journal.EvProducerCreated:
		e, err := journal.DecodeProducerCreated(ev)
		return firstError(err, func() error { return c.applyProducerCreated(&e, timeMS) })
	case journal.EvProducersExpired:
		e, err := journal.DecodeProducersExpired(ev)
		return firstError(err, func() error { return c.applyProducersExpired(&e) })
	case journal.EvOffsetsCommitted:
		e, err := journal.DecodeOffsetsCommitted(ev)
		return firstError(err, func() error { return c.applyOffsetsCommitted(&e) })
	}
	return c.applyThing(ev, timeMS)
}

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
	return misfit("unknown event type %d", ev.Type)
}

// firstError runs the next step unless decoding has failed.
func firstError(err error, next func() error) error {
	if err != nil {
		return err
	}
	return next()
}

// extend gives an index count more offsets from base on.
func (c *Core) extend(id, base uint64, count uint32) (*index, error) {
	ix, ok := c.indexes.get(id)
	switch {
	case !ok:
		return nil, misfit("index %d does not exist", id)
	case ix.next != base:
		return nil, misfit("offset %d in index %d, which ends at %d", base, id, ix.next)
	case count == 0 || base > maxOffset-uint64(count):
		return nil, misfit("%d records at offset %d", count, base)
	}
	ix.next += uint64(count)
	c.appended(ix, c.nextLSN())
	return ix, nil
}

func (c *Core) applyAppended(e *journal.Appended, timeMS int64) error {
	ix, err := c.extend(e.Index, e.Base, e.Count)
	if err != nil {
		return err
	}
	if ix.topic == nil {
		return misfit("append to queue %d", e.Index)
	}
	return c.applyProduced(e.Index, e.ProducerID, e.Epoch, e.BaseSeq, e.Count, e.Base, timeMS)
}

func (c *Core) applyRouted(e *journal.Routed, timeMS int64) error {
	if c.exchByID[e.Exchange] == nil {
		return misfit("exchange %d does not exist", e.Exchange)
	}
	for _, target := range e.Targets {
		ix, err := c.extend(target.Index, target.Base, e.Count)
		if err != nil {
			return err
		}
		if ix.topic != nil {
			ix.topic.turn++
		}
	}
	return c.applyProduced(e.Exchange, e.ProducerID, e.Epoch, e.BaseSeq, e.Count, uint64(len(e.Targets)), timeMS)
}

// applyProduced remembers an idempotent producer's batch and its result.
func (c *Core) applyProduced(to uint64, id int64, epoch int16, base int32, count uint32, result uint64, timeMS int64) error {
	if id == journal.NoProducer {
		return nil
	}
	if id < 0 || epoch < 0 || base < 0 || count == 0 {
		return misfit("producer %d, epoch %d, sequence %d", id, epoch, base)
	}
	if !c.producers.remember(to, id, epoch, base, count, result, timeMS) {
		return misfit("producer %d does not exist", id)
	}
	return nil
}

// queueIndex finds a queue whose offsets an event names.
func (c *Core) queueIndex(id uint64, ranges []ipc.Range) (*index, error) {
	ix, ok := c.indexes.get(id)
	if !ok || ix.queue == nil {
		return nil, misfit("queue %d does not exist", id)
	}
	for _, r := range ranges {
		next := r.First + uint64(r.Count)
		if r.Count == 0 || r.First >= ix.next || next > ix.next || (next > ix.queue.floor && next-ix.queue.floor > maxSpan/2) {
			return nil, misfit("offsets [%d,%d) of queue %d, [%d,%d)", r.First, next, id, ix.queue.floor, ix.next)
		}
	}
	return ix, nil
}

func (c *Core) applyAcked(e *journal.Acked) error {
	ix, err := c.queueIndex(e.Index, e.Ranges)
	if err != nil {
		return err
	}
	floor := ix.queue.floor
	for _, r := range e.Ranges {
		ix.queue.ack(r.First, r.First+uint64(r.Count))
	}
	if ix.queue.floor != floor {
		c.turn.floors = append(c.turn.floors, ix)
	}
	return nil
}

func (c *Core) applyReturned(e *journal.Returned) error {
	ix, err := c.queueIndex(e.Index, e.Ranges)
	if err != nil {
		return err
	}
	q := ix.queue
	for _, r := range e.Ranges {
		q.pending(r.First, r.First+uint64(r.Count), func(first, next uint64) {
			q.attempts = q.attempts.raise(first, next)
		})
	}
	return nil
}

func (c *Core) applyProducerCreated(e *journal.ProducerCreated, timeMS int64) error {
	if e.ProducerID < 0 || e.Epoch < 0 {
		return misfit("producer %d, epoch %d", e.ProducerID, e.Epoch)
	}
	p := c.producers.byID[e.ProducerID]
	if p == nil {
		p = &producer{id: e.ProducerID}
		c.producers.byID[p.id] = p
	}
	p.epoch = e.Epoch
	c.producers.touch(p, timeMS)
	c.lastPID = max(c.lastPID, p.id)
	return nil
}

func (c *Core) applyProducersExpired(e *journal.ProducersExpired) error {
	for _, id := range e.IDs {
		p := c.producers.byID[id]
		if p == nil {
			return misfit("producer %d does not exist", id)
		}
		c.producers.remove(p)
	}
	return nil
}

func (c *Core) applyOffsetsCommitted(e *journal.OffsetsCommitted) error {
	g, ok := c.groups.get(e.Group)
	if !ok {
		g = &group{name: strings.Clone(e.Group)}
		c.groups.add(g.name, g)
	}
	for _, o := range e.Offsets {
		if _, ok := c.indexes.get(o.Index); !ok {
			return misfit("index %d does not exist", o.Index)
		}
		g.set(o)
	}
	return nil
}

// claimID takes an id into use. Ids only rise, so one that has ended is never given again.
func (c *Core) claimID(id uint64) error {
	if id <= c.lastID {
		return misfit("id %d, when %d is in use", id, c.lastID)
	}
	c.lastID = id
	return nil
}

func (c *Core) applyTopicCreated(e *journal.TopicCreated, timeMS int64) error {
	if _, ok := c.dests[e.Name]; ok {
		return misfit("the name %q is taken", e.Name)
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

func (c *Core) applyPartitionsAdded(e *journal.PartitionsAdded) error {
	t := c.topicByID[e.ID]
	if t == nil {
		return misfit("topic %d does not exist", e.ID)
	}
	return c.addIndexes(t, e.Indexes)
}

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
	return nil
}

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
		c.forgetOffsets(name, gone)
	}
	return nil
}

// forgetOffsets drops what a group has committed for indexes that are gone, and with the
// last one the group.
func (c *Core) forgetOffsets(name string, gone map[uint64]bool) {
	g, _ := c.groups.get(name)
	kept := g.offsets[:0]
	for _, o := range g.offsets {
		if !gone[o.Index] {
			kept = append(kept, o)
		}
	}
	clear(g.offsets[len(kept):])
	if g.offsets = kept; len(kept) == 0 {
		c.groups.remove(name)
	}
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

func (c *Core) applyQueueCreated(e *journal.QueueCreated) error {
	if _, ok := c.dests[e.Name]; ok {
		return misfit("the name %q is taken", e.Name)
	}
	if err := c.claimID(e.Index); err != nil {
		return err
	}
	q := &queue{name: strings.Clone(e.Name), durable: e.Durable}
	c.addQueue(&index{id: e.Index, level: e.Level, queue: q})
	return nil
}

func (c *Core) addQueue(ix *index) {
	q := ix.queue
	q.dest = &destination{name: q.name, queue: ix}
	c.indexes.add(ix.id, ix)
	c.queues.add(q.name, ix)
	c.dests[q.name] = q.dest
}

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

func (c *Core) addExchange(x *exchange) {
	c.exchanges.add(x.name, x)
	c.exchByID[x.id] = x
}

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

func (c *Core) bind(b *binding) {
	info := b.info()
	c.bindings.add(identity(&info), b)
	b.exchange.router.bind(b)
	b.exchange.bindings++
	b.dest.bindings = append(b.dest.bindings, b)
}

func (c *Core) unbind(b *binding) {
	info := b.info()
	c.bindings.remove(identity(&info))
	b.exchange.router.unbind(b)
	b.exchange.bindings--
	b.dest.bindings = without(b.dest.bindings, b)
}

func (c *Core) applyBindingDeleted(m *admin.CreateBinding) error {
	m.Headers = orderHeaders(m.Headers)
	b, ok := c.bindings.get(identity(m))
	if !ok {
		return misfit("%q is not bound to %q", m.Queue, m.Exchange)
	}
	c.unbind(b)
	return nil
}
