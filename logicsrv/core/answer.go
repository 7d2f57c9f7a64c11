package core

import (
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/invariant"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// Where logicsrv may die, seen from one input that changes hard state, and what its successor
// does when it reads ring 12345 again from head:
//
//	before the entry is in ring 65432    the log knows nothing: decided anew, nobody was told
//	in ring 65432, not yet in the log    persistsrv appends it before the log is replayed
//	in the log, reply not yet sent       known: the reply is sent now
//	reply sent, input not yet released   known: the reply is sent twice, connsrv drops one
//
// An input at a position which the log has passed, but of which it holds no event, changed
// nothing then and can change nothing now: reads and soft inputs. To decide those again is
// harmless and necessary, for whoever asked still waits.

// An input whose outcome the journal holds is answered from its event: the effect stands,
// the answer may be lost. What was refused is refused again, in the same words.

// knownOutcome tells whether the known events are the input's whole outcome. Those of a
// soft input are not: it is decided again, and what it did to hard state stays done once,
// since after a restart nothing is in hand. But one that was given up stays given up.
func (c *Core) knownOutcome() bool {
	if len(c.in.Known) == 0 {
		return false
	}
	switch c.in.Type {
	case ipc.TypeAppend, ipc.TypePublish, ipc.TypeAck, ipc.TypeCommit, ipc.TypeInitProducer, ipc.TypeAdmin,
		ipc.TypePull, ipc.TypePullFrom, ipc.TypeExtend, ipc.TypeBeginTxn, ipc.TypeEndTxn,
		ipc.TypeInitTxnal, ipc.TypeTxnAdd, ipc.TypeTxnOffsets, ipc.TypeTxnFinish,
		ipc.TypeGroupHeartbeat, ipc.TypeShareHeartbeat, ipc.TypeGroupSync, ipc.TypeGroupLeave, ipc.TypeGroupCommit:
		return true
	}
	events := journal.Events(c.in.Known)
	ev, ok := events.Next()
	return ok && ev.Type == journal.EvRejected
}

// answerAgain repeats the answer that follows from the input's first event.
func (c *Core) answerAgain() {
	c.stats.Repeated++
	h, ok := ipc.PeekHead(c.in.Payload)
	if !ok || h.Req == 0 {
		return
	}
	events := journal.Events(c.in.Known)
	ev, ok := events.Next()
	if !ok || ev.Pos != c.in.Pos {
		invariant.Check(false, "input at %d has no event of its own among the known ones: %v", c.in.Pos, events.Err())
	}
	err := c.answerFrom(h, ev)
	invariant.Check(err == nil, "known event of the input at %d: %v", c.in.Pos, err)
}

// answerFrom words the answer of one event.
func (c *Core) answerFrom(h ipc.Head, ev journal.Event) error {
	t, g := c.turn, c.pastGate(c.askedLevel())
	if (c.in.Type >= ipc.TypeGroupHeartbeat && c.in.Type <= ipc.TypeGroupCommit || c.in.Type == ipc.TypeShareHeartbeat) && ev.Type != journal.EvRejected {
		return c.answerGroupAgain(h)
	}
	switch ev.Type {
	case journal.EvAppended:
		e, err := journal.DecodeAppended(ev)
		m := ipc.Appended{Head: h, Index: e.Index, Base: e.Base}
		t.sent(g, ipc.TypeAppended, m.Append(t.recs))
		return err
	case journal.EvRouted:
		err := c.routed.Decode(ev)
		m := ipc.Published{Head: h, Queues: reached(&c.routed), Full: c.routed.Full}
		t.sent(g, ipc.TypePublished, m.Append(t.recs))
		return err
	case journal.EvDuplicate:
		e, err := journal.DecodeDuplicate(ev)
		if c.in.Type == ipc.TypePublish {
			m := ipc.Published{Head: h, Queues: e.Queues, Full: e.Full, Duplicate: true}
			t.sent(g, ipc.TypePublished, m.Append(t.recs))
		} else {
			m := ipc.Appended{Head: h, Index: e.Index, Base: e.Base, Duplicate: true}
			t.sent(g, ipc.TypeAppended, m.Append(t.recs))
		}
		return err
	case journal.EvRejected:
		e, err := journal.DecodeRejected(ev)
		m := ipc.Error{Head: h, Code: uint16(e.Code), Text: e.Text}
		t.sent(c.pastGate(ipc.LevelDisk), ipc.TypeError, m.Append(t.recs))
		return err
	case journal.EvProducerCreated:
		e, err := journal.DecodeProducerCreated(ev)
		m := ipc.Producer{Head: h, ProducerID: e.ProducerID, Epoch: e.Epoch}
		t.sent(g, ipc.TypeProducer, m.Append(t.recs))
		return err
	case journal.EvAcked, journal.EvReturned, journal.EvDied, journal.EvLeaseMoved:
		if c.in.Type == ipc.TypeExtend {
			c.answerExtend(h, g)
		} else {
			c.answerAck(h, g)
		}
		return nil
	case journal.EvOffsetsCommitted:
		if c.in.Type == ipc.TypeAdmin {
			break
		}
		m := ipc.Done{Head: h}
		t.sent(g, ipc.TypeCommitted, m.Append(t.recs))
		return nil
	}
	if c.in.Type >= ipc.TypeInitTxnal && c.in.Type <= ipc.TypeTxnFinish {
		return c.answerTxnalAgain(h, ev, g)
	}
	if done, err := c.answerQueueAgain(h, ev, g); done || err != nil {
		return err
	}
	return c.answerAdminAgain(h, ev, g)
}

// answerQueueAgain words the answers to delayed messages, pulls and transactions; false: the
// event is another command's.
func (c *Core) answerQueueAgain(h ipc.Head, ev journal.Event, g gate) (bool, error) {
	t := c.turn
	switch ev.Type {
	case journal.EvDelayed:
		e, err := journal.DecodeDelayed(ev)
		m := ipc.Published{Head: h, Queues: uint32(len(e.Dests))}
		t.sent(g, ipc.TypePublished, m.Append(t.recs))
		return true, err
	case journal.EvTxnHeld:
		if c.in.Type == ipc.TypeAppend {
			e, err := journal.DecodeTxnHeld(ev)
			m := ipc.Appended{Head: h, Index: e.Partition, Base: unknownBase}
			t.sent(g, ipc.TypeAppended, m.Append(t.recs))
			return true, err
		}
		m := ipc.Published{Head: h}
		t.sent(g, ipc.TypePublished, m.Append(t.recs))
		return true, nil
	case journal.EvLeased:
		e, err := journal.DecodeLeased(ev)
		m := ipc.Pulled{Head: h, Queue: e.Queue, Lease: e.Lease, UntilMS: e.UntilMS, Filter: c.queueByID[e.Queue].filter()}
		for _, r := range e.Runs {
			m.Runs = append(m.Runs, ipc.PulledRun{Index: r.Index, First: r.Range.First, Count: r.Range.Count, Attempts: c.attemptsAt(e.Queue, r)})
		}
		t.sent(g, ipc.TypePulled, m.Append(t.recs))
		c.answered[asker{h.Epoch, h.Req}] = true
		return true, err
	case journal.EvTxnBegun:
		e, err := journal.DecodeTxnBegun(ev)
		c.answerBegin(h, e.Txn, g)
		return true, err
	case journal.EvTxnEnded:
		e, err := journal.DecodeTxnEnded(ev)
		if m, err := ipc.DecodeEndTxn(c.in.Payload); err == nil {
			c.redeem(&m)
		}
		c.answerEnd(h, e.Committed, e.Queues, g)
		return true, err
	case journal.EvUnchanged:
		e, err := journal.DecodeUnchanged(ev)
		switch c.in.Type {
		case ipc.TypeBeginTxn:
			c.answerBegin(h, e.Index, g)
			return true, err
		case ipc.TypeEndTxn:
			m, _ := ipc.DecodeEndTxn(c.in.Payload)
			c.redeem(&m)
			c.answerEnd(h, m.Commit, uint32(e.Index), g)
			return true, err
		}
	}
	return false, nil
}

// answerTxnalAgain words the answers to transactional producers. Where nothing was changed it is as the
// producer stands now.
func (c *Core) answerTxnalAgain(h ipc.Head, ev journal.Event, g gate) error {
	t := c.turn
	m := ipc.Producer{Head: h, ProducerID: -1, Epoch: -1}
	switch ev.Type {
	case journal.EvTxnalSet:
		e, err := journal.DecodeTxnalSet(ev)
		if err != nil {
			return err
		}
		m.ProducerID, m.Epoch = e.ProducerID, e.Epoch
	case journal.EvTxnFinished:
		e, err := journal.DecodeTxnFinished(ev)
		if err != nil {
			return err
		}
		m.ProducerID, m.Epoch = e.ProducerID, e.Epoch
	case journal.EvUnchanged:
		m.ProducerID, m.Epoch = c.askedAgain()
	default: // TxnAdded, TxnOffsetsHeld
		done := ipc.Done{Head: h}
		t.sent(g, ipc.TypeAcked, done.Append(t.recs))
		return nil
	}
	t.sent(g, ipc.TypeProducer, m.Append(t.recs))
	return nil
}

// askedAgain is what a repeated request was answered with. What the transactional id has become since then
// is another owner's, who must not be told to this one.
func (c *Core) askedAgain() (id int64, epoch int16) {
	if c.in.Type == ipc.TypeInitTxnal {
		m, _ := ipc.DecodeInitTxnal(c.in.Payload) // it was decoded before
		return m.ProducerID, m.Epoch + 1
	}
	m, _ := ipc.DecodeTxnFinish(c.in.Payload)
	if m.Bump {
		return m.ProducerID, m.Txnal.Epoch + 1
	}
	return m.ProducerID, m.Txnal.Epoch
}

// attemptsAt is how often leased messages had been delivered before, as far as it is still known.
func (c *Core) attemptsAt(queue uint64, r journal.Run) uint16 {
	if q := c.queueByID[queue]; q != nil {
		if k := q.cursor(r.Index); k != nil {
			attempts, _ := k.attempts.at(r.Range.First)
			return attempts
		}
	}
	return 0
}

// answerAdminAgain words the answer of a command's event.
func (c *Core) answerAdminAgain(h ipc.Head, ev journal.Event, g gate) error {
	m, err := ipc.DecodeAdmin(c.in.Payload)
	if err != nil {
		return err
	}
	var made admin.Created
	switch ev.Type {
	case journal.EvUnchanged:
		e, err := journal.DecodeUnchanged(ev)
		if err != nil {
			return err
		}
		made = admin.Created{Index: e.Index, Existed: true}
	case journal.EvQueueCreated:
		e, err := journal.DecodeQueueCreated(ev)
		if err != nil {
			return err
		}
		made.Index, made.Name = e.Queue, e.Name
	case journal.EvQueueDeleted:
		e, err := journal.DecodeQueueDeleted(ev)
		if err != nil {
			return err
		}
		made.Index, made.Messages = e.Queue, e.Messages
	case journal.EvPurged:
		e, err := journal.DecodePurged(ev)
		if err != nil {
			return err
		}
		made.Index, made.Messages = e.Queue, e.Messages
	case journal.EvSought:
		e, err := journal.DecodeSought(ev)
		if err != nil {
			return err
		}
		made.Index = e.Queue
	}
	if q := c.queueByID[made.Index]; q != nil {
		made.Name = q.name
	}
	c.answerCreated(h, m.Command, made, g)
	return nil
}

// askedLevel is the level that the answer to the input waits for; where the record leaves
// it to the topic or queue, the strongest.
func (c *Core) askedLevel() ipc.Level {
	level := ipc.LevelUnset
	switch c.in.Type {
	case ipc.TypeAppend:
		if m, _, err := ipc.DecodeAppend(c.in.Payload); err == nil {
			level = m.Level
			if ix, ok := c.indexes.get(m.Index); ok && level == ipc.LevelUnset && m.Txn == 0 {
				level = ix.level
			}
		}
	case ipc.TypePublish:
		if _, err := c.publish.Decode(c.in.Payload); err == nil {
			level = c.publish.Level
		}
	}
	if level == ipc.LevelUnset {
		return ipc.LevelDisk
	}
	return level
}
