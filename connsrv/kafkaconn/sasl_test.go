package kafkaconn

import (
	"bytes"
	"context"
	"encoding/binary"
	"reflect"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/trimq/trimq/connsrv/access"
	"github.com/trimq/trimq/connsrv/connview"
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/definitions"
	"github.com/trimq/trimq/protocol/errcode"
)

// testUser is a user whose password is his name.
func testUser(t testing.TB, name, tags string) admin.Definition {
	t.Helper()
	values, err := definitions.Credentials(name, bytes.Repeat([]byte{7}, definitions.SaltBytes))
	must(t, err)
	d := admin.Definition{Kind: admin.DefUser, Name: name, Values: append(values, admin.TextValue("tags", tags))}
	d.Canonical()
	return d
}

func testPermission(user, configure, write, read string) admin.Definition {
	return admin.Definition{Kind: admin.DefPermission, VHost: admin.DefaultVHost, Name: user, Values: []admin.Value{
		admin.TextValue("configure", configure), admin.TextValue("read", read), admin.TextValue("write", write),
	}}
}

// newGuarded is a stub whose clients log in. ann is an administrator and may do all; bob may write to what begins with
// w, read what begins with r, and make what begins with m.
func newGuarded(t testing.TB) *stub {
	s := newStub(t)
	s.users = []admin.Definition{testUser(t, "ann", "administrator"), testUser(t, "bob", "")}
	all := []admin.Definition{{Kind: admin.DefVHost, Name: admin.DefaultVHost}, testPermission("ann", ".*", ".*", ".*"), testPermission("bob", "^m", "^w", "^r")}
	s.conn.settings.Access.Store(access.NewTable(append(all, s.users...)))
	s.conn.settings.Mechanisms = mechanisms
	return s
}

// mechanismOf is how a client logs in.
func mechanismOf(name, user, password string) sasl.Mechanism {
	switch name {
	case "SCRAM-SHA-256":
		return scram.Auth{User: user, Pass: password}.AsSha256Mechanism()
	case "SCRAM-SHA-512":
		return scram.Auth{User: user, Pass: password}.AsSha512Mechanism()
	}
	return plain.Auth{User: user, Pass: password}.AsMechanism()
}

// handshake agrees on a mechanism.
func (s *stub) handshake(version int16, mechanism string) *kmsg.SASLHandshakeResponse {
	s.tb.Helper()
	req := kmsg.NewPtrSASLHandshakeRequest()
	req.Mechanism = mechanism
	return call1(s, version, req, kmsg.NewPtrSASLHandshakeResponse())
}

// login logs a client in, and returns the last answer.
func (s *stub) login(version int16, mechanism, user, password string) *kmsg.SASLAuthenticateResponse {
	s.tb.Helper()
	if resp := s.handshake(1, mechanism); resp.ErrorCode != 0 {
		s.tb.Fatalf("%+v", resp)
	}
	session, token, err := mechanismOf(mechanism, user, password).Authenticate(context.Background(), "host")
	must(s.tb, err)
	for {
		req := kmsg.NewPtrSASLAuthenticateRequest()
		req.SASLAuthBytes = token
		s.feed(s.frame(version, req))
		if s.conn.login.refusedMS != 0 {
			return s.refusedLogin(version)
		}
		resp := decode(s.rig, s.responses()[0], version, s.next, kmsg.NewPtrSASLAuthenticateResponse())
		if resp.ErrorCode != 0 {
			return resp
		}
		done, next, err := session.Challenge(resp.SASLAuthBytes)
		must(s.tb, err)
		if done {
			return resp
		}
		token = next
	}
}

// refusedLogin is the answer for which a client has waited that is not let in.
func (s *stub) refusedLogin(version int16) *kmsg.SASLAuthenticateResponse {
	s.tb.Helper()
	s.link.LaterMS += refusalDelayMS - 1
	s.conn.Deadline(s.link.NowMS())
	s.feed(s.frame(0, metadataRequest(false))) // it is not heard any more
	if len(s.responses()) > 0 || s.link.Closed {
		s.tb.Error("the refusal has come early")
	}
	s.next--
	s.link.LaterMS++
	s.conn.Deadline(s.link.NowMS())
	return decode(s.rig, s.responses()[0], version, s.next, kmsg.NewPtrSASLAuthenticateResponse())
}

// TestLogin: a client logs in by each mechanism, and is served then.
func TestLogin(t *testing.T) {
	for _, mechanism := range mechanisms {
		for version := int16(0); version <= 2; version++ {
			s := newGuarded(t)
			s.topic("a", 1)
			versions := kmsg.NewPtrApiVersionsRequest()
			versions.ClientSoftwareName, versions.ClientSoftwareVersion = "test", "1"
			if resp := call1(s, 3, versions, kmsg.NewPtrApiVersionsResponse()); resp.ErrorCode != 0 {
				t.Errorf("versions before the log-in: %+v", resp)
			}
			if resp := s.login(version, mechanism, "ann", "ann"); resp.ErrorCode != 0 || resp.SessionLifetimeMillis != 0 {
				t.Errorf("%s, version %d: %+v", mechanism, version, resp)
			}
			if got := described(call1(s, 12, metadataRequest(false, "a"), kmsg.NewPtrMetadataResponse())); got[0] != (topicLine{"a", 0, 1}) || s.conn.state != stateOpen {
				t.Errorf("%s, version %d: %+v", mechanism, version, got)
			}
		}
	}
}

// TestView: those who look after the broker see who a client is, and can end its connection.
func TestView(t *testing.T) {
	s := newGuarded(t)
	for _, want := range []connview.Conn{{VHost: "/", State: "starting"}, {VHost: "/", State: "running", User: "ann", Mechanism: "SCRAM-SHA-256"}} {
		var v connview.Conn
		if s.conn.View(&v); !reflect.DeepEqual(v, want) {
			t.Errorf("%+v, want %+v", v, want)
		}
		s.login(1, "SCRAM-SHA-256", "ann", "ann")
	}
	if s.conn.CloseFor("enough"); !s.link.Closed {
		t.Error("it goes on")
	}
}

// TestLoginWithoutRequests: the tokens of SaslHandshake 0 come as they are.
func TestLoginWithoutRequests(t *testing.T) {
	for _, mechanism := range mechanisms {
		s := newGuarded(t)
		s.topic("a", 1)
		if resp := s.handshake(0, mechanism); resp.ErrorCode != 0 || !slices.Equal(resp.SupportedMechanisms, mechanisms) {
			t.Fatalf("%+v", resp)
		}
		session, token, err := mechanismOf(mechanism, "bob", "bob").Authenticate(context.Background(), "host")
		must(t, err)
		for done := false; !done; {
			frame := append(binary.BigEndian.AppendUint32(nil, uint32(len(token))), token...)
			s.feed(frame[:3])
			s.feed(frame[3:])
			answers := s.responses()
			if len(answers) != 1 {
				t.Fatalf("%s: %d answers", mechanism, len(answers))
			}
			done, token, err = session.Challenge(answers[0])
			must(t, err)
		}
		if resp := call1(s, 12, metadataRequest(false), kmsg.NewPtrMetadataResponse()); len(resp.Brokers) != 1 {
			t.Errorf("%s: %+v", mechanism, resp)
		}
	}
	s := newGuarded(t)
	s.handshake(0, plainMechanism)
	s.feed([]byte{0, 0, 0, 5, 0, 'a', 0, 'b', 'c'})
	if s.conn.Ended(); len(s.responses()) > 0 || s.link.Closed {
		t.Error("a wrong password is the end at once")
	}
	s.link.LaterMS += refusalDelayMS
	if s.conn.Deadline(s.link.NowMS()); len(s.responses()) > 0 || !s.link.Closed {
		t.Error("a wrong password is not the end")
	}
}

// TestLoginRefused: who is not let in learns why, and is disconnected; nothing else is done for him.
func TestLoginRefused(t *testing.T) {
	for _, c := range []struct{ mechanism, user, password string }{
		{plainMechanism, "ann", "bob"}, {plainMechanism, "nobody", "x"}, {"SCRAM-SHA-256", "ann", "bob"}, {"SCRAM-SHA-512", "nobody", "x"}, {"SCRAM-SHA-512", "bob", "ann"},
	} {
		s := newGuarded(t)
		if resp := s.login(1, c.mechanism, c.user, c.password); resp.ErrorCode != codeLoginFailed || resp.ErrorMessage == nil || !s.link.Closed {
			t.Errorf("%+v: %+v, closed %t", c, resp, s.link.Closed)
		}
	}
	s := newGuarded(t)
	if resp := s.handshake(1, "GSSAPI"); resp.ErrorCode != codeUnsupportedMechanism || !slices.Equal(resp.SupportedMechanisms, mechanisms) || !s.link.Closed {
		t.Errorf("%+v", resp)
	}
	s = newGuarded(t)
	token := kmsg.NewPtrSASLAuthenticateRequest()
	if resp := call1(s, 1, token, kmsg.NewPtrSASLAuthenticateResponse()); resp.ErrorCode != codeIllegalSASLState {
		t.Errorf("no mechanism: %+v", resp)
	}
	for _, req := range []kmsg.Request{metadataRequest(false), fetchRequest(0, 1, 1, from{"a", 0, 0}), asksToStore(1, "a", testBatch(1, 1))} {
		s := newGuarded(t)
		if s.feed(s.frame(9, req)); !s.link.Closed || len(s.responses()) > 0 {
			t.Errorf("%T without a log-in", req)
		}
	}
	s = newGuarded(t)
	s.conn.settings.Access.Store(nil)
	s.handshake(1, plainMechanism)
	token.SASLAuthBytes = []byte("\x00ann\x00ann")
	if s.feed(s.frame(1, token)); !s.link.Closed || len(s.responses()) > 0 {
		t.Error("somebody is let in before it is known who may be")
	}
	open := newStub(t) // where nobody logs in
	if resp := open.handshake(1, plainMechanism); resp.ErrorCode != codeIllegalSASLState {
		t.Errorf("%+v", resp)
	}
}

// TestLoginAgain: where log-ins last for a time only, they are repeated in the same name, or the connection ends.
func TestLoginAgain(t *testing.T) {
	s := newGuarded(t)
	s.conn.settings.LoginMS = 5000
	if resp := s.login(1, "SCRAM-SHA-256", "ann", "ann"); resp.SessionLifetimeMillis != 5000 {
		t.Errorf("%+v", resp)
	}
	s.link.LaterMS += 4000
	if resp := s.login(1, "SCRAM-SHA-256", "ann", "ann"); resp.SessionLifetimeMillis != 5000 {
		t.Errorf("%+v", resp)
	}
	s.link.LaterMS += 4000
	if resp := call1(s, 12, metadataRequest(false), kmsg.NewPtrMetadataResponse()); len(resp.Brokers) != 1 {
		t.Errorf("%+v", resp)
	}
	s.link.LaterMS += 2000
	if resp := s.login(1, "SCRAM-SHA-256", "ann", "ann"); resp.ErrorCode != 0 { // late, and nothing was asked meanwhile
		t.Errorf("%+v", resp)
	}
	if resp := s.handshake(1, plainMechanism); resp.ErrorCode != codeIllegalSASLState {
		t.Errorf("another mechanism: %+v", resp)
	}
	s.link.LaterMS += 6000
	if s.feed(s.frame(12, metadataRequest(false))); !s.link.Closed {
		t.Error("a log-in that is over goes on")
	}
	s = newGuarded(t)
	s.login(1, plainMechanism, "ann", "ann")
	if resp := s.login(1, plainMechanism, "bob", "bob"); resp.ErrorCode != codeLoginFailed || !s.link.Closed {
		t.Errorf("another user: %+v", resp)
	}
}

// TestScramUsers: secrets are given and taken, and told of; what they are is not.
func TestScramUsers(t *testing.T) {
	s := newStub(t)
	s.users = []admin.Definition{testUser(t, "ann", "administrator")}
	alter := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
	for _, name := range []string{"ann", "new", ""} {
		u := kmsg.NewAlterUserSCRAMCredentialsRequestUpsertion()
		u.Name, u.Mechanism, u.Iterations, u.Salt, u.SaltedPassword = name, 1, 8192, []byte("salt"), bytes.Repeat([]byte{1}, 32)
		alter.Upsertions = append(alter.Upsertions, u)
	}
	few := alter.Upsertions[0]
	few.Name, few.Iterations = "few", 1000
	short := alter.Upsertions[0]
	short.Name, short.SaltedPassword = "short", []byte{1}
	strange := alter.Upsertions[0]
	strange.Name, strange.Mechanism = "strange", 9
	twice := alter.Upsertions[0]
	twice.Name = "twice"
	alter.Upsertions = append(alter.Upsertions, few, short, strange, twice, twice)
	gone := kmsg.NewAlterUserSCRAMCredentialsRequestDeletion()
	gone.Name, gone.Mechanism = "ann", 2
	missing := gone
	missing.Name = "missing"
	alter.Deletions = append(alter.Deletions, gone, missing)
	codes := map[string]int16{}
	for _, r := range call1(s, 0, alter, kmsg.NewPtrAlterUserSCRAMCredentialsResponse()).Results {
		codes[r.User] = r.ErrorCode
	}
	for name, want := range map[string]int16{
		"ann": 0, "new": 0, "": codeUnacceptableSecret, "few": codeUnacceptableSecret, "short": codeUnacceptableSecret, "strange": codeUnsupportedMechanism,
		"twice": codeDuplicateResource, "missing": codeResourceNotFound,
	} {
		if code, ok := codes[name]; !ok || code != want {
			t.Errorf("%q: %d, want %d", name, code, want)
		}
	}
	ann := s.users[0]
	if ann.Text("tags") != "administrator" || ann.Text("scram_sha_512") != "" || ann.Text("password_hash") == "" || len(s.users) != 2 {
		t.Errorf("%+v", s.users)
	}
	describe := kmsg.NewPtrDescribeUserSCRAMCredentialsRequest()
	if resp := call1(s, 0, describe, kmsg.NewPtrDescribeUserSCRAMCredentialsResponse()); len(resp.Results) != 2 || resp.Results[0].User != "ann" || resp.Results[0].CredentialInfos[0].Iterations != 8192 {
		t.Errorf("%+v", resp)
	}
	who := kmsg.NewDescribeUserSCRAMCredentialsRequestUser()
	who.Name = "missing"
	describe.Users = append(describe.Users, who)
	if resp := call1(s, 0, describe, kmsg.NewPtrDescribeUserSCRAMCredentialsResponse()); len(resp.Results) != 1 || resp.Results[0].ErrorCode != codeResourceNotFound {
		t.Errorf("%+v", resp)
	}
	s.refuses = errcode.Unavailable
	if resp := call1(s, 0, describe, kmsg.NewPtrDescribeUserSCRAMCredentialsResponse()); resp.ErrorCode != codeCoordinatorLoading {
		t.Errorf("%+v", resp)
	}
}
