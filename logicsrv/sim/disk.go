//go:build failpoints

package sim

import (
	"errors"
	"math/rand/v2"
	"strings"

	"github.com/trimq/trimq/persistsrv/vfs"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/failpoint"
	"golang.org/x/sys/unix"
)

// disk is persistsrv's file system: the crash-able one, with a failpoint at every call and
// faults when the history wants them.
type disk struct {
	*vfs.Mem
	mem *vfs.Mem
	w   *world

	full       bool
	unreadable bool // for those who make checkpoints
	failSyncs  int  // of the next syncs fail
	excused    int  // failures that were injected and may end persistsrv
}

func newDisk(w *world) *disk {
	d := &disk{mem: vfs.NewMem(), w: w}
	d.Mem = d.mem
	d.mem.SetFault(d.fault)
	d.mem.LieAboutSync(failpoint.Broken("sync-skipped"))
	return d
}

// fault sees every call before it happens.
func (d *disk) fault(c vfs.Call) error {
	w := d.w
	if w.running == tierLogic {
		w.crossing("disk." + c.Op)
		if w.replaying && d.unreadable {
			return unix.EIO
		}
		return nil
	}
	if w.running != tierPersist {
		return nil
	}
	if c.Op == "write" && w.fuse[tierPersist] == 1 && (w.fuseAt[tierPersist] == "" || w.fuseAt[tierPersist] == "disk.write") && w.rng.IntN(2) == 0 {
		// The process dies within the write: some of the bytes are in the page cache.
		w.fuse[tierPersist] = 0
		return &vfs.Partial{N: w.rng.IntN(600), Err: vfs.ErrKilled}
	}
	w.crossing("disk." + c.Op)
	switch {
	case d.full && (c.Op == "write" || c.Op == "reserve" || c.Op == "create"):
		if c.Op == "write" && w.rng.IntN(2) == 0 {
			return &vfs.Partial{N: w.rng.IntN(300), Err: unix.ENOSPC}
		}
		return unix.ENOSPC
	case d.failSyncs > 0 && c.Op == "sync":
		d.failSyncs--
		d.excused++
		w.stats.SyncErrors++
		w.trace("sync of %s fails", c.Name)
		return unix.EIO
	}
	return nil
}

// excuses says whether an error that ended persistsrv was one of ours.
func (d *disk) excuses(err error) bool {
	if errors.Is(err, unix.EIO) && d.excused > 0 {
		d.excused--
		return true
	}
	return d.full && errors.Is(err, unix.ENOSPC)
}

// Space tells that there is none while the disk is full.
func (d *disk) Space() (free, total uint64, err error) {
	free, total, err = d.mem.Space()
	if d.full {
		free = 0
	}
	return free, total, err
}

// SyncDir makes names durable.
func (d *disk) SyncDir(dir string) error {
	if failpoint.Broken("names-not-synced") {
		return nil
	}
	return d.mem.SyncDir(dir)
}

// Rename lets the observer look at a checkpoint when it comes to be one.
func (d *disk) Rename(from, to string) error {
	if err := d.mem.Rename(from, to); err != nil {
		return err
	}
	if name, ok := strings.CutPrefix(to, commitlog.CheckpointDir+"/"); ok {
		d.w.noteCheckpoint(name)
	}
	return nil
}

// Remove lets the observer read a segment of the log before it goes.
func (d *disk) Remove(name string) error {
	if strings.HasPrefix(name, commitlog.LogDir+"/") {
		d.w.follow()
	}
	return d.mem.Remove(name)
}

func (d *disk) crash(rng *rand.Rand) {
	d.mem.Crash(rng)
	d.failSyncs, d.excused = 0, 0
}

// read shows the files to another process: persistsrv's death does not close them.
func (d *disk) read() commitlog.FS { return foreign{d.mem} }

type foreign struct{ mem *vfs.Mem }

func (f foreign) List(dir string) ([]string, error) { return f.mem.List(dir) }

func (f foreign) Open(name string) (commitlog.File, error) {
	file, err := f.mem.Open(name)
	if err != nil {
		return nil, err
	}
	return &foreignFile{fs: f, name: name, File: file}, nil
}

type foreignFile struct {
	commitlog.File
	fs   foreign
	name string
}

// again opens the file anew where the death of persistsrv has closed it.
func (f *foreignFile) again(err error) bool {
	if !errors.Is(err, vfs.ErrStale) {
		return false
	}
	file, err := f.fs.mem.Open(f.name)
	if err != nil { // removed since, or it cannot be read now
		return false
	}
	f.File = file
	return true
}

func (f *foreignFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	if f.again(err) {
		return f.File.ReadAt(p, off)
	}
	return n, err
}

func (f *foreignFile) Size() (int64, error) {
	n, err := f.File.Size()
	if f.again(err) {
		return f.File.Size()
	}
	return n, err
}

func (f *foreignFile) Close() error {
	if err := f.File.Close(); !errors.Is(err, vfs.ErrStale) {
		return err
	}
	return nil
}
