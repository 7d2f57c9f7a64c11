package seglog

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/trimq/trimq/persistsrv/vfs"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/failpoint"
)

// Compaction: of an index that asks for it, the last record of each key stays. A pass goes like this:
//
//  1. begin: the index gets a new last file, so that all others are full, and the log is synced. What
//     is looked at is durable from then on, and is never decided about again.
//  2. survey: the heads of all batches tell which transactions have ended, and how. The pass ends
//     before the first one that has not, and before what is too young, and before the last batch.
//  3. learn: of each key in what is new, the last offset is put into a map, as far as there is room.
//  4. pack, once for each group of neighbouring index files: what stays of them is written into a pack
//     (commitlog/pack.go), and an index file that leads into it takes their place.
//
// Offsets do not change. Readers see the old files or the new ones: both are right, and what the old
// ones lead to goes only when an index checkpoint says that nothing needs it. So whenever the process
// dies, or the power fails, the index is whole: with the files of before, or some groups' new ones, and
// the next pass begins where the last file of the index says that the last pass has ended.
//
// Compact belongs to one goroutine. It takes mu for moments only: what it reads are full files and
// durable batches, which nobody changes.

// compacting is one pass over an index.
type compacting struct {
	l     *Log
	x     *index
	keep  compactSettings
	now   int64
	start uint64      // of the index when it began
	files []indexFile // all but the last one, from the front on
	read  *commitlog.BatchReader

	survey survey
	keys   map[[2]uint64]uint64 // of each key in what is new, the last offset
	done   uint64               // up to where the index was compacted before
	from   uint64               // where what is new begins
	to     uint64               // where it ends, and the pass with it: what begins there or later stays as it is

	before, after, bytesBefore, bytesAfter uint64 // records and bytes, of groups that were replaced
	groups                                 int    // that were replaced
}

// compactSettings is what the index asks for, as it was when the pass began.
type compactSettings struct {
	minLagMS, tombstoneMS int64
}

// errAbandoned ends a pass before its time: the index has changed under it, or the process ends.
var errAbandoned = errors.New("abandoned")

// errBusy says that a round is just being indexed.
var errBusy = errors.New("busy")

// afterBusyMS is how long an index is left alone then.
const afterBusyMS = 20

// afterTroubleMS is how long an index is left alone of which something cannot be read.
const afterTroubleMS = 10 * 60 * 1000

// CompactionDue says whether Compact has something to do.
func (l *Log) CompactionDue() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.nextToCompact() != nil
}

// nextToCompact finds an index whose turn it is. REQUIRES: mu is held.
func (l *Log) nextToCompact() *index {
	now := l.now()
	var next *index
	for _, x := range l.indexes {
		c := &x.keep.Compaction
		if !c.On || x.start == x.next || now < x.retryMS {
			continue
		}
		fresh := x.next != x.seen && x.bytes > 0
		if due := x.horizon > 0 && now >= x.horizon || fresh && l.isDirty(x, now); !due {
			continue
		}
		if next == nil || x.retryMS < next.retryMS || x.retryMS == next.retryMS && x.id < next.id {
			next = x
		}
	}
	return next
}

// isDirty tells whether there is so much new in an index, or so old, that it is to be compacted.
// REQUIRES: mu is held.
func (l *Log) isDirty(x *index, now int64) bool {
	c := &x.keep.Compaction
	fresh := x.bytes - x.packed()
	closed := int64(fresh) >= min(c.ClosingBytes, l.set.CompactBytes)
	dirty := float64(fresh)/float64(x.bytes) >= float64(c.DirtyPPM)/1e6
	if closed && dirty {
		return true
	}
	// How old it is has to be read: it tells nothing before the shorter of both times is over.
	if len(x.pending) > 0 {
		return false
	}
	e, ok, err := l.firstFrom(x, x.cleaned)
	if err != nil || !ok {
		return false
	}
	age := now - e.MaxTimeMS
	return dirty && age >= c.ClosingMS || c.MaxLagMS < math.MaxInt64 && age >= c.MaxLagMS
}

// firstFrom reads the first entry of an index that ends behind an offset. REQUIRES: mu is held, and
// nothing is pending.
func (l *Log) firstFrom(x *index, offset uint64) (e commitlog.Entry, ok bool, err error) {
	slot, file := x.frontSlot, x.frontFile
	defer func() { x.frontSlot, x.frontFile = slot, file }()
	for x.frontFile+1 < len(x.files) && x.files[x.frontFile+1].base <= offset {
		x.frontFile, x.frontSlot = x.frontFile+1, 0
	}
	for {
		entries, err := l.frontEntries(x, trimChunk)
		if err != nil {
			return e, false, err
		}
		for _, e := range entries {
			if e.Count > 0 && e.End() > offset {
				return e, true, nil
			}
		}
		if x.frontSlot += len(entries); len(entries) == 0 {
			if x.frontFile+1 >= len(x.files) {
				return e, false, nil
			}
			x.frontFile, x.frontSlot = x.frontFile+1, 0
		}
	}
}

// Compact compacts one index, if one is due. sync must sync the log, as Sync does. What cannot be done
// for want of room, or because something cannot be read, is told and tried again later; an error is one
// that leaves doubt about what was synced.
func (l *Log) Compact(sync func() error) error {
	l.mu.Lock()
	x := l.nextToCompact()
	l.mu.Unlock()
	if x == nil {
		return nil
	}
	began := time.Now()
	p := &compacting{l: l, x: x, now: l.now(), keys: map[[2]uint64]uint64{}}
	err := p.run(sync)
	if p.read != nil {
		p.read.Close()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.CompactedRecords += p.before - min(p.before, p.after)
	l.stats.CompactedBytes += p.bytesBefore - min(p.bytesBefore, p.bytesAfter)
	if p.groups > 0 {
		l.stats.Compactions++
		l.log.Info("compacted", "index", x.id, "from", p.from, "to", p.to, "keys", len(p.keys), "records_before", p.before, "records", p.after,
			"bytes_before", p.bytesBefore, "bytes", p.bytesAfter, "packs", p.groups, "took", time.Since(began))
	}
	return l.endCompact(x, err)
}

// endCompact says when an index is looked at again, and what was wrong. REQUIRES: mu is held.
func (l *Log) endCompact(x *index, err error) error {
	x.retryMS = l.now() + l.set.CompactMS
	switch {
	case err == errBusy:
		x.retryMS = l.now() + afterBusyMS
		return nil
	case err == nil || errors.Is(err, errAbandoned) || isNotExist(err): // trimmed or deleted meanwhile
		return nil
	case errors.Is(err, ErrSync):
		return fmt.Errorf("compact index %#x: %w", x.id, err)
	case errors.Is(err, ErrFull):
		l.log.Warn("no room to compact", "index", x.id, "err", err)
	default:
		x.retryMS = l.now() + afterTroubleMS
		l.log.Error("an index cannot be compacted", "index", x.id, "err", err)
	}
	return nil
}

// run is one pass.
func (p *compacting) run(sync func() error) error {
	if err := p.begin(sync); err != nil {
		return err
	}
	if err := p.look(); err != nil {
		return err
	}
	if err := p.learn(); err != nil {
		return err
	}
	whole := p.to == p.survey.last
	if p.to > p.from || p.x.horizon > 0 && p.now >= p.x.horizon {
		if err := p.packAll(); err != nil {
			return err
		}
	}
	if whole {
		p.l.mu.Lock()
		p.x.seen = p.survey.end
		p.l.mu.Unlock()
	}
	return nil
}

// begin makes all files of the index but a new one full, and syncs the log.
func (p *compacting) begin(sync func() error) (err error) {
	l, x := p.l, p.x
	l.mu.Lock()
	if l.applying || l.indexes[x.id] != x || len(x.pending) > 0 {
		l.mu.Unlock()
		return errBusy
	}
	if x.files[len(x.files)-1].count > 0 {
		if err = l.createIndexFile(x, x.next); err == nil {
			l.ckpt.changed = true
		} else {
			_ = l.fs.Remove(commitlog.IndexName(x.id, x.next)) // it holds nothing
		}
	}
	c := &x.keep.Compaction
	p.keep = compactSettings{minLagMS: c.MinLagMS, tombstoneMS: c.TombstoneMS}
	failpoint.Hit("persist.compact.begun")
	p.start, p.done, p.from = x.start, x.cleaned, max(x.start, x.cleaned)
	p.survey.end = x.next
	for _, f := range x.files[x.frontFile:] {
		if f.base < x.next && f.count > 0 {
			p.files = append(p.files, f)
		}
	}
	lsn := l.written
	l.mu.Unlock()
	if err != nil {
		return err
	}
	if l.synced.Load() < lsn && !failpoint.Broken("compact-unsynced") {
		if err := sync(); err != nil {
			return err
		}
	}
	p.read = commitlog.NewBatchReader(vfs.Reading(l.fs))
	return nil
}

// entries reads the entries of one of the files that are there, from the index's start on.
func (p *compacting) entries(f *indexFile) ([]commitlog.Entry, error) {
	h, entries, _, err := commitlog.ReadIndexFile(vfs.Reading(p.l.fs), p.x.id, f.base)
	switch {
	case err != nil:
		return nil, err
	case len(entries) < int(f.count) || h.Slots != f.slots:
		return nil, fmt.Errorf("%s has %d entries of %d", commitlog.IndexName(p.x.id, f.base), len(entries), f.count)
	}
	entries = entries[:f.count]
	for len(entries) > 0 && entries[0].End() <= p.start {
		entries = entries[1:]
	}
	return entries, p.paced(int(f.count) * commitlog.IndexEntrySize)
}

// paced accounts for bytes that were read or written.
func (p *compacting) paced(bytes int) error {
	if !p.l.pace(bytes) {
		return errAbandoned
	}
	return nil
}

// each shows the entries of all files, up to where yield gives false.
func (p *compacting) each(yield func(e *commitlog.Entry) (more bool, err error)) error {
	for i := range p.files {
		entries, err := p.entries(&p.files[i])
		if err != nil {
			return err
		}
		for k := range entries {
			if more, err := yield(&entries[k]); err != nil || !more {
				return err
			}
		}
	}
	return nil
}

// learn puts the keys of what is new into the map, batch by batch as long as there is room for more: so
// far goes the pass.
func (p *compacting) learn() error {
	var r batch.Reader
	var rec batch.Record
	return p.each(func(e *commitlog.Entry) (more bool, err error) {
		if e.End() <= p.from {
			return true, nil
		}
		if e.Offset >= p.to {
			return false, nil
		}
		if len(p.keys) >= p.l.set.CompactKeys {
			p.to = e.Offset
			return false, nil
		}
		b, whole, err := p.batch(e)
		if err != nil || !whole || p.survey.fate(e, batch.Header(b)) != fateCounts {
			return true, err
		}
		if err := r.Reset(b); err != nil {
			return true, nil // packed as it is
		}
		r.Rebase(e.Base())
		for n := uint32(0); r.Next(&rec); n++ {
			offset := rec.Offset
			if e.Flags&commitlog.FlagPartial != 0 {
				offset = e.Base() + uint64(n)
			}
			if offset < e.Offset || offset >= e.End() || rec.Key == nil {
				continue
			}
			p.keys[keyOf(rec.Key)] = offset
		}
		return true, nil
	})
}

// batch reads an entry's batch. whole is false where it is known, or turns out, to be damaged: nothing
// is then decided about it.
func (p *compacting) batch(e *commitlog.Entry) (b []byte, whole bool, err error) {
	if e.Position == 0 {
		return nil, false, nil
	}
	b, err = p.read.Batch(*e)
	if errors.Is(err, commitlog.ErrDamaged) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	return b, e.Flags&commitlog.FlagDamaged == 0 && batch.Check(b) == nil, p.paced(len(b))
}
