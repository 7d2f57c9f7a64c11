package trimq

import (
	"fmt"
	"io"
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/trimq/trimq/protocol/native"
)

// slab is memory that frames are read into. What aliases it holds a reference; the last one
// to let go puts it back into its pool. A slab that is never let go of is the garbage
// collector's, so a forgotten release costs speed, not memory.
type slab struct {
	b    []byte
	refs atomic.Int32
}

const (
	minSlabBits = 14 // 16 KiB
	maxSlabBits = 27 // 128 MiB; larger ones are not pooled
)

var slabs [maxSlabBits + 1]sync.Pool

// newSlab has at least n bytes and one reference.
func newSlab(n int) *slab {
	class := max(bits.Len(uint(n-1)), minSlabBits)
	if class > maxSlabBits {
		s := &slab{b: make([]byte, n)}
		s.refs.Store(1)
		return s
	}
	s, ok := slabs[class].Get().(*slab)
	if !ok {
		s = &slab{b: make([]byte, 1<<class)}
	}
	s.refs.Store(1)
	return s
}

func (s *slab) retain() { s.refs.Add(1) }

// alone says that nothing but the reader refers to it, so that its bytes may be overwritten.
func (s *slab) alone() bool { return s.refs.Load() == 1 }

func (s *slab) release() {
	if s == nil || s.refs.Add(-1) != 0 {
		return
	}
	if n := len(s.b); n&(n-1) == 0 && n <= 1<<maxSlabBits {
		slabs[bits.Len(uint(n-1))].Put(s)
	}
}

// frameReader cuts a stream into frames without copying them: a frame aliases the slab that
// it was read into, and whoever wants to keep it retains the slab.
type frameReader struct {
	r        io.Reader
	s        *slab
	start    int // [start, end) of s.b is read and not given out
	end      int
	size     int // of a fresh slab
	maxFrame int
}

func newFrameReader(r io.Reader, size, maxFrame int) *frameReader {
	return &frameReader{r: r, s: newSlab(size), size: size, maxFrame: maxFrame}
}

// next gives the next frame; body is valid until the following call unless its slab is
// retained before that.
func (f *frameReader) next() (h native.Header, body []byte, s *slab, err error) {
	if err := f.fill(native.FrameHeaderSize); err != nil {
		return h, nil, nil, err
	}
	h, err = native.ParseHeader(f.s.b[f.start:f.end], f.maxFrame)
	if err != nil {
		return h, nil, nil, fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	n := h.FrameLen()
	if err := f.fill(n); err != nil {
		return h, nil, nil, err
	}
	body = f.s.b[f.start+native.FrameHeaderSize : f.start+n : f.start+n]
	f.start += n
	return h, body, f.s, nil
}

// fill reads until n bytes are there.
func (f *frameReader) fill(n int) error {
	if f.end-f.start >= n {
		return nil
	}
	f.room(n)
	for f.end-f.start < n {
		got, err := f.r.Read(f.s.b[f.end:])
		f.end += got
		if f.end-f.start >= n {
			return nil
		}
		if err != nil {
			if err == io.EOF && f.end > f.start { //nolint:errorlint // io.Reader gives it bare
				return io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

// room sees to it that n bytes fit from start on, moving to a fresh slab where frames that
// were given out lie in the way.
func (f *frameReader) room(n int) {
	have := f.end - f.start
	switch {
	case have == 0 && f.s.alone() && n <= len(f.s.b):
		f.start, f.end = 0, 0
	case n <= len(f.s.b)-f.start && (have > 0 || len(f.s.b)-f.start >= f.size/2):
	case f.s.alone() && n <= len(f.s.b):
		copy(f.s.b, f.s.b[f.start:f.end])
		f.start, f.end = 0, have
	default:
		fresh := newSlab(max(n, f.size))
		copy(fresh.b, f.s.b[f.start:f.end])
		f.s.release()
		f.s, f.start, f.end = fresh, 0, have
	}
}

// close lets the reader's own slab go.
func (f *frameReader) close() {
	f.s.release()
	f.s = nil
}
