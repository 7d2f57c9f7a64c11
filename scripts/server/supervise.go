package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/trimq/trimq/shmqueue/tier"
)

const (
	supervisorName = "supervisor"
	// maxFailures in a row, without having served for servedEnough in between, are a crash loop.
	maxFailures  = 8
	servedEnough = 200 * time.Millisecond
	// maxDamaged is the same for a daemon that cannot use what is on the disk: it has tried several
	// times by itself, and only another one that was at work on the files makes a difference.
	maxDamaged = 1
	maxBackOff = 5 * time.Second
	// startTimeout bounds how long start waits; a long recovery goes on after it.
	startTimeout = 60 * time.Second
	// pollReady is how often a starting daemon's ready file is looked for at first. One that takes long,
	// or waits for another that is gone, is looked at less and less often, in steps of a slowness-th of
	// the time that it has taken.
	pollReady = 5 * time.Millisecond
	slowness  = 32
)

// supervised is one daemon under supervision.
type supervised struct {
	tierState
	process  *target   // nil: none runs
	failures int       // deaths in a row without having served
	readyAt  time.Time // zero: has not served since it was started
	retryAt  time.Time // when back-off ends
}

// supervisor owns the three daemons.
type supervisor struct {
	c     *tier.Config
	bin   string // directory of the daemons' programs: our own
	flags []string
	log   *slog.Logger
	ends  chan end
	tiers []*supervised

	program program
	leaving chan struct{} // the program on the disk can take over
}

// program is the supervisor's own, which signal 12 replaces (tier.Process).
type program interface {
	OnHandOver(f func())
	HandOver()
	Replace(state int, fds []int) error
	Refuse(err error)
}

// run supervises until signal 15 or 2.
func run(c *tier.Config, flags []string) error {
	p, err := tier.Inherit(supervisorName, c)
	if err != nil {
		return err
	}
	defer p.Close()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR2)
	s := newSupervisor(c, filepath.Dir(self), flags, p.Log)
	s.mayLeave(p)
	handedOver := p.Legacy() >= 0 && s.takeOver(p.Legacy())
	p.Log.Info("supervising", "version", tier.Version, "commit", tier.Commit, "handed_over", handedOver)
	if !handedOver {
		s.wanted()
	}
	if err := p.Ready(); err != nil {
		return err
	}
	return s.loop(signals)
}

func newSupervisor(c *tier.Config, bin string, flags []string, log *slog.Logger) *supervisor {
	s := &supervisor{c: c, bin: bin, flags: flags, log: log, ends: make(chan end, len(tier.Daemons)), leaving: make(chan struct{}, 1)}
	for _, name := range tier.Daemons {
		s.tiers = append(s.tiers, &supervised{tierState: tierState{Name: name, State: stateStopped}})
	}
	return s
}

// loop keeps the tiers until a signal stops it.
func (s *supervisor) loop(signals <-chan os.Signal) error {
	for {
		s.startDue()
		s.noteReady()
		select {
		case sig := <-signals:
			switch {
			case sig == syscall.SIGHUP: // from start: try again what was given up or stopped
				s.wanted()
				continue
			case sig == syscall.SIGUSR2:
				go s.program.HandOver()
				continue
			}
			s.log.Info("stopping", "signal", sig.String())
			err := s.shutdown()
			s.log.Info("stopped", "err", err)
			return err
		case e := <-s.ends:
			s.ended(e)
		case <-s.leaving:
			s.program.Refuse(s.leave()) // else this program is gone
		case <-time.After(s.nextLook()):
		}
	}
}

// wanted makes every tier due that is stopped or given up. One that was stopped a moment
// ago, and whose end is still to be noticed, has its mark taken away: it comes back then.
func (s *supervisor) wanted() {
	for _, t := range s.tiers {
		os.Remove(stopMark(s.c, t.Name))
		if t.State == stateStopped || t.State == stateFailed {
			t.failures = 0
			s.enter(t, stateBackOff, t.Reason)
			t.retryAt = time.Now()
		}
	}
}

func (s *supervisor) enter(t *supervised, state, reason string) {
	t.State, t.Reason, t.Since = state, reason, time.Now()
	s.save()
}

func (s *supervisor) save() {
	st := serverState{Supervisor: os.Getpid()}
	for _, t := range s.tiers {
		st.Tiers = append(st.Tiers, t.tierState)
	}
	if err := writeState(s.c, st); err != nil {
		s.log.Error("state file not written", "err", err)
	}
}

// startDue starts what is due. At the first start, a tier waits for those before it:
// each finds what it needs in place. Later every tier bears the absence of the others.
func (s *supervisor) startDue() {
	for _, t := range s.tiers {
		if t.State == stateBackOff && !time.Now().Before(t.retryAt) {
			s.start(t)
		}
		if t.Restarts == 0 && t.State != stateReady {
			return
		}
	}
}

func (s *supervisor) start(t *supervised) {
	process, adopted, err := spawn(s.c, s.bin, t.Name, s.flags, s.ends)
	if err != nil {
		s.log.Error("not started", "daemon", t.Name, "err", err)
		s.failed(t, err.Error())
		return
	}
	t.process, t.PID, t.readyAt = process, process.pid, time.Time{}
	s.log.Info("started", "daemon", t.Name, "pid", t.PID, "adopted", adopted, "restarts", t.Restarts)
	s.enter(t, stateStarting, t.Reason)
}

func (s *supervisor) noteReady() {
	for _, t := range s.tiers {
		if t.State == stateStarting && isReady(s.c, t.Name, t.PID) {
			t.readyAt = time.Now()
			s.log.Info("ready", "daemon", t.Name, "pid", t.PID, "took", time.Since(t.Since))
			s.enter(t, stateReady, t.Reason)
		}
	}
}

// nextLook is how long the loop may sleep.
func (s *supervisor) nextLook() time.Duration {
	sleep := time.Minute
	for _, t := range s.tiers {
		switch t.State {
		case stateStarting:
			sleep = min(sleep, max(pollReady, time.Since(t.Since)/slowness))
		case stateBackOff:
			sleep = min(sleep, max(pollReady, time.Until(t.retryAt)))
		}
	}
	return sleep
}

// ended decides what follows a daemon's end.
func (s *supervisor) ended(e end) {
	t := s.tier(e.name)
	t.process.close()
	t.process, t.PID = nil, 0
	s.log.Warn("ended", "daemon", e.name, "reason", e.reason)
	if stoppedOnPurpose(s.c, t.Name) {
		s.enter(t, stateStopped, e.reason)
		return
	}
	if e.code == tier.ExitUsage || e.code == tier.ExitInUse {
		s.giveUp(t, e.reason)
		return
	}
	if e.code == tier.ExitDamage && t.failures >= maxDamaged {
		s.giveUp(t, fmt.Sprintf("cannot use what is on the disk, the %d. time: %s", t.failures+1, e.reason))
		return
	}
	s.failed(t, e.reason)
}

// failed starts the tier again: at once the first time, later after a growing pause.
func (s *supervisor) failed(t *supervised, reason string) {
	if !t.readyAt.IsZero() && time.Since(t.readyAt) >= servedEnough {
		t.failures = 0
	}
	t.failures++
	if t.failures > maxFailures {
		s.giveUp(t, fmt.Sprintf("crash loop: %d times in a row, at last: %s", t.failures, reason))
		return
	}
	var pause time.Duration
	if t.failures > 1 {
		pause = min(maxBackOff, 50*time.Millisecond<<(t.failures-2))
	}
	t.retryAt = time.Now().Add(pause)
	t.Restarts++
	s.enter(t, stateBackOff, reason)
}

func (s *supervisor) giveUp(t *supervised, reason string) {
	s.log.Error("given up; `start` tries again", "daemon", t.Name, "reason", reason, "log", tier.PathsOf(s.c, t.Name).Log)
	s.enter(t, stateFailed, reason)
}

func (s *supervisor) tier(name string) *supervised {
	for _, t := range s.tiers {
		if t.Name == name {
			return t
		}
	}
	panic("no tier " + name)
}

// shutdown stops the tiers in order and removes what belongs to no process. It goes by the
// processes, not by their locks: one that was started a moment ago has none yet.
func (s *supervisor) shutdown() error {
	var processes []*target
	for _, t := range s.tiers {
		processes = append(processes, t.process)
	}
	err := stopInOrder(s.c, processes, syscall.SIGTERM)
	for _, t := range s.tiers {
		t.PID = 0
		t.State, t.Since = stateStopped, time.Now()
	}
	s.save()
	return err
}

// start brings the broker up in the background and waits until it serves.
func start(c *tier.Config, flags []string, out io.Writer) error {
	s, err := readState(c)
	if err != nil {
		return err
	}
	if s.Supervisor != 0 && s.all(stateReady) {
		fmt.Fprintf(out, "running already: clients on %s\n", c.Listen)
		return nil
	}
	if s.Supervisor != 0 {
		sup, err := openTarget(c, supervisorName)
		if err != nil {
			return err
		}
		if sup != nil {
			defer sup.close()
			if err := sup.signal(syscall.SIGHUP); err != nil {
				return err
			}
		}
	} else if err := detach(c, flags); err != nil {
		return err
	}
	return waitServing(c, out)
}

// detach starts the supervisor in a session of its own.
func detach(c *tier.Config, flags []string) error {
	for _, dir := range []string{c.DataDir, c.RunDir, c.LogDir} {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return fmt.Errorf("%w: directory: %w", tier.ErrUsage, err)
		}
	}
	if err := os.Remove(statePath(c)); err != nil && !os.IsNotExist(err) {
		return err // the old failures must not be taken for new ones
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	output, err := os.OpenFile(outputPath(c, supervisorName), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	defer output.Close()
	cmd := exec.Command(self, append([]string{"run"}, flags...)...)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd.Start()
}

// waitServing returns once all tiers serve, or says which does not, why, and where its log is.
func waitServing(c *tier.Config, out io.Writer) error {
	deadline := time.Now().Add(startTimeout)
	noSupervisor := time.Now().Add(5 * time.Second)
	for {
		s, err := readState(c)
		if err != nil {
			return err
		}
		if s.Supervisor != 0 && s.all(stateReady) {
			fmt.Fprintf(out, "ready: clients on %s, metrics on %s, data in %s\n", c.Listen, c.AdminListen, c.DataDir)
			return nil
		}
		for _, t := range s.tiers(stateFailed) {
			return explain(c, t, "failed")
		}
		if s.Supervisor == 0 && time.Now().After(noSupervisor) {
			return fmt.Errorf("the supervisor does not run:\n%s", tail(outputPath(c, supervisorName), 5))
		}
		if time.Now().After(deadline) {
			for _, t := range s.Tiers {
				if t.State != stateReady {
					return explain(c, t, fmt.Sprintf("is %s still after %v (it goes on)", t.State, startTimeout))
				}
			}
		}
		time.Sleep(pollReady)
	}
}

func (s serverState) tiers(state string) []tierState {
	var list []tierState
	for _, t := range s.Tiers {
		if t.State == state {
			list = append(list, t)
		}
	}
	return list
}

func explain(c *tier.Config, t tierState, what string) error {
	return errors.Join(
		fmt.Errorf("%s %s: %s", t.Name, what, t.Reason),
		fmt.Errorf("its last words, in %s:\n%s", outputPath(c, t.Name), tail(outputPath(c, t.Name), 5)),
		fmt.Errorf("its log: %s", filepath.Clean(tier.PathsOf(c, t.Name).Log)))
}
