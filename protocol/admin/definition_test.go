package admin

import (
	"slices"
	"strings"
	"testing"
)

func definitionCodecs() []codec {
	policy := Definition{
		DefPolicy, "/", "short", "",
		[]Value{TextValue("apply-to", "queues"), Number("definition.message-ttl", 60_000), TextValue("pattern", "^s")},
	}
	const layout = "kind:1 vhost:s name:s item:s values:v key:s text:s number:8 isNumber:1 key:s text:s number:8 isNumber:1 key:s text:s number:8 isNumber:1"
	return []codec{
		body("definition", layout, policy, DecodeDefinition),
		body("description_definition", "kind:1 more:1 missing:v definitions:v "+layout,
			Description{Kind: KindDefinition, Definitions: []Definition{policy}}, DecodeDescription),
	}
}

// Values come in one order, each key once, and are a text or a number: there is one form of a definition.
func TestDefinitionsHaveOneForm(t *testing.T) {
	twice := Definition{Kind: DefUser, Values: []Value{TextValue("a", ""), TextValue("a", "")}}
	for name, m := range map[string]Definition{
		"out of order": {Kind: DefUser, Values: []Value{TextValue("b", ""), TextValue("a", "")}},
		"twice":        twice,
		"both":         {Kind: DefUser, Values: []Value{{"a", "1", 1, true}}},
		"number":       {Kind: DefUser, Values: []Value{{"a", "", 1, false}}},
		"no kind":      {},
		"unknown kind": {Kind: DefUserLimit + 1},
	} {
		if _, err := DecodeDefinition(m.Append(nil)); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if twice.Canonical() {
		t.Error("a key that stands twice is canonical")
	}
}

func TestDefinitionsByKey(t *testing.T) {
	m := Definition{Kind: DefPolicy, Values: []Value{TextValue("pattern", "^a"), Number("priority", 7)}}
	if !m.Canonical() || m.Text("pattern") != "^a" || m.Number("priority") != 7 || m.Text("other") != "" {
		t.Errorf("%+v", m)
	}
	if _, ok := m.Value("other"); ok {
		t.Error("a value that was not given is there")
	}
}

// Identities sort by kind, vhost, name and item, and none is another's.
func TestIdentitiesOfDefinitions(t *testing.T) {
	var ids []string
	for _, m := range []Definition{
		{Kind: DefVHost, Name: "/"}, {Kind: DefUser, Name: "a"}, {Kind: DefUser, Name: "b"},
		{Kind: DefTopicPermission, VHost: "/", Name: "a", Item: "x"}, {Kind: DefTopicPermission, VHost: "/a", Name: "x"},
	} {
		ids = append(ids, m.Identity())
	}
	if !slices.IsSorted(ids) || len(slices.Compact(slices.Clone(ids))) != len(ids) {
		t.Errorf("%q", ids)
	}
	if name := DefinitionKind(99).String(); !strings.Contains(name, "99") || DefUser.String() != "user" {
		t.Errorf("%q, %q", name, DefUser)
	}
}

func TestNamesInVHosts(t *testing.T) {
	for _, x := range []struct{ vhost, name, whole string }{
		{"/", "q", "q"}, {"/", "", ""}, {"v", "q", "v\x1fq"}, {"v", "", "v\x1f"}, {"", "q", "\x1fq"},
	} {
		whole := InVHost(x.vhost, x.name)
		vhost, name := SplitVHost(whole)
		if whole != x.whole || vhost != x.vhost || name != x.name {
			t.Errorf("%q in %q is %q, and that is %q in %q", x.name, x.vhost, whole, name, vhost)
		}
	}
}
