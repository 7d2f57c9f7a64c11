package shell

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/trimq/trimq/logicsrv/replay"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/shmqueue"
)

// order lets the shell order a checkpoint of what is written.
func (r *rig) order() {
	r.t.Helper()
	r.step()
	r.shell.checkpoint.wanted = true
	r.step()
	if !r.shell.checkpoint.ordered {
		r.t.Fatal("no checkpoint was ordered")
	}
}

// step is one of the shell's, without what it has beside it.
func (r *rig) step() (progress bool) {
	r.t.Helper()
	progress, err := r.shell.Step()
	r.must(err)
	return progress
}

// newest is the newest stored checkpoint.
func (r *rig) newest() (blob []byte, lsn, resultsFrom uint64) {
	r.t.Helper()
	blob, lsn, resultsFrom, err := commitlog.LatestCheckpoint(commitlog.DirFS(r.dir))
	r.must(err)
	return blob, lsn, resultsFrom
}

// TestCheckpointBesideTheLoop: turns go on while a checkpoint is made, it is the state of the moment
// at which it was ordered, and it leads to the results of what is still in ring 12345 when it is
// sent.
func TestCheckpointBesideTheLoop(t *testing.T) {
	r := ready(t, 1<<16)
	r.produce(ipc.LevelDisk)
	r.settle()
	r.write()
	r.step()
	live := r.shell.core.Checkpoint(nil)
	r.order()
	for range 3 {
		r.produce(ipc.LevelDisk)
		r.step()
		r.write()
	}
	r.settle()
	r.write()
	blob, lsn, from := r.newest()
	if lsn != 2 || !bytes.Equal(blob, live) {
		t.Fatalf("lsn=%d\nmade %x\nlive %x", lsn, blob, live)
	}
	if from != 2 {
		t.Fatalf("results from lsn=%d; the input of lsn=2 is in ring 12345", from)
	}
	if rec := r.start(); rec.CheckpointLSN != 2 || rec.Entries != 3 || rec.Known != 4 {
		t.Fatalf("recovery %+v", rec)
	}
	r.settle()
	r.sync()
	r.settle()
	r.want("marker term=2 ask=1", "appended req=2 base=0", "appended req=3 base=1", "appended req=4 base=2", "appended req=5 base=3")
}

// TestResultsFromIsOfTheSending: what has left ring 12345 while the checkpoint was made needs no
// log any more.
func TestResultsFromIsOfTheSending(t *testing.T) {
	r := ready(t, 1<<16)
	r.produce(ipc.LevelDisk)
	r.settle()
	r.write()
	r.order()
	for range 3 {
		r.produce(ipc.LevelDisk)
		r.step()
		r.write()
		r.sync()
	}
	r.step()
	r.settle()
	r.write()
	if _, lsn, from := r.newest(); lsn != 2 || from != 6 {
		t.Fatalf("lsn=%d, results from lsn=%d", lsn, from)
	}
	if rec := r.start(); rec.CheckpointLSN != 2 || rec.Entries != 3 || rec.Known != 0 {
		t.Fatalf("recovery %+v", rec)
	}
}

// TestCheckpointOnlyOfChanges: without a new entry none is made, whatever the time.
func TestCheckpointOnlyOfChanges(t *testing.T) {
	r := ready(t, 1<<16)
	r.order()
	r.settle()
	r.write()
	for range 10 {
		r.now += 1 << 40
		r.shell.checkpoint.wanted = true
		r.settle()
		r.write()
	}
	if r.stored != 1 {
		t.Fatalf("%d checkpoints", r.stored)
	}
}

// TestCheckpointRests: a checkpoint that was long in the making is long not followed by another.
func TestCheckpointRests(t *testing.T) {
	for _, c := range []struct {
		name      string
		took      int64
		processor time.Duration
		gap       int64
		share     int
		rest      int64 // since it was ordered
	}{
		{"by the clock", 50, 0, 1, 10, 500},
		{"by the processor", 5000, 50 * time.Millisecond, 1, 10, 500},
		{"half", 50, 0, 1, 50, 100},
		{"all", 50, 0, 1, 100, 50},
		{"a small state", 1, 0, 1000, 10, 1000},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := ready(t, 1<<16)
			r.shell.opt.Limits.CheckpointGapMS, r.shell.opt.Limits.ReplayShare = c.gap, c.share
			r.order()
			began := r.now
			r.now += c.took
			<-r.shell.replay.orders
			r.shell.replay.made <- made{lsn: 1, Result: replay.Result{Blob: []byte("state"), Processor: c.processor}}
			r.settle()
			r.write()
			r.produce(ipc.LevelPage)
			r.settle()
			r.write()
			r.shell.checkpoint.wanted = true
			for r.step(); !r.shell.checkpoint.ordered; r.step() {
				r.now++
			}
			if rest := r.now - began; rest != max(c.rest, c.took) {
				t.Errorf("the next one is ordered after %d ms, want %d", rest, c.rest)
			}
		})
	}
}

// unreadable is a data directory that cannot be read while broken holds.
type unreadable struct {
	commitlog.FS
	broken *bool
}

var errUnreadable = errors.New("input/output error")

func (u unreadable) List(dir string) ([]string, error) {
	if *u.broken {
		return nil, errUnreadable
	}
	return u.FS.List(dir)
}

// TestLogCannotBeReplayed: the broker goes on; the third time the live core's state is taken, and
// from there on all is as before.
func TestLogCannotBeReplayed(t *testing.T) {
	r := ready(t, 1<<16)
	broken := true
	var said strings.Builder
	r.shell.opt.Log = slog.New(slog.NewTextHandler(&said, nil))
	r.shell.replay.fs = unreadable{commitlog.DirFS(r.dir), &broken}
	for n := 1; n <= maxReplays; n++ {
		r.order()
		r.settle()
		r.write()
		if got := strings.Count(said.String(), "could not be replayed"); got != n || r.stored != 0 {
			t.Fatalf("told %d times of %d, %d checkpoints:\n%s", got, n, r.stored, said.String())
		}
		r.now += replayRetryMS
	}
	r.produce(ipc.LevelPage)
	r.settle()
	r.write()
	r.settle()
	r.write()
	if blob, lsn, _ := r.newest(); lsn != 2 || !bytes.Equal(blob, r.shell.core.Checkpoint(nil)) {
		t.Fatalf("lsn=%d", lsn)
	}
	if got := said.String(); !strings.Contains(got, "stands still") || !strings.Contains(got, errUnreadable.Error()) {
		t.Errorf("said %s", got)
	}
	broken = false
	r.produce(ipc.LevelPage)
	r.settle()
	r.write()
	r.order()
	r.settle()
	r.write()
	if _, lsn, _ := r.newest(); lsn != 3 || r.shell.n.replayFailures != maxReplays {
		t.Fatalf("lsn=%d, %d failures", lsn, r.shell.n.replayFailures)
	}
}

// TestLogIsNotReadWhileInDoubt: after a failed sync, persistsrv is about to write files anew.
func TestLogIsNotReadWhileInDoubt(t *testing.T) {
	r := ready(t, 1<<16)
	status := r.c.Word(shmqueue.WordStatus)
	status.Or(shmqueue.StatusSyncFailed)
	r.shell.checkpoint.wanted = true
	r.settle()
	if r.shell.checkpoint.ordered || r.shell.checkpoint.lsn != 0 {
		t.Fatal("a checkpoint is made of a log that is in doubt")
	}
	status.And(^uint64(shmqueue.StatusSyncFailed))
	r.order()
}

// TestLiveGoesFirst: a checkpoint of the live core takes the place of one that is being sent, and
// one that was ordered before it comes too late.
func TestLiveGoesFirst(t *testing.T) {
	r := ready(t, 1<<16)
	r.order()
	for !r.shell.StepReplay() || len(r.shell.replay.made) == 0 {
	}
	r.produce(ipc.LevelPage)
	r.shell.checkpoint.live = true
	r.settle()
	r.write()
	r.settle()
	r.write()
	if _, lsn, _ := r.newest(); lsn != 2 || r.stored != 1 {
		t.Fatalf("lsn=%d, %d checkpoints", lsn, r.stored)
	}
	r.produce(ipc.LevelPage)
	r.settle()
	r.write()
	r.order()
	r.shell.opt.Limits.TurnInputs = 1
	for r.shell.checkpoint.out.part == 0 { // the first part is on its way
		r.shell.StepReplay()
		r.step()
		if r.shell.checkpoint.out.total == 1 {
			r.shell.checkpoint.out.total = 2 // and the second will not come
		}
	}
	r.produce(ipc.LevelPage)
	r.shell.checkpoint.live = true
	r.settle()
	r.write()
	if _, lsn, _ := r.newest(); lsn != 4 || r.stored != 2 {
		t.Fatalf("lsn=%d, %d checkpoints", lsn, r.stored)
	}
}

// TestPartsLeaveRoom: one part in a turn, and few in ring 65432 at a time, so that entries find room.
func TestPartsLeaveRoom(t *testing.T) {
	r := ready(t, 1<<16)
	r.order()
	<-r.shell.replay.orders
	blob := bytes.Repeat([]byte("state"), 20_000)
	r.shell.replay.made <- made{lsn: 1, Result: replay.Result{Blob: blob}}
	r.step()
	out := &r.shell.checkpoint.out
	total := out.total
	if total < 3*partsUnderWay {
		t.Fatalf("%d parts", total)
	}
	for n := uint32(1); n <= partsUnderWay; n++ {
		r.step()
		if out.part != n {
			t.Fatalf("%d parts after %d turns", out.part, n)
		}
	}
	r.settle()
	if out.part != partsUnderWay {
		t.Fatalf("%d parts are under way", out.part)
	}
	if !r.shell.stillIdle() {
		t.Fatal("nothing to do, and not idle")
	}
	r.produce(ipc.LevelPage)
	r.settle()
	if r.shell.entryLSN != 0 {
		t.Fatal("an entry finds no room")
	}
	r.write()
	if r.shell.stillIdle() {
		t.Fatal("ring 65432 has room again, and the shell would sleep")
	}
	for range 100 {
		r.settle()
		r.write()
	}
	if got, lsn, _ := r.newest(); lsn != 1 || !bytes.Equal(got, blob) {
		t.Fatalf("lsn=%d, %d bytes", lsn, len(got))
	}
	if r.shell.n.checkpointBytes != uint64(len(blob)) {
		t.Errorf("%d bytes are counted", r.shell.n.checkpointBytes)
	}
}

// TestRunMakesCheckpoints: Run sees to the orders, in this process and in one of its own, and ends
// in the middle of one.
func TestRunMakesCheckpoints(t *testing.T) {
	for _, c := range []struct {
		name    string
		process bool
	}{{"goroutine", false}, {"process", true}} {
		t.Run(c.name, func(t *testing.T) {
			r := ready(t, 1<<16)
			r.shell.opt.Limits.CheckpointEvents = 1
			r.shell.opt.Limits.CheckpointGapMS, r.shell.opt.Limits.ReplayShare = 1, 100
			r.shell.opt.Now = func() int64 { return time.Now().UnixMilli() }
			if c.process {
				r.shell.replay.beside = replay.Process{Path: replay.Self, Data: r.dir}.Make
			}
			done := make(chan error, 1)
			go func() { done <- r.shell.Run() }()
			deadline := time.Now().Add(time.Minute)
			for req := 0; r.stored < 2 && time.Now().Before(deadline); req++ {
				if req < 1000 {
					r.produce(ipc.LevelPage)
				}
				r.a.Bell().Ring()
				time.Sleep(time.Millisecond)
				r.write()
				r.sync()
				r.a.Bell().Ring()
				r.replies()
			}
			if r.stored < 2 {
				t.Errorf("%d checkpoints", r.stored)
			}
			r.shell.Stop()
			for {
				select {
				case err := <-done:
					r.must(err)
					if _, lsn, _ := r.newest(); lsn != r.lsn {
						t.Errorf("the last checkpoint is of lsn=%d, the last entry is lsn=%d", lsn, r.lsn)
					}
					return
				case <-time.After(time.Millisecond):
					r.write()
					r.sync()
					r.a.Bell().Ring()
				}
			}
		})
	}
}

// TestLongest: a long turn is shown for at least as long as somebody may take to look.
func TestLongest(t *testing.T) {
	var l longest
	for _, step := range []struct {
		ms   int64
		took time.Duration
		want time.Duration
	}{
		{1_000_000, 5, 5},
		{1_000_001, 3, 5},
		{1_029_999, 9, 9},
		{1_030_000, 1, 9},
		{1_059_999, 2, 9},
		{1_060_000, 1, 2},
		{1_090_000, 1, 1},
		{1_100_000, 8, 8},
		{1_200_000, 1, 1},
	} {
		l.note(step.took, step.ms)
		if got, _ := l.show(); got != step.want {
			t.Errorf("at %d: %v, want %v", step.ms, got, step.want)
		}
	}
	if _, changed := l.show(); changed {
		t.Error("it changes while it is looked at")
	}
}

// TestMain lets the test be a process that replays.
func TestMain(m *testing.M) {
	if replay.Asked(os.Args) {
		os.Exit(replay.Child(os.Args, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}
