package amqpconn

import (
	"bytes"
	"errors"

	"github.com/trimq/trimq/connsrv/access"
	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/amqp"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/shmqueue"
)

// Class connection: from the header to the open vhost, and to the end.
//
//	client               server
//	header        ──►
//	              ◄──    start        properties, mechanisms
//	start-ok      ──►                 user and password
//	              ◄──    tune         limits, heartbeat
//	tune-ok, open ──►                 limits that hold, vhost
//	              ◄──    open-ok

const (
	// strangerFrame bounds the frames of who has not shown yet who it is.
	strangerFrame = amqp.FrameMinSize
	// closeWaitMS is for how long the answer to our close is waited for.
	closeWaitMS = 5000
	// product and imitated are whose behaviour clients get, and of which release: some look at them to find
	// out what a prefetch counts, or which of RabbitMQ's extensions there are.
	product, imitated = "RabbitMQ", "3.13.7"
)

// protocolHeader takes the first bytes. Who speaks another version is told ours.
func (c *Conn) protocolHeader(b []byte) (used int, want session.Want) {
	const header = amqp.ProtocolHeader
	n := min(len(b), len(header))
	if !bytes.Equal(b[:n], []byte(header)[:n]) {
		copy(c.append(len(header)), header)
		c.lane.Counters.Add(shmqueue.ConnProtocolErrors, 1)
		c.state = stateClosed
		c.link.Close()
		return len(b), want
	}
	if n < len(header) {
		return 0, session.Want{Bytes: len(header)}
	}
	c.state = stateStart
	c.send(0, &amqp.ConnectionStart{
		VersionMajor: 0, VersionMinor: 9, ServerProperties: c.properties(),
		Mechanisms: []byte("AMQPLAIN PLAIN"), Locales: []byte("en_US"),
	})
	return n, want
}

// properties are what the broker says of itself.
func (c *Conn) properties() amqp.Table {
	var can amqp.Table
	for _, name := range []string{
		"publisher_confirms", "exchange_exchange_bindings", "basic.nack", "consumer_cancel_notify", "connection.blocked",
		"consumer_priorities", "authentication_failure_close", "per_consumer_qos", "direct_reply_to",
	} {
		can = can.Add(name, amqp.Bool(true))
	}
	t := amqp.Table(nil).Add("capabilities", amqp.Nested(can))
	t = t.Add("cluster_name", amqp.String(c.settings.Access.Load().ClusterName(c.settings.Cluster)))
	t = t.Add("product", amqp.String(product)).Add("version", amqp.String(imitated))
	return t.Add("platform", amqp.String("TriMQ "+c.settings.Version)).Add("trimq_version", amqp.String(c.settings.Version))
}

// onConnection carries a frame of channel 0 out.
func (c *Conn) onConnection(f amqp.Frame, payload []byte) {
	if f.Type != amqp.FrameMethod {
		c.failConnection(0, wrong(amqp.UnexpectedFrame, "a frame of type %d on channel 0", f.Type))
		return
	}
	id, m := decode(payload)
	if m == nil {
		c.failConnection(id, wrong(amqp.SyntaxError, "the arguments of %s cannot be read", id))
		return
	}
	if c.state == stateClosing {
		switch m.(type) {
		case *amqp.ConnectionCloseOk, *amqp.ConnectionClose:
			c.finish()
		}
		return
	}
	if !c.handshake(m) {
		c.failConnection(id, wrong(amqp.CommandInvalid, "%s is not expected now on channel 0", id))
	}
}

// decode reads a method; nil: there is no such, or its arguments cannot be read.
func decode(payload []byte) (amqp.Method, amqp.Arguments) {
	id := amqp.MethodAt(payload)
	m := amqp.New(id)
	if m == nil || m.Decode(payload[amqp.MethodHeaderSize:]) != nil {
		return id, nil
	}
	return id, m
}

// handshake carries a method of channel 0 out; false: it is none for now.
func (c *Conn) handshake(m amqp.Arguments) bool {
	switch m := m.(type) {
	case *amqp.ConnectionStartOk:
		if c.state != stateStart {
			return false
		}
		c.startOk(m)
	case *amqp.ConnectionTuneOk:
		if c.state != stateTune {
			return false
		}
		c.tuneOk(m)
	case *amqp.ConnectionOpen:
		if c.state != stateOpening {
			return false
		}
		c.open(m)
	case *amqp.ConnectionClose:
		c.end()
		c.send(0, &amqp.ConnectionCloseOk{})
		c.finish()
	case *amqp.ConnectionUpdateSecret:
		if c.state != stateOpen {
			return false
		}
		c.send(0, &amqp.ConnectionUpdateSecretOk{}) // a password is looked at when a connection begins
	case *amqp.ConnectionBlocked, *amqp.ConnectionUnblocked: // of clients that tell: nothing follows
	default:
		return false
	}
	return true
}

// startOk checks who the client is.
func (c *Conn) startOk(m *amqp.ConnectionStartOk) {
	user, password, ok := credentials(m)
	if !ok {
		c.failConnection(m.Method(), wrong(amqp.CommandInvalid, "unknown authentication mechanism '%s'; there are PLAIN and AMQPLAIN", m.Mechanism))
		return
	}
	can := capabilities(m.ClientProperties)
	c.notified, c.cancels = can.has("connection.blocked"), can.has("consumer_cancel_notify")
	if !c.login(user, password) {
		c.settings.Log.Info("login refused", "conn", c.link.ID(), "remote", c.link.Remote(), "user", user)
		if can.has("authentication_failure_close") {
			c.failConnection(0, wrong(amqp.AccessRefused, "Login was refused using authentication mechanism %s. For details see the broker logfile.", m.Mechanism))
			return
		}
		c.state = stateClosed
		c.link.Close()
		return
	}
	c.user, c.mechanism, c.state = user, string(m.Mechanism), stateTune
	c.clientProperties = append(amqp.Table(nil), m.ClientProperties...)
	c.send(0, &amqp.ConnectionTune{ChannelMax: c.settings.ChannelMax, FrameMax: c.settings.FrameMax, Heartbeat: c.settings.HeartbeatS})
}

// tuneOk takes the limits that hold.
func (c *Conn) tuneOk(m *amqp.ConnectionTuneOk) {
	s := c.settings
	no := func(what string, n, limit int, how string) {
		c.failConnection(m.Method(), wrong(amqp.NotAllowed, "negotiated %s = %d is %s allowed value (%d)", what, n, how, limit))
	}
	switch {
	case m.FrameMax != 0 && m.FrameMax < amqp.FrameMinSize:
		no("frame_max", int(m.FrameMax), amqp.FrameMinSize, "lower than the minimum")
		return
	case m.FrameMax > s.FrameMax:
		no("frame_max", int(m.FrameMax), int(s.FrameMax), "higher than the maximum")
		return
	case m.ChannelMax > s.ChannelMax:
		no("channel_max", int(m.ChannelMax), int(s.ChannelMax), "higher than the maximum")
		return
	}
	c.frameMax = int(s.FrameMax)
	if m.FrameMax != 0 {
		c.frameMax = int(m.FrameMax)
	}
	if m.ChannelMax != 0 {
		c.channelMax = m.ChannelMax
	}
	c.heartbeatMS = int64(m.Heartbeat) * 1000
	c.state = stateOpening
	c.schedule()
}

// open enters a vhost.
func (c *Conn) open(m *amqp.ConnectionOpen) {
	vhost := string(m.VirtualHost)
	switch err := c.settings.Access.Load().Enter(c.user, vhost); {
	case errors.Is(err, access.ErrNoVHost):
		c.failConnection(m.Method(), wrong(amqp.NotAllowed, "vhost %s not found", vhost))
		return
	case err != nil:
		c.failConnection(m.Method(), wrong(amqp.NotAllowed, "access to vhost '%s' refused for user '%s'", vhost, c.user))
		return
	}
	if f := c.arrive(vhost); f != nil {
		c.failConnection(m.Method(), f)
		return
	}
	c.vhost, c.state = vhost, stateOpen
	c.channels, c.openedMS = map[uint16]*channel{}, c.settings.UnixMS()
	c.link.Established()
	c.send(0, &amqp.ConnectionOpenOk{})
}

// failConnection ends the connection for an error of a method (0: of none).
func (c *Conn) failConnection(m amqp.Method, f *fault) {
	if c.state >= stateClosing {
		return
	}
	c.lane.Counters.Add(shmqueue.ConnProtocolErrors, 1)
	c.settings.Log.Debug("AMQP connection closed", "conn", c.link.ID(), "remote", c.link.Remote(), "err", f.text, "method", m.String())
	c.closeWith(m, f)
}

// closeWith ends all that the connection has, and says why.
func (c *Conn) closeWith(m amqp.Method, f *fault) {
	c.loop.Answered() // what was confirmed before is told before
	c.end()
	c.send(0, &amqp.ConnectionClose{ReplyCode: f.code, ReplyText: f.reply(), ClassID: m.Class(), MethodID: m.ID()})
	c.state, c.frameMax = stateClosing, int(c.settings.FrameMax)
	c.closeMS = c.link.NowMS() + closeWaitMS
	c.link.Established() // the time limit is ours from here on
	c.schedule()
}

// end brings what was read into the ring, and ends what the connection has.
func (c *Conn) end() {
	c.through()
	c.leave()
	c.depart()
	c.subs, c.asks, c.again = nil, nil, nil
}

// finish closes the socket once all is sent.
func (c *Conn) finish() {
	c.state = stateClosed
	c.link.Close()
}

// Shutdown ends the connection once what was published is answered.
func (c *Conn) Shutdown() {
	switch {
	case c.draining || c.state >= stateClosing:
		return
	case c.state != stateOpen:
		c.finish()
		return
	}
	c.draining = true
	c.closeIfDrained()
}

// closeIfDrained says goodbye when nothing waits for an answer any more.
func (c *Conn) closeIfDrained() {
	if c.draining && c.state == stateOpen && c.pending.Len() == 0 && c.run == nil {
		c.closeWith(0, wrong(amqp.ConnectionForced, "broker forced connection closure with reason 'shutdown'"))
	}
}

// Ended: the peer sends nothing more. Nobody can be answered who does not listen for it, and what
// was published is in the ring.
func (c *Conn) Ended() {
	if c.state != stateClosed {
		c.end()
		c.finish()
	}
}

// Broadcast takes a record for all connections in.
func (c *Conn) Broadcast(typ ipc.Type, payload []byte) {
	if m, err := ipc.DecodeIndexGone(payload); typ == ipc.TypeIndexGone && err == nil {
		c.indexGone(m.Index)
	}
}
