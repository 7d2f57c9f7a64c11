package loopdisk

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// ErrNotHere: this machine cannot do it.
var ErrNotHere = errors.New("cannot be done here")

// ImageFile and MountDir are, in the directory of a Disk, its image and where that is mounted.
const (
	ImageFile = "image"
	MountDir  = "disk"
)

const diskBytes = 1 << 30

// quiet are the flags of mkfs by kind of file system: no words, no questions.
var quiet = map[string][]string{"ext4": {"-q", "-F"}, "xfs": {"-q", "-f"}}

// Disk is one of them. Dir is where it is mounted.
type Disk struct{ image, Dir string }

// Make makes one below a directory, and mounts it. kind is ext4 or xfs.
func Make(dir, kind string) (*Disk, error) {
	flags := quiet[kind]
	if flags == nil {
		return nil, fmt.Errorf("file system %q: want ext4 or xfs", kind)
	}
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("%w: only root can mount a file system whose power can be cut", ErrNotHere)
	}
	d := &Disk{filepath.Join(dir, ImageFile), filepath.Join(dir, MountDir)}
	if err := errors.Join(os.WriteFile(d.image, nil, 0o600), os.Truncate(d.image, diskBytes), os.Mkdir(d.Dir, 0o700)); err != nil {
		return nil, err
	}
	if out, err := exec.Command("mkfs."+kind, append(flags[:len(flags):len(flags)], d.image)...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: mkfs.%s: %v %s", ErrNotHere, kind, err, out)
	}
	if err := d.mount(); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrNotHere, err)
	}
	return d, nil
}

func (d *Disk) mount() error {
	if out, err := exec.Command("mount", "-o", "loop", d.image, d.Dir).CombinedOutput(); err != nil {
		return fmt.Errorf("mount: %w %s", err, out)
	}
	return nil
}

// Unmount takes it away; its image stays.
func (d *Disk) Unmount() error { return Unmount(d.Dir) }

// Unmount takes a file system away, once nobody has a file of it open any more: a killed process lets
// go of its files a moment later.
func Unmount(dir string) error {
	var out []byte
	var err error
	for range 200 {
		if out, err = exec.Command("umount", dir).CombinedOutput(); err == nil {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("umount: %w %s", err, out)
}

// Cut shuts the file system down: nothing that is not synced reaches the disk any more, and every
// later write fails.
func (d *Disk) Cut() error {
	dir, err := os.Open(d.Dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	const shutdown, noLogFlush = 0x8004587D, 2
	if err := unix.IoctlSetPointerInt(int(dir.Fd()), shutdown, noLogFlush); err != nil {
		return fmt.Errorf("%w: the file system cannot be shut down: %v", ErrNotHere, err)
	}
	return nil
}

// Restore mounts it again, with what it has.
func (d *Disk) Restore() error {
	if err := d.Unmount(); err != nil {
		return err
	}
	return d.mount()
}
