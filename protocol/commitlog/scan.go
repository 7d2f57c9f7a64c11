package commitlog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/trimq/trimq/protocol/journal"
)

const (
	// scanChunk is what a scanner reads at least.
	scanChunk = 256 << 10
	// headChunk is the same where bodies are passed over: most heads are smaller.
	headChunk = 4 << 10
	// passOver is how long bodies must be to be worth a read of its own for each head.
	passOver = 4 * headChunk
)

// BadEntry says that no whole entry begins at a place.
type BadEntry struct {
	Segment  string
	Position uint64
	Why      error
	// Blank is true where from there on the segment is zero: nothing has been written, as far as can be
	// known, and the file only ran ahead of the log.
	Blank bool
	// Known is true where the head is whole and only a body fails its check: the entry that
	// came with the error can be used but for its bodies.
	Known bool
}

func (e *BadEntry) Error() string {
	return fmt.Sprintf("segment %s, position %d: %v", e.Segment, e.Position, e.Why)
}

func (e *BadEntry) Unwrap() error { return e.Why }

// Scanner reads entries of one segment at given places, and finds the next valid one behind
// damage. Persistsrv's recovery, Reader and Verify stand on it.
type Scanner struct {
	f      File
	seg    SegmentFile
	end    int64 // file offset behind the last byte that belongs to the segment
	buf    []byte
	bufOff int64
	entry  journal.Entry
	probe  journal.Entry
	hashed int64 // bytes that checksums were made of
	last   Place // of the entry that At returned last
	Bodies bool  // check bodies too
	Heads  bool  // read little more than the heads, where bodies are long
}

// NewScanner scans an open segment; f stays the caller's.
func NewScanner(f File, seg SegmentFile) *Scanner {
	return &Scanner{f: f, seg: seg, end: SegmentHeaderSize + int64(seg.End-seg.Position)}
}

// Extend tells the scanner that the segment has grown.
func (s *Scanner) Extend(end uint64) {
	s.end = SegmentHeaderSize + int64(end-s.seg.Position)
	s.buf = s.buf[:0]
}

func (s *Scanner) offset(position uint64) int64 {
	return SegmentHeaderSize + int64(position-s.seg.Position)
}

func (s *Scanner) position(off int64) uint64 {
	return s.seg.Position + uint64(off-SegmentHeaderSize)
}

// view returns n bytes of the file; errShort where the segment ends before. They are good
// until the next call.
func (s *Scanner) view(off int64, n int) ([]byte, error) {
	if off < 0 || int64(n) > s.end-off {
		return nil, errShort
	}
	if at := off - s.bufOff; at >= 0 && at+int64(n) <= int64(len(s.buf)) {
		return s.buf[at : at+int64(n)], nil
	}
	want := int(min(int64(max(n, s.chunk())), s.end-off))
	if cap(s.buf) < want {
		s.buf = make([]byte, want)
	}
	s.buf = s.buf[:want]
	m, err := s.f.ReadAt(s.buf, off)
	s.buf, s.bufOff = s.buf[:m], off
	if m < n {
		if err == io.EOF || err == nil {
			return nil, errShort
		}
		return nil, fmt.Errorf("read segment %s at position %d: %w", s.seg.Name, s.position(off), err)
	}
	return s.buf[:n], nil
}

// chunk is how many bytes are worth reading at once. Where bodies are passed over, the next head
// is expected to be as long as the last one.
func (s *Scanner) chunk() int {
	if !s.Heads || s.last.Length-s.last.HeadLen < passOver {
		return scanChunk
	}
	return min(max(headChunk, s.last.HeadLen), scanChunk)
}

var (
	errShort    = errors.New("entry goes beyond the end of the segment")
	errUnsalted = errors.New("the segment's header is damaged, and with it the salt by which its entries are told from other bytes")
)

// At reads the entry at a position. io.EOF where the segment ends, *BadEntry where there is
// no whole entry; other errors come from the file system. The entry is good until the next call.
func (s *Scanner) At(position uint64) (*journal.Entry, Place, error) {
	off := s.offset(position)
	if off == s.end {
		return nil, Place{}, io.EOF
	}
	p, err := s.head(&s.entry, off)
	if err != nil {
		return nil, p, s.blank(off, s.bad(position, err))
	}
	if s.Bodies {
		if err := s.checkBodies(&s.entry, off); err != nil {
			bad := s.bad(position, err)
			if b, ok := bad.(*BadEntry); ok {
				b.Known = true
				return &s.entry, p, b
			}
			return nil, p, bad
		}
		// Bodies may have taken the buffer that the events point into.
		if _, err := s.head(&s.entry, off); err != nil {
			return nil, p, s.bad(position, err)
		}
	}
	s.last = p
	return &s.entry, p, nil
}

// head decodes the entry's head at a file offset.
func (s *Scanner) head(e *journal.Entry, off int64) (Place, error) {
	p := Place{Segment: s.seg.Name, Position: s.position(off), Offset: off}
	b, err := s.view(off, journal.DiskHeaderSize)
	if err != nil {
		return p, err
	}
	if !s.seg.Salted {
		return p, errUnsalted
	}
	salt := s.seg.Header.EntrySalt(p.Position)
	s.hashed += journal.DiskHeaderSize
	head, total, _, err := journal.PeekDisk(b, salt)
	if err != nil {
		return p, err
	}
	if int64(total) > s.end-off {
		return p, errShort
	}
	if b, err = s.view(off, head); err != nil {
		return p, err
	}
	s.hashed += int64(head)
	synced, head, total, err := e.DecodeDisk(b, salt)
	if err != nil {
		return p, err
	}
	p.HeadLen, p.Length, p.Synced = head, total, synced
	return p, nil
}

func (s *Scanner) checkBodies(e *journal.Entry, off int64) error {
	at := off + int64(e.HeadSize())
	for i := range e.Bodies {
		b, err := s.view(at, int(e.Bodies[i].Length))
		if err != nil {
			return fmt.Errorf("body %d: %w", i, err)
		}
		s.hashed += int64(len(b))
		if err := e.Bodies[i].Verify(b); err != nil {
			return fmt.Errorf("body %d: %w", i, err)
		}
		at += int64(e.Bodies[i].Length)
	}
	return nil
}

// BrokenBodies says which bodies of an entry whose head is whole fail their check.
func (s *Scanner) BrokenBodies(e *journal.Entry, position uint64) []bool {
	broken := make([]bool, len(e.Bodies))
	at := s.offset(position) + int64(e.HeadSize())
	for i := range e.Bodies {
		b, err := s.view(at, int(e.Bodies[i].Length))
		broken[i] = err != nil || e.Bodies[i].Verify(b) != nil
		at += int64(e.Bodies[i].Length)
	}
	return broken
}

// blank looks whether what is bad is only that nothing has been written from off on.
func (s *Scanner) blank(off int64, err error) error {
	if bad, ok := err.(*BadEntry); ok {
		if bad.Blank, err = s.blankFrom(off); err == nil {
			err = bad
		}
	}
	return err
}

// blankFrom says whether the segment goes on at off, and with zero only.
func (s *Scanner) blankFrom(off int64) (bool, error) {
	if off >= s.end {
		return false, nil
	}
	for off < s.end {
		b, err := s.view(off, int(min(scanChunk, s.end-off)))
		if errors.Is(err, errShort) {
			return true, nil // cut off meanwhile
		}
		if err != nil {
			return false, err
		}
		if slices.ContainsFunc(b, func(c byte) bool { return c != 0 }) {
			return false, nil
		}
		off += int64(len(b))
	}
	return true, nil
}

// bad sorts an error: formats make a *BadEntry, the file system's own pass.
func (s *Scanner) bad(position uint64, err error) error {
	for _, known := range []error{
		errShort, errUnsalted, journal.ErrEntry, journal.ErrShort, journal.ErrMagic,
		journal.ErrVersion, journal.ErrChecksum, journal.ErrBody,
	} {
		if errors.Is(err, known) {
			return &BadEntry{Segment: s.seg.Name, Position: position, Why: err}
		}
	}
	return err
}

// FindNext returns the place of the first entry at or behind a position whose head is whole,
// whose LSN is above afterLSN, and behind which another such entry or the segment's end
// follows. A message that looks like an entry is none: its maker does not know the segment's
// salt. Only what a salted check has proven is followed, so that the costs are linear in the
// bytes looked through, whatever they are. ok is false if there is none.
func (s *Scanner) FindNext(position, afterLSN uint64) (p Place, lsn uint64, ok bool, err error) {
	if !s.seg.Salted {
		return Place{}, 0, false, nil
	}
	for off := s.offset(position); ; off += Alignment {
		if off, ok, err = s.nextMagic(off); err != nil || !ok {
			return Place{}, 0, false, err
		}
		if p, err := s.candidate(off, afterLSN); err != nil || p.Length > 0 {
			return p, s.probe.LSN, err == nil, err
		}
	}
}

// LooksUsed says whether anything in the segment begins as an entry does. For a segment whose
// salt is lost that is all that can be known of its entries.
func (s *Scanner) LooksUsed() (bool, error) {
	_, ok, err := s.nextMagic(SegmentHeaderSize)
	return ok, err
}

// nextMagic finds the first aligned place at or behind off where an entry's magic lies.
func (s *Scanner) nextMagic(off int64) (int64, bool, error) {
	magic := []byte(journal.DiskMagic)
	off = (off + Alignment - 1) &^ (Alignment - 1)
	for off+journal.DiskHeaderSize <= s.end {
		n := int(min(scanChunk, s.end-off))
		// What is in the buffer already is not read again, however often it looks like an entry.
		if have := s.bufOff + int64(len(s.buf)) - off; off >= s.bufOff && have >= journal.DiskHeaderSize {
			n = int(min(int64(n), have))
		}
		b, err := s.view(off, n)
		if err != nil {
			return 0, false, err
		}
		i := bytes.Index(b, magic)
		switch {
		case i < 0:
			off += int64(max(Alignment, (n-len(magic))&^(Alignment-1)))
		case i%Alignment == 0:
			return off + int64(i), true, nil
		default:
			off += int64(i&^(Alignment-1)) + Alignment
		}
	}
	return 0, false, nil
}

// candidate says whether an entry begins at off, by a Place with a length.
func (s *Scanner) candidate(off int64, afterLSN uint64) (Place, error) {
	p, err := s.head(&s.probe, off)
	if err != nil || s.probe.LSN <= afterLSN {
		return Place{}, s.onlyIO(err)
	}
	if next := off + int64(p.Length); next < s.end {
		var follower journal.Entry
		if _, err := s.head(&follower, next); err != nil || follower.LSN != s.probe.LSN+1 {
			if err := s.onlyIO(err); err != nil {
				return Place{}, err
			}
			// The follower may be damaged as well; then the bodies must speak for this one.
			if s.checkBodies(&s.probe, off) != nil {
				return Place{}, nil
			}
		}
	}
	return p, nil
}

// onlyIO passes errors of the file system.
func (s *Scanner) onlyIO(err error) error {
	if err == nil {
		return nil
	}
	var b *BadEntry
	if err = s.bad(0, err); errors.As(err, &b) {
		return nil
	}
	return err
}
