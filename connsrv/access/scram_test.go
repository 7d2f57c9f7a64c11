package access

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/trimq/trimq/protocol/admin"
)

// TestScram: another's client logs in, and believes that we know its user.
func TestScram(t *testing.T) {
	table := NewTable([]admin.Definition{user(t, "ann=, x", "secret")})
	for name, m := range map[string]sasl.Mechanism{
		"SCRAM-SHA-256": scram.Auth{User: "ann=, x", Pass: "secret"}.AsSha256Mechanism(),
		"SCRAM-SHA-512": scram.Auth{User: "ann=, x", Pass: "secret"}.AsSha512Mechanism(),
	} {
		session, first, err := m.Authenticate(context.Background(), "host")
		if err != nil {
			t.Fatal(err)
		}
		x, reply, err := table.BeginScram(name, first, "ours", here)
		if err != nil || !strings.HasSuffix(x.Nonce, "ours") {
			t.Fatalf("%s: %v, %+v", name, err, x)
		}
		_, last, err := session.Challenge(reply)
		if err != nil {
			t.Fatal(err)
		}
		u, reply, err := table.EndScram(x, last)
		if err != nil || u.Name != "ann=, x" {
			t.Fatalf("%s: %v, %+v", name, err, u)
		}
		if done, _, err := session.Challenge(reply); err != nil || !done {
			t.Errorf("%s: the client does not believe us: %v", name, err)
		}
		for _, bad := range [][]byte{
			last[:len(last)-1], bytes.Replace(last, []byte("c=biws"), []byte("c=eSws"), 1), bytes.Replace(last, []byte("ours"), []byte("his!"), 1), nil,
			[]byte("p="), append(bytes.Clone(last), 'A'),
		} {
			if _, _, err := table.EndScram(x, bad); !errors.Is(err, ErrRefused) {
				t.Errorf("%s: %q is taken: %v", name, bad, err)
			}
		}
		if _, _, err := NewTable(nil).EndScram(x, last); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: a user that has gone is in", name)
		}
	}
}

// TestScramBegins: what can begin a log-in.
func TestScramBegins(t *testing.T) {
	table := NewTable([]admin.Definition{user(t, "ann", "secret"), user(t, guest, guest)})
	for message, ok := range map[string]bool{
		"n,,n=ann,r=x": true, "y,,n=ann,r=x": true, "n,a=ann,n=ann,r=x": true, "n,,n=ann,r=x,more=1": true,
		"p=tls-unique,,n=ann,r=x": false, "n,a=bob,n=ann,r=x": false, "n,,n=bob,r=x": false, "n,,n=ann": false, "n,,r=x,n=ann": false, "n,,n=ann,r=": false,
		"n,,n=a=nn,r=x": false, "n,,n=ann,r=x,tokenauth=true": false, "n,,n=ann,r=x,m=1": false, "": false, "n": false, "n,,": false, "n,,n=,r=x": false,
	} {
		if _, _, err := table.BeginScram("SCRAM-SHA-256", []byte(message), "ours", here); (err == nil) != ok {
			t.Errorf("%q: %v", message, err)
		}
	}
	if _, _, err := table.BeginScram("PLAIN", []byte("n,,n=ann,r=x"), "ours", here); err == nil {
		t.Error("PLAIN is taken for SCRAM")
	}
	if _, _, err := table.BeginScram("SCRAM-SHA-256", []byte("n,,n=guest,r=x"), "ours", netip.MustParseAddr("192.0.2.1")); err == nil {
		t.Error("guest comes from afar")
	}
	if ScramKey("SCRAM-SHA-512") != "scram_sha_512" || ScramKey("PLAIN") != "" {
		t.Error("keys")
	}
}

// FuzzScram: whatever a client says, nobody comes in without the password, and nothing panics.
func FuzzScram(f *testing.F) {
	f.Add([]byte("n,,n=ann,r=x"), []byte("c=biws,r=xours,p=AAAA"))
	f.Add([]byte("n,a=ann,n=ann,r=x"), []byte("c=bixhPWFubiw=,r=xours,p=AAAA"))
	f.Add([]byte("y,,n==2C,r="), []byte(",p="))
	table := NewTable([]admin.Definition{user(f, "ann", "secret")})
	f.Fuzz(func(t *testing.T, first, last []byte) {
		x, reply, err := table.BeginScram("SCRAM-SHA-256", first, "ours", here)
		if err != nil {
			return
		}
		if len(reply) > 200+len(first) {
			t.Errorf("an answer of %d bytes to %d", len(reply), len(first))
		}
		if u, _, err := table.EndScram(x, last); err == nil {
			t.Errorf("%q and %q let %s in", first, last, u.Name)
		}
	})
}
