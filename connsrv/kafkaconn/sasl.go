package kafkaconn

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/connsrv/access"
	"github.com/trimq/trimq/protocol/errcode"
)

// Where clients have to log in (kafka_auth), each connection begins with that, and carries nothing else out before
// (SaslHandshake, SaslAuthenticate; KIP-43, KIP-152). Where log-ins last for a time only, a client repeats it over the
// connection that it has, in the same name (KIP-368); who lets the time pass is disconnected with the next request.

// plainMechanism sends the password as it is.
const plainMechanism = "PLAIN"

// Mechanisms by which clients can log in.
var mechanisms = []string{plainMechanism, "SCRAM-SHA-256", "SCRAM-SHA-512"}

// ParseMechanisms reads a list of mechanisms, separated by spaces; nothing is none.
func ParseMechanisms(text string) ([]string, error) {
	list := strings.Fields(text)
	for _, m := range list {
		if !slices.Contains(mechanisms, m) {
			return nil, fmt.Errorf("%q is no mechanism: there are %s", m, strings.Join(mechanisms, ", "))
		}
	}
	return list, nil
}

// login is how far a connection has got with logging in, and as whom.
type login struct {
	user    string // empty: nobody yet
	by      string // the mechanism by which that was shown
	untilMS int64  // of the loop's clock: then it has to be shown again; 0: never

	mechanism string // that was agreed on for what comes next; empty: none
	raw       bool   // … which comes without requests around it, as with SaslHandshake 0
	scram     *access.ScramExchange

	refusedMS int64 // of the loop's clock: then the client learns that it is not let in, and is disconnected; 0: it is not refused
}

// refusalDelayMS is how long a client waits for a refusal, as Kafka's connection.failed.authentication.delay.ms: who
// tries passwords gets no further over one connection.
const refusalDelayMS = 100

// mustLogIn tells that nothing is carried out before the client has logged in, again perhaps.
func (c *Conn) mustLogIn() bool {
	if len(c.settings.Mechanisms) == 0 {
		return false
	}
	return c.login.user == "" || c.login.untilMS > 0 && c.link.NowMS() >= c.login.untilMS
}

// logsIn tells whether requests of an API are carried out before the client has logged in.
func logsIn(key kmsg.Key) bool {
	return key == kmsg.ApiVersions || key == kmsg.SASLHandshake || key == kmsg.SASLAuthenticate
}

// saslHandshake agrees on a mechanism.
func (c *Conn) saslHandshake(k *call, m *kmsg.SASLHandshakeRequest) {
	resp := kmsg.NewPtrSASLHandshakeResponse()
	resp.SupportedMechanisms = c.settings.Mechanisms
	switch {
	case len(c.settings.Mechanisms) == 0:
		resp.ErrorCode = codeIllegalSASLState
	case !slices.Contains(c.settings.Mechanisms, m.Mechanism):
		resp.ErrorCode = codeUnsupportedMechanism
	case c.login.user != "" && (m.Mechanism != c.login.by || m.Version == 0):
		resp.ErrorCode = codeIllegalSASLState
	default:
		c.login.mechanism, c.login.raw, c.login.scram = m.Mechanism, m.Version == 0, nil
	}
	c.finish(k, resp)
	if resp.ErrorCode == codeUnsupportedMechanism {
		c.disconnect("login refused: the mechanism is not offered", "mechanism", m.Mechanism)
	}
}

// saslAuthenticate takes what a client has to say of who it is.
func (c *Conn) saslAuthenticate(k *call, m *kmsg.SASLAuthenticateRequest) {
	resp := kmsg.NewPtrSASLAuthenticateResponse()
	resp.SASLAuthBytes = []byte{}
	if c.login.mechanism == "" {
		resp.ErrorCode, resp.ErrorMessage = codeIllegalSASLState, kmsg.StringPtr("no mechanism has been agreed on")
		c.finish(k, resp)
		return
	}
	reply, err := c.takeToken(m.SASLAuthBytes)
	if is(err, errcode.Unavailable) {
		c.fatal(err.Error(), k.requestHead)
		return
	}
	if err != nil {
		resp.ErrorCode, resp.ErrorMessage = codeLoginFailed, textOf(err)
		k.resp = resp // it is not done before its time
		c.refuseLogin(err)
		return
	}
	resp.SASLAuthBytes = reply
	if c.login.mechanism == "" && c.login.untilMS > 0 {
		resp.SessionLifetimeMillis = max(1, c.login.untilMS-c.link.NowMS())
	}
	c.finish(k, resp)
}

// takeRaw takes a token that comes without a request:
//
//	| size i32 | token |
//
// The answer has the same form.
func (c *Conn) takeRaw(b []byte) (used int, want int) {
	if len(b) < sizeBytes {
		return 0, sizeBytes
	}
	n := int(int32(binary.BigEndian.Uint32(b)))
	head := requestHead{size: n, key: int16(kmsg.SASLAuthenticate)}
	if n < 0 || n > smallRequest {
		c.fatal("a token is too large", head)
		return len(b), 0
	}
	if len(b) < sizeBytes+n {
		return 0, sizeBytes + n
	}
	reply, err := c.takeToken(b[sizeBytes : sizeBytes+n])
	switch {
	case is(err, errcode.Unavailable):
		c.fatal(err.Error(), head)
		return len(b), 0
	case err != nil:
		c.refuseLogin(err)
		return len(b), 0
	}
	out := c.link.Append(sizeBytes + len(reply))
	binary.BigEndian.PutUint32(out, uint32(len(reply)))
	copy(out[sizeBytes:], reply)
	return sizeBytes + n, 0
}

// refuseLogin has the client wait for its refusal.
func (c *Conn) refuseLogin(err error) {
	c.settings.Log.Info("login refused", "err", err, "conn", c.link.ID(), "remote", c.link.Remote())
	c.login.refusedMS = c.link.NowMS() + refusalDelayMS
	c.link.SetDeadline(c.login.refusedMS)
}

// endRefusal tells the client that it is not let in, where there is a word for it, and ends the connection.
func (c *Conn) endRefusal() {
	if len(c.line) > 0 {
		c.finish(c.line[0], c.line[0].resp)
	}
	c.state = stateClosed
	c.link.Close()
}

// takeToken goes on with the mechanism that was agreed on. With the last token the client is logged in, and a mechanism
// has to be agreed on anew.
func (c *Conn) takeToken(token []byte) (reply []byte, err error) {
	table := c.settings.Access.Load()
	if table == nil { // it is a moment after a start: clients come again
		return nil, errcode.New(errcode.Unavailable, "it is not known yet who may come in")
	}
	from, err := netip.ParseAddrPort(c.link.Remote())
	if err != nil {
		return nil, fmt.Errorf("the address of a client: %w", err)
	}
	var user *access.User
	switch {
	case c.login.mechanism == plainMechanism:
		user, err = loginPlain(table, token, from.Addr())
		reply = []byte{}
	case c.login.scram == nil:
		c.login.scram, reply, err = table.BeginScram(c.login.mechanism, token, c.settings.Nonce(), from.Addr())
	default:
		user, reply, err = table.EndScram(c.login.scram, token)
		c.login.scram = nil
	}
	if err == nil && user != nil {
		err = c.logIn(user.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("authentication failed by %s: %w", c.login.mechanism, err)
	}
	return reply, nil
}

// loginPlain reads "who it acts for, NUL, user, NUL, password".
func loginPlain(table *access.Table, token []byte, from netip.Addr) (*access.User, error) {
	parts := bytes.Split(token, []byte{0})
	if len(parts) != 3 || len(parts[0]) > 0 && !bytes.Equal(parts[0], parts[1]) {
		return nil, access.ErrRefused
	}
	return table.Login(string(parts[1]), string(parts[2]), from)
}

// logIn notes who the client is. Who is somebody already stays so.
func (c *Conn) logIn(name string) error {
	if c.login.user != "" && c.login.user != name {
		return errcode.New(errcode.InvalidArgument, "the connection is that of another user")
	}
	c.login = login{user: name, by: c.login.mechanism}
	if c.settings.LoginMS > 0 {
		c.login.untilMS = c.link.NowMS() + c.settings.LoginMS
	}
	c.established()
	return nil
}

// disconnect ends the connection behind what is to be sent.
func (c *Conn) disconnect(why string, args ...any) {
	if c.state == stateClosed {
		return
	}
	c.settings.Log.Info(why, append(args, "conn", c.link.ID(), "remote", c.link.Remote())...)
	c.state = stateClosed
	c.link.Close()
}
