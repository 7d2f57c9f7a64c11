package core

import (
	"fmt"
	"math"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// The way of a batch into a partition, in order:
//
//  1. decode the fixed part of the record; the batch's bytes are not looked at, connsrv has
//     checked them, and persistsrv takes them from ring 12345 by position and length;
//  2. the index must be a partition, the level one that this broker can keep, the count and
//     length ones that a batch can have;
//  3. the producer's table says whether the batch is new, a repetition or out of order;
//  4. the event Appended, the body's place and the index item go into the turn; the reply,
//     gated at this entry and the level that was asked for, into its outputs.
//
// A refusal at any step is an event as well. Errors are worded only where they happen, so the
// path of a good batch allocates nothing and formats nothing.

// unknownBase answers a repeated batch whose offset is no longer remembered: it is stored,
// but not where.
const unknownBase = math.MaxUint64

// decideAppend takes a batch for one partition. This is the hot path: no allocation.
func (c *Core) decideAppend() {
	m, bodyOff, err := ipc.DecodeAppend(c.in.Payload)
	if err != nil {
		c.malformed()
		return
	}
	ix, ok := c.indexes.get(m.Index)
	if !ok || ix.topic == nil {
		c.reject(m.Head, errcode.UnknownIndex, fmt.Sprintf("index %d is no partition of a topic", m.Index))
		return
	}
	level := m.Level
	if level == ipc.LevelUnset {
		level = ix.level
	}
	if code, text := checkBatch(level, &m.Batch, ix.next); code != errcode.OK {
		c.reject(m.Head, code, text)
		return
	}
	if max := ix.topic.set.MaxMessageBytes; max >= 0 && int64(m.Batch.Length) > max {
		c.reject(m.Head, errcode.BatchTooLarge, fmt.Sprintf("a batch of %d bytes; topic %q takes %d", m.Batch.Length, ix.topic.name, max))
		return
	}
	switch s, base := c.producers.judge(m.Index, &m.Batch, m.Txnal != ipc.TxnalNone); s {
	case fresh:
		if m.Txn != 0 {
			c.holdAppend(&m, bodyOff, ix)
			return
		}
		if code, text := c.checkTxnalBatch(&m); code != errcode.OK {
			c.reject(m.Head, code, text)
			return
		}
		if failpoint.Broken("appends-dropped") && m.Req%5 == 0 {
			c.answerDuplicate(&m, level, ix.next)
			return
		}
		c.appendBatch(&m, bodyOff, ix, level)
	case repeated, outdated:
		if s == outdated {
			base = unknownBase
		}
		c.answerDuplicate(&m, level, base)
	default:
		code, text := refusal(s, &m.Batch)
		c.reject(m.Head, code, text)
	}
}

// appendBatch decides that the batch becomes the next offsets of the partition.
func (c *Core) appendBatch(m *ipc.Append, bodyOff int, ix *index, level ipc.Level) {
	t := c.turn
	ev := journal.Appended{
		Pos: c.in.Pos, Index: m.Index, Base: ix.next, Count: m.Batch.Count,
		BaseSeq: m.Batch.BaseSeq, ProducerID: m.Batch.ProducerID, Epoch: m.Batch.Epoch,
	}
	// Both the acknowledgement and the consumers wait for this entry.
	t.raise(max(level, ix.level))
	t.events = ev.Append(t.events)
	body := t.addBody(&c.in, bodyOff, &m.Batch, ix.next, 0)
	t.items = append(t.items, journal.IndexItem{
		Index: m.Index, Base: ix.next, Count: m.Batch.Count, Body: body, MaxTimeMS: m.Batch.MaxTimeMS,
	})
	c.stats.Batches++
	c.stats.Records += uint64(m.Batch.Count)
	if m.Req != 0 {
		reply := ipc.Appended{Head: m.Head, Index: m.Index, Base: ix.next}
		t.sent(c.ownGate(level), ipc.TypeAppended, reply.Append(t.recs))
	}
}

// answerDuplicate repeats the first answer. The first batch is in this entry or an earlier
// one; at whatever level it was asked for then, this answer promises what is asked for now.
func (c *Core) answerDuplicate(m *ipc.Append, level ipc.Level, base uint64) {
	t := c.turn
	ev := journal.Duplicate{Pos: c.in.Pos, Index: m.Index, Base: base}
	t.raise(level)
	t.events = ev.Append(t.events)
	c.stats.Duplicates++
	if m.Req != 0 {
		reply := ipc.Appended{Head: m.Head, Index: m.Index, Base: base, Duplicate: true}
		t.sent(c.ownGate(level), ipc.TypeAppended, reply.Append(t.recs))
	}
}

// checkBatch looks at what connsrv says of a batch; its bytes are none of core's business.
func checkBatch(level ipc.Level, b *ipc.BatchMeta, next uint64) (errcode.Code, string) {
	switch {
	case level > ipc.LevelDisk:
		return errcode.InvalidArgument, "level quorum needs a cluster; this broker stands alone"
	case b.Count == 0 || b.Count > maxCount:
		return errcode.InvalidBatch, fmt.Sprintf("a batch of %d records; 1 to %d are allowed", b.Count, maxCount)
	case b.Length < minBatchBytes:
		return errcode.InvalidBatch, fmt.Sprintf("a batch of %d bytes is shorter than its header", b.Length)
	case next > maxOffset-uint64(b.Count):
		return errcode.LimitExceeded, fmt.Sprintf("offsets end at %d", uint64(maxOffset))
	}
	return errcode.OK, ""
}

// refusal words what is wrong with an idempotent producer's batch.
func refusal(s standing, b *ipc.BatchMeta) (errcode.Code, string) {
	switch s {
	case gap:
		return errcode.OutOfOrderSequence, fmt.Sprintf("sequence %d of producer %d epoch %d is not the next one", b.BaseSeq, b.ProducerID, b.Epoch)
	case fenced:
		return errcode.ProducerFenced, fmt.Sprintf("epoch %d of producer %d has been superseded", b.Epoch, b.ProducerID)
	case stranger:
		return errcode.UnknownProducer, fmt.Sprintf("producer %d is not known, or was silent for too long", b.ProducerID)
	case misplaced:
		return errcode.TxnState, fmt.Sprintf("producer %d has a transactional id and sends a batch outside of transactions, or has none and sends one of a transaction", b.ProducerID)
	default:
		return errcode.InvalidBatch, fmt.Sprintf("producer %d, epoch %d, sequence %d", b.ProducerID, b.Epoch, b.BaseSeq)
	}
}
