package core

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/trimq/trimq/protocol/admin"
)

// notValues are the words of a definition that are no properties of it.
var notValues = map[string]bool{"kind": true, "vhost": true, "name": true, "item": true, "req": true, "conn": true, "epoch": true}

// definition reads kind=policy vhost=/ name=p and, for all other words, a property each: a number
// where it is one.
func (w words) definition() *admin.Definition {
	m := &admin.Definition{VHost: w["vhost"], Name: w["name"], Item: w["item"]}
	for i, name := range admin.DefinitionKinds {
		if strings.ReplaceAll(name, " ", "-") == w["kind"] {
			m.Kind = admin.DefinitionKind(i)
		}
	}
	for key, v := range w {
		if notValues[key] {
			continue
		}
		if n, err := strconv.ParseInt(v, 10, 64); err == nil {
			m.Values = append(m.Values, admin.Number(key, n))
		} else {
			m.Values = append(m.Values, admin.TextValue(key, v))
		}
	}
	m.Canonical()
	return m
}

func traceDefinition(d *admin.Definition) string {
	s := fmt.Sprintf("%s %q", d.Kind, d.Name)
	if d.VHost != "" {
		s += fmt.Sprintf(" in %q", d.VHost)
	}
	if d.Item != "" {
		s += fmt.Sprintf(" of %q", d.Item)
	}
	for _, v := range d.Values {
		if v.IsNumber {
			s += fmt.Sprintf(" %s=%d", v.Key, v.Number)
		} else {
			s += fmt.Sprintf(" %s=%q", v.Key, v.Text)
		}
	}
	return s
}

// traceGoverned shows what counts for a queue because of policies, and what its type is.
func traceGoverned(q *admin.QueueInfo) (s string) {
	if q.Settings.Type != 0 || q.Settings.Arguments != "" {
		s = fmt.Sprintf(" type=%d arguments=%q", q.Settings.Type, q.Settings.Arguments)
	}
	if q.Policy != "" || q.Operator != "" {
		s += fmt.Sprintf(" policy=%q operator=%q", q.Policy, q.Operator)
	}
	what, is, not := difference(&q.Effective, &q.Settings)
	if what != "" {
		s += fmt.Sprintf(": %s %s, not %s", what, is, not)
	}
	return s
}
