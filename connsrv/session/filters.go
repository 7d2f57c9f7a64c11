package session

import (
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/selector"
)

// filters keeps what an event loop has compiled: consumers with equal filters share one, and so
// what the sieve remembers of batches under it.
type filters map[ipc.Filter]*selector.Filter

// maxFilters is how many are kept; then it begins anew. Consumers keep theirs.
const maxFilters = 1024

// Filter compiles a filter as logicsrv tells it; nil: it lets everything pass.
func (l *Lane) Filter(m ipc.Filter) (*selector.Filter, error) {
	if m.Kind == 0 {
		return nil, nil
	}
	if f, ok := l.filters[m]; ok {
		return f, nil
	}
	f, err := selector.Compile(selector.Kind(m.Kind), m.Text)
	if err != nil {
		return nil, err
	}
	if f.All() {
		f = nil
	}
	if l.filters == nil || len(l.filters) >= maxFilters {
		l.filters = filters{}
	}
	l.filters[m] = f
	return f, nil
}

// siftLimit is how large a batch may be, decompressed, to be put through a filter: an event loop
// has others to serve.
const siftLimit = 16 << 20

// Sifted is how many bytes filters have cost so far.
func (l *Lane) Sifted() uint64 { return l.sieve.Work }

// Sift puts a part of a batch of an index, as read, through a filter. The runs are the lane's
// until the next call. Errors are those of Sieve.Runs; or the log is not mapped.
func (l *Lane) Sift(f *selector.Filter, s *commitlog.Span, index uint64, r ipc.Range) ([]Run, error) {
	b := s.Seg.Bytes(s.Off, s.Len)
	if len(b) < s.Len {
		return nil, errcode.New(errcode.Internal, "the log is not mapped")
	}
	var err error
	l.sieve.Limit = siftLimit
	l.runs, err = l.sieve.Runs(l.runs[:0], f, BatchID{index, s.Base}, b, r)
	return l.runs, err
}
