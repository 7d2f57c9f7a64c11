package reactor

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inLoop runs f in the first loop.
func (s *testServer) inLoop(f func(l *Loop)) {
	s.tb.Helper()
	done := make(chan struct{})
	l := s.group.Loops()[0]
	l.Call(func() { f(l); close(done) })
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		s.tb.Fatal("the loop does not come round")
	}
}

// only is the one connection of a loop.
func only(l *Loop) *Conn {
	for _, c := range l.conns {
		return c
	}
	return nil
}

// A client that ends its side gets the answers to what it has sent before.
func TestHalfClosedPeerIsAnswered(t *testing.T) {
	s := startServer(t, 1, "127.0.0.1:0", testLimits)
	for _, kind := range []byte("ed") {
		c := s.dial()
		body := pattern(100_000, 3)
		write(t, c, frame(kind, body))
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(c)
		if err != nil || len(got) != len(body) {
			t.Errorf("%c: %d bytes, %v", kind, len(got), err)
		}
	}
	s.until("both are gone", func() bool { return s.counters.closed[reasonPeer].Load() == 2 })
}

// However often deadlines are set before later ones, a connection has few entries in the
// loop's timers.
func TestTimersDoNotMultiply(t *testing.T) {
	limits := testLimits
	limits.IdleMS = 50_000
	s := startServer(t, 1, "127.0.0.1:0", limits)
	c := s.dial()
	for range 20 {
		write(t, c, frame('t', nil))
		expect(t, c, []byte("time"))
	}
	s.inLoop(func(l *Loop) {
		if n := len(l.timers); n > 3 {
			t.Errorf("%d entries for one connection", n)
		}
	})
}

// A connection that only receives is not idle.
func TestSendingIsNotIdle(t *testing.T) {
	limits := testLimits
	limits.IdleMS = 50_000
	s := startServer(t, 1, "127.0.0.1:0", limits)
	c := s.dial()
	write(t, c, frame('o', nil))
	write(t, c, frame('e', []byte("a")))
	expect(t, c, []byte("a"))
	s.inLoop(func(l *Loop) {
		only(l).activeMS = l.nowMS - 2*limits.IdleMS // so long nothing has come
		copy(only(l).Append(4), "tick")
	})
	expect(t, c, []byte("tick"))
	s.inLoop(func(l *Loop) { only(l).onTimer() })
	s.inLoop(func(l *Loop) {
		if only(l) == nil {
			t.Error("closed as idle just after something was sent")
		}
	})
}

// Where no descriptor is left, and no spare one, connections wait; nobody else does.
func TestNoDescriptorForAnotherConnection(t *testing.T) {
	s := startServer(t, 1, "127.0.0.1:0", testLimits)
	c := s.dial()
	write(t, c, frame('e', []byte("before")))
	expect(t, c, []byte("before"))
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	s.inLoop(func(*Loop) {
		unix.Close(s.group.listeners[0].spare)
		s.group.listeners[0].spare = -1
	})
	free, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0) // the lowest one that is free
	if err != nil {
		t.Fatal(err)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(free) + 1, Max: limit.Max}); err != nil {
		t.Fatal(err)
	}
	restore := func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Error(err)
		}
	}
	defer restore()
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(s.port), Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	s.until("its refusal", func() bool { return s.counters.refused.Load() > 0 })
	write(t, c, frame('e', []byte("meanwhile")))
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	expect(t, c, []byte("meanwhile"))
	restore()
	unix.Close(free)
	if _, err := unix.Write(fd, frame('e', []byte("after"))); err != nil {
		t.Fatal(err)
	}
	var b [16]byte
	if n, err := unix.Read(fd, b[:]); err != nil || string(b[:n]) != "after" {
		t.Errorf("read %q, %v", b[:max(n, 0)], err)
	}
}

// The kernel asks a silent peer whether it is still there.
func TestSilentPeersAreProbed(t *testing.T) {
	s := startServer(t, 1, "127.0.0.1:0", testLimits)
	c := s.dialTo(fmt.Sprintf("127.0.0.1:%d", s.port))
	write(t, c, frame('e', []byte("a")))
	expect(t, c, []byte("a"))
	s.inLoop(func(l *Loop) {
		on, err := unix.GetsockoptInt(only(l).fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE)
		if err != nil || on == 0 {
			t.Errorf("SO_KEEPALIVE is %d, %v", on, err)
		}
	})
}
