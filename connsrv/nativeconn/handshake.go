package nativeconn

import (
	"crypto/rand"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/native"
)

const challengeBytes = 16

// hello negotiates version and window.
func (c *Conn) hello(h native.Header, body []byte) bool {
	if c.state != stateHello {
		c.refuse(h, errcode.New(errcode.InvalidArgument, "HELLO was said before"))
		return true
	}
	m, err := native.DecodeHello(body)
	if err != nil {
		c.fatal(h, err)
		return true
	}
	version, err := m.Negotiate()
	if err != nil {
		c.fatal(h, err)
		return true
	}
	s := c.settings
	c.client = m.Client
	c.window = negotiated(m.WindowRequests, s.WindowRequests)
	windowBytes := negotiated(m.WindowBytes, s.WindowBytes)
	c.share = min(windowBytes, int(c.lane.Capacity/4))
	reply := native.HelloReply{
		Version: version, AuthRequired: s.Secret != nil,
		WindowRequests: uint32(c.window), WindowBytes: uint32(windowBytes), MaxFrame: uint32(s.MaxFrame),
		IdleTimeoutMS: uint32(s.IdleTimeoutMS), Conn: c.link.ID(),
		Server: s.Server, Cluster: s.Cluster, Node: s.Node,
	}
	if s.Secret == nil {
		c.open()
	} else {
		c.state = stateAuth
		c.challenge = make([]byte, challengeBytes)
		_, _ = rand.Read(c.challenge) // never fails: the runtime ends the process instead
		reply.Challenge = c.challenge
	}
	c.respond(h, &reply)
	return true
}

// negotiated is the smaller of wish and limit; a wish of 0 leaves it to us.
func negotiated(wish uint32, limit int) int {
	if wish == 0 || int64(wish) > int64(limit) {
		return limit
	}
	return int(wish)
}

// auth checks the secret.
func (c *Conn) auth(h native.Header, body []byte) bool {
	if c.state != stateAuth {
		c.refuse(h, errcode.New(errcode.InvalidArgument, "AUTH was not asked for"))
		return true
	}
	m, err := native.DecodeAuth(body)
	if err == nil && !native.VerifyAuth(&m, c.settings.Secret, c.challenge) {
		err = errcode.New(errcode.AuthFailed, "the proof does not fit the secret")
	}
	if err != nil {
		c.settings.Log.Info("authentication failed", "conn", c.link.ID(), "remote", c.link.Remote(), "err", err)
		c.fatal(h, err)
		return true
	}
	c.open()
	c.respond(h, native.Empty{})
	return true
}

func (c *Conn) open() {
	c.state = stateOpen
	c.challenge = nil
	c.maxFrame = c.settings.MaxFrame
	c.link.Established()
}

// ping shows that the connection is alive.
func (c *Conn) ping(h native.Header, body []byte) bool {
	m, err := native.DecodePing(body)
	if err != nil {
		c.refuse(h, err)
		return true
	}
	c.respond(h, &m)
	return true
}

// info describes the broker.
func (c *Conn) info(h native.Header, body []byte) bool {
	if _, err := native.DecodeEmpty(body); err != nil {
		c.refuse(h, err)
		return true
	}
	m := c.settings.Info()
	c.respond(h, &m)
	return true
}
