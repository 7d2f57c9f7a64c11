package shell

import (
	"errors"
	"log/slog"

	"github.com/trimq/trimq/persistsrv/vfs"
	"github.com/trimq/trimq/shmqueue"
)

// Settings are the limits of the log, with their units; a zero value takes its default.
type Settings struct {
	SegmentBytes     int64 // default 256 MiB
	SegmentSeconds   int   // default 3600
	IndexEntries     int   // default 65536
	DiskReserveBytes int64 // default 512 MiB; -1: none
	PageFlushMS      int64 // default 1000
	RetentionCheckMS int64 // default 5000
	FlushBytes       int64 // unsynced bytes that start a sync though nobody waits; default 128 MiB
	RoundBytes       int64 // gathered at most in one write; default 16 MiB
}

// Options says what a shell works on.
type Options struct {
	FS       vfs.FS
	RingA    *shmqueue.Ring // 12345: bodies
	RingC    *shmqueue.Ring // 65432: entries; cursors
	Shard    uint32
	Settings Settings
	Now      func() int64 // Unix time in milliseconds
	Inline   bool         // Step syncs and maintains by itself: for the simulator
	Log      *slog.Logger // nil: none
}

// Bits of ring 65432's WordStatus. Set and cleared by persistsrv only.
const (
	StatusDiskFull   uint64 = shmqueue.StatusDiskFull   // appends from clients are refused; cleared by itself
	StatusSyncFailed uint64 = shmqueue.StatusSyncFailed // what is not synced must be written again
	StatusSyncing    uint64 = 1 << 2                    // a sync is under way
	StatusDamaged    uint64 = 1 << 3                    // the log has a damaged place
)

// Shell is persistsrv without its process.
type Shell struct{}

// New recovers the log and takes over ring 65432's consuming end.
func New(o Options) (*Shell, error) { return nil, errors.New("not yet") }

// Step drains ring 65432 once: gathers, writes, indexes, moves written, releases.
func (s *Shell) Step() (progress bool, err error) { return false, errors.New("not yet") }

// SyncStep is SyncLog and then Maintain.
func (s *Shell) SyncStep() error { return errors.New("not yet") }

// SyncLog syncs the log once, if anything is unsynced, and moves synced.
func (s *Shell) SyncLog() error { return errors.New("not yet") }

// Maintain does the slow work beside the log: checkpoints, index checkpoint, removal of dead segments.
func (s *Shell) Maintain() error { return errors.New("not yet") }

// Close lets go of files and the lock. Nothing need be saved.
func (s *Shell) Close() error { return nil }
