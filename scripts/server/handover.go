package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/trimq/trimq/shmqueue/tier"
)

// handOverTime bounds how long a daemon may take to try the program on the disk, to leave, and to
// serve again; a long recovery goes on after it.
const handOverTime = 60 * time.Second

// handOver has daemons upgrade themselves to the programs on the disk, one after the other in the
// order of their start: what reads a newer format is there before what writes it.
func handOver(c *tier.Config, names []string, out io.Writer) error {
	found := false
	for _, name := range names {
		running, err := handOverOne(c, name, out)
		if err != nil {
			return err
		}
		found = found || running
	}
	if !found {
		return notRunning(c)
	}
	return nil
}

// handOverOne upgrades a daemon and waits until it serves again; false: it does not run.
func handOverOne(c *tier.Config, name string, out io.Writer) (running bool, err error) {
	t, err := openTarget(c, name)
	if err != nil || t == nil {
		return false, err
	}
	defer t.close()
	if name == supervisorName && !isReady(c, name, t.pid) {
		fmt.Fprintln(out, "the supervisor is of a version that does not hand over: kill it with 9 and start")
		return true, nil
	}
	outcome := tier.PathsOf(c, name).Outcome
	if err := os.Remove(outcome); err != nil && !errors.Is(err, os.ErrNotExist) {
		return true, err
	}
	_, before := tier.ReadReady(c, name)
	began := time.Now()
	if err := t.signal(syscall.SIGUSR2); err != nil {
		return true, fmt.Errorf("signal 12 to %s: %w", name, err)
	}
	for time.Since(began) < handOverTime {
		text, err := os.ReadFile(outcome)
		said := strings.TrimSpace(string(text))
		switch {
		case err == nil && strings.HasPrefix(said, "done:"):
			fmt.Fprintf(out, "%s: handed over from %s to %s in %v\n", name, before, strings.TrimSpace(said[len("done:"):]), time.Since(began).Round(time.Millisecond))
			return true, nil
		case err == nil && said != "":
			return true, fmt.Errorf("%s (process %d): hand-over %s", name, t.pid, said)
		case t.wait(pollReady):
			return true, fmt.Errorf("%s (process %d) died in the hand-over; its supervisor starts the program on the disk: see %s", name, t.pid, tier.PathsOf(c, name).Log)
		}
	}
	return true, fmt.Errorf("%s (process %d) does not serve again within %v: see %s", name, t.pid, handOverTime, tier.PathsOf(c, name).Log)
}
