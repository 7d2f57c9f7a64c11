package journal

// Events of definitions, in the terms of eventcodec.go:
//
//	Defined    | base u64 | admin.Definition |
//	Undefined  | admin.Definition, without values |

import (
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/wire"
)

const (
	EvDefined   EventType = 68 // Defined
	EvUndefined EventType = 69 // Undefined
)

// Defined: something is defined, or is another now.
type Defined struct {
	Pos        uint64
	Base       uint64 // of a new vhost: the id of the first of its predeclared exchanges; 0 for others
	Definition admin.Definition
}

// Undefined: it is no longer, with all that is said of it or, of a vhost, lies in it.
type Undefined struct {
	Pos        uint64
	Definition admin.Definition
}

// Append appends the event.
func (ev *Defined) Append(b []byte) []byte {
	start := len(b)
	b = wire.AppendU64(beginEvent(b, EvDefined, ev.Pos), ev.Base)
	return endEvent(ev.Definition.Append(b), start)
}

// DecodeDefined reads the event's body.
func DecodeDefined(ev Event) (Defined, error) {
	if err := ev.expect(EvDefined); err != nil {
		return Defined{}, err
	}
	c := wire.Read(ev.Body)
	d := Defined{ev.Pos, c.U64(), admin.ReadDefinition(&c)}
	return d, eventErr(c.Done("defined"))
}

// Append appends the event.
func (ev *Undefined) Append(b []byte) []byte {
	start := len(b)
	return endEvent(ev.Definition.Append(beginEvent(b, EvUndefined, ev.Pos)), start)
}

// DecodeUndefined reads the event's body.
func DecodeUndefined(ev Event) (Undefined, error) {
	if err := ev.expect(EvUndefined); err != nil {
		return Undefined{}, err
	}
	c := wire.Read(ev.Body)
	u := Undefined{ev.Pos, admin.ReadDefinition(&c)}
	if len(u.Definition.Values) > 0 {
		c.Fail(wire.ErrPadding)
	}
	return u, eventErr(c.Done("undefined"))
}
