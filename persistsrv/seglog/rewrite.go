package seglog

import (
	"fmt"

	"github.com/trimq/trimq/persistsrv/vfs"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/failpoint"
)

// After a sync that failed, or of which it is not known how it ended, the pages of what it
// covered may be clean without being on the disk, and a second sync of them would prove
// nothing. So what was not synced is written again, into new files, from the page cache (the
// entries have been checked) or, where that has lost it too, from the rings, which still hold
// every entry whose acknowledgement waits for the disk.
//
// Log positions stay the same: the new segment is named by the first position that it takes
// over, and the old one ends there. Index entries need no change, nor do the
// entries: their salt goes with them. Readers that still map the old file see the same bytes in it.

// trySplit begins, at the first entry that was not synced, a segment of its own.
func (r *recovery) trySplit(i int, lsn, position uint64) {
	if !r.rewrite || lsn <= r.hint {
		return
	}
	l := r.l
	if r.source == nil {
		r.source = map[*segment]*segment{}
	}
	old := l.at(position)
	if old == nil || r.source[old] != nil {
		return
	}
	if position == old.position || r.split != nil {
		r.source[old] = old
		r.split = old
		return
	}
	s := &segment{
		position: position, baseLSN: lsn, lastLSN: lsn - 1, end: old.end, capacity: old.capacity,
		createdMS: old.createdMS, salt: old.salt, sealed: true,
	}
	s.synced = s.end
	old.end, old.tail = position, true
	old.lastLSN = lsn - 1
	r.source[s] = old
	r.split = s
	for k, o := range l.segs {
		if o == old {
			l.segs = append(l.segs[:k+1:k+1], append([]*segment{s}, l.segs[k+1:]...)...)
			return
		}
	}
}

// settleEnd makes the last segment the current one, and puts on the list of unsynced ones all
// that may be.
func (r *recovery) settleEnd() error {
	l := r.l
	l.written, l.term = r.last, max(l.term, r.ckpt.Term)
	l.synced.Store(min(r.hint, r.last))
	l.end = r.ckpt.Position
	if len(l.segs) == 0 {
		return nil
	}
	l.cur = l.segs[len(l.segs)-1]
	l.end = l.cur.end
	l.newNames = true
	if l.end < r.ckpt.Position {
		// The file has lost bytes that index entries point to: their positions stay theirs.
		l.end = r.ckpt.Position
	}
	for _, s := range l.segs {
		if s.lastLSN <= l.synced.Load() && s != l.cur || r.source[s] != nil {
			continue
		}
		f, err := l.fs.Open(s.name())
		if err != nil {
			return err
		}
		s.file = f
		s.synced = s.position
		l.unsynced = append(l.unsynced, s)
	}
	if r.source[l.cur] != nil {
		return nil
	}
	if l.end > l.cur.end {
		return nil
	}
	if r.rewrite {
		// The cut of a torn end may be among what was not synced: nothing is written in its place.
		return nil
	}
	if l.cur.broken {
		return nil
	}
	l.cur.sealed = false
	l.cur.size = l.cur.offset(l.cur.end)
	// Where there is no room, the next entry begins a new segment, or waits for room.
	if err := l.cur.file.Reserve(l.cur.capacity); err != nil {
		l.cur.sealed = true
	}
	return nil
}

// writeAgain writes the segments that must not be believed.
func (r *recovery) writeAgain() error {
	l := r.l
	if len(r.source) == 0 {
		return nil
	}
	for _, s := range l.segs {
		if from := r.source[s]; from != nil {
			if err := r.copySegment(s, from); err != nil {
				return fmt.Errorf("write segment %s again: %w", s.name(), err)
			}
		}
	}
	if err := l.syncDir(commitlog.LogDir); err != nil {
		return err
	}
	l.cur.sealed = l.cur.broken
	l.log.Info("wrote again what was not synced", "from_lsn", l.synced.Load()+1, "to_lsn", l.written, "bytes", l.stats.Rewritten)
	return nil
}

// copySegment writes one segment anew and puts it in place of its file, if it had one.
func (r *recovery) copySegment(s, from *segment) error {
	l := r.l
	src, err := l.fs.Open(from.name())
	if err != nil {
		return err
	}
	defer src.Close()
	size := int64(s.end - s.position)
	tmp := s.name() + commitlog.TmpSuffix
	fresh, err := l.createSegment(tmp, s.position, s.baseLSN, s.salt, max(l.set.SegmentBytes, commitlog.SegmentHeaderSize+size))
	if err != nil {
		return err
	}
	if err := copyBytes(fresh.file, commitlog.SegmentHeaderSize, src, from.offset(s.position), size); err != nil {
		fresh.file.Close()
		return full(err)
	}
	if s != l.cur {
		err = fresh.file.Truncate(commitlog.SegmentHeaderSize + size)
	}
	if err == nil {
		err = fresh.file.Sync()
	}
	if err == nil {
		err = l.fs.Rename(tmp, s.name())
	}
	if err != nil {
		fresh.file.Close()
		return err
	}
	failpoint.Hit("persist.rewrite")
	l.stats.Rewritten += uint64(size)
	s.capacity, s.createdMS, s.synced = fresh.capacity, fresh.createdMS, s.position
	s.size = commitlog.SegmentHeaderSize + size
	s.file, s.broken = fresh.file, false
	l.unsynced = append(l.unsynced, s)
	return nil
}

// copyChunk is read and written at once.
const copyChunk = 1 << 20

func copyBytes(dst vfs.File, to int64, src vfs.File, from, size int64) error {
	b := make([]byte, min(size, copyChunk))
	for done := int64(0); done < size; {
		n := min(size-done, int64(len(b)))
		if _, err := src.ReadAt(b[:n], from+done); err != nil {
			return err
		}
		if _, err := dst.WritevAt([][]byte{b[:n]}, to+done); err != nil {
			return err
		}
		done += n
	}
	return nil
}
