package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/trimq/trimq/scripts/broker"
)

// runVM cuts the power of a virtual machine, whose disk has a cache that loses what was not flushed: the
// kernel's page cache, the file system's journal and the disk's cache go as on a real machine. Each cycle is a
// new machine with an empty disk.
func runVM(s *settings) error {
	dir, err := os.MkdirTemp("", "trimq-power-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := guestPrograms(dir, s.rule); err != nil {
		return err
	}
	fmt.Printf("power: %d cycles in a virtual machine, %s, seed %d\n", s.cycles, s.mode, s.seed)
	r := rand.New(rand.NewPCG(s.seed, 0))
	for n := range s.cycles {
		told, err := cycleVM(s, dir, r.Uint64N(1_000_000))
		fmt.Printf("  cycle %2d: %s\n", n, told)
		switch {
		case err != nil && s.rule != "" && strings.Contains(err.Error(), errWrong.Error()):
			fmt.Printf("power: with the rule %s broken, as it should be:\n%v\n", s.rule, err)
			return nil
		case err != nil:
			return fmt.Errorf("cycle %d of seed %d: %w", n, s.seed, err)
		}
	}
	if s.rule != "" {
		return fmt.Errorf("the rule %s is broken, the power was cut, and nothing is missing", s.rule)
	}
	return nil
}

// guestPrograms puts all that the machine needs into a directory.
func guestPrograms(dir, rule string) error {
	root, err := broker.Root()
	if err != nil {
		return err
	}
	if err := broker.BuildFailpoints(dir, rule); err != nil {
		return err
	}
	cmd := exec.Command("go", "build", "-buildvcs=false", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(dir, "power"), "./scripts/power")
	cmd.Dir, cmd.Stderr = root, os.Stderr
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go build: %w", err)
	}
	return nil
}

// diskMB is the size of the machine's disk.
const diskMB = "1024"

// cycleVM is one machine's life, cut and second life. told is what it says of itself.
func cycleVM(s *settings, dir string, seed uint64) (told string, err error) {
	script := filepath.Join(s.vm, "powerloss.sh")
	cmd := exec.Command(script, "-M", s.mode, "-s", fmt.Sprint(seed), "-S", diskMB, dir,
		fmt.Sprintf("./power -inside write -seed %d", seed), fmt.Sprintf("./power -inside check -seed %d acks", seed))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err = cmd.Run(); err != nil {
		err = fmt.Errorf("%s: %w\n%s", script, err, out.String())
	}
	for line := range strings.Lines(out.String()) {
		if strings.HasPrefix(line, "acknowledged at disk") || strings.HasPrefix(line, "voldisk: cut") {
			told += strings.TrimSpace(line) + "; "
		}
	}
	return strings.TrimSuffix(told, "; "), err
}
