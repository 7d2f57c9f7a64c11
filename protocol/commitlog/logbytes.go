package commitlog

import (
	"fmt"
	"io"
	"slices"
)

// LogBytes reads the log at any position, for tools and tests: connsrv uses a View. Segments are
// looked for once, at the first read.
type LogBytes struct {
	fs   FS
	segs []SegmentFile
	open File
	name string // of open
}

// NewLogBytes reads the log of a data directory.
func NewLogBytes(fsys FS) *LogBytes { return &LogBytes{fs: fsys} }

// Batch reads the batch that an index entry points to, with the offset that its first record has, or
// would have, in that index.
func (l *LogBytes) Batch(e Entry) ([]byte, error) {
	b, err := l.Read(e.Position, int(e.Length))
	if e.Flags&FlagRebase != 0 && len(b) >= 8 {
		putOffset(b, e.Base())
	}
	return b, err
}

// Read returns a copy of n bytes from a log position on; ErrDamaged where no segment has them.
func (l *LogBytes) Read(position uint64, n int) ([]byte, error) {
	s, err := l.segment(position, n)
	if err != nil {
		return nil, err
	}
	if l.name != s.Name {
		l.Close()
		f, err := l.fs.Open(s.Name)
		if err != nil {
			return nil, err
		}
		l.open, l.name = f, s.Name
	}
	b := make([]byte, n)
	if m, err := l.open.ReadAt(b, SegmentHeaderSize+int64(position-s.Position)); m < n {
		if err == nil {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("read segment %s at position %d: %w", s.Name, position, err)
	}
	return b, nil
}

// segment finds the one that holds n bytes from a log position on.
func (l *LogBytes) segment(position uint64, n int) (*SegmentFile, error) {
	if l.segs == nil {
		segs, err := ListSegments(l.fs)
		if err != nil {
			return nil, err
		}
		l.segs = segs
	}
	i, found := slices.BinarySearchFunc(l.segs, position, func(s SegmentFile, p uint64) int { return compare(s.Position, p) })
	if !found {
		i--
	}
	if i < 0 || position > l.segs[i].End || uint64(n) > l.segs[i].End-position {
		return nil, fmt.Errorf("%w: no segment holds %d bytes at position %d", ErrDamaged, n, position)
	}
	return &l.segs[i], nil
}

// Close closes the file that was read last.
func (l *LogBytes) Close() {
	if l.open != nil {
		l.open.Close()
		l.open, l.name = nil, ""
	}
}
