package nativeconn

import (
	"log/slog"

	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
	"github.com/trimq/trimq/shmqueue"
)

// Settings are what all connections of a process share.
type Settings struct {
	WindowRequests int // at most, whatever a client wishes
	WindowBytes    int
	MaxFrame       int
	IdleTimeoutMS  int
	DrainMS        int
	Secret         []byte // nil: no AUTH asked
	Server         string // version text
	Cluster        string
	Node           string
	Info           func() native.InfoReply
	UnixMS         func() int64 // the clock by which messages are delayed
	Log            *slog.Logger
}

// batchRoom is what frames need around a batch: the largest batch that a client may send
// must fit a frame of the same limit when it is fetched or delivered.
const batchRoom = native.FrameHeaderSize + native.DeliverSize + 8

// MaxBatch is how large a batch may be that has to fit a frame.
func MaxBatch(maxFrame int) int { return maxFrame - batchRoom }

// directBytes is the size from which a batch goes from the socket straight into the ring.
// Smaller ones are read many at a time and copied.
const directBytes = 32 << 10

// state is how far a connection has got.
type state uint8

const (
	stateHello state = iota // HELLO must come
	stateAuth               // AUTH must come
	stateOpen
	stateDraining // nothing new is taken
	stateClosed   // an error was sent, or the connection is gone
)

// Conn is one connection.
type Conn struct {
	settings *Settings
	lane     *session.Lane
	link     session.Link

	state     state
	maxFrame  int
	window    int // requests
	share     int // bytes of the ring
	skip      int // bytes of a refused body still to come
	challenge []byte
	client    string // what it calls itself

	pending    session.Pending
	quiet      int // requests in pending that want no answer
	internal   int // requests in pending that are our own, outside the client's window
	shareWait  bool
	deadlineMS int64                       // as set at the link
	subs       []*session.Sub              // in order of their numbers, so that pullers come last
	pullers    uint64                      // how many there have been
	pulls      map[uint64]*session.Pulling // unanswered PULLs, by the request's number
	asked      uint64                      // messages that they ask for
	txns       map[uint64]txnChange        // what goes with requests about transactions, by number
	groups     []string                    // producer groups that the connection answers for, in order
	line       []parcel                    // what waits for the link to drain, oldest first
	asking     bool                        // … or for what was aborted to be known
	resting    bool                        // … or for others to have their turn
	told       bool                        // logicsrv knows the connection: it must hear of its end

	direct     native.Header // the PRODUCE whose batch is on its way into slot
	directBody native.Produce
	slot       shmqueue.Slot

	resyncSub   uint64 // all consumers below are told
	resyncGroup int    // all groups before are told
	resyncReq   uint64 // all waits below are told; then, all pulls
}

var _ session.Protocol = (*Conn)(nil)

// New makes the room of a connection.
func New(s *Settings, lane *session.Lane, link session.Link) *Conn {
	return &Conn{settings: s, lane: lane, link: link, maxFrame: native.HandshakeMaxFrame}
}

// Refusal is what a connection beyond the limit is sent.
func Refusal(err error) []byte {
	return native.AppendError(nil, native.CmdHello, 0, err)
}

// maxBatch is the largest batch that is taken.
func (c *Conn) maxBatch() int {
	return min(c.lane.MaxBatch, c.lane.MaxRecord-ipc.AppendSize)
}

// Input takes whole frames off the front of b.
func (c *Conn) Input(b []byte) (used int, want session.Want) {
	for c.state != stateClosed {
		rest := b[used:]
		if c.skip > 0 {
			n := min(c.skip, len(rest))
			c.skip -= n
			used += n
			if c.skip > 0 {
				return used, session.Want{}
			}
			continue
		}
		if len(rest) < native.FrameHeaderSize {
			return used, session.Want{Bytes: native.FrameHeaderSize}
		}
		h, err := native.ParseHeader(rest, c.maxFrame)
		if err != nil {
			c.fatal(h, err)
			break
		}
		n, want := c.frame(h, rest)
		used += n
		// The answer to INFO is hundreds of times as large: the link shall look at each.
		if n == 0 || want.Direct || h.Command == native.CmdInfo {
			return used, want
		}
	}
	return len(b), session.Want{}
}

// frame deals with one frame that begins at rest. It returns how much of rest it has used;
// 0: more bytes, or room in the ring, are wanted.
func (c *Conn) frame(h native.Header, rest []byte) (used int, want session.Want) {
	if err := c.admit(h); err != nil {
		c.lane.Counters.Add(shmqueue.ConnRequests, 1)
		c.refuse(h, err)
		if c.state == stateClosed {
			return len(rest), want
		}
		c.skip = h.BodyLen()
		return native.FrameHeaderSize, want
	}
	if h.Command == native.CmdProduce && h.BodyLen()-native.ProduceSize >= directBytes {
		return c.beginDirect(h, rest)
	}
	if len(rest) < h.FrameLen() {
		return 0, session.Want{Bytes: h.FrameLen()}
	}
	if !c.request(h, rest[native.FrameHeaderSize:h.FrameLen()]) {
		return 0, session.Want{Pause: true}
	}
	c.lane.Counters.Add(shmqueue.ConnRequests, 1)
	return h.FrameLen(), want
}

// admit refuses a request by its header.
func (c *Conn) admit(h native.Header) error {
	switch c.state {
	case stateHello:
		if h.Command != native.CmdHello {
			return c.unexpected(h, errcode.Malformed, "the first frame must be HELLO, not %s", h.Command)
		}
		return nil
	case stateAuth:
		if h.Command != native.CmdAuth {
			return c.unexpected(h, errcode.AuthRequired, "AUTH must come before %s", h.Command)
		}
		return nil
	}
	if err := native.CheckRequest(h); err != nil {
		return err
	}
	if c.state == stateDraining && !servedWhileDraining(h.Command) {
		return errcode.New(errcode.ShuttingDown, "the server is shutting down")
	}
	// A client that wants no answers cannot know its window: it is held up instead (claim), and
	// what it wants one for is not refused for the sake of the others.
	counted := c.inFlight()
	if h.Flags&native.FlagNoReply == 0 {
		counted -= c.quiet
	} else if !asksToRead(h.Command) {
		counted = 0
	}
	if counted >= c.window && occupiesWindow(h) {
		return errcode.New(errcode.WindowExceeded, "%d requests in flight, the window is %d", counted, c.window)
	}
	if h.Command.CarriesBatch() {
		return c.admitBatch(h)
	}
	return nil
}

// admitBatch refuses a request whose batch could not be stored.
func (c *Conn) admitBatch(h native.Header) error {
	if c.lane.DiskFull() {
		c.lane.Counters.Add(shmqueue.ConnDiskFull, 1)
		return errcode.New(errcode.DiskFull, "the disk is nearly full; what is stored stays readable")
	}
	if h.Command == native.CmdProduce {
		if n := h.BodyLen() - native.ProduceSize; n > c.maxBatch() {
			return errcode.New(errcode.BatchTooLarge, "batch of %d bytes, at most %d", n, c.maxBatch())
		}
	}
	return nil
}

// unexpected closes a connection that has not introduced itself.
func (c *Conn) unexpected(h native.Header, code errcode.Code, format string, args ...any) error {
	err := errcode.New(code, format, args...)
	c.fatal(h, err)
	return err
}

func servedWhileDraining(cmd native.Command) bool {
	switch cmd {
	case native.CmdAck, native.CmdPing, native.CmdUnsubscribe, native.CmdCommitOffsets, native.CmdCredit, native.CmdExtend, native.CmdEndTxn,
		native.CmdGroupCommit, native.CmdGroupHeartbeat:
		return true
	default:
		return false
	}
}

// occupiesWindow tells whether a request stays pending: the others are answered at once.
func occupiesWindow(h native.Header) bool {
	switch h.Command {
	case native.CmdPing, native.CmdInfo, native.CmdCredit, native.CmdHello, native.CmdAuth:
		return false
	case native.CmdAck:
		return h.Flags&native.FlagNoReply == 0
	default:
		return true
	}
}

// asksToRead tells requests that are parked rather than stored: nothing holds them up.
func asksToRead(cmd native.Command) bool {
	switch cmd {
	case native.CmdFetch, native.CmdListOffsets, native.CmdPull:
		return true
	default:
		return false
	}
}

// inFlight is how many of the client's requests are not answered.
func (c *Conn) inFlight() int { return c.pending.Len() - c.internal }

// request carries a whole frame out; false: there is no room, it shall be shown again.
func (c *Conn) request(h native.Header, body []byte) (done bool) {
	switch h.Command {
	case native.CmdHello:
		return c.hello(h, body)
	case native.CmdAuth:
		return c.auth(h, body)
	case native.CmdPing:
		return c.ping(h, body)
	case native.CmdInfo:
		return c.info(h, body)
	case native.CmdProduce:
		return c.produce(h, body)
	case native.CmdPublish:
		return c.publish(h, body)
	case native.CmdFetch:
		return c.fetch(h, body)
	case native.CmdListOffsets:
		return c.listOffsets(h, body)
	case native.CmdInitProducer:
		return c.initProducer(h, body)
	case native.CmdCommitOffsets:
		return c.commitOffsets(h, body)
	case native.CmdFetchOffsets:
		return c.fetchOffsets(h, body)
	case native.CmdSubscribe:
		return c.subscribe(h, body)
	case native.CmdUnsubscribe:
		return c.unsubscribe(h, body)
	case native.CmdCredit:
		return c.credit(h, body)
	case native.CmdAck:
		return c.ack(h, body)
	case native.CmdPull:
		return c.pull(h, body)
	case native.CmdExtend:
		return c.extend(h, body)
	case native.CmdBeginTxn:
		return c.beginTxn(h, body)
	case native.CmdEndTxn:
		return c.endTxn(h, body)
	case native.CmdTxnMember:
		return c.txnMember(h, body)
	case native.CmdGroupHeartbeat:
		return c.groupHeartbeat(h, body)
	case native.CmdGroupCommit:
		return c.groupCommit(h, body)
	}
	if h.Command.Admin() {
		return c.admin(h, body)
	}
	c.refuse(h, errcode.New(errcode.UnsupportedCommand, "%s is not served", h.Command))
	return true
}

// respond sends a response with a body.
func (c *Conn) respond(h native.Header, body native.Body) {
	if h.Flags&native.FlagNoReply != 0 {
		return
	}
	c.send(h.Command, native.FlagResponse, h.Correlation, body)
}

// send queues a frame.
func (c *Conn) send(cmd native.Command, flags native.Flags, correlation uint64, body native.Body) {
	b := native.AppendFrame(c.lane.Scratch(), cmd, flags, correlation, body)
	copy(c.link.Append(len(b)), b)
}

// refuse answers a request with an error. The connection goes on.
func (c *Conn) refuse(h native.Header, err error) {
	c.lane.Counters.Add(shmqueue.ConnRequestErrors, 1)
	if h.Flags&native.FlagNoReply != 0 || c.state == stateClosed {
		return
	}
	b := native.AppendError(c.lane.Scratch(), h.Command, h.Correlation, err)
	copy(c.link.Append(len(b)), b)
}

// fatal answers with an error and closes the connection: its stream cannot be trusted.
func (c *Conn) fatal(h native.Header, err error) {
	if c.state == stateClosed {
		return
	}
	c.lane.Counters.Add(shmqueue.ConnProtocolErrors, 1)
	c.settings.Log.Debug("connection refused", "conn", c.link.ID(), "remote", c.link.Remote(), "err", err)
	h.Flags &^= native.FlagNoReply
	c.refuse(h, err)
	c.state = stateClosed
	c.link.Close()
}

// add enters a request of the client in the table of those that wait for logicsrv.
func (c *Conn) add(h native.Header, r session.Request) {
	r.Correlation = h.Correlation
	r.Command = uint16(h.Command)
	r.Quiet = h.Flags&native.FlagNoReply != 0
	if r.Quiet {
		c.quiet++
	}
	c.pending.Add(r)
}

// header is what a response to a pending request begins with.
func header(r *session.Request) native.Header {
	h := native.Header{Command: native.Command(r.Command), Correlation: r.Correlation}
	if r.Quiet {
		h.Flags = native.FlagNoReply
	}
	return h
}

// head is the head of a record of this connection.
func (c *Conn) head(req uint64) ipc.Head { return c.lane.Head(c.link.ID(), req) }

// Shutdown says goodbye. What is pending is still answered.
func (c *Conn) Shutdown() {
	switch c.state {
	case stateClosed, stateDraining:
		return
	case stateHello, stateAuth:
		c.state = stateClosed
		c.link.Close()
		return
	}
	c.state = stateDraining
	c.send(native.CmdGoodbye, 0, 0, &native.Goodbye{
		Code: errcode.ShuttingDown, DrainMS: uint32(c.settings.DrainMS), Text: "the server is shutting down",
	})
	c.drain()
}

// drain answers what is pending as soon as it can be, and closes then.
func (c *Conn) drain() {
	c.leaveGroups()
	c.expireParks(1 << 62)
	c.closeIfDrained()
}

// Ended answers what is pending. Consumers get nothing more, as their verdicts cannot come.
func (c *Conn) Ended() {
	switch c.state {
	case stateClosed:
		return
	case stateHello, stateAuth:
		c.state = stateClosed
		c.link.Close()
		return
	}
	c.state = stateDraining
	c.drain()
}

// closeIfDrained closes a draining connection that has nothing left to answer.
func (c *Conn) closeIfDrained() {
	if c.state == stateDraining && c.inFlight() == 0 {
		c.link.Close()
	}
}

// Closed tells logicsrv, if it knows the connection.
func (c *Conn) Closed() {
	c.state = stateClosed
	c.lane.Forget(c.link)
	if c.told {
		m := ipc.ConnClosed{Head: c.head(0)}
		c.lane.PutLater(ipc.TypeConnClosed, m.Append(c.lane.Scratch()))
	}
	c.subs, c.line, c.groups, c.pulls, c.txns = nil, nil, nil, nil, nil
}
