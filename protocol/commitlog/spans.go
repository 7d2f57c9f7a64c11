package commitlog

import (
	"fmt"
	"sort"
)

// Spans appends to dst the file ranges that hold the batches from the one that contains
// offset to below visible, at most maxBytes in all, but the first batch whole even over that
// (and where visible lies within it: a consumer of a queue is given parts of batches).
// Where compaction has removed what was at offset, they begin with what follows; ErrGap if nothing
// is left below visible. Adjacent batches are merged, but not partial and sparse ones, and none with
// maxBytes 1: so a consumer of a queue gets one batch with its note. Every span's segment is retained for
// the caller, who calls Release. ErrDamaged if the first batch is damaged; later ones end the spans before it.
func (ix *IndexView) Spans(offset, visible uint64, maxBytes int, dst []Span) ([]Span, error) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	if offset >= visible {
		return dst, ErrBeyondEnd
	}
	out := dst
	err := ix.again(func() (err error) {
		out, err = ix.spans(offset, visible, maxBytes, dst)
		return err
	})
	return out, err
}

// spans is Spans for what is mapped.
func (ix *IndexView) spans(offset, visible uint64, maxBytes int, dst []Span) ([]Span, error) {
	p, e, err := ix.find(offset)
	switch {
	case err != nil:
		return dst, err
	case e.Offset >= visible:
		return dst, ErrGap
	case e.Flags&FlagDamaged != 0:
		return dst, fmt.Errorf("%w: offsets %d to %d at position %d", ErrDamaged, e.Offset, e.End(), e.Position)
	}
	r := spanner{v: ix.v, dst: dst, own: len(dst)}
	for {
		if err := r.add(&e); err != nil {
			if len(r.dst) > len(dst) {
				break
			}
			if ix.trimmed(&e) {
				err = ErrBelowStart // since it was found
			}
			return dst, err
		}
		end, file := e.End(), p.file
		var ok bool
		ix.hint = p
		if end >= visible {
			break
		}
		if p, e, ok = ix.next(p); !ok || !ix.follows(file, end, &e) || e.End() > visible || e.Flags&FlagDamaged != 0 {
			break
		}
		if r.bytes+int(e.Length) > maxBytes {
			ix.hint = p
			break
		}
	}
	return r.dst, nil
}

// spanner gathers entries into spans.
type spanner struct {
	v     *View
	dst   []Span
	own   int // spans before this one are the caller's
	bytes int
	end   uint64 // log position behind the last span
}

// add appends an entry's batch, or lets the last span reach over it.
func (r *spanner) add(e *Entry) error {
	s := Span{
		Len: int(e.Length), Base: e.Base(), End: e.End(), Note: e.Note, Skip: e.Skip, Count: e.Count,
		Rebase: e.Flags&FlagRebase != 0, Partial: e.Flags&FlagPartial != 0,
		Sparse: e.Flags&FlagSparse != 0,
	}
	if !r.merge(e.Position, &s) {
		seg, err := r.v.segment(e.Position, s.Len)
		if err != nil {
			return err
		}
		s.Seg, s.Off = seg, seg.offset(e.Position)
		r.dst = append(r.dst, s)
	}
	r.bytes += s.Len
	r.end = e.Position + uint64(s.Len)
	return nil
}

// merge lets the last span reach over a batch, if that lies behind it and both are sent as they are.
func (r *spanner) merge(position uint64, s *Span) bool {
	if len(r.dst) == r.own || r.end != position || s.Rebase || s.Partial || s.Sparse {
		return false
	}
	last := &r.dst[len(r.dst)-1]
	if last.Rebase || last.Partial || last.Sparse || last.Seg.position > position || !last.Seg.holds(position, s.Len) || !r.v.newest(last.Seg, position) {
		return false
	}
	last.Len += s.Len
	last.Count += s.Count
	last.End = s.End
	return true
}

// newest says whether no later segment has taken over a position.
func (v *View) newest(s *Segment, position uint64) bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	i := sort.Search(len(v.segs), func(i int) bool { return v.segs[i].position > position })
	return i > 0 && v.segs[i-1] == s
}
