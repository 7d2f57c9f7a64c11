package session

import (
	"slices"

	"github.com/trimq/trimq/protocol/ipc"
)

// Stables remembers, for each index that has or had batches of transactional producers, what logicsrv
// has told committed readers of it. An index that is not there has none, as far as is known.
type Stables map[uint64]*Stable

// Stable is what is known of one. Like Ends it may be old, and is merely cautious then.
type Stable struct {
	end      uint64 // the stable end
	from, to uint64 // what was aborted is known for readers of [from, to); to <= end
	aborted  []ipc.AbortedTxn
}

// maxKnownAborted bounds the aborted transactions that are remembered of one index: who reads
// elsewhere asks.
const maxKnownAborted = 4096

// ToldVisible takes in the visible end of an index that has no transactions.
func (l *Lane) ToldVisible(m *ipc.Visible) {
	l.Ends.Raise(m.Index, m.End)
	l.plain.Raise(m.Index, m.End)
}

// EndTold takes in the answer to a Wait of either kind.
func (l *Lane) EndTold(payload []byte) error {
	if v, err := ipc.DecodeVisible(payload); err == nil {
		l.ToldVisible(&v)
		return nil
	}
	m, err := ipc.DecodeStable(payload)
	if err == nil {
		l.Told(&m)
	}
	return err
}

// forgetEnds forgets the ends of an index that is gone.
func (l *Lane) forgetEnds(index uint64) {
	delete(l.Ends, index)
	delete(l.plain, index)
	delete(l.Stables, index)
}

// Told takes in what logicsrv tells of the ends of an index that has some.
func (l *Lane) Told(m *ipc.Stable) {
	l.Ends.Raise(m.Index, m.End)
	s := l.Stables[m.Index]
	if s == nil {
		s = &Stable{}
		l.Stables[m.Index] = s
	}
	s.end = max(s.end, m.Stable)
	s.widen(m)
}

// widen takes in for which range it is known what was aborted: more than before, where the two ranges
// touch.
func (s *Stable) widen(m *ipc.Stable) {
	switch {
	case m.From >= m.To:
	case m.From > s.to || m.To < s.from || s.from >= s.to || len(s.aborted)+len(m.Aborted) > maxKnownAborted:
		s.from, s.to, s.aborted = m.From, m.To, m.Aborted
	default:
		for _, a := range m.Aborted {
			i, known := slices.BinarySearchFunc(s.aborted, a.First, func(b ipc.AbortedTxn, first uint64) int {
				switch {
				case b.First < first:
					return -1
				case b.First > first:
					return 1
				}
				return 0
			})
			if !known {
				s.aborted = slices.Insert(s.aborted, i, a)
			}
		}
		s.from, s.to = min(s.from, m.From), max(s.to, m.To)
	}
}

// Readable is up to where a committed reader who is at an offset can read without asking, and whether
// logicsrv must be asked with WaitStable rather than with Wait.
func (l *Lane) Readable(index, offset uint64) (end uint64, stable bool) {
	s := l.Stables[index]
	switch {
	case s == nil:
		return l.plain[index], false
	case s.from <= offset && offset <= s.to:
		return min(s.end, s.to), true
	}
	return 0, true
}

// StableEnd is the stable end of an index as far as it is known.
func (l *Lane) StableEnd(index uint64) uint64 {
	if s := l.Stables[index]; s != nil {
		return s.end
	}
	return l.Ends[index]
}

// Aborted lists the aborted transactions that a reader of [from, to) has to know, in order of First.
// REQUIRES: Readable(index, from) >= to.
func (l *Lane) Aborted(index, from, to uint64) (list []ipc.AbortedTxn) {
	s := l.Stables[index]
	if s == nil {
		return nil
	}
	for _, a := range s.aborted {
		if a.First < to && a.Last >= from {
			list = append(list, a)
		}
	}
	return list
}

// wasAborted tells whether a batch of a producer at an offset was aborted; known is false where that is
// to be asked.
func (s *Stable) wasAborted(producer int64, offset uint64) (aborted, known bool) {
	if s == nil || offset < s.from || offset >= s.to {
		return false, false
	}
	for _, a := range s.aborted {
		if a.ProducerID == producer && a.First <= offset && offset < a.Last {
			return true, true
		}
	}
	return false, true
}
