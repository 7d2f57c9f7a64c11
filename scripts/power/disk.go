package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// errSkip: power cannot be cut here.
var errSkip = errors.New("skipped")

const diskBytes = 1 << 30

// disk is a file system on a loop file, whose power can be cut.
type disk struct{ image, dir string }

// mountDisk makes one in a scratch directory.
func mountDisk(scratch, kind string) (*disk, error) {
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("%w: only root can mount a file system whose power can be cut", errSkip)
	}
	d := &disk{filepath.Join(scratch, "image"), filepath.Join(scratch, "disk")}
	if err := errors.Join(os.WriteFile(d.image, nil, 0o600), os.Truncate(d.image, diskBytes), os.Mkdir(d.dir, 0o755)); err != nil {
		return nil, err
	}
	quiet := map[string][]string{"ext4": {"-q", "-F"}, "xfs": {"-q", "-f"}}[kind]
	if quiet == nil {
		return nil, fmt.Errorf("file system %q: want ext4 or xfs", kind)
	}
	if out, err := exec.Command("mkfs."+kind, append(quiet, d.image)...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: mkfs.%s: %v %s", errSkip, kind, err, out)
	}
	if err := d.mount(); err != nil {
		return nil, fmt.Errorf("%w: %v", errSkip, err)
	}
	return d, nil
}

func (d *disk) mount() error {
	if out, err := exec.Command("mount", "-o", "loop", d.image, d.dir).CombinedOutput(); err != nil {
		return fmt.Errorf("mount: %w %s", err, out)
	}
	return nil
}

// unmount waits for killed processes, which let go of their files a moment later.
func (d *disk) unmount() error {
	var out []byte
	var err error
	for range 200 {
		if out, err = exec.Command("umount", d.dir).CombinedOutput(); err == nil {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("umount: %w %s", err, out)
}

// cut shuts the file system down.
func (d *disk) cut() error {
	dir, err := os.Open(d.dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	const shutdown, noLogFlush = 0x8004587D, 2
	if err := unix.IoctlSetPointerInt(int(dir.Fd()), shutdown, noLogFlush); err != nil {
		return fmt.Errorf("%w: the file system cannot be shut down: %v", errSkip, err)
	}
	return nil
}
