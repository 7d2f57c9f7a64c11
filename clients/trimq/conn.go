package trimq

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/native"
)

var (
	errGoodbye = errors.New("trimq: the broker says goodbye")
	errSilence = errors.New("trimq: no answer in time")
)

// conn is one connection after its handshake. Its reader and its writer are one goroutine
// each; both belong to the link that made it.
type conn struct {
	nc       net.Conn
	frames   *frameReader
	hello    native.HelloReply
	asked    atomic.Int64 // requests written that want an answer
	answered atomic.Int64
	crowded  atomic.Bool // a request waits for room in the broker's window
	draining atomic.Bool // the broker takes no new requests
	dead     chan struct{}

	// The reader's.
	silence  time.Duration // half the answer timeout
	deadline time.Time
	strikes  int
}

// outbox gathers what the writer sends with one system call.
type outbox struct {
	bufs  net.Buffers
	arena []byte // small frames; grown by append, so that earlier frames stay where they are
	asked int
	bytes int
}

// add takes a frame that stays valid until it is answered.
func (o *outbox) add(frame []byte, asks bool) {
	o.bufs = append(o.bufs, frame)
	o.bytes += len(frame)
	if asks {
		o.asked++
	}
}

// frame encodes a small frame.
func (o *outbox) frame(cmd native.Command, flags native.Flags, corr uint64, body native.Body) {
	start := len(o.arena)
	o.arena = native.AppendFrame(o.arena, cmd, flags, corr, body)
	o.add(o.arena[start:len(o.arena):len(o.arena)], flags&native.FlagNoReply == 0)
}

func (o *outbox) reset() {
	clear(o.bufs)
	o.bufs, o.arena, o.asked, o.bytes = o.bufs[:0], o.arena[:0], 0, 0
}

// connect makes one attempt: dial, HELLO, AUTH.
func connect(ctx context.Context, addr string, o *options, slabSize, maxFrame int) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, o.dialTimeout)
	defer cancel()
	nc, err := o.dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })
	c := &conn{nc: nc, dead: make(chan struct{}), silence: max(o.answerTimeout/2, time.Millisecond)}
	c.frames = newFrameReader(c, slabSize, native.DefaultMaxFrame)
	err = c.handshake(o)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		nc.Close()
		c.frames.close()
		return nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	nc.SetDeadline(time.Time{})
	c.deadline = time.Time{}
	c.frames.maxFrame = max(int(c.hello.MaxFrame), maxFrame)
	return c, nil
}

func (c *conn) handshake(o *options) error {
	body, err := c.ask(native.CmdHello, &native.Hello{
		MinVersion: native.Version, MaxVersion: native.Version,
		WindowRequests: defaultWindowRequests, WindowBytes: defaultWindowBytes, Client: o.name,
	})
	if err != nil {
		return err
	}
	hello, err := native.DecodeHelloReply(body)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	hello.Challenge = append([]byte(nil), hello.Challenge...)
	c.hello = hello
	if hello.Version != native.Version || hello.MaxFrame < native.HandshakeMaxFrame || hello.MaxFrame > 1<<30 ||
		hello.WindowRequests == 0 || hello.WindowBytes == 0 {
		return protocolError("HELLO response with version %d, frames of %d bytes, window of %d requests and %d bytes",
			hello.Version, hello.MaxFrame, hello.WindowRequests, hello.WindowBytes)
	}
	if !hello.AuthRequired {
		return nil
	}
	proof := native.AuthProof([]byte(o.secret), hello.Challenge, o.name)
	_, err = c.ask(native.CmdAuth, &native.Auth{Mechanism: native.AuthHMAC, User: o.name, Proof: proof})
	return err
}

// ask is a request of the handshake, where nothing else is on the wire.
func (c *conn) ask(cmd native.Command, body native.Body) ([]byte, error) {
	if _, err := c.nc.Write(native.AppendFrame(nil, cmd, 0, 1, body)); err != nil {
		return nil, err
	}
	h, reply, _, err := c.frames.next()
	if err != nil {
		return nil, err
	}
	if h.Command == native.CmdGoodbye {
		return nil, goodbyeError(reply)
	}
	if h.Command != cmd || h.Flags&native.FlagResponse == 0 || h.Correlation != 1 {
		return nil, protocolError("%s with flags %#x in answer to %s", h.Command, uint16(h.Flags), cmd)
	}
	return reply, responseError(h, reply)
}

func goodbyeError(body []byte) error {
	bye, err := native.DecodeGoodbye(body)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	if bye.Code == errcode.OK {
		return errGoodbye
	}
	return &Error{Code: bye.Code, Text: bye.Text}
}

// responseError is the refusal that a response tells, if it is one.
func responseError(h native.Header, body []byte) error {
	if h.Flags&native.FlagError == 0 {
		return nil
	}
	e, err := native.DecodeErrorBody(body)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	return e.Err()
}

// Read is the frame reader's view of the socket. A connection on which requests are
// unanswered must not stay silent for two deadlines in a row.
func (c *conn) Read(b []byte) (int, error) {
	for {
		if now := time.Now(); c.deadline.Sub(now) < c.silence/2 {
			c.deadline = now.Add(c.silence)
			if c.hello.Version != 0 { // during the handshake the context's deadline rules
				c.nc.SetReadDeadline(c.deadline)
			}
		}
		n, err := c.nc.Read(b)
		if n > 0 {
			c.strikes = 0
			return n, nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || c.hello.Version == 0 {
			return n, err
		}
		if c.asked.Load() == c.answered.Load() {
			c.strikes = 0
		} else if c.strikes++; c.strikes > 1 {
			return 0, errSilence
		}
	}
}

// serve reads and writes until the connection breaks; it returns when both have ended.
func (c *conn) serve(ctx context.Context, l *link) error {
	stop := context.AfterFunc(ctx, func() { c.nc.Close() })
	defer stop()
	wrote := make(chan error, 1)
	go func() {
		err := c.writeLoop(l)
		if err != nil {
			c.nc.Close()
		}
		wrote <- err
	}()
	err := c.readLoop(l)
	close(c.dead)
	c.nc.Close()
	if werr := <-wrote; werr != nil && !errors.Is(err, ErrProtocol) {
		err = werr
	}
	c.frames.close()
	return err
}

// room is how many more requests the broker's window takes beside those in o. Where there is
// none, the writer gathers again once something has been answered.
func (c *conn) room(o *outbox) int {
	n := c.free() - o.asked
	if n <= 0 {
		c.crowded.Store(true) // before another look: or the last answer might come between the two
		n = c.free() - o.asked
	}
	return n
}

func (c *conn) free() int { return int(c.hello.WindowRequests) - int(c.asked.Load()-c.answered.Load()) }

func (c *conn) readLoop(l *link) error {
	for {
		h, body, s, err := c.frames.next()
		if err != nil {
			return err
		}
		if h.Command == native.CmdGoodbye && h.Flags == 0 {
			if err := goodbyeError(body); errors.Is(err, ErrProtocol) {
				return err
			}
			c.draining.Store(true)
		} else {
			if err := c.frame(l, h, body, s); err != nil {
				return err
			}
		}
		if c.draining.Load() && c.asked.Load() == c.answered.Load() {
			return errGoodbye
		}
	}
}

// frame hands a frame on.
func (c *conn) frame(l *link, h native.Header, body []byte, s *slab) error {
	answer := h.Flags&native.FlagResponse != 0
	if answer {
		c.answered.Add(1)
		if c.crowded.Swap(false) {
			defer l.kick()
		}
	}
	if answer && h.Correlation == pingCorrelation {
		return nil
	}
	return l.roles.handle(c, h, body, s)
}

func (c *conn) writeLoop(l *link) error {
	var o outbox
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	keep := time.Duration(c.hello.IdleTimeoutMS) * time.Millisecond / 3
	for {
		l.kicked.Store(false)
		o.reset()
		var due time.Duration
		if !c.draining.Load() {
			due = l.roles.gather(c, &o)
		}
		if len(o.bufs) > 0 {
			if err := c.write(&o); err != nil {
				return err
			}
			continue
		}
		if idle, err := c.park(l, timer, due, keep); err != nil || c.isDead() {
			return err
		} else if idle {
			o.frame(native.CmdPing, 0, pingCorrelation, &native.Ping{Token: 1})
			if err := c.write(&o); err != nil {
				return err
			}
		}
	}
}

// pingCorrelation marks the pings that keep a connection open; no role uses it.
const pingCorrelation = ^uint64(0)

// park waits for a kick, or until due; idle tells that the connection should show a sign of life.
func (c *conn) park(l *link, timer *time.Timer, due, keep time.Duration) (idle bool, err error) {
	wait := due
	if keep > 0 && (wait <= 0 || keep < wait) {
		wait, idle = keep, true
	}
	var alarm <-chan time.Time
	if wait > 0 {
		timer.Reset(wait)
		alarm = timer.C
	}
	select {
	case <-l.wake:
		return false, nil
	case <-alarm:
		return idle, nil
	case <-c.dead:
		return false, nil
	}
}

func (c *conn) isDead() bool {
	select {
	case <-c.dead:
		return true
	default:
		return false
	}
}

func (c *conn) write(o *outbox) error {
	c.asked.Add(int64(o.asked))
	bufs := o.bufs // WriteTo eats the slice that it is given
	_, err := bufs.WriteTo(c.nc)
	return err
}
