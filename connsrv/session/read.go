package session

import (
	"encoding/binary"
	"errors"

	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/errcode"
)

// Reading is what a read of an index found: ranges of the log that hold whole batches, and
// batches in memory that were cut out of others. The ranges' segments are retained until Release.
type Reading struct {
	Start uint64 // the earliest offset that is still there
	Spans []commitlog.Span
	Bytes int    // of all batches, as they are sent
	Base  uint64 // offset of the first record of the first batch
	From  uint64 // from where it was read or, where compaction has left nothing there, of what follows
	End   uint64 // behind the last offset in Spans; without any, up to where nothing is left

	cuts []byte // of partial spans
	ends []int  // in cuts, of each span; that of one that is sent as it is has no bytes there
}

// Cut is the batch that is sent for a span which has records that are no business of its
// readers; nil: the range is sent as it is.
func (r *Reading) Cut(i int) []byte {
	if i >= len(r.ends) {
		return nil
	}
	begin := 0
	if i > 0 {
		begin = r.ends[i-1]
	}
	if begin == r.ends[i] {
		return nil
	}
	return r.cuts[begin:r.ends[i]]
}

// Send queues what was read. Where one batch lies in several indexes, its base offset is that of another
// one and is replaced on the way out. Of a batch that is in this index in part only, that part goes out,
// from memory.
func (r *Reading) Send(link Link) {
	for i := range r.Spans {
		s := &r.Spans[i]
		if cut := r.Cut(i); cut != nil {
			copy(link.Append(len(cut)), cut)
			continue
		}
		skip := 0
		if s.Rebase {
			skip = 8
			binary.BigEndian.PutUint64(link.Append(skip), s.Base)
		}
		link.WriteRange(s.Seg, s.Off+int64(skip), s.Len-skip)
	}
}

// Read finds the batches of a partition from the one that contains offset to below visible: at most
// maxBytes, but one whole batch at least, or one record where records have to be cut out of a
// batch. Where compaction has left nothing of them there are none. REQUIRES: offset < visible, which logicsrv told. Errors are *errcode.Error.
func (l *Lane) Read(r *Reading, index, offset, visible uint64, maxBytes int) error {
	ix, err := l.begin(r, index, offset)
	if err == nil {
		err = l.gather(r, ix, visible, maxBytes)
	}
	if err != nil {
		r.Release()
		return readError(err, index, offset, r.Start)
	}
	if r.From = r.End; len(r.Spans) > 0 {
		r.From = max(offset, r.Spans[0].First())
	}
	return nil
}

// ReadStored finds the batch of a queue that contains offset or, where compaction has left nothing of
// that, the first one from there on that has records below until: without one there are no Spans, and all
// up to until is gone. The batch is as it is stored: there may be records in it that are no business of
// the queue, or of the run of offsets that begins with From (Span.Partial). REQUIRES, errors: as Read.
func (l *Lane) ReadStored(r *Reading, index, offset, until uint64) error {
	ix, err := l.begin(r, index, offset)
	if err == nil {
		err = l.stored(r, ix, offset, until)
	}
	if err != nil {
		r.Release()
		return readError(err, index, offset, r.Start)
	}
	return nil
}

// stored is ReadStored for an open index.
func (l *Lane) stored(r *Reading, ix *commitlog.IndexView, offset, until uint64) (err error) {
	for offset < until {
		if r.Spans, err = ix.Spans(offset, until, 1, r.Spans); errors.Is(err, commitlog.ErrGap) {
			break
		} else if err != nil {
			return err
		}
		s := &r.Spans[0]
		if s.Sparse {
			part, found, err := l.dense(s, offset, until)
			if err != nil {
				return err
			}
			if !found {
				offset = s.End
				r.keep(0)
				continue
			}
			*s = part
		}
		r.Bytes, r.Base, r.From, r.End = s.Len, s.Stored(), max(offset, s.First()), s.End
		return nil
	}
	r.From, r.End = until, until
	return nil
}

// begin empties a reading and opens its index.
func (l *Lane) begin(r *Reading, index, offset uint64) (*commitlog.IndexView, error) {
	r.Spans, r.cuts, r.ends, r.Bytes, r.Base, r.From, r.End = r.Spans[:0], r.cuts[:0], r.ends[:0], 0, offset, offset, offset
	ix, err := l.View.Index(index)
	if err == nil {
		r.Start, err = ix.Start()
	}
	return ix, err
}

// Release gives the segments back.
func (r *Reading) Release() {
	r.keep(0)
	if cap(r.cuts) > keptCutBytes {
		r.cuts = nil
	}
}

// keep releases all spans but the first n.
func (r *Reading) keep(n int) {
	for i := n; i < len(r.Spans); i++ {
		r.Spans[i].Seg.Release()
		r.Spans[i] = commitlog.Span{}
	}
	r.Spans = r.Spans[:n]
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

// BytesOf is how many bytes the batches of an index have; 0 where it has no file yet.
func (l *Lane) BytesOf(index uint64) (int64, error) {
	ix, err := l.View.Index(index)
	if errors.Is(err, commitlog.ErrUnknownIndex) {
		return 0, nil
	}
	n := int64(0)
	if err == nil {
		n, err = ix.Bytes()
	}
	if err != nil {
		return 0, readError(err, index, 0, 0)
	}
	return n, nil
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
	case errors.Is(err, errLarge):
		return errcode.New(errcode.BatchTooLarge, "the record at offset %d of index %d is too large by itself", offset, index)
	case errors.Is(err, commitlog.ErrDamaged), errors.Is(err, errUncut):
		return errcode.New(errcode.Damaged, "the batch at offset %d of index %d is damaged", offset, index)
	}
	return errcode.New(errcode.Internal, "reading offset %d of index %d: %v", offset, index, err)
}

// Reading is the lane's own, for one read at a time: Release it before the next.
func (l *Lane) Reading() *Reading { return &l.reading }

// LatestTime is the latest time of an index's records below end; −1: there are none.
func (l *Lane) LatestTime(index, end uint64) (timeMS int64, err error) {
	ix, err := l.View.Index(index)
	if err == nil && end > 0 {
		var e commitlog.Entry
		if e, err = ix.Find(end - 1); err == nil {
			return e.MaxTimeMS, nil
		}
	}
	if err == nil || errors.Is(err, commitlog.ErrUnknownIndex) || errors.Is(err, commitlog.ErrBelowStart) {
		return -1, nil
	}
	return 0, readError(err, index, end, 0)
}

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
