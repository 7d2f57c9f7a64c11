package seglog

import (
	"errors"
	"math"
	"sort"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/hash"
)

// survey is what the heads of an index's batches tell: which transactions have ended, and how.
type survey struct {
	end     uint64             // of the index when the pass began
	last    uint64             // offset of its last batch, which is left as it is
	markers map[int64][]marker // of each producer, in order
	open    map[int64]uint64   // of each producer with a transaction that has not ended: its first offset
	newest  map[int64]uint64   // of each producer with sequence numbers: the offset of its last batch
}

// marker is a control batch, which ends a transaction.
type marker struct {
	offset uint64
	commit bool
}

// keptSequenceMS is how old the last batch of a producer may be to be kept for the sake of its sequence
// number, though none of its records is: as long as Kafka remembers producers.
const keptSequenceMS = 7 * 24 * 3600 * 1000

// maxSurveyed bounds the markers, and the producers, that a pass has in mind.
const maxSurveyed = 1 << 20

// keyOf stands for a key in the map of a pass. Two keys of the same hash would be taken for one: of 128
// bits, nobody will see it happen.
func keyOf(key []byte) [2]uint64 { return hash.Murmur3Wide(key) }

// look surveys the index, and finds where the pass ends.
func (p *compacting) look() error {
	s := &p.survey
	s.markers, s.open, s.newest = map[int64][]marker{}, map[int64]uint64{}, map[int64]uint64{}
	young, marked := uint64(math.MaxUint64), 0
	err := p.each(func(e *commitlog.Entry) (bool, error) {
		s.last = e.Offset
		if young == math.MaxUint64 && p.keep.minLagMS > 0 && e.MaxTimeMS > p.now-p.keep.minLagMS {
			young = e.Offset
		}
		h, err := p.head(e)
		if err != nil || h == nil {
			return true, err
		}
		if s.note(e, h) {
			marked++
		}
		if len(s.newest) > maxSurveyed {
			clear(s.newest) // these are a courtesy
		}
		return marked < maxSurveyed, nil
	})
	if marked >= maxSurveyed {
		s.end = 0 // there is more, for another pass
	}
	p.to = min(s.last, young)
	for _, first := range s.open {
		if !failpoint.Broken("compact-past-open") {
			p.to = min(p.to, first)
		}
	}
	return err
}

// head reads the head of an entry's batch; nil where there is none, or it is none of this index's
// transactions.
func (p *compacting) head(e *commitlog.Entry) (batch.Header, error) {
	if e.Position == 0 || e.Flags&(commitlog.FlagDamaged|commitlog.FlagPartial) != 0 || e.Length < batch.HeaderSize {
		return nil, nil
	}
	b, err := p.read.Bytes(e.Position, min(int(e.Length), batch.ControlSize))
	if err != nil {
		if errors.Is(err, commitlog.ErrDamaged) {
			return nil, nil
		}
		return nil, err
	}
	return b, p.paced(len(b))
}

// note takes a batch into account; true: it is a control batch.
func (s *survey) note(e *commitlog.Entry, h batch.Header) bool {
	producer := h.ProducerID()
	switch {
	case h.Control():
		if commit, err := batch.ParseControl(h); err == nil {
			s.markers[producer] = append(s.markers[producer], marker{e.Offset, commit})
			delete(s.open, producer)
		}
		return true
	case h.Transactional():
		if _, is := s.open[producer]; !is {
			s.open[producer] = e.Offset
		}
	}
	if producer >= 0 {
		s.newest[producer] = e.Offset
	}
	return false
}

// fate is what is to be thought of a batch.
type fate uint8

const (
	fateCounts  fate = iota // its records count
	fateAborted             // nothing of it does
	fateControl             // it is a control batch
)

// fate of a batch below the end of the pass.
func (s *survey) fate(e *commitlog.Entry, h batch.Header) fate {
	switch {
	case h.Control():
		return fateControl
	case !h.Transactional() || e.Flags&commitlog.FlagPartial != 0:
		return fateCounts
	}
	markers := s.markers[h.ProducerID()]
	i := sort.Search(len(markers), func(i int) bool { return markers[i].offset > e.Offset })
	if i < len(markers) && !markers[i].commit && !failpoint.Broken("compact-keeps-aborted") {
		return fateAborted
	}
	return fateCounts
}
