package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/trimq/trimq/shmqueue/tier"
)

// TestMain makes the test binary a daemon when it is called by a daemon's name: it takes
// its lock, says that it is ready, and waits, as the real ones do.
func TestMain(m *testing.M) {
	if name := filepath.Base(os.Args[0]); slices.Contains(tier.Daemons, name) {
		os.Exit(fakeDaemon(name))
	}
	if filepath.Base(os.Args[0]) == "mq_server" {
		main()
		os.Exit(0)
	}
	if os.Getenv("EXEC_OVER_AND_OVER") != "" {
		os.Exit(execOverAndOver())
	}
	os.Exit(m.Run())
}

func fakeDaemon(name string) int {
	run := filepath.Join(os.Getenv("RUN"), name)
	lock, err := tier.TakeLock(run + ".lock")
	if err != nil {
		return tier.ExitInUse
	}
	defer lock.Close()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGUSR2)
	starts, err := os.OpenFile(run+".starts", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return tier.ExitFailed
	}
	fmt.Fprintln(starts, "started")
	if err := os.WriteFile(run+".ready", fmt.Appendln(nil, os.Getpid(), "v1 c1"), 0o644); err != nil {
		return tier.ExitFailed
	}
	for s := range stop {
		outcome, err := os.ReadFile(run + ".next")
		if s == syscall.SIGTERM {
			break
		}
		if err != nil {
			return tier.ExitFailed
		}
		if err := os.WriteFile(run+".handover", outcome, 0o644); err != nil {
			return tier.ExitFailed
		}
	}
	os.Remove(run + ".ready")
	return tier.ExitOK
}

// world is a supervisor over fake daemons, or over scripts.
type world struct {
	t       *testing.T
	c       *tier.Config
	signals chan os.Signal
	done    chan error

	stopOnce sync.Once
}

func newWorld(t *testing.T, scripts map[string]string) *world {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("RUN", filepath.Join(dir, "run"))
	t.Setenv("GORACE", "atexit_sleep_ms=0") // the fake daemons end at once under the race detector too
	c, _, err := tier.Load("", nil, []string{"-data-dir", dir, "-drain-timeout-ms", "100", "-shm-key-base", "1879048192"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{c.RunDir, c.LogDir, filepath.Join(dir, "bin")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range tier.Daemons {
		program := filepath.Join(dir, "bin", name)
		err := os.Symlink(self, program)
		if text, ok := scripts[name]; ok {
			err = errors.Join(os.Remove(program), os.WriteFile(program, []byte(text), 0o755))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	w := &world{t: t, c: c, signals: make(chan os.Signal, 4), done: make(chan error, 1)}
	s := newSupervisor(c, filepath.Join(dir, "bin"), nil, slog.New(slog.NewTextHandler(io.Discard, nil)))
	s.wanted()
	go func() { w.done <- s.loop(w.signals) }()
	t.Cleanup(w.stop)
	return w
}

// stop ends the supervisor and wants no daemon left. Only the first call does anything.
func (w *world) stop() {
	w.stopOnce.Do(func() {
		w.signals <- syscall.SIGTERM
		if err := <-w.done; err != nil {
			w.t.Error(err)
		}
		for range 3 { // a straggler would take its lock a little later
			for _, name := range tier.Daemons {
				if pid, _ := tier.LockHolder(tier.PathsOf(w.c, name).Lock); pid != 0 {
					w.t.Errorf("%s is left as process %d", name, pid)
				}
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
}

// until waits for a state; it fails only after a time that no healthy run needs.
func (w *world) until(what string, ok func(serverState) bool) serverState {
	w.t.Helper()
	var s serverState
	for range 3000 {
		var err error
		if s, err = readState(w.c); err == nil && ok(s) {
			return s
		}
		time.Sleep(10 * time.Millisecond)
	}
	w.t.Fatalf("never %s: %+v", what, s)
	return s
}

func (w *world) starts(name string) int {
	b, _ := os.ReadFile(filepath.Join(w.c.RunDir, name+".starts"))
	return strings.Count(string(b), "started")
}

func TestDeadTierIsStartedAgain(t *testing.T) {
	w := newWorld(t, nil)
	first := w.until("all ready", func(s serverState) bool { return s.all(stateReady) })
	old := first.Tiers[1].PID
	if err := signalOne(w.c, "logicsrv", syscall.SIGKILL, io.Discard); err != nil {
		t.Fatal(err)
	}
	s := w.until("logicsrv back", func(s serverState) bool { return s.all(stateReady) && s.Tiers[1].PID != old })
	if s.Tiers[1].Restarts != 1 || w.starts("logicsrv") != 2 || w.starts("connsrv") != 1 {
		t.Errorf("restarts %d, starts %d and %d", s.Tiers[1].Restarts, w.starts("logicsrv"), w.starts("connsrv"))
	}
}

func TestStoppedTierStaysStoppedUntilStart(t *testing.T) {
	w := newWorld(t, nil)
	w.until("all ready", func(s serverState) bool { return s.all(stateReady) })
	if err := signalOne(w.c, "connsrv", syscall.SIGTERM, io.Discard); err != nil {
		t.Fatal(err)
	}
	w.until("connsrv stopped", func(s serverState) bool { return s.Tiers[2].State == stateStopped })
	if n := w.starts("connsrv"); n != 1 {
		t.Errorf("started %d times", n)
	}
	w.signals <- syscall.SIGHUP // what start sends
	w.until("connsrv back", func(s serverState) bool { return s.all(stateReady) })
}

func TestCrashLoopEndsInAClearState(t *testing.T) {
	w := newWorld(t, map[string]string{"logicsrv": "#!/bin/bash\necho boom >&2\nexit 1\n"})
	s := w.until("logicsrv given up", func(s serverState) bool { return s.Tiers[1].State == stateFailed })
	if !strings.Contains(s.Tiers[1].Reason, "crash loop") {
		t.Errorf("reason %q", s.Tiers[1].Reason)
	}
	if s.Tiers[0].State != stateReady {
		t.Errorf("persistsrv is %s: it must not suffer", s.Tiers[0].State)
	}
	if got := tail(outputPath(w.c, "logicsrv"), 1); !strings.Contains(got, "boom") {
		t.Errorf("last words %q", got)
	}
}

// A daemon that cannot use what is on the disk is tried once more, and not as often as one that
// crashes; the reason says what it is.
func TestDamageIsTriedOnceMore(t *testing.T) {
	w := newWorld(t, map[string]string{"logicsrv": "#!/bin/bash\necho started >>$RUN/logicsrv.starts\necho 'log damaged' >&2\nexit 4\n"})
	s := w.until("logicsrv given up", func(s serverState) bool { return s.Tiers[1].State == stateFailed })
	if n := w.starts("logicsrv"); n != maxDamaged+1 || !strings.Contains(s.Tiers[1].Reason, "disk") {
		t.Errorf("%d starts, reason %q", n, s.Tiers[1].Reason)
	}
}

// A daemon that does not get ready is looked at less and less often: it may wait for another one for
// ever.
func TestSlowStartsAreLookedAtSeldom(t *testing.T) {
	s := newSupervisor(&tier.Config{}, "", nil, nil)
	starting := s.tiers[0]
	starting.State = stateStarting
	for _, x := range []struct{ since, least, most time.Duration }{
		{0, pollReady, pollReady}, {time.Second, 30 * time.Millisecond, 40 * time.Millisecond}, {time.Minute, time.Second, 3 * time.Second}, {24 * time.Hour, time.Minute, time.Minute},
	} {
		starting.Since = time.Now().Add(-x.since)
		if sleep := s.nextLook(); sleep < x.least || sleep > x.most {
			t.Errorf("%v after its start it is looked at in %v", x.since, sleep)
		}
	}
}

func TestBadConfigurationIsNotTriedAgain(t *testing.T) {
	w := newWorld(t, map[string]string{"persistsrv": "#!/bin/bash\necho started >>$RUN/persistsrv.starts\nexit 2\n"})
	s := w.until("given up", func(s serverState) bool { return s.Tiers[0].State == stateFailed })
	if n := w.starts("persistsrv"); n != 1 || s.Tiers[0].Restarts != 0 {
		t.Errorf("%d starts, %d restarts", n, s.Tiers[0].Restarts)
	}
	if w.starts("connsrv") != 0 {
		t.Error("connsrv was started though persistsrv never served")
	}
}

func TestSupervisorAdoptsWhatRuns(t *testing.T) {
	w := newWorld(t, nil)
	before := w.until("all ready", func(s serverState) bool { return s.all(stateReady) })
	s := newSupervisor(w.c, "/nonexistent", nil, slog.New(slog.NewTextHandler(io.Discard, nil)))
	s.wanted()
	for range tier.Daemons {
		s.startDue()
		s.noteReady()
	}
	for i, t2 := range s.tiers {
		if t2.PID != before.Tiers[i].PID || t2.State != stateReady {
			t.Errorf("%s: process %d, %s; want %d", t2.Name, t2.PID, t2.State, before.Tiers[i].PID)
		}
	}
}

// Signal 12 goes to one tier after the other, and says what has become of it; behind one that does not
// hand over, none does.
func TestHandOver(t *testing.T) {
	w := newWorld(t, nil)
	w.until("all ready", func(s serverState) bool { return s.all(stateReady) && s.Tiers[2].Version == "v1 c1" })
	next := func(name, outcome string) {
		if err := os.WriteFile(filepath.Join(w.c.RunDir, name+".next"), []byte(outcome), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range tier.Daemons {
		next(name, "done: v2 c2\n")
	}
	var out strings.Builder
	if err := stop(w.c, []string{"12"}, &out); err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(strings.TrimSpace(out.String()), "\n") {
		if want := tier.Daemons[i] + ": handed over from v1 c1 to v2 c2 in "; !strings.HasPrefix(line, want) {
			t.Errorf("%q, want %q", line, want)
		}
	}
	next("logicsrv", "refused: it is broken\n")
	out.Reset()
	if err := stop(w.c, []string{"USR2"}, &out); err == nil || !strings.Contains(err.Error(), "refused: it is broken") || strings.Contains(out.String(), "connsrv") {
		t.Errorf("%v\n%s", err, &out)
	}
	if err := os.Remove(filepath.Join(w.c.RunDir, "connsrv.next")); err != nil { // it dies then
		t.Fatal(err)
	}
	if err := stop(w.c, []string{"12", "connsrv"}, &out); err == nil || !strings.Contains(err.Error(), "died in the hand-over") {
		t.Error(err)
	}
	w.until("connsrv back", func(s serverState) bool { return s.all(stateReady) && s.Tiers[2].Restarts == 1 })
}

// A stop that comes while a tier is on its way up, and has no lock yet, ends that tier too.
func TestStopDuringAStart(t *testing.T) {
	for range 10 {
		w := newWorld(t, nil)
		s := w.until("all ready", func(s serverState) bool { return s.all(stateReady) })
		if err := syscall.Kill(s.Tiers[2].PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		w.stop() // which fails where a daemon is left
	}
}

func TestParseSignal(t *testing.T) {
	for word, want := range map[string]syscall.Signal{"15": 15, "TERM": 15, "SIGTERM": 15, "term": 15, "9": 9, "hup": 1, "SIGUSR1": 10, "34": 34} {
		if s, err := parseSignal(word); s != want || err != nil {
			t.Errorf("%s: %d %v", word, s, err)
		}
	}
	for _, word := range []string{"0", "65", "-1", "TREM", "", "9x"} {
		if s, err := parseSignal(word); !errors.Is(err, tier.ErrUsage) {
			t.Errorf("%q: %d %v", word, s, err)
		}
	}
}

func TestStopNamesItsArguments(t *testing.T) {
	c := tier.Default()
	c.RunDir = t.TempDir()
	for _, words := range [][]string{nil, {"15", "logicsrv", "x"}, {"15", "mq_logic"}, {"nonsense"}} {
		if err := stop(c, words, io.Discard); !errors.Is(err, tier.ErrUsage) {
			t.Errorf("%q: %v", words, err)
		}
	}
	for _, words := range [][]string{{"15"}, {"9"}, {"1"}, {"9", "connsrv"}, {"12"}, {"12", "logicsrv"}} {
		if err := stop(c, words, io.Discard); err == nil || !strings.Contains(err.Error(), c.RunDir) {
			t.Errorf("nothing runs, stop %q: %v", words, err)
		}
	}
}
