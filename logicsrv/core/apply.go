package core

import (
	"errors"
	"fmt"

	"github.com/trimq/trimq/protocol/invariant"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// The fold. Rules for everything in this file and apply_things.go:
//
//  1. An event is applied as it is, or it is an error; there is nothing to choose here. What
//     could have been decided one way or another stands in the event.
//  2. Nothing but the event, the entry's time and LSN, and the hard state goes in. No soft
//     state, no configuration, no cursor: a replay has none of them, or others.
//  3. Every number is compared with the state before it is used, although decide has seen to
//     it: the same code reads logs that a disk has had for years.
//  4. What is kept is cloned: events alias the turn's buffer or the entry.
//  5. Once an error is returned, the state is of no use: the process ends, and nothing is
//     written that would follow from half an event.

// ErrReplay is wrapped by what Replay finds wrong with an entry: it does not follow from
// the state before it, so the log is damaged or from elsewhere.
var ErrReplay = errors.New("the entry does not fit the state")

// misfit words an entry that does not follow from the state. Live this is our own bug, on
// replay a damaged log; apply cannot tell, so it is an error here, and Step panics with it.
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
	case e.TimeMS < 0:
		return misfit("lsn %d is of time %d ms", e.LSN, e.TimeMS)
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
	c.timeMS = max(c.timeMS, e.TimeMS) // a clock that was set back does not set us back
	if e.Level >= ipc.LevelDisk {
		c.lastDisk = e.LSN
	}
}

// applyNew applies the events that were decided since the last call: the bytes that go to the
// log, read as replay will read them.
func (c *Core) applyNew() {
	t := c.turn
	if len(t.events) == t.applied {
		return
	}
	invariant.Check(t.level != ipc.LevelUnset, "an event without a level")
	fresh := t.events[t.applied:]
	t.applied = len(t.events)
	err := c.apply(fresh, t.timeMS)
	invariant.Check(err == nil, "decided what cannot be applied: %v", err)
}

// enact takes an event over and applies it at once, for an input of which one decision rests on
// another, as who shall have what rests on who is there.
func (c *Core) enact(ev interface{ Append([]byte) []byte }) {
	c.decided(ev)
	c.applyNew()
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

// applyEvent decodes one event and applies it. The events of the message path are decoded into
// memory that the core keeps; the others allocate.
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
	case journal.EvDied:
		if err := c.died.Decode(ev); err != nil {
			return err
		}
		return c.applyDied(&c.died)
	case journal.EvReleased:
		if err := c.released.Decode(ev); err != nil {
			return err
		}
		return c.applyReleased(&c.released, timeMS)
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
		return firstError(err, func() error { return c.applyOffsetsCommitted(&e, timeMS) })
	}
	if ev.Type >= journal.EvTxnalSet && ev.Type <= journal.EvTxnalsExpired {
		return c.applyTxnalEvent(ev, timeMS)
	}
	if ev.Type >= journal.EvLaneAdded && ev.Type <= journal.EvHanding {
		return c.applyQueueEvent(ev, timeMS)
	}
	return c.applyThing(ev, timeMS)
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
	// Offsets are dense: each entry goes on where the last one ended, or the log has a hole.
	ix.next += uint64(count)
	c.appended(ix, c.nextLSN())
	return ix, nil
}

// applyAppended: the partition grows by one batch. base is in the event, though it follows from
// the state: an event stands on its own in the log, and the comparison is a check at each replay.
func (c *Core) applyAppended(e *journal.Appended, timeMS int64) error {
	ix, err := c.extend(e.Index, e.Base, e.Count)
	if err != nil {
		return err
	}
	if ix.topic == nil {
		return misfit("append to queue %d", e.Index)
	}
	if err := c.applyProduced(e.Index, e.ProducerID, e.Epoch, e.BaseSeq, e.Count, e.Base, timeMS); err != nil {
		return err
	}
	if p := c.producers.byID[e.ProducerID]; p != nil && p.txnal != nil {
		c.txnalAppended(p.txnal, ix, e.Base, timeMS)
	}
	return nil
}

// applyRouted: each target grows by the batch. Where a batch without a key went is in the event;
// the count of its topic moves on for the next one. A keyed batch moves it too: to tell them
// apart would need the key in the event, and nobody can see the difference.
func (c *Core) applyRouted(e *journal.Routed, timeMS int64) error {
	if c.exchByID[e.Exchange] == nil {
		return misfit("exchange %d does not exist", e.Exchange)
	}
	if err := c.growAll(e.Targets, e.Count, e.Weight, e.TTLMS, timeMS); err != nil {
		return err
	}
	return c.applyProduced(e.Exchange, e.ProducerID, e.Epoch, e.BaseSeq, e.Count, routedResult(reached(e), e.Full), timeMS)
}

// growAll gives each target the same records.
func (c *Core) growAll(targets []journal.Target, count, weight uint32, ttlMS, timeMS int64) error {
	for _, to := range targets {
		ix, err := c.extend(to.Index, to.Base, count)
		if err != nil {
			return err
		}
		switch {
		case ix.topic != nil:
			ix.topic.turn++
		case ix.cursor != nil:
			ix.cursor.came(c, to.Base, uint64(count), uint64(weight), ttlMS, timeMS)
		default:
			return misfit("records for index %d, which is no queue's", to.Index)
		}
	}
	return nil
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

// applyProducerCreated: a new id is in use, or the epoch of an old one was raised. Its lanes stay:
// a batch of the new epoch begins a lane anew, and until then an old one is fenced by the epoch.
func (c *Core) applyProducerCreated(e *journal.ProducerCreated, timeMS int64) error {
	if e.ProducerID < 0 || e.Epoch < 0 {
		return misfit("producer %d, epoch %d", e.ProducerID, e.Epoch)
	}
	p := c.producers.byID[e.ProducerID]
	if p != nil && p.txnal != nil {
		return misfit("producer %d is of transactional id %q", e.ProducerID, p.txnal.id)
	}
	if p == nil {
		p = &producer{id: e.ProducerID}
		c.producers.byID[p.id] = p
	}
	p.epoch = e.Epoch
	c.producers.touch(p, timeMS)
	c.lastPID = max(c.lastPID, p.id)
	return nil
}

// applyProducersExpired forgets producers. It was decided by the clock, so it has to be an event:
// a replay, which sees other clocks, would forget others.
func (c *Core) applyProducersExpired(e *journal.ProducersExpired) error {
	for _, id := range e.IDs {
		p := c.producers.byID[id]
		if p == nil || p.txnal != nil {
			return misfit("producer %d does not exist, or has a transactional id", id)
		}
		c.producers.remove(p)
	}
	return nil
}

// applyOffsetsCommitted moves a group's positions, backwards too: a consumer may rewind. The
// group comes into being with its first position.
func (c *Core) applyOffsetsCommitted(e *journal.OffsetsCommitted, timeMS int64) error {
	if len(e.Offsets) == 0 {
		return misfit("group %q commits nothing", e.Group)
	}
	g := c.makeGroup(e.Group)
	if len(g.members) == 0 {
		g.emptyMS = timeMS
	}
	for _, o := range e.Offsets {
		if ix, ok := c.indexes.get(o.Index); !ok || ix.topic == nil || o.Offset > maxOffset {
			return misfit("offset %d of partition %d", o.Offset, o.Index)
		}
		g.set(o)
	}
	return nil
}
