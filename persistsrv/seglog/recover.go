package seglog

import (
	"errors"
	"fmt"
	"io"

	"github.com/trimq/trimq/persistsrv/vfs"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/invariant"
	"github.com/trimq/trimq/protocol/journal"
)

// recovery reads the log from the index checkpoint on and brings segments and indexes to the
// state after its last whole entry.
//
// An entry that is not whole is the torn end of the log, unless it is known that it was once
// synced: by an LSN that a predecessor has told (hint), or by a whole entry behind it that
// says so. A torn end is cut off. A damaged place is reported, and recovery goes on behind it.
type recovery struct {
	l       *Log
	hint    uint64 // entries up to this LSN were synced
	rewrite bool   // entries behind it may not be believed to become so
	// warm: the machine has not lost what was in the page cache. Otherwise an index's start
	// word may come from an entry that is lost, and only the index checkpoint is believed.
	warm bool

	files   []commitlog.SegmentFile
	ckpt    *commitlog.IndexCheckpoint
	last    uint64 // LSN of the last whole entry
	from    uint64 // log position at which reading begins
	pre     bool   // reading below the index checkpoint, for indexes that are rebuilt
	whole   bool   // no index checkpoint: all indexes are rebuilt
	unknown bool   // nothing says which LSN the first entry has
	split   *segment
	source  map[*segment]*segment // a segment to be written again → the one that has its bytes
	cut     bool                  // the torn end was cut
}

// actsAtOnce bounds the index changes that recovery gathers.
const actsAtOnce = 4096

func (r *recovery) run() error {
	if err := r.loadSegments(); err != nil {
		return err
	}
	if err := r.loadIndexCheckpoint(); err != nil {
		return err
	}
	r.hint = max(r.hint, r.ckpt.LSN)
	if err := r.loadIndexes(); err != nil {
		return err
	}
	if err := r.rebuildBelow(); err != nil {
		return err
	}
	r.last = r.ckpt.LSN
	if err := r.scan(r.ckpt.Position, ^uint64(0)); err != nil {
		return err
	}
	if err := r.settleEmpty(); err != nil {
		return err
	}
	if err := r.settleEnd(); err != nil {
		return err
	}
	if err := r.finishIndexes(); err != nil {
		return err
	}
	if err := r.writeAgain(); err != nil {
		return err
	}
	r.checkMissing()
	return nil
}

// loadSegments lists the segments. A last one that never got an entry is removed.
func (r *recovery) loadSegments() error {
	files, err := commitlog.ListSegments(vfs.Reading(r.l.fs))
	if err != nil {
		return err
	}
	for n := len(files); n > 0 && files[n-1].HeaderErr != nil; n = len(files) {
		empty, err := r.neverUsed(&files[n-1])
		if err != nil {
			return err
		}
		if !empty {
			break
		}
		if err := r.l.fs.Remove(files[n-1].Name); err != nil {
			return err
		}
		// Anew, because the file before may go on behind the place where this one began.
		if files, err = commitlog.ListSegments(vfs.Reading(r.l.fs)); err != nil {
			return err
		}
	}
	r.files = files
	for i := range files {
		f := &files[i]
		s := &segment{
			position: f.Position, baseLSN: f.Header.BaseLSN, end: f.End, capacity: max(f.Size, int64(f.Header.Capacity)),
			createdMS: f.Header.CreatedMS, sealed: true,
			tail: f.Size > commitlog.SegmentHeaderSize+int64(f.End-f.Position),
		}
		s.synced = s.end
		s.lastLSN = s.baseLSN - 1
		if f.HeaderErr != nil {
			s.baseLSN, s.lastLSN, s.capacity = 0, 0, f.Size
		}
		if i > 0 && f.HeaderErr == nil {
			r.l.segs[i-1].lastLSN = s.baseLSN - 1
		}
		r.l.segs = append(r.l.segs, s)
	}
	return nil
}

// neverUsed says whether a segment with a bad header holds no entry either.
func (r *recovery) neverUsed(f *commitlog.SegmentFile) (bool, error) {
	if f.End == f.Position {
		return true, nil
	}
	file, err := r.l.fs.Open(f.Name)
	if err != nil {
		return false, err
	}
	defer file.Close()
	_, _, found, err := commitlog.NewScanner(file, *f).FindNext(f.Position, 0)
	return !found, err
}

// loadIndexCheckpoint reads index.ckpt. Without one, the whole log is read.
func (r *recovery) loadIndexCheckpoint() error {
	c, err := commitlog.ReadIndexCheckpoint(vfs.Reading(r.l.fs))
	var format *commitlog.FormatError
	switch {
	case isNotExist(err):
	case errors.As(err, &format) || errors.Is(err, io.ErrUnexpectedEOF):
		r.l.log.Warn("index checkpoint is damaged: reading the whole log", "err", err)
	case err != nil:
		return err
	default:
		r.ckpt = c
		r.learnSegments()
		for i := range r.files {
			if f := &r.files[i]; f.HeaderErr != nil && f.Position < c.Position {
				r.damage(commitlog.Damage{Segment: f.Name, Position: f.Position, End: f.Position, Why: f.HeaderErr.Error()})
			}
		}
	}
	if r.ckpt == nil {
		r.whole = true
		r.ckpt = &commitlog.IndexCheckpoint{}
		if len(r.files) > 0 {
			r.ckpt.Position = r.files[0].Position
			r.ckpt.LSN = max(r.files[0].Header.BaseLSN, 1) - 1
			r.unknown = r.files[0].HeaderErr != nil && r.files[0].Position > 0
		}
	}
	r.from = r.ckpt.Position
	r.l.stats.RecoveredFrom = r.from
	return nil
}

// learnSegments takes over counts from the index checkpoint, and finds what is gone.
func (r *recovery) learnSegments() {
	known := map[uint64]*segment{}
	for _, s := range r.l.segs {
		known[s.position] = s
	}
	for i := range r.ckpt.Segments {
		st := &r.ckpt.Segments[i]
		s := known[st.Position]
		if s == nil {
			if st.Refs > 0 {
				r.damage(commitlog.Damage{
					Segment: commitlog.SegmentName(st.Position), Position: st.Position, End: st.End,
					LSN: st.BaseLSN, NextLSN: st.LastLSN + 1, Why: "the segment is missing",
				})
			}
			continue
		}
		s.refs, s.live, s.baseLSN, s.lastLSN = st.Refs, st.Live, st.BaseLSN, st.LastLSN
		if s.end < st.End {
			r.damage(commitlog.Damage{
				Segment: s.name(), Position: s.end, End: st.End, LSN: 0, NextLSN: st.LastLSN + 1,
				Why: fmt.Sprintf("the segment's file is %d bytes short", st.End-s.end),
			})
		}
	}
}

// damage reports a damaged place: once in the log file, for ever in Damages.
func (r *recovery) damage(d commitlog.Damage) { r.l.reportDamage(d) }

func (l *Log) reportDamage(d commitlog.Damage) {
	l.damages = append(l.damages, d)
	l.stats.DamagedPlaces++
	l.log.Error("the commit log is damaged: what was stored there cannot be read; run: trimq log verify",
		"segment", d.Segment, "position", d.Position, "end", d.End, "lsn", d.LSN, "next_lsn", d.NextLSN, "why", d.Why)
}

// scan reads entries from one log position to before another and applies them.
func (r *recovery) scan(from, to uint64) error {
	for i := range r.files {
		f := &r.files[i]
		badHeader := f.HeaderErr != nil && f.Position >= from
		if f.End <= from && i+1 < len(r.files) && !badHeader || f.Position >= to {
			continue
		}
		stop, err := r.scanSegment(i, max(from, f.Position), min(to, f.End))
		if err != nil {
			return err
		}
		if stop {
			break
		}
		from = max(from, f.End)
	}
	return r.flush()
}

// scanSegment reads entries of one segment; stop says that the log ends in it.
func (r *recovery) scanSegment(i int, at, to uint64) (stop bool, err error) {
	f := &r.files[i]
	if f.HeaderErr != nil && f.Position >= r.from {
		if stop, err := r.badHeader(i); stop || err != nil {
			return stop, err
		}
	}
	file, err := r.l.fs.Open(f.Name)
	if err != nil {
		return false, err
	}
	defer file.Close()
	sc := commitlog.NewScanner(file, *f)
	sc.Bodies = !r.pre
	began := at
	for at < to {
		e, p, err := sc.At(at)
		var bad *commitlog.BadEntry
		switch {
		case errors.As(err, &bad):
			next, err := r.bad(i, at, bad, e, sc)
			if err != nil {
				return false, err
			}
			if next == 0 && r.pre {
				return true, nil // the rest is the tail's
			}
			if next == 0 {
				return true, r.cutAt(i, at, bad)
			}
			at = next
			continue
		case err != nil:
			return false, err
		case e.LSN != r.last+1 && !r.anyLSN():
			if stop, err := r.jump(i, at, e.LSN, p); stop || err != nil {
				return stop, err
			}
		}
		if err := r.apply(i, e, p, nil); err != nil {
			return false, err
		}
		at += uint64(p.Length)
	}
	r.l.stats.RecoveryScanned += at - began
	return false, nil
}

// anyLSN says that the LSN of the next entry is not known before it is read.
func (r *recovery) anyLSN() bool { return r.last == 0 && (r.pre || r.unknown) }

// badHeader decides about a segment whose header is damaged: as about an entry.
func (r *recovery) badHeader(i int) (stop bool, err error) {
	f := &r.files[i]
	synced, err := r.wasSynced(i, f.Position, r.last+1)
	if err != nil {
		return false, err
	}
	if synced {
		r.damage(commitlog.Damage{
			Segment: f.Name, Position: f.Position, End: f.Position, LSN: r.last + 1, NextLSN: r.last + 1, Why: f.HeaderErr.Error(),
		})
		return false, nil
	}
	r.cut = true
	return true, r.dropFrom(i)
}

// dropFrom removes segments behind the end of the log.
func (r *recovery) dropFrom(i int) error {
	for k := len(r.files) - 1; k >= i; k-- {
		f := &r.files[k]
		r.l.stats.TornBytes += f.End - f.Position
		r.l.log.Info("remove segment behind the end of the log", "segment", f.Name, "bytes", f.Size)
		if err := r.l.fs.Remove(f.Name); err != nil {
			return err
		}
		failpoint.Hit("persist.cut")
	}
	r.files = r.files[:i]
	for n := len(r.l.segs); n > 0; n-- {
		if s := r.l.segs[n-1]; i > 0 && (s.position <= r.files[i-1].Position || s.position < r.files[i-1].End) {
			break // of a file that stays, or split off it
		}
		r.l.segs = r.l.segs[:n-1]
	}
	return nil
}

// settleEmpty deals with empty segments at the end. In a power cut they may have lost their
// header, or what lay before them, so that their header names a later entry than the one that
// comes next: a reader that looks for that would begin there and find an earlier one. They are
// removed, but for one where the file before goes on behind its place, whose bytes would count
// again: that one gets a new header.
func (r *recovery) settleEmpty() error {
	k := len(r.files)
	for k > 0 && r.files[k-1].End == r.files[k-1].Position {
		k--
	}
	if k == len(r.files) {
		return nil
	}
	f := &r.files[k]
	if k+1 == len(r.files) && f.HeaderErr == nil && f.Header.BaseLSN == r.last+1 {
		return nil
	}
	if k == 0 || r.files[k-1].Size == commitlog.SegmentHeaderSize+int64(r.files[k-1].End-r.files[k-1].Position) {
		return r.dropFrom(k)
	}
	if err := r.dropFrom(k + 1); err != nil {
		return err
	}
	return r.renumber(f, r.l.segs[len(r.l.segs)-1])
}

// renumber writes the header of an empty segment anew.
func (r *recovery) renumber(f *commitlog.SegmentFile, s *segment) error {
	invariant.Check(s.position == f.Position, "segment at %d is the last, not %s", s.position, f.Name)
	capacity := max(uint64(r.l.set.SegmentBytes), commitlog.SegmentHeaderSize)
	f.Header = commitlog.SegmentHeader{
		Shard: r.l.set.Shard, Position: f.Position, BaseLSN: r.last + 1, CreatedMS: r.l.now(), Capacity: capacity,
	}
	f.HeaderErr = nil
	s.baseLSN, s.lastLSN, s.createdMS, s.capacity = r.last+1, r.last, f.Header.CreatedMS, int64(capacity)
	file, err := r.l.fs.Open(f.Name)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := file.WritevAt([][]byte{f.Header.Append(nil)}, 0); err != nil {
		return full(err)
	}
	failpoint.Hit("persist.renumber")
	return nil
}

// apply takes over a whole entry.
func (r *recovery) apply(i int, e *journal.Entry, p commitlog.Place, broken []bool) error {
	if !r.pre {
		r.trySplit(i, e.LSN, p.Position)
		if s := r.l.at(p.Position); s != nil {
			if s.baseLSN == 0 || s.lastLSN < s.baseLSN {
				s.baseLSN = e.LSN
			}
			s.lastLSN = e.LSN
		}
		// What says of itself that it was synced later than this LSN proves this one.
		if !r.rewrite {
			r.hint = max(r.hint, min(p.Synced, e.LSN))
		}
	}
	r.last = e.LSN
	r.l.plan(e, p.Position, broken)
	if r.pre {
		r.keepRebuilt()
	}
	if len(r.l.round.acts) >= actsAtOnce {
		return r.flush()
	}
	return nil
}

// flush does the gathered index changes.
func (r *recovery) flush() error {
	l := r.l
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.apply(); err != nil {
		return err
	}
	l.round.reset()
	return nil
}

// keepRebuilt drops all changes but entries of indexes that are rebuilt.
func (r *recovery) keepRebuilt() {
	acts := r.l.round.acts[:0]
	for _, a := range r.l.round.acts {
		if x := r.l.indexes[a.index]; a.op == 0 && x != nil && x.rebuild {
			acts = append(acts, a)
		}
	}
	r.l.round.acts = acts
}

// bad decides about an entry that is not whole. It returns the position where reading goes
// on, or 0 where the log ends.
func (r *recovery) bad(i int, at uint64, bad *commitlog.BadEntry, e *journal.Entry, sc *commitlog.Scanner) (uint64, error) {
	want := r.last + 1
	if bad.Known {
		// The head is whole, so it is known what the entry was, and only bodies are lost.
		p := commitlog.Place{Segment: bad.Segment, Position: at, Length: e.DiskSize()}
		lsn, end := e.LSN, at+uint64(p.Length)
		synced, err := r.wasSynced(i, end, lsn)
		if err != nil || !synced {
			return 0, err
		}
		r.damage(commitlog.Damage{Segment: bad.Segment, Position: at, End: end, LSN: lsn, NextLSN: lsn + 1, Why: bad.Why.Error()})
		return end, r.apply(i, e, p, sc.BrokenBodies(e, at))
	}
	at0 := at
	for k := i; k < len(r.files); k++ {
		p, lsn, ok, err := r.findIn(k, at, r.last)
		if err != nil {
			return 0, err
		}
		if !ok {
			if k+1 < len(r.files) {
				at = r.files[k+1].Position
			}
			continue
		}
		// An entry with the LSN that is wanted: a damaged place has been passed already.
		synced := r.pre || lsn == want || p.Synced >= want || r.hint >= want
		if !synced {
			if synced, err = r.wasSynced(k, p.Position+uint64(p.Length), want); err != nil {
				return 0, err
			}
		}
		if !synced {
			return 0, nil
		}
		r.damage(commitlog.Damage{Segment: bad.Segment, Position: at0, End: p.Position, LSN: want, NextLSN: lsn, Why: bad.Why.Error()})
		r.last = lsn - 1
		if k > i {
			return r.files[i].End, nil
		}
		return p.Position, nil
	}
	if r.hint >= want {
		r.damage(commitlog.Damage{
			Segment: bad.Segment, Position: at0, End: at0, LSN: want, NextLSN: r.hint + 1,
			Why: bad.Why.Error() + "; the log ended later, and what followed is lost",
		})
	}
	return 0, nil
}

// findIn looks for a whole entry in segment k.
func (r *recovery) findIn(k int, at, after uint64) (commitlog.Place, uint64, bool, error) {
	file, err := r.l.fs.Open(r.files[k].Name)
	if err != nil {
		return commitlog.Place{}, 0, false, err
	}
	defer file.Close()
	return commitlog.NewScanner(file, r.files[k]).FindNext(at, after)
}

// wasSynced says whether an entry is known to have been synced once, by what was told or by a
// whole entry from a position on.
func (r *recovery) wasSynced(i int, from, lsn uint64) (bool, error) {
	if r.pre || r.hint >= lsn {
		return true, nil
	}
	for k := i; k < len(r.files); k++ {
		at := max(from, r.files[k].Position)
		for {
			p, _, ok, err := r.findIn(k, at, lsn)
			if err != nil {
				return false, err
			}
			if !ok {
				break
			}
			if p.Synced >= lsn {
				return true, nil
			}
			at = p.Position + uint64(p.Length)
		}
	}
	return false, nil
}

// removedBelow is the LSN from which on no segment can have been removed: logicsrv's newest
// checkpoints need the entries from there. Where there are none, none was ever removed.
func (r *recovery) removedBelow() uint64 {
	kept := r.l.state.kept
	if len(kept) == 0 {
		return 0
	}
	first := ^uint64(0)
	for _, k := range kept[max(0, len(kept)-keepCheckpoints):] {
		first = min(first, k.lsn+1, k.resultsFrom)
	}
	return first
}

// jump decides about a whole entry that does not follow the last one.
func (r *recovery) jump(i int, at, lsn uint64, p commitlog.Place) (stop bool, err error) {
	f := &r.files[i]
	if lsn <= r.last {
		// Left over from before a cut that a power loss has taken back.
		return true, r.cutAt(i, at, &commitlog.BadEntry{
			Segment: f.Name, Position: at, Why: fmt.Errorf("lsn %d where %d should follow", lsn, r.last+1),
		})
	}
	gapBefore := i > 0 && at == f.Position && r.files[i-1].End < f.Position
	if r.pre || gapBefore && r.whole && lsn <= r.removedBelow() {
		return false, nil // dead segments were removed here
	}
	synced, err := r.wasSynced(i, at, r.last+1)
	if err != nil {
		return false, err
	}
	why := fmt.Sprintf("lsn %d where %d should follow", lsn, r.last+1)
	if !synced {
		return true, r.cutAt(i, at, &commitlog.BadEntry{Segment: f.Name, Position: at, Why: errors.New(why)})
	}
	r.damage(commitlog.Damage{Segment: f.Name, Position: at, End: at, LSN: r.last + 1, NextLSN: lsn, Why: why})
	return false, nil
}

// cutAt ends the log at a position: the rest of the segment's file and all later segments go.
func (r *recovery) cutAt(i int, at uint64, bad *commitlog.BadEntry) error {
	r.cut = true
	if err := r.dropFrom(i + 1); err != nil {
		return err
	}
	f := &r.files[i]
	r.l.stats.TornBytes += f.End - at
	r.l.log.Info("cut torn end of the log", "segment", f.Name, "position", at, "bytes", f.End-at, "lsn", r.last+1, "why", bad.Why)
	file, err := r.l.fs.Open(f.Name)
	if err != nil {
		return err
	}
	defer file.Close()
	if !failpoint.Broken("cut-without-truncate") {
		if err := file.Truncate(commitlog.SegmentHeaderSize + int64(at-f.Position)); err != nil {
			return full(err)
		}
	}
	failpoint.Hit("persist.cut")
	f.End, f.Size = at, commitlog.SegmentHeaderSize+int64(at-f.Position)
	r.l.segs[len(r.l.segs)-1].end = at
	return nil
}

// checkMissing compares the log's end with logicsrv's checkpoints, which are stored only when
// the log is synced up to them.
func (r *recovery) checkMissing() {
	l := r.l
	n := len(l.state.kept)
	if n == 0 || l.state.kept[n-1].lsn <= l.written {
		return
	}
	lsn := l.state.kept[n-1].lsn
	r.damage(commitlog.Damage{
		Segment: commitlog.LogDir, Position: l.end, End: l.end, LSN: l.written + 1, NextLSN: lsn + 1,
		Why: "the log ends before logicsrv's checkpoint",
	})
	l.written = lsn
	l.synced.Store(lsn)
	if l.cur != nil {
		l.cur.sealed = true // the LSNs jump: begin a new segment
	}
}
