// Persistsrv is the tier of TriMQ that owns the disk: the commit log, its indexes,
// checkpoints, sync and retention. See ARCHITECTURE.md.
//
// Goroutines: the main one drains ring 65432, and syncs where that delays nobody; one syncs otherwise, one
// maintains, one compacts. If the process
// dies, its successor finds what was not written in ring 65432 and goes on.
package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/trimq/trimq/persistsrv/shell"
	"github.com/trimq/trimq/persistsrv/vfs"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/shmqueue"
	"github.com/trimq/trimq/shmqueue/tier"
)

func main() { os.Exit(tier.Main("persistsrv", run)) }

func run(ctx context.Context, p *tier.Process) error {
	memory, err := p.Attach()
	if err != nil {
		return err
	}
	fs, err := vfs.NewOS(p.Config.DataDir)
	if err != nil {
		return fmt.Errorf("%w: %w", tier.ErrUsage, err)
	}
	slow := &pace{perSecond: int64(p.Config.CompactBytesPerSecond)}
	s, err := openShell(ctx, p, shell.Options{
		FS: fs, RingA: memory.Request.Ring(), RingC: memory.Log.Ring(),
		Settings: settings(p.Config), Now: func() int64 { return time.Now().UnixMilli() },
		Salt: salt, Pace: slow.wait, Log: p.Log, Counters: memory.Metrics.Tier(shmqueue.TierPersist),
	})
	if err != nil {
		return err
	}
	p.OnState(func(w io.Writer) { fmt.Fprintf(w, "%+v damages=%v", s.Log().Stats(), s.Damages()) })
	p.OnReload(func(c *tier.Config) { s.SetReserve(int64(c.DiskReserveBytes)) })
	if err := p.Ready(); err != nil {
		return err
	}
	var leave atomic.Bool
	p.OnHandOver(func() {
		leave.Store(true)
		memory.Log.Ring().Bell().Ring()
	})
	switch err := loop(ctx, s, slow, memory.Log.Ring().Bell(), &leave); {
	case errors.Is(err, tier.ErrHandOver):
		return errors.Join(err, s.Close(), memory.Detach())
	case err != nil:
		return err
	}
	return errors.Join(s.Finish(), s.Close(), memory.Detach())
}

// openShell waits for room where the disk is so full that not even a start is possible.
func openShell(ctx context.Context, p *tier.Process, o shell.Options) (*shell.Shell, error) {
	for {
		s, err := shell.New(o)
		switch {
		case errors.Is(err, vfs.ErrLocked):
			return nil, fmt.Errorf("%w: %w", tier.ErrInUse, err)
		case errors.Is(err, commitlog.ErrVersion): // no better at the next try
			return nil, fmt.Errorf("%w: %w", tier.ErrUsage, err)
		case !errors.Is(err, shell.ErrFull):
			return s, err
		}
		p.Log.Error("the disk is full; waiting for room", "data_dir", p.Config.DataDir, "err", err)
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(time.Second):
		}
	}
}

// salt is a random number that nobody can guess.
func salt() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:])
}

func settings(c *tier.Config) shell.Settings {
	return shell.Settings{
		SegmentBytes: int64(c.SegmentBytes), SegmentSeconds: c.SegmentSeconds, IndexEntries: c.IndexEntries,
		DiskReserveBytes: int64(c.DiskReserveBytes), PageFlushMS: int64(c.PageFlushMS), RetentionCheckMS: int64(c.RetentionCheckMS),
		CheckpointBytes: int64(c.CheckpointBytes), CheckpointMS: int64(c.CheckpointSeconds) * 1000,
		CompactMS: int64(c.CompactMS), CompactKeys: c.CompactKeys, CompactBytes: int64(c.CompactBytes),
	}
}

// syncDue syncs, or has it done, where that is due; done says that it is over.
func syncDue(s *shell.Shell, w *workers) (done bool, err error) {
	if !s.SyncDue() {
		return false, nil
	}
	if done, err = s.SyncAtOnce(); !done {
		w.sync.kick()
	}
	return done, err
}

// loop steps until ctx ends and everything that stands in the ring is done with, or, unless ctx has
// ended, until it is to leave: then the successor goes on as after a death, but no sync is broken
// off, of which nobody would know how it ended. A failed sync ends it with that error: the process
// exits, and what was not synced stays unsaid.
func loop(ctx context.Context, s *shell.Shell, slow *pace, bell *shmqueue.Bell, leave *atomic.Bool) (err error) {
	w := startWorkers(s, bell)
	defer func() {
		slow.end()
		w.stop()
		if failed := w.err(); err == tier.ErrHandOver && failed != nil {
			err = failed
		}
	}()
	defer context.AfterFunc(ctx, func() { bell.Ring() })()
	for {
		progress, err := s.Step()
		if err == nil {
			err = w.err()
		}
		if err != nil {
			return err
		}
		if leave.Load() && ctx.Err() == nil {
			return tier.ErrHandOver
		}
		synced, err := syncDue(s, w)
		if err != nil {
			return err
		}
		progress = progress || synced
		if s.MaintainDue() {
			w.maintain.kick()
		}
		if s.CompactDue() {
			w.compact.kick()
		}
		if progress {
			continue
		}
		if ctx.Err() != nil && s.Idle() {
			return nil
		}
		bell.Sleep(func() bool { return s.Idle() && ctx.Err() == nil && !leave.Load() && w.err() == nil }, s.NextWake())
	}
}
