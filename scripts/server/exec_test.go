package main

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The first thread stays the main goroutine's, so that another one replaces the program: only then
// does the process look dead for an instant.
func init() {
	if os.Getenv("EXEC_OVER_AND_OVER") != "" {
		runtime.LockOSThread()
	}
}

// execOverAndOver is a process that replaces its program, by itself, until it is killed.
func execOverAndOver() int {
	for range 20 {
		go func() {
			for {
				time.Sleep(time.Microsecond)
			}
		}()
	}
	done := make(chan error)
	go func() {
		time.Sleep(time.Millisecond)
		done <- syscall.Exec("/proc/self/exe", os.Args, os.Environ())
	}()
	<-done
	return 1
}

// A process that replaces its program is not taken for a dead one; one that is killed is.
func TestExecIsNoDeath(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "EXEC_OVER_AND_OVER=1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.PidfdOpen(cmd.Process.Pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	target := &target{cmd.Process.Pid, fd}
	defer target.close()
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		if target.wait(0) {
			t.Fatal("it is taken for dead")
		}
	}
	if target.wait(time.Second) {
		t.Error("it is taken for dead")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if !target.wait(20 * time.Second) {
		t.Error("its death is not noticed")
	}
	_ = cmd.Wait()
}
