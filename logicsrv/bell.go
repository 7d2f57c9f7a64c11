package main

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// connBell wakes connsrv, which sleeps in epoll: a byte into the FIFO that its epoll set holds.
type connBell struct{ fd int }

// openBell opens the FIFO, and makes it where connsrv has not done so yet. It is open for
// reading too, so that a byte never fails for want of a reader, and never waits.
func openBell(path string) (*connBell, error) {
	if err := unix.Mkfifo(path, 0o600); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, fmt.Errorf("make the wake-up pipe %s: %w", path, err)
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the wake-up pipe %s: %w", path, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
		unix.Close(fd)
		return nil, fmt.Errorf("the wake-up pipe %s is no FIFO (%v): remove it", path, errors.Join(err, os.ErrInvalid))
	}
	return &connBell{fd}, nil
}

// ring wakes connsrv. A full pipe wakes it as well.
func (b *connBell) ring() { _, _ = unix.Write(b.fd, []byte{1}) }

// Close closes the pipe; the file stays for the others.
func (b *connBell) Close() { unix.Close(b.fd) }
