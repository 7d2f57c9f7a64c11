package shell

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/trimq/trimq/logicsrv/core"
	"github.com/trimq/trimq/logicsrv/replay"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/invariant"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
	"github.com/trimq/trimq/shmqueue"
)

// Options says what a shell works on.
type Options struct {
	Core   core.Config
	RingA  *shmqueue.Ring // 12345: inputs, and the bodies that entries refer to
	RingB  *shmqueue.Ring // 54321: outputs
	RingC  *shmqueue.Ring // 65432: entries, checkpoints; persistsrv's cursors
	LogFS  commitlog.FS   // the data directory, read at recovery and for checkpoints
	Now    func() int64   // Unix time in milliseconds
	Limits Limits
	Log    *slog.Logger // nil: none

	// Replay makes the checkpoint of the state at an LSN, see replay.Process; spare is memory for
	// it. nil: it is made in this process.
	Replay func(ctx context.Context, lsn uint64, spare []byte) (replay.Result, error)

	// Running is told once the recovery is through; nil: nobody.
	Running func(Recovery)
	// Park is told of an input that was given up because the core died of it; nil: only logged.
	Park func(Parked)
	// Counters are logicsrv's in the metrics segment; nil: none.
	Counters *shmqueue.Counters
	// Turned is shown each turn before anything of it leaves; nil: nobody is. The simulator
	// judges turns by it.
	Turned func(*Turn)
}

// Shell is logicsrv's loop. It is used by one goroutine, except for Stop, DumpState, and StepReplay.
type Shell struct {
	opt    Options
	core   *core.Core
	in     *shmqueue.Consumer
	out    *shmqueue.Producer
	logOut *shmqueue.Producer
	bell   *shmqueue.Bell // logicsrv's own

	phase phase
	step  func(nowMS int64, in core.Input) // core.Step; tests put a core there that dies
	timer func() (ms int64, ok bool)       // core.NextTimer, likewise

	headB, headC uint64 // of the rings we put into, at the beginning of this Step
	rec          recovery
	known        map[uint64][]byte // journaled events of inputs in [head, knownEnd)
	// Invariant: nil once an input at or beyond knownEnd has been read.
	knownEnd uint64
	redone   bool // the turn has read an input whose outcome was known

	now     int64   // never falls
	cur     cursors // what each level has reached; memory's is the last LSN in ring 65432
	told    [2]uint64
	readPos uint64 // ring 12345 has been read up to here
	lastLSN uint64 // of the core

	entry    []byte // encoded entry
	entryLSN uint64 // of the one that waits for room in ring 65432; 0: none
	gate     gate
	turns    turnQueue

	await awaited // shown to persistsrv
	debt  debt    // of rings, to persistsrv

	notes      notes
	checkpoint checkpoint
	replay     *replayer
	longest    longest
	seen       []core.Input // of the turn, for Turned
	ringLog    bool         // ring 65432 got something in this Step
	ringConn   bool         // ring 54321 got something, or ring 12345 has the room that was wanted
	n          counts
	shown      core.Stats // what publishStats has shown
	stop       atomic.Bool
	leave      atomic.Bool
	dump       atomic.Bool
	reload     atomic.Pointer[CheckpointLimits]
}

// ErrDamagedLog is wrapped by errors of recovery that a human has to look at.
var ErrDamagedLog = errors.New("the commit log cannot be replayed (trimq log verify says what is wrong, trimq log repair what can be done)")

// New takes over logicsrv's ends of the three rings. The caller holds logicsrv's lock, which
// proves that its predecessor is dead. The recovery itself happens in the first calls of Step.
func New(opt Options) (*Shell, error) {
	opt.Limits = opt.Limits.orDefault()
	if room := opt.RingC.MaxRecord() - journal.RingHeaderSize; opt.Core.MaxEntryBytes == 0 || opt.Core.MaxEntryBytes > room {
		opt.Core.MaxEntryBytes = min(room, 1<<20)
	}
	s := &Shell{opt: opt, bell: opt.RingA.Bell(), replay: newReplayer(&opt), notes: notes{work: make(chan struct{}, 1)}}
	var err error
	if s.in, err = opt.RingA.Consumer(); err != nil {
		return nil, fmt.Errorf("take over the end of ring 12345: %w", err)
	}
	if s.out, err = opt.RingB.Producer(); err != nil {
		return nil, fmt.Errorf("take over the end of ring 54321: %w", err)
	}
	if s.logOut, err = opt.RingC.Producer(); err != nil {
		return nil, fmt.Errorf("take over the end of ring 65432: %w", err)
	}
	s.now = opt.Now()
	s.showEveryMove()
	s.beginRecovery()
	failpoint.Hit("logic.attached")
	return s, nil
}

// Step does what can be done without waiting. It returns false when there was nothing to do.
// An error is final: the process exits and its successor recovers.
func (s *Shell) Step() (progress bool, err error) {
	s.now = max(s.now, s.opt.Now())
	s.ringLog, s.ringConn = false, false
	// Before any put is tried: a release that comes after it must keep us awake (see stillIdle).
	s.headB, s.headC = s.opt.RingB.Head(), s.opt.RingC.Head()
	progress = s.mirrorStatus()
	if s.phase != running {
		moved, err := s.recoverStep()
		if err != nil {
			return false, err
		}
		progress = moved || progress
	} else {
		progress = s.runStep() || progress
		if err := s.in.Err(); err != nil {
			return false, fmt.Errorf("ring 12345: %w", err)
		}
	}
	s.ringBells()
	return progress, nil
}

// StepReplay does the next piece of work on a checkpoint that is made beside the loop. It is for
// callers that have no use for Run, whose goroutine does the same; it may be called while Step
// runs, by one goroutine.
func (s *Shell) StepReplay() (progress bool) { return s.replay.step() }

// runStep is one turn of the running shell, in the order of the rule: what persistsrv has made
// durable is handed over, what is handed over is released, and only then comes new work.
func (s *Shell) runStep() (progress bool) {
	if s.readCursors() {
		progress = true
	}
	if s.handEntry() {
		progress = true
	}
	if s.flushGate() {
		progress = true
	}
	if s.releaseInputs() {
		progress = true
	}
	if s.entryLSN == 0 && s.gateHasRoom() && s.decideTurn() {
		progress = true
		s.releaseInputs()
	}
	if s.stepCheckpoint() {
		progress = true
	}
	return progress
}

// decideTurn lets the core see the cursors and one turn of inputs, and hands over the result.
// REQUIRES: no entry waits for room.
func (s *Shell) decideTurn() bool {
	// The turn's inputs end before its time is read: none is younger than that, or what it is to wait
	// for would be due early. What the core knows of the ring is not older, or it would take for silent
	// whose input came in between.
	end := s.opt.RingA.Tail()
	s.now = max(s.now, s.opt.Now())
	s.core.Tail(s.opt.RingA.Tail())
	advanced := s.advance()
	noted := s.exchangeNotes()
	inputs, size := s.readInputs(end)
	if inputs == 0 && !advanced && !noted && !s.core.Busy() && !s.timerDue() {
		return false
	}
	entry, outputs := s.core.EndTurn(s.now, s.opt.RingA.Nonce(), s.readPos)
	if s.opt.Turned != nil {
		s.showTurn(entry, outputs)
	}
	t := turn{pos: s.readPos, level: ipc.LevelMemory, redone: s.redone}
	s.redone = false
	if entry != nil {
		if entry.LSN != s.lastLSN+1 {
			invariant.Fail("entry lsn=%d behind lsn=%d", entry.LSN, s.lastLSN)
		}
		s.lastLSN = entry.LSN
		t.lsn, t.level = entry.LSN, entry.Level
		s.entry = entry.AppendRing(s.entry[:0])
		s.entryLSN = entry.LSN
		events := countEvents(entry.Events)
		s.checkpoint.count(events, size)
		s.n.entries++
		s.n.events += uint64(events)
		s.handEntry()
	}
	var number uint64
	if inputs > 0 {
		number = s.turns.push(t)
	}
	for i := range outputs {
		s.n.countOutput(&outputs[i])
		s.pass(number, &outputs[i])
	}
	s.n.turns++
	s.n.inputs += uint64(inputs)
	s.n.inputBytes += uint64(size)
	return true
}

// advance tells the core of cursors that have moved since it was told last.
func (s *Shell) advance() bool {
	written, synced := s.cur[ipc.LevelPage], s.cur[ipc.LevelDisk]
	if s.told == [2]uint64{written, synced} {
		return false
	}
	s.told = [2]uint64{written, synced}
	if failpoint.Broken("visible-early") {
		written, synced = s.cur[ipc.LevelMemory], s.cur[ipc.LevelMemory]
	}
	s.core.Advance(written, synced)
	return true
}

// readInputs steps the core through the inputs of ring 12345 that lie before end, up to a turn's limits.
func (s *Shell) readInputs(end uint64) (inputs, size int) {
	lim := &s.opt.Limits
	for s.in.Read() < end && inputs < lim.TurnInputs && size < lim.TurnBytes && !s.core.TurnFull() {
		r, ok := s.in.Next()
		if !ok {
			break
		}
		inputs++
		size += len(r.Payload)
		s.readPos = r.End
		if ipc.Type(r.Type) == ipc.TypeSkip {
			continue
		}
		s.stepInput(&r)
		if s.opt.Turned != nil {
			s.seen = append(s.seen, core.Input{Pos: r.Pos, Type: ipc.Type(r.Type), Payload: r.Payload})
		}
	}
	return inputs, size
}

// handEntry puts the waiting entry into ring 65432; false where it has no room.
func (s *Shell) handEntry() bool {
	if s.entryLSN == 0 {
		return false
	}
	failpoint.Hit("logic.entry.before")
	if !s.put(s.logOut, uint16(ipc.TypeEntry), s.entry) {
		return false
	}
	failpoint.Hit("logic.entry.after")
	s.cur[ipc.LevelMemory] = s.entryLSN
	s.entryLSN = 0
	s.ringLog = true
	return true
}

// put puts a record into a ring; false where the ring is full, and then the other side rings
// our bell once it has released some.
func (s *Shell) put(p *shmqueue.Producer, typ uint16, record ...[]byte) bool {
	_, err := p.Put(typ, 0, record...)
	if err == nil {
		return true
	}
	if !errors.Is(err, shmqueue.ErrFull) {
		invariant.Fail("record of type %d: %v", typ, err)
	}
	p.WantSpace()
	// The other side may have released between our look and our wish.
	_, err = p.Put(typ, 0, record...)
	return err == nil
}

// pass hands an output over at once where its level allows, and keeps it otherwise.
func (s *Shell) pass(number uint64, o *core.Output) {
	item := heldOutput{lsn: o.Gate, turn: number, typ: o.Type}
	if o.Gate > s.lastLSN {
		invariant.Fail("output of type %d waits for lsn=%d, the last is %d", o.Type, o.Gate, s.lastLSN)
	}
	if s.gate.open(o.Level, o.Gate, &s.cur) && s.putOutput(item, o.Record) {
		return
	}
	if number != 0 {
		s.turns.at(number).outputs++
	}
	s.gate.hold(o.Level, item, o.Record)
}

func (s *Shell) putOutput(item heldOutput, record []byte) bool {
	failpoint.Hit("logic.output")
	if !s.put(s.out, uint16(item.typ), record) {
		s.n.responseFull++
		return false
	}
	s.n.outputs++
	s.ringConn = true
	return true
}

// flushGate hands over what has reached its level.
func (s *Shell) flushGate() bool {
	if s.gate.count == 0 {
		return false
	}
	return s.gate.flush(&s.cur, func(item heldOutput, record []byte) bool {
		if !s.putOutput(item, record) {
			return false
		}
		if item.turn != 0 {
			s.turns.at(item.turn).outputs--
		}
		return true
	})
}

func (s *Shell) gateHasRoom() bool {
	return s.gate.count < s.opt.Limits.HeldOutputs && s.gate.bytes < s.opt.Limits.HeldBytes
}

// releaseInputs gives ring 12345 back as far as the rule allows (invariant 3 in doc.go).
func (s *Shell) releaseInputs() bool {
	released := false
	var pos uint64
	if failpoint.Broken("early-release-requests") {
		s.in.Release(s.readPos)
	}
	if t := s.turns.front(); t != nil && t.outputs > 0 && failpoint.Broken("release-before-handover") {
		s.in.Release(t.pos)
	}
	for t := s.turns.front(); t != nil && s.releasable(t); t = s.turns.front() {
		pos, released = t.pos, true
		s.turns.pop()
	}
	if !released {
		return false
	}
	failpoint.Hit("logic.release.before")
	if s.in.Release(pos) {
		s.ringConn = true
	}
	failpoint.Hit("logic.release.after")
	return true
}

func (s *Shell) releasable(t *turn) bool {
	if t.outputs > 0 {
		return false
	}
	if t.redone && s.cur[ipc.LevelDisk] < s.rec.knownDisk {
		return false // should the sync fail, persistsrv needs the bodies again
	}
	return t.lsn == 0 || s.cur.reached(max(t.level, ipc.LevelPage), t.lsn)
}

// readCursors looks at persistsrv's cursors.
func (s *Shell) readCursors() bool {
	// SYNC: pairs with persistsrv's stores; synced first, so that it is never above written.
	synced := s.opt.RingC.Word(shmqueue.WordSynced).Load()
	written := s.opt.RingC.Word(shmqueue.WordWritten).Load()
	if synced == s.cur[ipc.LevelDisk] && written == s.cur[ipc.LevelPage] {
		return false
	}
	if written < s.cur[ipc.LevelPage] || synced < s.cur[ipc.LevelDisk] || written > s.lastLSN {
		invariant.Fail("cursors written=%d synced=%d, they were %v, the last lsn is %d", written, synced, s.cur, s.lastLSN)
	}
	s.cur[ipc.LevelPage], s.cur[ipc.LevelDisk] = written, synced
	return true
}

// mirrorStatus shows connsrv what persistsrv says of itself (a full disk above all).
func (s *Shell) mirrorStatus() bool {
	status := s.opt.RingC.Word(shmqueue.WordStatus).Load()
	mirror := s.opt.RingB.Word(shmqueue.WordStatus)
	if mirror.Load() == status {
		return false
	}
	mirror.Store(status)
	s.ringConn = true
	return true
}

// ringBells wakes the neighbours for which this Step has left something.
func (s *Shell) ringBells() {
	s.ringPersist()
	if s.ringConn {
		s.opt.RingB.Bell().Ring()
	}
}
