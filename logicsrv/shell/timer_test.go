package shell

import (
	"testing"
	"time"

	"github.com/trimq/trimq/logicsrv/core"
	"github.com/trimq/trimq/protocol/ipc"
)

// TestTimerWakes: a turn is run for a timer that has fallen due, though there is no input, and
// the sleep before it ends in time.
func TestTimerWakes(t *testing.T) {
	r := ready(t, 1<<16)
	due, armed := int64(0), false
	r.shell.timer = func() (int64, bool) { return due, armed }
	turns := r.shell.n.turns
	r.settle()
	if got := r.shell.sleepTime(); got != maxSleep || r.shell.n.turns != turns || !r.shell.stillIdle() {
		t.Fatalf("without a timer: sleeps %v, %d turns", got, r.shell.n.turns-turns)
	}
	due, armed = r.now+30, true
	r.settle()
	if got := r.shell.sleepTime(); got != 30*time.Millisecond || r.shell.n.turns != turns || !r.shell.stillIdle() {
		t.Fatalf("30 ms before it: sleeps %v, %d turns", got, r.shell.n.turns-turns)
	}
	due = r.now + 24*3600*1000
	if got := r.shell.sleepTime(); got != maxSleep {
		t.Fatalf("a day before it: sleeps %v", got)
	}
	due = r.now + 30
	r.now += 30
	if progress, err := r.shell.Step(); err != nil || !progress || r.shell.n.turns != turns+1 || r.shell.stillIdle() {
		t.Fatalf("at its moment: progress %t, %v, %d turns", progress, err, r.shell.n.turns-turns)
	}
	armed = false
	r.settle()
	if got := r.shell.sleepTime(); got != maxSleep || !r.shell.stillIdle() {
		t.Fatalf("behind it: sleeps %v", got)
	}
}

// TestTimerWaitsForRoom: as long as the next turn has no room for what it decides, a timer that
// has fallen due keeps nobody awake.
func TestTimerWaitsForRoom(t *testing.T) {
	r := ready(t, 1<<16)
	r.shell.timer = func() (int64, bool) { return r.now, true }
	r.shell.opt.Limits.HeldOutputs = 0
	turns := r.shell.n.turns
	r.settle()
	if got := r.shell.sleepTime(); got != maxSleep || !r.shell.stillIdle() || r.shell.n.turns != turns {
		t.Fatalf("sleeps %v, idle %t, %d turns", got, r.shell.stillIdle(), r.shell.n.turns-turns)
	}
}

// TestNoInputIsYoungerThanItsTurn: a shell that is stopped behind the reading of its clock decides what
// has come since with a later one, or a message would expire, or its delay be over, early.
func TestNoInputIsYoungerThanItsTurn(t *testing.T) {
	r := ready(t, 1<<16)
	came := map[uint64]int64{} // when an input was put, by its position
	for range 4 {
		puts := 0
		r.read = func() {
			if puts++; puts > 3 {
				return
			}
			r.now += 1000
			came[r.a.Tail()] = r.now
			r.produce(ipc.LevelPage)
		}
		decided := 0
		r.shell.step = func(now int64, in core.Input) {
			if now < came[in.Pos] {
				t.Errorf("what came at %d is decided at %d", came[in.Pos], now)
			}
			decided++
			r.shell.core.Step(now, in)
		}
		r.settle()
		r.write()
		r.settle()
		if decided != 3 || !r.shell.stillIdle() {
			t.Fatalf("%d of 3 inputs were decided", decided)
		}
	}
}
