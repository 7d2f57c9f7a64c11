package server

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
	"github.com/trimq/trimq/shmqueue"
	"github.com/trimq/trimq/shmqueue/tier"
)

// stillServes shows that the server has not suffered.
func (b *broker) stillServes() {
	b.t.Helper()
	b.connect().produce(1, makeBatch(1, 10))
}

func TestRandomBytes(t *testing.T) {
	b := start(t, nil)
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		c := b.dial()
		junk := make([]byte, 1+rnd.IntN(5000))
		for i := range junk {
			junk[i] = byte(rnd.Uint32())
		}
		_, _ = c.conn.Write(junk) // it may be closed in the middle
		_ = c.conn.(*net.TCPConn).CloseWrite()
		c.wantClosed()
	}
	// Junk behind a good handshake.
	for range 20 {
		c := b.connect()
		junk := make([]byte, 1+rnd.IntN(500))
		for i := range junk {
			junk[i] = byte(rnd.Uint32())
		}
		_, _ = c.conn.Write(junk)
		_ = c.conn.(*net.TCPConn).CloseWrite()
		c.wantClosed()
	}
	b.stillServes()
}

func TestOversizedFrame(t *testing.T) {
	b := start(t, nil)
	// Before the handshake only small frames are taken.
	c := b.dial()
	c.write(native.AppendHeader(nil, native.CmdHello, 0, 1, native.HandshakeMaxFrame))
	c.wantError(errcode.FrameTooLarge, c.read())
	c.wantClosed()
	// Behind it, frames up to the limit.
	c = b.connect()
	c.write(native.AppendHeader(nil, native.CmdProduce, 0, 9, int(b.config.MaxFrameBytes)+1-native.FrameHeaderSize))
	f := c.read()
	c.wantError(errcode.FrameTooLarge, f)
	if f.Correlation != 9 {
		t.Errorf("correlation %d", f.Correlation)
	}
	c.wantClosed()
	// A length of 4 GiB costs no memory.
	c = b.connect()
	c.write(binary.LittleEndian.AppendUint32(nil, 1<<32-1))
	c.write(make([]byte, 12))
	c.wantError(errcode.FrameTooLarge, c.read())
	c.wantClosed()
	b.stillServes()
}

func TestBatchThatCouldNotBeFetchedIsRefused(t *testing.T) {
	b := start(t, nil)
	c := b.connect()
	body := produceBody(1, make([]byte, int(b.config.MaxFrameBytes)-native.FrameHeaderSize-native.ProduceSize))
	c.refused(errcode.BatchTooLarge, native.CmdProduce, body)
	c.produce(1, makeBatch(2, 10)) // the connection goes on
}

func TestWrongVersionAndMagic(t *testing.T) {
	b := start(t, nil)
	c := b.dial()
	c.refused(errcode.UnsupportedVersion, native.CmdHello, &native.Hello{MinVersion: native.Version + 1, MaxVersion: 9})
	c.wantClosed()
	c = b.dial()
	c.refused(errcode.UnsupportedVersion, native.CmdHello, bytesBody("AMQP\x00\x00\x09\x01\x00\x00"))
	c.wantClosed()
	c = b.dial()
	c.refused(errcode.Malformed, native.CmdPing, &native.Ping{})
	c.wantClosed()
	c = b.dial()
	c.write([]byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"))
	c.wantError(errcode.FrameTooLarge, c.read())
	c.wantClosed()
	b.stillServes()
}

// Frames that come byte by byte are frames.
func TestByteByByte(t *testing.T) {
	b := start(t, nil)
	c := b.dial()
	_ = c.conn.(*net.TCPConn).SetNoDelay(true)
	stream := native.AppendFrame(nil, native.CmdHello, 0, 1, &native.Hello{MinVersion: native.Version, MaxVersion: native.Version})
	stream = native.AppendFrame(stream, native.CmdProduce, 0, 2, produceBody(1, makeBatch(3, 50)))
	stream = native.AppendFrame(stream, native.CmdPing, 0, 3, &native.Ping{Token: 5})
	for i := range stream {
		c.write(stream[i : i+1])
	}
	for want := uint64(1); want <= 3; want++ {
		if f := c.read(); f.Correlation != want && want < 2 || f.Flags&native.FlagError != 0 {
			t.Fatalf("answer %+v, want %d", f.Header, want)
		}
	}
}

// A large batch that comes in drips, and one that stops in the middle.
func TestLargeBatchInPieces(t *testing.T) {
	b := start(t, nil)
	c := b.connect()
	_ = c.conn.(*net.TCPConn).SetNoDelay(true)
	frame := native.AppendFrame(nil, native.CmdProduce, 0, 7, produceBody(1, makeBatch(1500, 250)))
	for len(frame) > 0 {
		n := min(len(frame), 37_000)
		c.write(frame[:n])
		frame = frame[n:]
		time.Sleep(time.Millisecond) // so that the pieces arrive one by one; nothing depends on it
	}
	if f := c.read(); f.Correlation != 7 || f.Flags&native.FlagError != 0 {
		t.Fatalf("%+v", f.Header)
	}
	half := b.connect()
	frame = native.AppendFrame(nil, native.CmdProduce, 0, 7, produceBody(1, makeBatch(1500, 250)))
	half.write(frame[:200_000])
	_ = half.conn.(*net.TCPConn).CloseWrite()
	half.wantClosed()
	if r := c.produce(1, makeBatch(1, 1)); r.Base != 1500 {
		t.Errorf("base %d: half a batch was stored", r.Base)
	}
}

func TestHandshakeTimeout(t *testing.T) {
	b := start(t, func(c *tier.Config) { c.HandshakeTimeoutMS = 300 })
	silent, started := b.dial(), b.dial()
	_, _ = started.conn.Write([]byte{40, 0}) // it may be closed already on a busy machine
	silent.wantClosed()
	started.wantClosed()
	if n := b.counter(shmqueue.ConnClosedHandshake); n != 2 {
		t.Errorf("%d closed for the handshake", n)
	}
}

func TestIdleTimeout(t *testing.T) {
	b := start(t, func(c *tier.Config) { c.IdleTimeoutMS = 500 })
	c := b.connect()
	c.wantClosed()
	if n := b.counter(shmqueue.ConnClosedIdle); n != 1 {
		t.Errorf("%d closed for idleness", n)
	}
}

// A client that stops in the middle of a frame holds its memory for a while only.
func TestSlowWriterIsClosed(t *testing.T) {
	b := start(t, func(c *tier.Config) { c.SlowReaderTimeoutMS = 300 })
	small, large := b.connect(), b.connect()
	small.write(native.AppendFrame(nil, native.CmdPing, 0, 1, &native.Ping{})[:20])
	large.write(native.AppendFrame(nil, native.CmdProduce, 0, 1, produceBody(1, makeBatch(1000, 250)))[:100_000])
	small.wantClosed()
	large.wantClosed()
	if n := b.counter(shmqueue.ConnClosedSlow); n != 2 {
		t.Errorf("%d closed as slow", n)
	}
}

// A client that asks and does not read: its requests are no longer read, then it is closed.
// What waits for it is bounded.
func TestSlowReaderIsClosed(t *testing.T) {
	b := start(t, func(c *tier.Config) {
		c.SlowReaderTimeoutMS = 300
		c.ConnectionMemoryBytes = 64 << 10
	})
	c := b.connect()
	ping := native.AppendFrame(nil, native.CmdPing, 0, 1, &native.Ping{})
	many := bytes.Repeat(ping, 4096)
	sent := 0
	for {
		n, err := c.conn.Write(many)
		sent += n
		if err != nil {
			break // closed
		}
		if sent > 1<<30 {
			t.Fatal("a gigabyte of requests was read without one answer being taken")
		}
	}
	b.until("the connection to be closed as slow", func() bool { return b.counter(shmqueue.ConnClosedSlow) == 1 })
	b.stillServes()
}

// until waits for a condition.
func (b *broker) until(what string, cond func() bool) { b.t.Helper(); b.stub.until(what, cond) }

func TestTooManyConnections(t *testing.T) {
	b := start(t, func(c *tier.Config) { c.MaxConnections = 3 })
	var held []*client
	for range 3 {
		held = append(held, b.connect())
	}
	c := b.dial()
	f := c.read()
	c.wantError(errcode.TooManyConnections, f)
	c.wantClosed()
	held[0].conn.Close()
	b.until("a place to be free", func() bool { return b.Server.group.Connections() < 3 })
	held[0] = b.connect()
	for _, c := range held {
		c.call(native.CmdPing, &native.Ping{})
	}
	if n := b.counter(shmqueue.ConnRefused); n != 1 {
		t.Errorf("%d refused", n)
	}
}

func TestWindow(t *testing.T) {
	b := start(t, func(c *tier.Config) { c.WindowRequests = 4 })
	c := b.connect()
	b.stub.set(func() { b.stub.deaf = true })
	for range 4 {
		c.send(native.CmdProduce, produceBody(1, makeBatch(1, 10)))
	}
	c.wantError(errcode.WindowExceeded, func() native.Frame { c.send(native.CmdProduce, produceBody(1, makeBatch(1, 10))); return c.read() }())
	c.call(native.CmdPing, &native.Ping{}) // what is answered at once needs no window
}

func TestAuth(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(secret, []byte("open sesame\nmore\n"), 0o600))
	b := start(t, func(c *tier.Config) { c.AuthSecretFile = secret })
	c := b.dial()
	m := c.hello()
	if !m.AuthRequired || len(m.Challenge) == 0 {
		t.Fatalf("%+v", m)
	}
	c.call(native.CmdAuth, &native.Auth{Mechanism: native.AuthHMAC, User: "u", Proof: native.AuthProof([]byte("open sesame"), m.Challenge, "u")})
	c.produce(1, makeBatch(1, 1))

	c = b.dial()
	c.hello()
	c.call(native.CmdAuth, &native.Auth{Mechanism: native.AuthSecret, Proof: []byte("open sesame")})

	for _, a := range []native.Auth{
		{Mechanism: native.AuthSecret, Proof: []byte("open")},
		{Mechanism: native.AuthHMAC, Proof: []byte("open sesame")},
		{Mechanism: "none", Proof: nil},
	} {
		c = b.dial()
		c.hello()
		c.refused(errcode.AuthFailed, native.CmdAuth, &a)
		c.wantClosed()
	}
	c = b.dial()
	c.hello()
	c.refused(errcode.AuthRequired, native.CmdPing, &native.Ping{})
	c.wantClosed()
}

func TestBadSecretFile(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(empty, []byte("\nx"), 0o600))
	for _, path := range []string{empty, "/nonexistent/secret"} {
		if _, err := readSecret(path); err == nil {
			t.Errorf("%s was accepted", path)
		}
	}
}

func TestDiskFull(t *testing.T) {
	b := start(t, nil)
	c := b.connect()
	c.produce(1, makeBatch(1, 1))
	b.b.Word(shmqueue.WordStatus).Store(shmqueue.StatusDiskFull)
	c.refused(errcode.DiskFull, native.CmdProduce, produceBody(1, makeBatch(1, 1)))
	c.refused(errcode.DiskFull, native.CmdProduce, produceBody(1, makeBatch(1000, 250)))
	p := native.Publish{TTLMS: ipc.NoTTL, Exchange: "x"}
	c.refused(errcode.DiskFull, native.CmdPublish, bytesBody(append(p.Append(nil), makeBatch(1, 1)...)))
	c.call(native.CmdInitProducer, &native.InitProducer{ProducerID: -1})
	b.b.Word(shmqueue.WordStatus).Store(0)
	c.produce(1, makeBatch(1, 1))
}

// A full ring holds connections up and drops nothing; a connection has a share of it only.
func TestFullRing(t *testing.T) {
	b := start(t, nil)
	b.stub.set(func() { b.stub.hold = true })
	const clients, each = 12, 6
	var all []*client
	for range clients {
		c := b.connect()
		all = append(all, c)
		go func() {
			for i := range each {
				c.conn.Write(native.AppendFrame(nil, native.CmdProduce, 0, uint64(i), produceBody(1, makeBatch(1000, 250))))
			}
		}()
	}
	b.until("the ring to be full", func() bool { return b.counter(shmqueue.ConnRingFull) > 0 })
	b.stub.set(func() { b.stub.hold = false })
	for _, c := range all {
		for range each {
			if f := c.read(); f.Flags&native.FlagError != 0 {
				t.Fatalf("refused: %v", errorOf(t, f))
			}
		}
	}
	b.stub.mu.Lock()
	defer b.stub.mu.Unlock()
	if n := b.stub.seen[3]; n != clients*each {
		t.Errorf("%d batches came through, want %d", n, clients*each)
	}
}

// What is pending is answered during a drain; what is new is refused.
func TestDrain(t *testing.T) {
	b := start(t, nil)
	c, idle := b.connect(), b.connect()
	b.stub.set(func() { b.stub.hold = true })
	c.send(native.CmdProduce, produceBody(1, makeBatch(1, 10)))
	c.send(native.CmdFetch, &native.Fetch{Index: 1, MaxBytes: 1, MinBytes: 1, MaxWaitMS: 60_000})
	c.sync()
	b.cancel()
	for _, x := range []*client{c, idle} {
		f := x.read()
		if m, err := native.DecodeGoodbye(f.Body); f.Command != native.CmdGoodbye || err != nil || m.Code != errcode.ShuttingDown {
			t.Fatalf("%+v %v", f.Header, err)
		}
	}
	idle.wantClosed()
	if f := c.read(); f.Command != native.CmdFetch || f.Flags&native.FlagError != 0 {
		t.Fatalf("the long poll was answered with %+v", f.Header)
	}
	c.refused(errcode.ShuttingDown, native.CmdInitProducer, &native.InitProducer{ProducerID: -1})
	b.stub.set(func() { b.stub.hold = false })
	if f := c.read(); f.Command != native.CmdProduce || f.Flags&native.FlagError != 0 {
		t.Fatalf("%+v", f.Header)
	}
	c.wantClosed()
	if _, err := net.Dial("tcp", c.conn.RemoteAddr().String()); err == nil {
		t.Error("it still listens")
	}
}

// sync makes sure that all sent before has been read.
func (c *client) sync() {
	c.t.Helper()
	c.call(native.CmdPing, &native.Ping{})
}

func TestDrainEndsInTime(t *testing.T) {
	b := start(t, func(c *tier.Config) { c.DrainTimeoutMS = 50 })
	c := b.connect()
	b.stub.set(func() { b.stub.hold = true })
	c.send(native.CmdProduce, produceBody(1, makeBatch(1, 10)))
	c.sync()
	b.cancel()
	c.wantClosed()
}
