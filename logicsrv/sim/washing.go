//go:build failpoints

package sim

import (
	"bytes"
	"slices"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
	"github.com/trimq/trimq/shmqueue"
)

// washing is one compacted partition as it lies in the files.
type washing struct {
	w     *world
	index uint64
	x     *shadowIndex
	start uint64
	end   uint64
	there map[uint64]bool // offsets with a record, or a control batch
	ends  []fate          // what became of each batch of the shadow
}

// readWashed reads a partition, and compares every record with what was sent. nil: persistsrv has died over a new
// file of it.
func (w *world) readWashed(r *commitlog.BatchReader, index uint64) *washing {
	c := &washing{w: w, index: index, x: w.shadow(index), there: map[uint64]bool{}}
	start, entries, err := commitlog.ReadIndex(w.disk.read(), index)
	if err != nil && w.persist == nil {
		return nil
	}
	w.must(err, "read a compacted index")
	c.start, c.end = start, start
	for _, t := range c.x.trims {
		if t.lsn <= w.ringC.Word(shmqueue.WordWritten).Load() && start < min(t.offset, c.x.next) {
			w.fail("index %d begins at %d, entry lsn=%d has trimmed it to %d", index, start, t.lsn, t.offset)
		}
	}
	for i := range entries {
		e := &entries[i]
		if e.End() <= start {
			continue
		}
		if e.Offset < c.end && c.end > start || e.Flags&commitlog.FlagDamaged != 0 {
			w.fail("index %d has %+v behind offset %d", index, e, c.end)
		}
		c.end = e.End()
		b, err := r.Batch(*e)
		w.must(err, "read a batch of a compacted index")
		c.read(e, b)
	}
	return c
}

// read compares the records of a batch with what was sent.
func (c *washing) read(e *commitlog.Entry, b []byte) {
	if h := batch.Header(b); h.Control() && e.Offset < c.x.next {
		if m := c.x.find(e.Offset); m == nil || m.m.control == 0 || m.m.meta.ProducerID != h.ProducerID() {
			c.w.fail("index %d has a control batch of producer %d at %d", c.index, h.ProducerID(), e.Offset)
		}
		c.there[e.Offset] = true
		return
	}
	var r batch.Reader
	var rec batch.Record
	c.w.must(r.Reset(b), "read a batch of a compacted index")
	r.Rebase(e.Base())
	for n := uint64(0); r.Next(&rec); n++ {
		offset := rec.Offset
		if e.Flags&commitlog.FlagPartial != 0 {
			offset = e.Base() + n
		}
		if offset < e.Offset || offset >= e.End() || offset >= c.x.next {
			continue // not in this index, or its entry has not been looked at yet
		}
		want, m := c.w.sentAt(c.x, offset)
		if m == nil || !bytes.Equal(want.Key, rec.Key) || !bytes.Equal(want.Value, rec.Value) || (want.Value == nil) != (rec.Value == nil) {
			c.w.fail("index %d has %q at offset %d, sent was %q of %v", c.index, rec.Key, offset, want.Key, m)
		}
		c.there[offset] = true
	}
	c.w.must(r.Err(), "read the records of a compacted index")
}

// sentAt is the record that somebody has sent which came to an offset.
func (w *world) sentAt(x *shadowIndex, offset uint64) (rec batch.Record, m *message) {
	b := x.find(offset)
	if b == nil || b.m.control > 0 {
		return rec, nil
	}
	if b.m.records == nil {
		w.must(batch.Iterate(b.m.bytes, func(rec *batch.Record) error {
			b.m.records = append(b.m.records, *rec)
			return nil
		}), "read a batch of our own")
	}
	return b.m.records[b.skip+uint32(offset-b.base)], b.m
}

// check finds a reason for each record that is gone, but of those that somebody has deleted from the front.
func (c *washing) check() {
	c.findFates()
	last := c.lastOfKeys()
	for offset := c.w.model.Starts()[c.index]; offset < min(c.end, c.x.next); offset++ {
		at := place{c.index, offset}
		if c.there[offset] {
			delete(c.w.laundry.gone, at) // a power cut may have brought it back
			continue
		}
		if !c.w.laundry.gone[at] {
			c.w.stats.washed++
		}
		c.w.laundry.gone[at] = true
		c.judgeGone(offset, last)
	}
}

// findFates finds what became of the batches of transactional producers.
func (c *washing) findFates() {
	c.ends = make([]fate, len(c.x.batches))
	next := map[int64]fate{}
	for i := len(c.x.batches) - 1; i >= 0; i-- {
		b := &c.x.batches[i]
		if c.ends[i] = next[b.m.meta.ProducerID]; b.m.control > 0 {
			next[b.m.meta.ProducerID] = fate{true, b.m.control == 2, b.lsn, b.base}
		}
	}
}

// lastOfKeys is, of each key, the offset of its last record that counts.
func (c *washing) lastOfKeys() map[string]uint64 {
	last := map[string]uint64{}
	for i := range c.x.batches {
		b := &c.x.batches[i]
		if b.m.control > 0 || b.m.dealt && !c.ends[i].committed {
			continue
		}
		for offset := b.base; offset < b.end; offset++ {
			if rec, _ := c.w.sentAt(c.x, offset); rec.Key != nil {
				last[string(rec.Key)] = offset
			}
		}
	}
	return last
}

// judgeGone tells whether what was at an offset may be gone.
func (c *washing) judgeGone(offset uint64, last map[string]uint64) {
	w := c.w
	i := slices.IndexFunc(c.x.batches, func(b shadowBatch) bool { return b.base <= offset && offset < b.end })
	m, f := c.x.batches[i].m, c.ends[i]
	if m.control > 0 {
		c.judgeMarkerGone(i, offset)
		return
	}
	rec, _ := w.sentAt(c.x, offset)
	switch {
	case m.dealt && !f.ended:
		w.fail("%v: offset %d of index %d is gone, and its transaction open", m, offset, c.index)
	case m.dealt && !f.committed:
	case rec.Key == nil:
		w.fail("%v: offset %d of index %d is gone, which has no key", m, offset, c.index)
	case last[string(rec.Key)] > offset:
	case rec.Value != nil:
		w.fail("%v: offset %d of index %d is gone, the last of key %q", m, offset, c.index, rec.Key)
	case w.now < m.madeMS+w.laundry.tombstoneMS:
		w.fail("%v: the deletion of %q at offset %d of index %d is gone after %d ms", m, rec.Key, offset, c.index, w.now-m.madeMS)
	}
}

// judgeMarkerGone: readers who were told of an abort look for its end, and what was committed needs its own until
// nothing of it is left.
func (c *washing) judgeMarkerGone(i int, offset uint64) {
	marker := c.x.batches[i].m
	if marker.control == 1 {
		c.w.fail("the end of an aborted transaction of producer %d is gone, at offset %d of index %d", marker.meta.ProducerID, offset, c.index)
	}
	for k := i - 1; k >= 0 && c.x.batches[k].end > c.start; k-- {
		b := &c.x.batches[k]
		if b.m.meta.ProducerID != marker.meta.ProducerID {
			continue
		}
		if b.m.control > 0 {
			return
		}
		for o := b.base; o < b.end; o++ {
			if c.there[o] {
				c.w.fail("the end of a transaction of producer %d is gone, at offset %d of index %d, and offset %d of it is there", marker.meta.ProducerID, offset, c.index, o)
			}
		}
	}
}

// auditWashed reads what is there as a client of committed records does: it leaves out what a producer sends
// from where the producer is told to have aborted, up to the marker of that.
func (a *auditor) auditWashed(s *ipc.Stable, end uint64) {
	w := a.w
	if w.laundry == nil {
		return
	}
	was := w.running
	w.running = observer
	defer func() { w.running = was }()
	r := commitlog.NewBatchReader(w.disk.read())
	defer r.Close()
	start, entries, err := commitlog.ReadIndex(w.disk.read(), s.Index)
	w.must(err, "read a compacted index")
	x, told, aborted := w.shadow(s.Index), s.Aborted, map[int64]bool{}
	for i := range entries {
		e := &entries[i]
		if e.End() <= max(a.pos, start) || e.Offset >= end {
			continue
		}
		b, err := r.Batch(*e)
		w.must(err, "read a batch of a compacted index")
		h := batch.Header(b)
		for ; len(told) > 0 && told[0].First < e.End(); told = told[1:] {
			aborted[told[0].ProducerID] = true
		}
		if h.Control() {
			if commit, err := batch.ParseControl(b); err == nil && !commit {
				delete(aborted, h.ProducerID())
			}
			continue
		}
		hidden := h.Transactional() && aborted[h.ProducerID()]
		if m := x.find(e.Offset); m != nil && m.m.dealt && hidden == w.fateOf(x, e.Offset, h.ProducerID()).committed {
			w.fail("%s leaves out %v at %d: %t", a.name, m.m, e.Offset, hidden)
		}
	}
}

// goneWith tells whether compaction has removed something that a reference refers to, so that it leads nowhere. What
// stands for it in its index is gone as well, then.
func (w *world) goneWith(r *journal.Ref) (gone bool) {
	for i := range uint64(r.Count) {
		gone = gone || w.isGone(r.Source, r.SourceOffset+i)
	}
	for i := range uint64(r.Count) {
		if gone {
			w.laundry.gone[place{r.Index, r.Base + i}] = true
		}
	}
	return gone
}

// checkPacked reads what a reference leads to that compaction has put into a pack.
func (w *world) checkPacked(r *journal.Ref, m *message, skip uint32, lsn uint64) {
	log := commitlog.NewBatchReader(w.disk.read())
	defer log.Close()
	b, err := log.Bytes(r.Position, int(r.Length))
	w.must(err, "read what a reference leads to")
	var got, want batch.Reader
	var rec, sent batch.Record
	w.must(got.Reset(b), "read a batch in a pack")
	w.must(want.Reset(m.bytes), "read a batch of our own")
	for range r.Skip {
		got.Next(&rec)
	}
	for range skip {
		want.Next(&sent)
	}
	for range r.Count {
		if !got.Next(&rec) || !want.Next(&sent) || !bytes.Equal(rec.Key, sent.Key) || !bytes.Equal(rec.Value, sent.Value) {
			w.fail("entry lsn=%d has the reference %+v to %v, and leads to %q", lsn, r, m, rec.Value)
		}
	}
}
