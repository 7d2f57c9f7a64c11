package seglog

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/trimq/trimq/persistsrv/vfs"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/invariant"
)

// segment is one file of the log.
type segment struct {
	position  uint64 // log position of its first entry
	baseLSN   uint64
	lastLSN   uint64 // baseLSN-1: empty
	end       uint64 // log position behind its last entry
	synced    uint64 // log position up to which it is durable
	capacity  int64  // of the file
	size      int64  // of the file, while it is appended to
	createdMS int64
	salt      uint64
	file      vfs.File // open while it may have to be written or synced
	refs      uint64   // index entries that need it, see Log.needs
	live      uint64   // bytes of their batches in it
	pins      int      // references of the round under way that lead into it
	sealed    bool
	// tail: the file goes on behind end with bytes that the next segment has taken over. As
	// long as they are there the next segment must be, or they would count again.
	tail bool
	// broken: the file's header is damaged, so that nothing more is appended to it.
	broken bool
}

func (s *segment) name() string { return commitlog.SegmentName(s.position) }

// entrySalt is the salt of an entry at a log position.
func (s *segment) entrySalt(position uint64) uint64 {
	h := commitlog.SegmentHeader{Salt: s.salt}
	return h.EntrySalt(position)
}

// offset is where a log position lies in the file.
func (s *segment) offset(position uint64) int64 {
	return commitlog.SegmentHeaderSize + int64(position-s.position)
}

// at returns the segment, or the pack, that holds a log position; nil if none does.
func (l *Log) at(position uint64) *segment {
	if position >= commitlog.PackPosition {
		if p := l.packAt(position); p != nil {
			return &p.segment
		}
		return nil
	}
	lo, hi := 0, len(l.segs)
	for lo < hi {
		if m := (lo + hi) / 2; l.segs[m].position <= position {
			lo = m + 1
		} else {
			hi = m
		}
	}
	if lo == 0 || position >= l.segs[lo-1].end {
		return nil
	}
	return l.segs[lo-1]
}

// hasRoom says whether the current segment takes so many bytes more.
func (l *Log) hasRoom(size int64) bool {
	s := l.cur
	if s == nil || s.sealed || s.file == nil {
		return false
	}
	used := s.offset(l.end + uint64(l.round.bytes))
	if l.round.bytes == 0 && s.end > s.position && l.now()-s.createdMS >= l.set.SegmentMS {
		return false
	}
	return used+size <= s.capacity
}

// roll closes the current segment and begins one that takes an entry of so many bytes.
// It may be called again after ErrFull.
func (l *Log) roll(lsn uint64, size int64) error {
	invariant.Check(l.round.bytes == 0, "roll with %d bytes gathered", l.round.bytes)
	if s := l.cur; s != nil && !s.sealed && s.file != nil {
		// Gives back what was reserved and not used.
		if err := s.file.Truncate(s.offset(s.end)); err != nil {
			return fmt.Errorf("close segment %s: %w", s.name(), full(err))
		}
		l.mu.Lock()
		s.sealed = true
		l.mu.Unlock()
		failpoint.Hit("persist.seal")
	}
	capacity := max(l.set.SegmentBytes, commitlog.SegmentHeaderSize+size)
	s, err := l.createSegment(commitlog.SegmentName(l.end), l.end, lsn, l.salt(), capacity)
	if err != nil {
		return err
	}
	l.mu.Lock()
	if l.cur != nil && l.cur.position == s.position { // was empty
		l.segs = l.segs[:len(l.segs)-1]
		l.dropUnsynced(l.cur)
	}
	l.segs = append(l.segs, s)
	l.cur = s
	l.unsynced = append(l.unsynced, s)
	l.newNames = true
	l.ckpt.wanted = true
	l.mu.Unlock()
	return l.checkSpace()
}

func (l *Log) dropUnsynced(s *segment) {
	for i, u := range l.unsynced {
		if u == s {
			l.unsynced = append(l.unsynced[:i], l.unsynced[i+1:]...)
			return
		}
	}
}

// createSegment makes a file with a header, its space reserved, so that a full disk shows
// here and not in the middle of an entry. A file of this name is left over from an attempt
// that failed, and holds nothing.
func (l *Log) createSegment(name string, position, lsn, salt uint64, capacity int64) (*segment, error) {
	if err := l.fs.Mkdir(commitlog.LogDir); err != nil {
		return nil, fmt.Errorf("create segment %s: %w", name, full(err))
	}
	f, err := l.fs.Create(name)
	if errors.Is(err, fs.ErrExist) {
		if err = l.fs.Remove(name); err == nil {
			f, err = l.fs.Create(name)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("create segment %s: %w", name, full(err))
	}
	failpoint.Hit("persist.segment")
	s := &segment{
		position: position, baseLSN: lsn, lastLSN: lsn - 1, end: position, synced: position,
		capacity: capacity, size: commitlog.SegmentHeaderSize, createdMS: l.now(), salt: salt, file: f,
	}
	h := commitlog.SegmentHeader{
		Shard: l.set.Shard, Position: position, BaseLSN: lsn, CreatedMS: s.createdMS, Capacity: uint64(capacity),
		Salt: salt,
	}
	err = f.Reserve(capacity)
	if err == nil {
		_, err = f.WritevAt([][]byte{h.Append(nil)}, 0)
	}
	if err != nil {
		f.Close()
		_ = l.fs.Remove(name) // or the next attempt does
		return nil, fmt.Errorf("create segment %s: %w", name, full(err))
	}
	failpoint.Hit("persist.segment")
	return s, nil
}
