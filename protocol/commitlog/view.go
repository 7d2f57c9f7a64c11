package commitlog

import "errors"

// Errors of an IndexView.
var (
	ErrUnknownIndex = errors.New("no such index")
	ErrBelowStart   = errors.New("offset is below the start of the index")
	ErrBeyondEnd    = errors.New("offset is at or beyond the end of the index")
	ErrDamaged      = errors.New("stored batch is damaged")
)

// View reads indexes and the log while persistsrv appends to them. Safe for many goroutines.
type View struct{}

// OpenView maps the data directory; what is not there yet is found when it is asked for.
func OpenView(dataDir string) (*View, error) { return &View{}, nil }

// Close lets go of all that no Span retains.
func (v *View) Close() error { return nil }

// Index opens an index. An index without entries is known as soon as persistsrv has made
// it; before that, ErrUnknownIndex.
func (v *View) Index(id uint64) (*IndexView, error) { return nil, ErrUnknownIndex }

// Forget closes an index that is deleted.
func (v *View) Forget(id uint64) {}

// IndexView reads one index.
type IndexView struct{}

// Start is the earliest offset still there.
func (ix *IndexView) Start() (uint64, error) { return 0, errors.New("not yet") }

// Find returns the entry that contains offset; ErrBelowStart, ErrBeyondEnd, and ErrDamaged
// where the log's damage has torn a hole into the index.
func (ix *IndexView) Find(offset uint64) (Entry, error) { return Entry{}, ErrBeyondEnd }

// Spans appends to dst the file ranges that hold the batches from the one that contains
// offset to below visible, at most maxBytes in all, but the first batch whole even over that.
// Adjacent batches are merged. Every span's segment is retained for the caller, who calls
// Release. ErrDamaged if the first batch is damaged; later ones end the spans before it.
func (ix *IndexView) Spans(offset, visible uint64, maxBytes int, dst []Span) ([]Span, error) {
	return dst, ErrBeyondEnd
}

// ByTime returns the first entry with a record as late as ms; ErrBeyondEnd if there is none.
func (ix *IndexView) ByTime(ms int64) (Entry, error) { return Entry{}, ErrBeyondEnd }

// Span is a range of a segment's file that holds whole batches.
type Span struct {
	Seg    *Segment
	Off    int64 // in the file
	Len    int
	Base   uint64 // offset of the first record
	End    uint64 // offset behind the last record
	Rebase bool   // one batch whose bytes 0–7 a reader replaces by Base (big endian)
}

// Segment is a mapped segment of the log. It stays mapped, even after its file is deleted,
// until every Retain has had its Release.
type Segment struct{}

// Fd is for sendfile.
func (s *Segment) Fd() int { return -1 }

// Bytes is the mapped range.
func (s *Segment) Bytes(off int64, n int) []byte { return nil }

func (s *Segment) Retain()  {}
func (s *Segment) Release() {}
