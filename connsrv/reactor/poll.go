package reactor

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// poller is an epoll set. Everything in it is edge-triggered and registered once.
type poller struct {
	fd     int
	events [256]unix.EpollEvent
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	return &poller{fd: fd}, nil
}

const (
	readEvents  = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR
	writeEvents = unix.EPOLLOUT | unix.EPOLLHUP | unix.EPOLLERR
)

// add registers fd for its whole life; token comes back with its events.
func (p *poller) add(fd int, events uint32, token uint64) error {
	ev := unix.EpollEvent{Events: events | unix.EPOLLET, Fd: int32(uint32(token)), Pad: int32(uint32(token >> 32))}
	if err := unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return fmt.Errorf("epoll_ctl add fd %d: %w", fd, err)
	}
	return nil
}

func tokenOf(ev *unix.EpollEvent) uint64 {
	return uint64(uint32(ev.Fd)) | uint64(uint32(ev.Pad))<<32
}

// wait returns the events that are there, after timeoutMS at the latest (-1: never).
func (p *poller) wait(timeoutMS int) ([]unix.EpollEvent, error) {
	n, err := unix.EpollWait(p.fd, p.events[:], timeoutMS)
	if err == unix.EINTR {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("epoll_wait: %w", err)
	}
	return p.events[:n], nil
}

func (p *poller) close() { unix.Close(p.fd) }

// waker is an eventfd that ends a loop's sleep.
type waker struct{ fd int }

func newWaker() (waker, error) {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return waker{-1}, fmt.Errorf("eventfd: %w", err)
	}
	return waker{fd}, nil
}

func (w waker) wake() {
	one := [8]byte{1}
	_, _ = unix.Write(w.fd, one[:]) // EAGAIN: it is awake as can be
}

func (w waker) clear() {
	var b [8]byte
	_, _ = unix.Read(w.fd, b[:]) // EAGAIN: nothing to clear
}
