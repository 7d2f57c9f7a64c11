package ipc

// What connsrv says, in answer to a Marker, of whom it has given messages to, in the conventions of
// codec.go:
//
//	Handed  | head | term u64 | ask u64 | list of (queue u64 | index u64 | next u64) |

import "github.com/trimq/trimq/protocol/wire"

// TypeHanded is a record from connsrv to logicsrv (ring 12345).
const TypeHanded Type = 18 // Handed: part of the answer to a Marker, before the ResyncEnd

// MaxHanded bounds the list of one Handed.
const MaxHanded = 1 << 12

// Handed tells how far an event loop has given the messages of queues to anybody, since connsrv's
// epoch began. What lies below and is in nobody's hand may have been seen: whoever had it is gone.
type Handed struct {
	Head
	Term, Ask uint64 // of the Marker
	List      []HandedUpTo
}

// HandedUpTo: of one index of a queue, messages below Next.
type HandedUpTo struct {
	Queue uint64
	Index uint64
	Next  uint64
}

const handedSize = 24

// Append appends the record.
func (m *Handed) Append(b []byte) []byte {
	b = wire.AppendU64(wire.AppendU64(m.append(b), m.Term), m.Ask)
	b = wire.AppendUvarint(b, uint64(len(m.List)))
	for _, x := range m.List {
		b = wire.AppendU64(wire.AppendU64(wire.AppendU64(b, x.Queue), x.Index), x.Next)
	}
	return b
}

// DecodeHanded reads the record.
func DecodeHanded(b []byte) (Handed, error) {
	c := wire.Read(b)
	m := Handed{Head: readHead(&c), Term: c.U64(), Ask: c.U64()}
	if n := c.Count(handedSize, MaxHanded); n > 0 {
		m.List = make([]HandedUpTo, n)
	}
	for i := range m.List {
		m.List[i] = HandedUpTo{c.U64(), c.U64(), c.U64()}
	}
	return m, done(&c, "handed")
}
