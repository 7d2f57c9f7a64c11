package reactor

import (
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/trimq/trimq/connsrv/handover"
)

// Passed is what the loops pass to the program that replaces this one, when they stand between two
// turns (docs/formats/handover.md). Descriptors keep their numbers.
type Passed struct {
	NowMS     int64 // of the loops' clock
	KernelMS  int64 // of the kernel's, at that time
	Listeners []PassedListener
	Files     []int // of which ranges wait to be sent
	Loops     []PassedLoop
}

// PassedListener is a listening socket.
type PassedListener struct {
	FD       int
	Protocol string
	Asked    string // the setting for which it listens
	Addr     string
}

// PassedLoop is an event loop.
type PassedLoop struct {
	Counter uint64 // of connections
	Conns   []PassedConn
}

// PassedConn is a connection. What it is, is in blocks of their own: of one that cannot be read
// no other one suffers.
type PassedConn struct {
	ID       uint64
	FD       int
	Protocol string
	Refused  bool   // it is only told that there are too many
	Link     []byte // the connection as its loop sees it
	Room     []byte // its state machine, as its protocol's room writes it
}

// Pass goes over all of it.
func (p *Passed) Pass(c *handover.Codec) {
	handover.Int(c, &p.NowMS)
	handover.Int(c, &p.KernelMS)
	handover.List(c, &p.Listeners, 4, func(c *handover.Codec, l *PassedListener) {
		passFD(c, &l.FD)
		c.String(&l.Protocol)
		c.String(&l.Asked)
		c.String(&l.Addr)
		parseAddr(c, l.Addr)
	})
	handover.List(c, &p.Files, 1, passFD)
	handover.List(c, &p.Loops, 2, func(c *handover.Codec, l *PassedLoop) {
		handover.Uint(c, &l.Counter)
		handover.List(c, &l.Conns, 6, func(c *handover.Codec, x *PassedConn) {
			handover.Uint(c, &x.ID)
			passFD(c, &x.FD)
			c.String(&x.Protocol)
			c.Bool(&x.Refused)
			c.Bytes(&x.Link)
			c.Bytes(&x.Room)
		})
	})
	c.Check(len(p.Listeners) >= 1 && len(p.Loops) >= 1 && len(p.Loops) <= maxLoops)
	if c.Reading() {
		c.Check(p.sound())
	}
}

// firstFD is the first descriptor that is not one of the standard ones.
const firstFD = 3

func passFD(c *handover.Codec, fd *int) {
	handover.Int(c, fd)
	c.Check(*fd >= firstFD && *fd < 1<<30)
}

// sound tells whether every descriptor and every connection is there once, and in its loop.
func (p *Passed) sound() bool {
	fds := p.FDs()
	slices.Sort(fds)
	if len(slices.Compact(fds)) != len(p.FDs()) {
		return false
	}
	for number, l := range p.Loops {
		last := uint64(0)
		for _, x := range l.Conns {
			if x.ID <= last || x.ID&0xff != uint64(number) || x.ID>>8 == 0 || x.ID>>8 > l.Counter {
				return false
			}
			last = x.ID
		}
	}
	return true
}

// FDs are the descriptors that must stay open.
func (p *Passed) FDs() []int {
	fds := slices.Clone(p.Files)
	for _, l := range p.Listeners {
		fds = append(fds, l.FD)
	}
	for _, l := range p.Loops {
		for _, x := range l.Conns {
			fds = append(fds, x.FD)
		}
	}
	return fds
}

// Connections is how many they are.
func (p *Passed) Connections() (n int) {
	for _, l := range p.Loops {
		n += len(l.Conns)
	}
	return n
}

// ContinueClock has the loops' clock go on where that of the predecessor stood. Before New.
func (p *Passed) ContinueClock() {
	clockAhead.Store(0)
	clockAhead.Store(p.NowMS + kernelMS() - p.KernelMS - monotonicMS())
}

// parseAddr is an address that was passed on.
func parseAddr(c *handover.Codec, text string) remoteAddr {
	addr, err := netip.ParseAddrPort(text)
	c.Check(err == nil && addr.String() == text)
	return addr
}

func kernelMS() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // it is always there
	return ts.Nano() / 1e6
}
