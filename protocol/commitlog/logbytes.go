package commitlog

import (
	"fmt"
	"io"
	"slices"
)

// logBytes reads the log at any position. Its zero value but for fs is ready; segments are looked
// for once, at the first read.
type logBytes struct {
	fs   FS
	segs []SegmentFile
	open File
	name string // of open
}

// read returns a copy of n bytes from a log position on; ErrDamaged where no segment has them.
func (l *logBytes) read(position uint64, n int) ([]byte, error) {
	s, err := l.segment(position, n)
	if err != nil {
		return nil, err
	}
	if l.name != s.Name {
		l.close()
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
func (l *logBytes) segment(position uint64, n int) (*SegmentFile, error) {
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

func (l *logBytes) close() {
	if l.open != nil {
		l.open.Close()
		l.open, l.name = nil, ""
	}
}
