package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/trimq/trimq/shmqueue"
	"github.com/trimq/trimq/shmqueue/tier"
	"golang.org/x/sys/unix"
)

// stopMark tells the supervisor that a tier was stopped on purpose.
func stopMark(c *tier.Config, name string) string {
	return filepath.Join(c.RunDir, name+".stopped")
}

func stoppedOnPurpose(c *tier.Config, name string) bool {
	_, err := os.Stat(stopMark(c, name))
	return err == nil
}

// parseSignal reads a number or a name, with or without SIG, as kill does.
func parseSignal(word string) (syscall.Signal, error) {
	if n, err := strconv.Atoi(word); err == nil {
		if n < 1 || n > 64 {
			return 0, fmt.Errorf("%w: signal %d does not exist (1 … 64)", tier.ErrUsage, n)
		}
		return syscall.Signal(n), nil
	}
	name := strings.ToUpper(word)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	if s := unix.SignalNum(name); s != 0 {
		return s, nil
	}
	return 0, fmt.Errorf("%w: unknown signal %q: want a number or a name such as 15, TERM, SIGTERM", tier.ErrUsage, word)
}

func stop(c *tier.Config, words []string, out io.Writer) error {
	if len(words) == 0 || len(words) > 2 {
		return fmt.Errorf("%w: want: stop SIGNAL [TIER]", tier.ErrUsage)
	}
	sig, err := parseSignal(words[0])
	if err != nil {
		return err
	}
	if len(words) == 2 {
		return signalOne(c, words[1], sig, out)
	}
	switch sig {
	case syscall.SIGTERM, syscall.SIGINT:
		return stopAll(c, sig, out)
	case syscall.SIGKILL:
		return killAll(c, out)
	case syscall.SIGUSR2:
		return handOver(c, append(slices.Clone(tier.Daemons), supervisorName), out)
	}
	found := false
	for _, name := range tier.Daemons {
		ok, err := send(c, name, sig)
		if err != nil {
			return err
		}
		found = found || ok
	}
	if !found {
		return notRunning(c)
	}
	return nil
}

func notRunning(c *tier.Config) error {
	return fmt.Errorf("no daemon runs with run_dir %s", c.RunDir)
}

// send signals a daemon; false where it does not run.
func send(c *tier.Config, name string, sig syscall.Signal) (bool, error) {
	t, err := openTarget(c, name)
	if err != nil || t == nil {
		return false, err
	}
	defer t.close()
	if err := t.signal(sig); err != nil {
		return true, fmt.Errorf("signal %d to %s: %w", sig, name, err)
	}
	return true, nil
}

func signalOne(c *tier.Config, name string, sig syscall.Signal, out io.Writer) error {
	if !slices.Contains(tier.Daemons, name) && (name != supervisorName || sig != syscall.SIGUSR2) {
		return fmt.Errorf("%w: unknown tier %q: want one of %s", tier.ErrUsage, name, strings.Join(tier.Daemons, ", "))
	}
	if sig == syscall.SIGUSR2 {
		return handOver(c, []string{name}, out)
	}
	t, err := openTarget(c, name)
	if err != nil {
		return err
	}
	if t == nil {
		return fmt.Errorf("%s does not run (run_dir %s)", name, c.RunDir)
	}
	defer t.close()
	ends := sig == syscall.SIGTERM || sig == syscall.SIGINT
	if ends {
		if err := os.WriteFile(stopMark(c, name), nil, 0o644); err != nil {
			return err
		}
	}
	if err := t.signal(sig); err != nil {
		return err
	}
	if !ends && sig != syscall.SIGKILL {
		return nil
	}
	if !t.wait(patience(c)) {
		return fmt.Errorf("%s (process %d) has not ended within %v", name, t.pid, patience(c))
	}
	fmt.Fprintf(out, "%s ended\n", name)
	return nil
}

// patience is how long a daemon may take to drain and end.
func patience(c *tier.Config) time.Duration {
	return time.Duration(c.DrainTimeoutMS)*time.Millisecond + 20*time.Second
}

// stopAll stops the broker in order: by its supervisor, or, where that is dead, itself.
func stopAll(c *tier.Config, sig syscall.Signal, out io.Writer) error {
	sup, err := openTarget(c, supervisorName)
	if err != nil {
		return err
	}
	if sup == nil {
		s, err := readState(c)
		if err != nil {
			return err
		}
		if s.all(stateStopped) || len(s.tiers(stateFailed)) == len(s.Tiers) {
			return notRunning(c)
		}
		processes, err := openTargets(c)
		if err == nil {
			err = stopInOrder(c, processes, sig)
		}
		if err != nil {
			return err
		}
	} else {
		defer sup.close()
		if err := sup.signal(sig); err != nil {
			return err
		}
		if !sup.wait(time.Duration(len(tier.Daemons)+1) * patience(c)) {
			return fmt.Errorf("the supervisor (process %d) has not ended: see %s", sup.pid, tier.PathsOf(c, supervisorName).Log)
		}
	}
	fmt.Fprintln(out, "stopped")
	return nil
}

// killAll kills the supervisor first, so that it starts nothing again, and with it what it has
// started. The segments stay: the next start goes on from them.
func killAll(c *tier.Config, out io.Writer) error {
	var targets []*target
	defer func() {
		for _, t := range targets {
			t.close()
		}
	}()
	sup, err := openTarget(c, supervisorName)
	if err != nil {
		return err
	}
	if sup != nil {
		children, err := childrenOf(sup)
		if targets = append(append(targets, sup), children...); err != nil {
			return err
		}
	}
	if err := killEach(targets, patience(c)); err != nil {
		return err
	}
	daemons, err := openTargets(c) // adopted ones are nobody's children
	for _, t := range daemons {
		if t != nil {
			targets = append(targets, t)
		}
	}
	if err == nil {
		err = killEach(targets, patience(c))
	}
	switch {
	case err != nil:
		return err
	case len(targets) == 0:
		return notRunning(c)
	}
	fmt.Fprintln(out, "killed")
	return nil
}

// killEach kills processes, some of which may be dead, and waits for their ends.
func killEach(targets []*target, patience time.Duration) error {
	for _, t := range targets {
		if err := t.signal(syscall.SIGKILL); err != nil {
			return err
		}
		t.wait(patience)
	}
	return nil
}

// stopInOrder ends connsrv, logicsrv and persistsrv, each after it has drained, and
// removes the segments, which hold nothing then that is not in the log. The processes are
// in the order of tier.Daemons; nil where none runs.
func stopInOrder(c *tier.Config, processes []*target, sig syscall.Signal) error {
	var errs []error
	for i, t := range slices.Backward(processes) {
		if t == nil {
			continue
		}
		errs = append(errs, t.signal(sig))
		if !t.wait(patience(c)) {
			errs = append(errs, fmt.Errorf("%s has not ended within %v and was killed; what it held is in the segments", tier.Daemons[i], patience(c)), t.signal(syscall.SIGKILL))
			t.wait(patience(c))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return removeSegments(c)
}

// openTargets finds all daemons by their locks.
func openTargets(c *tier.Config) ([]*target, error) {
	var list []*target
	for _, name := range tier.Daemons {
		t, err := openTarget(c, name)
		if err != nil {
			return nil, err
		}
		list = append(list, t)
	}
	return list, nil
}

// removeSegments removes the broker's segments after a clean stop. One that somebody is
// attached to (an inspection tool) stays.
func removeSegments(c *tier.Config) error {
	request, response, log, metrics := tier.Keys(c.ShmKeyBase)
	var errs []error
	for _, key := range []int{request, response, log, metrics} {
		if err := shmqueue.Remove(key); err != nil && !errors.Is(err, shmqueue.ErrNoSegment) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
