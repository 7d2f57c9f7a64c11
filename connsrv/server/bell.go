package server

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// openBell opens the FIFO into which logicsrv writes a byte to wake us, and makes it where
// logicsrv has not. Reading and writing end at once, so that it never is at its end.
func openBell(path string) (int, error) {
	if err := unix.Mkfifo(path, 0o600); err != nil && !errors.Is(err, unix.EEXIST) {
		return -1, fmt.Errorf("make the bell %s: %w", path, err)
	}
	fi, err := os.Lstat(path)
	if err != nil {
		return -1, fmt.Errorf("bell: %w", err)
	}
	if fi.Mode().Type() != os.ModeNamedPipe {
		return -1, fmt.Errorf("bell %s is not a FIFO: remove it", path)
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open the bell %s: %w", path, err)
	}
	return fd, nil
}

// emptyBell reads all that was rung.
func emptyBell(fd int) {
	var b [512]byte
	for {
		n, err := unix.Read(fd, b[:])
		if err == unix.EINTR {
			continue
		}
		if err != nil || n < len(b) {
			return
		}
	}
}
