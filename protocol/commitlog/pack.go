package commitlog

// A pack holds what compaction has kept of a range of offsets of one index: batches with their notes,
// and the index entries that lead to them. Little endian.
//
//	| magic u64 | version u32 | entries u32 | position u64 | index u64 | base u64 | end u64 | cleaned u64 | horizon ms i64 |
//	0           8             12            16             24          32         40        48            56
//	| created ms i64 | 0 u64 ×6 | 0 u32 | crc u32 |
//	64               72         120     124       128
//
// Then, in the order of the entries, each batch with its note before it, if it has one that the batch
// before has not. Then the entries, of 56 bytes each, as they stand in the index; the origin of each is
// the pack's position. A pack is written once, under another name, synced and renamed.
//
// Positions in packs lie above all of the log, from PackPosition on: the one named P begins with the byte
// at position P, which lies at file offset 128. Like those of the log they are never used again.
//
// Version ladder: 4, the one spoken, as the log's.

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"slices"
	"strings"
)

// PackMagic is "TRMQPAK\x01".
const PackMagic uint64 = 0x014b4150514d5254

// PackPosition is the first position that lies in a pack instead of the log.
const PackPosition uint64 = 1 << 62

const (
	PackHeaderSize = 128
	PackDir        = "packs" // where packs are

	packHeaderUsed = 72 // up to the checksum, zeros follow
)

// PackHeader begins a pack.
type PackHeader struct {
	Entries   uint32
	Position  uint64 // of its first byte behind the header
	Index     uint64 // whose it is
	Base, End uint64 // the offsets that it covers: what of them is not in it is gone
	Cleaned   uint64 // below it, no record is there of which a later one had the key when it was made
	HorizonMS int64  // from then on something in it may go that stands for a deletion; 0: nothing does
	CreatedMS int64
}

// Append encodes the header.
func (h *PackHeader) Append(b []byte) []byte {
	at := len(b)
	b = le.AppendUint64(b, PackMagic)
	b = le.AppendUint32(b, Version)
	b = le.AppendUint32(b, h.Entries)
	for _, v := range []uint64{h.Position, h.Index, h.Base, h.End, h.Cleaned, uint64(h.HorizonMS), uint64(h.CreatedMS)} {
		b = le.AppendUint64(b, v)
	}
	b = append(b, make([]byte, PackHeaderSize-4-(len(b)-at))...)
	return le.AppendUint32(b, crc32.Checksum(b[at:], castagnoli))
}

// DecodePackHeader decodes the first PackHeaderSize bytes of a pack.
func DecodePackHeader(b []byte) (PackHeader, error) {
	const what = "pack header"
	if len(b) < PackHeaderSize {
		return PackHeader{}, formatErrorf(what, "%d bytes, want %d", len(b), PackHeaderSize)
	}
	if m := le.Uint64(b); m != PackMagic {
		return PackHeader{}, formatErrorf(what, "magic %#x, want %#x", m, PackMagic)
	}
	got, want := crc32.Checksum(b[:PackHeaderSize-4], castagnoli), le.Uint32(b[PackHeaderSize-4:])
	if err := checkVersion(what, le.Uint32(b[8:]), got == want); err != nil {
		return PackHeader{}, err
	}
	if got != want {
		return PackHeader{}, formatErrorf(what, "crc %#x, header says %#x", got, want)
	}
	h := PackHeader{
		Entries: le.Uint32(b[12:]), Position: le.Uint64(b[16:]), Index: le.Uint64(b[24:]), Base: le.Uint64(b[32:]),
		End: le.Uint64(b[40:]), Cleaned: le.Uint64(b[48:]), HorizonMS: int64(le.Uint64(b[56:])), CreatedMS: int64(le.Uint64(b[64:])),
	}
	switch {
	case h.Entries == 0 || h.Entries > maxSlots:
		return h, formatErrorf(what, "%d entries, want 1 to %d", h.Entries, maxSlots)
	case h.Position < PackPosition:
		return h, formatErrorf(what, "position %d, which is the log's", h.Position)
	case h.Base >= h.End:
		return h, formatErrorf(what, "offsets from %d to before %d", h.Base, h.End)
	case slices.ContainsFunc(b[packHeaderUsed:PackHeaderSize-4], func(c byte) bool { return c != 0 }):
		return h, formatErrorf(what, "bytes from %d on are not zero", packHeaderUsed)
	}
	return h, nil
}

// PackName is the name of the pack that begins at position.
func PackName(position uint64) string { return fmt.Sprintf("%s/%020d.pack", PackDir, position) }

// ParsePackName reads the position out of a name without directory.
func ParsePackName(name string) (position uint64, ok bool) {
	return parseName(name, "", ".pack", 20, 10)
}

// PackFile is a pack as found in the directory.
type PackFile struct {
	Name      string // with directory
	Position  uint64 // from the name
	Size      int64  // of the file
	Header    PackHeader
	HeaderErr error // the header does not decode, or contradicts the name or the size
}

// EndPosition is the position behind the last byte.
func (p *PackFile) EndPosition() uint64 {
	return p.Position + uint64(max(0, p.Size-PackHeaderSize))
}

// entriesAt is where in the file its entries begin.
func (p *PackFile) entriesAt() int64 { return p.Size - int64(p.Header.Entries)*IndexEntrySize }

// ListPacks returns the packs in the order of their positions, the oldest first. A directory that is
// not there has none; a file that has no business there is an error.
func ListPacks(fsys FS) ([]PackFile, error) {
	names, err := fsys.List(PackDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the packs: %w", err)
	}
	var packs []PackFile
	for _, name := range names {
		if strings.HasSuffix(name, TmpSuffix) {
			continue
		}
		position, ok := ParsePackName(name)
		if !ok || position < PackPosition {
			return nil, fmt.Errorf("%s/%s is not a pack: move it away", PackDir, name)
		}
		p, err := lookAtPack(fsys, position)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed since the directory was read
		}
		if err == nil && errors.Is(p.HeaderErr, ErrVersion) {
			err = fmt.Errorf("%s: %w", p.Name, p.HeaderErr)
		}
		if err != nil {
			return nil, err
		}
		packs = append(packs, p)
	}
	slices.SortFunc(packs, func(a, b PackFile) int { return compare(a.Position, b.Position) })
	return packs, nil
}

func lookAtPack(fsys FS, position uint64) (PackFile, error) {
	p := PackFile{Name: PackName(position), Position: position}
	f, err := fsys.Open(p.Name)
	if err != nil {
		return p, fmt.Errorf("pack %s: %w", p.Name, err)
	}
	defer f.Close()
	if p.Size, err = f.Size(); err != nil {
		return p, fmt.Errorf("pack %s: %w", p.Name, err)
	}
	var b [PackHeaderSize]byte
	n, err := f.ReadAt(b[:], 0)
	if err != nil && err != io.EOF {
		return p, fmt.Errorf("pack %s: %w", p.Name, err)
	}
	p.Header, p.HeaderErr = DecodePackHeader(b[:n])
	switch {
	case p.HeaderErr != nil:
	case p.Header.Position != position:
		p.HeaderErr = formatErrorf("pack header", "position %d in a file named %d", p.Header.Position, position)
	case p.entriesAt() < PackHeaderSize:
		p.HeaderErr = formatErrorf("pack header", "%d entries in a file of %d bytes", p.Header.Entries, p.Size)
	}
	return p, nil
}

// ReadPackEntries reads the index entries of a pack whose header is sound. Each is checked to lie within
// the pack, and to follow the one before.
func ReadPackEntries(fsys FS, p *PackFile) ([]Entry, error) {
	f, err := fsys.Open(p.Name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", p.Name, err)
	}
	defer f.Close()
	b := make([]byte, int64(p.Header.Entries)*IndexEntrySize)
	if n, err := f.ReadAt(b, p.entriesAt()); n < len(b) {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("read %s: %w", p.Name, err)
	}
	entries := make([]Entry, 0, p.Header.Entries)
	next, end := p.Header.Base, p.Position+uint64(p.entriesAt()-PackHeaderSize)
	for i := 0; i < len(b); i += IndexEntrySize {
		e, ok := DecodeEntry(b[i:])
		lost := e.Flags&FlagDamaged != 0 && e.Position == 0
		if !ok || e.Offset < next && i > 0 || e.End() > p.Header.End || e.Origin != p.Position ||
			!lost && (e.Position < p.Position || e.Position+uint64(e.Length) > end) {
			return entries, formatErrorf("pack", "%s: entry %d fails its check", p.Name, i/IndexEntrySize)
		}
		next = e.End()
		entries = append(entries, e)
	}
	return entries, nil
}

// CoveredTo is the offset up to which a file of an index that was compacted stands for the files behind it
// too: those that begin below it are on their way out. 0: it was not compacted.
func CoveredTo(fsys FS, h *IndexHeader, entries []Entry) (uint64, error) {
	if !h.Compacted || len(entries) == 0 {
		return 0, nil
	}
	p, err := lookAtPack(fsys, entries[0].Origin)
	if err == nil {
		err = p.HeaderErr
	}
	if err != nil {
		return 0, err
	}
	return p.Header.End, nil
}
