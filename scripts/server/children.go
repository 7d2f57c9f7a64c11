package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// haltTime bounds how long a supervisor may take to stand still; longer than any program takes to
// be started.
const haltTime = 2 * time.Second

// childrenOf stops a supervisor and returns what it has started, in which there may be a daemon so
// young that it has no lock yet: who kills by locks alone would miss it, and it would go on when all
// seem to be dead. The supervisor cannot start another one any more, nor can the number of a child that
// ended be given away; so it is killed next.
func childrenOf(supervisor *target) ([]*target, error) {
	if err := supervisor.signal(syscall.SIGSTOP); err != nil {
		return nil, err
	}
	for end := time.Now().Add(haltTime); !standsStill(supervisor.pid) && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", supervisor.pid))
	if err != nil {
		return nil, err
	}
	var children []*target
	for _, path := range lists {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // a thread that has ended
		}
		for word := range strings.FieldsSeq(string(text)) {
			pid, err := strconv.Atoi(word)
			if err != nil {
				return children, fmt.Errorf("%s: %w", path, err)
			}
			if fd, err := unix.PidfdOpen(pid, 0); err == nil {
				children = append(children, &target{pid, fd})
			}
		}
	}
	return children, nil
}

// standsStill tells whether no thread of a process makes a step, or it is dead. One that is starting a
// program does not stand still before that runs.
func standsStill(pid int) bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		return false
	}
	for _, path := range threads {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		_, state, found := strings.Cut(string(text), ") ")
		if found && !strings.HasPrefix(state, "T") && !strings.HasPrefix(state, "Z") {
			return false
		}
	}
	return true
}
