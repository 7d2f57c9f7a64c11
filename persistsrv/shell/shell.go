package shell

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/trimq/trimq/persistsrv/seglog"
	"github.com/trimq/trimq/persistsrv/vfs"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
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
	AheadBytes       int64 // see seglog.Settings; default 1 MiB
	CheckpointBytes  int64 // of log between two index checkpoints; default 64 MiB
	CheckpointMS     int64 // … or that time, if anything was written; default 30000
	CompactMS        int64 // at the earliest after that time a partition is compacted again; default 15000
	CompactKeys      int   // that one pass of compaction remembers at most; default 2,000,000
	CompactBytes     int64 // of new batches that are compacted whatever the topic says of its segments; default 64 MiB
}

// Options says what a shell works on.
type Options struct {
	FS       vfs.FS
	RingA    *shmqueue.Ring // 12345: bodies
	RingC    *shmqueue.Ring // 65432: entries; cursors
	Shard    uint32
	Settings Settings
	Now      func() int64         // Unix time in milliseconds
	Salt     func() uint64        // random, see seglog.Options
	Inline   bool                 // Step syncs, maintains and compacts by itself: for the simulator
	Pace     func(bytes int) bool // see seglog.Options
	Log      *slog.Logger         // nil: none
	Counters *shmqueue.Counters   // nil: none
}

// Bits of ring 65432's WordStatus. Set and cleared by persistsrv only.
const (
	StatusDiskFull   = shmqueue.StatusDiskFull   // appends from clients are refused; cleared by itself
	StatusSyncFailed = shmqueue.StatusSyncFailed // what is not synced must be written again
	StatusSyncing    = shmqueue.StatusSyncing    // a sync is under way
	StatusDamaged    = shmqueue.StatusDamaged    // the log has a damaged place
)

// recordsAtOnce bounds the records that one Step takes.
const recordsAtOnce = 4096

// Shell is persistsrv without its process.
type Shell struct {
	o   Options
	log *seglog.Log
	in  *shmqueue.Consumer

	held  shmqueue.Record // read from the ring, waits for the disk
	holds bool
	entry journal.Entry // decoded from the last entry record
	marks marks

	dirtySince int64 // when the oldest unsynced bytes were written; 0: there are none
	nextTick   int64
	nextScrub  atomic.Int64 // when the next slice of old log may be read
	nextLook   atomic.Int64 // when it is looked again whether something is to be compacted
	nextCount  int64
	checkAfter uint64 // bytes that may be written before free space is looked at again
	syncMu     sync.Mutex
	syncTook   atomic.Int64 // ns, of the last sync
	awaitedMS  int64        // when logicsrv was seen last to wait for the page cache
	counted    seglog.Stats
}

// ErrFull says that New needs room that the disk has not; it may be tried again.
var ErrFull = seglog.ErrFull

func orDefault[T int | int64](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

func (s *Settings) fill() {
	orDefault(&s.SegmentBytes, 256<<20)
	orDefault(&s.SegmentSeconds, 3600)
	orDefault(&s.IndexEntries, 65536)
	orDefault(&s.DiskReserveBytes, 512<<20)
	orDefault(&s.PageFlushMS, 1000)
	orDefault(&s.RetentionCheckMS, 5000)
	orDefault(&s.FlushBytes, 128<<20)
	orDefault(&s.RoundBytes, 16<<20)
	orDefault(&s.AheadBytes, 1<<20)
	orDefault(&s.CheckpointBytes, 64<<20)
	orDefault(&s.CheckpointMS, 30_000)
	orDefault(&s.CompactMS, 15_000)
	orDefault(&s.CompactKeys, 2_000_000)
	orDefault(&s.CompactBytes, 64<<20)
	s.DiskReserveBytes = max(0, s.DiskReserveBytes)
}

// New recovers the log and takes over ring 65432's consuming end. Where a predecessor's sync
// has failed, or it is not known how it ended, what it was to cover is written again here.
func New(o Options) (*Shell, error) {
	o.Settings.fill()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Shell{o: o}
	status := o.RingC.Word(shmqueue.WordStatus)
	set := &o.Settings
	l, err := seglog.Open(seglog.Options{
		FS: o.FS, Now: o.Now, Salt: o.Salt, Log: o.Log,
		Pace:       o.Pace,
		Warm:       o.RingC.Word(shmqueue.WordWritten).Load() > 0,
		SyncedHint: o.RingC.Word(shmqueue.WordSynced).Load(),
		Rewrite:    status.Load()&(StatusSyncFailed|StatusSyncing) != 0 && !failpoint.Broken("failed-sync-believed"),
		Settings: seglog.Settings{
			Shard: o.Shard, SegmentBytes: set.SegmentBytes, SegmentMS: int64(set.SegmentSeconds) * 1000,
			IndexEntries: uint32(set.IndexEntries), IndexCheckpointBytes: uint64(set.CheckpointBytes),
			IndexCheckpointMS: set.CheckpointMS, DiskReserveBytes: uint64(set.DiskReserveBytes),
			RoundBytes: set.RoundBytes, AheadBytes: set.AheadBytes, OpenIndexFiles: 512, VerifyIndexBytes: 256 << 20,
			CompactMS: set.CompactMS, CompactKeys: set.CompactKeys, CompactBytes: set.CompactBytes,
		},
	})
	if errors.Is(err, seglog.ErrFull) {
		status.Or(StatusDiskFull)
	}
	if errors.Is(err, seglog.ErrSync) {
		status.Or(StatusSyncFailed)
	}
	if err != nil {
		return nil, err
	}
	s.log = l
	if s.in, err = o.RingC.Consumer(); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	// What was in doubt has been written and synced anew.
	status.And(^uint64(StatusSyncFailed | StatusSyncing))
	failpoint.Hit("persist.status")
	s.setBit(StatusDamaged, len(l.Damages()) > 0)
	s.publish()
	s.raise(shmqueue.WordSynced, l.Synced())
	if failpoint.Broken("cache-believed") {
		s.raise(shmqueue.WordSynced, l.Written())
	}
	if status.Load()&shmqueue.StatusRecovered == 0 {
		// The rings are new. Before logicsrv looks, synced has to be where it was when
		// the power went: nothing that was visible may be invisible again.
		if err := s.SyncLog(); err != nil {
			return nil, errors.Join(err, l.Close())
		}
		s.setBit(shmqueue.StatusRecovered, true)
	}
	s.markDirty()
	s.nextTick = o.Now()
	// A predecessor may have died between moving a cursor and waking logicsrv.
	o.RingA.Bell().Ring()
	return s, nil
}

// raise moves a cursor up. It never moves down.
func (s *Shell) raise(w shmqueue.Word, v uint64) bool {
	word := s.o.RingC.Word(w)
	for {
		was := word.Load()
		if v <= was {
			return false
		}
		// SYNC: pairs with logicsrv's reads of the cursors. Step and SyncLog both raise written.
		if word.CompareAndSwap(was, v) {
			failpoint.Hit("persist.cursor")
			return true
		}
	}
}

func (s *Shell) setBit(bit uint64, on bool) {
	word := s.o.RingC.Word(shmqueue.WordStatus)
	switch was := word.Load()&bit != 0; {
	case on && !was:
		word.Or(bit)
	case !on && was:
		word.And(^bit)
	default:
		return
	}
	failpoint.Hit("persist.status")
	s.o.RingA.Bell().Ring()
}

// Step drains ring 65432 once: gathers, writes, indexes, moves written, releases. progress
// says that it should be called again before sleeping.
func (s *Shell) Step() (progress bool, err error) {
	now := s.o.Now()
	taken, err := s.drain()
	if err != nil {
		return false, err
	}
	moved := s.publish()
	if moved {
		s.markDirty()
	}
	released := s.release()
	if err := s.tick(now); err != nil {
		return false, err
	}
	s.setBit(StatusDiskFull, s.log.Full())
	progress = taken > 0 || moved || released
	if progress || now >= s.nextCount {
		s.count()
		s.nextCount = now + countMS
	}
	if !s.o.Inline {
		return progress, nil
	}
	if s.SyncDue() {
		progress = true
		if err := s.SyncLog(); err != nil {
			return false, err
		}
		s.release()
	}
	if s.MaintainDue() {
		progress = true
		if err := s.Maintain(); err != nil {
			return false, err
		}
	}
	return progress, nil
}

// drain takes records until the ring is empty, enough are gathered, or the disk is full.
func (s *Shell) drain() (taken int, err error) {
	s.marks.begin()
	for taken < recordsAtOnce {
		if !s.holds {
			rec, ok := s.in.Next()
			if !ok {
				if err := s.in.Err(); err != nil {
					return taken, fmt.Errorf("ring 65432: %w", err)
				}
				break
			}
			s.held, s.holds = rec, true
			if err := s.decode(); err != nil {
				return taken, err
			}
		}
		done, err := s.take()
		if errors.Is(err, seglog.ErrFull) {
			return taken, nil
		}
		if err != nil {
			return taken, err
		}
		if !done {
			break
		}
		s.holds = false
		taken++
	}
	if failpoint.Broken("written-before-write") {
		s.raise(shmqueue.WordWritten, s.log.LastLSN())
	}
	if err := s.log.Flush(); err != nil && !errors.Is(err, seglog.ErrFull) {
		return taken, err
	}
	return taken, nil
}

// decode reads an entry record once, however often it is tried.
func (s *Shell) decode() error {
	if ipc.Type(s.held.Type) != ipc.TypeEntry {
		return nil
	}
	if err := s.entry.DecodeRing(s.held.Payload); err != nil {
		return fmt.Errorf("ring 65432, record at %d: %w", s.held.Pos, err)
	}
	return nil
}

// take does what the held record asks for; done is false if it has to wait for the round's
// flush. An error that is ErrFull leaves it to be tried again.
func (s *Shell) take() (done bool, err error) {
	switch ipc.Type(s.held.Type) {
	case ipc.TypeEntry:
		return s.takeEntry()
	case ipc.TypeCheckpoint:
		part, err := ipc.DecodeCheckpointPart(s.held.Payload)
		if err != nil {
			return false, fmt.Errorf("ring 65432, record at %d: %w", s.held.Pos, err)
		}
		s.log.StatePart(&part)
		s.marks.add(s.held.End, s.log.LastLSN(), false)
		return true, nil
	case ipc.TypeConfigure:
		c, err := ipc.DecodeConfigure(s.held.Payload)
		return s.configure(&c, err)
	case ipc.TypeConfigureCompacted:
		c, err := ipc.DecodeConfigureCompacted(s.held.Payload)
		return s.configure((*ipc.Configure)(&c), err)
	}
	return false, fmt.Errorf("ring 65432, record at %d: type %d is none of persistsrv's", s.held.Pos, s.held.Type)
}

func (s *Shell) takeEntry() (done bool, err error) {
	e := &s.entry
	if len(e.Bodies) > 0 && e.Nonce != s.o.RingA.Nonce() && e.LSN > s.log.LastLSN() {
		return false, fmt.Errorf("entry lsn=%d refers to bodies in ring 12345 with nonce %#x; this one has %#x", e.LSN, e.Nonce, s.o.RingA.Nonce())
	}
	result, err := s.log.Add(e, s.o.RingA.At)
	if err == nil && result == seglog.Blocked {
		if err = s.log.Flush(); err == nil {
			s.raise(shmqueue.WordWritten, s.log.Written())
			s.ringMoved()
			result, err = s.log.Add(e, s.o.RingA.At)
		}
	}
	if err != nil || result == seglog.Blocked {
		return false, err
	}
	s.marks.add(s.held.End, e.LSN, e.Level > ipc.LevelPage)
	return true, nil
}

// publish moves written and read, and wakes logicsrv.
func (s *Shell) publish() (moved bool) {
	moved = s.raise(shmqueue.WordWritten, s.log.Written())
	read := s.in.Read()
	if s.holds {
		read = s.held.Pos
	}
	if !s.log.Pending() && s.raise(shmqueue.WordRead, read) {
		moved = true
	}
	if moved {
		if s.o.RingA.Word(shmqueue.WordAwaitWritten).Load() != ^uint64(0) {
			s.awaitedMS = s.o.Now()
		}
		s.ringMoved()
	}
	return moved
}

// ringMoved wakes logicsrv, after a cursor has moved, where that is what it sleeps for.
func (s *Shell) ringMoved() {
	// SYNC: pairs with logicsrv's stores before it sleeps: the cursor was moved before this look.
	a, c := s.o.RingA, s.o.RingC
	if c.Word(shmqueue.WordWritten).Load() >= a.Word(shmqueue.WordAwaitWritten).Load() ||
		c.Word(shmqueue.WordSynced).Load() >= a.Word(shmqueue.WordAwaitSynced).Load() {
		a.Bell().Ring()
	}
}

// configure takes over the settings of a record, if it could be decoded.
func (s *Shell) configure(c *ipc.Configure, err error) (bool, error) {
	if err != nil {
		return false, fmt.Errorf("ring 65432, record at %d: %w", s.held.Pos, err)
	}
	if err := s.log.Flush(); err != nil {
		return false, err
	}
	if err := s.log.Configure(c); err != nil {
		return false, err
	}
	s.marks.add(s.held.End, s.log.LastLSN(), false)
	return true, nil
}

// release frees what is done with in ring 65432.
func (s *Shell) release() bool {
	to := s.marks.done(s.log.Written(), s.log.Synced())
	if failpoint.Broken("early-release-log") {
		to = s.in.Read()
	}
	if to == 0 {
		return false
	}
	if s.in.Release(to) {
		s.o.RingA.Bell().Ring()
	}
	failpoint.Hit("persist.release")
	return true
}

// tick does what is due by time: retention and a look at the free space.
func (s *Shell) tick(now int64) error {
	due := now >= s.nextTick
	if !due && s.log.Appended() < s.checkAfter {
		return nil
	}
	if due {
		if err := s.log.Retain(); err != nil && !errors.Is(err, seglog.ErrFull) {
			return err
		}
		s.nextTick = now + s.o.Settings.RetentionCheckMS
	}
	if err := s.log.CheckSpace(); err != nil {
		return err
	}
	if due && !s.holds && !s.log.Pending() {
		s.log.TryAgain()
	}
	if s.log.Full() {
		s.nextTick = min(s.nextTick, now+fullRetryMS)
	}
	s.checkAfter = s.log.Appended() + spaceCheckBytes
	s.raise(shmqueue.WordFirstLSN, s.log.FirstLSN())
	s.setBit(StatusDamaged, len(s.log.Damages()) > 0)
	return nil
}

const (
	countMS         = 1000     // between two updates of the counters while nothing happens
	fullRetryMS     = 100      // between two looks at a full disk
	spaceCheckBytes = 16 << 20 // written between two looks at the free space
)

// SetReserve changes Settings.DiskReserveBytes. Any goroutine may call it.
func (s *Shell) SetReserve(bytes int64) { s.log.SetReserve(uint64(max(0, bytes))) }

// Close lets go of files and the lock. Nothing need be saved.
func (s *Shell) Close() error { return s.log.Close() }

// Damages lists the damaged places of the log found so far.
func (s *Shell) Damages() []commitlog.Damage { return s.log.Damages() }

// Log is the commit log, for tests and counters.
func (s *Shell) Log() *seglog.Log { return s.log }
