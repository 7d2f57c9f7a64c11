package commitlog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
)

// SegmentFile is one segment of the log as found in the directory.
type SegmentFile struct {
	Name      string // with directory
	Position  uint64 // log position of its first byte, from the name
	Size      int64  // of the file
	End       uint64 // log position behind its last byte: where the file ends, or the next segment begins
	Header    SegmentHeader
	HeaderErr error // the header does not decode, or contradicts the name
	// Salted is false where the header is damaged and the index checkpoint does not know the
	// segment either: its entries cannot be told from other bytes. Otherwise Header.Salt is good.
	Salted bool
	Blank  bool // the header's bytes are zero or not all there: it never reached the disk
}

// ListSegments returns the log's segments in order. A directory that is not there is an
// empty log; a file that has no business there, or is of another version, is an error.
func ListSegments(fsys FS) ([]SegmentFile, error) {
	names, err := fsys.List(LogDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the log: %w", err)
	}
	var segs []SegmentFile
	for _, name := range names {
		if strings.HasSuffix(name, TmpSuffix) {
			continue
		}
		position, ok := ParseSegmentName(name)
		if !ok {
			return nil, fmt.Errorf("%s/%s is not a segment of the log: move it away", LogDir, name)
		}
		seg, err := lookAtSegment(fsys, position)
		if errors.Is(err, fs.ErrNotExist) {
			continue // dead, and removed since the directory was read
		}
		if err == nil && errors.Is(seg.HeaderErr, ErrVersion) {
			err = fmt.Errorf("%s: %w", seg.Name, seg.HeaderErr)
		}
		if err != nil {
			return nil, err
		}
		segs = append(segs, seg)
	}
	slices.SortFunc(segs, func(a, b SegmentFile) int { return compare(a.Position, b.Position) })
	for i := range segs[:max(0, len(segs)-1)] {
		segs[i].End = min(segs[i].End, segs[i+1].Position)
	}
	return segs, findSalts(fsys, segs)
}

// findSalts takes the salts of segments with a damaged header from the index checkpoint.
func findSalts(fsys FS, segs []SegmentFile) error {
	var c *IndexCheckpoint
	for i := range segs {
		s := &segs[i]
		if s.HeaderErr == nil {
			s.Salted = true
			continue
		}
		if c == nil {
			var err error
			var format *FormatError
			c, err = ReadIndexCheckpoint(fsys)
			switch {
			case errors.Is(err, fs.ErrNotExist) || errors.As(err, &format) || errors.Is(err, io.ErrUnexpectedEOF):
				c = &IndexCheckpoint{}
			case err != nil:
				return fmt.Errorf("segment %s has a damaged header: %w", s.Name, err)
			}
		}
		for k := range c.Segments {
			if c.Segments[k].Position == s.Position {
				s.Header.Salt, s.Salted = c.Segments[k].Salt, true
			}
		}
	}
	return nil
}

func compare(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func lookAtSegment(fsys FS, position uint64) (SegmentFile, error) {
	seg := SegmentFile{Name: SegmentName(position), Position: position, End: position}
	f, err := fsys.Open(seg.Name)
	if err != nil {
		return seg, fmt.Errorf("segment %s: %w", seg.Name, err)
	}
	defer f.Close()
	if seg.Size, err = f.Size(); err != nil {
		return seg, fmt.Errorf("segment %s: %w", seg.Name, err)
	}
	b := make([]byte, min(seg.Size, SegmentHeaderSize))
	if _, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
		return seg, fmt.Errorf("segment %s: %w", seg.Name, err)
	}
	seg.Blank = len(b) < SegmentHeaderSize || !slices.ContainsFunc(b, func(c byte) bool { return c != 0 })
	seg.Header, seg.HeaderErr = DecodeSegmentHeader(b)
	if seg.HeaderErr == nil && seg.Header.Position != position {
		seg.HeaderErr = formatErrorf("segment header", "position %d in a file named %d", seg.Header.Position, position)
	}
	if seg.Size > SegmentHeaderSize {
		seg.End += uint64(seg.Size - SegmentHeaderSize)
	}
	return seg, nil
}
