package ipc

import "github.com/trimq/trimq/protocol/wire"

// Limits of what one record may hold.
const (
	MaxHeaders = 1 << 12 // of one Publish or one binding
	MaxOffsets = 1 << 16 // of one CommitOffsets, FetchOffsets or OffsetList
	MaxRanges  = 1 << 12 // of one Ack
)

// AppendHeaders appends a list of headers; package admin's bindings use it too.
func AppendHeaders(b []byte, headers []Header) []byte {
	b = wire.AppendUvarint(b, uint64(len(headers)))
	for i := range headers {
		b = wire.AppendString(b, headers[i].Key)
		b = wire.AppendString(b, headers[i].Value)
	}
	return b
}

// ReadHeaders reads a list of headers, copying the strings.
func ReadHeaders(c *wire.Cursor) []Header {
	n := c.Count(2, MaxHeaders)
	if n == 0 {
		return nil
	}
	headers := make([]Header, n)
	for i := range headers {
		headers[i] = Header{c.String(), c.String()}
	}
	return headers
}

// AppendOffsetCommits appends a list of committed offsets; journal uses it too.
func AppendOffsetCommits(b []byte, offsets []OffsetCommit) []byte {
	b = wire.AppendUvarint(b, uint64(len(offsets)))
	for i := range offsets {
		b = wire.AppendU32(appendPosition(b, &offsets[i]), offsets[i].Leader)
	}
	return b
}

// ReadOffsetCommits reads a list of committed offsets, copying the strings.
func ReadOffsetCommits(c *wire.Cursor) []OffsetCommit {
	n := c.Count(21, MaxOffsets)
	if n == 0 {
		return nil
	}
	offsets := make([]OffsetCommit, n)
	for i := range offsets {
		offsets[i] = OffsetCommit{c.U64(), c.U64(), c.String(), c.U32()}
	}
	return offsets
}

// AppendPositions appends a list of committed offsets as packages native and admin have them:
// native clients know of no leader epochs.
func AppendPositions(b []byte, offsets []OffsetCommit) []byte {
	b = wire.AppendUvarint(b, uint64(len(offsets)))
	for i := range offsets {
		b = appendPosition(b, &offsets[i])
	}
	return b
}

func appendPosition(b []byte, o *OffsetCommit) []byte {
	return wire.AppendString(wire.AppendU64(wire.AppendU64(b, o.Index), o.Offset), o.Metadata)
}

// ReadPositions reads such a list, copying the strings.
func ReadPositions(c *wire.Cursor) []OffsetCommit {
	n := c.Count(17, MaxOffsets)
	if n == 0 {
		return nil
	}
	offsets := make([]OffsetCommit, n)
	for i := range offsets {
		offsets[i] = OffsetCommit{Index: c.U64(), Offset: c.U64(), Metadata: c.String()}
	}
	return offsets
}

func appendRange(b []byte, r Range) []byte {
	return wire.AppendU32(wire.AppendU64(b, r.First), r.Count)
}

func readRange(c *wire.Cursor) Range { return Range{c.U64(), c.U32()} }

func appendRanges(b []byte, ranges []Range) []byte {
	b = wire.AppendUvarint(b, uint64(len(ranges)))
	for i := range ranges {
		b = appendRange(b, ranges[i])
	}
	return b
}

func readRanges(c *wire.Cursor) []Range {
	n := c.Count(rangeSize, 1<<24)
	if n == 0 {
		return nil
	}
	ranges := make([]Range, n)
	for i := range ranges {
		ranges[i] = readRange(c)
	}
	return ranges
}
