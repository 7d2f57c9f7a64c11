//go:build failpoints

package failpoint

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// Enabled says whether this build can stop at failpoints.
const Enabled = true

// Variable is the environment variable that names the place to die at.
const Variable = "TRIMQ_DIE_AT"

// Handler is called at every crossing of every place. It may return, panic (the simulator
// drops its daemon so) or end the process. Set it before the first crossing.
var Handler = chosen(os.Getenv(Variable), os.Getenv(TableVariable))

// Hit marks a place where the process may die.
func Hit(name string) {
	if Handler != nil {
		Handler(name)
	}
}

// chosen is the handler that the environment asks for. What cannot be understood ends the process: a
// crash test that never crashes would pass for nothing.
func chosen(order, tables string) func(string) {
	if tables == "" {
		return fromEnvironment(order)
	}
	table, err := OpenTable(filepath.Join(tables, filepath.Base(os.Args[0])))
	if err != nil {
		refuse(fmt.Errorf("%s: %w", TableVariable, err))
	}
	return countIn(table, die)
}

// countIn counts crossings in a table and calls end where it says so.
func countIn(table *Table, end func()) func(string) {
	return func(name string) {
		fatal, err := table.cross(name)
		if err != nil {
			refuse(err)
		}
		if fatal {
			end()
		}
	}
}

func refuse(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(2)
}

// fromEnvironment builds the handler that TRIMQ_DIE_AT asks for.
func fromEnvironment(value string) func(string) {
	if value == "" {
		return nil
	}
	place, n, err := parse(value)
	if err != nil {
		refuse(err)
	}
	return dieAt(place, n, die)
}

// parse splits "name:n".
func parse(value string) (place string, n uint64, err error) {
	i := strings.LastIndexByte(value, ':')
	if i <= 0 {
		return "", 0, fmt.Errorf("%s=%q: want name:n", Variable, value)
	}
	n, err = strconv.ParseUint(value[i+1:], 10, 63)
	if err != nil || n == 0 {
		return "", 0, fmt.Errorf("%s=%q: want name:n with n from 1", Variable, value)
	}
	return value[:i], n, nil
}

// dieAt counts crossings of place and calls end at the n-th.
func dieAt(place string, n uint64, end func()) func(string) {
	var crossings atomic.Uint64
	return func(name string) {
		if place != "*" && place != name {
			return
		}
		if crossings.Add(1) == n {
			end()
		}
	}
}

// die kills the process; the calling goroutine never takes another step.
func die() {
	_ = syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
	select {}
}
