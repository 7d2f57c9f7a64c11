package server

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/native"
	"github.com/trimq/trimq/shmqueue"
	"github.com/trimq/trimq/shmqueue/tier"
)

// broker is a server on rings in plain memory, with a stub behind it.
type broker struct {
	*Server
	t       *testing.T
	stub    *stubLogic
	config  *tier.Config
	b       *shmqueue.Ring // the stub's view of ring 54321
	cancel  context.CancelFunc
	stopped chan error
	options Options
	leaving chan leaving // what a server passes on that hands over
	refused chan error
	sends   int // of all clients
}

// leaving is what a server passes on.
type leaving struct {
	state int
	fds   []int
}

// restless brokers hand over with every third request.
var restless bool

// heapRing makes a ring in plain memory and returns two views of it.
func heapRing(t *testing.T, capacity uint64) (a, b *shmqueue.Ring) {
	t.Helper()
	words := make([]uint64, (shmqueue.MemorySize(capacity)+7)/8)
	mem := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), shmqueue.MemorySize(capacity))
	must(t, shmqueue.Format(mem, capacity, 12345))
	a, err := shmqueue.Open(mem)
	must(t, err)
	b, err = shmqueue.Open(mem)
	must(t, err)
	return a, b
}

// start runs a broker. change may alter the configuration.
func start(t *testing.T, change func(*tier.Config)) *broker {
	t.Helper()
	c := tier.Default()
	c.DataDir = t.TempDir()
	c.RunDir, c.LogDir = c.DataDir, c.DataDir
	c.Listen, c.AdminListen = "127.0.0.1:0", ""
	c.RingRequestBytes, c.RingResponseBytes = 4<<20, 1<<20
	c.MaxFrameBytes, c.WindowBytes = 512<<10, 1<<20
	c.DrainTimeoutMS = 2000
	if restless {
		c.DrainTimeoutMS = 50
	}
	if change != nil {
		change(c)
	}
	a1, a2 := heapRing(t, uint64(c.RingRequestBytes))
	b1, b2 := heapRing(t, uint64(c.RingResponseBytes))
	stub := newStub(t, c.DataDir, filepath.Join(c.RunDir, "conn.bell"), a2, b2)
	br := &broker{t: t, stub: stub, config: c, b: b2, leaving: make(chan leaving, 1), refused: make(chan error, 1)}
	br.options = Options{
		Config: c, Requests: a1, Responses: b1, Metrics: shmqueue.HeapMetrics(), Log: slog.New(slog.DiscardHandler), Cluster: "test",
		CloseStray: func() int { return 0 },
		Replace: func(state int, fds []int) error {
			state, err := unix.Dup(state)
			must(t, err)
			br.leaving <- leaving{state, fds}
			select {} // exec does not return either
		},
		Refuse: func(err error) { br.refused <- err },
	}
	br.run(br.options)
	t.Cleanup(func() { br.stop() })
	return br
}

// run makes a server and lets it serve.
func (b *broker) run(o Options) {
	b.t.Helper()
	s, err := New(o)
	must(b.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	b.Server, b.cancel, b.stopped = s, cancel, make(chan error, 1)
	ready, stopped := make(chan struct{}), b.stopped
	go func() { stopped <- s.Run(ctx, func() error { close(ready); return nil }) }()
	<-ready
}

// handOver puts another server in the place of this one, as exec does in the daemon. The old
// one's goroutines stand for ever.
func (b *broker) handOver() {
	b.t.Helper()
	b.HandOver()
	o := b.options
	select {
	case l := <-b.leaving:
		o.Legacy = l.state
	case err := <-b.refused:
		b.t.Fatalf("hand-over refused: %v", err)
	case <-time.After(20 * time.Second):
		b.t.Fatal("the server does not leave")
	}
	b.run(o)
}

// stop ends the server and waits for it.
func (b *broker) stop() {
	b.cancel()
	select {
	case err := <-b.stopped:
		if err != nil {
			b.t.Errorf("server: %v", err)
		}
		b.stopped <- nil
	case <-time.After(20 * time.Second):
		b.t.Error("the server does not stop")
	}
}

func (b *broker) counter(id shmqueue.CounterID) uint64 { return b.counters.Load(id) }

// client is a connection that speaks frames.
type client struct {
	t    *testing.T
	b    *broker
	conn net.Conn
	dec  *native.Decoder
	next uint64
}

// dial connects without a word.
func (b *broker) dial() *client {
	b.t.Helper()
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", b.Port()))
	must(b.t, err)
	b.t.Cleanup(func() { conn.Close() })
	must(b.t, conn.SetDeadline(time.Now().Add(60*time.Second)))
	return &client{t: b.t, b: b, conn: conn, dec: native.NewDecoder(conn, 64<<10, 64<<20)}
}

// connect dials and says hello.
func (b *broker) connect() *client {
	b.t.Helper()
	c := b.dial()
	c.hello()
	return c
}

func (c *client) hello() native.HelloReply {
	c.t.Helper()
	f := c.call(native.CmdHello, &native.Hello{MinVersion: native.Version, MaxVersion: native.Version, Client: "test"})
	m, err := native.DecodeHelloReply(f.Body)
	must(c.t, err)
	return m
}

// send writes a request and returns its correlation.
func (c *client) send(cmd native.Command, body native.Body) uint64 {
	c.t.Helper()
	if c.b.sends++; restless && c.b.sends%3 == 0 {
		c.b.handOver()
	}
	c.next++
	c.write(native.AppendFrame(nil, cmd, 0, c.next, body))
	return c.next
}

func (c *client) write(b []byte) {
	c.t.Helper()
	_, err := c.conn.Write(b)
	must(c.t, err)
}

// read returns the next frame; its body stays valid.
func (c *client) read() native.Frame {
	c.t.Helper()
	f, err := c.dec.Next()
	must(c.t, err)
	f.Body = append([]byte(nil), f.Body...)
	return f
}

// call sends a request and returns its response, which must be a success.
func (c *client) call(cmd native.Command, body native.Body) native.Frame {
	c.t.Helper()
	f := c.try(cmd, body)
	if f.Flags&native.FlagError != 0 {
		c.t.Fatalf("%s: %v", cmd, errorOf(c.t, f))
	}
	return f
}

// try is call for a request that may be refused.
func (c *client) try(cmd native.Command, body native.Body) native.Frame {
	c.t.Helper()
	correlation := c.send(cmd, body)
	f := c.read()
	if f.Command != cmd || f.Correlation != correlation || f.Flags&native.FlagResponse == 0 {
		c.t.Fatalf("%s %d answered by %s %d flags %d", cmd, correlation, f.Command, f.Correlation, f.Flags)
	}
	return f
}

// refused sends a request that must be refused with a code.
func (c *client) refused(code errcode.Code, cmd native.Command, body native.Body) {
	c.t.Helper()
	c.wantError(code, c.try(cmd, body))
}

func (c *client) wantError(code errcode.Code, f native.Frame) {
	c.t.Helper()
	if f.Flags&native.FlagError == 0 {
		c.t.Fatalf("%s succeeded, want %s", f.Command, code)
	}
	if got := errorOf(c.t, f).Code; got != code {
		c.t.Fatalf("%s refused with %v, want %s", f.Command, errorOf(c.t, f), code)
	}
}

func errorOf(t *testing.T, f native.Frame) native.ErrorBody {
	t.Helper()
	m, err := native.DecodeErrorBody(f.Body)
	must(t, err)
	return m
}

// wantClosed reads until the server has closed the connection.
func (c *client) wantClosed() {
	c.t.Helper()
	for {
		_, err := c.dec.Next()
		if err == nil {
			continue
		}
		if ne, ok := err.(net.Error); ok && ne.Timeout() {
			c.t.Fatal("the connection stays open")
		}
		return
	}
}

// bytesBody is a body that is encoded already.
type bytesBody []byte

func (b bytesBody) Append(to []byte) []byte { return append(to, b...) }

// makeBatch makes a batch of n records of size bytes each.
func makeBatch(n, size int) []byte {
	var b batch.Builder
	value := make([]byte, size)
	for i := range value {
		value[i] = byte(i * 7)
	}
	for i := range n {
		b.Add(int64(1000+i), nil, value, nil)
	}
	return append([]byte(nil), b.Seal(batch.None, batch.NoProducer, 0, 0)...)
}

// produceBody is the body of a PRODUCE.
func produceBody(index uint64, messages []byte) bytesBody {
	m := native.Produce{Index: index}
	return append(m.Append(nil), messages...)
}

func (c *client) produce(index uint64, messages []byte) native.ProduceReply {
	c.t.Helper()
	f := c.call(native.CmdProduce, produceBody(index, messages))
	m, err := native.DecodeProduceReply(f.Body)
	must(c.t, err)
	return m
}

func (c *client) fetch(m native.Fetch) (native.FetchReply, []byte) {
	c.t.Helper()
	f := c.call(native.CmdFetch, &m)
	r, batches, err := native.DecodeFetchReply(f.Body)
	must(c.t, err)
	return r, batches
}
