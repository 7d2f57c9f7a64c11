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
	segs []extent
	open File
	name string // of open
}

// extent is a file that holds positions [begin, end): a segment of the log or a pack.
type extent struct {
	name       string
	begin, end uint64
	head       int64 // bytes of the file before begin
}

// read returns a copy of n bytes from a log position on; ErrDamaged where no segment has them.
func (l *logBytes) read(position uint64, n int) ([]byte, error) {
	s, err := l.segment(position, n)
	if err != nil {
		return nil, err
	}
	if l.name != s.name {
		l.close()
		f, err := l.fs.Open(s.name)
		if err != nil {
			return nil, err
		}
		l.open, l.name = f, s.name
	}
	b := make([]byte, n)
	if m, err := l.open.ReadAt(b, s.head+int64(position-s.begin)); m < n {
		if err == nil {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("read %s at position %d: %w", s.name, position, err)
	}
	return b, nil
}

// readAgain is read for who has listed the files a while ago: where what is known does not have the bytes, there
// may be a new segment or pack.
func (l *logBytes) readAgain(position uint64, n int) ([]byte, error) {
	b, err := l.read(position, n)
	if err != nil {
		l.close()
		l.segs = nil
		b, err = l.read(position, n)
	}
	return b, err
}

// segment finds the one that holds n bytes from a log position on.
func (l *logBytes) segment(position uint64, n int) (*extent, error) {
	if l.segs == nil {
		if err := l.list(); err != nil {
			return nil, err
		}
	}
	i, found := slices.BinarySearchFunc(l.segs, position, func(s extent, p uint64) int { return compare(s.begin, p) })
	if !found {
		i--
	}
	if i < 0 || position > l.segs[i].end || uint64(n) > l.segs[i].end-position {
		return nil, fmt.Errorf("%w: no segment holds %d bytes at position %d", ErrDamaged, n, position)
	}
	return &l.segs[i], nil
}

// list looks for segments and packs.
func (l *logBytes) list() error {
	segs, err := ListSegments(l.fs)
	if err != nil {
		return err
	}
	packs, err := ListPacks(l.fs)
	if err != nil {
		return err
	}
	for i := range segs {
		l.segs = append(l.segs, extent{segs[i].Name, segs[i].Position, segs[i].End, SegmentHeaderSize})
	}
	for i := range packs {
		l.segs = append(l.segs, extent{packs[i].Name, packs[i].Position, packs[i].EndPosition(), PackHeaderSize})
	}
	return nil
}

func (l *logBytes) close() {
	if l.open != nil {
		l.open.Close()
		l.open, l.name = nil, ""
	}
}
