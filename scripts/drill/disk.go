package drill

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/trimq/trimq/scripts/loopdisk"
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
	states, err := n.w.b.States()
	switch {
	case err == nil && states["persistsrv"].PID == pid:
	case n.halfInjected():
		n.w.logf("         strace let go of persistsrv within a call, which it had no error for yet")
		n.heal()
	default:
		n.w.h.report("a full disk killed persistsrv: %v %v", err, states)
	}
}

// halfInjected tells whether persistsrv died of strace itself: to make a call fail, strace first replaces it
// by one that does not exist, and if it has to go then, that is what the process sees.
func (n *nemesis) halfInjected() bool {
	text, err := os.ReadFile(filepath.Join(n.w.b.Config.LogDir, "persistsrv.out"))
	return err == nil && strings.Contains(string(text), unix.ENOSYS.Error())
}

// loopSettings put the data, and only them, onto a disk whose power can be cut.
func loopSettings(d *loopdisk.Disk) map[string]string {
	return map[string]string{
		"data_dir": fmt.Sprintf("%q", filepath.Join(d.Dir, "data")), "ring_request_bytes": `"4Mi"`, "disk_reserve_bytes": `"16Mi"`,
	}
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
	if err := d.Cut(); err != nil {
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
	if err := d.Restore(); err != nil {
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
