package shell

import (
	"errors"
	"time"

	"github.com/trimq/trimq/shmqueue"
)

const (
	// spins is how often Run looks again before it sleeps.
	spins = 16
	// maxSleep bounds a sleep, for the checkpoint that is due by time.
	maxSleep = 500 * time.Millisecond
	// recoverySleep is for waits at the start in which nobody rings.
	recoverySleep = 2 * time.Millisecond
	// drainLimitMS is how long Stop waits for persistsrv and connsrv.
	drainLimitMS = 10_000
)

// Run steps until Stop, and returns once everything taken in is durable, handed over and in a
// checkpoint. An error is final.
func (s *Shell) Run() error {
	defer s.replay.start(func() { s.bell.Ring() })()
	var deadline int64
	for {
		start := time.Now()
		progress, err := s.Step()
		if s.phase == running {
			s.longest.note(time.Since(start), s.now)
		}
		if err != nil {
			return err
		}
		if s.dump.CompareAndSwap(true, false) {
			s.logState()
		}
		if s.stop.Load() {
			if deadline == 0 {
				deadline = s.now + drainLimitMS
			}
			if s.drained() || s.now >= deadline {
				return nil
			}
		}
		if s.leave.Load() && !s.stop.Load() {
			return ErrLeft
		}
		s.publishCounters()
		if !progress && !s.spin() {
			s.sleep()
		}
	}
}

// spin looks a few times more, which costs less than a sleep, and less than a Step; true: something has
// come. It does not call runtime.Gosched: that would wake another thread to go on with this goroutine.
func (s *Shell) spin() bool {
	for range spins {
		if !s.stillIdle() {
			return true
		}
	}
	return false
}

// Stop makes Run return after it has drained. Safe from any goroutine.
func (s *Shell) Stop() {
	s.stop.Store(true)
	s.bell.Ring()
}

// ErrLeft is what Run returns after Leave.
var ErrLeft = errors.New("left in the middle of the work")

// Leave makes Run return ErrLeft behind the step that it is in, for a successor that goes on as
// after a death: what is taken in is in the rings. A Stop comes first. Safe from any goroutine.
func (s *Shell) Leave() {
	s.leave.Store(true)
	s.bell.Ring()
}

// DumpState makes Run log where everything stands. Safe from any goroutine.
func (s *Shell) DumpState() {
	s.dump.Store(true)
	s.bell.Ring()
}

// drained tells whether nothing is left to be done, and asks for the last checkpoint.
func (s *Shell) drained() bool {
	if s.phase != running {
		return true
	}
	if s.turns.len() > 0 || s.gate.count > 0 || s.entryLSN != 0 || s.in.Ready() || s.core.Settle() {
		return false
	}
	if s.checkpoint.lsn != s.lastLSN {
		s.checkpoint.live = true // nobody waits for a turn any more, and it is the quickest
		return false
	}
	return s.checkpoint.out.total == 0 && s.opt.RingC.Head() == s.opt.RingC.Tail()
}

// sleep waits for the bell.
func (s *Shell) sleep() {
	s.showAwaited()
	s.bell.Sleep(s.stillIdle, s.sleepTime())
}

// sleepTime is how long nobody need ring: until the core's next timer, unless what has to come
// first will ring.
func (s *Shell) sleepTime() time.Duration {
	if s.phase != running || s.stop.Load() {
		return recoverySleep
	}
	left := maxSleep.Milliseconds()
	if ms, ok := s.timer(); ok && !s.turnBlocked() {
		left = min(left, ms-s.now)
	}
	if s.debt.owed {
		left = min(left, s.debt.sinceMS+debtMS-s.now)
	}
	return time.Duration(max(left, 1)) * time.Millisecond
}

// timerDue tells whether a timer of the core has fallen due.
func (s *Shell) timerDue() bool {
	ms, ok := s.timer()
	return ok && ms <= s.now
}

// turnBlocked tells whether the next turn has to wait for a neighbour to make room.
func (s *Shell) turnBlocked() bool { return s.entryLSN != 0 || !s.gateHasRoom() }

// stillIdle looks, after the sleep flag is set, at everything that would have rung the bell.
// A ring counts as still full only if nothing was released since before the put that failed:
// the wish for room may have been granted, and taken away, before the flag was set.
func (s *Shell) stillIdle() bool {
	if s.stop.Load() || s.leave.Load() || s.dump.Load() {
		return false
	}
	if s.phase != running {
		return true
	}
	c := s.opt.RingC
	switch {
	case s.arrived(),
		c.Word(shmqueue.WordStatus).Load() != s.opt.RingB.Word(shmqueue.WordStatus).Load():
		return false
	case (s.entryLSN != 0 || s.checkpoint.out.total != 0) && c.Head() != s.headC,
		len(s.replay.made) > 0,
		s.gate.count > 0 && s.opt.RingB.Head() != s.headB:
		return false
	case s.turnBlocked():
		return true // no turn begins before its entry and its outputs have their place
	}
	return !s.in.Ready() && !s.core.Busy() && !s.timerDue() && !s.notesRead()
}
