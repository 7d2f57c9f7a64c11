package seglog

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/trimq/trimq/persistsrv/vfs"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/failpoint"
)

// checkpointing is about the index checkpoint.
type checkpointing struct {
	wanted  bool   // a segment was begun
	changed bool   // something is different from what the last one says
	bytes   uint64 // of log since the last one
	atMS    int64  // when the last one was made
	// Files of indexes that are wholly below their start, and in no list of files any more, but not
	// removed yet: a checkpoint that knows it was begun, and perhaps met a full disk.
	dead []indexFileName
}

// MaintenanceDue says whether Maintain has something to do.
func (l *Log) MaintenanceDue() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state.ready != nil && l.state.ready.lsn <= l.written || l.checkpointDue()
}

func (l *Log) checkpointDue() bool {
	c := &l.ckpt
	return !l.applying && (c.wanted || c.bytes >= l.set.IndexCheckpointBytes ||
		c.changed && l.now()-c.atMS >= l.set.IndexCheckpointMS)
}

// Maintain stores logicsrv's checkpoint if one has come, and makes an index checkpoint if one
// is due or forced, after which it removes dead segments. sync must sync the log, as Sync
// does. A full disk is no error here: what could not be stored is tried again, or its time is
// over when the next one comes.
func (l *Log) Maintain(force bool, sync func() error) error {
	err := l.storeState(sync)
	if err == nil || errors.Is(err, ErrFull) {
		l.mu.Lock()
		due := l.checkpointDue() || force && !l.applying && l.ckpt.changed
		l.mu.Unlock()
		if due {
			err = errors.Join(err, l.indexCheckpoint(sync))
		}
	}
	if errors.Is(err, ErrFull) && !errors.Is(err, ErrSync) {
		l.space.hit()
		l.log.Warn("no room for a checkpoint", "err", err)
		return nil
	}
	return err
}

// replaceFile gives a file a new content at once: under another name, synced, renamed.
func (l *Log) replaceFile(dir, name string, content ...[]byte) error {
	tmp := name + commitlog.TmpSuffix
	if dir != "" {
		if err := l.fs.Mkdir(dir); err != nil {
			return full(err)
		}
	}
	if err := l.fs.Remove(tmp); err != nil && !isNotExist(err) {
		return err
	}
	f, err := l.fs.Create(tmp)
	if err != nil {
		return full(err)
	}
	if err := writeSynced(f, content); err != nil {
		f.Close()
		if !errors.Is(err, ErrSync) {
			_ = l.fs.Remove(tmp) // or the next attempt does
		}
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	failpoint.Hit("persist.replace")
	if err := l.fs.Rename(tmp, name); err != nil {
		return full(err)
	}
	failpoint.Hit("persist.replace")
	if err := l.syncDir(dir); err != nil {
		return err
	}
	if dir != "" {
		return l.syncDir("")
	}
	return nil
}

// syncStep is how much of a large file is written between two syncs: a sync of the log at the same
// time has to wait for about that much, and not for all of the file.
const syncStep = 8 << 20

// writeSynced writes a new file's content and syncs it.
func writeSynced(f vfs.File, content [][]byte) error {
	off := int64(0)
	for len(content) > 0 {
		var step [][]byte
		step, content = cutAt(content, syncStep)
		n, err := f.WritevAt(step, off)
		if err != nil {
			return full(err)
		}
		failpoint.Hit("persist.replace")
		if err := f.Sync(); err != nil {
			return fmt.Errorf("%w: %w", ErrSync, err)
		}
		off += int64(n)
	}
	return nil
}

// cutAt splits what lies in pieces behind its first n bytes.
func cutAt(pieces [][]byte, n int) (front, rest [][]byte) {
	for i, piece := range pieces {
		if len(piece) > n {
			front = append(pieces[:i:i], piece[:n])
			return front, append([][]byte{piece[n:]}, pieces[i+1:]...)
		}
		n -= len(piece)
	}
	return pieces, nil
}

func (l *Log) syncDir(dir string) error {
	if err := l.fs.SyncDir(dir); err != nil {
		return fmt.Errorf("%w: directory %q: %w", ErrSync, dir, err)
	}
	return nil
}

// snapshot is what an index checkpoint will say, and what must be synced before it may.
type snapshot struct {
	ckpt  commitlog.IndexCheckpoint
	files []indexFileName
	dead  []indexFileName // wholly below their index's start
	dirs  []uint64
	names bool // IndexDir has changed
}

type indexFileName struct{ index, base uint64 }

// indexCheckpoint makes one and removes what is dead by it.
func (l *Log) indexCheckpoint(sync func() error) error {
	l.mu.Lock()
	if l.applying {
		// A round has been written since this was found due: it stays due until its indexes are.
		l.mu.Unlock()
		return nil
	}
	s := l.snapshot()
	l.ckpt = checkpointing{atMS: l.now(), dead: s.dead} // until they are removed
	l.mu.Unlock()
	if l.synced.Load() < s.ckpt.LSN {
		if err := sync(); err != nil {
			return err
		}
	}
	if err := l.syncIndexes(s); err != nil {
		return err
	}
	if err := l.replaceFile("", commitlog.IndexCheckpointName, s.ckpt.Append(nil)); err != nil {
		l.mu.Lock()
		l.ckpt.changed = true
		l.mu.Unlock()
		return fmt.Errorf("index checkpoint lsn=%d: %w", s.ckpt.LSN, err)
	}
	for _, n := range s.dead {
		if err := l.fs.Remove(commitlog.IndexName(n.index, n.base)); err != nil && !isNotExist(err) {
			return fmt.Errorf("trim index %#x: %w", n.index, err)
		}
		failpoint.Hit("persist.remove")
	}
	l.mu.Lock()
	l.ckpt.dead = l.ckpt.dead[len(s.dead):]
	l.mu.Unlock()
	if err := l.removeDead(&s.ckpt); err != nil {
		return err
	}
	return l.removeDeadPacks(&s.ckpt)
}

// snapshot copies the state between two rounds. REQUIRES: mu is held, not applying.
func (l *Log) snapshot() *snapshot {
	s := &snapshot{ckpt: commitlog.IndexCheckpoint{LSN: l.written, Position: l.end, Term: l.term, NextPack: l.nextPack}, dead: l.ckpt.dead}
	for _, p := range l.packs {
		s.ckpt.Packs = append(s.ckpt.Packs, commitlog.PackState{Position: p.position, End: p.end, Refs: p.refs, Live: p.live})
	}
	for _, seg := range l.segs {
		s.ckpt.Segments = append(s.ckpt.Segments, commitlog.SegmentState{
			Position: seg.position, BaseLSN: seg.baseLSN, LastLSN: seg.lastLSN, End: seg.end, Refs: seg.refs, Live: seg.live, Salt: seg.salt,
		})
	}
	s.ckpt.Indexes = make([]commitlog.IndexState, 0, len(l.indexes))
	for _, id := range l.indexIDs() {
		x := l.indexes[id]
		st := commitlog.IndexState{
			Index: x.id, Start: x.start, Next: x.next, Bytes: x.bytes, MaxTimeMS: x.maxTime,
			RetentionBytes: x.keep.RetentionBytes, RetentionMS: x.keep.RetentionMS, Term: x.term, Compaction: x.keep.Compaction,
			Files: make([]commitlog.FileState, 0, len(x.files)),
		}
		for _, f := range x.files[:x.frontFile] {
			s.dead = append(s.dead, indexFileName{x.id, f.base})
		}
		x.files, x.frontFile = x.files[x.frontFile:], 0
		for i := range x.files {
			f := &x.files[i]
			fst := commitlog.FileState{Base: f.base, Count: f.count, Slots: f.slots}
			if f.pack != nil {
				fst.Pack = f.pack.position
			}
			st.Files = append(st.Files, fst)
			if f.dirty {
				s.files = append(s.files, indexFileName{x.id, f.base})
				f.dirty = false
			}
		}
		x.dirty = false
		s.ckpt.Indexes = append(s.ckpt.Indexes, st)
	}
	s.dirs = slices.Sorted(maps.Keys(l.newDirs))
	s.names = len(s.dirs) > 0 || l.gone
	clear(l.newDirs)
	l.gone = false
	return s
}

// indexIDs returns the indexes in order: what the log does must not depend on a map's.
func (l *Log) indexIDs() []uint64 { return slices.Sorted(maps.Keys(l.indexes)) }

// syncIndexes makes durable what the snapshot speaks of. What has been deleted since is not missed.
func (l *Log) syncIndexes(s *snapshot) error {
	for _, n := range s.files {
		name := commitlog.IndexName(n.index, n.base)
		f, err := l.fs.Open(name)
		if isNotExist(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("sync %s: %w", name, err)
		}
		err = f.Sync()
		f.Close()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrSync, err)
		}
	}
	for _, id := range s.dirs {
		if err := l.fs.SyncDir(commitlog.IndexPath(id)); err != nil && !isNotExist(err) {
			return fmt.Errorf("%w: index %#x: %w", ErrSync, id, err)
		}
	}
	if !s.names {
		return nil
	}
	if err := l.syncDir(commitlog.IndexDir); err != nil && !isNotExist(err) {
		return err
	}
	return l.syncDir("")
}

// removeDead removes segments into which, as the durable index checkpoint says, nothing points.
func (l *Log) removeDead(c *commitlog.IndexCheckpoint) error {
	l.mu.Lock()
	var dead []*segment
	needed := l.needed()
	for i := range c.Segments[:max(0, len(c.Segments)-1)] {
		st := &c.Segments[i]
		if st.Refs > 0 || st.LastLSN >= needed || st.LastLSN > c.LSN {
			continue
		}
		for k, s := range l.segs {
			if s.position == st.Position && s.refs == 0 && s.pins == 0 && s != l.cur && s.file == nil && (k == 0 || !l.segs[k-1].tail) {
				dead = append(dead, s)
				l.stats.LogBytes -= min(l.stats.LogBytes, s.end-s.position)
				l.segs = append(l.segs[:k:k], l.segs[k+1:]...)
				break
			}
		}
	}
	l.stats.Removed += uint64(len(dead))
	l.mu.Unlock()
	for _, s := range dead {
		if err := l.fs.Remove(s.name()); err != nil && !isNotExist(err) {
			return fmt.Errorf("remove dead segment %s: %w", s.name(), err)
		}
		failpoint.Hit("persist.remove")
		l.log.Info("removed dead segment", "segment", s.name(), "last_lsn", s.lastLSN)
	}
	return nil
}
