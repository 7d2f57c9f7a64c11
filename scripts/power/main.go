package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/trimq/trimq/scripts/broker"
	"github.com/trimq/trimq/scripts/loopdisk"
	"github.com/trimq/trimq/shmqueue"
)

// patience bounds every wait.
const patience = 60 * time.Second

type settings struct {
	cycles int
	seed   uint64
	fs     string
	rule   string
	vm     string // directory of powerloss.sh
	mode   string // of its disk
}

// layout makes segments, indexes and checkpoints small, so that a cut can hit any of them.
var layout = map[string]string{
	"ring_request_bytes": `"4Mi"`, "max_frame_bytes": `"512Ki"`, "segment_bytes": `"1Mi"`, "index_entries": "256",
	"checkpoint_seconds": "1", "checkpoint_bytes": `"1Mi"`, "disk_reserve_bytes": `"16Mi"`,
}

func main() {
	var s settings
	flag.IntVar(&s.cycles, "cycles", 5, "power cuts")
	flag.Uint64Var(&s.seed, "seed", uint64(time.Now().UnixNano()%1_000_000), "of sizes, pauses and the times of the cuts")
	flag.StringVar(&s.fs, "fs", "ext4", "file system: ext4 or xfs")
	flag.StringVar(&s.rule, "break", "", "a rule that the daemons break: the exit code is 0 if that is found")
	flag.StringVar(&s.vm, "vm", "", "directory of powerloss.sh and its helpers: cut the power of a virtual machine instead")
	flag.StringVar(&s.mode, "mode", "random", "what that machine's disk does with what was not flushed: lose, random or keep")
	inside := flag.String("inside", "", "what to do within that machine: write, or check FILE")
	flag.Parse()
	err := do(&s, *inside)
	switch {
	case errors.Is(err, loopdisk.ErrNotHere):
		fmt.Println("power: skipped:", err)
	case err != nil:
		fmt.Fprintln(os.Stderr, "power:", err)
		os.Exit(1)
	}
}

func do(s *settings, inside string) error {
	switch {
	case inside == "write":
		return guestWrite(s)
	case inside == "check":
		return guestCheck(s, flag.Arg(0))
	case s.vm != "":
		return runVM(s)
	}
	return run(s)
}

// errWrong: something was not as promised.
var errWrong = errors.New("not as promised")

func run(s *settings) (err error) {
	scratch, err := os.MkdirTemp("", "trimq-power-")
	if err != nil {
		return err
	}
	d, err := loopdisk.Make(scratch, s.fs)
	if err != nil {
		return errors.Join(err, os.RemoveAll(scratch))
	}
	defer func() { err = errors.Join(err, d.Unmount(), os.RemoveAll(scratch)) }()
	b, err := newBroker(s, d, scratch)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Cleanup()) }()
	fmt.Printf("power: %d cycles on %s, seed %d\n", s.cycles, s.fs, s.seed)
	err = cycles(s, b, d)
	switch {
	case s.rule == "":
		return err
	case errors.Is(err, errWrong):
		fmt.Printf("power: with the rule %s broken, as it should be:\n%v\n", s.rule, err)
		return nil
	}
	return errors.Join(fmt.Errorf("the rule %s is broken, the power was cut, and nothing is missing", s.rule), err)
}

func newBroker(s *settings, d *loopdisk.Disk, scratch string) (*broker.Broker, error) {
	all := maps.Clone(layout)
	all["data_dir"] = fmt.Sprintf("%q", filepath.Join(d.Dir, "data"))
	b, err := broker.New(scratch, all)
	if err != nil || s.rule == "" {
		return b, err
	}
	b.Bin = filepath.Join(scratch, "bin")
	if err := os.Mkdir(b.Bin, 0o755); err != nil {
		return nil, err
	}
	return b, broker.BuildFailpoints(b.Bin, s.rule)
}

func cycles(s *settings, b *broker.Broker, d *loopdisk.Disk) error {
	if err := b.Start(); err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(s.seed, 0))
	for n := range s.cycles {
		if err := cycle(b, d, n, r); err != nil {
			return fmt.Errorf("cycle %d of seed %d: %w", n, s.seed, err)
		}
	}
	return nil
}

// cycle is one life of the machine.
func cycle(b *broker.Broker, d *loopdisk.Disk, n int, r *rand.Rand) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	l := newLoad(n, r)
	if err := l.begin(ctx, b.Addr); err != nil {
		return err
	}
	time.Sleep(time.Duration(300+r.IntN(1500)) * time.Millisecond)
	if r.IntN(3) == 0 { // or what is at level page is synced with the rest
		l.hush()
		time.Sleep(time.Duration(100+r.IntN(600)) * time.Millisecond)
	}
	if err := cut(b, d, time.Duration(r.IntN(200))*time.Millisecond); err != nil {
		return err
	}
	if err := l.end(); err != nil {
		return err
	}
	if err := revive(b, d); err != nil {
		return err
	}
	t, wrong, err := l.check(ctx, b.Addr)
	if err != nil {
		return err
	}
	if out, err := b.Program("trimq", "log", "verify", b.Config.DataDir); err != nil {
		wrong = append(wrong, fmt.Sprintf("trimq log verify: %v\n%s", err, out))
	}
	fmt.Printf("  cycle %2d: %s\n", n, t)
	if len(wrong) > 0 {
		return fmt.Errorf("%w:\n%s", errWrong, strings.Join(wrong, "\n"))
	}
	return nil
}

// cut cuts the power, and lets the daemons live on for a while. No sync is under way at the cut: shutting
// a file system down is not done at one instant, and such a sync may return without an error, its work
// half undone.
func cut(b *broker.Broker, d *loopdisk.Disk, unnoticed time.Duration) error {
	if err := b.Signal("STOP", "persistsrv"); err != nil {
		return err
	}
	if err := standstill(b, "persistsrv"); err != nil {
		return err
	}
	if err := d.Cut(); err != nil {
		return err
	}
	if err := b.Signal("CONT", "persistsrv"); err != nil {
		return err
	}
	time.Sleep(unnoticed)
	return b.Signal("9")
}

// standstill waits until no thread of a stopped daemon is in a system call any more.
func standstill(b *broker.Broker, name string) error {
	states, err := b.States()
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", states[name].PID))
		if err != nil || len(threads) == 0 {
			return fmt.Errorf("no threads of %s (%v)", name, err)
		}
		busy := 0
		for _, path := range threads {
			text, err := os.ReadFile(path)
			if _, state, _ := strings.Cut(string(text), ") "); err == nil && !strings.HasPrefix(state, "T") {
				busy++
			}
		}
		if busy == 0 {
			return nil
		}
	}
	return fmt.Errorf("%s does not stand still", name)
}

// revive is the boot after the cut.
func revive(b *broker.Broker, d *loopdisk.Disk) error {
	for k := b.KeyBase; k < b.KeyBase+4; k++ {
		if err := shmqueue.Remove(k); err != nil && !errors.Is(err, shmqueue.ErrNoSegment) {
			return err
		}
	}
	if err := d.Restore(); err != nil {
		return err
	}
	if err := b.Start(); err != nil {
		return fmt.Errorf("%w: the broker does not start on what is left: %w", errWrong, err)
	}
	return nil
}
