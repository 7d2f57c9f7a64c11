package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// chunk is the size of one write: mq_perf's default batch.
const chunk = 256 << 10

// warm makes the next bytes of page cache cheap: it writes and removes a file of that size.
func warm(dir string, bytes int64) error {
	f, err := os.CreateTemp(dir, "warm-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	block := make([]byte, 1<<20)
	for n := int64(0); n < bytes; n += int64(len(block)) {
		if _, err := f.Write(block); err != nil {
			return err
		}
	}
	return nil
}

// loopback returns the two ends of a TCP connection.
func loopback() (a, b *net.TCPConn, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return nil, nil, err
	}
	s, err := l.Accept()
	if err != nil {
		c.Close()
		return nil, nil, err
	}
	return c.(*net.TCPConn), s.(*net.TCPConn), nil
}

// produceLimit moves bytes through TCP into a new file. With synced, fdatasync runs beside
// it over and over, and the time ends with the one that covers the last byte.
func produceLimit(dir string, bytes int64, synced bool) (time.Duration, error) {
	a, b, err := loopback()
	if err != nil {
		return 0, err
	}
	defer a.Close()
	defer b.Close()
	f, err := os.Create(filepath.Join(dir, "limit"))
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	began := time.Now()
	sent := make(chan error, 1)
	go func() { sent <- send(a, bytes) }()
	var written, durable atomic.Int64
	var over atomic.Bool
	syncs := make(chan error, 1)
	go func() { syncs <- syncLoop(f, synced, &written, &durable, &over) }()
	buf := make([]byte, chunk)
	for written.Load() < bytes {
		n, err := io.ReadFull(b, buf[:min(chunk, bytes-written.Load())])
		if err == nil {
			_, err = f.Write(buf[:n])
		}
		if err != nil {
			over.Store(true)
			return 0, errors.Join(err, <-syncs)
		}
		written.Add(int64(n))
	}
	over.Store(true)
	err = errors.Join(<-sent, <-syncs)
	return time.Since(began), err
}

func send(c *net.TCPConn, bytes int64) error {
	buf := make([]byte, chunk)
	for n := int64(0); n < bytes; {
		k, err := c.Write(buf[:min(chunk, bytes-n)])
		if err != nil {
			return err
		}
		n += int64(k)
	}
	return nil
}

// syncLoop is a group commit: one fdatasync runs while the next group is written.
func syncLoop(f *os.File, synced bool, written, durable *atomic.Int64, over *atomic.Bool) error {
	for synced {
		last := over.Load()
		to := written.Load()
		if to > durable.Load() {
			if err := unix.Fdatasync(int(f.Fd())); err != nil {
				return fmt.Errorf("fdatasync: %w", err)
			}
			durable.Store(to)
		} else if !last {
			time.Sleep(50 * time.Microsecond)
		}
		if last {
			return nil
		}
	}
	return nil
}

// consumeLimit sends a file that is in the page cache through TCP with sendfile.
func consumeLimit(dir string, bytes int64) (time.Duration, error) {
	f, err := os.Create(filepath.Join(dir, "limit"))
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	block := make([]byte, 1<<20)
	for n := int64(0); n < bytes; n += int64(len(block)) {
		if _, err := f.Write(block[:min(int64(len(block)), bytes-n)]); err != nil {
			return 0, err
		}
	}
	a, b, err := loopback()
	if err != nil {
		return 0, err
	}
	defer a.Close()
	defer b.Close()
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	began := time.Now()
	sent := make(chan error, 1)
	go func() {
		_, err := io.CopyN(a, f, bytes) // the standard library uses sendfile here
		sent <- err
	}()
	buf := make([]byte, 1<<20)
	for n := int64(0); n < bytes; {
		k, err := b.Read(buf)
		if err != nil {
			return 0, err
		}
		n += int64(k)
	}
	return time.Since(began), <-sent
}
