package seglog

import (
	"errors"
	"fmt"

	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/invariant"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// round is what goes into one gathered write. The buffers are, in turn, pieces of the arena
// (heads, patched fronts of bodies, padding) and the rest of the bodies where they lie in ring
// 12345, or in the entry's own record of ring 65432. Nothing here is allocated anew for an entry.
type round struct {
	phase  phase
	bufs   [][]byte
	arena  []byte
	run    int   // where the arena's piece begins that is not in bufs yet
	bytes  int64 // of log
	first  uint64
	last   uint64 // LSN
	term   uint64 // the highest of the entries'
	acts   []act
	next   int // the act to be done next
	bodyAt []uint64
	touch  []*index // have entries that are not written yet
	refs   resolving
}

// phase is how far a round has come.
type phase uint8

const (
	gathering phase = iota // Add may add
	indexing               // the log is written, the indexes are not all
)

// act is one change of an index that an entry causes, in the order of the log.
type act struct {
	op     journal.OpKind // 0: an index entry
	index  uint64
	term   uint64
	offset uint64 // trim
	timeMS int64
	keep   ipc.IndexSettings
	entry  commitlog.Entry
}

// Result of Add.
type Result uint8

const (
	Added   Result = 1 // is in the round
	Known   Result = 2 // was written before
	Blocked Result = 3 // the round must be flushed first
)

// Add gathers an entry; src yields its bodies, whose bytes must stay until Flush is through.
// What its references lead to is put into e. ErrFull where a new segment is needed and the disk
// has no room.
func (l *Log) Add(e *journal.Entry, src bodySource) (Result, error) {
	if l.round.phase != gathering {
		return Blocked, nil
	}
	last := l.LastLSN()
	if e.LSN <= last {
		return Known, nil
	}
	if e.LSN != last+1 {
		return 0, fmt.Errorf("%w: the log ends at lsn %d, the next entry has %d: entries between are lost "+
			"(the data directory is another one than this ring was used with, or its disk has lost what was written)", ErrGap, last, e.LSN)
	}
	size := int64(e.DiskSize())
	if !l.hasRoom(size) || l.round.bytes > 0 && l.round.bytes+size > l.set.RoundBytes {
		if l.round.bytes > 0 {
			return Blocked, nil
		}
		if !l.hasRoom(size) {
			if err := l.roll(e.LSN, size); err != nil {
				return 0, err
			}
		}
	}
	if ready, err := l.resolve(e); err != nil || !ready {
		return Blocked, err
	}
	if err := l.gather(e, src); err != nil {
		return 0, err
	}
	return Added, nil
}

// LastLSN is the last one written or gathered. Only the writer asks.
func (l *Log) LastLSN() uint64 {
	if l.round.bytes > 0 {
		return l.round.last
	}
	return l.written
}

// gather puts the entry's buffers and its index changes into the round.
func (l *Log) gather(e *journal.Entry, src bodySource) error {
	r := &l.round
	position := l.end + uint64(r.bytes)
	arena, bufs, run := len(r.arena), len(r.bufs), r.run
	r.arena = e.AppendDisk(r.arena, l.synced.Load(), l.cur.entrySalt(position))
	for i := range e.Bodies {
		if err := l.gatherBody(e, i, src); err != nil {
			r.arena, r.bufs, r.run = r.arena[:arena], r.bufs[:bufs], run
			return err
		}
	}
	for pad := -e.BodyBytes() & 7; pad > 0; pad-- {
		r.arena = append(r.arena, 0)
	}
	if r.bytes == 0 {
		r.first = e.LSN
	}
	r.bytes += int64(e.DiskSize())
	r.last = e.LSN
	l.plan(e, position)
	return nil
}

func (l *Log) gatherBody(e *journal.Entry, i int, src bodySource) error {
	r, b := &l.round, &e.Bodies[i]
	ring, inline := b.Inlined(e)
	if !inline {
		ring = src(b.RingPos, int(b.Length))
	}
	if len(ring) != int(b.Length) || len(ring) < minBatch {
		return fmt.Errorf("append lsn=%d: body %d of %d bytes at %d is not in ring 12345", e.LSN, i, b.Length, b.RingPos)
	}
	if crc := uint32(ring[17])<<24 | uint32(ring[18])<<16 | uint32(ring[19])<<8 | uint32(ring[20]); crc != b.CRC || ring[16] != 2 {
		return fmt.Errorf("append lsn=%d: body %d at %d in ring 12345 has magic %d and CRC %#x, the entry says %#x",
			e.LSN, i, b.RingPos, ring[16], crc, b.CRC)
	}
	prefix := b.Prefix()
	r.arena = append(r.arena, prefix[:]...)
	r.bufs = append(r.bufs, r.arena[r.run:], ring[journal.BodyPrefixSize:])
	r.run = len(r.arena)
	return nil
}

// minBatch is the length of an empty RecordBatch.
const minBatch = 61

// plan notes the index changes of an entry that lies at a log position.
func (l *Log) plan(e *journal.Entry, position uint64) {
	r := &l.round
	r.term = max(r.term, e.Term)
	for i := range e.Ops {
		op := &e.Ops[i]
		r.acts = append(r.acts, act{
			op: op.Kind, index: op.Index, term: e.Term, offset: op.Offset, timeMS: e.TimeMS, keep: op.Settings,
		})
	}
	if len(e.Items)+len(e.Refs) == 0 {
		return
	}
	at := position + uint64(e.HeadSize())
	r.bodyAt = r.bodyAt[:0]
	for i := range e.Bodies {
		r.bodyAt = append(r.bodyAt, at)
		at += uint64(e.Bodies[i].Length)
	}
	for i, ref := range e.InOrder() {
		a := act{term: e.Term, timeMS: e.TimeMS}
		if ref {
			a.index, a.entry = e.Refs[i].Index, commitlog.RefEntry(e, &e.Refs[i], position)
		} else {
			it := &e.Items[i]
			a.index, a.entry = it.Index, commitlog.ItemEntry(e, it, position, r.bodyAt[it.Body])
		}
		r.acts = append(r.acts, a)
	}
}

// Pending says whether Flush has something to do.
func (l *Log) Pending() bool { return l.round.bytes > 0 }

// Flush brings the round to the page cache. After ErrFull it goes on where it stopped.
func (l *Log) Flush() error {
	r := &l.round
	if r.bytes == 0 {
		return nil
	}
	if r.phase == gathering {
		if err := l.write(); err != nil {
			return err
		}
		l.mu.Lock()
		r.phase, l.applying = indexing, true
		s := l.cur
		l.end += uint64(r.bytes)
		s.end, s.lastLSN = l.end, r.last
		l.mu.Unlock()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.apply(); err != nil {
		return fmt.Errorf("index lsn=%d…%d: %w", r.first, r.last, err)
	}
	l.applying = false
	l.space.none.Store(false)
	l.written, l.term = r.last, max(l.term, r.term)
	l.stats.Entries += r.last - r.first + 1
	l.stats.Bytes += uint64(r.bytes)
	l.stats.LogBytes += uint64(r.bytes)
	l.stats.Writes++
	l.ckpt.bytes += uint64(r.bytes)
	l.ckpt.changed = true
	r.reset()
	return nil
}

// write writes the gathered buffers at the end of the current segment.
func (l *Log) write() error {
	r, s := &l.round, l.cur
	if len(r.arena) > r.run {
		r.bufs = append(r.bufs, r.arena[r.run:])
		r.run = len(r.arena)
	}
	if err := l.runAhead(s, s.offset(l.end)+r.bytes); err != nil {
		return err
	}
	n, err := s.file.WritevAt(r.bufs, s.offset(l.end))
	if err != nil {
		if err = full(err); errors.Is(err, ErrFull) {
			l.space.hit()
		}
		return fmt.Errorf("append lsn=%d…%d segment=%s: %w", r.first, r.last, s.name(), err)
	}
	invariant.Check(int64(n) == r.bytes, "wrote %d bytes of a round of %d", n, r.bytes)
	failpoint.Hit("persist.write")
	return nil
}

// reset empties the round and lets go of ring 12345's bytes.
func (r *round) reset() {
	clear(r.bufs)
	clear(r.touch)
	r.bufs, r.arena, r.acts, r.touch = r.bufs[:0], r.arena[:0], r.acts[:0], r.touch[:0]
	r.run, r.bytes, r.next, r.term, r.phase = 0, 0, 0, 0, gathering
	r.refs.reset()
}

// apply does the round's changes to the indexes. REQUIRES: mu is held.
func (l *Log) apply() error {
	r := &l.round
	for ; r.next < len(r.acts); r.next++ {
		if err := l.do(&r.acts[r.next]); err != nil {
			return l.noteFull(err)
		}
	}
	for len(r.touch) > 0 {
		x := r.touch[len(r.touch)-1]
		if err := l.writePending(x); err != nil {
			return l.noteFull(err)
		}
		x.touched = false
		r.touch = r.touch[:len(r.touch)-1]
		failpoint.Hit("persist.index")
	}
	return nil
}

func (l *Log) noteFull(err error) error {
	if errors.Is(err, ErrFull) {
		l.space.hit()
	}
	return err
}

func (l *Log) do(a *act) error {
	switch a.op {
	case 0:
		return l.addEntry(a)
	case journal.OpCreate, journal.OpConfigure, journal.OpCompact, journal.OpClosing:
		return l.setSettings(a)
	case journal.OpDelete:
		return l.deleteIndex(a.index)
	case journal.OpTrim:
		x := l.indexes[a.index]
		if x == nil {
			return nil
		}
		return l.trim(x, a.offset)
	}
	return nil
}
