package shell

import (
	"testing"
	"time"

	"github.com/trimq/trimq/logicsrv/core"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/shmqueue"
)

const never = core.NoLSN

// awaits goes to sleep as Run does, but for the sleep, and says what persistsrv is shown.
func (r *rig) awaits() awaited {
	r.shell.showAwaited()
	a := awaited{r.a.Word(shmqueue.WordAwaitWritten).Load(), r.a.Word(shmqueue.WordAwaitSynced).Load()}
	if a != r.shell.await {
		r.t.Fatalf("%v is shown, and %v looked for", a, r.shell.await)
	}
	return a
}

// TestAwaitsWhatMatters: of the cursors' moves those wake logicsrv of which something comes.
func TestAwaitsWhatMatters(t *testing.T) {
	r := ready(t, 1<<16)
	at := func(what string, want awaited, idle bool) {
		t.Helper()
		if got := r.awaits(); got != want || r.shell.stillIdle() != idle {
			t.Fatalf("%s: awaits %v, want %v; idle %t", what, got, want, !idle)
		}
	}
	at("nothing under way", awaited{never, never}, true)

	r.produce(ipc.LevelDisk)
	r.settle()
	lsn := r.shell.lastLSN
	at("on its way", awaited{never, lsn}, true)
	r.write()
	if !r.shell.stillIdle() {
		t.Fatal("it is written, for which nobody waits, and the shell would stay awake")
	}
	r.sync()
	if r.shell.stillIdle() {
		t.Fatal("it is synced, and the shell would sleep")
	}
	r.settle()
	r.want("appended req=2 base=0")
	at("all handed over", awaited{never, never}, true)

	r.produce(ipc.LevelPage)
	r.settle()
	lsn = r.shell.lastLSN
	at("an answer from the page cache, visible from the disk", awaited{lsn, lsn}, true)
	r.write()
	if r.shell.stillIdle() {
		t.Fatal("the answer may leave, and the shell would sleep")
	}
	r.settle()
	r.want("appended req=3 base=1")
	at("not visible yet", awaited{never, lsn}, true)
}

// TestAwaitsRelease: ring 12345 is released by the way, until much of it is taken.
func TestAwaitsRelease(t *testing.T) {
	r := ready(t, 1<<16)
	lsn := r.shell.lastLSN + 1
	r.shell.turns.push(turn{pos: r.a.Tail(), lsn: lsn, level: ipc.LevelMemory})
	if got := r.awaits(); got != (awaited{never, never}) {
		t.Fatalf("a ring that is nearly empty: awaits %v", got)
	}
	for r.a.Tail()-r.a.Head() < r.a.Capacity()/releaseShare {
		r.produce(ipc.LevelMemory)
	}
	if got := r.awaits(); got != (awaited{lsn, never}) {
		t.Fatalf("a ring of which much is taken: awaits %v, want %d written", got, lsn)
	}
	*r.shell.turns.front() = turn{pos: r.a.Tail(), lsn: lsn, level: ipc.LevelDisk}
	if got := r.awaits(); got != (awaited{never, lsn}) {
		t.Fatalf("a turn that has to be synced: awaits %v, want %d synced", got, lsn)
	}
}

// TestAwaitsEveryMove: a shell that starts or stops is woken by whatever happens; nothing that its
// predecessor was not interested in is held back from it.
func TestAwaitsEveryMove(t *testing.T) {
	r := ready(t, 1<<16)
	r.awaits()
	before := r.shell
	r.start()
	if got := r.a.Word(shmqueue.WordAwaitWritten).Load(); got != 0 || before.await.written != never {
		t.Fatalf("after a start it awaits %d; its predecessor did %d", got, before.await.written)
	}
	r.shell.Stop()
	if got := r.awaits(); got != (awaited{}) {
		t.Fatalf("while it stops it awaits %v", got)
	}
}

// TestDebt: persistsrv is woken at once for what somebody waits for, and for the rest soon.
func TestDebt(t *testing.T) {
	r := ready(t, 1<<16)
	rings := 0
	bell := r.c.Bell()
	bell.SetWake(func() { rings++ })
	bell.Ring() // the first wakes in any case
	left := func(what string, want int) {
		t.Helper()
		bell.Arm()
		rings = 0
		r.shell.ringLog = true
		r.shell.ringPersist()
		if rings != want || r.shell.debt.owed == (want == 1) {
			t.Fatalf("%s: %d rings, want %d; owed %t", what, rings, want, r.shell.debt.owed)
		}
	}
	left("nobody waits", 0)
	if got := r.shell.sleepTime(); got != debtMS*time.Millisecond {
		t.Fatalf("it would sleep %v", got)
	}
	r.now += debtMS - 1
	r.settle()
	if rings != 0 || r.shell.sleepTime() != time.Millisecond {
		t.Fatalf("%d rings before their time, it would sleep %v", rings, r.shell.sleepTime())
	}
	r.now++
	r.settle()
	if rings != 1 || r.shell.sleepTime() != maxSleep {
		t.Fatalf("%d rings in time, it would sleep %v", rings, r.shell.sleepTime())
	}

	left("nobody waits again", 0)
	r.produce(ipc.LevelDisk)
	r.settle()
	if rings != 1 || r.shell.debt.owed {
		t.Fatalf("%d rings for what is waited for", rings)
	}
	left("what is waited for has been rung for", 0)
	r.shell.stop.Store(true)
	left("it stops", 1)
}
