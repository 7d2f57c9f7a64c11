//go:build failpoints

package sim

import (
	"errors"
	"hash/fnv"
	"io"
	"slices"
	"sort"

	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// shadowLog is what the log has held so far, read from its files and kept beside it.
type shadowLog struct {
	last    uint64   // LSN read last
	prints  []uint64 // fingerprint of each entry, by LSN-1
	indexes map[uint64]*shadowIndex
	deletes map[uint64]bool // LSNs of entries that delete indexes
	pending bool            // the power was cut; the log has not been read since
	promise uint64
}

// shadowIndex is one partition or queue.
type shadowIndex struct {
	level   ipc.Level
	created uint64 // LSN
	deleted uint64 // LSN; 0: it is there
	next    uint64
	batches []shadowBatch
	trims   []shadowTrim
}

// shadowTrim says that offsets below one are gone.
type shadowTrim struct{ lsn, offset uint64 }

type shadowBatch struct {
	base, end uint64
	lsn       uint64
	m         *message
	skip      uint32 // records of the message that come before the first
	ref       bool
}

func (x *shadowIndex) find(offset uint64) *shadowBatch {
	i := sort.Search(len(x.batches), func(i int) bool { return x.batches[i].end > offset })
	if i == len(x.batches) || x.batches[i].base > offset {
		return nil
	}
	return &x.batches[i]
}

func (w *world) shadow(index uint64) *shadowIndex {
	x := w.log.indexes[index]
	if x == nil {
		x = &shadowIndex{}
		w.log.indexes[index] = x
	}
	return x
}

// follow reads what has come to the log since the last time.
func (w *world) follow() {
	if w.log.pending {
		return
	}
	w.readLog(w.log.last+1, func(r *commitlog.Reader, e *journal.Entry, at commitlog.Place) {
		if e.LSN != w.log.last+1 {
			w.fail("the log goes on with lsn=%d after lsn=%d", e.LSN, w.log.last)
		}
		w.log.prints = append(w.log.prints, w.fingerprint(r, e))
		w.log.last = e.LSN
		w.absorb(r, e, at)
	})
}

// readLog calls f for every entry from an LSN on.
func (w *world) readLog(from uint64, f func(*commitlog.Reader, *journal.Entry, commitlog.Place)) {
	was := w.running
	w.running = observer
	defer func() { w.running = was }()
	r, err := commitlog.NewReader(w.disk.read(), from)
	w.must(err, "open the log")
	r.VerifyBodies(true) // the last entry may not be written whole yet
	for {
		e, place, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if gap := (*commitlog.Damage)(nil); errors.As(err, &gap) && gap.Removed {
			w.checkGap(gap)
			continue
		}
		if err != nil {
			w.fail("read the log: %v (at %+v)", err, place)
		}
		if e.LSN < from {
			continue
		}
		f(r, e, place)
	}
	w.must(r.Close(), "close the log")
}

// checkGap: segments may be removed only where logicsrv's newest checkpoint does not need them.
func (w *world) checkGap(gap *commitlog.Damage) {
	w.stats.gaps++
	_, lsn, _, err := commitlog.LatestCheckpoint(w.disk.read())
	if err != nil || gap.NextLSN > lsn+1 {
		w.fail("the log lacks lsn %d to %d, the newest checkpoint is at lsn=%d (%v)", gap.LSN, gap.NextLSN-1, lsn, err)
	}
}

func (w *world) body(r *commitlog.Reader, i int, lsn uint64) []byte {
	b, err := r.Body(i, w.bodyBuf[:0])
	if err != nil {
		w.fail("body %d of entry lsn=%d: %v", i, lsn, err)
	}
	w.bodyBuf = b
	return b
}

func (w *world) fingerprint(r *commitlog.Reader, e *journal.Entry) uint64 {
	h := fnv.New64a()
	w.printBuf = e.AppendDisk(w.printBuf[:0], 0, 0)
	h.Write(w.printBuf)
	for i := range e.Bodies {
		h.Write(w.body(r, i, e.LSN))
	}
	return h.Sum64()
}

// absorb takes one entry into the shadow and checks it.
func (w *world) absorb(r *commitlog.Reader, e *journal.Entry, at commitlog.Place) {
	if w.out != nil {
		w.trace("log: lsn=%d term %d level %d pos %d, %d bytes of events, ops %v, items %v, refs %v", e.LSN, e.Term, e.Level, e.Pos, len(e.Events), e.Ops, e.Items, e.Refs)
	}
	w.compareEvents(e)
	w.absorbEvents(e)
	deletes := 0
	for i := range e.Ops {
		switch op := &e.Ops[i]; op.Kind {
		case journal.OpTrim:
			x := w.shadow(op.Index)
			x.trims = append(x.trims, shadowTrim{e.LSN, op.Offset})
		case journal.OpDelete:
			w.shadow(op.Index).deleted = e.LSN
			deletes++
			w.log.deletes[e.LSN] = true
		}
	}
	bodies := make([]*message, len(e.Bodies))
	for i := range e.Bodies {
		body := w.body(r, i, e.LSN)
		m := w.controlOf(body, e.LSN)
		if m == nil {
			m = w.messageOf(body, e.LSN)
		}
		if m.lsn != 0 && !m.again {
			w.fail("%v is stored twice: in entry lsn=%d and again in lsn=%d", m, m.lsn, e.LSN)
		}
		if m.refused {
			w.fail("%v was refused and is stored in entry lsn=%d", m, e.LSN)
		}
		m.lsn, m.deletes, m.position = e.LSN, deletes, at.Position+e.BodyOffset(i)
		bodies[i] = m
	}
	for i, ref := range e.InOrder() {
		if ref {
			w.absorbRef(&e.Refs[i], e.LSN)
			continue
		}
		it := &e.Items[i]
		if int(it.Body) >= len(bodies) {
			w.fail("item %d of entry lsn=%d names body %d of %d", i, e.LSN, it.Body, len(bodies))
		}
		w.absorbItem(it, bodies[it.Body], e.LSN)
	}
	w.checkEnds(bodies, e.LSN)
}

func (w *world) absorbItem(it *journal.IndexItem, m *message, lsn uint64) {
	x := w.shadow(it.Index)
	if it.Base != x.next || it.Count != m.meta.Count {
		w.fail("entry lsn=%d puts %v at [%d, +%d) of index %d, which ends at %d", lsn, m, it.Base, it.Count, it.Index, x.next)
	}
	if m.index != 0 && m.index != it.Index && m.txn == nil {
		w.fail("%v is stored in index %d", m, it.Index)
	}
	for i := len(x.batches) - 1; i >= 0 && i >= len(x.batches)-32; i-- {
		if before := x.batches[i].m; before.owner == m.owner && !x.batches[i].ref && m.control == 0 {
			if before.order >= m.order && !m.again && !before.again {
				w.fail("index %d: %v comes behind %v", it.Index, m, before)
			}
			break
		}
	}
	x.next += uint64(it.Count)
	x.batches = append(x.batches, shadowBatch{base: it.Base, end: x.next, lsn: lsn, m: m})
	m.places = append(m.places, place{it.Index, it.Base})
}

// absorbRef takes records that are stored already into another index, and checks where the
// reference leads.
func (w *world) absorbRef(r *journal.Ref, lsn uint64) {
	x, from := w.shadow(r.Index), w.shadow(r.Source).find(r.SourceOffset)
	switch {
	case r.Base != x.next:
		w.fail("entry lsn=%d puts a reference at %d of index %d, which ends at %d", lsn, r.Base, r.Index, x.next)
	case from == nil || r.SourceOffset+uint64(r.Count) > from.end:
		w.fail("entry lsn=%d has a reference to [%d, +%d) of index %d, which is no batch's", lsn, r.SourceOffset, r.Count, r.Source)
	}
	m, skip := from.m, from.skip+uint32(r.SourceOffset-from.base)
	partial := skip > 0 || r.Count < m.meta.Count
	deleted := r.SourceOffset+uint64(r.Count) <= w.model.Starts()[r.Source] // and its segment with it, perhaps
	switch damaged := r.Flags&journal.RefDamaged != 0; {
	case damaged && deleted, damaged && w.goneWith(r):
	case !damaged && r.Position >= commitlog.PackPosition:
		w.checkPacked(r, m, skip, lsn)
	case damaged, r.Position != m.position && !m.again, r.Length != m.meta.Length, r.Skip != skip, (r.Flags&journal.RefPartial != 0) != partial:
		w.fail("entry lsn=%d has the reference %+v to %v, which lies at position %d, %d records skipped", lsn, r, m, m.position, skip)
	}
	x.next += uint64(r.Count)
	x.batches = append(x.batches, shadowBatch{base: r.Base, end: x.next, lsn: lsn, m: m, skip: skip, ref: true})
	w.stats.refs++
}

// absorbEvents learns the levels of indexes.
func (w *world) absorbEvents(e *journal.Entry) {
	events := journal.Events(e.Events)
	for ev, ok := events.Next(); ok; ev, ok = events.Next() {
		switch ev.Type {
		case journal.EvTopicCreated:
			t, err := journal.DecodeTopicCreated(ev)
			w.must(err, "decode an event")
			w.topicLevel[t.ID] = t.Level
			for _, index := range t.Indexes {
				w.learn(index, t.Level, e.LSN)
			}
		case journal.EvPartitionsAdded:
			t, err := journal.DecodePartitionsAdded(ev)
			w.must(err, "decode an event")
			for _, index := range t.Indexes {
				w.learn(index, w.topicLevel[t.ID], e.LSN)
			}
		case journal.EvQueueCreated:
			q, err := journal.DecodeQueueCreated(ev)
			w.must(err, "decode an event")
			if q.Settings.Topic == "" {
				w.learn(q.Queue, q.Level, e.LSN)
			}
			w.queueLevel[q.Queue] = q.Level
		case journal.EvLaneAdded:
			l, err := journal.DecodeLaneAdded(ev)
			w.must(err, "decode an event")
			w.learn(l.Index, w.queueLevel[l.Queue], e.LSN)
		case journal.EvLimboAdded:
			l, err := journal.DecodeLimboAdded(ev)
			w.must(err, "decode an event")
			w.learn(l.Index, ipc.LevelPage, e.LSN)
		}
	}
	w.must(events.Err(), "read the events of an entry")
}

func (w *world) learn(index uint64, level ipc.Level, lsn uint64) {
	x := w.shadow(index)
	if x.created != 0 {
		w.fail("index %d is created a second time, in entry lsn=%d", index, lsn)
	}
	x.created, x.level = lsn, level
}

// powerCutPromise notes what the log promised at the moment of the cut. REQUIRES: follow before it.
func (w *world) powerCutPromise(synced uint64) {
	if !w.log.pending {
		w.checkClaims()
	}
	w.claims = w.claims[:0]
	w.log.promise = max(w.log.promise, synced)
	w.log.pending = true
}

// compareLog reads the whole log again after persistsrv's recovery: what it holds must be
// what it held, and after a power cut at least what was promised.
func (w *world) compareLog() {
	last := uint64(0)
	w.readLog(0, func(r *commitlog.Reader, e *journal.Entry, _ commitlog.Place) {
		if e.LSN > w.log.last {
			if w.log.pending {
				w.fail("after a power cut the log holds lsn=%d, before it ended at lsn=%d", e.LSN, w.log.last)
			}
			return
		}
		last = e.LSN
		if got := w.fingerprint(r, e); got != w.log.prints[e.LSN-1] {
			w.fail("entry lsn=%d has changed", e.LSN)
		}
	})
	if !w.log.pending {
		if last < w.log.last {
			w.fail("the log ends at lsn=%d, it had lsn=%d and the power was not cut", last, w.log.last)
		}
		return
	}
	w.log.pending = false
	w.trace("after the power cut the log ends at lsn=%d, it had lsn=%d, synced was %d", last, w.log.last, w.log.promise)
	if last < w.log.promise {
		w.fail("after a power cut the log ends at lsn=%d, synced was %d", last, w.log.promise)
	}
	w.forgetBeyond(last)
	w.log.promise = 0
}

// forgetBeyond takes out of the shadow and the ledger what the power cut has taken.
func (w *world) forgetBeyond(last uint64) {
	w.log.last = last
	w.log.prints = w.log.prints[:last]
	for _, index := range sortedKeys(w.log.indexes) {
		x := w.log.indexes[index]
		n := len(x.batches)
		for n > 0 && x.batches[n-1].lsn > last {
			n--
		}
		x.batches = x.batches[:n]
		x.trims = slices.DeleteFunc(x.trims, func(t shadowTrim) bool { return t.lsn > last })
		x.next = 0
		if n > 0 {
			x.next = x.batches[n-1].end
		}
		if x.deleted > last {
			x.deleted = 0
		}
		if x.created > last {
			delete(w.log.indexes, index)
		}
	}
	for _, m := range w.messages {
		w.cutMessage(m, last)
	}
	for lsn := range w.log.deletes {
		if lsn > last {
			delete(w.log.deletes, lsn)
		}
	}
	for lsn := range w.digests {
		if lsn > last {
			delete(w.digests, lsn)
		}
	}
}

// cutMessage settles what a power cut means for one message.
func (w *world) cutMessage(m *message, last uint64) {
	stored := m.lsn != 0 && m.lsn <= last
	if m.lsn > last {
		m.lsn, m.places = 0, nil
	}
	if stored {
		return
	}
	if m.acked && !(m.index == 0 && m.queues == 0) {
		m.lost = true
	}
	if m.meta.ProducerID >= 0 && m.offered {
		w.cutIDs[m.meta.ProducerID] = true
	}
}
