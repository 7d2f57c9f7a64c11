package admin

// A definition, in the terms of codec.go; it is the body of Define, of Undefine (without values), and an
// element of a Description:
//
//	Definition  | kind u8 | vhost string | name string | item string | list of value |
//	value       | key string | text string | number i64 | isNumber bool |
//
// The text of a number is empty, the number of a text 0. Values stand in order of their keys, each key once.

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/trimq/trimq/protocol/wire"
)

// Commands of definitions.
const (
	CmdDefine   Command = 68 // Definition: it is so from now on; what had its identity is replaced
	CmdUndefine Command = 69 // Definition, without values
)

// KindDefinition is what Describe lists of them, in order of identity; Names are identities.
const KindDefinition Kind = 68

// DefinitionKind says what is defined.
type DefinitionKind uint8

const (
	DefVHost           DefinitionKind = 1  // name; a space of names of its own for queues and exchanges
	DefUser            DefinitionKind = 2  // name; who may come in
	DefPermission      DefinitionKind = 3  // vhost, name of the user; what it may do there
	DefTopicPermission DefinitionKind = 4  // vhost, name of the user, item: exchange; likewise by routing key
	DefPolicy          DefinitionKind = 5  // vhost, name; settings of the queues and exchanges that it matches
	DefOperatorPolicy  DefinitionKind = 6  // vhost, name; bounds of them
	DefParameter       DefinitionKind = 7  // vhost, name, item: component; kept for tools
	DefGlobalParameter DefinitionKind = 8  // name; kept for tools
	DefVHostLimit      DefinitionKind = 9  // name: that of the vhost
	DefUserLimit       DefinitionKind = 10 // name: that of the user
)

// DefinitionKinds name the kinds in messages, by their numbers.
var DefinitionKinds = [...]string{
	"", "vhost", "user", "permission", "topic permission", "policy", "operator policy", "parameter", "global parameter", "limit of a vhost", "limit of a user",
}

// String is the kind's name.
func (k DefinitionKind) String() string {
	if k > 0 && int(k) < len(DefinitionKinds) {
		return DefinitionKinds[k]
	}
	return "definition of kind " + strconv.Itoa(int(k))
}

// PolicyPrefix begins the keys of the settings that a policy makes, apart from its own (pattern,
// apply-to, priority).
const PolicyPrefix = "definition."

// Definition is one thing that the broker is told besides queues, exchanges, topics and bindings.
type Definition struct {
	Kind   DefinitionKind
	VHost  string
	Name   string
	Item   string
	Values []Value
}

// Value is one property: a text or a number.
type Value struct {
	Key      string
	Text     string
	Number   int64
	IsNumber bool
}

// TextValue is a value that is a text.
func TextValue(key, text string) Value { return Value{Key: key, Text: text} }

// Number is a value that is a number.
func Number(key string, n int64) Value { return Value{Key: key, Number: n, IsNumber: true} }

// Identity tells definitions apart and orders them. REQUIRES: no part holds a NUL.
func (m *Definition) Identity() string {
	return string(rune('@'+m.Kind)) + m.VHost + "\x00" + m.Name + "\x00" + m.Item
}

// Canonical orders the values by their keys; false: a key stands twice.
func (m *Definition) Canonical() bool {
	slices.SortFunc(m.Values, func(a, b Value) int { return cmp.Compare(a.Key, b.Key) })
	for i := 1; i < len(m.Values); i++ {
		if m.Values[i].Key == m.Values[i-1].Key {
			return false
		}
	}
	return true
}

// Value is the property of a key. REQUIRES: canonical.
func (m *Definition) Value(key string) (Value, bool) {
	i, ok := slices.BinarySearchFunc(m.Values, key, func(v Value, key string) int { return cmp.Compare(v.Key, key) })
	if !ok {
		return Value{}, false
	}
	return m.Values[i], true
}

// Text is the text of a key; empty where there is none.
func (m *Definition) Text(key string) string {
	v, _ := m.Value(key)
	return v.Text
}

// Number is the number of a key; 0 where there is none.
func (m *Definition) Number(key string) int64 {
	v, _ := m.Value(key)
	return v.Number
}

// Append appends the encoded body.
func (m *Definition) Append(b []byte) []byte {
	b = wire.AppendString(append(b, byte(m.Kind)), m.VHost)
	b = wire.AppendString(wire.AppendString(b, m.Name), m.Item)
	b = wire.AppendUvarint(b, uint64(len(m.Values)))
	for i := range m.Values {
		v := &m.Values[i]
		b = wire.AppendString(wire.AppendString(b, v.Key), v.Text)
		b = wire.AppendBool(wire.AppendU64(b, uint64(v.Number)), v.IsNumber)
	}
	return b
}

// ReadDefinition reads a Definition that others follow.
func ReadDefinition(c *wire.Cursor) Definition {
	m := Definition{Kind: DefinitionKind(c.U8()), VHost: c.String(), Name: c.String(), Item: c.String()}
	if n := c.Count(11, MaxNames); n > 0 {
		m.Values = make([]Value, n)
	}
	for i := range m.Values {
		v := Value{Key: c.String(), Text: c.String(), Number: c.I64(), IsNumber: c.Bool()}
		if v.IsNumber && v.Text != "" || !v.IsNumber && v.Number != 0 || i > 0 && v.Key <= m.Values[i-1].Key {
			c.Fail(wire.ErrPadding)
		}
		m.Values[i] = v
	}
	if m.Kind < DefVHost || m.Kind > DefUserLimit {
		c.Fail(wire.ErrOutOfRange)
	}
	return m
}

// DecodeDefinition reads a body.
func DecodeDefinition(b []byte) (Definition, error) {
	c := wire.Read(b)
	m := ReadDefinition(&c)
	return m, c.Done("definition")
}
