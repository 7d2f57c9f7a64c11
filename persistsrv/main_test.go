package main

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trimq/trimq/persistsrv/seglog"
	"github.com/trimq/trimq/persistsrv/shell"
	"github.com/trimq/trimq/persistsrv/vfs"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
	"github.com/trimq/trimq/shmqueue"
	"github.com/trimq/trimq/shmqueue/tier"
	"golang.org/x/sys/unix"
)

func heapRing(t *testing.T, nonce uint64) *shmqueue.Ring {
	mem := make([]byte, shmqueue.MemorySize(1<<16))
	if err := shmqueue.Format(mem, 1<<16, nonce); err != nil {
		t.Fatal(err)
	}
	r, err := shmqueue.Open(mem)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// daemon is a shell over memory with the rings' other ends.
type daemon struct {
	s    *shell.Shell
	mem  *vfs.Mem
	c    *shmqueue.Ring
	prod *shmqueue.Producer
}

func newDaemon(t *testing.T) *daemon {
	d := &daemon{mem: vfs.NewMem(), c: heapRing(t, 2)}
	var err error
	if d.prod, err = d.c.Producer(); err != nil {
		t.Fatal(err)
	}
	d.s, err = shell.New(shell.Options{
		FS: d.mem, RingA: heapRing(t, 1), RingC: d.c, Now: func() int64 { return time.Now().UnixMilli() }, Salt: salt,
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *daemon) put(t *testing.T, lsn uint64) {
	e := journal.Entry{LSN: lsn, Term: 1, Level: ipc.LevelDisk}
	if _, err := d.prod.Put(uint16(ipc.TypeEntry), 0, e.AppendRing(nil)); err != nil {
		t.Fatal(err)
	}
	d.c.Bell().Ring()
}

// TestLoop shows that the loop, asleep in between, syncs what comes, and ends when it is told
// to with everything done.
func TestLoop(t *testing.T) {
	d := newDaemon(t)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- loop(ctx, d.s, &pace{}, d.c.Bell(), new(atomic.Bool)) }()
	synced := d.c.Word(shmqueue.WordSynced)
	for lsn := uint64(1); lsn <= 20; lsn++ {
		d.put(t, lsn)
		for synced.Load() < lsn {
			time.Sleep(time.Millisecond)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if d.c.Head() != d.c.Tail() {
		t.Fatalf("the ring still holds %d bytes", d.c.Tail()-d.c.Head())
	}
}

// TestLoopEndsAtFailedSync shows that a failed sync ends the process, that nothing of it is
// told to be synced, and that the successor knows of it.
func TestLoopEndsAtFailedSync(t *testing.T) {
	d := newDaemon(t)
	d.mem.SetFault(func(c vfs.Call) error {
		if c.Op == "sync" && strings.HasPrefix(c.Name, commitlog.LogDir) {
			return unix.EIO
		}
		return nil
	})
	d.put(t, 1)
	err := loop(context.Background(), d.s, &pace{}, d.c.Bell(), new(atomic.Bool))
	if !errors.Is(err, seglog.ErrSync) || !errors.Is(err, unix.EIO) {
		t.Fatal(err)
	}
	if synced := d.c.Word(shmqueue.WordSynced).Load(); synced != 0 {
		t.Fatalf("synced is %d", synced)
	}
	if d.c.Word(shmqueue.WordStatus).Load()&shmqueue.StatusSyncFailed == 0 {
		t.Fatal("the status does not say it")
	}
}

// TestLoopLeaves shows that a loop which is to leave does so in the middle of the work, but not in
// that of a sync, and that the successor finds nothing to doubt.
func TestLoopLeaves(t *testing.T) {
	d := newDaemon(t)
	var leave atomic.Bool
	began, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	d.mem.SetFault(func(c vfs.Call) error {
		if c.Op == "sync" && strings.HasPrefix(c.Name, commitlog.LogDir) {
			once.Do(func() {
				close(began)
				<-goOn
			})
		}
		return nil
	})
	ended := make(chan error, 1)
	go func() { ended <- loop(context.Background(), d.s, &pace{}, d.c.Bell(), &leave) }()
	d.put(t, 1)
	<-began
	leave.Store(true)
	d.c.Bell().Ring()
	select {
	case err := <-ended:
		t.Fatalf("left in the middle of a sync: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	close(goOn)
	if err := <-ended; !errors.Is(err, tier.ErrHandOver) {
		t.Fatal(err)
	}
	if synced, status := d.c.Word(shmqueue.WordSynced).Load(), d.c.Word(shmqueue.WordStatus).Load(); synced != 1 || status&shmqueue.StatusSyncFailed != 0 {
		t.Fatalf("synced is %d, status %#x", synced, status)
	}
}

// TestLoopThatStopsDoesNotLeave: what stops the broker removes the rings, so all must be done.
func TestLoopThatStopsDoesNotLeave(t *testing.T) {
	d := newDaemon(t)
	ctx, stop := context.WithCancel(context.Background())
	stop()
	var leave atomic.Bool
	leave.Store(true)
	for lsn := uint64(1); lsn <= 20; lsn++ {
		d.put(t, lsn)
	}
	if err := errors.Join(loop(ctx, d.s, &pace{}, d.c.Bell(), &leave), d.s.Finish()); err != nil {
		t.Fatal(err)
	}
	if d.c.Head() != d.c.Tail() {
		t.Fatalf("the ring still holds %d bytes", d.c.Tail()-d.c.Head())
	}
}
