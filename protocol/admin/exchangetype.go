package admin

import "strconv"

// ExchangeType is the way an exchange routes. Types are in the log: never renumber.
type ExchangeType uint8

const (
	Fanout         ExchangeType = 1 // to all that is bound
	Direct         ExchangeType = 2 // by equal keys
	Topic          ExchangeType = 3 // by patterns of words
	Headers        ExchangeType = 4 // by headers
	ConsistentHash ExchangeType = 5 // to one of what is bound, by weight
)

// typeNames are the names of the types in AMQP, by number.
var typeNames = [...]string{Fanout: "fanout", Direct: "direct", Topic: "topic", Headers: "headers", ConsistentHash: "x-consistent-hash"}

// Known tells whether there is such a type.
func (t ExchangeType) Known() bool { return t >= Fanout && int(t) < len(typeNames) }

// String is the type's name in AMQP.
func (t ExchangeType) String() string {
	if !t.Known() {
		return "type-" + strconv.Itoa(int(t))
	}
	return typeNames[t]
}

// TypeNamed finds a type by its name.
func TypeNamed(name string) (ExchangeType, bool) {
	for t := Fanout; t.Known(); t++ {
		if typeNames[t] == name {
			return t, true
		}
	}
	return 0, false
}

// TypeNames lists the names of all types.
func TypeNames() []string { return typeNames[Fanout:] }
