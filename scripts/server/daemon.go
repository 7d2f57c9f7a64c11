package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/trimq/trimq/shmqueue/tier"
	"golang.org/x/sys/unix"
)

// target is a process, held by a pidfd so that a reused pid is never mistaken for it.
type target struct {
	pid int
	fd  int
}

// openTarget finds the process that holds the lock of a daemon; nil where nobody does.
func openTarget(c *tier.Config, name string) (*target, error) {
	lock := tier.PathsOf(c, name).Lock
	pid, err := tier.LockHolder(lock)
	if err != nil || pid == 0 {
		return nil, err
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("process %d of %s: %w", pid, name, err)
	}
	// Between reading the lock and opening the pidfd the process may have died and its pid
	// may have been given away: it is the one only if it holds the lock still.
	again, err := tier.LockHolder(lock)
	if err != nil || again != pid {
		unix.Close(fd)
		return nil, err
	}
	return &target{pid, fd}, nil
}

func (t *target) signal(s syscall.Signal) error {
	err := unix.PidfdSendSignal(t.fd, s, nil, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil // it is gone: whatever the signal wanted of it is moot
	}
	return err
}

// wait returns true once the process is dead, false after the time-out (negative: none).
func (t *target) wait(timeout time.Duration) bool {
	deadline := time.Now().Add(timeout)
	for {
		ms := -1
		if timeout >= 0 {
			ms = max(0, int(time.Until(deadline).Milliseconds()))
		}
		if t.looksDead(ms) {
			time.Sleep(secondLook)
			if t.looksDead(0) {
				return true
			}
		}
		if timeout >= 0 && !time.Now().Before(deadline) {
			return false
		}
	}
}

// secondLook is how long behind the first one the process is looked at again. In the instant in
// which one replaces its program, and has more than one thread, it looks dead.
const secondLook = 10 * time.Millisecond

// looksDead waits up to ms (-1: for ever) for the process to look dead.
func (t *target) looksDead(ms int) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(t.fd), Events: unix.POLLIN}}, ms)
	return n == 1 || err != nil && !errors.Is(err, unix.EINTR)
}

func (t *target) close() { unix.Close(t.fd) }

// watch reports the end of a process that is adopted.
func (t *target) watch(name string, ends chan<- end) {
	t.wait(-1)
	ends <- t.reap(name)
}

// reap tells how an adopted process ended. One that this process has started, with another program, is
// its child.
func (t *target) reap(name string) end {
	var status unix.WaitStatus
	pid, err := unix.Wait4(t.pid, &status, unix.WNOHANG, nil)
	switch {
	case err != nil || pid != t.pid:
		return end{name, "ended (was adopted, its exit code is not known)", -1}
	case status.Signaled():
		return end{name, "signal: " + status.Signal().String(), -1}
	case status.ExitStatus() != 0:
		return end{name, fmt.Sprintf("exit status %d", status.ExitStatus()), status.ExitStatus()}
	}
	return end{name, "exited", 0}
}

// end is how a daemon ended.
type end struct {
	name   string
	reason string
	code   int // exit code; -1: by a signal, or not our child
}

// spawn starts a daemon, or adopts the one that runs already, and reports its end. The
// caller closes the target it returns.
func spawn(c *tier.Config, bin, name string, flags []string, ends chan<- end) (t *target, adopted bool, err error) {
	running, err := openTarget(c, name)
	if err != nil {
		return nil, false, err
	}
	if running != nil {
		go running.watch(name, ends)
		return running, true, nil
	}
	cmd := exec.Command(filepath.Join(bin, name), flags...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	// What a daemon prints before it has its log, and the trace of a panic, belong beside the log.
	output, err := os.OpenFile(outputPath(c, name), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return nil, false, err
	}
	defer output.Close()
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		return nil, false, fmt.Errorf("starting %s: %w", name, err)
	}
	fd, err := unix.PidfdOpen(cmd.Process.Pid, 0) // not reaped yet, so the pid is its own
	if err != nil {
		return nil, false, errors.Join(fmt.Errorf("process %d of %s: %w", cmd.Process.Pid, name, err), cmd.Process.Kill(), cmd.Wait())
	}
	go func() {
		err := cmd.Wait()
		e := end{name, "exited", cmd.ProcessState.ExitCode()}
		if err != nil {
			e.reason = err.Error()
		}
		ends <- e
	}()
	return &target{cmd.Process.Pid, fd}, false, nil
}

func outputPath(c *tier.Config, name string) string {
	return filepath.Join(c.LogDir, name+".out")
}

// isReady tells whether the daemon with that pid has said that it serves.
func isReady(c *tier.Config, name string, pid int) bool {
	said, _ := tier.ReadReady(c, name)
	return pid != 0 && said == pid
}

// tail returns the last lines of a file, for an error message.
func tail(path string, lines int) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	all := strings.Split(strings.TrimSpace(string(b)), "\n")
	return "  " + strings.Join(all[max(0, len(all)-lines):], "\n  ")
}
