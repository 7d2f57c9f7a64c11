package commitlog

import (
	"cmp"
	"errors"
	"fmt"
	"io"

	"github.com/trimq/trimq/protocol/journal"
)

// Damage is stored bytes that fail their check, with valid ones behind them.
type Damage struct {
	Segment  string // file name
	Position uint64 // log position of the first damaged byte
	End      uint64 // log position where valid entries go on
	LSN      uint64 // of the first damaged entry
	NextLSN  uint64 // of the entry at End
	Why      string
	// Removed is true where whole segments are missing: as a rule dead ones that persistsrv
	// has deleted.
	Removed bool
	// Proven is true where a later entry says that the damaged one had been synced. Otherwise,
	// in a log that persistsrv has not recovered yet, it may be the torn end: a power cut
	// leaves writes that were not synced in any order. Recovery cuts it off.
	Proven bool
}

func (d *Damage) Error() string {
	return fmt.Sprintf("damaged log: segment %s, position %d to %d (lsn %d to before %d): %s",
		d.Segment, d.Position, d.End, d.LSN, d.NextLSN, d.Why)
}

// Place is where an entry lies in the log.
type Place struct {
	Segment  string
	Position uint64 // log position of the entry's first byte
	Offset   int64  // the same in the segment's file
	HeadLen  int    // bytes before the first body
	Length   int    // bytes of the whole entry
	Synced   uint64 // LSN that was on disk when it was written
}

// Reader reads the log entry by entry.
type Reader struct {
	fs     FS
	segs   []SegmentFile
	seg    int // index in segs of the open one; -1: none
	f      File
	sc     *Scanner
	at     uint64 // position of the next entry
	lsn    uint64 // it should have; 0: unknown
	from   uint64
	bodies bool
	heads  bool
	strict bool
	last   *journal.Entry
	place  Place
	tail   *BadEntry // why the log ends before its last segment's file does
}

// NewReader reads the log beginning with the entry of fromLSN (0: the first there is).
func NewReader(fs FS, fromLSN uint64) (*Reader, error) {
	segs, err := ListSegments(fs)
	if err != nil {
		return nil, err
	}
	r := &Reader{fs: fs, segs: segs, seg: -1, from: fromLSN}
	first := 0
	for i := range segs {
		if segs[i].HeaderErr == nil && segs[i].Header.BaseLSN <= fromLSN {
			first = i
		}
	}
	if first < len(segs) {
		err = r.open(first)
	}
	return r, err
}

// VerifyBodies makes Next check the bodies too.
func (r *Reader) VerifyBodies(on bool) {
	r.bodies = on
	if r.sc != nil {
		r.sc.Bodies = on
	}
}

// HeadsOnly makes Next leave bodies unread as far as that saves anything: for those who want
// the events alone.
func (r *Reader) HeadsOnly(on bool) {
	r.heads = on
	if r.sc != nil {
		r.sc.Heads = on
	}
}

// StopAtDamage makes Next say what is wrong with a place (*BadEntry), and again if it is called
// again, instead of looking for whole entries behind it, which may mean reading all of the log.
// What is damaged before the entry at which reading begins keeps nobody from reading that.
func (r *Reader) StopAtDamage(on bool) { r.strict = on }

// open goes to the first entry of a segment.
func (r *Reader) open(i int) error {
	if r.f != nil {
		r.f.Close()
		r.f = nil
	}
	f, err := r.fs.Open(r.segs[i].Name)
	if err != nil {
		return fmt.Errorf("segment %s: %w", r.segs[i].Name, err)
	}
	r.f, r.seg, r.at = f, i, r.segs[i].Position
	r.sc = NewScanner(f, r.segs[i])
	r.sc.Bodies, r.sc.Heads = r.bodies, r.heads
	if r.lsn == 0 && r.segs[i].HeaderErr == nil {
		r.lsn = r.segs[i].Header.BaseLSN
	}
	return nil
}

// Next returns the next entry; its slices are good until the next call. io.EOF at the end,
// a torn end included (Torn tells of it); a *Damage where entries are missing, after which
// Next goes on behind them.
func (r *Reader) Next() (*journal.Entry, Place, error) {
	for {
		if r.seg < 0 {
			return nil, Place{}, io.EOF
		}
		e, p, err := r.sc.At(r.at)
		var bad *BadEntry
		switch {
		case err == io.EOF:
			if err := r.nextSegment(); err != nil {
				return nil, Place{}, err
			}
			continue
		case errors.As(err, &bad) && bad.Blank && r.seg+1 >= len(r.segs):
			return nil, Place{}, io.EOF
		case errors.As(err, &bad) && r.strict:
			if r.lsn == 0 || r.lsn >= r.from || !r.passes(bad, p.Length) {
				return nil, p, bad
			}
			continue
		case errors.As(err, &bad):
			return nil, p, r.damaged(bad, p.Length)
		case err != nil:
			return nil, p, err
		}
		if r.lsn != 0 && e.LSN != r.lsn {
			return nil, p, r.jumped(e.LSN, p)
		}
		r.at, r.lsn = p.Position+uint64(p.Length), e.LSN+1
		if e.LSN < r.from {
			continue
		}
		r.last, r.place = e, p
		return e, p, nil
	}
}

// nextSegment opens the next one, or says io.EOF.
func (r *Reader) nextSegment() error {
	if r.seg+1 >= len(r.segs) {
		return io.EOF
	}
	gap := r.segs[r.seg+1].Position > r.at
	from, segment := r.at, r.segs[r.seg].Name
	if err := r.open(r.seg + 1); err != nil || !gap || r.lsn == 0 {
		return err
	}
	e, _, err := r.sc.At(r.at)
	if err != nil || e.LSN == r.lsn {
		return nil // reported, or found to be right, by Next
	}
	d := &Damage{
		Segment: segment, Position: from, End: r.at, LSN: r.lsn, NextLSN: e.LSN, Removed: true,
		Why: "the segments between are not there",
	}
	r.lsn = e.LSN
	return d
}

// jumped reports whole entries that do not follow each other.
func (r *Reader) jumped(lsn uint64, p Place) error {
	if lsn < r.lsn {
		// Left over from before a cut: the log ends here.
		r.tail = &BadEntry{Segment: p.Segment, Position: p.Position, Why: fmt.Errorf("lsn %d where %d should follow", lsn, r.lsn)}
		r.seg = -1
		return io.EOF
	}
	d := &Damage{
		Segment: p.Segment, Position: p.Position, End: p.Position, LSN: r.lsn, NextLSN: lsn,
		Why: "entries are missing between two whole ones",
	}
	r.lsn = lsn
	return d
}

// damaged looks for whole entries behind a bad one, with the first of which reading goes on.
// Without any, the log ends here.
func (r *Reader) damaged(bad *BadEntry, length int) error {
	at, after := r.at, max(r.lsn, 1)-1
	d := &Damage{Segment: bad.Segment, Position: bad.Position, LSN: r.lsn, Why: bad.Why.Error()}
	first := -1 // segment of the first whole entry
	if bad.Known {
		// Only bodies are lost; it is known where the next entry begins, if there is one.
		first, at, after = r.seg, r.at+uint64(length), r.lsn
		d.End, d.NextLSN = at, r.lsn+1
	}
	for {
		p, lsn, ok, err := r.sc.FindNext(at, after)
		if err != nil {
			return err
		}
		if !ok {
			if r.seg+1 >= len(r.segs) && first >= 0 && first != r.seg {
				break
			}
			if r.seg+1 >= len(r.segs) && first >= 0 {
				// Its bodies need not be lost: they may never have been written.
				blank, err := r.sc.blankFrom(r.sc.offset(d.End))
				if err == nil && !blank {
					break
				}
				r.tail, r.seg = bad, -1
				return cmp.Or(err, io.EOF)
			}
			if r.seg+1 >= len(r.segs) {
				r.tail, r.seg = bad, -1
				return io.EOF
			}
			if err := r.open(r.seg + 1); err != nil {
				return err
			}
			at = r.at
			continue
		}
		if first < 0 {
			first, d.End, d.NextLSN = r.seg, p.Position, lsn
		}
		if d.Proven = p.Synced >= max(r.lsn, 1) || lsn == r.lsn; d.Proven {
			break
		}
		at = p.Position + uint64(p.Length)
	}
	if r.seg != first {
		if err := r.open(first); err != nil {
			return err
		}
	}
	r.at, r.lsn = d.End, d.NextLSN
	return d
}

// passes says whether a damaged place ends before the entry at which reading begins; then reading
// goes on behind it.
func (r *Reader) passes(bad *BadEntry, length int) bool {
	var d *Damage
	return errors.As(r.damaged(bad, length), &d) && d.NextLSN <= r.from
}

// Torn says where and why the log ended before its file did, after Next has said io.EOF; nil
// if it ended cleanly.
func (r *Reader) Torn() *BadEntry { return r.tail }

// Body appends to dst the bytes of body i of the entry that Next has returned last.
func (r *Reader) Body(i int, dst []byte) ([]byte, error) {
	if r.last == nil || i >= len(r.last.Bodies) {
		return dst, fmt.Errorf("no body %d in the entry read last", i)
	}
	n := len(dst)
	dst = append(dst, make([]byte, r.last.Bodies[i].Length)...)
	off := r.place.Offset + int64(r.last.BodyOffset(i))
	if _, err := r.f.ReadAt(dst[n:], off); err != nil {
		return dst[:n], fmt.Errorf("read body %d at %s offset %d: %w", i, r.place.Segment, off, err)
	}
	return dst, nil
}

// Close closes the files.
func (r *Reader) Close() error {
	r.seg = -1
	if r.f == nil {
		return nil
	}
	f := r.f
	r.f = nil
	return f.Close()
}
