package shell

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/trimq/trimq/logicsrv/replay"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/invariant"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
	"github.com/trimq/trimq/shmqueue"
)

// phase is where the recovery stands. The steps are those of docs/recovery.md.
type phase uint8

const (
	draining  phase = iota // until persistsrv has appended all that ring 65432 holds
	replaying              // the checkpoint is loaded; the log behind it is applied
	settling               // until the written cursor covers what was replayed
	telling                // index settings go to persistsrv
	running
)

// replayBatch is how many entries one Step replays.
const replayBatch = 512

// Recovery tells how the shell came up, for the log line at the start.
type Recovery struct {
	Term          uint64
	CheckpointLSN uint64
	LastLSN       uint64
	Entries       uint64 // replayed
	Known         int    // inputs below Position whose outcome the log holds
	Head          uint64 // of ring 12345
	Position      uint64 // ring 12345 had been read up to here; 0 under another nonce
	WaitMS        int64  // for persistsrv to append what was in ring 65432
	LoadMS        int64  // of the checkpoint
	ReplayMS      int64
	SettleMS      int64
	Digest        uint64 // of the replayed state; test builds only
	CheckpointErr error  // why the newest checkpoint was passed over
}

// recovery is what the steps hand on to each other.
type recovery struct {
	Recovery
	since    int64 // when the phase began
	attempts int   // at reading the log
	reader   *commitlog.Reader
	configAt int
	// the first entry with an outcome that ring 12345 may still ask for
	knownFrom uint64
	// the last such entry that has to be synced
	knownDisk uint64
}

// Recovered returns how the shell came up; false while it is still coming up.
func (s *Shell) Recovered() (Recovery, bool) { return s.rec.Recovery, s.phase == running }

// Digest is the fingerprint of the state that the live core has at its last LSN. handed says
// whether that entry is in ring 65432; until then a successor may make another one.
// REQUIRES: Recovered.
func (s *Shell) Digest() (lsn, digest uint64, handed bool) {
	return s.core.LSN(), s.core.Digest(), s.entryLSN == 0
}

// beginRecovery raises the term, so that this logicsrv's markers and their answers are told
// from its predecessor's even if it dies in the next instruction.
func (s *Shell) beginRecovery() {
	word := s.opt.RingA.Word(shmqueue.WordTerm)
	s.rec.Term = word.Load() + 1
	if failpoint.Broken("term-not-raised") {
		s.rec.Term = 1
	}
	word.Store(s.rec.Term)
	failpoint.Hit("logic.term")
	s.rec.Head = s.opt.RingA.Head()
	s.readPos = s.rec.Head
	s.known = make(map[uint64][]byte)
	s.rec.knownFrom = ^uint64(0)
	s.rec.since = s.now
}

func (s *Shell) recoverStep() (progress bool, err error) {
	failpoint.Hit("logic.recover")
	switch s.phase {
	case draining:
		if !s.logIsWhole() {
			return false, nil
		}
		s.rec.WaitMS += s.endPhase(replaying)
		return true, s.tryAgain(s.load())
	case replaying:
		return true, s.tryAgain(s.replaySome())
	case settling:
		if s.opt.RingC.Word(shmqueue.WordWritten).Load() < s.core.LSN() {
			return false, nil
		}
		s.begin()
		s.rec.SettleMS = s.endPhase(telling)
		return true, nil
	case telling:
		return s.tellSettings(), nil
	}
	return false, nil
}

func (s *Shell) endPhase(next phase) (ms int64) {
	ms = s.now - s.rec.since
	s.rec.since = s.now
	s.phase = next
	return ms
}

// maxAttempts is how often the log is read before an error counts.
const maxAttempts = 8

// tryAgain lets the recovery begin anew after an error: persistsrv works on the same files,
// and may have stored a newer checkpoint and removed what only the one that we had loaded needs.
func (s *Shell) tryAgain(err error) error {
	if err == nil {
		return nil
	}
	if s.rec.attempts++; s.rec.attempts >= maxAttempts {
		return err
	}
	if s.rec.reader != nil {
		_ = s.rec.reader.Close() // what failed before is what counts
		s.rec.reader = nil
	}
	if s.opt.Log != nil {
		s.opt.Log.Warn("reading the log failed, trying again", "err", err)
	}
	clear(s.known)
	s.rec.knownFrom, s.rec.knownDisk = ^uint64(0), 0
	s.rec.Entries = 0
	s.endPhase(draining)
	return nil
}

// logIsWhole tells whether the log holds all that was ever put into ring 65432: only then is
// what we read the state that our predecessor's replies were about.
func (s *Shell) logIsWhole() bool {
	c := s.opt.RingC
	return s.logReadable() && (c.Word(shmqueue.WordRead).Load() == c.Tail() || failpoint.Broken("log-read-early"))
}

// logReadable tells whether persistsrv vouches for what is in the log.
func (s *Shell) logReadable() bool {
	status := s.opt.RingC.Word(shmqueue.WordStatus).Load()
	return status&shmqueue.StatusRecovered != 0 && status&shmqueue.StatusSyncFailed == 0
}

// load reads the checkpoint and finds the log's place behind it.
func (s *Shell) load() error {
	l, err := replay.Load(s.opt.Core, s.opt.LogFS)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamagedLog, err)
	}
	s.core, s.rec.CheckpointErr = l.Core, l.Passed
	from := l.LSN + 1
	if l.ResultsFrom != 0 && l.ResultsFrom < from && !failpoint.Broken("no-known-results") {
		from = l.ResultsFrom
	}
	if s.rec.reader, err = commitlog.NewReader(s.opt.LogFS, from); err != nil {
		return fmt.Errorf("%w: open log at lsn=%d: %w", ErrDamagedLog, from, err)
	}
	s.rec.reader.HeadsOnly(true)
	s.rec.CheckpointLSN = l.LSN
	s.now = max(s.now, s.opt.Now()) // a large state has taken its time in this one Step
	s.rec.LoadMS = s.endPhase(replaying)
	return nil
}

// replaySome applies the next entries of the log and collects the results that inputs still in
// ring 12345 have had.
func (s *Shell) replaySome() error {
	for range replayBatch {
		e, place, err := s.rec.reader.Next()
		if errors.Is(err, io.EOF) {
			return s.endReplay()
		}
		if gap := (*commitlog.Damage)(nil); errors.As(err, &gap) && gap.NextLSN <= s.rec.CheckpointLSN+1 {
			continue // below the checkpoint: dead segments have been removed
		}
		if err != nil {
			return fmt.Errorf("%w: after lsn=%d: %w", ErrDamagedLog, s.core.LSN(), err)
		}
		if err := s.keepResults(e); err != nil {
			return fmt.Errorf("%w: entry lsn=%d at %+v: %w", ErrDamagedLog, e.LSN, place, err)
		}
		if e.LSN <= s.rec.CheckpointLSN {
			continue
		}
		if err := s.core.Replay(e); err != nil {
			return fmt.Errorf("%w: replay lsn=%d at %+v: %w", ErrDamagedLog, e.LSN, place, err)
		}
		s.rec.Entries++
	}
	return nil
}

// keepResults remembers the events of inputs that ring 12345 still holds. Only entries made
// under the ring's nonce speak of its positions.
func (s *Shell) keepResults(e *journal.Entry) error {
	if e.Nonce != s.opt.RingA.Nonce() {
		return nil
	}
	if e.Pos <= s.rec.Head || failpoint.Broken("no-known-results") {
		return nil
	}
	events := journal.Events(e.Events)
	for {
		ev, ok := events.Next()
		if !ok {
			return events.Err()
		}
		if ev.Pos >= s.rec.Head && ev.Pos != journal.NoInput {
			s.known[ev.Pos] = append(s.known[ev.Pos], ev.Raw...)
			s.rec.knownFrom = min(s.rec.knownFrom, e.LSN)
			if e.Level > ipc.LevelPage {
				s.rec.knownDisk = e.LSN
			}
		}
	}
}

// endReplay checks that log and ring tell the same story.
func (s *Shell) endReplay() error {
	if err := s.rec.reader.Close(); err != nil {
		return fmt.Errorf("close the log: %w", err)
	}
	s.rec.reader = nil
	s.rec.LastLSN = s.core.LSN()
	if written := s.opt.RingC.Word(shmqueue.WordWritten).Load(); s.rec.LastLSN < written {
		return fmt.Errorf("%w: it ends at lsn=%d, persistsrv has written lsn=%d", ErrDamagedLog, s.rec.LastLSN, written)
	}
	s.rec.Known = len(s.known)
	if failpoint.Enabled {
		s.rec.Digest = s.core.Digest()
	}
	if nonce, pos := s.core.Position(); nonce == s.opt.RingA.Nonce() {
		s.rec.Position = pos
		if tail := s.opt.RingA.Tail(); pos > tail {
			return fmt.Errorf("%w: the log has read ring 12345 up to %d, the ring ends at %d", ErrDamagedLog, pos, tail)
		}
	}
	s.knownEnd = max(s.rec.Position, s.rec.Head)
	s.rec.ReplayMS = s.endPhase(settling)
	return nil
}

// begin makes the replayed core the live one.
func (s *Shell) begin() {
	word := s.opt.RingA.Word(shmqueue.WordTerm)
	if !failpoint.Broken("term-not-raised") && !failpoint.Broken("term-of-ring-only") {
		s.rec.Term = max(s.rec.Term, s.core.Term()+1)
	}
	word.Store(s.rec.Term)
	failpoint.Hit("logic.begin")
	s.lastLSN = s.core.LSN()
	s.cur[ipc.LevelMemory] = s.lastLSN
	s.readCursors()
	if s.step == nil {
		s.step = s.core.Step
	}
	if s.timer == nil {
		s.timer = s.core.NextTimer
	}
	s.core.Begin(s.rec.Term, s.opt.RingA.Nonce(), s.cur[ipc.LevelPage], s.cur[ipc.LevelDisk])
	s.told = [2]uint64{^uint64(0), ^uint64(0)} // the marker leaves with the first turn
	s.checkpoint.begin(s.rec.CheckpointLSN, s.now)
	invariant.Check(s.readPos == s.opt.RingA.Head(), "reads from %d, head is %d", s.readPos, s.opt.RingA.Head())
}

// tellSettings repeats the settings of all indexes to persistsrv, which keeps none of its own,
// in as many records as they need.
func (s *Shell) tellSettings() bool {
	settings := s.core.Settings()
	const perPart = 64
	parts := max(1, (len(settings)+perPart-1)/perPart)
	part := s.rec.configAt
	end := min(len(settings), (part+1)*perPart)
	m := ipc.Configure{Term: s.rec.Term, Part: uint32(part), Parts: uint32(parts), Settings: settings[part*perPart : end]}
	typ, record := ipc.TypeConfigure, m.Append(nil)
	if slices.ContainsFunc(m.Settings, func(x ipc.IndexSettings) bool { return x.Compaction.On }) {
		full := ipc.ConfigureCompacted(m)
		typ, record = ipc.TypeConfigureCompacted, full.Append(nil)
	}
	if !s.put(s.logOut, uint16(typ), record) {
		return false
	}
	failpoint.Hit("logic.configure")
	s.ringLog = true
	if s.rec.configAt++; s.rec.configAt == parts {
		s.endPhase(running)
		s.started()
	}
	return true
}
