package native

import "github.com/trimq/trimq/protocol/wire"

// PullerBit stands in the numbers by which the server calls what a connection has pulled: those
// of its subscriptions lie below.
const PullerBit = 1 << 63

// Pull asks for messages of a queue: as many as are ready, Max at most, or, where none is, for the
// first that comes within WaitMS. They come in DELIVER frames with the correlation of the request,
// and the response behind them.
//
//	| queue u64 | max u32 | autoAck bool | zero 3 | waitMS u64 | invisibleMS u64 |
type Pull struct {
	Queue       uint64
	Max         uint32
	AutoAck     bool   // what is delivered is acknowledged
	WaitMS      uint64 // 0: the answer comes at once
	InvisibleMS uint64 // they are leased for so long; 0: the connection has them in hand
}

// Append encodes the body.
func (m *Pull) Append(b []byte) []byte {
	b = wire.AppendU32(wire.AppendU64(b, m.Queue), m.Max)
	b = append(wire.AppendBool(b, m.AutoAck), 0, 0, 0)
	return wire.AppendU64(wire.AppendU64(b, m.WaitMS), m.InvisibleMS)
}

// DecodePull decodes it.
func DecodePull(b []byte) (Pull, error) {
	c := wire.Read(b)
	m := Pull{Queue: c.U64(), Max: c.U32(), AutoAck: c.Bool()}
	c.Zero(3)
	m.WaitMS, m.InvisibleMS = c.U64(), c.U64()
	if m.Max == 0 || m.AutoAck && m.InvisibleMS > 0 {
		c.Fail(wire.ErrOutOfRange)
	}
	return m, malformed(c.Done("PULL"))
}

// PullReply ends the answer to a Pull. Lease, with a message's index and offset, is its receipt
// handle.
//
//	| lease u64 | untilMS i64 | count u32 | zero 4 |
type PullReply struct {
	Lease   uint64 // 0: they are in hand
	UntilMS int64  // Unix time at which the lease ends
	Count   uint32 // how many messages came; 0: the time was over
}

// Append encodes the body.
func (m *PullReply) Append(b []byte) []byte {
	b = wire.AppendU64(wire.AppendU64(b, m.Lease), uint64(m.UntilMS))
	return append(wire.AppendU32(b, m.Count), 0, 0, 0, 0)
}

// DecodePullReply decodes it.
func DecodePullReply(b []byte) (PullReply, error) {
	c := wire.Read(b)
	m := PullReply{Lease: c.U64(), UntilMS: c.I64(), Count: c.U32()}
	c.Zero(4)
	return m, malformed(c.Done("PULL response"))
}

// Extend changes how long a leased message stays invisible, from now on. Answered by an empty body.
//
//	| queue u64 | index u64 | offset u64 | lease u64 | invisibleMS u64 |
type Extend struct {
	Queue       uint64
	Index       uint64
	Offset      uint64
	Lease       uint64
	InvisibleMS uint64 // 0: it comes back now
}

// Append encodes the body.
func (m *Extend) Append(b []byte) []byte {
	b = wire.AppendU64(wire.AppendU64(b, m.Queue), m.Index)
	b = wire.AppendU64(wire.AppendU64(b, m.Offset), m.Lease)
	return wire.AppendU64(b, m.InvisibleMS)
}

// DecodeExtend decodes it.
func DecodeExtend(b []byte) (Extend, error) {
	c := wire.Read(b)
	m := Extend{Queue: c.U64(), Index: c.U64(), Offset: c.U64(), Lease: c.U64(), InvisibleMS: c.U64()}
	if m.Lease == 0 {
		c.Fail(wire.ErrOutOfRange)
	}
	return m, malformed(c.Done("EXTEND"))
}
