package main

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/trimq/trimq/shmqueue/tier"
)

// process has a supervisor of its own process instead of the one in this.
func (w *world) process() *exec.Cmd {
	w.t.Helper()
	w.stop()
	for _, name := range tier.Daemons {
		_ = os.Remove(filepath.Join(w.c.RunDir, name+".starts")) // it may have been started, or not
	}
	self, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	program := filepath.Join(w.c.DataDir, "bin", "mq_server")
	if err := os.Link(self, program); err != nil { // not a link to it: the daemons are looked for beside it
		text, err := os.ReadFile(self)
		if err == nil {
			err = os.WriteFile(program, text, 0o755)
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
	cmd := exec.Command(program, "run", "-data-dir", w.c.DataDir, "-drain-timeout-ms", "100", "-shm-key-base", "1879048192")
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			w.t.Errorf("supervisor: %v", err)
		}
	})
	return cmd
}

// The supervisor replaces itself: its process and the daemons stay, none of which is started again; what
// ends behind it is noticed, with its reason, and reaped; what was stopped stays stopped.
func TestSupervisorHandsOver(t *testing.T) {
	w := newWorld(t, nil)
	cmd := w.process()
	before := w.until("all ready", func(s serverState) bool { return s.Supervisor == cmd.Process.Pid && s.all(stateReady) })
	if err := stop(w.c, []string{"15", "connsrv"}, io.Discard); err != nil {
		t.Fatal(err)
	}
	w.until("connsrv stopped", func(s serverState) bool { return s.Tiers[2].State == stateStopped })
	for range 3 {
		var out strings.Builder
		if err := stop(w.c, []string{"12", "supervisor"}, &out); err != nil || !strings.HasPrefix(out.String(), "supervisor: handed over from ") {
			t.Fatalf("%v\n%s", err, &out)
		}
	}
	after := w.until("the same", func(s serverState) bool { return s.Supervisor == before.Supervisor })
	for i := range 2 {
		if after.Tiers[i].PID != before.Tiers[i].PID || after.Tiers[i].State != stateReady {
			t.Errorf("%+v, before %+v", after.Tiers[i], before.Tiers[i])
		}
	}
	if x := after.Tiers[2]; x.State != stateStopped {
		t.Errorf("%+v", x)
	}
	if err := syscall.Kill(before.Tiers[1].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	w.until("logicsrv back", func(s serverState) bool {
		x := s.Tiers[1]
		return x.State == stateReady && x.PID != before.Tiers[1].PID && x.Restarts == 1 && x.Reason == "signal: killed"
	})
	if err := syscall.Kill(before.Tiers[1].PID, 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("the dead process was not reaped: %v", err)
	}
	for name, want := range map[string]int{"persistsrv": 1, "logicsrv": 2} {
		if starts, err := os.ReadFile(filepath.Join(w.c.RunDir, name+".starts")); err != nil || strings.Count(string(starts), "\n") != want {
			t.Errorf("%s was started %d times, want %d: %v", name, strings.Count(string(starts), "\n"), want, err)
		}
	}
}

// A program that does not start is refused, and the supervisor goes on.
func TestSupervisorRefusesABrokenProgram(t *testing.T) {
	w := newWorld(t, nil)
	cmd := w.process()
	w.until("all ready", func(s serverState) bool { return s.all(stateReady) })
	broken := filepath.Join(w.c.DataDir, "broken")
	if err := errors.Join(os.WriteFile(broken, []byte("#!/bin/sh\nexit 1\n"), 0o755), os.Rename(broken, cmd.Path)); err != nil {
		t.Fatal(err)
	}
	if err := stop(w.c, []string{"12", "supervisor"}, io.Discard); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Error(err)
	}
	if s, err := readState(w.c); err != nil || s.Supervisor != cmd.Process.Pid || !s.all(stateReady) {
		t.Errorf("%+v, %v", s, err)
	}
}

// What goes over comes back as it was; what is none is not taken.
func TestTakeOver(t *testing.T) {
	w := newWorld(t, nil)
	w.stop()
	at := time.Unix(1000, 0).UTC()
	var list []passedTier
	for _, name := range tier.Daemons {
		list = append(list, passedTier{
			tierState: tierState{Name: name, State: stateBackOff, Since: at, Restarts: 3, Reason: "reason"}, Failures: 2, ReadyAt: at, RetryAt: at.Add(time.Hour),
		})
	}
	take := func(list []passedTier) (*supervisor, bool) {
		fd, err := inMemory(list)
		if err != nil {
			t.Fatal(err)
		}
		s := newSupervisor(w.c, "", nil, slog.New(slog.DiscardHandler))
		return s, s.takeOver(fd)
	}
	s, ok := take(list)
	if !ok {
		t.Fatal("not taken")
	}
	for i, is := range s.tiers {
		if x := list[i]; is.tierState != x.tierState || is.failures != x.Failures || is.readyAt != x.ReadyAt || is.retryAt != x.RetryAt || is.process != nil {
			t.Errorf("%+v came back as %+v", x, is)
		}
	}
	for _, bad := range [][]passedTier{nil, list[:2], {list[1], list[0], list[2]}} {
		if _, ok := take(bad); ok {
			text, _ := json.Marshal(bad)
			t.Errorf("taken: %s", text)
		}
	}
}
