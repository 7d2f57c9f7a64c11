package definitions

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // the oldest of RabbitMQ's hashes, taken on import
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"hash"
	"strconv"
	"strings"

	"github.com/trimq/trimq/protocol/admin"
)

const (
	rabbitSalt = 4 // bytes of the salt in front of RabbitMQ's hash
	scramSalt  = 16
	// SaltBytes is how many random bytes Credentials wants.
	SaltBytes = rabbitSalt + 2*scramSalt
	// MinScramRounds is what Kafka asks for at least.
	MinScramRounds = 4096
	// MaxScramRounds is what Kafka takes at most: each client has to do as many.
	MaxScramRounds = 16384
)

// hashes are RabbitMQ's names of them.
var hashes = map[string]func() hash.Hash{
	"rabbit_password_hashing_md5":    md5.New,
	"rabbit_password_hashing_sha256": sha256.New,
	"rabbit_password_hashing_sha512": sha512.New,
}

// Algorithms tells whether a hashing algorithm is known.
func Algorithms(name string) bool { return hashes[name] != nil }

// Credentials are what is kept of a password. REQUIRES: SaltBytes random bytes.
func Credentials(password string, salt []byte) ([]admin.Value, error) {
	h := sha256.Sum256(append(bytes.Clone(salt[:rabbitSalt]), password...))
	out := []admin.Value{
		admin.TextValue("hashing_algorithm", "rabbit_password_hashing_sha256"),
		admin.TextValue("password_hash", base64.StdEncoding.EncodeToString(append(bytes.Clone(salt[:rabbitSalt]), h[:]...))),
	}
	for i, key := range [...]string{"scram_sha_256", "scram_sha_512"} {
		s, h := salt[rabbitSalt+i*scramSalt:][:scramSalt], scramHashes[key]
		salted, err := pbkdf2.Key(h, password, s, MinScramRounds, h().Size())
		if err != nil {
			return nil, fmt.Errorf("hash a password: %w", err)
		}
		out = append(out, admin.TextValue(key, ScramText(key, MinScramRounds, s, salted)))
	}
	return out, nil
}

// scramHashes are the hashes of SCRAM, by the keys under which its secrets are kept.
var scramHashes = map[string]func() hash.Hash{"scram_sha_256": sha256.New, "scram_sha_512": sha512.New}

// SaltedFits tells whether a salted password is as long as that of a mechanism.
func SaltedFits(key string, salted []byte) bool {
	h := scramHashes[key]
	return h != nil && len(salted) == h().Size()
}

// ScramText is what is kept of a salted password: rounds, salt, stored key, server key; key says of which mechanism.
// REQUIRES: SaltedFits.
func ScramText(key string, rounds int, salt, salted []byte) string {
	h := scramHashes[key]
	stored := h()
	stored.Write(mac(h, salted, "Client Key"))
	text := strconv.Itoa(rounds)
	for _, part := range [][]byte{salt, stored.Sum(nil), mac(h, salted, "Server Key")} {
		text += "," + base64.StdEncoding.EncodeToString(part)
	}
	return text
}

func mac(h func() hash.Hash, key []byte, text string) []byte {
	m := hmac.New(h, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

// Verify tells whether a password is that of a user. One without a hash has none that fits.
func Verify(user *admin.Definition, password string) bool {
	name := user.Text("hashing_algorithm")
	if name == "" {
		name = "rabbit_password_hashing_sha256"
	}
	h := hashes[name]
	kept, err := base64.StdEncoding.DecodeString(user.Text("password_hash"))
	if h == nil || err != nil || len(kept) <= rabbitSalt {
		return false
	}
	sum := h()
	sum.Write(kept[:rabbitSalt])
	sum.Write([]byte(password))
	return subtle.ConstantTimeCompare(sum.Sum(nil), kept[rabbitSalt:]) == 1
}

// isScram tells whether a text is one that ScramText has made.
func isScram(key, text string) bool {
	s, ok := ScramOf(&admin.Definition{Values: []admin.Value{admin.TextValue(key, text)}}, key)
	size := scramHashes[key]().Size()
	return ok && s.Rounds >= MinScramRounds && s.Rounds <= MaxScramRounds && len(s.Salt) > 0 && len(s.Stored) == size && len(s.Key) == size
}

// Scram is what a SCRAM server knows of a user.
type Scram struct {
	Rounds            int
	Salt, Stored, Key []byte
}

// ScramOf reads it; key is scram_sha_256 or scram_sha_512. False: the user has no such password, as one
// that was imported with another hash.
func ScramOf(user *admin.Definition, key string) (s Scram, ok bool) {
	parts := strings.Split(user.Text(key), ",")
	if len(parts) != 4 {
		return s, false
	}
	var err error
	if s.Rounds, err = strconv.Atoi(parts[0]); err != nil || s.Rounds < 1 {
		return s, false
	}
	for i, to := range [...]*[]byte{&s.Salt, &s.Stored, &s.Key} {
		if *to, err = base64.StdEncoding.DecodeString(parts[i+1]); err != nil {
			return s, false
		}
	}
	return s, true
}
