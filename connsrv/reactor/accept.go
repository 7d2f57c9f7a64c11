package reactor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/hash"
)

type remoteAddr = netip.AddrPort

// listenBacklog is what the kernel keeps for us while we are busy.
const listenBacklog = 4096

// maxRefusals is how many connections beyond the limit are told why before they are closed.
const maxRefusals = 64

// Door is where the clients of a protocol come in, and what becomes of their connections.
type Door struct {
	// Protocol names it in what is passed on: a connection goes on in a room of the same protocol.
	Protocol string
	// Address is where it listens, HOST:PORT: each address that the host name has; no host means
	// all of them, IPv6 and IPv4; the kernel chooses for a port of 0.
	Address string
	// Room makes the state machine of a new connection, which has come in at the address local.
	// Called in its loop.
	Room func(l *Loop, link session.Link, local netip.AddrPort) session.Protocol
	// Refusal is what a connection beyond the limit is sent before it is closed; nil: nothing.
	Refusal func() []byte
}

// listener accepts in the first loop and spreads connections over all.
type listener struct {
	group *Group
	door  *Door
	fd    int
	addr  netip.AddrPort
	asked string // the Door's address for which it listens
	spare int    // a descriptor to give up when there are none left
}

// Listen has all doors listen.
func (g *Group) Listen() error {
	for _, door := range g.options.Doors {
		if err := g.listenAt(door); err != nil {
			return err
		}
	}
	return nil
}

// listenAt binds the addresses of a door.
func (g *Group) listenAt(door *Door) error {
	address := door.Address
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("listen address %q: %w", address, err)
	}
	p, err := net.DefaultResolver.LookupPort(context.Background(), "tcp", portText)
	if err != nil {
		return fmt.Errorf("listen address %q: %w", address, err)
	}
	addrs, err := listenAddrs(host)
	if err != nil {
		return fmt.Errorf("listen address %q: %w", address, err)
	}
	var bound []*listener
	var errs []error
	for _, a := range addrs {
		ln, err := g.bind(netip.AddrPortFrom(a, uint16(p)))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		ln.door, ln.asked = door, address
		bound = append(bound, ln)
		p = int(ln.addr.Port()) // the same for the next address
	}
	// A host without IPv6 names ::1 all the same: one address that works is enough.
	if len(errs) == len(addrs) || len(errs) > 0 && !onlyNoFamily(errs) {
		for _, ln := range bound {
			ln.close()
		}
		return fmt.Errorf("listen on %s: %w", address, errors.Join(errs...))
	}
	g.listeners = append(g.listeners, bound...)
	return nil
}

// Port is where a protocol is served; 0: it is not.
func (g *Group) Port(protocol string) uint16 {
	for _, ln := range g.listeners {
		if ln.door.Protocol == protocol {
			return ln.addr.Port()
		}
	}
	return 0
}

func onlyNoFamily(errs []error) bool {
	for _, err := range errs {
		if !errors.Is(err, unix.EADDRNOTAVAIL) && !errors.Is(err, unix.EAFNOSUPPORT) {
			return false
		}
	}
	return true
}

func listenAddrs(host string) ([]netip.Addr, error) {
	if host == "" {
		if fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err == nil {
			unix.Close(fd)
			return []netip.Addr{netip.IPv6Unspecified()}, nil
		}
		return []netip.Addr{netip.IPv4Unspecified()}, nil
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	return net.DefaultResolver.LookupNetIP(context.Background(), "ip", host)
}

// bind makes one listening socket. The unspecified IPv6 address takes IPv4 as well.
func (g *Group) bind(at netip.AddrPort) (*listener, error) {
	at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	family := unix.AF_INET6
	var sa unix.Sockaddr
	if at.Addr().Is4() {
		family = unix.AF_INET
		sa = &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}
	} else {
		sa = &unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket for %s: %w", at, err)
	}
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err == nil && family == unix.AF_INET6 {
		only := 1
		if at.Addr().IsUnspecified() {
			only = 0
		}
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only)
	}
	if err == nil {
		err = unix.Bind(fd, sa)
	}
	if err == nil {
		err = unix.Listen(fd, listenBacklog)
	}
	var bound unix.Sockaddr
	if err == nil {
		bound, err = unix.Getsockname(fd)
	}
	spare := -1
	if err == nil {
		spare, err = openSpare()
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	return &listener{group: g, fd: fd, addr: addrOf(bound), spare: spare}, nil
}

func openSpare() (int, error) {
	return unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
}

func addrOf(sa unix.Sockaddr) netip.AddrPort {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{}
}

func (ln *listener) close() {
	if ln.fd >= 0 {
		unix.Close(ln.fd)
		if ln.spare >= 0 {
			unix.Close(ln.spare)
		}
		ln.fd = -1
	}
}

// accept takes all connections that wait. Called by the first loop for an edge.
func (ln *listener) accept() {
	g := ln.group
	for ln.fd >= 0 {
		fd, sa, err := unix.Accept4(ln.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch {
		case err == nil:
			ln.place(fd, addrOf(sa))
		case err == unix.EAGAIN:
			return
		case err == unix.EMFILE || err == unix.ENFILE:
			if !ln.refuseForWant() {
				ln.acceptLater()
				return
			}
		case err == unix.EINTR || err == unix.ECONNABORTED:
		default:
			g.log.Warn("accept failed", "err", err)
			ln.acceptLater()
			return
		}
	}
}

// acceptPause is how long we wait with those who cannot be accepted: there comes no new edge
// for them, and to try without a pause would keep the loop from everybody else.
const acceptPause = 100 * time.Millisecond

func (ln *listener) acceptLater() {
	time.AfterFunc(acceptPause, func() { ln.group.loops[0].Call(ln.accept) })
}

// place hands a new socket to its loop.
func (ln *listener) place(fd int, remote netip.AddrPort) {
	g := ln.group
	beyond := int(g.open.Add(1)) - g.limits.Load().MaxConnections
	if beyond > 0 {
		g.counters.Refused()
	}
	if beyond > maxRefusals {
		g.open.Add(-1)
		unix.Close(fd)
		return
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		g.log.Debug("no TCP_NODELAY", "err", err)
	}
	keepAlive(fd)
	name := remote.Addr().As16()
	key := append(name[:], strconv.Itoa(int(remote.Port()))...)
	l := g.loops[hash.Murmur3(key)%uint64(len(g.loops))]
	if l.Number == 0 {
		l.adopt(fd, remote, ln.door, beyond > 0)
	} else {
		l.Call(func() { l.adopt(fd, remote, ln.door, beyond > 0) })
	}
}

// What a peer may be silent before the kernel asks whether it is still there, and how often it
// may miss the question. One whose machine has vanished would hold its messages for ever.
const (
	probeAfterSeconds = 60
	probeEverySeconds = 10
	probesMissed      = 3
)

func keepAlive(fd int) {
	// Errors: a socket that cannot be probed serves all the same.
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, probeAfterSeconds)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, probeEverySeconds)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, probesMissed)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
}

// refuseForWant closes a waiting connection when there are no descriptors left: the spare
// one makes room for it. Otherwise it would wait, and its edge would be lost. False: there was
// no spare one, somebody else had taken it.
func (ln *listener) refuseForWant() (ok bool) {
	g := ln.group
	g.log.Warn("no descriptors left for another connection: raise the limit of open files", "connections", g.Connections())
	g.counters.Refused()
	if ln.spare >= 0 {
		unix.Close(ln.spare)
		ln.spare = -1
	}
	if fd, _, err := unix.Accept4(ln.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC); err == nil {
		unix.Close(fd)
		ok = true
	}
	if spare, err := openSpare(); err == nil {
		ln.spare = spare
	}
	return ok
}
