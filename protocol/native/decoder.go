package native

import (
	"fmt"
	"io"
)

// Frame is one frame; Body aliases the memory that it was read into.
type Frame struct {
	Header
	Body []byte
}

// Decoder cuts a stream into frames. It reads as much as there is and its buffer holds;
// the buffer grows for a frame that needs it, up to the limit.
type Decoder struct {
	r        io.Reader
	buf      []byte // [start, end) is read and not given out yet
	start    int
	end      int
	size     int // of a new buffer
	maxFrame int
}

// NewDecoder reads from r frames of at most maxFrame bytes, through a buffer of size bytes.
func NewDecoder(r io.Reader, size, maxFrame int) *Decoder {
	size = max(size, FrameHeaderSize)
	return &Decoder{r: r, buf: make([]byte, size), size: size, maxFrame: max(maxFrame, FrameHeaderSize)}
}

// SetMaxFrame changes the limit, as HELLO's response sets it.
func (d *Decoder) SetMaxFrame(n int) { d.maxFrame = max(n, FrameHeaderSize) }

// Buffered is how many bytes have been read and not given out.
func (d *Decoder) Buffered() int { return d.end - d.start }

// Next gives the next frame; its Body is valid until the next call unless Detach comes
// between. io.EOF between frames is the stream's end, io.ErrUnexpectedEOF one inside.
func (d *Decoder) Next() (Frame, error) {
	if err := d.fill(FrameHeaderSize); err != nil {
		return Frame{}, err
	}
	h, err := ParseHeader(d.buf[d.start:d.end], d.maxFrame)
	if err != nil {
		return Frame{Header: h}, err
	}
	if err := d.fill(h.FrameLen()); err != nil {
		return Frame{Header: h}, err
	}
	end := d.start + h.FrameLen()
	f := Frame{Header: h, Body: d.buf[d.start+FrameHeaderSize : end : end]}
	d.start = end
	return f, nil
}

// Detach leaves the memory of all frames given so far to the caller, and goes on with
// next (nil: a new buffer). Bytes read beyond them are copied.
func (d *Decoder) Detach(next []byte) {
	rest := d.buf[d.start:d.end]
	if len(next) < max(len(rest), FrameHeaderSize) {
		next = make([]byte, max(d.size, len(rest)))
	}
	d.end = copy(next, rest)
	d.start = 0
	d.buf = next
}

// fill reads until n bytes are there.
func (d *Decoder) fill(n int) error {
	if d.end-d.start >= n {
		return nil
	}
	if d.start == d.end {
		d.start, d.end = 0, 0
	}
	if n > len(d.buf)-d.start {
		d.move(n)
	}
	for empty := 0; d.end-d.start < n; {
		got, err := d.r.Read(d.buf[d.end:])
		if got < 0 || got > len(d.buf)-d.end {
			return fmt.Errorf("read frames: the reader claims %d bytes", got)
		}
		d.end += got
		if d.end-d.start >= n {
			return nil
		}
		if err != nil {
			if err == io.EOF && d.end > d.start { //nolint:errorlint // io.Reader gives it bare
				return io.ErrUnexpectedEOF
			}
			return err
		}
		if got > 0 {
			empty = 0
		} else if empty++; empty == 100 {
			return io.ErrNoProgress
		}
	}
	return nil
}

// move brings the unread bytes to the front of a buffer of at least n bytes.
func (d *Decoder) move(n int) {
	to := d.buf
	if n > len(to) {
		to = make([]byte, n)
	}
	d.end = copy(to, d.buf[d.start:d.end])
	d.start = 0
	d.buf = to
}
