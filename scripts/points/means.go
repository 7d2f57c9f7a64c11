package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/shmqueue"
	"github.com/trimq/trimq/shmqueue/tier"
)

// stalled is how long a daemon stands still.
const stalled = 300 * time.Millisecond

// means is something done to a broker, while it is toured, that leads to points.
type means struct {
	name   string
	do     func(w *walk, daemon string) error
	behind bool // the tour, not under it: clients are told that the broker shuts down, and may give up
	each   bool // it is done to the daemon, not to all
}

// allMeans, from the gentlest on.
var allMeans = []means{
	{name: "load", do: func(*walk, string) error { return nil }},
	{name: "reload", do: func(w *walk, _ string) error { return w.b.Signal("1") }},
	{name: "kill", do: (*walk).kill, each: true},
	stall("persistsrv"), stall("logicsrv"), stall("connsrv"),
	{name: "restart", do: (*walk).restart, behind: true},
	{name: "reboot", do: func(w *walk, _ string) error { return w.reboot(nil) }},
	{name: "torn log", do: func(w *walk, _ string) error { return w.reboot(w.tear) }},
}

// kill kills a daemon, which may be dead already.
func (w *walk) kill(daemon string) error {
	_ = w.b.Kill(daemon)
	return nil
}

// stall stops one daemon for a time in which rings fill up, whichever daemon is to die of it.
func stall(name string) means {
	return means{name: "stall " + name, do: func(w *walk, _ string) error {
		_ = w.b.Signal("STOP", name) // it may be dead
		flooded := make(chan error, 1)
		go func() { flooded <- w.book.flood() }()
		time.Sleep(stalled)
		_ = w.b.Signal("CONT", name)
		return <-flooded
	}}
}

// restart stops all in an orderly way, in which a daemon may die, and starts them again.
func (w *walk) restart(string) error {
	_ = w.b.Signal("15")
	return w.heal()
}

// reboot kills all, removes the segments, and starts again, as after a boot that the page cache has
// survived; meanwhile does something to what lies on the disk.
func (w *walk) reboot(meanwhile func() error) error {
	if err := w.b.Signal("9"); err != nil {
		return err
	}
	for k := w.b.KeyBase; k < w.b.KeyBase+4; k++ {
		if err := shmqueue.Remove(k); err != nil && !errors.Is(err, shmqueue.ErrNoSegment) {
			return err
		}
	}
	if meanwhile != nil {
		if err := meanwhile(); err != nil {
			return err
		}
	}
	return w.heal()
}

// tear puts behind the log's end what an append that power cut short may have left there.
func (w *walk) tear() error {
	files, err := filepath.Glob(filepath.Join(w.b.Config.DataDir, commitlog.LogDir, "*.log"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no log files to tear in %s (%v)", w.b.Config.DataDir, err)
	}
	f, err := os.OpenFile(files[len(files)-1], os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, 777))
	return errors.Join(err, f.Close())
}

// heal waits until all daemons serve; who has no supervisor, or was given up, is started.
func (w *walk) heal() error {
	var last error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		states, err := w.b.States()
		supervisor, err2 := tier.LockHolder(tier.PathsOf(w.b.Config, "supervisor").Lock)
		if last = errors.Join(err, err2); last != nil {
			continue
		}
		ready := 0
		for _, s := range states {
			if s.State == "ready" {
				ready++
			}
			if s.State == "failed" || s.State == "stopped" {
				supervisor = 0
			}
		}
		last = fmt.Errorf("%v", states)
		switch {
		case supervisor == 0:
			_ = w.b.Start() // it fails where a daemon dies while it starts; then it is looked at again
		case ready == len(tier.Daemons):
			return nil
		}
	}
	return fmt.Errorf("not all daemons serve: %w", last)
}

// tables are the daemons' tables of crossings.
type tables map[string]*failpoint.Table

func openTables(dir string) (tables, error) {
	all := tables{}
	for _, name := range tier.Daemons {
		t, err := failpoint.OpenTable(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		all[name] = t
	}
	return all, nil
}

// count is how often each point has been crossed so far.
func (t tables) count() map[point]uint64 {
	all := map[point]uint64{}
	for daemon, table := range t {
		for name, n := range table.Crossings() {
			all[point{daemon, name}] = n
		}
	}
	return all
}
