package session

import (
	"fmt"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/commitlog"
)

// Readers that are not Kafka's get committed messages alone: control batches, and batches whose
// transaction was aborted, are taken out here. Kafka's clients do that themselves.

// ReadCommitted is Read for a committed reader. All that was read may be taken out: then Bytes is 0, and
// the reader goes on at End. REQUIRES: visible <= Readable(index, offset).
func (l *Lane) ReadCommitted(r *Reading, index, offset, visible uint64, maxBytes int) error {
	if err := l.Read(r, index, offset, visible, maxBytes); err != nil {
		return err
	}
	s := l.Stables[index]
	if s == nil {
		return nil
	}
	var err error
	if fault := OnFault(func() { err = l.takeOut(r, s) }); fault != nil {
		err = fault
	}
	if err != nil {
		r.Release()
		return readError(err, index, offset, r.Start)
	}
	return nil
}

// takeOut leaves of a reading what a committed reader gets.
func (l *Lane) takeOut(r *Reading, s *Stable) error {
	kept, ends := l.kept[:0], make([]int, 0, len(r.Spans))
	base := r.End
	r.Bytes = 0
	for i := range r.Spans {
		before := len(kept)
		if cut := r.Cut(i); cut != nil { // records of a batch that is another index's: no transaction of this one
			kept = append(kept, r.Spans[i])
			r.Bytes += len(cut)
		} else {
			var err error
			if kept, err = s.keep(kept, &r.Spans[i]); err != nil {
				return err
			}
		}
		for j := before; j < len(kept); j++ {
			kept[j].Seg.Retain()
			if base = min(base, kept[j].Base); r.Cut(i) == nil {
				r.Bytes += kept[j].Len
			}
			ends = append(ends, r.ends[i])
		}
	}
	for i := range r.Spans {
		r.Spans[i].Seg.Release()
	}
	r.Spans = append(r.Spans[:0], kept...)
	r.ends, r.Base = ends, base
	clear(kept)
	l.kept = kept[:0]
	return nil
}

// keep appends what is kept of a span's batches, neighbours together.
func (s *Stable) keep(dst []commitlog.Span, span *commitlog.Span) ([]commitlog.Span, error) {
	b := span.Seg.Bytes(span.Off, span.Len)
	if len(b) < span.Len {
		return dst, fmt.Errorf("the log is not mapped at %d", span.Off)
	}
	open := false // the last span in dst goes on
	for at := 0; at < span.Len; {
		first, _, err := batch.Split(b[at:])
		if err != nil {
			return dst, fmt.Errorf("%w: %w", commitlog.ErrDamaged, err)
		}
		h, base := batch.Header(first), span.Base
		if !span.Rebase && at > 0 {
			base = h.BaseOffset()
		}
		if keeps := s.keeps(h, base); keeps && open {
			last := &dst[len(dst)-1]
			last.Len += len(first)
			last.Count += uint32(h.Count())
			last.End = base + uint64(h.LastOffsetDelta()) + 1
		} else if open = keeps; keeps {
			part := *span
			part.Off, part.Len, part.Base = span.Off+int64(at), len(first), base
			part.Count, part.End = uint32(h.Count()), base+uint64(h.LastOffsetDelta())+1
			dst = append(dst, part)
		}
		at += len(first)
	}
	return dst, nil
}

// keeps tells whether a committed reader gets a batch. REQUIRES: what was aborted is known there.
func (s *Stable) keeps(h batch.Header, base uint64) bool {
	if h.Control() {
		return false
	}
	if !h.Transactional() {
		return true
	}
	for _, a := range s.aborted {
		if a.ProducerID == h.ProducerID() && a.First <= base && base < a.Last {
			return false
		}
	}
	return true
}

// Fate is what a consumer of a queue gets of a batch.
type Fate uint8

// Fates of a batch.
const (
	FateKept    Fate = iota // its messages
	FateDropped             // nothing: it is a control batch, or was aborted
	FateUnknown             // it is not known: logicsrv has to be asked with WaitStable, from its base on
)

// Fate tells what is to become of the batch that ReadStored has read, for a consumer of a queue over a
// topic. Batches that queues hold by reference are in no transaction there, and logicsrv says so.
func (l *Lane) Fate(r *Reading, index uint64) (f Fate, err error) {
	span := &r.Spans[0]
	fault := OnFault(func() {
		b := span.Seg.Bytes(span.Off, span.Len)
		if len(b) < batch.HeaderSize {
			err = fmt.Errorf("the log is not mapped at %d", span.Off)
			return
		}
		switch h := batch.Header(b); {
		case h.Control():
			f = FateDropped
		case h.Transactional():
			f = l.Stables[index].fate(h.ProducerID(), span.Stored())
		}
	})
	if fault != nil {
		err = fault
	}
	return f, err
}

// fate is that of a transactional batch.
func (s *Stable) fate(producer int64, base uint64) Fate {
	switch aborted, known := s.wasAborted(producer, base); {
	case !known:
		return FateUnknown
	case aborted:
		return FateDropped
	}
	return FateKept
}
