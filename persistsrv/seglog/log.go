package seglog

import (
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/trimq/trimq/persistsrv/vfs"
	"github.com/trimq/trimq/protocol/commitlog"
	"golang.org/x/sys/unix"
)

// Settings are the limits of a log, with their units. All must be set.
type Settings struct {
	Shard                uint32
	SegmentBytes         int64  // a segment is closed at that size; a larger entry gets one of its own
	SegmentMS            int64  // … or at that age
	IndexEntries         uint32 // entries in one file of an index
	IndexCheckpointBytes uint64 // of log between two index checkpoints
	IndexCheckpointMS    int64  // … or that time, if anything was written
	DiskReserveBytes     uint64 // less free than this is a full disk; 0: only ENOSPC is
	RoundBytes           int64  // of log gathered into one write
	AheadBytes           int64  // by which the current segment's file is longer than what is in it; 0: not at all
	OpenIndexFiles       int    // kept open for appending
	VerifyIndexBytes     int64  // of index entries checked at start
	CompactMS            int64  // at the earliest after that time an index is compacted again
	CompactKeys          int    // that are remembered in one pass of compaction, at most
	CompactBytes         int64  // of new batches that are compacted whatever their topic says of its segments
}

// Options says what a log works on.
type Options struct {
	FS       vfs.FS
	Settings Settings
	Now      func() int64  // Unix time in milliseconds
	Salt     func() uint64 // random, of a new segment: nobody outside may be able to guess it
	Log      *slog.Logger

	// Pace is called by Compact with the bytes that it has read or written since the last call: it
	// may wait, and gives false where Compact shall stop. nil: it is never told to do either.
	Pace func(bytes int) bool

	// Warm says that a predecessor ran on this machine since it was booted, so that the page
	// cache has all that it wrote.
	Warm bool
	// SyncedHint is the LSN that a predecessor on the same machine, since it was booted, has
	// told to be synced; 0: unknown.
	SyncedHint uint64
	// Rewrite says that a sync after SyncedHint may have failed: what lies behind must be
	// written again before it can be synced.
	Rewrite bool
}

// Errors of a Log.
var (
	// ErrFull says that the disk is full. Nothing is lost and nothing half done shows: the
	// same call may be made again.
	ErrFull = errors.New("disk is full")
	// ErrGap is an entry that does not follow the last one.
	ErrGap = errors.New("gap in the log")
	// ErrSync is a failed sync: the process must exit.
	ErrSync = errors.New("sync failed")
)

// Log is an open commit log.
type Log struct {
	fs   vfs.FS
	set  Settings
	now  func() int64
	salt func() uint64
	log  *slog.Logger
	lock io.Closer

	syncMu sync.Mutex // one sync at a time
	failed bool       // a sync has failed (under syncMu)

	mu       sync.Mutex
	segs     []*segment // in order
	packs    []*pack    // in order
	nextPack uint64     // the position of the next one
	cur      *segment   // the last of them, which is appended to; only the writer changes it
	indexes  map[uint64]*index
	written  uint64        // LSN
	synced   atomic.Uint64 // LSN; moved under mu
	end      uint64        // log position behind the last written entry
	unsynced []*segment
	newNames bool // segments whose names are not synced
	applying bool // indexes lag behind the log: no snapshot now
	files    tailFiles
	damages  []commitlog.Damage
	newDirs  map[uint64]bool // indexes with files whose names are not synced
	gone     bool            // indexes were deleted since the last index checkpoint
	term     uint64          // logicsrv's, the highest of the entries written; 0: there are none

	state  stateCheckpoint
	ckpt   checkpointing
	space  space
	stats  Stats
	round  round
	config configuring
	scrub  scrub
	pace   func(bytes int) bool // see Options.Pace
}

// Stats counts what the log has done since it was opened.
type Stats struct {
	Entries, Bytes, Writes   uint64
	Syncs, SyncNS            uint64
	TornBytes, Rewritten     uint64 // bytes
	Rebuilt                  uint64 // indexes
	Removed                  uint64 // segments
	IndexEntries             uint64
	Checkpoints              uint64 // logicsrv's, stored
	DamagedPlaces            uint64
	DamagedRefs              uint64 // references that lead to nothing that can be read
	Compactions              uint64 // passes over an index that have changed something
	CompactedRecords         uint64 // dropped by them
	CompactedBytes           uint64 // of batches, likewise
	Packs, PackBytes         uint64
	Segments, LogBytes, Free uint64
	RecoveredFrom            uint64 // log position
	RecoveryScanned          uint64 // bytes
}

// Written is the last LSN whose entry and index entries are in the page cache.
func (l *Log) Written() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.written
}

// Synced is the last LSN that is durable.
func (l *Log) Synced() uint64 { return l.synced.Load() }

// Cursors returns Written, Synced and how many bytes lie between them.
func (l *Log) Cursors() (written, synced, unsyncedBytes uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var n uint64
	for _, s := range l.unsynced {
		n += s.end - s.synced
	}
	return l.written, l.synced.Load(), n
}

// FirstLSN is the first LSN from which on the log has no gap.
func (l *Log) FirstLSN() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := l.written + 1
	for i := len(l.segs) - 1; i >= 0; i-- {
		s := l.segs[i]
		if s.lastLSN < s.baseLSN {
			continue
		}
		if s.lastLSN+1 != first {
			break
		}
		first = s.baseLSN
	}
	return first
}

// Damages lists the damaged places found since Open.
func (l *Log) Damages() []commitlog.Damage {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]commitlog.Damage(nil), l.damages...)
}

// Stats returns the counts.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.Segments = uint64(len(l.segs))
	s.Free = l.space.free.Load()
	s.Packs = uint64(len(l.packs))
	for _, p := range l.packs {
		s.PackBytes += p.end - p.position
	}
	return s
}

// Appended is how many bytes of log this process has written.
func (l *Log) Appended() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stats.Bytes
}

// Close lets go of the files and the lock. Nothing is synced.
func (l *Log) Close() error {
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, s := range l.segs {
		if s.file != nil {
			errs = append(errs, s.file.Close())
			s.file = nil
		}
	}
	errs = append(errs, l.files.closeAll())
	if l.lock != nil {
		errs = append(errs, l.lock.Close())
		l.lock = nil
	}
	return errors.Join(errs...)
}

// full turns "no space" in its several forms into ErrFull, and leaves other errors alone.
func full(err error) error {
	if err != nil && (errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)) {
		return &fullError{err}
	}
	return err
}

type fullError struct{ err error }

func (e *fullError) Error() string        { return ErrFull.Error() + ": " + e.err.Error() }
func (e *fullError) Unwrap() error        { return e.err }
func (e *fullError) Is(target error) bool { return target == ErrFull }

// bodySource finds the bytes of a body in ring 12345; nil if they are not there.
type bodySource = func(pos uint64, n int) []byte
