package native

import (
	"crypto/hmac"
	"crypto/sha256"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/wire"
)

// HelloMagic begins the body of a connection's first frame.
const HelloMagic = "TRIMQ\x00\x00\x01"

// Hello is the first request of a connection. The versions are an inclusive range; the
// window is what the client would like, 0 leaves it to the server.
//
//	| magic 8 | min u16 | max u16 | windowRequests u32 | windowBytes u32 | client string |
type Hello struct {
	MinVersion     uint16
	MaxVersion     uint16
	WindowRequests uint32
	WindowBytes    uint32
	Client         string
}

// Append encodes the body.
func (m *Hello) Append(b []byte) []byte {
	b = append(b, HelloMagic...)
	b = wire.AppendU16(b, m.MinVersion)
	b = wire.AppendU16(b, m.MaxVersion)
	b = wire.AppendU32(b, m.WindowRequests)
	b = wire.AppendU32(b, m.WindowBytes)
	return wire.AppendString(b, m.Client)
}

// DecodeHello decodes it; a wrong magic is UnsupportedVersion.
func DecodeHello(b []byte) (Hello, error) {
	c := wire.Read(b)
	if magic := c.Raw(len(HelloMagic)); string(magic) != HelloMagic {
		return Hello{}, errcode.New(errcode.UnsupportedVersion, "the first frame does not begin with TriMQ's magic")
	}
	m := Hello{MinVersion: c.U16(), MaxVersion: c.U16(), WindowRequests: c.U32(), WindowBytes: c.U32(), Client: c.String()}
	if m.MinVersion > m.MaxVersion {
		c.Fail(wire.ErrOutOfRange)
	}
	return m, malformed(c.Done("HELLO"))
}

// Negotiate is the version to speak with a client, or UnsupportedVersion.
func (m *Hello) Negotiate() (uint16, error) {
	if m.MinVersion > Version || m.MaxVersion < Version {
		return 0, errcode.New(errcode.UnsupportedVersion, "client speaks versions %d to %d, the server %d", m.MinVersion, m.MaxVersion, Version)
	}
	return Version, nil
}

// HelloReply answers Hello. A client keeps at most WindowRequests requests with at most
// WindowBytes bytes of frames unanswered, and sends no frame above MaxFrame. With
// AuthRequired the next request must be AUTH.
//
//	| version u16 | auth bool | pad u8 | windowRequests u32 | windowBytes u32 | maxFrame u32 | idleTimeoutMS u32 |
//	| conn u64 | challenge bytes | server string | cluster string | node string |
type HelloReply struct {
	Version        uint16
	AuthRequired   bool
	WindowRequests uint32
	WindowBytes    uint32
	MaxFrame       uint32
	IdleTimeoutMS  uint32 // a silent connection is closed after it; 0: never
	Conn           uint64 // the server's number for the connection, as its log shows it
	Challenge      []byte // random; for AuthHMAC
	Server         string // version text
	Cluster        string
	Node           string
}

// Append encodes the body.
func (m *HelloReply) Append(b []byte) []byte {
	b = wire.AppendU16(b, m.Version)
	b = wire.AppendBool(b, m.AuthRequired)
	b = append(b, 0)
	b = wire.AppendU32(b, m.WindowRequests)
	b = wire.AppendU32(b, m.WindowBytes)
	b = wire.AppendU32(b, m.MaxFrame)
	b = wire.AppendU32(b, m.IdleTimeoutMS)
	b = wire.AppendU64(b, m.Conn)
	b = wire.AppendBytes(b, m.Challenge)
	b = wire.AppendString(b, m.Server)
	b = wire.AppendString(b, m.Cluster)
	return wire.AppendString(b, m.Node)
}

// DecodeHelloReply decodes it; Challenge aliases b.
func DecodeHelloReply(b []byte) (HelloReply, error) {
	c := wire.Read(b)
	m := HelloReply{Version: c.U16(), AuthRequired: c.Bool()}
	c.Zero(1)
	m.WindowRequests, m.WindowBytes, m.MaxFrame, m.IdleTimeoutMS = c.U32(), c.U32(), c.U32(), c.U32()
	m.Conn, m.Challenge = c.U64(), c.Bytes()
	m.Server, m.Cluster, m.Node = c.String(), c.String(), c.String()
	return m, malformed(c.Done("HELLO response"))
}

// Mechanisms of AUTH.
const (
	AuthSecret = "secret"      // Proof is the secret itself
	AuthHMAC   = "hmac-sha256" // Proof is AuthProof of the secret and the HELLO response's challenge
)

// Auth shows that the client knows the secret. Answered by an empty body.
type Auth struct {
	Mechanism string
	User      string
	Proof     []byte
}

// Append encodes the body.
func (m *Auth) Append(b []byte) []byte {
	b = wire.AppendString(b, m.Mechanism)
	b = wire.AppendString(b, m.User)
	return wire.AppendBytes(b, m.Proof)
}

// DecodeAuth decodes it; Proof aliases b.
func DecodeAuth(b []byte) (Auth, error) {
	c := wire.Read(b)
	m := Auth{Mechanism: c.String(), User: c.String(), Proof: c.Bytes()}
	return m, malformed(c.Done("AUTH"))
}

// AuthProof is the proof of AuthHMAC: HMAC-SHA256 under the secret of challenge, then user.
func AuthProof(secret, challenge []byte, user string) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write(challenge)
	mac.Write([]byte(user))
	return mac.Sum(nil)
}

// VerifyAuth tells whether the proof fits the secret, in constant time.
func VerifyAuth(m *Auth, secret, challenge []byte) bool {
	switch m.Mechanism {
	case AuthSecret:
		return hmac.Equal(m.Proof, secret)
	case AuthHMAC:
		return hmac.Equal(m.Proof, AuthProof(secret, challenge, m.User))
	}
	return false
}

// Ping asks for a sign of life of the connection (not of logicsrv). Its response is the
// same body.
type Ping struct{ Token uint64 }

// Append encodes the body.
func (m *Ping) Append(b []byte) []byte { return wire.AppendU64(b, m.Token) }

// DecodePing decodes request and response.
func DecodePing(b []byte) (Ping, error) {
	c := wire.Read(b)
	m := Ping{Token: c.U64()}
	return m, malformed(c.Done("PING"))
}

// Goodbye says that the server will close the connection: it takes no new requests and
// answers those it has within DrainMS.
type Goodbye struct {
	Code    errcode.Code
	DrainMS uint32
	Text    string
}

// Append encodes the body.
func (m *Goodbye) Append(b []byte) []byte {
	b = wire.AppendU16(b, uint16(m.Code))
	b = wire.AppendU32(b, m.DrainMS)
	return wire.AppendString(b, m.Text)
}

// DecodeGoodbye decodes it.
func DecodeGoodbye(b []byte) (Goodbye, error) {
	c := wire.Read(b)
	m := Goodbye{Code: errcode.Code(c.U16()), DrainMS: c.U32(), Text: c.String()}
	return m, malformed(c.Done("GOODBYE"))
}
