package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/trimq/trimq/shmqueue/tier"
)

// States of a tier.
const (
	stateStarting = "starting" // its process runs, but does not serve yet
	stateReady    = "ready"
	stateBackOff  = "back-off" // died; started again at a known time
	stateStopped  = "stopped"  // by stop; stays so until start
	stateFailed   = "failed"   // given up: see reason and log; start tries again
)

// tierState is what the supervisor knows of one daemon, as it stands in the state file.
type tierState struct {
	Name     string    `json:"name"`
	State    string    `json:"state"`
	PID      int       `json:"pid,omitempty"`
	Since    time.Time `json:"since"`
	Restarts int       `json:"restarts"`
	Version  string    `json:"version,omitempty"` // and commit, of what serves
	Reason   string    `json:"reason,omitempty"`  // of the last end
}

// serverState is the state file run_dir/state.json.
type serverState struct {
	Supervisor int         `json:"supervisor"`
	Tiers      []tierState `json:"tiers"`
}

func statePath(c *tier.Config) string { return filepath.Join(c.RunDir, "state.json") }

func writeState(c *tier.Config, s serverState) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	tmp := statePath(c) + ".tmp"
	if err := os.WriteFile(tmp, b, 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, statePath(c))
}

// readState returns the state file corrected by the facts: who holds the locks now.
func readState(c *tier.Config) (serverState, error) {
	var s serverState
	b, err := os.ReadFile(statePath(c))
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil && !os.IsNotExist(err) {
		return s, fmt.Errorf("state file %s: %w; remove it: the supervisor writes it anew with the next change", statePath(c), err)
	}
	if !s.complete() {
		s.Tiers = nil
		for _, name := range tier.Daemons {
			s.Tiers = append(s.Tiers, tierState{Name: name, State: stateStopped})
		}
	}
	if s.Supervisor, err = tier.LockHolder(tier.PathsOf(c, supervisorName).Lock); err != nil {
		return s, err
	}
	for i := range s.Tiers {
		t := &s.Tiers[i]
		if t.PID, err = tier.LockHolder(tier.PathsOf(c, t.Name).Lock); err != nil {
			return s, err
		}
		t.Version = ""
		switch {
		case t.PID != 0 && isReady(c, t.Name, t.PID):
			t.State = stateReady
			_, t.Version = tier.ReadReady(c, t.Name)
		case t.PID != 0:
			t.State = stateStarting
		case s.Supervisor == 0 && t.State != stateFailed:
			t.State = stateStopped
		case t.State == stateReady && stoppedOnPurpose(c, t.Name):
			t.State = stateStopped // and the supervisor has not noticed yet
		case t.State == stateReady:
			t.State = stateBackOff // likewise
		}
	}
	return s, nil
}

// complete says whether it is about the three daemons, each once.
func (s serverState) complete() bool {
	return slices.EqualFunc(s.Tiers, tier.Daemons, func(t tierState, name string) bool { return t.Name == name })
}

func (s serverState) all(state string) bool {
	for _, t := range s.Tiers {
		if t.State != state {
			return false
		}
	}
	return true
}

// status shows the state. Exit codes: 0 all serve, 3 nothing runs, 1 anything between.
func status(c *tier.Config, words []string, out io.Writer) error {
	s, err := readState(c)
	if err != nil {
		return err
	}
	switch {
	case len(words) == 0:
		w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
		fmt.Fprintln(w, "TIER\tSTATE\tPID\tSINCE\tRESTARTS\tVERSION\tLAST END")
		for _, t := range s.Tiers {
			since := "-"
			if !t.Since.IsZero() {
				since = time.Since(t.Since).Round(time.Second).String()
			}
			fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%d\t%s\t%s\n", t.Name, t.State, t.PID, since, t.Restarts, cmp.Or(t.Version, "-"), t.Reason)
		}
		if err := w.Flush(); err != nil {
			return err
		}
		if s.Supervisor == 0 {
			fmt.Fprintln(out, "no supervisor runs: a daemon that dies is not started again")
		}
	case len(words) == 1 && words[0] == "json":
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		if err := e.Encode(s); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%w: status takes nothing or json, not %q", tier.ErrUsage, words)
	}
	switch {
	case s.all(stateReady) && s.Supervisor != 0:
		return nil
	case s.all(stateStopped):
		return exitError(3)
	}
	return exitError(1)
}
