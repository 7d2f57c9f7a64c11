package drill

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/trimq/trimq/scripts/loopdisk"
	"github.com/trimq/trimq/shmqueue"
	"github.com/trimq/trimq/shmqueue/tier"
	"golang.org/x/sys/unix"
)

// Faults that take room away: rings that are full, disks that are, and sockets that let little through.

// fullRing stops a tier until the ring that it reads is full, and a moment longer.
func (n *nemesis) fullRing() {
	request, _, log, _ := tier.Keys(n.w.b.KeyBase)
	name, key := "persistsrv", log
	if n.r.IntN(2) == 0 {
		name, key = "logicsrv", request
	}
	before, _, err := turnedAway(key)
	if err != nil {
		n.w.h.report("ring: %v", err)
		return
	}
	n.signal("STOP", name)
	full, used := false, 0
	for end := time.Now().Add(fillFor); !full && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		now, part, err := turnedAway(key)
		full, used = err == nil && (now > before || part >= 90), part
	}
	if full {
		time.Sleep(time.Duration(n.r.IntN(500)) * time.Millisecond)
	} else {
		n.w.logf("         the ring in front of %s was not filled in %v, but to %d %%", name, fillFor, used)
	}
	n.signal("CONT", name)
}

// fillFor bounds how long a tier is stopped: large rings are not filled in that time.
const fillFor = 3 * time.Second

// turnedAway counts the claims that a ring had no room for, and tells how full it is, in percent.
func turnedAway(key int) (claims uint64, percent int, err error) {
	s, err := shmqueue.Inspect(key)
	if err != nil {
		return 0, 0, err
	}
	snap := s.Ring().Snapshot()
	return snap.Full, int(snap.Used() * 100 / snap.Capacity), s.Detach()
}

// smallDisk is a file system in memory that can be filled.
type smallDisk struct{ dir string }

// smallDiskBytes is enough for what a run of half a minute stores.
const smallDiskBytes = "size=1g"

func makeSmall(dir string) (*smallDisk, error) {
	d := &smallDisk{filepath.Join(dir, loopdisk.MountDir)}
	if err := os.Mkdir(d.dir, 0o700); err != nil {
		return nil, err
	}
	if err := unix.Mount("tmpfs", d.dir, "tmpfs", 0, smallDiskBytes); err != nil {
		return nil, fmt.Errorf("no tmpfs can be mounted here: %w", err)
	}
	return d, nil
}

// settings put the data there. So small a reserve goes with a small ring only.
func (d *smallDisk) settings() map[string]string {
	return map[string]string{
		"data_dir": fmt.Sprintf("%q", filepath.Join(d.dir, "data")), "ring_request_bytes": `"4Mi"`, "disk_reserve_bytes": fmt.Sprintf(`"%dMi"`, reserveMiB),
	}
}

// unmount takes it away, and what is on it.
func (d *smallDisk) unmount() error { return loopdisk.Unmount(d.dir) }

// reserveMiB is below what room messages are refused.
const reserveMiB = 16

// fullDisk takes the room that there is, for a while; at times persistsrv is killed meanwhile.
func (n *nemesis) fullDisk() {
	n.w.darken(time.Now().Add(patience))
	ballast := filepath.Join(n.w.small.dir, "ballast")
	if err := fill(ballast, n.w.small.dir, reserveMiB<<20/2); err != nil {
		n.w.h.report("ballast: %v", err)
	}
	time.Sleep(time.Duration(300+n.r.IntN(1200)) * time.Millisecond)
	if n.r.IntN(3) == 0 {
		n.kill("persistsrv")
	}
	if err := os.Remove(ballast); err != nil {
		n.w.h.report("ballast: %v", err)
	}
	n.heal()
	n.w.darken(time.Now())
}

// failIO orders persistsrv's file layer to fail a call, and waits until it has taken the order, and healed.
func (n *nemesis) failIO() {
	order := []string{"sync EIO", "write ENOSPC"}[n.r.IntN(2)]
	path := n.w.orderPath()
	if err := os.WriteFile(path+".new", fmt.Appendf(nil, "%s %d\n", order, 1+n.r.IntN(20)), 0o600); err != nil {
		n.w.h.report("order: %v", err)
		return
	}
	if err := os.Rename(path+".new", path); err != nil {
		n.w.h.report("order: %v", err)
		return
	}
	n.w.darken(time.Now().Add(patience))
	for end := time.Now().Add(fillFor); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(path); os.IsNotExist(err) {
			time.Sleep(time.Duration(n.r.IntN(300)) * time.Millisecond)
			n.heal()
			n.w.darken(time.Now())
			return
		}
	}
	n.w.h.report("persistsrv takes no orders: the fault io wants programs that are built with -tags failpoints (--bin)")
}

// orderPath is the file in which persistsrv is told to fail.
func (w *world) orderPath() string { return filepath.Join(w.o.Dir, "order") }

// fill writes a file until only so many bytes are free.
func fill(path, disk string, leave uint64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	block := make([]byte, 1<<20)
	for {
		var s unix.Statfs_t
		if err := unix.Statfs(disk, &s); err != nil {
			return err
		}
		free := s.Bavail * uint64(s.Bsize)
		if free <= leave {
			return nil
		}
		if _, err := f.Write(block[:min(free-leave, uint64(len(block)))]); err != nil {
			return err
		}
	}
}

// roughSockets has all proxies in a mood for a while, or cuts what goes through them.
func (n *nemesis) roughSockets() {
	m := []mood{torn, slow, stalled, calm}[n.r.IntN(4)]
	n.w.mu.Lock()
	links := slices.Clone(n.w.links)
	n.w.mu.Unlock()
	if m == calm {
		for _, l := range links {
			if l.proxy != nil {
				n.w.h.note(&opLost{Party: l.name, Cut: true})
				l.proxy.cut()
			}
		}
		return
	}
	n.w.mood.Store(int32(m))
	time.Sleep(time.Duration(100+n.r.IntN(900)) * time.Millisecond)
	n.w.mood.Store(int32(calm))
}
