package commitlog

// Little endian throughout. CRC is CRC32C (Castagnoli) of all bytes of the header before it.
//
// Header of a segment of the log, file offset 0:
//
//	| magic u64 | version u32 | shard u32 | position u64 | base LSN u64 | created ms i64 | capacity u64 | salt u64 | 0 u32 | crc u32 |
//	0           8             12          16             24             32               40             48         56      60        64
//
// Then journal entries in their disk form, each a multiple of 8 bytes; the salt of an entry is
// the segment's plus its log position.
//
// Header of a segment of an index, file offset 0:
//
//	| magic u64 | version u32 | slots u32 | index u64 | base offset u64 | created ms i64 | flags u32 | crc u32 | start u64 | ^start u64 |
//	0           8             12          16          24                32               40          44        48          56           64
//
// start is outside the CRC because it moves: offsets below it are no longer there. It is stored with
// its complement, by one write; a reader that finds them not to fit looks again, and once more, before
// it takes the file for damaged: it may have come in between. flags: 1 compacted, the file was made by
// compaction, is full, and what lies between its entries, or behind the last one up to the next file, is
// gone for good. Then slots entries of 56 bytes, unused ones zero:
//
//	| offset u64 | position u64 | note u64 | origin u64 | max time ms i64 | length u32 | count u32 | skip u24, flags u8 | crc u32 |
//	0            8              16         24           32                40           44          48                   52       56
//
// Version ladder: 1, never released; 2: index entries with note, origin and skip; 3: log entries of version
// 3, the complement of an index's start; 4: packs, index files that were compacted, sparse batches, settings of
// compaction among the ops of log entries; 5, the one spoken: log entries of version 5.

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"

	"github.com/trimq/trimq/protocol/journal"
)

const (
	Version = 5

	SegmentMagic    uint64 = 0x01474f4c514d5254 // "TRMQLOG\x01"
	IndexMagic      uint64 = 0x01584449514d5254 // "TRMQIDX\x01"
	CheckpointMagic uint64 = 0x01504b43514d5254 // "TRMQCKP\x01", of the index checkpoint

	SegmentHeaderSize = 64
	IndexHeaderSize   = 64
	IndexEntrySize    = 56
	IndexStartOffset  = 48 // where the start word lies in an index segment

	// Alignment of entries in the log.
	Alignment = 8
)

// Names in a data directory.
const (
	LogDir              = "commitlog"
	IndexDir            = "index"
	CheckpointDir       = "checkpoint"
	MarkerName          = "TRIMQ"
	LockName            = "LOCK"
	IndexCheckpointName = "index.ckpt"
	BeforeRepairDir     = "before-repair" // what repairs have set aside, as it was
	TmpSuffix           = ".tmp"          // of files that are not finished; removed at start
)

// MarkerText is the content of the marker file.
const MarkerText = "TriMQ data directory, format 5\n"

// What builds before the first release have written, and what to do about it.
const (
	oldMarkerText = "TriMQ data directory, format "
	markerMend    = "start the build that made it, or, if it is damaged, run: trimq log repair"
	oldMend       = "this data directory was written by an unreleased build of format %s: start with an empty one"
)

// ErrVersion says that something whole is of a version that this program does not read.
var ErrVersion = errors.New("unknown version")

// CheckMarker says whether the content of a marker file is that of a data directory which this
// program reads.
func CheckMarker(text []byte) error {
	if string(text) == MarkerText {
		return nil
	}
	if old, ok := strings.CutPrefix(string(text), oldMarkerText); ok && (len(old) == 2 && old[0] >= '1' && old[0] < '0'+Version && old[1] == '\n') {
		return fmt.Errorf("%w: "+oldMend, ErrVersion, old[:1])
	}
	return fmt.Errorf("%w: file %s says %q, this program knows %q; %s", ErrVersion, MarkerName, text[:min(len(text), 2*len(MarkerText))], MarkerText, markerMend)
}

// checkVersion refuses a version. An old one is refused by its name, where the checksum bears
// out that it is no damage.
func checkVersion(what string, v uint32, sound bool) error {
	switch {
	case v == Version:
		return nil
	case v > 0 && v < Version && sound:
		return fmt.Errorf("%s: %w: "+oldMend, what, ErrVersion, strconv.Itoa(int(v)))
	}
	return formatErrorf(what, "version %d, this program reads %d", v, Version)
}

// Flags of an index entry.
const (
	FlagRebase  uint32 = journal.RefRebase  // the base offset inside the batch is not Entry.Base: a reader patches it
	FlagDamaged uint32 = journal.RefDamaged // the batch in the log failed its check, or is not there: reading it is an error
	FlagPartial uint32 = journal.RefPartial // the batch has other records too, which are no business of this index
	// FlagSparse: not every offset of the entry has a record; the batch tells which. Never of a partial one.
	FlagSparse uint32 = 8
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var le = binary.LittleEndian

// FormatError says what is wrong with bytes that should be in one of these formats.
type FormatError struct {
	What string // "segment header", …
	Why  string
}

func (e *FormatError) Error() string { return e.What + ": " + e.Why }

func formatErrorf(what, format string, args ...any) error {
	return &FormatError{What: what, Why: fmt.Sprintf(format, args...)}
}

// SegmentHeader begins a segment of the log.
type SegmentHeader struct {
	Shard     uint32
	Position  uint64 // log position of its first entry
	BaseLSN   uint64 // LSN of its first entry
	CreatedMS int64
	Capacity  uint64 // bytes that the file may grow to, header included
	Salt      uint64 // random; never leaves the data directory
}

// EntrySalt is what the checks of the entry at a log position are salted with. The position makes
// a copy of an entry, which somebody may store as a message, another thing than the entry.
func (h *SegmentHeader) EntrySalt(position uint64) uint64 { return h.Salt + position }

// Append encodes the header.
func (h *SegmentHeader) Append(b []byte) []byte {
	at := len(b)
	b = le.AppendUint64(b, SegmentMagic)
	b = le.AppendUint32(b, Version)
	b = le.AppendUint32(b, h.Shard)
	b = le.AppendUint64(b, h.Position)
	b = le.AppendUint64(b, h.BaseLSN)
	b = le.AppendUint64(b, uint64(h.CreatedMS))
	b = le.AppendUint64(b, h.Capacity)
	b = le.AppendUint64(b, h.Salt)
	b = le.AppendUint32(b, 0)
	return le.AppendUint32(b, crc32.Checksum(b[at:], castagnoli))
}

// DecodeSegmentHeader decodes the first SegmentHeaderSize bytes of a segment.
func DecodeSegmentHeader(b []byte) (SegmentHeader, error) {
	const what = "segment header"
	if len(b) < SegmentHeaderSize {
		return SegmentHeader{}, formatErrorf(what, "%d bytes, want %d", len(b), SegmentHeaderSize)
	}
	if m := le.Uint64(b); m != SegmentMagic {
		return SegmentHeader{}, formatErrorf(what, "magic %#x, want %#x", m, SegmentMagic)
	}
	got, want := crc32.Checksum(b[:60], castagnoli), le.Uint32(b[60:])
	if err := checkVersion(what, le.Uint32(b[8:]), got == want); err != nil {
		return SegmentHeader{}, err
	}
	if got != want {
		return SegmentHeader{}, formatErrorf(what, "crc %#x, header says %#x", got, want)
	}
	return SegmentHeader{
		Shard:     le.Uint32(b[12:]),
		Position:  le.Uint64(b[16:]),
		BaseLSN:   le.Uint64(b[24:]),
		CreatedMS: int64(le.Uint64(b[32:])),
		Capacity:  le.Uint64(b[40:]),
		Salt:      le.Uint64(b[48:]),
	}, nil
}

// IndexHeader begins a segment of an index.
type IndexHeader struct {
	Slots     uint32
	Index     uint64
	Base      uint64 // offset of the first entry that belongs here
	CreatedMS int64
	Start     uint64 // offsets below it are no longer there
	Compacted bool   // all slots are in use, and offsets that are in none of them are gone
}

// indexCompacted is the flag of IndexHeader.Compacted.
const indexCompacted = 1

// Append encodes the header.
func (h *IndexHeader) Append(b []byte) []byte {
	at := len(b)
	b = le.AppendUint64(b, IndexMagic)
	b = le.AppendUint32(b, Version)
	b = le.AppendUint32(b, h.Slots)
	b = le.AppendUint64(b, h.Index)
	b = le.AppendUint64(b, h.Base)
	b = le.AppendUint64(b, uint64(h.CreatedMS))
	flags := uint32(0)
	if h.Compacted {
		flags = indexCompacted
	}
	b = le.AppendUint32(b, flags)
	b = le.AppendUint32(b, crc32.Checksum(b[at:], castagnoli))
	b = le.AppendUint64(b, h.Start)
	return le.AppendUint64(b, ^h.Start)
}

// AppendIndexStart encodes the words of an index segment that move, for IndexStartOffset.
func AppendIndexStart(b []byte, start uint64) []byte {
	return le.AppendUint64(le.AppendUint64(b, start), ^start)
}

// DecodeIndexHeader decodes the first IndexHeaderSize bytes of an index segment.
func DecodeIndexHeader(b []byte) (IndexHeader, error) {
	const what = "index header"
	if len(b) < IndexHeaderSize {
		return IndexHeader{}, formatErrorf(what, "%d bytes, want %d", len(b), IndexHeaderSize)
	}
	if m := le.Uint64(b); m != IndexMagic {
		return IndexHeader{}, formatErrorf(what, "magic %#x, want %#x", m, IndexMagic)
	}
	got, want := crc32.Checksum(b[:44], castagnoli), le.Uint32(b[44:])
	if err := checkVersion(what, le.Uint32(b[8:]), got == want); err != nil {
		return IndexHeader{}, err
	}
	if got != want {
		return IndexHeader{}, formatErrorf(what, "crc %#x, header says %#x", got, want)
	}
	h := IndexHeader{
		Slots:     le.Uint32(b[12:]),
		Index:     le.Uint64(b[16:]),
		Base:      le.Uint64(b[24:]),
		CreatedMS: int64(le.Uint64(b[32:])),
		Start:     le.Uint64(b[48:]),
		Compacted: le.Uint32(b[40:])&indexCompacted != 0,
	}
	if f := le.Uint32(b[40:]); f&^indexCompacted != 0 {
		return IndexHeader{}, formatErrorf(what, "flags %#x, of which some are unknown", f)
	}
	if h.Slots == 0 || h.Slots > maxSlots {
		return IndexHeader{}, formatErrorf(what, "%d slots, want 1 to %d", h.Slots, maxSlots)
	}
	if check := ^le.Uint64(b[56:]); check != h.Start {
		return IndexHeader{}, formatErrorf(what, "start %d, and by its complement %d", h.Start, check)
	}
	return h, nil
}

// startTries is how often a start that does not fit its complement is looked at: whoever writes both
// may be in the middle of it.
const startTries = 1000

// readIndexHeader reads the header of an index segment that may be written meanwhile.
func readIndexHeader(f io.ReaderAt) (h IndexHeader, err error) {
	var b [IndexHeaderSize]byte
	for range 3 {
		n, bad := f.ReadAt(b[:], 0)
		if bad != nil && bad != io.EOF {
			return h, bad
		}
		if h, err = DecodeIndexHeader(b[:n]); err == nil {
			break
		}
	}
	return h, err
}

// maxSlots bounds what a damaged header can make a reader map (1 GiB).
const maxSlots = 1 << 30 / IndexEntrySize

// SegmentName is the name of the log segment that begins at position.
func SegmentName(position uint64) string { return fmt.Sprintf("%s/%020d.log", LogDir, position) }

// IndexPath is the directory of an index.
func IndexPath(index uint64) string { return fmt.Sprintf("%s/%016x", IndexDir, index) }

// IndexName is the name of the index segment that begins at offset base.
func IndexName(index, base uint64) string { return fmt.Sprintf("%s/%020d.idx", IndexPath(index), base) }

// CheckpointName is the name of logicsrv's checkpoint at lsn.
func CheckpointName(lsn uint64) string {
	return fmt.Sprintf("%s/checkpoint-%020d.ckpt", CheckpointDir, lsn)
}

// ParseSegmentName reads the position out of a name without directory.
func ParseSegmentName(name string) (position uint64, ok bool) {
	return parseName(name, "", ".log", 20, 10)
}

// ParseIndexDir reads the index id out of a directory's name.
func ParseIndexDir(name string) (index uint64, ok bool) { return parseName(name, "", "", 16, 16) }

// ParseIndexName reads the base offset out of a name without directory.
func ParseIndexName(name string) (base uint64, ok bool) { return parseName(name, "", ".idx", 20, 10) }

// ParseCheckpointName reads the LSN out of a name without directory.
func ParseCheckpointName(name string) (lsn uint64, ok bool) {
	return parseName(name, "checkpoint-", ".ckpt", 20, 10)
}

func parseName(name, prefix, suffix string, digits, base int) (uint64, bool) {
	s, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return 0, false
	}
	if s, ok = strings.CutSuffix(s, suffix); !ok || len(s) != digits {
		return 0, false
	}
	for _, c := range []byte(s) {
		lower := c >= '0' && c <= '9' || base == 16 && c >= 'a' && c <= 'f'
		if !lower {
			return 0, false
		}
	}
	v, err := strconv.ParseUint(s, base, 64)
	return v, err == nil
}

// putOffset sets the base offset of a RecordBatch, which is big endian.
func putOffset(batch []byte, base uint64) {
	for i := range 8 {
		batch[i] = byte(base >> (56 - 8*i))
	}
}
