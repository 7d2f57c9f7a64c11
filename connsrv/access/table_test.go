package access

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/definitions"
)

var (
	here  = netip.MustParseAddr("127.0.0.1")
	here6 = netip.MustParseAddr("::1")
	far   = netip.MustParseAddr("192.0.2.7")
)

// user is a definition of a user with a password.
func user(t testing.TB, name, password string) admin.Definition {
	t.Helper()
	u := definitions.User{Name: name, Password: &password, Tags: definitions.Tags{"monitoring"}}
	cmd, err := u.Command(make([]byte, definitions.SaltBytes))
	if err != nil {
		t.Fatal(err)
	}
	return *cmd.Body.(*admin.Definition)
}

func text(key, v string) admin.Value { return admin.TextValue(key, v) }

func testTable(t *testing.T) *Table {
	t.Helper()
	return NewTable([]admin.Definition{
		{Kind: admin.DefVHost, Name: "/"},
		{Kind: admin.DefVHost, Name: "v"},
		user(t, "ann", "secret"),
		user(t, "guest", "guest"),
		{Kind: admin.DefPermission, VHost: "/", Name: "ann", Values: []admin.Value{text("configure", "^mine"), text("read", ".*"), text("write", "")}},
		{Kind: admin.DefTopicPermission, VHost: "/", Name: "ann", Item: "amq.topic", Values: []admin.Value{text("read", ".*"), text("write", "^eu")}},
		{Kind: admin.DefVHostLimit, Name: "v", Values: []admin.Value{admin.Number("max-connections", 3)}},
		{Kind: admin.DefUserLimit, Name: "ann", Values: []admin.Value{admin.Number("max-channels", 5)}},
		{Kind: admin.DefPermission, VHost: "/", Name: "nobody"},
	})
}

func TestLogin(t *testing.T) {
	table := testTable(t)
	for _, c := range []struct {
		user, password string
		from           netip.Addr
		ok             bool
	}{
		{"ann", "secret", far, true},
		{"ann", "Secret", far, false},
		{"ann", "", here, false},
		{"bob", "secret", here, false},
		{"guest", "guest", here, true},
		{"guest", "guest", here6, true},
		{"guest", "guest", netip.MustParseAddr("::ffff:127.0.0.1"), true},
		{"guest", "guest", far, false},
	} {
		u, err := table.Login(c.user, c.password, c.from)
		if (err == nil) != c.ok || c.ok && u.Name != c.user || !c.ok && !errors.Is(err, ErrRefused) {
			t.Errorf("%s/%s from %s: %v, %v", c.user, c.password, c.from, u, err)
		}
	}
	if ann := table.User("ann"); !ann.Has("administrator", "monitoring") || ann.Has("administrator") || ann.Limit("max-channels") != 5 || ann.Limit("x") != -1 {
		t.Errorf("%+v", ann)
	}
	if s, ok := table.User("ann").Scram("scram_sha_512"); !ok || s.Rounds != 4096 || len(s.Stored) != 64 {
		t.Errorf("%+v, %v", s, ok)
	}
}

func TestEnterVHosts(t *testing.T) {
	table := testTable(t)
	for _, c := range []struct {
		user, vhost string
		want        error
	}{{"ann", "/", nil}, {"ann", "v", ErrNoAccess}, {"ann", "w", ErrNoVHost}, {"guest", "/", ErrNoAccess}, {"bob", "/", ErrNoAccess}} {
		if err := table.Enter(c.user, c.vhost); !errors.Is(err, c.want) {
			t.Errorf("%s into %s: %v", c.user, c.vhost, err)
		}
	}
	if table.VHostLimit("v", "max-connections") != 3 || table.VHostLimit("/", "max-connections") != -1 {
		t.Error("limits of vhosts")
	}
}

func TestPermissions(t *testing.T) {
	table := testTable(t)
	for _, c := range []struct {
		user  string
		op    Op
		name  string
		may   bool
		vhost string
	}{
		{"ann", Configure, "mine.q", true, "/"}, {"ann", Configure, "q.mine", false, "/"}, {"ann", Write, "mine", false, "/"}, {"ann", Write, "", false, "/"},
		{"ann", Read, "any", true, "/"}, {"ann", Read, "any", false, "v"}, {"guest", Read, "any", false, "/"}, {"bob", Read, "any", false, "/"}, {"ann", opCount, "any", false, "/"},
	} {
		if may := table.May(c.user, c.vhost, c.op, c.name); may != c.may {
			t.Errorf("%s may %d with %q: %t", c.user, c.op, c.name, may)
		}
	}
	for _, c := range []struct {
		exchange string
		op       Op
		key      string
		may      bool
	}{{"amq.topic", Write, "eu.de", true}, {"amq.topic", Write, "us", false}, {"amq.topic", Read, "us", true}, {"other", Write, "us", true}} {
		if may := table.MayTopic("ann", "/", c.exchange, c.op, c.key); may != c.may {
			t.Errorf("%s %d %q: %t", c.exchange, c.op, c.key, may)
		}
	}
	if table.MayTopic("bob", "/", "other", Read, "k") {
		t.Error("nobody may read")
	}
}
