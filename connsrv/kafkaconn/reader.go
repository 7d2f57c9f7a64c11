package kafkaconn

import "encoding/binary"

// reader takes the parts of a Produce request off the front of the bytes that have come. Whether
// bytes are missing or wrong is told by fault: what is read after one has no meaning.
type reader struct {
	b     []byte // that have come, of this request
	at    int
	total int // how many bytes the request has from the front of b on
	fault fault
}

// fault is why a part cannot be read.
type fault uint8

const (
	sound     fault = iota
	short           // more bytes must come
	malformed       // no bytes could mend it
)

// maxText bounds what one part of a request takes, in bytes: names and tagged fields are short.
const maxText = 64 << 10

// take is the next n bytes; nil with a fault.
func (r *reader) take(n int) []byte {
	switch {
	case r.fault != sound:
		return nil
	case n < 0 || n > r.total-r.at || n > maxText:
		r.fault = malformed
		return nil
	case n > len(r.b)-r.at:
		r.fault = short
		return nil
	}
	r.at += n
	return r.b[r.at-n : r.at : r.at]
}

func (r *reader) i16() int16 {
	if b := r.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (r *reader) i32() int32 {
	if b := r.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

// uvarint reads up to 32 bits.
func (r *reader) uvarint() uint32 {
	v := uint32(0)
	for shift := 0; ; shift += 7 {
		b := r.take(1)
		if b == nil {
			return 0
		}
		if shift == 28 && b[0] > 0x0f {
			r.fault = malformed
			return 0
		}
		v |= uint32(b[0]&0x7f) << shift
		if b[0] < 0x80 {
			return v
		}
	}
}

// length reads the length of something that may be null: −1.
func (r *reader) length(compact bool, wide bool) int {
	switch {
	case compact:
		return int(r.uvarint()) - 1
	case wide:
		return int(r.i32())
	default:
		return int(r.i16())
	}
}

// text reads a string; nil: it is null.
func (r *reader) text(compact bool) []byte {
	n := r.length(compact, false)
	if n < 0 {
		return nil
	}
	return r.take(n)
}

// count reads the number of elements of a list, each of which takes so many bytes at least.
func (r *reader) count(compact bool, minBytes int) int {
	n := max(0, r.length(compact, true))
	if n > (r.total-r.at)/minBytes && r.fault == sound {
		r.fault = malformed
		return 0
	}
	return n
}

// tags passes over tagged fields.
func (r *reader) tags(flexible bool) {
	if !flexible {
		return
	}
	for n := r.tagCount(); n > 0 && r.fault == sound; n-- {
		r.uvarint()
		r.take(int(r.uvarint()))
	}
}

// tagCount reads the number of tagged fields, each of which takes two bytes at least.
func (r *reader) tagCount() int {
	n := int(r.uvarint())
	if n > (r.total-r.at)/2 && r.fault == sound {
		r.fault = malformed
		return 0
	}
	return n
}
