package amqpconn

import (
	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/amqp"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/shmqueue"
)

// state is how far a connection has got.
type state uint8

const (
	stateHeader  state = iota // the protocol's header must come
	stateStart                // … start-ok
	stateTune                 // … tune-ok
	stateOpening              // … open
	stateOpen
	stateClosing // close was sent: nothing counts but its answer
	stateClosed
)

// Conn is one connection.
type Conn struct {
	settings *Settings
	loop     *Loop
	lane     *session.Lane
	link     session.Link
	wake     waiter

	state    state
	draining bool // the server stops: nothing new is taken
	told     bool // logicsrv knows the connection: it must hear of its end
	blocked  bool // the client was told that the broker is, and why
	notified bool // the client wants to be told of that
	cancels  bool // the client wants to be told when a consumer ends
	unknown  bool // it is not known yet who may connect: it waits

	user, vhost      string
	mechanism        string // how the user has shown who it is
	clientProperties amqp.Table
	openedMS         int64 // Unix time at which the vhost was entered
	frameMax         int
	channelMax       uint16
	heartbeatMS      int64
	heardMS          int64 // when bytes came last
	saidMS           int64 // when a frame was sent last
	closeMS          int64 // until when the answer to close is waited for
	deadlineMS       int64 // as set at the link; 0: none

	channels map[uint16]*channel
	subs     []*consumer // in order of their numbers
	lastSub  uint64

	pending session.Pending    // publishes without an answer
	sends   map[uint64]sending // what goes with them, by number
	asks    map[uint64]*ask    // questions without an answer, by number
	again   []*ask             // those to be put again at againMS
	againMS int64
	run     *run // publishes that are not in the ring yet
	stuck   bool // … for want of room
	held    bool // a frame waits for its channel
	share   int  // bytes of the ring that its publishes may hold
	short   bool // a run waits until they hold less
	gathers int  // bytes of publishes that may gather in the socket, for much is under way
	settled settled

	resyncSub uint64 // all consumers below are told
	resyncReq uint64 // all questions below are told
}

var _ session.Protocol = (*Conn)(nil)

// New makes the room of a connection.
func New(s *Settings, loop *Loop, link session.Link) *Conn {
	c := &Conn{
		settings: s, loop: loop, lane: loop.Lane, link: link, frameMax: strangerFrame, channelMax: s.ChannelMax,
		share: min(s.WindowBytes, int(loop.Lane.Capacity/4)),
	}
	c.wake = waiter{link, c}
	return c
}

// Input takes whole frames off the front of b. What was published in them is in the ring when it
// returns, or waits for room there.
func (c *Conn) Input(b []byte) (used int, want session.Want) {
	c.heardMS = c.link.NowMS()
	for used < len(b) && c.state != stateClosed {
		n, want := c.step(b[used:])
		used += n
		if n == 0 {
			want.Pause = !c.through() || want.Pause
			return used, want
		}
	}
	if c.state == stateClosed {
		return len(b), session.Want{}
	}
	return used, session.Want{Pause: !c.through()}
}

// through puts what has been read into the ring; false: there is no room for all that was published.
func (c *Conn) through() bool {
	done := c.flush()
	c.settle()
	return done
}

// step deals with one frame at the front of b. It returns how much of b it has used; 0: more bytes,
// or answers, are wanted.
func (c *Conn) step(b []byte) (used int, want session.Want) {
	if c.state == stateHeader {
		return c.protocolHeader(b)
	}
	if len(b) < amqp.FrameHeaderSize {
		return 0, session.Want{Bytes: amqp.FrameHeaderSize}
	}
	f := amqp.ParseFrame(b)
	if f.Size > c.frameMax-amqp.FrameOverhead {
		c.failConnection(0, wrong(amqp.FrameError, "frame of %d bytes, at most %d were agreed", f.Size+amqp.FrameOverhead, c.frameMax))
		return len(b), want
	}
	size := f.Size + amqp.FrameOverhead
	if len(b) < size {
		return 0, session.Want{Bytes: size}
	}
	if b[size-1] != amqp.FrameEnd {
		c.failConnection(0, wrong(amqp.FrameError, "a frame of type %d does not end where its size says", f.Type))
		return len(b), want
	}
	c.lane.Counters.Add(shmqueue.ConnRequests, 1)
	if !c.frame(f, b[amqp.FrameHeaderSize:size-1]) {
		return 0, session.Want{Pause: true}
	}
	return size, want
}

// frame carries a frame out; false: its channel waits, it shall be shown again.
func (c *Conn) frame(f amqp.Frame, payload []byte) (done bool) {
	switch {
	case f.Type == amqp.FrameHeartbeat && f.Channel == 0:
		return true
	case f.Type == amqp.FrameHeartbeat:
		c.failConnection(0, wrong(amqp.UnexpectedFrame, "a heartbeat on channel %d", f.Channel))
		return true
	case f.Type == amqp.FrameMethod && len(payload) < amqp.MethodHeaderSize,
		f.Type != amqp.FrameMethod && f.Type != amqp.FrameHeader && f.Type != amqp.FrameBody:
		c.failConnection(0, wrong(amqp.FrameError, "a frame of type %d and %d bytes on channel %d", f.Type, f.Size, f.Channel))
		return true
	case f.Channel == 0:
		if c.state == stateOpen && !c.through() || c.awaitUsers() {
			return false
		}
		c.onConnection(f, payload)
		return true
	case c.state != stateOpen:
		if c.state != stateClosing {
			c.failConnection(0, wrong(amqp.ChannelError, "a frame on channel %d of a connection that is not open", f.Channel))
		}
		return true
	}
	return c.onChannel(f, payload)
}

// send queues a method.
func (c *Conn) send(channel uint16, m amqp.Arguments) {
	if c.state == stateClosed {
		return
	}
	b := amqp.AppendMethod(c.lane.Scratch(), channel, m)
	copy(c.append(len(b)), b)
}

// append makes n bytes at the end of what is to be sent.
func (c *Conn) append(n int) []byte {
	c.saidMS = c.link.NowMS()
	return c.link.Append(n)
}

// head is the head of a record of this connection.
func (c *Conn) head(req uint64) ipc.Head { return c.lane.Head(c.link.ID(), req) }

// Space, Filled and Abandon: nothing goes from the socket straight into the ring.
func (c *Conn) Space(int) []byte { return nil }

// Filled follows no Space.
func (c *Conn) Filled() {}

// Abandon follows no Space.
func (c *Conn) Abandon() {}

// Closed tells logicsrv, if it knows the connection.
func (c *Conn) Closed() {
	c.state = stateClosed
	c.lane.Forget(&c.wake)
	if c.run != nil {
		c.loop.recycle(c.run)
		c.run = nil
	}
	c.leave()
	c.depart()
	c.subs, c.sends, c.asks, c.again = nil, nil, nil, nil
}

// leave tells logicsrv that the connection ends, if it knows it: what belongs to it goes, and what
// it holds comes back.
func (c *Conn) leave() {
	if c.told {
		c.told = false
		m := ipc.ConnClosed{Head: c.head(0)}
		c.lane.PutLater(ipc.TypeConnClosed, m.Append(c.lane.Scratch()))
	}
}
