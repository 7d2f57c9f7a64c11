package shell

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/trimq/trimq/persistsrv/vfs"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/shmqueue"
	"golang.org/x/sys/unix"
)

// scriptTurns keeps a sweep over all calls of a script short enough for every run of the tests.
const scriptTurns = 45

// calls counts the file system calls of an undisturbed run.
func calls(t *testing.T, seed uint64) int {
	r := newRig(t, script(seed, scriptTurns))
	r.run(func() { t.Fatal("died") })
	return r.mem.Calls()
}

// check compares log and indexes with the script when all of it is durable, and again after
// the indexes were thrown away and made anew from the log.
func (r *rig) check() {
	r.t.Helper()
	if n := r.logged(); n != len(r.turns) {
		r.t.Fatalf("the log ends at lsn %d of %d", n, len(r.turns))
	}
	r.checkIndexes(len(r.turns))
	r.sh = nil
	r.mem.SetFault(nil)
	r.mem.Kill()
	fsys := vfs.Reading(r.mem)
	ids, err := commitlog.ListIndexes(fsys)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, id := range ids[:len(ids)/2+1] {
		bases, err := commitlog.ListIndexFiles(fsys, id)
		if err != nil {
			r.t.Fatal(err)
		}
		if err := r.mem.Remove(commitlog.IndexName(id, bases[len(bases)-1])); err != nil {
			r.t.Fatal(err)
		}
	}
	if err := r.start(); err != nil {
		r.t.Fatal(err)
	}
	r.checkIndexes(len(r.turns))
	if d := r.sh.Damages(); len(d) > 0 {
		r.t.Fatalf("damages: %v", d)
	}
}

// TestKillAtEveryCall kills persistsrv before each call that it makes, and in the middle of
// each write. The page cache survives: nothing written may be missing, whatever its level.
func TestKillAtEveryCall(t *testing.T) {
	for at, n := 1, calls(t, 2); at <= n; at += stride {
		r := newRig(t, script(2, scriptTurns))
		r.mem.SetFault(func(c vfs.Call) error {
			if c.N != at {
				return nil
			}
			if c.Op == "write" {
				return &vfs.Partial{N: at * 13 % 900, Err: vfs.ErrKilled}
			}
			return vfs.ErrKilled
		})
		r.run(func() {
			if n := r.logged(); n < int(r.told) {
				t.Fatalf("killed at call %d: written was %d, the log ends at %d", at, r.told, n)
			}
		})
		r.check()
	}
}

// TestErrorAtEveryCall makes each call fail once. A full disk ends nothing but a sync; any
// other error ends the process, and its successor goes on.
func TestErrorAtEveryCall(t *testing.T) {
	for _, errno := range []error{unix.EIO, unix.ENOSPC} {
		for at, n := 1, calls(t, 3); at <= n; at += stride {
			r := newRig(t, script(3, scriptTurns))
			var op string
			r.mem.SetFault(func(c vfs.Call) error {
				if c.N != at {
					return nil
				}
				op = c.Op
				if c.Op == "write" {
					return &vfs.Partial{N: at * 17 % 700, Err: errno}
				}
				return errno
			})
			r.run(func() {
				if writes := strings.Contains("create write reserve truncate mkdir rename", op); errno == unix.ENOSPC && writes {
					t.Fatalf("died of a full disk in call %d, %s", at, op)
				}
			})
			r.check()
		}
	}
}

// powerCut runs a script up to a power cut at one call and returns what is wrong afterwards.
func powerCut(t *testing.T, seed uint64, at int, lies bool) (wrong error) {
	r := newRig(t, script(seed, scriptTurns))
	r.mem.LieAboutSync(lies)
	rng := rand.New(rand.NewPCG(seed, uint64(at)))
	cut := false
	r.mem.SetFault(func(c vfs.Call) error {
		if c.N == at {
			if c.Op == "write" {
				return &vfs.Partial{N: rng.IntN(900), Err: vfs.ErrKilled}
			}
			return vfs.ErrKilled
		}
		return nil
	})
	var synced uint64
	r.run(func() {
		if cut {
			t.Fatal("died twice")
		}
		cut = true
		r.mem.Crash(rng)
		r.mem.LieAboutSync(false)
		synced = r.synced
		r.boot()
		if wrong = r.afterBoot(synced); wrong != nil {
			r.synced = uint64(len(r.turns)) // ends the run
		}
	})
	if wrong == nil {
		r.check()
	}
	return wrong
}

// afterBoot starts persistsrv on what the power cut left, and lets logicsrv go on behind it.
func (r *rig) afterBoot(synced uint64) error {
	if err := r.start(); err != nil {
		return err
	}
	last := int(r.sh.Log().Written())
	if last < int(synced) {
		return fmt.Errorf("lsn %d was synced, the log ends at %d", synced, last)
	}
	if d := r.sh.Damages(); len(d) > 0 {
		return &d[0]
	}
	n, err := r.readLog()
	if err != nil {
		return err
	}
	if n != last {
		return fmt.Errorf("written says %d, the log ends at %d", last, n)
	}
	if err := r.compareIndexes(last); err != nil {
		return err
	}
	_, lsn, _, err := commitlog.LatestCheckpoint(vfs.Reading(r.mem))
	if err != nil && !errors.Is(err, commitlog.ErrNoCheckpoint) {
		return err
	}
	if int(lsn) > last {
		return fmt.Errorf("checkpoint at lsn %d, the log ends at %d", lsn, last)
	}
	r.sent = last
	r.synced = 0
	return nil
}

// TestPowerCutAtEveryCall cuts the power at each call, several times with other dice: of what
// was not synced, any sectors survive. What was told to be synced must be there and whole.
func TestPowerCutAtEveryCall(t *testing.T) {
	seeds := uint64(2)
	if testing.Short() {
		seeds = 1
	}
	for seed := uint64(10); seed < 10+seeds; seed++ {
		for at, n := 1, calls(t, seed); at <= n; at += stride {
			if err := powerCut(t, seed, at, false); err != nil {
				t.Fatalf("seed %d, power cut at call %d: %v", seed, at, err)
			}
		}
	}
}

// TestPowerCutFindsMissingSync is the control: without syncs the test above must fail.
func TestPowerCutFindsMissingSync(t *testing.T) {
	found := 0
	n := calls(t, 10)
	for at := 1; at <= n; at += 3 {
		if powerCut(t, 10, at, true) != nil {
			found++
		}
	}
	if found < n/12 {
		t.Fatalf("only %d of %d power cuts without syncs were noticed", found, n/3)
	}
}

// failedSync lets one sync of a script fail, lets persistsrv go on to some LSN or the end, and
// cuts the power there. believe makes the successor forget that the sync has failed.
func failedSync(t *testing.T, at, until int, believe bool) (wrong error) {
	r := newRig(t, script(5, scriptTurns))
	syncs := 0
	r.mem.SetFault(func(c vfs.Call) error {
		if c.Op == "sync" && strings.HasPrefix(c.Name, commitlog.LogDir) {
			if syncs++; syncs == at {
				return unix.EIO
			}
		}
		return nil
	})
	rng := rand.New(rand.NewPCG(5, uint64(at)))
	reached := errors.New("reached")
	for n := 0; wrong == nil && !r.done() && r.synced < uint64(until); n++ {
		err := reached
		if r.sh == nil {
			err = r.start()
		}
		if r.sh != nil {
			err = r.step(n)
		}
		if err != nil {
			r.sh = nil
			r.mem.Kill()
			if believe {
				r.ringC.Word(shmqueue.WordStatus).Store(0)
			}
		}
	}
	r.sh = nil
	synced := r.synced
	r.mem.SetFault(nil) // the first sync after the boot shall not be the one that fails
	r.mem.Crash(rng)
	r.boot()
	return r.afterBoot(synced)
}

// TestFailedSync shows that what a failed sync was to cover is written again before it is
// told to be synced: the kernel has dropped it, and a second sync would have said yes. The
// control believes the second sync, and loses entries.
func TestFailedSync(t *testing.T) {
	lost := 0
	for at := 1; at <= 12; at++ {
		for until := 5; until <= scriptTurns; until += 5 {
			if err := failedSync(t, at, until, false); err != nil {
				t.Fatalf("sync %d failed, power cut at lsn %d: %v", at, until, err)
			}
			if failedSync(t, at, until, true) != nil {
				lost++
			}
		}
	}
	if lost < 5 {
		t.Fatalf("the control has lost entries in %d runs only", lost)
	}
}
