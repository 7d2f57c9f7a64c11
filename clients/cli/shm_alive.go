package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// clockTicks is what the kernel counts a process's start in, for each second: USER_HZ, which is
// part of its interface.
const clockTicks = 100

// alive says whether the process that took something over at a time still lives. A process that
// has its number now and began later is another one.
func alive(pid int, since time.Time) bool {
	if pid <= 0 {
		return false
	}
	if err := unix.Kill(pid, 0); err != nil && !errors.Is(err, unix.EPERM) {
		return false
	}
	state, began, err := startOf(pid)
	if err != nil {
		return !errors.Is(err, os.ErrNotExist) // without /proc the number is all that is known
	}
	return state != "Z" && began.Before(since.Add(2*time.Second)) // the two clocks are read apart
}

// startOf reads a process's state and when it began.
func startOf(pid int) (state string, began time.Time, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", time.Time{}, err
	}
	// The name, in brackets, may hold anything.
	_, rest, _ := strings.Cut(string(text[strings.LastIndexByte(string(text), ')')+1:]), " ")
	fields := strings.Fields(rest)
	const stateField, startField = 0, 19
	if len(fields) <= startField {
		return "", time.Time{}, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	ticks, err := strconv.ParseInt(fields[startField], 10, 64)
	if err != nil {
		return "", time.Time{}, err
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return "", time.Time{}, err
	}
	ago := time.Duration(now.Nano()) - time.Duration(ticks)*(time.Second/clockTicks)
	return fields[stateField], time.Now().Add(-ago), nil
}
