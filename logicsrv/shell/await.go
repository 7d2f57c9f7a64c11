package shell

import (
	"github.com/trimq/trimq/logicsrv/core"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/shmqueue"
)

// Which moves of persistsrv's cursors are worth waking for. Many are not: when an acknowledgement has
// been written nobody waits for it, and of a message that has to be synced it is of no interest when it
// is written. So before it sleeps logicsrv shows in ring 12345 from which LSNs on it wants to be rung,
// and takes in the other moves whenever it wakes for something else, after maxSleep at the latest.
//
// The words are stored before the sleep flag is set and the cursors looked at once more; persistsrv
// moves a cursor and then looks at the words and the flag. So one of the two sees the other, as with
// every bell.

// awaited are LSNs at which the cursors are worth a ring; 0: at every move.
type awaited struct{ written, synced uint64 }

// releaseShare is the part of a ring that may wait for its release: more is worth a ring of the bell.
const releaseShare = 8

// showEveryMove is for a start, and wherever the cursors themselves are waited for.
func (s *Shell) showEveryMove() {
	s.await = awaited{}
	s.storeAwaited()
}

// showAwaited tells persistsrv what is waited for now.
func (s *Shell) showAwaited() {
	if s.phase != running || s.stop.Load() || s.leave.Load() {
		s.showEveryMove()
		return
	}
	if now := s.awaits(); now != s.await {
		s.await = now
		s.storeAwaited()
	}
}

func (s *Shell) storeAwaited() {
	// SYNC: pairs with persistsrv's look at them after it has moved a cursor.
	s.opt.RingA.Word(shmqueue.WordAwaitWritten).Store(s.await.written)
	s.opt.RingA.Word(shmqueue.WordAwaitSynced).Store(s.await.synced)
}

// arrived tells, after the sleep flag is set, whether a cursor has come to where it is awaited.
func (s *Shell) arrived() bool {
	written := s.opt.RingC.Word(shmqueue.WordWritten).Load()
	synced := s.opt.RingC.Word(shmqueue.WordSynced).Load()
	return written != s.cur[ipc.LevelPage] && written >= s.await.written ||
		synced != s.cur[ipc.LevelDisk] && synced >= s.await.synced
}

// awaits finds out what is waited for: outputs to leave, messages to become visible, and ring 12345 to
// be released where much of it is taken. What a cursor has reached and is here still waits for
// something else.
func (s *Shell) awaits() (a awaited) {
	a.written, a.synced = s.core.Awaits()
	a.written = min(a.written, s.gate.await(ipc.LevelPage))
	a.synced = min(a.synced, s.gate.await(ipc.LevelDisk))
	if t := s.turns.front(); t != nil && s.ringTight() {
		if t.redone {
			a.synced = min(a.synced, s.rec.knownDisk)
		}
		if t.level >= ipc.LevelDisk {
			a.synced = min(a.synced, t.lsn)
		} else {
			a.written = min(a.written, t.lsn)
		}
	}
	if a.written <= s.cur[ipc.LevelPage] {
		a.written = core.NoLSN
	}
	if a.synced <= s.cur[ipc.LevelDisk] {
		a.synced = core.NoLSN
	}
	return a
}

// ringTight tells whether so much of ring 12345 is taken that its release is waited for.
func (s *Shell) ringTight() bool {
	a := s.opt.RingA
	return a.Tail()-a.Head() >= a.Capacity()/releaseShare
}

// debt is a ring that persistsrv has coming: ring 65432 has got entries that nobody waits for, as that a
// message is done with. What is urgent comes soon, as a rule, and is written together with them.
type debt struct {
	owed    bool
	sinceMS int64  // since when
	rung    uint64 // the last LSN for which persistsrv was rung
}

// debtMS is how long entries may lie in ring 65432 before they are rung for.
const debtMS = 10

// ringPersist wakes persistsrv for what this Step, and those before it, have left in ring 65432.
func (s *Shell) ringPersist() {
	d := &s.debt
	if s.ringLog && !d.owed {
		d.owed, d.sinceMS = true, s.now
	}
	if !d.owed || !s.urgent() && s.now < d.sinceMS+debtMS {
		return
	}
	d.owed, d.rung = false, s.cur[ipc.LevelMemory]
	s.opt.RingC.Bell().Ring()
}

// urgent tells whether anybody waits for what persistsrv has not been rung for yet: an output, a message
// that is to become visible, a checkpoint, or who wants the room.
func (s *Shell) urgent() bool {
	if s.phase != running || s.stop.Load() || s.leave.Load() || s.entryLSN != 0 || s.checkpoint.out.total > 0 {
		return true
	}
	awaited := max(s.core.AwaitsUpTo(), s.gate.newest(ipc.LevelPage), s.gate.newest(ipc.LevelDisk))
	c := s.opt.RingC
	return awaited > s.debt.rung || s.ringTight() || c.Tail()-c.Head() >= c.Capacity()/releaseShare
}
