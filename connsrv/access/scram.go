package access

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"hash"
	"net/netip"
	"strconv"
	"strings"

	"github.com/trimq/trimq/protocol/definitions"
)

// A log-in by SCRAM (RFC 5802), in which no password is sent and the client learns that we know it:
//
//	client  n,,n=USER,r=NONCE
//	server  r=NONCE+OURS,s=SALT,i=ROUNDS
//	client  c=biws,r=NONCE+OURS,p=PROOF
//	server  v=SIGNATURE
//
// Channels are not bound: there is no TLS.

// scramKind is one mechanism.
type scramKind struct {
	key  string // of what is kept of it with a user
	hash func() hash.Hash
}

var scramKinds = map[string]scramKind{
	"SCRAM-SHA-256": {"scram_sha_256", sha256.New},
	"SCRAM-SHA-512": {"scram_sha_512", sha512.New},
}

// ScramKey is under which key a user's secret of a mechanism is kept; empty: it is no mechanism of SCRAM.
func ScramKey(mechanism string) string { return scramKinds[mechanism].key }

// ScramExchange is a log-in that is half through.
type ScramExchange struct {
	Mechanism string
	User      string
	Binding   string // the front of the client's first message
	First     string // … the rest of it
	Server    string // our message
	Nonce     string // of both
}

// BeginScram takes the client's first message, and says what to answer. nonce is ours: printable, without
// commas, and never the same.
func (t *Table) BeginScram(mechanism string, message []byte, nonce string, from netip.Addr) (*ScramExchange, []byte, error) {
	kind, known := scramKinds[mechanism]
	x, theirs, ok := readFirst(string(message))
	if !known || !ok {
		return nil, nil, ErrRefused
	}
	u := t.users[x.User]
	if u == nil || !u.MayComeFrom(from) {
		return nil, nil, ErrRefused
	}
	secret, ok := u.Scram(kind.key)
	if !ok {
		return nil, nil, ErrRefused
	}
	x.Mechanism, x.Nonce = mechanism, theirs+nonce
	x.Server = "r=" + x.Nonce + ",s=" + base64.StdEncoding.EncodeToString(secret.Salt) + ",i=" + strconv.Itoa(secret.Rounds)
	return x, []byte(x.Server), nil
}

// readFirst reads the client's first message.
func readFirst(message string) (x *ScramExchange, nonce string, ok bool) {
	bound, rest, _ := strings.Cut(message, ",")
	as, first, found := strings.Cut(rest, ",")
	parts := strings.Split(first, ",")
	if !found || bound != "n" && bound != "y" || len(parts) < 2 {
		return nil, "", false
	}
	name, hasName := strings.CutPrefix(parts[0], "n=")
	nonce, hasNonce := strings.CutPrefix(parts[1], "r=")
	user, sound := scramName(name)
	if !hasName || !hasNonce || !sound || user == "" || nonce == "" {
		return nil, "", false
	}
	if as != "" && as != "a="+name { // who acts for somebody else
		return nil, "", false
	}
	for _, extension := range parts[2:] { // a delegation token would be one of them
		if strings.HasPrefix(extension, "m=") || strings.HasPrefix(extension, "tokenauth=") {
			return nil, "", false
		}
	}
	return &ScramExchange{User: user, Binding: bound + "," + as + ",", First: first}, nonce, true
}

// scramName is a name without the escapes that it has in messages.
func scramName(name string) (string, bool) {
	plain := strings.NewReplacer("=2C", ",", "=3D", "=").Replace(name)
	return plain, strings.Count(name, "=") == strings.Count(name, "=2C")+strings.Count(name, "=3D")
}

// EndScram takes the client's last message. Where it proves that the client knows the password, the user is in, and
// the answer proves that we do.
func (t *Table) EndScram(x *ScramExchange, message []byte) (*User, []byte, error) {
	at := strings.LastIndex(string(message), ",p=")
	u := t.users[x.User]
	if at < 0 || u == nil {
		return nil, nil, ErrRefused
	}
	bare := string(message[:at])
	proof, err := base64.StdEncoding.DecodeString(string(message[at+len(",p="):]))
	want := "c=" + base64.StdEncoding.EncodeToString([]byte(x.Binding)) + ",r=" + x.Nonce
	kind := scramKinds[x.Mechanism]
	secret, ok := u.Scram(kind.key)
	if err != nil || !ok || bare != want && !strings.HasPrefix(bare, want+",") {
		return nil, nil, ErrRefused
	}
	said := x.First + "," + x.Server + "," + bare
	if !kind.proves(&secret, said, proof) {
		return nil, nil, ErrRefused
	}
	return u, []byte("v=" + base64.StdEncoding.EncodeToString(kind.sign(secret.Key, said))), nil
}

// proves tells whether a proof is that of who knows the password.
func (k scramKind) proves(secret *definitions.Scram, said string, proof []byte) bool {
	clientKey := k.sign(secret.Stored, said)
	if len(proof) != len(clientKey) {
		return false
	}
	subtle.XORBytes(clientKey, clientKey, proof)
	stored := k.hash()
	stored.Write(clientKey)
	return subtle.ConstantTimeCompare(stored.Sum(nil), secret.Stored) == 1
}

func (k scramKind) sign(key []byte, text string) []byte {
	m := hmac.New(k.hash, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}
