package commitlog

// The index checkpoint, index.ckpt: from where recovery has to read the log, and what is
// known of indexes and segments at that place. Little endian.
//
//	| magic u64 | version u32 | crc u32 | lsn u64 | position u64 | segments u32 | indexes u32 | files u32 | packs u32 | term u64 |
//	0           8             12        16        24             32             36            40          44          48        56
//	| next pack position u64 |
//	56                       64
//	segment ×n | position u64 | base LSN u64 | last LSN u64 | end u64 | refs u64 | live bytes u64 | salt u64 |         56
//	index   ×n | id u64 | start u64 | next u64 | bytes u64 | max time ms i64 | retention bytes i64 | retention ms i64 |
//	           | term u64 | files u32 | flags u32, 1: compacted | dirty ppm u64 | min lag ms i64 | max lag ms i64 |
//	           | tombstones ms i64 | closing ms i64 | closing bytes i64 |                                             120
//	pack    ×n | position u64 | end u64 | refs u64 | live bytes u64 |                                                  32
//	file    ×n | base u64 | count u32 | slots u32 | pack u64, 0: none |      in the order of the indexes               24
//
// crc is the CRC32C of all from byte 16 on. All that it speaks of was synced before it was
// renamed into place. Version ladder: 1, never released; 2: refs counts more, term; 3: as the log's; 4, the one spoken: packs,
// settings of compaction.

import (
	"hash/crc32"

	"github.com/trimq/trimq/protocol/ipc"
)

const (
	indexCheckpointHeader = 64
	segmentStateSize      = 56
	packStateSize         = 32
	indexStateSize        = 120
	fileStateSize         = 24
)

// IndexCheckpoint is the content of index.ckpt.
type IndexCheckpoint struct {
	LSN      uint64 // indexes hold all entries up to this one, and it is synced
	Position uint64 // behind it
	Term     uint64 // logicsrv's, the highest of those entries
	NextPack uint64 // position of the next pack
	Segments []SegmentState
	Packs    []PackState
	Indexes  []IndexState
}

// SegmentState is what is known of a segment of the log.
type SegmentState struct {
	Position uint64
	BaseLSN  uint64
	LastLSN  uint64
	End      uint64 // log position behind its last entry
	Refs     uint64 // index entries that need it: for their batch, its note, or to be made anew
	Live     uint64 // bytes of their batches in it
	Salt     uint64 // as in its header, which may be damaged
}

// PackState is what is known of a pack.
type PackState struct {
	Position uint64
	End      uint64 // behind its last byte
	Refs     uint64 // index entries that need it
	Live     uint64 // bytes of their batches in it
}

// IndexState is what is known of an index.
type IndexState struct {
	Index          uint64
	Start          uint64 // offsets below are gone
	Next           uint64 // offset that the next record gets
	Bytes          uint64 // of batches from Start on
	MaxTimeMS      int64
	RetentionBytes int64
	RetentionMS    int64
	Term           uint64 // logicsrv's when it made the index or changed its settings last
	Compaction     ipc.Compaction
	Files          []FileState
}

// FileState is one segment of an index.
type FileState struct {
	Base  uint64
	Count uint32 // slots in use
	Slots uint32
	Pack  uint64 // position of the pack that it leads into; 0: it was not compacted
}

// Append encodes the checkpoint.
func (c *IndexCheckpoint) Append(b []byte) []byte {
	at := len(b)
	files := 0
	for i := range c.Indexes {
		files += len(c.Indexes[i].Files)
	}
	b = le.AppendUint64(b, CheckpointMagic)
	b = le.AppendUint32(b, Version)
	b = le.AppendUint32(b, 0)
	b = le.AppendUint64(b, c.LSN)
	b = le.AppendUint64(b, c.Position)
	b = le.AppendUint32(b, uint32(len(c.Segments)))
	b = le.AppendUint32(b, uint32(len(c.Indexes)))
	b = le.AppendUint32(b, uint32(files))
	b = le.AppendUint32(b, uint32(len(c.Packs)))
	b = le.AppendUint64(b, c.Term)
	b = le.AppendUint64(b, c.NextPack)
	for _, s := range c.Segments {
		for _, v := range []uint64{s.Position, s.BaseLSN, s.LastLSN, s.End, s.Refs, s.Live, s.Salt} {
			b = le.AppendUint64(b, v)
		}
	}
	for i := range c.Indexes {
		x := &c.Indexes[i]
		for _, v := range []uint64{
			x.Index, x.Start, x.Next, x.Bytes, uint64(x.MaxTimeMS),
			uint64(x.RetentionBytes), uint64(x.RetentionMS), x.Term,
		} {
			b = le.AppendUint64(b, v)
		}
		b = le.AppendUint32(b, uint32(len(x.Files)))
		b = appendCompaction(b, &x.Compaction)
	}
	for _, p := range c.Packs {
		for _, v := range []uint64{p.Position, p.End, p.Refs, p.Live} {
			b = le.AppendUint64(b, v)
		}
	}
	for i := range c.Indexes {
		for _, f := range c.Indexes[i].Files {
			b = le.AppendUint64(b, f.Base)
			b = le.AppendUint32(b, f.Count)
			b = le.AppendUint32(b, f.Slots)
			b = le.AppendUint64(b, f.Pack)
		}
	}
	le.PutUint32(b[at+12:], crc32.Checksum(b[at+16:], castagnoli))
	return b
}

// appendCompaction encodes the end of an index's row.
func appendCompaction(b []byte, c *ipc.Compaction) []byte {
	flags := uint32(0)
	if c.On {
		flags = 1
	}
	b = le.AppendUint32(b, flags)
	for _, v := range []int64{c.DirtyPPM, c.MinLagMS, c.MaxLagMS, c.TombstoneMS, c.ClosingMS, c.ClosingBytes} {
		b = le.AppendUint64(b, uint64(v))
	}
	return b
}

// decodeCompaction reads the end of an index's row.
func decodeCompaction(b []byte) (c ipc.Compaction) {
	c.On = le.Uint32(b) == 1
	for i, v := range []*int64{&c.DirtyPPM, &c.MinLagMS, &c.MaxLagMS, &c.TombstoneMS, &c.ClosingMS, &c.ClosingBytes} {
		*v = int64(le.Uint64(b[4+8*i:]))
	}
	return c
}

// DecodeIndexCheckpoint reads a whole file.
func DecodeIndexCheckpoint(b []byte) (*IndexCheckpoint, error) {
	const what = "index checkpoint"
	if len(b) < indexCheckpointHeader {
		return nil, formatErrorf(what, "%d bytes, want %d at least", len(b), indexCheckpointHeader)
	}
	if m := le.Uint64(b); m != CheckpointMagic {
		return nil, formatErrorf(what, "magic %#x, want %#x", m, CheckpointMagic)
	}
	got, want := crc32.Checksum(b[16:], castagnoli), le.Uint32(b[12:])
	if err := checkVersion(what, le.Uint32(b[8:]), got == want); err != nil {
		return nil, err
	}
	if got != want {
		return nil, formatErrorf(what, "crc %#x, header says %#x", got, want)
	}
	segs, indexes, files := uint64(le.Uint32(b[32:])), uint64(le.Uint32(b[36:])), uint64(le.Uint32(b[40:]))
	packs := uint64(le.Uint32(b[44:]))
	size := indexCheckpointHeader + segs*segmentStateSize + indexes*indexStateSize + packs*packStateSize + files*fileStateSize
	if size != uint64(len(b)) {
		return nil, formatErrorf(what, "%d bytes, its counts make %d", len(b), size)
	}
	c := &IndexCheckpoint{
		LSN: le.Uint64(b[16:]), Position: le.Uint64(b[24:]), Term: le.Uint64(b[48:]), NextPack: le.Uint64(b[56:]),
		Segments: make([]SegmentState, segs), Indexes: make([]IndexState, indexes),
	}
	if packs > 0 {
		c.Packs = make([]PackState, packs)
	}
	b = b[indexCheckpointHeader:]
	for i := range c.Segments {
		c.Segments[i] = SegmentState{
			Position: le.Uint64(b), BaseLSN: le.Uint64(b[8:]), LastLSN: le.Uint64(b[16:]),
			End: le.Uint64(b[24:]), Refs: le.Uint64(b[32:]), Live: le.Uint64(b[40:]),
			Salt: le.Uint64(b[48:]),
		}
		b = b[segmentStateSize:]
	}
	return c, c.decodeIndexes(b, files)
}

// decodeIndexes reads the indexes, the packs and the indexes' files; the total length is known to be right.
func (c *IndexCheckpoint) decodeIndexes(b []byte, files uint64) error {
	const what = "index checkpoint"
	left := b[len(c.Indexes)*indexStateSize:]
	for i := range c.Packs {
		c.Packs[i] = PackState{Position: le.Uint64(left), End: le.Uint64(left[8:]), Refs: le.Uint64(left[16:]), Live: le.Uint64(left[24:])}
		left = left[packStateSize:]
	}
	for i := range c.Indexes {
		n := uint64(le.Uint32(b[64:]))
		if n > files || le.Uint32(b[68:]) > 1 {
			return formatErrorf(what, "index %d has %d files, %d are left", i, n, files)
		}
		files -= n
		x := IndexState{
			Index: le.Uint64(b), Start: le.Uint64(b[8:]), Next: le.Uint64(b[16:]), Bytes: le.Uint64(b[24:]),
			MaxTimeMS: int64(le.Uint64(b[32:])), RetentionBytes: int64(le.Uint64(b[40:])),
			RetentionMS: int64(le.Uint64(b[48:])), Term: le.Uint64(b[56:]), Compaction: decodeCompaction(b[68:]),
		}
		if n > 0 {
			x.Files = make([]FileState, n)
		}
		for k := range x.Files {
			x.Files[k] = FileState{Base: le.Uint64(left), Count: le.Uint32(left[8:]), Slots: le.Uint32(left[12:]), Pack: le.Uint64(left[16:])}
			if s := x.Files[k]; s.Count > s.Slots || s.Slots == 0 || s.Slots > maxSlots {
				return formatErrorf(what, "file %d of index %#x: %d of %d slots", k, x.Index, s.Count, s.Slots)
			}
			left = left[fileStateSize:]
		}
		c.Indexes[i] = x
		b = b[indexStateSize:]
	}
	if files != 0 {
		return formatErrorf(what, "%d files belong to no index", files)
	}
	return nil
}

// ReadIndexCheckpoint reads index.ckpt; fs.ErrNotExist if there is none.
func ReadIndexCheckpoint(fsys FS) (*IndexCheckpoint, error) {
	b, err := readWhole(fsys, IndexCheckpointName)
	if err != nil {
		return nil, err
	}
	return DecodeIndexCheckpoint(b)
}
