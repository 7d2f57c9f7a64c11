package amqp

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrMalformed is wrapped by all errors of decoders.
var ErrMalformed = errors.New("malformed")

// reader reads arguments. A read beyond the end gives zeros, and an error at the end of all.
type reader struct {
	b   []byte
	bad bool
}

// take gives the next n bytes; nil: there are not so many.
func (r *reader) take(n int) []byte {
	if r.bad || n > len(r.b) {
		r.bad = true
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) octet() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) short() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) long() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) longlong() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *reader) shortstr() []byte { return r.take(int(r.octet())) }

func (r *reader) longstr() []byte { return r.take(int(r.long())) }

func (r *reader) table() Table {
	t := Table(r.longstr())
	if !r.bad && t.check(0) != nil {
		r.bad = true
	}
	return t
}

func (r *reader) done(m Method) error {
	switch {
	case r.bad:
		return fmt.Errorf("%w: the arguments of %s", ErrMalformed, m)
	case len(r.b) > 0:
		return fmt.Errorf("%w: %d bytes behind the arguments of %s", ErrMalformed, len(r.b), m)
	}
	return nil
}

func (r *reader) doneProperties() error {
	if r.bad || len(r.b) > 0 {
		return fmt.Errorf("%w: the properties of a content", ErrMalformed)
	}
	return nil
}

func appendOctet(b []byte, v uint8) []byte     { return append(b, v) }
func appendShort(b []byte, v uint16) []byte    { return binary.BigEndian.AppendUint16(b, v) }
func appendLong(b []byte, v uint32) []byte     { return binary.BigEndian.AppendUint32(b, v) }
func appendLonglong(b []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(b, v) }

// MaxShortstr is how long a shortstr can be.
const MaxShortstr = 255

// appendShortstr appends a string, or its beginning where it is too long: what cannot be longer
// was bounded before, and a text is better cut than a frame broken.
func appendShortstr(b []byte, v []byte) []byte {
	v = v[:min(len(v), MaxShortstr)]
	return append(append(b, byte(len(v))), v...)
}

func appendLongstr(b []byte, v []byte) []byte { return append(appendLong(b, uint32(len(v))), v...) }

func appendTable(b []byte, t Table) []byte { return appendLongstr(b, t) }

func appendBits(b []byte, bits ...bool) []byte {
	var v byte
	for i, set := range bits {
		if set {
			v |= 1 << i
		}
	}
	return append(b, v)
}
