package main

import (
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A process that is told to start others all the time is halted: its children are all known then, and
// no other one comes.
func TestChildrenOfAreAll(t *testing.T) {
	cmd := exec.Command("sh", "-c", "sleep 60 & sleep 60 & while :; do sleep 0.001; done")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait() //nolint:errcheck // it is killed
	fd, err := unix.PidfdOpen(cmd.Process.Pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	parent := &target{cmd.Process.Pid, fd}
	defer parent.close()
	time.Sleep(50 * time.Millisecond)
	children, err := childrenOf(parent)
	if err != nil || len(children) < 2 || len(children) > 3 {
		t.Errorf("%d children, %v", len(children), err)
	}
	if !standsStill(parent.pid) {
		t.Error("it goes on")
	}
	if err := killEach(append([]*target{parent}, children...), time.Minute); err != nil {
		t.Error(err)
	}
	for _, c := range children {
		if !c.wait(time.Minute) {
			t.Errorf("child %d lives", c.pid)
		}
		c.close()
	}
	if slices.Contains(children, parent) || !parent.wait(time.Minute) {
		t.Error("the parent lives")
	}
}
