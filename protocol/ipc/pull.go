package ipc

// Records of pulls and leases, in the terms of codec.go:
//
//	Pull    | head | sub u64 | queue u64 | max u32 | wait bool | autoAck bool | invisibleMS u64 |
//	PullEnd | head | target u64 |
//	Pulled  | head | queue u64 | lease u64 | untilMS i64 | filter | list of (index u64 | first u64 | count u32 | attempts u16) |
//	Extend  | head | queue u64 | index u64 | offset u64 | lease u64 | invisibleMS u64 |
//	Recall  | head | sub u64 | index u64 | list of (first u64 | count u32) |

import "github.com/trimq/trimq/protocol/wire"

// MaxPull is how many messages one Pull can ask for, and so bounds its answer.
const MaxPull = 4096

// pulledRunSize is the encoded size of a PulledRun.
const pulledRunSize = 22

// Append appends the record.
func (m *Pull) Append(b []byte) []byte {
	b = wire.AppendU64(wire.AppendU64(m.append(b), m.Sub), m.Queue)
	b = wire.AppendBool(wire.AppendU32(b, m.Max), m.Wait)
	return wire.AppendU64(wire.AppendBool(b, m.AutoAck), m.InvisibleMS)
}

// DecodePull reads the record.
func DecodePull(b []byte) (Pull, error) {
	c := wire.Read(b)
	m := readPull(&c)
	return m, done(&c, "pull")
}

func readPull(c *wire.Cursor) Pull {
	return Pull{readHead(c), c.U64(), c.U64(), c.U32(), c.Bool(), c.Bool(), c.U64()}
}

// Append appends the record.
func (m *PullEnd) Append(b []byte) []byte { return wire.AppendU64(m.append(b), m.Target) }

// DecodePullEnd reads the record.
func DecodePullEnd(b []byte) (PullEnd, error) {
	c := wire.Read(b)
	m := PullEnd{readHead(&c), c.U64()}
	return m, done(&c, "pull end")
}

// Append appends the record.
func (m *Pulled) Append(b []byte) []byte {
	b = wire.AppendU64(wire.AppendU64(m.append(b), m.Queue), m.Lease)
	b = m.Filter.append(wire.AppendU64(b, uint64(m.UntilMS)))
	b = wire.AppendUvarint(b, uint64(len(m.Runs)))
	for i := range m.Runs {
		r := &m.Runs[i]
		b = wire.AppendU64(wire.AppendU64(b, r.Index), r.First)
		b = wire.AppendU16(wire.AppendU32(b, r.Count), r.Attempts)
	}
	return b
}

// DecodePulled reads the record.
func DecodePulled(b []byte) (Pulled, error) {
	c := wire.Read(b)
	m := Pulled{Head: readHead(&c), Queue: c.U64(), Lease: c.U64(), UntilMS: c.I64(), Filter: readFilter(&c)}
	if n := c.Count(pulledRunSize, MaxPull); n > 0 {
		m.Runs = make([]PulledRun, n)
	}
	for i := range m.Runs {
		m.Runs[i] = PulledRun{c.U64(), c.U64(), c.U32(), c.U16()}
	}
	return m, done(&c, "pulled")
}

// Append appends the record.
func (m *Extend) Append(b []byte) []byte {
	b = wire.AppendU64(wire.AppendU64(m.append(b), m.Queue), m.Index)
	b = wire.AppendU64(wire.AppendU64(b, m.Offset), m.Lease)
	return wire.AppendU64(b, m.InvisibleMS)
}

// DecodeExtend reads the record.
func DecodeExtend(b []byte) (Extend, error) {
	c := wire.Read(b)
	m := Extend{readHead(&c), c.U64(), c.U64(), c.U64(), c.U64(), c.U64()}
	return m, done(&c, "extend")
}

// Append appends the record.
func (m *Recall) Append(b []byte) []byte {
	b = wire.AppendU64(wire.AppendU64(m.append(b), m.Sub), m.Index)
	return appendRanges(b, m.Ranges)
}

// DecodeRecall reads the record.
func DecodeRecall(b []byte) (Recall, error) {
	c := wire.Read(b)
	m := Recall{readHead(&c), c.U64(), c.U64(), readRanges(&c)}
	return m, done(&c, "recall")
}
