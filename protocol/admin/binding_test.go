package admin

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/trimq/trimq/protocol/ipc"
)

// anyBinding draws bindings whose parts meet often.
func anyBinding(t *rapid.T) CreateBinding {
	name := rapid.SampledFrom([]string{"", "a", "ab", "b"})
	header := rapid.Custom(func(t *rapid.T) ipc.Header { return ipc.Header{Key: name.Draw(t, "k"), Value: name.Draw(t, "v")} })
	return CreateBinding{
		Exchange: name.Draw(t, "exchange"), Queue: name.Draw(t, "queue"), ToExchange: rapid.Bool().Draw(t, "to"),
		RoutingKey: name.Draw(t, "key"), MatchAny: rapid.Bool().Draw(t, "any"), WithX: rapid.Bool().Draw(t, "x"),
		Headers: rapid.SliceOfN(header, 0, 3).Draw(t, "headers"), Present: rapid.SliceOfN(name, 0, 3).Draw(t, "present"),
	}
}

// TestIdentity: two bindings have one identity if they are equal in all parts, whatever the order
// of their headers; it orders them by exchange, queue and key, and none begins another.
func TestIdentity(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyBinding(t), anyBinding(t)
		again := a
		again.Headers, again.Present = slices.Clone(a.Headers), slices.Clone(a.Present)
		slices.Reverse(again.Headers)
		again.Present = append(again.Present, a.Present...)
		a.Canonical()
		b.Canonical()
		again.Canonical()
		if a.Identity() != again.Identity() {
			t.Fatalf("%+v is another than %+v", a, again)
		}
		same := string(a.Append(nil)) == string(b.Append(nil))
		if (a.Identity() == b.Identity()) != same {
			t.Fatalf("%+v and %+v: one identity is %t", a, b, !same)
		}
		if !same && strings.HasPrefix(a.Identity(), b.Identity()) {
			t.Fatalf("%q begins with %q", a.Identity(), b.Identity())
		}
		parts := func(m *CreateBinding) []string { return []string{m.Exchange, m.Queue, m.RoutingKey} }
		if c := slices.Compare(parts(&a), parts(&b)); c != 0 && c != strings.Compare(a.Identity(), b.Identity()) {
			t.Fatalf("%+v and %+v are in another order", a, b)
		}
	})
}
