package session

import (
	"fmt"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/commitlog"
)

// Compaction leaves batches with fewer records than offsets. Who fetches them gets them whole, and their
// readers see by themselves which are there. A consumer of a queue over a topic, or of a stream, is given
// offsets one by one, so that to it such a batch is shown as what it is: runs of records without a gap.

// denseRun is a run of records of a sparse batch: its offset beyond the batch's base, the number of its
// first record, and how many there are.
type denseRun struct{ delta, record, count uint32 }

// sparseCache remembers the runs of the sparse batch that was looked at last: consumers come to it once
// for each of them.
type sparseCache struct {
	position uint64 // 0: there is none
	runs     []denseRun
	reader   batch.Reader
}

// dense is the part of a sparse span that holds the first record from one offset to before another;
// found is false where there is none.
func (l *Lane) dense(s *commitlog.Span, from, until uint64) (part commitlog.Span, found bool, err error) {
	k := &l.sparse
	if k.position != s.Position() {
		if err := k.read(s); err != nil {
			return part, false, err
		}
	}
	for _, r := range k.runs {
		first := s.Base + uint64(r.delta)
		if first+uint64(r.count) > from {
			return s.Dense(first, r.record, r.count), first < until, nil
		}
	}
	return part, false, nil
}

// read finds the runs of a batch.
func (k *sparseCache) read(s *commitlog.Span) (err error) {
	whole := s.Seg.Bytes(s.Off, s.Len)
	if len(whole) < s.Len {
		return fmt.Errorf("%w: it is not mapped", errUncut)
	}
	k.position, k.runs = 0, k.runs[:0]
	fault := OnFault(func() {
		err = k.reader.Runs(whole, func(delta, record, count uint32) bool {
			k.runs = append(k.runs, denseRun{delta, record, count})
			return true
		})
	})
	if fault != nil {
		err = fault
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errUncut, err)
	}
	k.position = s.Position()
	if buf := k.reader.TakeBuffer(); cap(buf) <= keptCutBytes {
		k.reader.GiveBuffer(buf)
	}
	return nil
}
