package session

import (
	"errors"

	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/errcode"
)

// Reading is what a read of an index found: ranges of the log that hold whole batches.
// Their segments are retained until Release.
type Reading struct {
	Start uint64 // the earliest offset that is still there
	Spans []commitlog.Span
	Bytes int
	End   uint64 // behind the last offset in Spans
}

// Read finds the batches from the one that contains offset to below visible: at most
// maxBytes, but one whole batch at least. REQUIRES: offset < visible, which logicsrv told.
// Errors are *errcode.Error.
func (l *Lane) Read(r *Reading, index, offset, visible uint64, maxBytes int) error {
	r.Spans, r.Bytes, r.End = r.Spans[:0], 0, offset
	ix, err := l.View.Index(index)
	if err == nil {
		r.Start, err = ix.Start()
	}
	if err == nil {
		r.Spans, err = ix.Spans(offset, visible, maxBytes, r.Spans)
	}
	if err != nil {
		r.Release()
		return readError(err, index, offset, r.Start)
	}
	for i := range r.Spans {
		r.Bytes += r.Spans[i].Len
		r.End = r.Spans[i].End
	}
	return nil
}

// Release gives the segments back.
func (r *Reading) Release() {
	for i := range r.Spans {
		r.Spans[i].Seg.Release()
		r.Spans[i] = commitlog.Span{}
	}
	r.Spans = r.Spans[:0]
}

// StartOf is the earliest offset of an index; 0 where it has no file yet.
func (l *Lane) StartOf(index uint64) (uint64, error) {
	ix, err := l.View.Index(index)
	if errors.Is(err, commitlog.ErrUnknownIndex) {
		return 0, nil
	}
	start := uint64(0)
	if err == nil {
		start, err = ix.Start()
	}
	if err != nil {
		return 0, readError(err, index, 0, 0)
	}
	return start, nil
}

// readError turns an error of a view into what a client gets to see.
func readError(err error, index, offset, start uint64) error {
	switch {
	case errors.Is(err, commitlog.ErrUnknownIndex):
		return errcode.New(errcode.UnknownIndex, "no queue or partition has index %d", index)
	case errors.Is(err, commitlog.ErrBelowStart):
		return errcode.New(errcode.OffsetOutOfRange, "offset %d is below the earliest, %d", offset, start)
	case errors.Is(err, commitlog.ErrBeyondEnd):
		return errcode.New(errcode.OffsetOutOfRange, "offset %d is beyond the end", offset)
	case errors.Is(err, commitlog.ErrDamaged):
		return errcode.New(errcode.Damaged, "the batch at offset %d of index %d is damaged", offset, index)
	}
	return errcode.New(errcode.Internal, "reading offset %d of index %d: %v", offset, index, err)
}

// Reading is the lane's own, for one read at a time: Release it before the next.
func (l *Lane) Reading() *Reading { return &l.reading }

// ByTime finds the first batch of an index that holds a record as late as ms.
func (l *Lane) ByTime(index uint64, ms int64) (offset uint64, timeMS int64, found bool, err error) {
	ix, err := l.View.Index(index)
	if errors.Is(err, commitlog.ErrUnknownIndex) {
		return 0, 0, false, nil
	}
	if err == nil {
		var e commitlog.Entry
		if e, err = ix.ByTime(ms); err == nil {
			return e.Offset, e.MaxTimeMS, true, nil
		}
		if errors.Is(err, commitlog.ErrBeyondEnd) {
			return 0, 0, false, nil
		}
	}
	return 0, 0, false, readError(err, index, 0, 0)
}
