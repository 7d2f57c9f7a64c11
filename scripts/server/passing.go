package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/trimq/trimq/shmqueue/tier"
)

// The supervisor is replaced by signal 12, too: its program by exec, while the daemons stay its children.
// What it knows of them goes over in a file in memory; each process goes over as its pidfd, so that
// one which ends in between is not taken for another.

// passedTier is what goes over of one daemon.
type passedTier struct {
	tierState
	Process  int       `json:"process,omitempty"` // its pidfd; 0: none runs
	Failures int       `json:"failures,omitempty"`
	ReadyAt  time.Time `json:"ready_at"`
	RetryAt  time.Time `json:"retry_at"`
}

// mayLeave has signal 12 replace the program.
func (s *supervisor) mayLeave(p program) {
	s.program = p
	p.OnHandOver(func() { s.leaving <- struct{}{} })
}

// leave makes the program on the disk that of this process. If it returns, that could not be.
func (s *supervisor) leave() error {
	for len(s.ends) > 0 {
		s.ended(<-s.ends)
	}
	var list []passedTier
	var fds []int
	for _, t := range s.tiers {
		x := passedTier{tierState: t.tierState, Failures: t.failures, ReadyAt: t.readyAt, RetryAt: t.retryAt}
		if t.process != nil {
			x.Process = t.process.fd
			fds = append(fds, x.Process)
		}
		list = append(list, x)
	}
	state, err := inMemory(list)
	if err != nil {
		return err
	}
	defer unix.Close(state)
	s.log.Info("passing the daemons on", "running", len(fds))
	return s.program.Replace(state, fds)
}

// inMemory makes a file in memory of what goes over.
func inMemory(list []passedTier) (fd int, err error) {
	b, err := json.Marshal(list)
	if err != nil {
		return -1, err
	}
	if fd, err = unix.MemfdCreate("trimq-supervisor", unix.MFD_CLOEXEC); err != nil {
		return -1, fmt.Errorf("memory for what is known of the daemons: %w", err)
	}
	if n, err := unix.Pwrite(fd, b, 0); err != nil || n < len(b) {
		unix.Close(fd)
		return -1, fmt.Errorf("write what is known of the daemons: %d of %d bytes, %w", n, len(b), err)
	}
	return fd, nil
}

// takeOver goes on with what the predecessor has passed on; false: it cannot be read, and the daemons are
// to be found by their locks, as after its death.
func (s *supervisor) takeOver(state int) bool {
	f := os.NewFile(uintptr(state), "what the predecessor knew")
	defer f.Close()
	var list []passedTier
	err := json.NewDecoder(f).Decode(&list)
	if err == nil && len(list) != len(tier.Daemons) {
		err = fmt.Errorf("it tells of %d daemons", len(list))
	}
	for i := 0; err == nil && i < len(list); i++ {
		if list[i].Name != tier.Daemons[i] {
			err = fmt.Errorf("%q stands in the place of %s", list[i].Name, tier.Daemons[i])
		}
	}
	if err != nil {
		s.log.Error("what the predecessor has passed on cannot be read", "err", err)
		return false
	}
	for i, x := range list {
		t := s.tiers[i]
		t.tierState, t.failures, t.readyAt, t.retryAt = x.tierState, x.Failures, x.ReadyAt, x.RetryAt
		if x.Process > 0 {
			unix.CloseOnExec(x.Process)
			t.process = &target{x.PID, x.Process}
			go t.process.watch(t.Name, s.ends)
		}
	}
	s.save()
	return true
}
