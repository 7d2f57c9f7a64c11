package commitlog

import (
	"bytes"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// memFS is a directory in memory.
type memFS map[string][]byte

func (m memFS) Open(name string) (File, error) {
	b, ok := m[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return memFile{bytes.NewReader(b)}, nil
}

func (m memFS) List(dir string) ([]string, error) {
	var names []string
	for name := range m {
		rest, ok := strings.CutPrefix(name, dir+"/")
		if dir == "" {
			rest, ok = name, true
		}
		if first, _, _ := strings.Cut(rest, "/"); ok && !slices.Contains(names, first) {
			names = append(names, first)
		}
	}
	if len(names) == 0 {
		return nil, &fs.PathError{Op: "list", Path: dir, Err: fs.ErrNotExist}
	}
	slices.Sort(names)
	return names, nil
}

type memFile struct{ *bytes.Reader }

func (f memFile) Size() (int64, error) { return f.Reader.Size(), nil }
func (f memFile) Close() error         { return nil }

// batch61 is an empty batch whose checksum is right.
func batch61() (b []byte, body journal.Body) {
	b = make([]byte, 61)
	b[16] = 2
	crc := crc32c(b[21:])
	b[17], b[18], b[19], b[20] = byte(crc>>24), byte(crc>>16), byte(crc>>8), byte(crc)
	return b, journal.Body{Length: 61, CRC: crc, Base: 0, Epoch: 1}
}

// sampleLog is a log of two segments with n entries each, every one with a note and a body, and
// a reference to the middle of the body of the entry before.
func sampleLog(n int) memFS {
	m := memFS{}
	position, lsn, before := uint64(0), uint64(1), uint64(0)
	for range 2 {
		h := SegmentHeader{Position: position, BaseLSN: lsn, Capacity: 1 << 20, Salt: 0xfeedfacecafebeef * lsn}
		b := h.Append(nil)
		for range n {
			raw, body := batch61()
			body.Base, body.Note = lsn*10, journal.NoteAt(0)
			e := journal.Entry{
				LSN: lsn, Term: 1, Level: ipc.LevelDisk, Bodies: []journal.Body{body},
				Events: journal.AppendNote(nil, journal.EvRouted, lsn, []byte("to many")),
				Items:  []journal.IndexItem{{Index: 1, Base: lsn * 10, Count: 10, MaxTimeMS: int64(lsn)}},
				Refs: []journal.Ref{{
					Index: 2, Base: lsn, Source: 1, SourceOffset: lsn*10 - 7, Count: 1,
					Flags: journal.RefPartial | journal.RefRebase, Position: before, Length: 61, Skip: 3,
				}},
			}
			if before == 0 {
				e.Refs[0].Flags, e.Refs[0].Length, e.Refs[0].Skip = journal.RefDamaged, 0, 0
			}
			at := position + uint64(len(b)-SegmentHeaderSize)
			before = at + e.BodyOffset(0)
			b = e.AppendDisk(b, lsn-1, h.EntrySalt(at))
			prefix := body.Prefix()
			b = append(append(b, prefix[:]...), raw[16:]...)
			b = append(b, 0, 0, 0)
			lsn++
		}
		m[SegmentName(position)] = b
		position += uint64(len(b) - SegmentHeaderSize)
	}
	return m
}

// readAll reads a log to its end, and says which LSNs came.
func readAll(t testing.TB, fsys FS, from uint64) (lsns []uint64, damages []*Damage) {
	r, err := NewReader(fsys, from)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	r.VerifyBodies(true)
	for {
		e, _, err := r.Next()
		var d *Damage
		switch {
		case err == io.EOF:
			return lsns, damages
		case errors.As(err, &d):
			damages = append(damages, d)
		case err != nil:
			t.Fatal(err)
		default:
			lsns = append(lsns, e.LSN)
		}
		if len(lsns)+len(damages) > 1000 {
			t.Fatal("the reader comes to no end")
		}
	}
}

func TestReader(t *testing.T) {
	m := sampleLog(5)
	if lsns, d := readAll(t, m, 0); !slices.Equal(lsns, []uint64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}) || len(d) > 0 {
		t.Fatal(lsns, d)
	}
	for from := uint64(1); from <= 11; from++ {
		if lsns, _ := readAll(t, m, from); len(lsns) != int(11-from) || len(lsns) > 0 && lsns[0] != from {
			t.Fatal(from, lsns)
		}
	}
	if lsns, d := readAll(t, memFS{}, 0); lsns != nil || d != nil {
		t.Fatal("an empty directory has entries")
	}
	// A segment ends where the next one begins, though its file goes on.
	first := SegmentName(0)
	m[first] = append(bytes.Clone(m[first]), m[first][SegmentHeaderSize:]...)
	if lsns, d := readAll(t, m, 0); len(lsns) != 10 || len(d) > 0 {
		t.Fatal(lsns, d)
	}
	m["commitlog/notes"] = nil
	if _, err := NewReader(m, 0); err == nil || !strings.Contains(err.Error(), "commitlog/notes") {
		t.Fatal(err)
	}
}

// TestReaderBytes changes each byte of a log in turn. The reader names the damage, loses at
// most the one entry, and goes on; a damaged end is the end.
func TestReaderBytes(t *testing.T) {
	for name, whole := range sampleLog(4) {
		for i := SegmentHeaderSize; i < len(whole); i++ {
			m := sampleLog(4)
			m[name] = bytes.Clone(whole)
			m[name][i] ^= 0x41
			lsns, damages := readAll(t, m, 0)
			lost := 8 - len(lsns)
			pad := i%((len(whole)-SegmentHeaderSize)/4) >= (len(whole)-SegmentHeaderSize)/4+SegmentHeaderSize
			if lost > 1 || lost == 1 && len(damages) == 0 && lsns[len(lsns)-1] != 7 || pad {
				t.Fatalf("%s byte %d: %v %v", name, i, lsns, damages)
			}
		}
	}
}

func TestReaderGap(t *testing.T) {
	m := sampleLog(3)
	third := sampleLog(9)
	last := third[SegmentName(uint64(len(third[SegmentName(0)])-SegmentHeaderSize))] // LSN 10 to 18
	h, err := DecodeSegmentHeader(last)
	if err != nil {
		t.Fatal(err)
	}
	m[SegmentName(h.Position)] = last
	lsns, d := readAll(t, m, 0)
	if len(lsns) != 15 || len(d) != 1 || !d[0].Removed || d[0].LSN != 7 || d[0].NextLSN != 10 {
		t.Fatal(lsns, d)
	}
}

// FuzzReader reads arbitrary bytes as a segment: no panic, no endless loop, no memory beyond
// what the bytes bear out.
func FuzzReader(f *testing.F) {
	m := sampleLog(3)
	f.Add(m[SegmentName(0)])
	f.Add(m[SegmentName(0)][:200])
	f.Fuzz(func(t *testing.T, b []byte) {
		m := memFS{SegmentName(0): b}
		if _, err := ListSegments(m); errors.Is(err, ErrVersion) {
			return
		}
		readAll(t, m, 0)
		readStrictly(t, m)
		if _, err := Verify(m, func(Finding) {}); err != nil {
			t.Fatal(err)
		}
		if err := Dump(m, io.Discard, DumpOptions{Events: true, Items: true}); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzIndexFile reads arbitrary bytes as a segment of an index.
func FuzzIndexFile(f *testing.F) {
	b := goldenIndex.Append(nil)
	f.Add(goldenEntry.Append(b))
	f.Fuzz(func(t *testing.T, b []byte) {
		m := memFS{IndexName(goldenIndex.Index, goldenIndex.Base): b}
		_, entries, used, err := ReadIndexFile(m, goldenIndex.Index, goldenIndex.Base)
		if err == nil && (len(entries) > used || used > len(b)/IndexEntrySize) {
			t.Fatalf("%d entries in %d slots of %d bytes", len(entries), used, len(b))
		}
		for i, e := range entries {
			if again := e.Append(nil); !bytes.Equal(again, b[IndexHeaderSize+i*IndexEntrySize:][:IndexEntrySize]) {
				t.Fatalf("entry %d does not encode to the same bytes", i)
			}
		}
	})
}

// FuzzIndexCheckpoint decodes arbitrary bytes; what decodes encodes to the same bytes.
func FuzzIndexCheckpoint(f *testing.F) {
	f.Add(goldenCkpt.Append(nil))
	f.Add((&IndexCheckpoint{}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := DecodeIndexCheckpoint(b)
		if err == nil && !bytes.Equal(c.Append(nil), b) {
			t.Fatalf("%+v encodes to other bytes", c)
		}
		// The same with a right checksum, so that the counts are reached.
		if len(b) >= indexCheckpointHeader {
			b = bytes.Clone(b)
			le.PutUint32(b[12:], crc32c(b[16:]))
			if c, err := DecodeIndexCheckpoint(b); err == nil && !bytes.Equal(c.Append(nil), b) {
				t.Fatalf("%+v encodes to other bytes", c)
			}
		}
	})
}

// FuzzHeaders decodes arbitrary bytes as headers.
func FuzzHeaders(f *testing.F) {
	f.Add(goldenSegment.Append(nil))
	f.Add(goldenIndex.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := DecodeSegmentHeader(b); err == nil {
			if got := h.Append(nil); !bytes.Equal(got[:56], b[:56]) {
				t.Fatalf("%+v", h)
			}
		}
		if h, err := DecodeIndexHeader(b); err == nil && (h.Slots == 0 || h.Slots > maxSlots) {
			t.Fatalf("%+v", h)
		}
		if e, ok := DecodeEntry(b); ok && !bytes.Equal(e.Append(nil), b[:IndexEntrySize]) {
			t.Fatalf("%+v", e)
		}
	})
}

func crc32c(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }
