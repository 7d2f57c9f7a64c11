package seglog

import (
	"errors"
	"fmt"
	"io"

	"github.com/trimq/trimq/persistsrv/vfs"
	"github.com/trimq/trimq/protocol/commitlog"
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
	broken  map[uint64]bool       // log positions of batches that fail their check

	packsOf  map[uint64][]*pack // not restored yet, of indexes that are made anew
	repacked bool               // an index has packs that the index checkpoint does not know: its counts are old
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
	if err := r.loadPacks(); err != nil {
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
			createdMS: f.Header.CreatedMS, salt: f.Header.Salt, sealed: true, broken: f.HeaderErr != nil,
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

// neverUsed says whether a segment with a bad header holds no entry either. Where its salt is lost,
// whatever looks like one counts: what becomes of it is decided, and told, later.
func (r *recovery) neverUsed(f *commitlog.SegmentFile) (bool, error) {
	if f.End == f.Position {
		return true, nil
	}
	file, err := r.l.fs.Open(f.Name)
	if err != nil {
		return false, err
	}
	defer file.Close()
	sc := commitlog.NewScanner(file, *f)
	if !f.Salted {
		used, err := sc.LooksUsed()
		return !used, err
	}
	_, _, found, err := sc.FindNext(f.Position, 0)
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
		if err := r.apply(i, e, p); err != nil {
			return false, err
		}
		at += uint64(p.Length)
	}
	r.l.stats.RecoveryScanned += at - began
	return false, nil
}

// apply takes over a whole entry.
func (r *recovery) apply(i int, e *journal.Entry, p commitlog.Place) error {
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
	r.last, r.l.term = e.LSN, max(r.l.term, e.Term)
	planned := len(r.l.round.acts)
	r.l.plan(e, p.Position)
	r.markBroken(r.l.round.acts[planned:])
	if err := r.restoreBefore(r.l.round.acts[planned:]); err != nil {
		return err
	}
	if r.pre {
		r.keepRebuilt()
	}
	if len(r.l.round.acts) >= actsAtOnce {
		return r.flush()
	}
	return nil
}

// restoreBefore restores the packs that come before the entries of indexes that are made anew.
func (r *recovery) restoreBefore(acts []act) error {
	for i := range acts {
		a := &acts[i]
		x := r.l.indexes[a.index]
		of := r.packsOf[a.index]
		if a.op != 0 || x == nil || !x.rebuild || len(of) == 0 || of[0].header.Base > a.entry.Offset {
			continue
		}
		// What was gathered so far comes before it.
		kept := append([]act(nil), acts[i:]...)
		r.l.round.acts = r.l.round.acts[:len(r.l.round.acts)-len(kept)]
		if r.pre {
			r.keepRebuilt()
		}
		if err := r.flush(); err != nil {
			return err
		}
		if err := r.restorePacks(x, a.entry.Offset); err != nil {
			return err
		}
		r.l.round.acts = append(r.l.round.acts, kept...)
		return r.restoreBefore(r.l.round.acts)
	}
	return nil
}

// markBroken marks index entries that lead to a batch which was found to be broken: of this log
// entry, or of an earlier one that it refers to.
func (r *recovery) markBroken(acts []act) {
	for i := range acts {
		if a := &acts[i]; a.op == 0 && r.broken[a.entry.Position] {
			a.entry.Flags |= commitlog.FlagDamaged
		}
	}
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
