package shell

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trimq/trimq/logicsrv/core"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/shmqueue"
)

// ready is a rig with a topic, whose creation has been answered.
func ready(t *testing.T, capacityB uint64) *rig {
	t.Helper()
	r := newRig(t, capacityB)
	r.start()
	r.topic()
	r.settle()
	r.write()
	r.sync()
	r.settle()
	if got := r.replies(); !slices.Equal(got, []string{"marker term=1 ask=1", "admin req=1"}) {
		t.Fatalf("replies %q", got)
	}
	return r
}

func (r *rig) want(replies ...string) {
	r.t.Helper()
	if got := r.replies(); !slices.Equal(got, replies) {
		r.t.Fatalf("replies %q, want %q", got, replies)
	}
}

// TestReplyWaitsForItsLevel: each level's reply leaves with its cursor, and ring 12345 is
// released only when all of the turn is done with.
func TestReplyWaitsForItsLevel(t *testing.T) {
	r := ready(t, 1<<16)
	r.limits.TurnInputs = 1
	r.shell.opt.Limits.TurnInputs = 1
	head := r.a.Head()
	for _, level := range []ipc.Level{ipc.LevelDisk, ipc.LevelPage, ipc.LevelMemory} {
		r.produce(level)
	}
	r.settle()
	r.want("appended req=4 base=2") // memory: once its entry is in ring 65432
	if r.a.Head() != head {
		t.Fatal("ring 12345 was released before anything was written")
	}
	r.write()
	r.settle()
	r.want("appended req=3 base=1")
	if r.a.Head() != head {
		t.Fatal("ring 12345 was released before the first input was synced")
	}
	r.sync()
	r.settle()
	r.want("appended req=2 base=0")
	if r.a.Head() != r.a.Tail() {
		t.Fatalf("ring 12345 is released up to %d, it ends at %d", r.a.Head(), r.a.Tail())
	}
}

// TestFullResponseRing: replies wait for room, in order, and requests are not taken on for ever.
func TestFullResponseRing(t *testing.T) {
	r := ready(t, 4096)
	r.shell.opt.Limits.HeldOutputs = 8
	const n = 100
	for range n {
		r.produce(ipc.LevelMemory)
	}
	for range 20 {
		r.settle()
		r.write()
	}
	if r.shell.gate.count == 0 || r.b.Tail()-r.b.Head() < 4096-64 {
		t.Fatalf("ring 54321 holds %d bytes and %d outputs wait: it is not full", r.b.Tail()-r.b.Head(), r.shell.gate.count)
	}
	var got []string
	for range n {
		got = append(got, r.replies()...)
		r.settle()
		r.write()
		r.sync()
	}
	if len(got) != n {
		t.Fatalf("%d replies to %d requests", len(got), n)
	}
	for i, s := range got {
		if want := fmt.Sprintf("appended req=%d base=%d", i+2, i); s != want {
			t.Fatalf("reply %d is %q, want %q", i, s, want)
		}
	}
	if r.a.Head() != r.a.Tail() {
		t.Fatal("ring 12345 is not empty")
	}
}

// TestRestartAnswersAgain: a successor repeats the answers to inputs that were not released,
// from the log where it holds them, and stores nothing twice.
func TestRestartAnswersAgain(t *testing.T) {
	r := ready(t, 1<<16)
	r.produce(ipc.LevelDisk)
	r.settle()
	r.produce(ipc.LevelDisk)
	r.settle()
	r.write() // both are written, neither is synced: no answer, no release
	r.want()
	r.produce(ipc.LevelDisk) // not seen by the first shell
	rec := r.start()
	if rec.Term != 2 || rec.Known != 2 || rec.LastLSN != 3 {
		t.Fatalf("recovery %+v", rec)
	}
	r.settle()
	r.want("marker term=2 ask=1")
	r.write()
	r.sync()
	r.settle()
	r.want("appended req=2 base=0", "appended req=3 base=1", "appended req=4 base=2")
	if r.lsn != 4 || r.a.Head() != r.a.Tail() {
		t.Fatalf("lsn=%d, ring 12345 [%d, %d)", r.lsn, r.a.Head(), r.a.Tail())
	}
}

// TestRecoveryWaits: the log is not read while ring 65432 holds what is not in it, nor before
// persistsrv has recovered, nor while a sync has failed.
func TestRecoveryWaits(t *testing.T) {
	r := ready(t, 1<<16)
	r.produce(ipc.LevelDisk)
	r.settle() // its entry is in ring 65432, and not in the log
	status := r.c.Word(shmqueue.WordStatus)
	for _, hindrance := range []uint64{shmqueue.StatusRecovered, 0, shmqueue.StatusRecovered | shmqueue.StatusSyncFailed} {
		s, err := New(r.shell.opt)
		r.must(err)
		status.Store(hindrance)
		if hindrance != shmqueue.StatusRecovered {
			r.write()
		}
		for range 3 {
			if _, err := s.Step(); err != nil || s.phase != draining {
				t.Fatalf("status %d: phase %d, %v", hindrance, s.phase, err)
			}
		}
	}
	status.Store(shmqueue.StatusRecovered)
	if rec := r.start(); rec.LastLSN != 2 || rec.Known != 1 || rec.Term != 5 {
		t.Fatalf("recovery %+v", rec)
	}
}

// TestRecoveryFromCheckpoint: the state comes from the checkpoint and the log behind it, the
// results from where the checkpoint says.
func TestRecoveryFromCheckpoint(t *testing.T) {
	r := ready(t, 1<<16)
	r.produce(ipc.LevelDisk)
	r.settle()
	r.write()
	r.shell.checkpoint.wanted = true
	r.settle()
	r.write()
	if r.stored != 1 {
		t.Fatalf("%d checkpoints", r.stored)
	}
	rec := r.start()
	if rec.CheckpointLSN != 2 || rec.Entries != 0 || rec.Known != 1 {
		t.Fatalf("recovery %+v", rec)
	}
	// The second checkpoint must still lead to the first shell's results.
	r.shell.checkpoint.wanted = true
	r.shell.checkpoint.lsn = 0
	r.settle()
	r.write()
	if rec := r.start(); r.stored != 2 || rec.Known != 1 {
		t.Fatalf("recovery %+v after %d checkpoints", rec, r.stored)
	}
	r.settle()
	r.sync()
	r.settle()
	r.want("marker term=2 ask=1", "marker term=3 ask=1", "appended req=2 base=0")
}

// TestPoisonedInput: an input of which the core dies is given up the fourth time, refused, and
// stays refused.
func TestPoisonedInput(t *testing.T) {
	r := ready(t, 1<<16)
	r.produce(ipc.LevelDisk)
	r.produce(ipc.LevelDisk) // this one
	poison := func(s *Shell) func(int64, core.Input) {
		return func(now int64, in core.Input) {
			if h, _ := ipc.PeekHead(in.Payload); h.Req == 3 && in.Refuse == "" && in.Known == nil {
				panic("the core dies")
			}
			s.core.Step(now, in)
		}
	}
	die := func() (died bool) {
		defer func() { died = recover() != nil }()
		r.settle()
		return false
	}
	r.shell.step = poison(r.shell)
	for n := 1; n <= maxDeaths; n++ {
		if !die() {
			t.Fatalf("the core has died %d times only", n-1)
		}
		r.start()
		r.shell.step = poison(r.shell)
	}
	if die() {
		t.Fatal("the core dies again")
	}
	r.write()
	r.sync()
	r.settle()
	got := r.replies()
	if i := slices.Index(got, "appended req=2 base=0"); i < 0 || len(got) != i+2 || !strings.HasPrefix(got[i+1], "error req=3 code=1 ") {
		t.Fatalf("replies %q", got)
	}
	if len(r.parked) != 1 || r.parked[0].Type != ipc.TypeAppend {
		t.Fatalf("parked %+v", r.parked)
	}
}

// TestStatusIsMirrored: connsrv sees persistsrv's status, and is woken for it.
func TestStatusIsMirrored(t *testing.T) {
	r := ready(t, 1<<16)
	rung := 0
	r.b.Bell().SetWake(func() { rung++ })
	for _, status := range []uint64{shmqueue.StatusRecovered | shmqueue.StatusDiskFull, shmqueue.StatusRecovered} {
		r.b.Bell().Arm()
		r.c.Word(shmqueue.WordStatus).Store(status)
		r.settle()
		if got := r.b.Word(shmqueue.WordStatus).Load(); got != status {
			t.Fatalf("ring 54321 shows %d, persistsrv %d", got, status)
		}
	}
	if rung != 2 {
		t.Fatalf("rung %d times", rung)
	}
}

// TestRunStopsDrained: Run sleeps and wakes, and stops when everything is in a checkpoint.
func TestRunStopsDrained(t *testing.T) {
	r := ready(t, 1<<16)
	var mu sync.Mutex // the log writer's rig
	done, quit := make(chan error, 1), make(chan struct{})
	go func() { done <- r.shell.Run() }()
	var writer sync.WaitGroup
	writer.Add(1)
	go func() {
		defer writer.Done()
		for {
			select {
			case <-quit:
				return
			case <-time.After(time.Millisecond):
			}
			mu.Lock()
			r.write()
			r.sync()
			mu.Unlock()
			r.a.Bell().Ring()
		}
	}()
	mu.Lock()
	r.produce(ipc.LevelDisk)
	mu.Unlock()
	r.a.Bell().Ring()
	r.shell.Stop()
	err := <-done
	close(quit)
	writer.Wait()
	r.must(err)
	r.want("appended req=2 base=0")
	if r.stored != 1 || r.a.Head() != r.a.Tail() {
		t.Fatalf("%d checkpoints, ring 12345 [%d, %d)", r.stored, r.a.Head(), r.a.Tail())
	}
}

// TestRunLeaves: a shell that is to leave does so though nothing of what it has taken in is durable;
// its successor answers that.
func TestRunLeaves(t *testing.T) {
	r := ready(t, 1<<16)
	r.produce(ipc.LevelDisk)
	done := make(chan error, 1)
	go func() { done <- r.shell.Run() }()
	r.shell.Leave()
	if err := <-done; !errors.Is(err, ErrLeft) {
		t.Fatal(err)
	}
	if r.stored != 0 || r.a.Head() == r.a.Tail() {
		t.Fatalf("%d checkpoints, ring 12345 [%d, %d): it has drained", r.stored, r.a.Head(), r.a.Tail())
	}
	r.settle()
	r.write()
	r.sync()
	r.start()
	r.settle()
	r.want("marker term=2 ask=1", "appended req=2 base=0")
}
