package server

import (
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/trimq/trimq/protocol/native"
	"github.com/trimq/trimq/shmqueue/tier"
)

// heapInUse is what live objects take, after the garbage is gone.
func heapInUse() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// rawClient is a connection without Go's objects around it, so that only the server's count.
func (b *broker) rawClient(hello []byte) int {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(b.t, err)
	must(b.t, unix.Connect(fd, &unix.SockaddrInet4{Port: int(b.Port()), Addr: [4]byte{127, 0, 0, 1}}))
	rawCall(b.t, fd, hello)
	return fd
}

// rawCall sends a request and reads its response.
func rawCall(t *testing.T, fd int, request []byte) {
	t.Helper()
	_, err := unix.Write(fd, request)
	must(t, err)
	var buf [4096]byte
	got := 0
	for got < native.FrameHeaderSize || got < int(buf[0])+int(buf[1])<<8+4 {
		n, err := unix.Read(fd, buf[got:])
		must(t, err)
		if n == 0 {
			t.Fatal("closed")
		}
		got += n
	}
}

// A thousand idle connections hold no buffers, and the loops do not turn for them.
func TestIdleConnectionsCostLittle(t *testing.T) {
	const connections, limit = 1000, 8 << 10
	b := start(t, func(c *tier.Config) { c.HandshakeTimeoutMS = 3_600_000 }) // no timer is due meanwhile
	hello := native.AppendFrame(nil, native.CmdHello, 0, 1, &native.Hello{MinVersion: native.Version, MaxVersion: native.Version})
	produce := native.AppendFrame(nil, native.CmdProduce, 0, 2, produceBody(1, makeBatch(100, 250)))
	fds := make([]int, 0, connections)
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	// One that has worked before, so that what all share is there.
	fds = append(fds, b.rawClient(hello))
	rawCall(t, fds[0], produce)
	before := heapInUse()
	for len(fds) < connections {
		fd := b.rawClient(hello)
		fds = append(fds, fd)
		rawCall(t, fd, produce) // it has been busy, and is idle again
	}
	each := (heapInUse() - before) / (connections - 1)
	t.Logf("%d bytes for an idle connection", each)
	if each > limit {
		t.Errorf("an idle connection takes %d bytes, more than %d", each, limit)
	}
	// Nothing rings, nothing is due, so nobody turns. The clock only decides how long we look.
	turns := b.turns()
	time.Sleep(300 * time.Millisecond)
	if n := b.turns() - turns; n > 4 { // our own two calls
		t.Errorf("%d turns of an idle loop", n)
	}
}

func (b *broker) turns() uint64 {
	n := make(chan uint64)
	l := b.group.Loops()[0]
	l.Call(func() { n <- l.Turns() })
	return <-n
}
