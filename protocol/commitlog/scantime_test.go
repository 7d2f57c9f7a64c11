package commitlog

import (
	"bytes"
	"io"
	"testing"

	"github.com/trimq/trimq/protocol/journal"
)

// countingFile counts the bytes that are read of it.
type countingFile struct {
	b    []byte
	read int64
}

func (f *countingFile) ReadAt(p []byte, off int64) (int, error) {
	n := copy(p, f.b[min(off, int64(len(f.b))):])
	f.read += int64(n)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
func (f *countingFile) Size() (int64, error) { return int64(len(f.b)), nil }
func (f *countingFile) Close() error         { return nil }

// TestFindNextReadsOnce: a message may be made of what entries begin with. Looking through it for
// the next entry must not read it again at each of them.
func TestFindNextReadsOnce(t *testing.T) {
	const size = 1 << 20
	magic := []byte(journal.DiskMagic)
	for len(magic) < Alignment {
		magic = append(magic, 0)
	}
	f := &countingFile{b: append(make([]byte, SegmentHeaderSize), bytes.Repeat(magic[:Alignment], size/Alignment)...)}
	_, _, ok, err := NewScanner(f, SegmentFile{Name: "x", End: size, Size: int64(len(f.b)), Salted: true}).FindNext(0, 0)
	if ok || err != nil {
		t.Fatalf("%v, %v", ok, err)
	}
	if f.read > 4*size {
		t.Fatalf("read %d bytes of %d", f.read, size)
	}
}
