package kafkaconn

import (
	"errors"

	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/batch"
)

// errFound ends the walk through a batch.
var errFound = errors.New("found")

// byTime finds the first record below the visible end that is as late as a time. Within its batch it
// is looked for record by record; where the batch cannot be read it is its first record that is named,
// and none is missed.
func (c *Conn) byTime(index uint64, timeMS int64, end uint64) (offset uint64, at int64, found bool, err error) {
	offset, at, found, err = c.loop.Lane.ByTime(index, timeMS)
	if err != nil || !found || offset >= end {
		return 0, 0, false, err
	}
	r := &session.Reading{}
	if err := c.loop.Lane.Read(r, index, offset, end, 1); err != nil {
		return 0, 0, false, err
	}
	defer r.Release()
	whole := r.Cut(0)
	if s := &r.Spans[0]; whole == nil {
		whole = s.Seg.Bytes(s.Off, s.Len)
	}
	if exact, ok := firstAsLate(whole, timeMS); ok {
		return r.Base + uint64(exact.delta), exact.timeMS, true, nil
	}
	return offset, at, true, nil
}

// lateRecord is a record by its place in a batch.
type lateRecord struct {
	delta  int64
	timeMS int64
}

// firstAsLate finds the first record of a batch that is as late as a time; false: it cannot be read.
func firstAsLate(b []byte, timeMS int64) (found lateRecord, ok bool) {
	if len(b) < batch.HeaderSize {
		return found, false
	}
	base := batch.Header(b).BaseOffset()
	fault := session.OnFault(func() {
		err := batch.Iterate(b, func(r *batch.Record) error {
			if r.TimeMS < timeMS {
				return nil
			}
			found = lateRecord{int64(r.Offset - base), r.TimeMS}
			return errFound
		})
		ok = errors.Is(err, errFound)
	})
	return found, ok && fault == nil
}
