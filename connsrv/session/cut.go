package session

import (
	"errors"
	"fmt"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/commitlog"
)

// A batch that is in an index in part only (a message that was dead-lettered, say, whose batch
// holds others that were not) is not shown whole to who reads that index: the records that are in
// it are cut out of the mapped log, and sent from memory as a batch of their own.

// keptCutBytes bounds the memory that a lane keeps for the next cuts.
const keptCutBytes = 1 << 20

// Bounds of the work that one read does for cuts, so that no reader holds up the event loop.
const (
	maxCutSpans = 256     // spans of one read, if any of them is cut
	maxCutBytes = 4 << 20 // of records gone through or decompressed; the first batch whatever it takes
)

var (
	// errUncut says that a batch cannot be divided: it is not what its header says.
	errUncut = errors.New("the batch cannot be divided")
	// errLarge is a record that was small as long as it was compressed.
	errLarge = errors.New("a record of its own is larger than a batch may be")
)

// Cut appends to dst a batch with count records of a partial span, from the one at an offset on,
// or with as many as make no more than max bytes, but with one at least.
func (l *Lane) Cut(dst []byte, s *commitlog.Span, offset uint64, count, max int) (out []byte, taken int, err error) {
	whole := s.Seg.Bytes(s.Off, s.Len)
	if len(whole) < s.Len {
		return dst, 0, fmt.Errorf("%w: it is not mapped", errUncut)
	}
	out, taken, err = takeMapped(&l.cutter, dst, whole, s.Position(), int(offset-s.Base), count, max)
	if err != nil {
		return dst, 0, fmt.Errorf("%w: %w", errUncut, err)
	}
	piece := out[len(dst):]
	batch.PatchBase(piece, offset, batch.Header(piece).LeaderEpoch())
	return out, taken, nil
}

// gather fills a reading with spans from r.End on, and cuts the partial ones. As what is cut out
// of a batch is smaller than the batch, it may look for spans more than once.
func (l *Lane) gather(r *Reading, ix *commitlog.IndexView, visible uint64, maxBytes int) error {
	for work, more := 0, true; more; {
		have := len(r.Spans)
		spans, err := ix.Spans(r.End, visible, maxBytes-r.Bytes, r.Spans)
		if errors.Is(err, commitlog.ErrGap) {
			r.End = visible
			return nil
		}
		if err == nil {
			r.Spans = spans
			more, err = l.take(r, have, visible, maxBytes, &work)
		}
		if err != nil && len(r.Spans) == 0 {
			return err
		}
		if err != nil {
			return nil // it shows again at the next read, which begins there
		}
	}
	return nil
}

// take adds up what is sent for the spans from number i on. What goes beyond a bound is left out.
// more says that there is room for others. On an error the spans before it stay.
func (l *Lane) take(r *Reading, i int, visible uint64, maxBytes int, work *int) (more bool, err error) {
	for ; i < len(r.Spans); i++ {
		s := &r.Spans[i]
		if i > 0 && (*work > maxCutBytes || !s.Partial && r.Bytes+s.Len > maxBytes) {
			r.keep(i)
			return false, nil
		}
		if i == 0 && !s.Partial {
			r.Base = s.Base
		}
		end := s.End
		if s.Partial {
			if end, err = l.takePart(r, i, visible, maxBytes, work); err != nil || end == r.End {
				r.keep(i)
				return false, err
			}
		} else {
			r.Bytes += s.Len
		}
		r.ends = append(r.ends, len(r.cuts))
		r.End = end
		if s.Partial && end < min(s.End, visible) {
			r.keep(i + 1)
			return false, nil
		}
	}
	last := &r.Spans[len(r.Spans)-1]
	return last.Partial && r.End < visible && r.Bytes < maxBytes/2 && *work <= maxCutBytes && len(r.Spans) < maxCutSpans, nil
}

// takePart cuts the span of number i, and returns the offset behind what is sent for it: r.End
// where nothing is, for want of room.
func (l *Lane) takePart(r *Reading, i int, visible uint64, maxBytes int, work *int) (end uint64, err error) {
	s := &r.Spans[i]
	first := max(r.End, s.First())
	if i == 0 {
		r.Base = first
	}
	before := l.cutter.Batches
	out, taken, err := l.Cut(r.cuts, s, first, int(min(s.End, visible)-first), maxBytes-r.Bytes)
	if err != nil {
		return r.End, err
	}
	if l.cutter.Batches != before {
		*work += max(s.Len, l.cutter.Size())
	}
	size := len(out) - len(r.cuts)
	switch {
	case i > 0 && r.Bytes+size > maxBytes:
		return r.End, nil
	case size > l.MaxBatch:
		return r.End, errLarge
	}
	r.cuts = out
	r.Bytes += size
	return first + uint64(taken), nil
}
