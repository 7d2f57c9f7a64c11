package commitlog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/trimq/trimq/protocol/invariant"
	"golang.org/x/sys/unix"
)

// Span is a range of a segment's file that holds whole batches.
type Span struct {
	Seg     *Segment
	Off     int64 // in the file
	Len     int
	Base    uint64 // offset that the first record of the first batch has, or would have (Entry.Base)
	End     uint64 // offset behind the last record
	Note    uint64 // log position of the first batch's note; 0: it has none. See View.Note
	Skip    uint32 // records of a partial batch that come before the first one
	Count   uint32 // records that are in the index
	Shift   uint32 // by how much Base lies above where the batch's first record is: see Dense
	Rebase  bool   // one batch whose bytes 0–7 a reader replaces by Base (big endian)
	Partial bool   // one batch that has other records too, which are no business of this index's readers
	Sparse  bool   // one batch that has fewer records than Count: it tells by itself which
}

// First is the offset of the first record.
func (s *Span) First() uint64 { return s.Base + uint64(s.Skip) }

// Position is the log position of the first batch.
func (s *Span) Position() uint64 { return s.Seg.position + uint64(s.Off-s.Seg.head) }

// Stored is the offset that the batch's first record has, or would have, where the span shows part of a
// sparse batch (Dense); elsewhere it is Base.
func (s *Span) Stored() uint64 { return s.Base - uint64(s.Shift) }

// Dense is the part of a sparse span that has count records at [offset, offset+count), the first of which
// is the batch's record of that number: a partial span, as far as its readers are concerned.
func (s *Span) Dense(offset uint64, record, count uint32) Span {
	d := *s
	d.Sparse, d.Partial = false, true
	d.Base, d.Skip, d.Count, d.End = offset-uint64(record), record, count, offset+uint64(count)
	d.Shift = uint32(d.Base - s.Base)
	return d
}

// NoteOffset is where the note lies in the span's own file; false: it lies in another one, or there
// is none. No later segment has taken over what lies in front of the batch.
func (s *Span) NoteOffset() (off int64, ok bool) {
	off = s.Seg.offset(s.Note)
	return off, s.Note != 0 && s.Note >= s.Seg.position && off < s.Off
}

// Segment is an open segment of the log, or a pack, mapped when its bytes are first asked for. It stays
// open, even after its file is deleted, until every Retain has had its Release.
type Segment struct {
	position uint64
	head     int64 // bytes of the file before that position
	file     *os.File
	fd       int
	inode    uint64
	capacity int64        // bytes that are mapped at once
	misnamed bool         // its header is that of another segment: it holds nothing that is looked for here
	size     atomic.Int64 // when it was looked at last
	held     atomic.Int64 // offset in the file up to which it is known to hold the log, for good
	refs     atomic.Int64

	once   sync.Once
	mapped []byte
	mapErr error
}

// openSegment opens a file, or returns known if that is still the same file. nil: it has gone, or is not begun.
func openSegment(root string, f listed, known *Segment) (*Segment, error) {
	path := filepath.Join(root, filepath.FromSlash(f.name))
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open segment: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		file.Close()
		return nil, fmt.Errorf("open segment %s: %w", path, err)
	}
	if known != nil && known.inode == st.Ino {
		file.Close()
		return known, nil
	}
	s := &Segment{position: f.position, head: f.head, file: file, fd: int(file.Fd()), inode: st.Ino, capacity: st.Size}
	if f.position >= PackPosition {
		return s.openPack(), nil
	}
	// The file may be another one than the one that was listed.
	var b [SegmentHeaderSize]byte
	_, _ = file.ReadAt(b[:], 0) // what cannot be read does not decode
	h, err := DecodeSegmentHeader(b[:])
	if err != nil && st.Size <= SegmentHeaderSize {
		file.Close()
		return nil, nil // just being made
	}
	s.misnamed = err == nil && h.Position != f.position
	if err == nil && h.Capacity < maxSegmentMap {
		s.capacity = max(st.Size, int64(h.Capacity))
	}
	s.size.Store(st.Size)
	s.refs.Store(1)
	return s, nil
}

// openPack is openSegment for a pack, which is whole from the moment that it has its name.
func (s *Segment) openPack() *Segment {
	var b [PackHeaderSize]byte
	_, _ = s.file.ReadAt(b[:], 0) // what cannot be read does not decode
	h, err := DecodePackHeader(b[:])
	s.misnamed = err == nil && h.Position != s.position
	s.size.Store(s.capacity)
	s.held.Store(s.capacity)
	s.refs.Store(1)
	return s
}

// AdoptSegment is a segment that another program has left open in this process, for ranges of its
// file that wait to be sent; the caller calls Release. No View knows it.
func AdoptSegment(fd int) (*Segment, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("adopt segment: descriptor %d: %w", fd, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size > maxSegmentMap {
		return nil, fmt.Errorf("adopt segment: descriptor %d is not that of one", fd)
	}
	s := &Segment{file: os.NewFile(uintptr(fd), "segment"), fd: fd, inode: st.Ino, capacity: st.Size}
	s.size.Store(st.Size)
	s.refs.Store(1)
	return s, nil
}

// maxSegmentMap bounds what a damaged header can make a reader map.
const maxSegmentMap = 1 << 37

// holds says whether the file has n bytes from a log position on.
func (s *Segment) holds(position uint64, n int) bool { return s.holdsAt(s.offset(position), n) }

// holdsAt is holds for an offset in the file. The size that the file had a while ago says nothing of what
// an index leads to since: the file of the last segment runs ahead of the log, and after a failed sync the
// log may go on in another one; this one was made shorter before.
func (s *Segment) holdsAt(off int64, n int) bool {
	end := off + int64(n)
	if s.misnamed {
		return false
	}
	if end <= s.held.Load() {
		return true
	}
	var st unix.Stat_t
	if err := unix.Fstat(s.fd, &st); err != nil {
		return false
	}
	s.size.Store(st.Size)
	if end > st.Size {
		return false
	}
	s.held.Store(end)
	return true
}

func (s *Segment) offset(position uint64) int64 {
	return s.head + int64(position-s.position)
}

// readAt copies what the file has from an offset on into b, at most all of it. Unlike Bytes it
// makes an error of a page that the disk cannot read.
func (s *Segment) readAt(b []byte, off int64) (int, error) {
	n, err := s.file.ReadAt(b, off)
	if err == io.EOF {
		err = nil
	}
	return n, err
}

// Fd is for sendfile. It is good while the segment is retained.
func (s *Segment) Fd() int { return s.fd }

// Bytes is a range of the file, mapped: of a Span, or a part of one. nil if the kernel does
// not map the file; sendfile may still work. A page that the disk cannot read is a fault.
func (s *Segment) Bytes(off int64, n int) []byte {
	s.once.Do(func() { s.mapErr = mapSegment(s) })
	if s.mapErr != nil || off < 0 || n < 0 || off+int64(n) > s.size.Load() || off+int64(n) > int64(len(s.mapped)) {
		return nil
	}
	touch(n)
	return s.mapped[off : off+int64(n) : off+int64(n)]
}

// Retain keeps the segment open until Release. REQUIRES: it is retained already.
func (s *Segment) Retain() {
	n := s.refs.Add(1)
	invariant.Check(n > 1, "segment %d retained after its end", s.position)
}

// Release ends a Retain. The last one ends the segment, beside the caller: to close a file that was
// deleted meanwhile is to give its blocks back, which can take a tenth of a second, and callers are
// event loops.
func (s *Segment) Release() {
	n := s.refs.Add(-1)
	invariant.Check(n >= 0, "segment %d released too often", s.position)
	if n == 0 {
		go s.end()
	}
}

// ending lets one segment end at a time, so that a hundred that are deleted together need no thread each.
var ending sync.Mutex

// end unmaps and closes.
func (s *Segment) end() {
	ending.Lock()
	defer ending.Unlock()
	if s.mapped != nil {
		unmapSegment(s)
	}
	s.file.Close()
}
