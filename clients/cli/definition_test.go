package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/definitions"
)

// last is the definition that the stub was asked for last.
func (s *stub) last() *admin.Definition {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &s.defined[len(s.defined)-1]
}

func TestUsers(t *testing.T) {
	s := newStub(t)
	if got := s.succeed(t, "secret\nmore", "user", "set", "ann", "--tags", "monitoring, management"); got != "user \"ann\"\n" {
		t.Error(got)
	}
	if d := s.last(); d.Text("tags") != "monitoring,management" || !definitions.Verify(d, "secret") {
		t.Errorf("%+v", d)
	}
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.succeed(t, "", "user", "set", "ann", "--password-file", file)
	if d := s.last(); !definitions.Verify(d, "other") {
		t.Errorf("%+v", d)
	}
	if got := s.succeed(t, "", "user", "list"); !strings.Contains(got, "ann   monitoring") {
		t.Error(got)
	}
	if got := s.succeed(t, "", "user", "list", "--json"); !strings.Contains(got, `"name": "ann"`) {
		t.Error(got)
	}
	if got := s.succeed(t, "", "user", "delete", "ann"); got != "user \"ann\" is gone\n" {
		t.Error(got)
	}
	if code, _, errs := program(t, "", "user", "delete", "nobody", "--addr", s.ln.Addr().String()); code != 1 || !strings.Contains(errs, `there is no user "nobody"`) {
		t.Errorf("%d, %s", code, errs)
	}
	if code, _, errs := program(t, "\n", "user", "set", "ann", "--addr", s.ln.Addr().String()); code != 2 || !strings.Contains(errs, "password is missing") {
		t.Errorf("%d, %s", code, errs)
	}
}

func TestVHostsPermissionsPolicies(t *testing.T) {
	s := newStub(t)
	for _, c := range []struct{ args, want string }{
		{"vhost create v --description d", "vhost v  description=d"},
		{"permission set ann --vhost v --configure ^a --read .*", "permission ann v configure=^a read=.* write="},
		{"permission clear ann --vhost v", "permission ann v"},
		{`policy set p --pattern ^a --priority 2 --definition {"max-length":5}`, "policy p / apply-to=all definition.max-length=5 pattern=^a priority=2"},
		{`policy set p --operator --vhost v --apply-to queues --pattern . --definition {"overflow":"drop-head"}`, "operator policy p v apply-to=queues definition.overflow=drop-head pattern=. priority=0"},
		{"policy delete p --operator", "operator policy p /"},
		{"vhost delete v", "vhost v "},
	} {
		s.succeed(t, "", strings.Fields(c.args)...)
		d := s.last()
		got := fmt.Sprint(d.Kind, " ", d.Name, " ", d.VHost)
		for _, v := range d.Values {
			if got += " " + v.Key + "="; v.IsNumber {
				got += fmt.Sprint(v.Number)
			} else {
				got += v.Text
			}
		}
		if got != c.want {
			t.Errorf("%s\nhave %s\nwant %s", c.args, got, c.want)
		}
	}
	for args, want := range map[string]string{
		"vhost list": "/      native", "permission list": "ann   /                        ^a", "policy list": "map[max-length:5]",
	} {
		if got := s.succeed(t, "", strings.Fields(args)...); !strings.Contains(got, want) {
			t.Errorf("%s: %s", args, got)
		}
	}
	if code, _, errs := program(t, "", "policy", "set", "p", "--pattern", "a", "--definition", "x", "--addr", s.ln.Addr().String()); code != 2 || !strings.Contains(errs, "no object of JSON") {
		t.Errorf("%d, %s", code, errs)
	}
}

// A file is imported thing by thing; what cannot be made is told, and the rest is made all the same.
func TestImport(t *testing.T) {
	s := newStub(t)
	const file = "../../protocol/definitions/testdata/generated.json"
	got := s.succeed(t, "", "import", file)
	if !strings.Contains(got, "queue \"orders\" in vhost \"shop\"\n") || !strings.HasSuffix(got, " 0 failed\n") {
		t.Error(got)
	}
	if got := s.succeed(t, "", "import", "--quiet", "../../protocol/definitions/testdata/exported.json"); strings.Count(got, "\n") != 1 {
		t.Error(got)
	}
	if got := s.succeed(t, "", "import", "--dry-run", file); !strings.Contains(got, "20 to be made, 0 there already, 0 failed") {
		t.Error(got)
	}
	const bad = `{"vhosts":[{"name":"v"}],"users":[{"name":"nobody","password_hash":""}],"queues":[{"name":"q","vhost":"v","arguments":{"x-max-length":"ten"}}]}`
	code, out, errs := program(t, bad, "import", "-", "--addr", s.ln.Addr().String())
	if code != 1 || !strings.Contains(out, `failed: user "nobody": not-found: there is no`) || !strings.Contains(out, `failed: queue "q" in vhost "v": argument "x-max-length"`) || !strings.Contains(errs, "2 of 3 things") {
		t.Errorf("%d\n%s\n%s", code, out, errs)
	}
	for _, args := range [][]string{{"import"}, {"import", "none.json"}, {"import", "-"}} {
		if code, _, _ := program(t, "{", append(args, "--addr", s.ln.Addr().String())...); code == 0 {
			t.Errorf("%v succeeds", args)
		}
	}
}
