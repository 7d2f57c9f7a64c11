package commitlog

// The index checkpoint, index.ckpt: from where recovery has to read the log, and what is
// known of indexes and segments at that place. Little endian.
//
//	| magic u64 | version u32 | crc u32 | lsn u64 | position u64 | segments u32 | indexes u32 | files u32 | 0 u32 | term u64 |
//	0           8             12        16        24             32             36            40          44      48        56
//	segment ×n | position u64 | base LSN u64 | last LSN u64 | end u64 | refs u64 | live bytes u64 | salt u64 |         56
//	index   ×n | id u64 | start u64 | next u64 | bytes u64 | max time ms i64 | retention bytes i64 | retention ms i64 |
//	           | term u64 | files u32 | 0 u32 |                                                                        72
//	file    ×n | base u64 | count u32 | slots u32 |      in the order of the indexes                                   16
//
// crc is the CRC32C of all from byte 16 on. All that it speaks of was synced before it was
// renamed into place. Version ladder: 1, never released; 2: refs counts more, term; 3, the one spoken: as the log's.

import "hash/crc32"

const (
	indexCheckpointHeader = 56
	segmentStateSize      = 56
	indexStateSize        = 72
	fileStateSize         = 16
)

// IndexCheckpoint is the content of index.ckpt.
type IndexCheckpoint struct {
	LSN      uint64 // indexes hold all entries up to this one, and it is synced
	Position uint64 // behind it
	Term     uint64 // logicsrv's, the highest of those entries
	Segments []SegmentState
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
	Files          []FileState
}

// FileState is one segment of an index.
type FileState struct {
	Base  uint64
	Count uint32 // slots in use
	Slots uint32
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
	b = le.AppendUint32(b, 0)
	b = le.AppendUint64(b, c.Term)
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
		b = le.AppendUint32(b, 0)
	}
	for i := range c.Indexes {
		for _, f := range c.Indexes[i].Files {
			b = le.AppendUint64(b, f.Base)
			b = le.AppendUint32(b, f.Count)
			b = le.AppendUint32(b, f.Slots)
		}
	}
	le.PutUint32(b[at+12:], crc32.Checksum(b[at+16:], castagnoli))
	return b
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
	size := indexCheckpointHeader + segs*segmentStateSize + indexes*indexStateSize + files*fileStateSize
	if size != uint64(len(b)) || le.Uint32(b[44:]) != 0 {
		return nil, formatErrorf(what, "%d bytes, its counts make %d", len(b), size)
	}
	c := &IndexCheckpoint{
		LSN: le.Uint64(b[16:]), Position: le.Uint64(b[24:]), Term: le.Uint64(b[48:]),
		Segments: make([]SegmentState, segs), Indexes: make([]IndexState, indexes),
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

// decodeIndexes reads the indexes and their files; the total length is known to be right.
func (c *IndexCheckpoint) decodeIndexes(b []byte, files uint64) error {
	const what = "index checkpoint"
	left := b[len(c.Indexes)*indexStateSize:]
	for i := range c.Indexes {
		n := uint64(le.Uint32(b[64:]))
		if n > files || le.Uint32(b[68:]) != 0 {
			return formatErrorf(what, "index %d has %d files, %d are left", i, n, files)
		}
		files -= n
		x := IndexState{
			Index: le.Uint64(b), Start: le.Uint64(b[8:]), Next: le.Uint64(b[16:]), Bytes: le.Uint64(b[24:]),
			MaxTimeMS: int64(le.Uint64(b[32:])), RetentionBytes: int64(le.Uint64(b[40:])),
			RetentionMS: int64(le.Uint64(b[48:])), Term: le.Uint64(b[56:]),
		}
		if n > 0 {
			x.Files = make([]FileState, n)
		}
		for k := range x.Files {
			x.Files[k] = FileState{Base: le.Uint64(left), Count: le.Uint32(left[8:]), Slots: le.Uint32(left[12:])}
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
