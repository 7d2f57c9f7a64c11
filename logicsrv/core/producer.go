package core

import (
	"math"
	"slices"

	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// Idempotent producers. A producer has an id from InitProducer, and numbers the records that it
// sends to each partition, or through each exchange, from 0. A batch bears the number of its
// first record. The lane remembers the number that has to come next and the last five batches
// with their results:
//
//	kept:  [40,49] → 1040   [50,59] → 1050   …   [80,89] → 1080       next: 90
//
//	first 90                      the next one: stored
//	first 60, last 69             remembered: the same answer again
//	first 20, last 29             below 90 and taken in once: stored, its offset is forgotten
//	first 100                     a gap: the batch before it was lost on its way, refused
//	first 85, last 94             half old, half new: no producer sends that, refused
//
// Numbers run in a ring of 2^31. "Below" is believed only as far back as the lane has really
// counted in this epoch (accepted), or a number far ahead would pass for an old one and the
// batch be dropped falsely.
//
// An epoch fences: once it is raised, by InitProducer or by a batch that begins a new one with
// number 0, batches of an older epoch are refused.

// maxBehind is how far back a number may lie to be an old one: half of the ring.
const maxBehind = 1 << 30

// keptBatches is how many batches of a lane are remembered with their result: as many as a
// Kafka producer keeps in flight.
const keptBatches = 5

// lane is one sequence of batches: an idempotent producer's to one partition or exchange.
type lane struct {
	to       uint64 // id of the index or exchange
	epoch    int16
	next     int32  // sequence that the next batch begins with
	accepted uint64 // records taken in under this epoch: how far back sequences are known
	kept     [keptBatches]keptBatch
	n        uint8 // kept[:n] are valid, oldest first
}

// keptBatch remembers one batch: result is its base offset, or the number of queues and
// partitions that it reached.
type keptBatch struct {
	first, last int32
	result      uint64
}

// producer is one idempotent producer.
type producer struct {
	id    int64
	epoch int16  // batches of a lower one are fenced
	used  int64  // Unix ms of the last entry that it had a part in
	lanes []lane // in order of to
	txnal *txnal // whose it is; nil: it has no transactional id
	// Neighbours in the order of use.
	older, newer *producer
}

// producers is the table, and the order of last use, by which they expire.
type producers struct {
	byID           map[int64]*producer
	oldest, newest *producer
	lanesTo        map[uint64]int // how many lanes lead to an index or exchange; without zeros
}

// newProducers makes an empty table.
func newProducers() producers {
	return producers{byID: make(map[int64]*producer), lanesTo: make(map[uint64]int)}
}

// touch makes p the one that was used last.
func (t *producers) touch(p *producer, timeMS int64) {
	p.used = timeMS
	if t.newest == p || p.txnal != nil { // who has a transactional id lives as long as that

		return
	}
	t.unlink(p)
	p.older = t.newest
	if t.newest != nil {
		t.newest.newer = p
	} else {
		t.oldest = p
	}
	t.newest = p
}

// unlink takes p out of the order of use.
func (t *producers) unlink(p *producer) {
	if p.older != nil {
		p.older.newer = p.newer
	} else if t.oldest == p {
		t.oldest = p.newer
	}
	if p.newer != nil {
		p.newer.older = p.older
	} else if t.newest == p {
		t.newest = p.older
	}
	p.older, p.newer = nil, nil
}

// remove forgets p; its batches stay, but are no longer recognised.
func (t *producers) remove(p *producer) {
	t.unlink(p)
	delete(t.byID, p.id)
	for i := range p.lanes {
		t.leave(p.lanes[i].to)
	}
}

// lane finds the lane to an index or exchange; nil where nothing was sent there yet.
func (p *producer) lane(to uint64) *lane {
	i, ok := p.find(to)
	if !ok {
		return nil
	}
	return &p.lanes[i]
}

// find is the place of a lane, and whether it is there. A producer with one lane, of which there
// may be a hundred thousand, needs no search.
func (p *producer) find(to uint64) (int, bool) {
	if len(p.lanes) == 1 { // by far the most common
		switch at := p.lanes[0].to; {
		case at == to:
			return 0, true
		case at > to:
			return 0, false
		}
		return 1, false
	}
	return slices.BinarySearchFunc(p.lanes, to, func(l lane, to uint64) int {
		switch {
		case l.to < to:
			return -1
		case l.to > to:
			return 1
		}
		return 0
	})
}

// sequence is base + n, in the ring of the numbers 0 … MaxInt32.
func sequence(base int32, n uint32) int32 {
	return int32((uint64(base) + uint64(n)) & math.MaxInt32)
}

// behind is how many steps base lies behind next in that ring.
func behind(next, base int32) uint32 { return (uint32(next) - uint32(base)) & math.MaxInt32 }

// standing is what the table says of a batch.
type standing uint8

const (
	fresh      standing = iota // the next one, or not idempotent
	repeated                   // stored before, result known
	outdated                   // stored before, result no longer known
	gap                        // not the next one
	fenced                     // of an older epoch
	stranger                   // of a producer that is not known
	impossible                 // bears numbers that no producer sends
	misplaced                  // of a transactional producer, and outside of a transaction; or the other way round
)

// judge compares a batch with what its producer sent before. txnal says that it is one of a transaction
// of a transactional producer.
func (t *producers) judge(to uint64, b *ipc.BatchMeta, txnal bool) (s standing, result uint64) {
	if b.ProducerID == journal.NoProducer && !txnal {
		return fresh, 0
	}
	if b.ProducerID < 0 || b.Epoch < 0 || b.BaseSeq < 0 {
		return impossible, 0
	}
	p := t.byID[b.ProducerID]
	if p == nil {
		// Expired, or of a log that a power cut took back: the producer asks for a new id. To
		// take the batch without knowing what came before could store it twice.
		return stranger, 0
	}
	l := p.lane(to)
	switch {
	case (p.txnal != nil) != txnal:
		return misplaced, 0
	case txnal && b.Epoch != p.epoch && !failpoint.Broken("fence-open"): // no client raises an epoch by itself that has a transactional id
		return fenced, 0
	case b.Epoch < p.epoch || (l != nil && b.Epoch < l.epoch):
		return fenced, 0
	case l == nil || b.Epoch > l.epoch: // an epoch begins with sequence 0
		if b.BaseSeq != 0 {
			return gap, 0
		}
		return fresh, 0
	case b.BaseSeq == l.next, failpoint.Broken("sequences-ignored"):
		return fresh, 0
	}
	return l.recall(b)
}

// recall judges a batch that is not the next one of its lane.
func (l *lane) recall(b *ipc.BatchMeta) (standing, uint64) {
	// By equality of both ends: a batch that was cut differently is another batch.
	last := sequence(b.BaseSeq, b.Count-1)
	for i := range l.kept[:l.n] {
		if k := &l.kept[i]; k.first == b.BaseSeq && k.last == last {
			return repeated, k.result
		}
	}
	// Only what was really taken in may be called a repetition: beyond accepted, a number
	// that looks old is one that lies ahead. So is one of the farther half of the ring, once the
	// lane has counted that far.
	back := behind(l.next, b.BaseSeq)
	if uint64(back) <= min(l.accepted, maxBehind) && back >= b.Count {
		return outdated, 0
	}
	return gap, 0
}

// remember enters a batch that was stored; false where the producer is not known. It is
// part of apply.
func (t *producers) remember(to uint64, id int64, epoch int16, base int32, count uint32, result uint64, timeMS int64) bool {
	p := t.byID[id]
	if p == nil {
		return false
	}
	t.touch(p, timeMS)
	i, ok := p.find(to)
	if !ok {
		p.lanes = slices.Insert(p.lanes, i, lane{to: to, epoch: epoch})
		t.lanesTo[to]++
	}
	l := &p.lanes[i]
	if l.epoch != epoch {
		*l = lane{to: to, epoch: epoch} // a new epoch counts from 0
	}
	if l.n == keptBatches { // the oldest makes room
		copy(l.kept[:], l.kept[1:])
		l.n--
	}
	l.kept[l.n] = keptBatch{base, sequence(base, count-1), result}
	l.n++
	l.next = sequence(base, count)
	l.accepted += uint64(count)
	return true
}

// forget drops the lanes to what is in gone, of those without a transactional id. Most of what goes has
// none, and then nothing is looked through: there may be a hundred thousand producers.
func (t *producers) forget(gone map[uint64]bool) {
	lanes := 0
	for id := range gone { // order: a sum
		lanes += t.lanesTo[id]
	}
	for p := t.oldest; p != nil && lanes > 0; p = p.newer {
		lanes -= t.forgetLanes(p, gone)
	}
}

// forgetLanes drops a producer's lanes to what is in gone, and returns how many there were.
func (t *producers) forgetLanes(p *producer, gone map[uint64]bool) int {
	before := len(p.lanes)
	p.lanes = slices.DeleteFunc(p.lanes, func(l lane) bool {
		if gone[l.to] {
			t.leave(l.to)
		}
		return gone[l.to]
	})
	return before - len(p.lanes)
}

// leave counts a lane less that leads to an index or exchange.
func (t *producers) leave(to uint64) {
	if t.lanesTo[to]--; t.lanesTo[to] == 0 {
		delete(t.lanesTo, to)
	}
}
