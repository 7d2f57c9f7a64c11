package commitlog

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// The next entry behind a lost head is looked for inside the lost entry's bodies, too, which
// clients have made. Nothing in there may be taken for an entry.

// forger builds a log of one segment whose entry of LSN 4 has a body that is made to deceive.
type forger struct {
	h     SegmentHeader
	b     []byte
	heads []int // where the entries begin in b
}

func newForger() *forger {
	h := SegmentHeader{BaseLSN: 1, Capacity: 1 << 30, Salt: 0x0123456789abcdef}
	return &forger{h: h, b: h.Append(nil)}
}

// position is the log position of the next byte.
func (f *forger) position() uint64 { return uint64(len(f.b) - SegmentHeaderSize) }

// batchOf is a batch that bears content as it is, from byte 64 on.
func batchOf(lsn uint64, content []byte) ([]byte, journal.Body) {
	b := append(make([]byte, 64), content...)
	b[16] = 2
	crc := crc32c(b[21:])
	b[17], b[18], b[19], b[20] = byte(crc>>24), byte(crc>>16), byte(crc>>8), byte(crc)
	body := journal.Body{Length: uint32(len(b)), CRC: crc, Base: lsn * 10, Epoch: 1}
	prefix := body.Prefix()
	copy(b, prefix[:])
	return b, body
}

// appendEntry appends an entry with one body. It claims that all before it is on the disk.
func appendEntry(dst []byte, lsn, salt uint64, content []byte) []byte {
	b, body := batchOf(lsn, content)
	e := journal.Entry{LSN: lsn, Term: 1, Level: ipc.LevelDisk, Bodies: []journal.Body{body}}
	dst = append(e.AppendDisk(dst, lsn-1, salt), b...)
	return append(dst, make([]byte, -len(b)&7)...)
}

func (f *forger) add(lsn uint64, content []byte) {
	f.heads = append(f.heads, len(f.b))
	f.b = appendEntry(f.b, lsn, f.h.EntrySalt(f.position()), content)
}

// inBody is the log position of a content's first byte in the next entry.
func (f *forger) inBody() uint64 {
	e := journal.Entry{Bodies: make([]journal.Body, 1)}
	return f.position() + uint64(e.HeadSize()) + 64
}

// forgedEntries are entries of the LSNs that come next, whose checks fit under a salt that
// depends on the place.
func (f *forger) forgedEntries(salt func(position uint64) uint64) []byte {
	var b []byte
	at := f.inBody()
	for lsn := uint64(5); lsn < 9; lsn++ {
		b = appendEntry(b, lsn, salt(at+uint64(len(b))), nil)
	}
	return b
}

func TestForgedEntries(t *testing.T) {
	other := newForger()
	for lsn := range uint64(20) {
		other.add(lsn+1, nil)
	}
	for name, c := range map[string]struct {
		content func(f *forger) []byte
		taken   bool
	}{
		"without a salt":      {content: func(f *forger) []byte { return f.forgedEntries(func(uint64) uint64 { return 0 }) }},
		"salted by the place": {content: func(f *forger) []byte { return f.forgedEntries(func(p uint64) uint64 { return p }) }},
		"half of the salt": {content: func(f *forger) []byte {
			return f.forgedEntries(func(p uint64) uint64 { return f.h.EntrySalt(p) & 0xffffffff })
		}},
		"this very segment":            {content: func(f *forger) []byte { return f.b }},
		"its entries":                  {content: func(f *forger) []byte { return f.b[SegmentHeaderSize:] }},
		"another segment of this salt": {content: func(*forger) []byte { return other.b }},
		// It is the salt and nothing else that keeps them out.
		"with the salt": {content: func(f *forger) []byte { return f.forgedEntries(f.h.EntrySalt) }, taken: true},
	} {
		f := newForger()
		for lsn := range uint64(3) {
			f.add(lsn+1, nil)
		}
		f.add(4, c.content(f))
		f.add(5, []byte("the next one"))
		f.add(6, nil)
		lost := f.heads[3]
		clear(f.b[lost : lost+journal.DiskHeaderSize])
		m := memFS{SegmentName(0): f.b}
		lsns, damages := readAll(t, m, 0)
		next := uint64(f.heads[4] - SegmentHeaderSize)
		whole := slices.Equal(lsns, []uint64{1, 2, 3, 5, 6}) && len(damages) == 1 && damages[0].End == next && damages[0].Proven
		if whole == c.taken {
			t.Errorf("%s: entries %d, damages %v", name, lsns, damages)
		}
		// Whatever LSN is looked for.
		seg := SegmentFile{Name: "x", End: f.position(), Size: int64(len(f.b)), Header: f.h, Salted: true}
		p, lsn, ok, err := NewScanner(&countingFile{b: f.b}, seg).FindNext(uint64(lost-SegmentHeaderSize), 0)
		if found := ok && lsn == 5 && p.Position == next; err != nil || found == c.taken {
			t.Errorf("%s: found lsn %d at %+v, %v, %v", name, lsn, p, ok, err)
		}
	}
}

// TestFindNextHashesOnce: what looks like an entry's header with lengths that reach far is not
// checked over those lengths. Bytes looked at and hashed grow with the segment, not with its square.
func TestFindNextHashesOnce(t *testing.T) {
	const size = 1 << 20
	forged := make([]byte, 0, size)
	for len(forged)+journal.DiskHeaderSize <= size {
		e := journal.Entry{LSN: 5}
		at := len(forged)
		forged = e.AppendDisk(forged, 4, uint64(at))
		le.PutUint32(forged[at+12:], uint32(size-at)&^7)
	}
	for name, content := range map[string][]byte{
		"far reaching heads": forged,
		"magics":             bytes.Repeat([]byte(journal.DiskMagic+"\x00\x00\x00\x00"), size/Alignment),
		"heads with magics":  append(bytes.Clone(forged[:journal.DiskHeaderSize]), bytes.Repeat([]byte(journal.DiskMagic+"\x01\x00\x00\x00"), size/Alignment)...),
	} {
		f := newForger()
		f.add(4, content)
		f.add(5, nil)
		clear(f.b[f.heads[0] : f.heads[0]+journal.DiskHeaderSize])
		file := &countingFile{b: f.b}
		sc := NewScanner(file, SegmentFile{Name: "x", End: f.position(), Size: int64(len(f.b)), Header: f.h, Salted: true})
		p, lsn, ok, err := sc.FindNext(0, 0)
		if err != nil || !ok || lsn != 5 || p.Offset != int64(f.heads[1]) {
			t.Errorf("%s: lsn %d at %+v, %v, %v", name, lsn, p, ok, err)
		}
		// A header at each aligned place is the worst that can be.
		if worst := int64(len(f.b)) * journal.DiskHeaderSize / Alignment; sc.hashed > worst || sc.hashed == 0 || file.read > 4*size {
			t.Errorf("%s: hashed %d bytes and read %d, of %d", name, sc.hashed, file.read, len(f.b))
		}
	}
}

// TestLostSalt: a segment with a damaged header can be read where the index checkpoint knows its
// salt. Otherwise what it held is reported as damage; nothing in it counts as an entry.
func TestLostSalt(t *testing.T) {
	whole := sampleLog(4)
	second := SegmentName(uint64(len(whole[SegmentName(0)]) - SegmentHeaderSize))
	position, _ := ParseSegmentName(second[len(LogDir)+1:])
	harmed := func(name string) memFS {
		m := sampleLog(4)
		m[name][17] ^= 1
		return m
	}
	if lsns, d := readAll(t, harmed(SegmentName(0)), 0); !slices.Equal(lsns, []uint64{5, 6, 7, 8}) || len(d) != 1 {
		t.Errorf("the first header is damaged: %d, %v", lsns, d)
	}
	m := harmed(second)
	if lsns, _ := readAll(t, m, 0); !slices.Equal(lsns, []uint64{1, 2, 3, 4}) {
		t.Errorf("the second header is damaged: %d", lsns)
	}
	var said []Finding
	if sum, err := Verify(m, func(f Finding) { said = append(said, f) }); err != nil || sum.Errors == 0 {
		t.Errorf("%v, %+v", err, said)
	}
	h, err := DecodeSegmentHeader(whole[second])
	if err != nil {
		t.Fatal(err)
	}
	c := IndexCheckpoint{Segments: []SegmentState{{Position: 0, Salt: 1}, {Position: position, Salt: h.Salt}}}
	m[IndexCheckpointName] = c.Append(nil)
	if lsns, d := readAll(t, m, 0); len(lsns) != 8 || len(d) > 0 {
		t.Errorf("with the index checkpoint: %d, %v", lsns, d)
	}
	m[IndexCheckpointName][20] ^= 1 // damaged too
	if lsns, _ := readAll(t, m, 0); len(lsns) != 4 {
		t.Errorf("with a damaged index checkpoint: %d", lsns)
	}
	if _, err := NewReader(unreadable{m}, 0); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("an index checkpoint that cannot be read: %v", err)
	}
}

// unreadable is a directory whose index checkpoint cannot be read.
type unreadable struct{ memFS }

func (u unreadable) Open(name string) (File, error) {
	if name == IndexCheckpointName {
		return nil, io.ErrNoProgress
	}
	return u.memFS.Open(name)
}
