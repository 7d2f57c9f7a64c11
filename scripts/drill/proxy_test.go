package drill

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// echo is a server that sends back what it gets; it ends with the test.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return l.Addr().String()
}

func through(t *testing.T, target string) (*proxy, *net.TCPConn) {
	t.Helper()
	p, err := newProxy(target, new(atomic.Int32))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	c, err := net.Dial("tcp", p.addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return p, c.(*net.TCPConn)
}

// TestProxyChangesNoByte: whatever its mood, and an orderly end comes behind all that was sent.
func TestProxyChangesNoByte(t *testing.T) {
	for m, size := range map[mood]int{calm: 1 << 20, torn: 2000, slow: 10_000, stalled: 1000} {
		p, c := through(t, echo(t))
		p.mood.Store(int32(m))
		if m == stalled {
			time.AfterFunc(20*time.Millisecond, func() { p.mood.Store(int32(calm)) })
		}
		want := filler("proxy", size)
		go func() {
			_, _ = c.Write(want)
			_ = c.CloseWrite()
		}()
		if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, want) {
			t.Errorf("mood %d: %d bytes of %d came back, %v", m, len(got), len(want), err)
		}
	}
}

// TestProxyCuts: both ends are reset, and a server that is not there is a connection that ends.
func TestProxyCuts(t *testing.T) {
	p, c := through(t, echo(t))
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	p.cut()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a connection that was cut: %v", err)
	}
	nobody, err := newProxy("127.0.0.1:1", new(atomic.Int32))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nobody.close)
	lost, err := net.Dial("tcp", nobody.addr())
	if err == nil { // it was not reset yet
		defer lost.Close()
		_, err = lost.Read(make([]byte, 1))
	}
	if err == nil {
		t.Error("a connection to nobody goes on")
	}
}
