package reactor

import (
	"golang.org/x/sys/unix"

	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/invariant"
)

// pauses are the reasons for which a connection is not read.
type pauses uint8

const (
	pauseRoom    pauses = 1 << iota // its room waits for something: ring space, its own replies
	pauseCrowded                    // too much waits to be sent to it
	pauseClosing                    // nothing more is taken from it
)

// Conn is one connection. It belongs to its loop; nothing in it is shared.
type Conn struct {
	loop   *Loop
	door   *Door // through which it has come in
	room   session.Protocol
	remote remoteAddr
	id     uint64
	fd     int

	in   inBuffer
	out  outQueue
	want session.Want

	deadlineMS int64 // the room's; 0: none
	armedMS    int64 // earliest entry in the loop's timers; 0: none
	laterMS    int64 // a later one, which the earliest has come before; 0: none
	openedMS   int64
	activeMS   int64 // when bytes last came in
	sentMS     int64 // when bytes last went out
	stalledMS  int64 // since when the socket takes nothing; 0: it does
	lingerMS   int64 // until when we wait for the peer to close; 0: not lingering
	endedMS    int64 // when the peer ended its side; 0: it has not
	awaited    int   // bytes in the socket when we began to wait for a body
	lowat      int32 // SO_RCVLOWAT as set
	least      int32 // … and as the room wishes, where no body is waited for; below 2: any byte counts

	paused      pauses
	readable    bool // there may be bytes: no EAGAIN since the last edge
	writable    bool
	awaiting    bool // SO_RCVLOWAT waits for the rest of a body
	gather      bool // the frame under way is gathered in memory, not waited for in the socket
	small       bool // the last frame went directly: the next read takes a header only
	readyQueued bool
	dirtyQueued bool
	established bool
	crowded     bool // Crowded was true: Drained is owed
	closing     bool
	hungUp      bool // the peer has closed its side: read to the end
	dead        bool
}

const (
	// readBudget bounds what is read from one connection in one turn of its loop.
	readBudget = 2 << 20
	// maxLowat bounds how much we let the kernel gather for us.
	maxLowat = 4 << 20
	// headerRead is how much is read behind a frame that goes directly to its place: the
	// next header, and not the next body.
	headerRead = 128
	// lingerTimeMS is how long we read and discard after our last byte, so that an error
	// that we sent is not overtaken by a reset.
	lingerTimeMS = 1000
)

// ready is called for an edge.
func (c *Conn) onEvents(events uint32) {
	if events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		if c.lingerMS != 0 {
			c.destroy(reasonDone)
		} else {
			c.destroy(reasonPeer)
		}
		return
	}
	if events&unix.EPOLLRDHUP != 0 {
		c.hungUp = true
	}
	if events&(unix.EPOLLIN|unix.EPOLLRDHUP) != 0 {
		c.readable = true
		c.read()
	}
	if events&unix.EPOLLOUT != 0 && !c.dead {
		c.writable = true
		if !c.out.empty() {
			c.markDirty()
		}
	}
}

// read takes what is there, up to the budget, and shows it to the room.
func (c *Conn) read() {
	if c.lingerMS != 0 {
		c.discardInput()
		return
	}
	if c.in.len() > 0 && c.paused == 0 {
		c.feed(c.in.bytes(), true)
	}
	for budget := readBudget; c.readable && c.paused == 0 && !c.dead; {
		if budget <= 0 {
			c.loop.later(c)
			return
		}
		n := 0
		if c.want.Direct {
			n = c.readDirect()
		} else {
			n = c.readBytes()
		}
		budget -= n
	}
	c.settle()
}

// settle is called before a connection is left to wait: what it waits for is set.
func (c *Conn) settle() {
	if c.dead {
		return
	}
	if least := max(c.least, 1); c.lowat != least && !c.awaiting {
		c.setLowat(int(least))
	}
	if c.partial() {
		c.armTimer()
	}
}

// partial tells whether a frame has begun and we wait for the rest of it.
func (c *Conn) partial() bool {
	return c.paused == 0 && (c.in.len() > 0 || c.want.Direct)
}

// readBytes makes one read into the loop's scratch memory or, where a part of a frame is
// there already, behind it.
func (c *Conn) readBytes() int {
	l := c.loop
	b, own := l.scratch, false
	if c.in.len() > 0 {
		// Twice what is there: a frame that only claims to be large costs nothing.
		missing := max(c.want.Bytes-c.in.len(), 1)
		b, own = c.in.room(&l.pool, min(missing, max(c.in.len(), 4<<10))), true
	} else if c.small {
		b, c.small = b[:headerRead], false
	}
	n, err := unix.Read(c.fd, b)
	if !c.arrived(n, err) {
		return 0
	}
	if n < len(b) && !c.hungUp {
		c.readable = false
	}
	if own {
		c.in.w += n
		c.feed(c.in.bytes(), true)
	} else {
		c.feed(b[:n], false)
	}
	return n
}

// arrived deals with the result of a read; false: there are no bytes.
func (c *Conn) arrived(n int, err error) bool {
	switch {
	case err == unix.EAGAIN:
		c.readable = false
		return false
	case err == unix.EINTR:
		return false
	case err != nil:
		c.destroy(reasonPeer)
		return false
	case n == 0:
		c.end()
		return false
	}
	c.activeMS = c.loop.nowMS
	c.loop.bytesIn += uint64(n)
	return true
}

// end is called when the peer sends nothing more: what it has asked for is still answered.
func (c *Conn) end() {
	c.readable, c.awaiting = false, false
	c.endedMS = c.loop.nowMS
	c.paused |= pauseClosing
	c.in.release(&c.loop.pool)
	c.want = session.Want{}
	c.armTimer()
	c.room.Ended()
}

// feed shows bytes to the room until it wants more than there are. own: b lies in c.in.
func (c *Conn) feed(b []byte, own bool) {
	for c.paused == 0 && !c.dead && len(b) > 0 {
		if c.want.Direct {
			if len(b) < c.want.Bytes {
				break
			}
			dst := c.room.Space(c.want.Bytes)
			if dst == nil {
				c.paused |= pauseRoom
				break
			}
			n := copy(dst, b)
			b = b[n:]
			c.want = session.Want{}
			c.room.Filled()
			continue
		}
		if len(b) < c.want.Bytes {
			break
		}
		used, want := c.room.Input(b)
		if used < 0 || used > len(b) || used == 0 && !want.Pause && want.Bytes <= len(b) && !c.closing && !want.Direct {
			invariant.Fail("room used %d of %d bytes and wants %+v", used, len(b), want)
		}
		b = b[used:]
		c.want = want
		c.gather, c.awaiting = false, false
		if want.Pause {
			c.paused |= pauseRoom
			c.want.Pause = false
		}
		c.checkCrowded()
	}
	if c.dead {
		return
	}
	if c.closing {
		b = nil
	}
	c.in.keep(&c.loop.pool, b, own)
}

// readDirect brings the rest of a large body to the memory that the room names, once all
// of it is at hand: partly read already, the rest in the socket.
func (c *Conn) readDirect() int {
	l := c.loop
	have, n := c.in.len(), c.want.Bytes
	if have >= n {
		c.feed(c.in.bytes(), true)
		return 0
	}
	avail, err := unix.IoctlGetInt(c.fd, unix.TIOCINQ)
	if err != nil {
		c.destroy(reasonPeer)
		return 0
	}
	if have+avail < n {
		return c.awaitBody(n-have, avail)
	}
	dst := c.room.Space(n)
	if dst == nil {
		c.paused |= pauseRoom
		return 0
	}
	copy(dst, c.in.bytes())
	c.in.release(&l.pool)
	got, extra := have, 0
	for got < n {
		r, err := l.readv(c.fd, dst[got:], l.scratch[:headerRead])
		if err == unix.EINTR {
			continue
		}
		if err != nil || r == 0 {
			// The bytes were there; only a dying connection takes them away.
			c.room.Abandon()
			c.destroy(reasonPeer)
			return 0
		}
		got += r
	}
	extra = got - n
	c.activeMS = l.nowMS
	l.bytesIn += uint64(got - have)
	if extra < headerRead && !c.hungUp {
		c.readable = false
	}
	c.want = session.Want{}
	c.gather, c.awaiting = false, false
	c.small = true
	c.room.Filled()
	if extra > 0 && !c.dead {
		c.feed(l.scratch[:extra], false)
	}
	return got - have
}

// awaitBody is called when missing bytes of a body are not all there yet: it has the
// kernel tell us when they are, or, where the kernel cannot hold so many, gathers them.
func (c *Conn) awaitBody(missing, avail int) int {
	if !c.gather && !c.awaiting && missing <= maxLowat && !c.hungUp && c.setLowat(missing) {
		c.readable, c.awaiting, c.awaited = false, true, avail
		return 0
	}
	// Too much for the kernel, or woken with less than we asked for: it has no room for
	// more. SO_RCVLOWAT is back at 1 before we wait (settle).
	c.gather, c.awaiting = true, false
	b := c.in.room(&c.loop.pool, min(missing, max(avail, c.in.len(), 4<<10)))
	b = b[:min(len(b), missing)]
	n, err := unix.Read(c.fd, b)
	if !c.arrived(n, err) {
		return 0
	}
	c.in.w += n
	if n < len(b) && !c.hungUp {
		c.readable = false
	}
	if n == missing {
		c.feed(c.in.bytes(), true)
	}
	return n
}

// setLowat sets how many bytes make the socket readable. The kernel raises an edge at once
// where they are there already.
func (c *Conn) setLowat(n int) bool {
	if err := unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_RCVLOWAT, n); err != nil {
		return false
	}
	c.lowat = int32(n)
	return true
}

// discardInput reads what the peer still sends after our last byte, up to the budget.
func (c *Conn) discardInput() {
	for budget := readBudget; c.readable; {
		if budget <= 0 {
			c.loop.later(c)
			return
		}
		n, err := unix.Read(c.fd, c.loop.scratch)
		budget -= max(n, 1)
		if err == unix.EAGAIN {
			c.readable = false
			return
		}
		if err != nil && err != unix.EINTR || n == 0 {
			c.destroy(reasonDone)
			return
		}
	}
}

// linger ends our side and waits for the peer's.
func (c *Conn) linger() {
	if c.lingerMS != 0 {
		return
	}
	if c.endedMS != 0 { // nothing is left to wait for
		c.destroy(reasonPeer)
		return
	}
	_ = unix.Shutdown(c.fd, unix.SHUT_WR) // ENOTCONN: the peer has gone, read tells
	c.lingerMS = c.loop.nowMS + lingerTimeMS
	c.readable, c.awaiting = true, false
	c.settle()
	c.armTimer()
	c.discardInput()
}
