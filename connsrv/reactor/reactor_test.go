package reactor

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/trimq/trimq/connsrv/handover"
	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/ipc"
)

// testRoom speaks a small protocol: frames `length u32 | kind u8 | payload`.
//
//	'e' echo the payload          'd' take the payload directly, answer with it
//	'r' payload: off u64 n u32, send that range of the file
//	'p' pause until the test resumes      'b' answer n (u32) bytes
//	'x' answer "bye" and close            'g' payload: n u32, gather so many bytes
type testRoom struct {
	env    *testEnv
	link   session.Link
	memory []byte
}

type testEnv struct {
	file     atomic.Pointer[testFile]
	deny     atomic.Int32 // how often Space refuses
	paused   chan session.Link
	gathers  chan session.Link
	drained  atomic.Int32
	closed   atomic.Int32
	abandons atomic.Int32
	shutdown atomic.Int32
}

func (r *testRoom) Input(b []byte) (used int, want session.Want) {
	for {
		rest := b[used:]
		if len(rest) < 5 {
			return used, session.Want{Bytes: 5}
		}
		n := int(binary.LittleEndian.Uint32(rest))
		if rest[4] == 'd' {
			return used + 5, session.Want{Bytes: n, Direct: true}
		}
		if len(rest) < 5+n {
			return used, session.Want{Bytes: 5 + n}
		}
		payload := rest[5 : 5+n]
		used += 5 + n
		switch rest[4] {
		case 'e':
			copy(r.link.Append(n), payload)
		case 'b':
			r.link.Append(int(binary.LittleEndian.Uint32(payload)))
		case 'r':
			off := binary.LittleEndian.Uint64(payload)
			r.link.WriteRange(r.env.file.Load(), int64(off), int(binary.LittleEndian.Uint32(payload[8:])))
		case 'p':
			r.env.paused <- r.link
			return used, session.Want{Pause: true}
		case 'g':
			r.link.Gather(int(binary.LittleEndian.Uint32(payload)))
			r.env.gathers <- r.link
		case 'o':
			r.link.Established()
		case 't':
			r.link.SetDeadline(r.link.NowMS() + 20)
		case 'x':
			copy(r.link.Append(3), "bye")
			r.link.Close()
			return len(b), session.Want{}
		}
	}
}

func (r *testRoom) Space(n int) []byte {
	if r.env.deny.Add(-1) >= 0 {
		r.env.paused <- r.link
		return nil
	}
	r.memory = make([]byte, n)
	return r.memory
}

func (r *testRoom) Filled() {
	copy(r.link.Append(len(r.memory)), r.memory)
	r.memory = nil
}

func (r *testRoom) Abandon()                     { r.env.abandons.Add(1) }
func (r *testRoom) Reply(ipc.Type, []byte)       {}
func (r *testRoom) Broadcast(ipc.Type, []byte)   {}
func (r *testRoom) Deadline(int64)               { copy(r.link.Append(4), "time") }
func (r *testRoom) Drained()                     { r.env.drained.Add(1) }
func (r *testRoom) Ended()                       { r.link.Close() }
func (r *testRoom) Shutdown()                    { r.env.shutdown.Add(1); r.link.Close() }
func (r *testRoom) Resync(ipc.Marker, bool) bool { return true }
func (r *testRoom) AskAgain(bool) bool           { return true }
func (r *testRoom) Closed()                      { r.env.closed.Add(1) }
func (r *testRoom) Pass(*handover.Codec)         {}
func (r *testRoom) TakenOver()                   {}

// testFile is a mapped file.
type testFile struct {
	f      *os.File
	mem    []byte
	mapped bool
	refs   atomic.Int64
}

func (f *testFile) Fd() int { return int(f.f.Fd()) }
func (f *testFile) Bytes(off int64, n int) []byte {
	if !f.mapped {
		return nil
	}
	return f.mem[off : off+int64(n)]
}
func (f *testFile) Retain()  { f.refs.Add(1) }
func (f *testFile) Release() { f.refs.Add(-1) }

func newTestFile(tb testing.TB, size int, mapped bool) *testFile {
	tb.Helper()
	content := make([]byte, size)
	for i := range content {
		content[i] = byte(i>>8) ^ byte(i*31)
	}
	path := filepath.Join(tb.TempDir(), "segment")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		tb.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { unix.Munmap(mem); f.Close() })
	return &testFile{f: f, mem: mem, mapped: mapped}
}

// testCounters counts in memory.
type testCounters struct {
	opened, refused, cold atomic.Int64
	closed                [reasonCount]atomic.Int64
}

func (c *testCounters) Moved(_, _, cold uint64) { c.cold.Add(int64(cold)) }
func (c *testCounters) Opened()                 { c.opened.Add(1) }
func (c *testCounters) Refused()                { c.refused.Add(1) }
func (c *testCounters) Closed(r Reason)         { c.closed[r].Add(1) }

// quietService does nothing.
type quietService struct{}

func (quietService) Turn()       {}
func (quietService) Sleep() bool { return true }
func (quietService) Wake()       {}

type testServer struct {
	tb       testing.TB
	env      *testEnv
	group    *Group
	counters *testCounters
	port     uint16
	stop     context.CancelFunc
	ended    chan error
}

var testLimits = Limits{MaxConnections: 100, MemoryBytes: 64 << 10, HandshakeMS: 60_000, SlowMS: 60_000}

func startServer(tb testing.TB, loops int, address string, limits Limits) *testServer {
	tb.Helper()
	env := &testEnv{paused: make(chan session.Link, 16), gathers: make(chan session.Link, 1)}
	counters := &testCounters{}
	g, err := New(Options{
		Loops: loops, Limits: limits, Counters: counters, Log: slog.New(slog.DiscardHandler),
		Doors: []*Door{{
			Protocol: "test", Address: address,
			Room: func(_ *Loop, link session.Link, _ netip.AddrPort) session.Protocol {
				return &testRoom{env: env, link: link}
			},
			Refusal: func() []byte { return []byte("full") },
		}},
	})
	if err != nil {
		tb.Fatal(err)
	}
	for _, l := range g.Loops() {
		l.Service = quietService{}
	}
	if err := g.Listen(); err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &testServer{tb: tb, env: env, group: g, counters: counters, port: g.Port("test"), stop: cancel, ended: make(chan error, 1)}
	go func() { s.ended <- g.Run(ctx, func() time.Duration { return time.Second }) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-s.ended; err != nil {
			tb.Errorf("loops: %v", err)
		}
		if f := env.file.Load(); f != nil && f.refs.Load() != 0 {
			tb.Errorf("%d references to the file are left", f.refs.Load())
		}
	})
	return s
}

func (s *testServer) dial() net.Conn {
	s.tb.Helper()
	return s.dialTo(fmt.Sprintf("127.0.0.1:%d", s.port))
}

func (s *testServer) dialTo(address string) net.Conn {
	s.tb.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		s.tb.Fatal(err)
	}
	s.tb.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		s.tb.Fatal(err)
	}
	return c
}

func frame(kind byte, payload []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(payload)))
	return append(append(b, kind), payload...)
}

func rangeFrame(off, n int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(off))
	return frame('r', binary.LittleEndian.AppendUint32(b, uint32(n)))
}

func (s *testServer) until(what string, cond func() bool) {
	s.tb.Helper()
	for deadline := time.Now().Add(30 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s.tb.Fatalf("never came: %s", what)
		}
	}
}

func write(tb testing.TB, c net.Conn, b []byte) {
	tb.Helper()
	if _, err := c.Write(b); err != nil {
		tb.Fatal(err)
	}
}

func expect(tb testing.TB, c net.Conn, want []byte) {
	tb.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil {
		tb.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		i := 0
		for got[i] == want[i] {
			i++
		}
		tb.Fatalf("byte %d of %d differs", i, len(want))
	}
}

func pattern(n, salt int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*13 + i>>9 + salt)
	}
	return b
}

// Frames of all sizes, copied and direct, come through in order on many connections at once.
func TestStreams(t *testing.T) {
	for _, loops := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d loops", loops), func(t *testing.T) {
			s := startServer(t, loops, "127.0.0.1:0", testLimits)
			sizes := []int{1, 100, 70_000, 5, 300_000, 4096, 300_000, 200_000, 3, 1_000_000, 65_536}
			done := make(chan bool)
			for k := range 8 {
				c := s.dial()
				go func() {
					for i, n := range sizes {
						kind := byte('e')
						if n > 50_000 {
							kind = 'd'
						}
						c.Write(frame(kind, pattern(n, i+k)))
					}
				}()
				go func() {
					for i, n := range sizes {
						expect(t, c, pattern(n, i+k))
					}
					done <- true
				}()
			}
			for range 8 {
				<-done
			}
		})
	}
}

// A body that the kernel cannot hold as a whole is gathered in memory.
func TestBodyLargerThanTheSocketBuffer(t *testing.T) {
	s := startServer(t, 1, "127.0.0.1:0", testLimits)
	c := s.dial()
	body := pattern(maxLowat+100_000, 1)
	go c.Write(frame('d', body))
	expect(t, c, body)
	small := pattern(10, 2)
	write(t, c, frame('e', small))
	expect(t, c, small)
}

// After a direct body that had to be waited for, small frames wake the loop again.
func TestSmallFrameAfterDirectBody(t *testing.T) {
	s := startServer(t, 1, "127.0.0.1:0", testLimits)
	c := s.dial()
	body := pattern(200_000, 3)
	f := frame('d', body)
	for range 5 {
		write(t, c, f[:1000])
		time.Sleep(2 * time.Millisecond) // so that the loop waits for the rest; nothing depends on it
		write(t, c, f[1000:])
		expect(t, c, body)
		write(t, c, frame('e', body[:7]))
		expect(t, c, body[:7])
	}
}

func TestSpaceRefusedIsAskedAgain(t *testing.T) {
	s := startServer(t, 1, "127.0.0.1:0", testLimits)
	s.env.deny.Store(2)
	c := s.dial()
	body := pattern(100_000, 4)
	go c.Write(append(frame('d', body), frame('e', []byte("after"))...))
	for range 2 {
		link := <-s.env.paused
		s.group.Loops()[0].Call(link.Resume)
	}
	expect(t, c, body)
	expect(t, c, []byte("after"))
}

// What gathers is read when there is enough of it, at a look, and once nothing gathers any more.
func TestGather(t *testing.T) {
	s := startServer(t, 1, "127.0.0.1:0", testLimits)
	c := s.dial()
	gather := func(n uint32) session.Link {
		write(t, c, frame('g', binary.LittleEndian.AppendUint32(nil, n)))
		return <-s.env.gathers
	}
	silent := func() {
		t.Helper()
		c.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
		if n, err := c.Read(make([]byte, 1)); err == nil {
			t.Fatalf("%d bytes were read too early", n)
		}
		c.SetReadDeadline(time.Time{})
	}
	link := gather(10_000)
	write(t, c, frame('e', []byte("little")))
	silent()
	s.group.Loops()[0].Call(link.Look)
	expect(t, c, []byte("little"))
	much := pattern(12_000, 3)
	write(t, c, frame('e', much))
	expect(t, c, much)
	write(t, c, frame('e', []byte("less")))
	silent()
	s.group.Loops()[0].Call(func() { link.Gather(0) })
	expect(t, c, []byte("less"))
	write(t, c, frame('e', []byte("as before")))
	expect(t, c, []byte("as before"))
	gather(10_000)
	write(t, c, frame('x', nil))
	c.(*net.TCPConn).CloseWrite() // the end is an end, however little was sent before it
	expect(t, c, []byte("bye"))
}

func TestPauseAndResume(t *testing.T) {
	s := startServer(t, 1, "127.0.0.1:0", testLimits)
	c := s.dial()
	write(t, c, append(frame('p', nil), frame('e', []byte("later"))...))
	link := <-s.env.paused
	write(t, c, frame('e', []byte("still later")))
	s.group.Loops()[0].Call(link.Resume)
	expect(t, c, []byte("laterstill later"))
}

// A connection that dies in the middle of a body leaves nothing behind.
func TestDeathInABody(t *testing.T) {
	s := startServer(t, 1, "127.0.0.1:0", testLimits)
	for range 10 {
		c := s.dial()
		write(t, c, frame('d', pattern(150_000, 1))[:90_000])
		c.Close()
	}
	s.until("all to be closed", func() bool { return s.env.closed.Load() == 10 })
	if n := s.env.abandons.Load(); n != 0 {
		t.Errorf("%d bodies were begun before all of their bytes were there", n)
	}
}

// Ranges of a file, from the mapping and by sendfile, between copied bytes.
func TestRanges(t *testing.T) {
	const size = 3 << 20
	for _, mapped := range []bool{true, false} {
		t.Run(fmt.Sprintf("mapped %v", mapped), func(t *testing.T) {
			s := startServer(t, 1, "127.0.0.1:0", testLimits)
			file := newTestFile(t, size, mapped)
			s.env.file.Store(file)
			c := s.dial()
			type piece struct{ off, n int }
			pieces := []piece{{0, 10}, {10, 5000}, {4096, 100_000}, {1, size - 1}, {size - 1, 1}, {77, 2 << 20}, {8192, 8192}}
			var want []byte
			for i, p := range pieces {
				write(t, c, append(frame('e', pattern(i, i)), rangeFrame(p.off, p.n)...))
				want = append(append(want, pattern(i, i)...), file.mem[p.off:p.off+p.n]...)
			}
			expect(t, c, want)
			if cold := s.counters.cold.Load(); (cold == 0) != mapped {
				t.Errorf("%d bytes by sendfile", cold)
			}
		})
	}
}

// A reader that takes nothing stops its own requests, and nobody else's.
func TestSlowReaderIsNotRead(t *testing.T) {
	limits := testLimits
	limits.SlowMS = 200
	s := startServer(t, 1, "127.0.0.1:0", limits)
	slow, other := s.dial(), s.dial()
	ask := binary.LittleEndian.AppendUint32(nil, 100_000)
	sent := 0
	for {
		n, err := slow.Write(bytes.Repeat(frame('b', ask), 100))
		sent += n
		if err != nil {
			break
		}
		if sent > 64<<20 {
			t.Fatal("requests are read on and on")
		}
	}
	s.until("the slow one to be closed", func() bool { return s.counters.closed[reasonSlow].Load() == 1 })
	write(t, other, frame('e', []byte("hello")))
	expect(t, other, []byte("hello"))
}

// What is crowded eases, and the room hears of it.
func TestDrainedAfterCrowded(t *testing.T) {
	s := startServer(t, 1, "127.0.0.1:0", testLimits)
	c := s.dial()
	n := uint32(20 << 20)
	write(t, c, frame('b', binary.LittleEndian.AppendUint32(nil, n)))
	s.until("bytes to wait", func() bool {
		crowded := make(chan bool)
		s.group.Loops()[0].Call(func() {
			is := false
			s.group.Loops()[0].Each(func(c *Conn) { is = c.Crowded() })
			crowded <- is
		})
		return <-crowded
	})
	if _, err := io.CopyN(io.Discard, c, int64(n)); err != nil {
		t.Fatal(err)
	}
	s.until("the room to hear of it", func() bool { return s.env.drained.Load() == 1 })
}

func TestCloseSendsWhatIsQueued(t *testing.T) {
	s := startServer(t, 1, "127.0.0.1:0", testLimits)
	c := s.dial()
	body := pattern(3_000_000, 9)
	go c.Write(append(append(frame('d', body), frame('x', nil)...), pattern(100_000, 1)...))
	expect(t, c, body)
	expect(t, c, []byte("bye"))
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("read %d %v", n, err)
	}
	c.Close()
	s.until("it to be forgotten", func() bool { return s.counters.closed[reasonDone].Load() == 1 })
}

func TestDeadlines(t *testing.T) {
	s := startServer(t, 1, "127.0.0.1:0", testLimits)
	c := s.dial()
	write(t, c, frame('t', nil))
	expect(t, c, []byte("time"))
}

func TestRefusalBeyondTheLimit(t *testing.T) {
	limits := testLimits
	limits.MaxConnections = 2
	s := startServer(t, 2, "127.0.0.1:0", limits)
	a, b := s.dial(), s.dial()
	for _, c := range []net.Conn{a, b} {
		write(t, c, frame('e', []byte("ok")))
		expect(t, c, []byte("ok"))
	}
	c := s.dial()
	if got, err := io.ReadAll(c); err != nil || string(got) != "full" {
		t.Errorf("%q %v", got, err)
	}
	s.group.SetLimits(testLimits)
	s.until("a third to be let in", func() bool {
		c := s.dial()
		write(t, c, frame('e', []byte("ok")))
		got := make([]byte, 2)
		_, err := io.ReadFull(c, got)
		return err == nil && string(got) == "ok"
	})
}

func TestAddresses(t *testing.T) {
	for _, address := range []string{"localhost:0", ":0", "[::1]:0", "0.0.0.0:0"} {
		t.Run(address, func(t *testing.T) {
			s := startServer(t, 1, address, testLimits)
			host := "127.0.0.1"
			if address == "[::1]:0" {
				host = "::1"
			}
			c := s.dialTo(net.JoinHostPort(host, fmt.Sprint(s.port)))
			write(t, c, frame('e', []byte("ok")))
			expect(t, c, []byte("ok"))
			if address == ":0" {
				c = s.dialTo(net.JoinHostPort("::1", fmt.Sprint(s.port)))
				write(t, c, frame('e', []byte("six")))
				expect(t, c, []byte("six"))
			}
		})
	}
}

func TestListenErrors(t *testing.T) {
	s := startServer(t, 1, "127.0.0.1:0", testLimits)
	for _, address := range []string{fmt.Sprintf("127.0.0.1:%d", s.port), "no port", "127.0.0.1:nothing", "192.0.2.1:0"} {
		g, err := New(Options{Loops: 1, Log: slog.New(slog.DiscardHandler), Doors: []*Door{{Address: address}}})
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Listen(); err == nil {
			t.Errorf("%s was accepted", address)
		}
		g.release()
	}
}

// Connections are spread over the loops.
func TestSpread(t *testing.T) {
	s := startServer(t, 2, "127.0.0.1:0", testLimits)
	for range 40 {
		c := s.dial()
		write(t, c, frame('e', []byte("x")))
		expect(t, c, []byte("x"))
	}
	for i, l := range s.group.Loops() {
		n := make(chan int)
		l.Call(func() { n <- l.Len() })
		if got := <-n; got == 0 {
			t.Errorf("loop %d has none of 40 connections", i)
		}
	}
}
