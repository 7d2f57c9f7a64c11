package admin

import (
	"cmp"
	"slices"

	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/wire"
)

// Canonical brings the parts of a binding into the order that makes equal ones equal: headers by
// key and value, present by name, each once.
func (m *CreateBinding) Canonical() {
	slices.SortFunc(m.Headers, CompareHeaders)
	m.Headers = slices.Compact(m.Headers)
	slices.Sort(m.Present)
	m.Present = slices.Compact(m.Present)
}

// CompareHeaders orders headers by key, and by value where that is equal.
func CompareHeaders(a, b ipc.Header) int {
	return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Value, b.Value))
}

// Identity tells bindings apart and orders them, by exchange, queue and key first:
//
//	| exchange | NUL | queue | NUL | routingKey | NUL | toExchange bool | matchAny bool | withX bool
//	| list of (key string | value string) | list of present string |
//
// A Describe of bindings goes on behind the binding whose identity is After; behind all of an
// exchange, or of an exchange, queue and key, where After ends with those. No identity is the
// beginning of another. REQUIRES: the binding is canonical, the first three parts hold no NUL.
func (m *CreateBinding) Identity() string {
	id := make([]byte, 0, len(m.Exchange)+len(m.Queue)+len(m.RoutingKey)+8)
	id = append(append(id, m.Exchange...), 0)
	id = append(append(id, m.Queue...), 0)
	id = append(append(id, m.RoutingKey...), 0)
	id = wire.AppendBool(wire.AppendBool(wire.AppendBool(id, m.ToExchange), m.MatchAny), m.WithX)
	return string(appendNames(ipc.AppendHeaders(id, m.Headers), m.Present))
}
