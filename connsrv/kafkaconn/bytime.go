package kafkaconn

import (
	"errors"

	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/batch"
)

// errFound ends the walk through a batch.
var errFound = errors.New("found")

// maxLateBatches is how many batches are looked at for a time. An index tells of a batch the latest
// time up to there: where that was in a batch that retention has removed, or in part of one, those
// behind it need not have it.
const maxLateBatches = 4096

// lateRecord is a record as late as was asked for.
type lateRecord struct {
	offset uint64
	timeMS int64
}

// byTime finds the first record below the visible end that is as late as a time. Within its batch it
// is looked for record by record; where a batch cannot be read it is its first record that is named,
// and none is missed.
func (c *Conn) byTime(index uint64, timeMS int64, end uint64) (found lateRecord, ok bool, err error) {
	lane := c.loop.Lane
	offset, at, ok, err := lane.ByTime(index, timeMS)
	if err != nil || !ok || offset >= end {
		return found, false, err
	}
	start, err := lane.StartOf(index)
	if err != nil {
		return found, false, err
	}
	offset = max(offset, start)
	for range maxLateBatches {
		r := &session.Reading{}
		if err := lane.Read(r, index, offset, end, 1); err != nil {
			return found, false, err
		}
		found, ok = lateIn(r, offset, timeMS)
		offset = r.End
		r.Release()
		if ok || offset >= end {
			return found, ok, nil
		}
	}
	return lateRecord{offset, at}, true, nil
}

// lateIn finds the first record as late as a time in the batch that was read, from an offset on.
func lateIn(r *session.Reading, from uint64, timeMS int64) (found lateRecord, ok bool) {
	if len(r.Spans) == 0 {
		return found, false // compaction has left nothing there
	}
	whole := r.Cut(0)
	if s := &r.Spans[0]; whole == nil {
		whole = s.Seg.Bytes(s.Off, s.Len)
	}
	unread := lateRecord{from, timeMS}
	if len(whole) < batch.HeaderSize {
		return unread, true
	}
	fault := session.OnFault(func() { found, ok = firstAsLate(whole, r.Base, from, timeMS) })
	if fault != nil {
		return unread, true
	}
	return found, ok
}

// firstAsLate finds the first record of a batch with an offset and a time of so much at least. base is
// the offset of the batch's first record.
func firstAsLate(b []byte, base, from uint64, timeMS int64) (found lateRecord, ok bool) {
	h := batch.Header(b)
	if h.MaxTimeMS() < timeMS {
		return found, false
	}
	inside := h.BaseOffset()
	err := batch.Iterate(b, func(r *batch.Record) error {
		offset := base + r.Offset - inside
		if r.TimeMS < timeMS || offset < from {
			return nil
		}
		found = lateRecord{offset, r.TimeMS}
		return errFound
	})
	if err != nil && !errors.Is(err, errFound) {
		return lateRecord{from, h.MaxTimeMS()}, true
	}
	return found, err != nil
}
