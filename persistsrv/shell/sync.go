package shell

import (
	"errors"
	"time"

	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/shmqueue"
)

// SyncDue says whether a sync should begin: somebody waits for it, or bytes have lain
// unsynced for long enough. Only the goroutine that calls Step asks.
func (s *Shell) SyncDue() bool {
	written, synced, bytes := s.log.Cursors()
	if written <= synced {
		s.dirtySince = 0
		return false
	}
	if s.marks.wantsSync(synced) || bytes >= uint64(s.o.Settings.FlushBytes) {
		return true
	}
	s.markDirty()
	now := s.o.Now()
	if now-s.dirtySince < s.o.Settings.PageFlushMS {
		return false
	}
	// What is written from here on may lie unsynced as long again: under a steady load the cursors
	// never meet, and one sync would follow the other.
	s.dirtySince = now
	return true
}

// markDirty notes since when there are unsynced bytes.
func (s *Shell) markDirty() {
	if s.dirtySince == 0 && s.log.NeedsSync() {
		s.dirtySince = s.o.Now()
	}
}

// SyncLog syncs the log once, if anything is unsynced, and moves synced. An error is final:
// what is not synced is never told to be, and the process must exit.
func (s *Shell) SyncLog() error {
	s.syncMu.Lock()
	defer s.syncMu.Unlock()
	return s.syncLog()
}

const (
	calmMS    = 1000                 // without anybody who waits for the page cache
	calmBytes = 64 << 10             // unsynced at most
	calmSync  = 2 * time.Millisecond // that the last sync has taken at most
)

// SyncAtOnce is SyncLog in the goroutine that calls Step, where nobody is delayed by it: nobody waits for
// the page cache, little is to be synced, syncs are short. What comes meanwhile is gathered in the ring
// as well as in the log, and two goroutines need not wake each other for each message. done is false
// where SyncLog has to be called beside Step.
func (s *Shell) SyncAtOnce() (done bool, err error) {
	_, _, bytes := s.log.Cursors()
	if s.o.Now()-s.awaitedMS < calmMS || bytes > calmBytes || s.syncTook.Load() > int64(calmSync) || !s.syncMu.TryLock() {
		return false, nil
	}
	defer s.syncMu.Unlock()
	return true, s.syncLog()
}

// syncLog is SyncLog. REQUIRES: syncMu is held.
func (s *Shell) syncLog() error {
	if !s.log.NeedsSync() {
		return nil
	}
	began := time.Now()
	status := s.o.RingC.Word(shmqueue.WordStatus)
	status.Or(StatusSyncing)
	failpoint.Hit("persist.status")
	synced, err := s.log.Sync()
	if err != nil {
		status.Or(StatusSyncFailed)
		if c := s.o.Counters; c != nil {
			c.Add(shmqueue.PersistSyncErrors, 1)
		}
		return err
	}
	s.raise(shmqueue.WordWritten, synced) // Step may not have come to it yet
	moved := s.raise(shmqueue.WordSynced, synced)
	status.And(^uint64(StatusSyncing))
	failpoint.Hit("persist.status")
	s.syncTook.Store(int64(time.Since(began)))
	if moved {
		s.ringMoved()
		s.o.RingC.Bell().Ring() // our own: what waited for this is to be released
	}
	return nil
}

// MaintainDue says whether Maintain has something to do.
func (s *Shell) MaintainDue() bool { return s.log.MaintenanceDue() || s.scrubDue() }

// scrubDue says whether it is time for another slice of what recovery did not read.
func (s *Shell) scrubDue() bool {
	return s.o.Now() >= s.nextScrub.Load() && s.log.ScrubDue()
}

const (
	scrubSlice = 4 << 20 // bytes read at once
	scrubMS    = 50      // between two slices: 80 MB/s
)

// Maintain does the slow work beside the log: logicsrv's checkpoints, the index checkpoint,
// removal of dead segments.
func (s *Shell) Maintain() error { return s.maintain(false) }

func (s *Shell) maintain(force bool) error {
	err := s.log.Maintain(force, s.SyncLog)
	if err == nil && !force && s.scrubDue() {
		s.nextScrub.Store(s.o.Now() + scrubMS)
		if err := s.log.Scrub(scrubSlice); err != nil {
			return err
		}
	}
	if err != nil {
		// A sync that fails leaves doubt about everything that was to be synced.
		s.o.RingC.Word(shmqueue.WordStatus).Or(StatusSyncFailed)
	}
	return err
}

// compactLookMS is how often it is looked whether something is to be compacted.
const compactLookMS = 1000

// compactingMS is for how long nobody looks while that goes on, unless it ends before.
const compactingMS = 3600 * 1000

// CompactDue says whether it is time to look for something that Compact has to do.
func (s *Shell) CompactDue() bool { return s.o.Now() >= s.nextLook.Load() }

// Compact compacts what is due, one partition after the other.
func (s *Shell) Compact() error {
	s.nextLook.Store(s.o.Now() + compactingMS)
	for s.log.CompactionDue() {
		if err := s.log.Compact(s.SyncLog); err != nil {
			s.o.RingC.Word(shmqueue.WordStatus).Or(StatusSyncFailed) // as in maintain
			return err
		}
	}
	s.nextLook.Store(s.o.Now() + min(compactLookMS, s.o.Settings.CompactMS))
	return nil
}

// SyncStep is SyncLog, Maintain and Compact, as far as they are due.
func (s *Shell) SyncStep() error {
	if err := s.SyncLog(); err != nil {
		return err
	}
	if s.CompactDue() {
		if err := s.Compact(); err != nil {
			return err
		}
	}
	if !s.MaintainDue() {
		return nil
	}
	return s.Maintain()
}

// Finish makes all that has been written durable and leaves the shortest way to the next
// start. Step must not be called at the same time, nor after it.
func (s *Shell) Finish() error {
	if err := s.SyncLog(); err != nil {
		return err
	}
	s.release()
	return errors.Join(s.maintain(true), s.log.EndAhead())
}

// Idle says whether Step has nothing to do: for the sleeper, after it has set its flag.
func (s *Shell) Idle() bool {
	if s.holds {
		return true // waits for room; NextWake looks after it
	}
	return !s.in.Ready() && !s.marks.ready(s.log.Written(), s.log.Synced())
}

// NextWake is how long Step may sleep if nobody rings.
func (s *Shell) NextWake() time.Duration {
	now := s.o.Now()
	wait := s.nextTick - now
	if s.dirtySince != 0 {
		wait = min(wait, s.dirtySince+s.o.Settings.PageFlushMS-now)
	}
	if s.holds || s.log.Pending() {
		wait = min(wait, fullRetryMS)
	}
	if s.log.ScrubDue() {
		wait = min(wait, s.nextScrub.Load()-now)
	}
	wait = min(wait, s.nextLook.Load()-now)
	return time.Duration(max(wait, 1)) * time.Millisecond
}
