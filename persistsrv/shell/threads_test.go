package shell

import (
	"sync"
	"sync/atomic"
	"testing"
)

// TestThreeGoroutines runs Step, SyncLog and Maintain as the daemon does, each in its own
// goroutine: under the race detector it shows that they share nothing without a lock.
func TestThreeGoroutines(t *testing.T) {
	r := newRig(t, script(40, 400))
	r.set.CheckpointBytes, r.set.PageFlushMS = 1<<10, 1
	if err := r.start(); err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	var others sync.WaitGroup
	work := func(job func() error) {
		others.Go(func() {
			for !stop.Load() {
				if err := job(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	sh := r.sh
	work(sh.SyncLog)
	work(sh.Maintain)
	work(func() error { sh.Log().Stats(); sh.Damages(); return nil })
	for n := 0; !r.done() && !t.Failed(); n++ {
		r.send(3)
		if _, err := sh.Step(); err != nil {
			t.Fatal(err)
		}
		_, _ = sh.SyncDue(), sh.MaintainDue()
		r.follow()
	}
	stop.Store(true)
	others.Wait()
	if n := r.logged(); n != len(r.turns) {
		t.Fatalf("the log ends at lsn %d", n)
	}
	r.checkIndexes(len(r.turns))
	if s := sh.Log().Stats(); s.Removed == 0 || s.Checkpoints == 0 {
		t.Fatalf("nothing was maintained: %+v", s)
	}
}
