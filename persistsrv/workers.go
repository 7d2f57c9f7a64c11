package main

import (
	"sync"
	"sync/atomic"

	"github.com/trimq/trimq/persistsrv/shell"
	"github.com/trimq/trimq/shmqueue"
)

// worker runs a job in a goroutine of its own whenever it was kicked; kicks while it runs
// become one more run.
type worker struct {
	kicks chan struct{}
}

func (w *worker) kick() {
	select {
	case w.kicks <- struct{}{}:
	default:
	}
}

// workers are the goroutines beside the loop. The first error of any of them is kept; the
// loop ends the process with it.
type workers struct {
	sync, maintain, compact worker
	failure                 atomic.Pointer[error]
	running                 sync.WaitGroup
}

func startWorkers(s *shell.Shell, bell *shmqueue.Bell) *workers {
	w := &workers{sync: worker{make(chan struct{}, 1)}, maintain: worker{make(chan struct{}, 1)}, compact: worker{make(chan struct{}, 1)}}
	w.run(&w.sync, s.SyncLog, bell)
	w.run(&w.maintain, s.Maintain, bell)
	w.run(&w.compact, s.Compact, bell)
	return w
}

func (w *workers) run(k *worker, job func() error, bell *shmqueue.Bell) {
	w.running.Add(1)
	go func() {
		defer w.running.Done()
		for range k.kicks {
			if err := job(); err != nil {
				w.failure.CompareAndSwap(nil, &err)
				bell.Ring() // the loop may be asleep
				return
			}
		}
	}()
}

func (w *workers) err() error {
	if err := w.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// stop waits for what is under way.
func (w *workers) stop() {
	close(w.sync.kicks)
	close(w.maintain.kicks)
	close(w.compact.kicks)
	w.running.Wait()
}
