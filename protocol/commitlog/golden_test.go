package commitlog

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trimq/trimq/protocol/ipc"
)

// The files in testdata/golden fix the formats. A missing one is written by the test, which
// then fails once; one that is there is never written over: a changed format needs another
// version, and files of its own.

// field names the bytes from an offset on.
type field struct {
	off  int
	name string
}

// annotated shows bytes with the names of their fields.
func annotated(b []byte, fields []field) string {
	var out strings.Builder
	for i, f := range fields {
		end := len(b)
		if i+1 < len(fields) {
			end = fields[i+1].off
		}
		fmt.Fprintf(&out, "%4d  %-44s %s\n", f.off, hex.EncodeToString(b[f.off:end]), f.name)
	}
	return out.String()
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", "golden", "commitlog_v5_"+name)
	want, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		t.Fatalf("%s was missing and is written: look at it, then run again", path)
	}
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: the format has changed; it needs a new version\ngot\n%s\nwant\n%s", path, hex.Dump(got), hex.Dump(want))
	}
}

var (
	goldenSegment = SegmentHeader{Shard: 1, Position: 0x1122334455, BaseLSN: 77, CreatedMS: 1_700_000_000_000, Capacity: 256 << 20, Salt: 0x0123456789abcdef}
	goldenIndex   = IndexHeader{Slots: 65536, Index: 0xabcdef, Base: 123456, CreatedMS: 1_700_000_000_000, Start: 123460, Compacted: true}
	goldenEntry   = Entry{
		Offset: 123456, Position: 0x1122334466, Note: 0x1122330088, Origin: 0x1122330010, MaxTimeMS: 1_700_000_000_123,
		Length: 4711, Count: 20, Skip: 1<<24 - 3, Flags: FlagRebase | FlagPartial,
	}
	goldenCkpt = IndexCheckpoint{
		LSN: 99, Position: 0x1122335566, Term: 6, NextPack: PackPosition + 4096,
		Packs:    []PackState{{PackPosition + 8, PackPosition + 4090, 16, 999}},
		Segments: []SegmentState{{Position: 0, BaseLSN: 1, LastLSN: 76, End: 0x1122334455, Refs: 3, Live: 999, Salt: 5}, {Position: 0x1122334455, BaseLSN: 77, LastLSN: 99, End: 0x1122335566, Salt: 0x0123456789abcdef}},
		Indexes: []IndexState{
			{Index: 7, Start: 5, Next: 40, Bytes: 999, MaxTimeMS: 1_700_000_000_123, RetentionBytes: 1 << 30, RetentionMS: 86_400_000, Term: 3, Compaction: ipc.Compaction{On: true, DirtyPPM: 500_000, MinLagMS: 1, MaxLagMS: 2, TombstoneMS: 3, ClosingMS: 4, ClosingBytes: 5}, Files: []FileState{{0, 16, 16, PackPosition + 8}, {30, 2, 16, 0}}},
			{Index: 8, MaxTimeMS: -1, Files: []FileState{{0, 0, 65536, 0}}},
		},
	}
)

var goldenPack = PackHeader{
	Entries: 16, Position: PackPosition + 8, Index: 7, Base: 5, End: 40, Cleaned: 38, HorizonMS: 1_700_086_400_000, CreatedMS: 1_700_000_000_000,
}

func TestGolden(t *testing.T) {
	seg := goldenSegment.Append(nil)
	golden(t, "segment_header.bin", seg)
	golden(t, "segment_header.txt", []byte(annotated(seg, []field{
		{0, "magic"}, {8, "version 5"}, {12, "shard 1"}, {16, "position 0x1122334455"}, {24, "base LSN 77"},
		{32, "created ms 1700000000000"}, {40, "capacity 256 MiB"}, {48, "salt 0x0123456789abcdef"}, {56, "zero"}, {60, "crc of 0-59"},
	})))
	idx := goldenIndex.Append(nil)
	golden(t, "index_header.bin", idx)
	golden(t, "index_header.txt", []byte(annotated(idx, []field{
		{0, "magic"}, {8, "version 5"}, {12, "slots 65536"}, {16, "index 0xabcdef"}, {24, "base offset 123456"},
		{32, "created ms 1700000000000"}, {40, "flags: compacted"}, {44, "crc of 0-43"}, {48, "start 123460"}, {56, "check: start inverted"},
	})))
	entry := goldenEntry.Append(nil)
	golden(t, "index_entry.bin", entry)
	golden(t, "index_entry.txt", []byte(annotated(entry, []field{
		{0, "offset 123456"}, {8, "position 0x1122334466"}, {16, "note 0x1122330088"}, {24, "origin 0x1122330010"},
		{32, "max time ms 1700000000123"}, {40, "length 4711"}, {44, "count 20"}, {48, "skip 0xfffffd"}, {51, "flags: rebase, partial"}, {52, "crc of 0-51"},
	})))
	ckpt := goldenCkpt.Append(nil)
	golden(t, "index_checkpoint.bin", ckpt)
	golden(t, "index_checkpoint.txt", []byte(annotated(ckpt, []field{
		{0, "magic"}, {8, "version 5"}, {12, "crc of 16-"}, {16, "lsn 99"}, {24, "position 0x1122335566"},
		{32, "segments 2"}, {36, "indexes 2"}, {40, "files 3"}, {44, "packs 1"},
		{48, "term 6"}, {56, "next pack"}, {64, "segment 0: position"}, {72, "base LSN 1"}, {80, "last LSN 76"}, {88, "end"}, {96, "refs 3"}, {104, "live bytes 999"}, {112, "salt 5"},
		{120, "segment 1"},
		{176, "index 7"}, {184, "start 5"}, {192, "next 40"}, {200, "bytes 999"}, {208, "max time ms"}, {216, "retention bytes"},
		{224, "retention ms"}, {232, "term 3"}, {240, "files 2"}, {244, "flags: compacted"}, {248, "dirty ppm 500000"}, {256, "min lag ms 1"}, {264, "max lag ms 2"},
		{272, "tombstones ms 3"}, {280, "closing ms 4"}, {288, "closing bytes 5"},
		{296, "index 8"}, {416, "pack 0: position"}, {424, "end"}, {432, "refs 16"}, {440, "live bytes 999"},
		{448, "file 0 of index 7: base 0, 16 of 16 slots"}, {464, "its pack"}, {472, "file 1: base 30, 2 of 16"}, {496, "file 0 of index 8"},
	})))
	pack := goldenPack.Append(nil)
	golden(t, "pack_header.bin", pack)
	golden(t, "pack_header.txt", []byte(annotated(pack, []field{
		{0, "magic"}, {8, "version 5"}, {12, "entries 16"}, {16, "position"}, {24, "index 7"}, {32, "base 5"}, {40, "end 40"}, {48, "cleaned 38"},
		{56, "horizon ms"}, {64, "created ms"}, {72, "zero"}, {124, "crc of 0-123"},
	})))
}

func TestGoldenConstants(t *testing.T) {
	var out strings.Builder
	for _, c := range []struct {
		name  string
		value any
	}{
		{"Alignment", Alignment}, {"CheckpointDir", CheckpointDir}, {"CheckpointMagic", CheckpointMagic}, {"FlagDamaged", FlagDamaged},
		{"FlagPartial", FlagPartial}, {"FlagRebase", FlagRebase}, {"FlagSparse", FlagSparse}, {"IndexCheckpointName", IndexCheckpointName}, {"IndexDir", IndexDir}, {"IndexEntrySize", IndexEntrySize},
		{"IndexHeaderSize", IndexHeaderSize}, {"IndexMagic", IndexMagic}, {"IndexStartOffset", IndexStartOffset}, {"LockName", LockName},
		{"LogDir", LogDir}, {"PackDir", PackDir}, {"PackHeaderSize", PackHeaderSize}, {"PackMagic", PackMagic}, {"PackPosition", PackPosition}, {"MarkerName", MarkerName}, {"MarkerText", MarkerText}, {"SegmentHeaderSize", SegmentHeaderSize},
		{"SegmentMagic", SegmentMagic}, {"TmpSuffix", TmpSuffix}, {"Version", Version},
		{"name of segment 5", SegmentName(5)}, {"name of index 255 from 9", IndexName(255, 9)}, {"name of checkpoint 3", CheckpointName(3)}, {"name of pack 5", PackName(PackPosition + 5)},
	} {
		fmt.Fprintf(&out, "%s = %#v\n", c.name, c.value)
	}
	golden(t, "constants.txt", []byte(out.String()))
}

// TestRoundTrip decodes what was encoded, and refuses each changed byte that a CRC covers.
func TestRoundTrip(t *testing.T) {
	for name, c := range map[string]struct {
		bytes  []byte
		decode func([]byte) (any, error)
		want   any
		open   func(i int) bool // bytes that may change
	}{
		"segment header": {
			goldenSegment.Append(nil), func(b []byte) (any, error) { return DecodeSegmentHeader(b) }, goldenSegment, func(int) bool { return false },
		},
		"index header": {
			goldenIndex.Append(nil), func(b []byte) (any, error) { return DecodeIndexHeader(b) }, goldenIndex, func(i int) bool { return i >= 48 },
		},
		"index entry": {
			goldenEntry.Append(nil), func(b []byte) (any, error) {
				e, ok := DecodeEntry(b)
				if !ok {
					return nil, errors.New("bad entry")
				}
				return e, nil
			}, goldenEntry, func(int) bool { return false },
		},
		"index checkpoint": {
			goldenCkpt.Append(nil), func(b []byte) (any, error) {
				c, err := DecodeIndexCheckpoint(b)
				if err != nil {
					return nil, err
				}
				return *c, nil
			}, goldenCkpt, func(int) bool { return false },
		},
	} {
		got, err := c.decode(c.bytes)
		if err != nil || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", c.want) {
			t.Errorf("%s: %+v %v, want %+v", name, got, err, c.want)
		}
		for i := range c.bytes {
			b := bytes.Clone(c.bytes)
			b[i] ^= 0x10
			if _, err := c.decode(b); err == nil && !c.open(i) {
				t.Errorf("%s: byte %d changed, and nothing is said", name, i)
			}
			if _, err := c.decode(c.bytes[:i]); err == nil {
				t.Errorf("%s: decodes from %d bytes", name, i)
			}
		}
	}
	if _, ok := DecodeEntry(make([]byte, IndexEntrySize)); ok {
		t.Error("an empty slot counts as an entry")
	}
	if _, ok := DecodeEntry((&Entry{Length: 61, Position: 99}).Append(nil)); ok {
		t.Error("an entry without records counts as one")
	}
	if first := (&Entry{Offset: 2, Skip: 5, Count: 1}); first.Base()+5 != 2 || first.End() != 3 {
		t.Errorf("base %d, end %d", first.Base(), first.End())
	}
}

// TestOldVersions: what builds before the first release have written is refused, and why is said;
// a version that is changed by damage is damage.
func TestOldVersions(t *testing.T) {
	old := func(b []byte, covered, crc int) []byte {
		le.PutUint32(b[8:], 1)
		if covered > 0 {
			le.PutUint32(b[crc:], crc32c(b[:covered]))
		}
		return b
	}
	for name, c := range map[string]struct {
		file    string
		content []byte
		read    func(FS) error
	}{
		"segment": {SegmentName(0), old((&SegmentHeader{BaseLSN: 1}).Append(nil), 60, 60), func(m FS) error { _, err := NewReader(m, 0); return err }},
		"index": {IndexName(goldenIndex.Index, goldenIndex.Base), old(goldenIndex.Append(nil), 44, 44), func(m FS) error {
			_, _, err := ReadIndex(m, goldenIndex.Index)
			return err
		}},
		"index checkpoint": {IndexCheckpointName, old(goldenCkpt.Append(nil), 0, 0), func(m FS) error { _, err := ReadIndexCheckpoint(m); return err }},
		"marker":           {MarkerName, []byte("TriMQ data directory, format 1\n"), func(m FS) error { return CheckMarker(m.(memFS)[MarkerName]) }},
	} {
		m := memFS{c.file: c.content}
		if err := c.read(m); !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), "unreleased build of format 1: start with an empty one") {
			t.Errorf("%s: %v", name, err)
		}
		if name == "marker" {
			continue
		}
		c.content[20] ^= 1
		if err := c.read(m); errors.Is(err, ErrVersion) {
			t.Errorf("a damaged %s: %v", name, err)
		}
	}
	if err := CheckMarker([]byte(MarkerText)); err != nil {
		t.Error(err)
	}
	if err := CheckMarker([]byte("TriMQ data directory, format 6\n")); !errors.Is(err, ErrVersion) {
		t.Error(err)
	}
}

func TestNames(t *testing.T) {
	for _, v := range []uint64{0, 1, 1<<63 + 5, ^uint64(0)} {
		if p, ok := ParseSegmentName(filepath.Base(SegmentName(v))); !ok || p != v {
			t.Errorf("segment %d: %d", v, p)
		}
		if p, ok := ParseIndexDir(filepath.Base(IndexPath(v))); !ok || p != v {
			t.Errorf("index %d: %d", v, p)
		}
		if p, ok := ParseIndexName(filepath.Base(IndexName(1, v))); !ok || p != v {
			t.Errorf("index file %d: %d", v, p)
		}
		if p, ok := ParseCheckpointName(filepath.Base(CheckpointName(v))); !ok || p != v {
			t.Errorf("checkpoint %d: %d", v, p)
		}
	}
	for _, name := range []string{"", ".log", "1.log", "-0000000000000000001.log", "99999999999999999999.log", "0000000000000000000x.log", "00000000000000000001.log.tmp"} {
		if p, ok := ParseSegmentName(name); ok {
			t.Errorf("%q is segment %d", name, p)
		}
	}
	if _, ok := ParseIndexDir("000000000000000A"); ok {
		t.Error("upper case names an index twice")
	}
}
