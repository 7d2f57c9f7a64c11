package native

import (
	"encoding/binary"

	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/wire"
)

// Sizes of fixed bodies and prefixes.
const (
	FetchSize      = 32
	FetchReplySize = 32
)

// Fetch asks for batches of a partition, from the one that contains Offset. The response
// comes when MinBytes are there or MaxWaitMS have passed; it holds whole batches, the first
// one even where it is larger than MaxBytes.
//
//	| index u64 | offset u64 | maxBytes u32 | minBytes u32 | maxWaitMS u32 | zero 4 |
type Fetch struct {
	Index     uint64
	Offset    uint64
	MaxBytes  uint32
	MinBytes  uint32
	MaxWaitMS uint32
}

// Append encodes the body.
func (m *Fetch) Append(b []byte) []byte {
	b = wire.AppendU64(b, m.Index)
	b = wire.AppendU64(b, m.Offset)
	b = wire.AppendU32(b, m.MaxBytes)
	b = wire.AppendU32(b, m.MinBytes)
	b = wire.AppendU32(b, m.MaxWaitMS)
	return append(b, 0, 0, 0, 0)
}

// DecodeFetch decodes it.
func DecodeFetch(b []byte) (Fetch, error) {
	c := wire.Read(b)
	m := Fetch{Index: c.U64(), Offset: c.U64(), MaxBytes: c.U32(), MinBytes: c.U32(), MaxWaitMS: c.U32()}
	c.Zero(4)
	return m, malformed(c.Done("FETCH"))
}

// FetchReply is the prefix of the response; NBytes bytes of batches follow, with the right
// base offsets. Offsets [Start, Visible) can be read.
//
//	| index u64 | start u64 | visible u64 | nbytes u32 | zero 4 | batches … |
type FetchReply struct {
	Index   uint64
	Start   uint64
	Visible uint64
	NBytes  uint32
}

// Put writes the prefix.
//
// REQUIRES: len(b) >= FetchReplySize.
func (m *FetchReply) Put(b []byte) {
	_ = b[FetchReplySize-1]
	binary.LittleEndian.PutUint64(b, m.Index)
	binary.LittleEndian.PutUint64(b[8:], m.Start)
	binary.LittleEndian.PutUint64(b[16:], m.Visible)
	binary.LittleEndian.PutUint64(b[24:], uint64(m.NBytes))
}

// Append encodes the prefix.
func (m *FetchReply) Append(b []byte) []byte {
	var p [FetchReplySize]byte
	m.Put(p[:])
	return append(b, p[:]...)
}

// DecodeFetchReply decodes a response's whole body; batches alias it.
func DecodeFetchReply(b []byte) (m FetchReply, batches []byte, err error) {
	c := wire.Read(b)
	m = FetchReply{Index: c.U64(), Start: c.U64(), Visible: c.U64(), NBytes: c.U32()}
	c.Zero(4)
	batches = c.Raw(int(m.NBytes))
	return m, batches, malformed(c.Done("FETCH response"))
}

// Times that LIST_OFFSETS understands beside Unix milliseconds.
const (
	TimeEarliest = -2
	TimeLatest   = -1
)

// ListOffsets asks for the first offset whose time is TimeMS or later, or for an end.
//
//	| index u64 | time i64 |
type ListOffsets struct {
	Index  uint64
	TimeMS int64 // TimeEarliest, TimeLatest, or Unix ms
}

// Append encodes the body.
func (m *ListOffsets) Append(b []byte) []byte {
	b = wire.AppendU64(b, m.Index)
	return wire.AppendU64(b, uint64(m.TimeMS))
}

// DecodeListOffsets decodes it.
func DecodeListOffsets(b []byte) (ListOffsets, error) {
	c := wire.Read(b)
	m := ListOffsets{Index: c.U64(), TimeMS: c.I64()}
	if m.TimeMS < TimeEarliest {
		c.Fail(wire.ErrOutOfRange)
	}
	return m, malformed(c.Done("LIST_OFFSETS"))
}

// ListOffsetsReply answers it. By time the offset is the first of the batch that holds
// the time (a reader skips within it); nothing that late gives Visible and time -1.
//
//	| index u64 | offset u64 | time i64 | start u64 | visible u64 |
type ListOffsetsReply struct {
	Index   uint64
	Offset  uint64
	TimeMS  int64 // of what lies at Offset; -1: unknown
	Start   uint64
	Visible uint64
}

// Append encodes the body.
func (m *ListOffsetsReply) Append(b []byte) []byte {
	b = wire.AppendU64(b, m.Index)
	b = wire.AppendU64(b, m.Offset)
	b = wire.AppendU64(b, uint64(m.TimeMS))
	b = wire.AppendU64(b, m.Start)
	return wire.AppendU64(b, m.Visible)
}

// DecodeListOffsetsReply decodes it.
func DecodeListOffsetsReply(b []byte) (ListOffsetsReply, error) {
	c := wire.Read(b)
	m := ListOffsetsReply{Index: c.U64(), Offset: c.U64(), TimeMS: c.I64(), Start: c.U64(), Visible: c.U64()}
	return m, malformed(c.Done("LIST_OFFSETS response"))
}

// CommitOffsets stores positions of a group. Answered by an empty body.
//
//	| level u8 | group string | offsets list of (index u64, offset u64, metadata string) |
type CommitOffsets struct {
	Level   ipc.Level // LevelUnset: the topic's
	Group   string
	Offsets []ipc.OffsetCommit
}

// Append encodes the body.
func (m *CommitOffsets) Append(b []byte) []byte {
	b = append(b, byte(m.Level))
	b = wire.AppendString(b, m.Group)
	return ipc.AppendPositions(b, m.Offsets)
}

// DecodeCommitOffsets decodes it.
func DecodeCommitOffsets(b []byte) (CommitOffsets, error) {
	c := wire.Read(b)
	m := CommitOffsets{Level: ipc.Level(c.U8()), Group: c.String()}
	checkLevel(&c, m.Level)
	m.Offsets = ipc.ReadPositions(&c)
	return m, malformed(c.Done("COMMIT_OFFSETS"))
}

// FetchOffsets asks for a group's positions; no Indexes: all of them.
//
//	| group string | indexes list of u64 |
type FetchOffsets struct {
	Group   string
	Indexes []uint64
}

// Append encodes the body.
func (m *FetchOffsets) Append(b []byte) []byte {
	b = wire.AppendString(b, m.Group)
	b = wire.AppendUvarint(b, uint64(len(m.Indexes)))
	for _, x := range m.Indexes {
		b = wire.AppendU64(b, x)
	}
	return b
}

// DecodeFetchOffsets decodes it.
func DecodeFetchOffsets(b []byte) (FetchOffsets, error) {
	c := wire.Read(b)
	m := FetchOffsets{Group: c.String()}
	if n := c.Count(8, maxOffsets); n > 0 {
		m.Indexes = make([]uint64, n)
		for i := range m.Indexes {
			m.Indexes[i] = c.U64()
		}
	}
	return m, malformed(c.Done("FETCH_OFFSETS"))
}

// OffsetsReply answers FETCH_OFFSETS; an index without a commit is left out.
//
//	| offsets list as in COMMIT_OFFSETS |
type OffsetsReply struct{ Offsets []ipc.OffsetCommit }

// Append encodes the body.
func (m *OffsetsReply) Append(b []byte) []byte { return ipc.AppendPositions(b, m.Offsets) }

// DecodeOffsetsReply decodes it.
func DecodeOffsetsReply(b []byte) (OffsetsReply, error) {
	c := wire.Read(b)
	m := OffsetsReply{Offsets: ipc.ReadPositions(&c)}
	return m, malformed(c.Done("FETCH_OFFSETS response"))
}
