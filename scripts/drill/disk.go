package drill

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/trimq/trimq/shmqueue"
	"github.com/trimq/trimq/shmqueue/tier"
	"golang.org/x/sys/unix"
)

// injection is a strace that makes system calls of persistsrv fail.
type injection struct{ cmd *exec.Cmd }

// noStrace tells why system calls cannot be made to fail; empty: they can.
func noStrace() string {
	if _, err := exec.LookPath("strace"); err != nil {
		return "there is no strace, to make system calls fail"
	}
	if out, err := exec.Command("strace", "-o", "/dev/null", "-e", "inject=getpid:error=EIO", "true").CombinedOutput(); err != nil {
		return fmt.Sprintf("strace cannot trace here: %v %s", err, out)
	}
	return ""
}

// inject attaches to persistsrv, whose number it returns too.
func (n *nemesis) inject(what ...string) (*injection, int) {
	states, err := n.w.b.States()
	pid := states["persistsrv"].PID
	if err != nil || pid == 0 {
		n.w.h.report("no persistsrv: %v", err)
		return nil, 0
	}
	args := []string{"-f", "-qq", "-o", filepath.Join(n.w.b.Dir, "strace.out"), "-p", fmt.Sprint(pid)}
	for _, w := range what {
		args = append(args, "-e", "inject="+w)
	}
	cmd := exec.Command("strace", args...)
	if err := cmd.Start(); err != nil {
		n.w.h.report("strace: %v", err)
		return nil, 0
	}
	return &injection{cmd}, pid
}

// end detaches, if persistsrv has not died of it.
func (i *injection) end() {
	_ = i.cmd.Process.Signal(unix.SIGINT)
	_ = i.cmd.Wait() // its exit code is the traced process's end
}

// syncFails: fdatasync reports an error, once. persistsrv must exit, and be started again.
func (n *nemesis) syncFails() {
	i, pid := n.inject("fdatasync:error=EIO:when=1")
	if i == nil {
		return
	}
	defer i.end()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		states, err := n.w.b.States()
		if err == nil && states["persistsrv"].PID != pid {
			break
		}
		if time.Now().After(deadline) {
			n.w.h.report("a sync failed and persistsrv lives on")
			return
		}
	}
	n.heal()
}

// noRoom: writes find the disk full for a while. persistsrv must bear it.
func (n *nemesis) noRoom() {
	i, pid := n.inject("pwritev,pwritev2,pwrite64:error=ENOSPC:when=1+2")
	if i == nil {
		return
	}
	time.Sleep(time.Duration(200+n.r.IntN(800)) * time.Millisecond)
	i.end()
	if states, err := n.w.b.States(); err != nil || states["persistsrv"].PID != pid {
		n.w.h.report("a full disk killed persistsrv: %v %v", err, states)
	}
}

// loopDisk is a file system of our own whose power can be cut.
type loopDisk struct{ image, dir string }

// imageFile and diskDir are, in the directory of a run, its image and where that is mounted.
const (
	imageFile = "image"
	diskDir   = "disk"
)

// makeLoop makes one below a directory; it needs root.
func makeLoop(dir string) (*loopDisk, error) {
	d := &loopDisk{filepath.Join(dir, imageFile), filepath.Join(dir, diskDir)}
	if err := os.Mkdir(d.dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.Create(d.image)
	if err == nil {
		err = errors.Join(f.Truncate(1<<30), f.Close())
	}
	if err != nil {
		return nil, err
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", d.image).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("no ext4 can be made here: %w %s", err, out)
	}
	if err := d.mount(); err != nil {
		return nil, err
	}
	return d, nil
}

func (d *loopDisk) mount() error {
	out, err := exec.Command("mount", "-o", "loop", d.image, d.dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("mount: %w %s", err, out)
	}
	return nil
}

// unmount takes it away; its image stays.
func (d *loopDisk) unmount() error { return unmount(d.dir) }

// unmount takes a file system away, once nobody has a file of it open any more.
func unmount(dir string) error {
	var out []byte
	err := error(nil)
	for range 100 { // a killed process lets go of its files a moment later
		if out, err = exec.Command("umount", dir).CombinedOutput(); err == nil {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("umount: %w %s", err, out)
}

// settings put the data, and only them, onto the disk.
func (d *loopDisk) settings() map[string]string {
	return map[string]string{
		"data_dir": fmt.Sprintf("%q", filepath.Join(d.dir, "data")), "ring_request_bytes": `"4Mi"`, "disk_reserve_bytes": `"16Mi"`,
	}
}

// cut shuts the file system down: nothing that is not synced reaches the disk any more, and
// every later write fails.
func (d *loopDisk) cut() error {
	dir, err := os.Open(d.dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	const shutdown, noLogFlush = 0x8004587D, 2
	return unix.IoctlSetPointerInt(int(dir.Fd()), shutdown, noLogFlush)
}

// restore mounts it again, with what it has.
func (d *loopDisk) restore() error {
	if err := d.unmount(); err != nil {
		return err
	}
	return d.mount()
}

// lie has the power cut behind a disk that says it has synced and has not: the control of the fault
// power, in which messages must be lost.
func (n *nemesis) lie() {
	i, _ := n.inject("fdatasync,fsync,sync_file_range:retval=0")
	if i == nil {
		return
	}
	time.Sleep(time.Second)
	n.powerCut()
	i.end()
}

// powerCut cuts the power, lets the daemons live on for a moment, as if it were not noticed
// yet, and starts all anew. No sync is under way at the cut: shutting a file system down is not
// done at one instant, and such a sync may return without an error, its work half undone.
func (n *nemesis) powerCut() {
	d := n.w.loop
	began := time.Now()
	n.w.darken(began.Add(patience))
	defer func() { n.w.darken(time.Now()) }()
	n.signal("STOP", "persistsrv")
	if err := n.standstill("persistsrv"); err != nil {
		n.w.h.report("%v", err)
	}
	if err := d.cut(); err != nil {
		n.w.h.report("the file system cannot be shut down here: %v", err)
	}
	n.signal("CONT", "persistsrv")
	time.Sleep(time.Duration(n.r.IntN(300)) * time.Millisecond)
	if err := n.w.b.Signal("9"); err != nil {
		n.w.h.report("kill all: %v", err)
	}
	for k := n.w.b.KeyBase; k < n.w.b.KeyBase+4; k++ {
		_ = shmqueue.Remove(k) // Left looks for it in the end
	}
	if err := d.restore(); err != nil {
		n.w.h.report("%v", err)
		return
	}
	n.heal()
	n.w.h.wereDown(began, tier.Daemons...)
}

// standstill waits until no thread of a stopped daemon is in a system call any more.
func (n *nemesis) standstill(name string) error {
	states, err := n.w.b.States()
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", states[name].PID))
		if err != nil {
			return err
		}
		busy := 0
		for _, path := range threads {
			text, err := os.ReadFile(path)
			_, state, _ := strings.Cut(string(text), ") ")
			// T: stopped; t: stopped before or behind a call, by the tracer that lies about syncs.
			if err == nil && !strings.HasPrefix(strings.ToUpper(state), "T") {
				busy++
			}
		}
		if busy == 0 {
			return nil
		}
	}
	return fmt.Errorf("%s does not stand still", name)
}
