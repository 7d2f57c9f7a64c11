package seglog

import (
	"errors"
	"fmt"

	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/invariant"
	"github.com/trimq/trimq/protocol/journal"
)

// What recovery does where the log does not go on as it should: is it the torn end, or damage?

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
	if !f.Salted && !f.Blank {
		// Not torn, as a header that was never written is zero; whether entries behind it had been
		// synced nobody can tell any longer.
		r.damage(commitlog.Damage{
			Segment: f.Name, Position: f.Position, End: f.End, LSN: r.last + 1,
			Why: f.HeaderErr.Error() + "; what the segment held cannot be proven, and the log ends before it",
		})
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
	if i < len(r.files) && !r.warm { // as in cutAt
		if err := r.l.syncDir(commitlog.LogDir); err != nil {
			return err
		}
	}
	r.files = r.files[:i]
	if err := r.cutTail(); err != nil {
		return err
	}
	for n := len(r.l.segs); n > 0; n-- {
		if s := r.l.segs[n-1]; i > 0 && (s.position <= r.files[i-1].Position || s.position < r.files[i-1].End) {
			break // of a file that stays, or split off it
		}
		r.l.segs = r.l.segs[:n-1]
	}
	return nil
}

// cutTail shortens the last file where it goes on with bytes that a segment behind it had taken
// over, which is gone now: they would count again.
func (r *recovery) cutTail() error {
	if len(r.files) == 0 {
		return nil
	}
	f := &r.files[len(r.files)-1]
	size := commitlog.SegmentHeaderSize + int64(f.End-f.Position)
	if f.Size <= size {
		return nil
	}
	file, err := r.l.fs.Open(f.Name)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := file.Truncate(size); err != nil {
		return full(err)
	}
	failpoint.Hit("persist.cut")
	f.Size = size
	if s := r.l.at(f.Position); s != nil {
		s.tail = false
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
		Salt: r.l.salt(),
	}
	f.HeaderErr, f.Salted = nil, true
	s.salt, s.broken = f.Header.Salt, false
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
		for k, broken := range sc.BrokenBodies(e, at) {
			if broken {
				r.broken[at+e.BodyOffset(k)] = true
			}
		}
		return end, r.apply(i, e, p)
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
		synced, err := r.claimsSynced(k, max(from, r.files[k].Position), lsn)
		if synced || err != nil {
			return synced, err
		}
	}
	return false, nil
}

// claimsSynced says whether a whole entry in segment k, from a position on, says that an LSN
// had been synced before.
func (r *recovery) claimsSynced(k int, at, lsn uint64) (bool, error) {
	file, err := r.l.fs.Open(r.files[k].Name)
	if err != nil {
		return false, err
	}
	defer file.Close()
	sc := commitlog.NewScanner(file, r.files[k])
	for {
		p, _, ok, err := sc.FindNext(at, lsn)
		if err != nil || !ok {
			return false, err
		}
		if p.Synced >= lsn {
			return true, nil
		}
		at = p.Position + uint64(p.Length)
	}
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
	if !bad.Blank {
		r.l.stats.TornBytes += f.End - at
		r.l.log.Info("cut torn end of the log", "segment", f.Name, "position", at, "bytes", f.End-at, "lsn", r.last+1, "why", bad.Why)
	}
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
	// After a power cut what is cut off must be gone from the disk before other entries take
	// its place: the next power cut could bring one of the old ones back, before new ones.
	if !r.warm {
		if err := file.Sync(); err != nil {
			return fmt.Errorf("%w: segment %s: %w", ErrSync, f.Name, err)
		}
		failpoint.Hit("persist.cut")
	}
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
