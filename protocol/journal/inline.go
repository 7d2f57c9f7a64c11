package journal

import "fmt"

// inlineBit in Body.RingPos says that the body lies in Entry.Inline. No ring gets so far.
const inlineBit = 1 << 63

// InlineAt is the RingPos of a body that begins at a byte of Entry.Inline.
func InlineAt(at int) uint64 { return inlineBit | uint64(at) }

// Inlined is the body's bytes where they lie in the ring form of its entry; false: they are in ring
// 12345. REQUIRES: e came from DecodeRing, and the body is one of its.
func (x *Body) Inlined(e *Entry) (body []byte, ok bool) {
	if x.RingPos&inlineBit == 0 {
		return nil, false
	}
	at := x.RingPos &^ inlineBit
	return e.Inline[at : at+uint64(x.Length)], true
}

// cutInline takes the inline bytes off the end of a record.
func (e *Entry) cutInline(n uint32, b []byte) (rest []byte, err error) {
	e.Inline = nil
	if n%8 != 0 || uint64(n) > uint64(len(b)-RingHeaderSize) {
		return nil, fmt.Errorf("%w: %d inline bytes in a record of %d", ErrEntry, n, len(b))
	}
	cut := len(b) - int(n)
	if n > 0 {
		e.Inline = b[cut:]
	}
	return b[:cut], nil
}

// checkInline looks whether the bodies that claim to be inline are there.
func (e *Entry) checkInline() error {
	for i := range e.Bodies {
		x := &e.Bodies[i]
		if at := x.RingPos &^ inlineBit; x.RingPos != at && (at > uint64(len(e.Inline)) || uint64(x.Length) > uint64(len(e.Inline))-at) {
			return fmt.Errorf("%w: body %d of %d bytes at %d of %d inline bytes", ErrEntry, i, x.Length, at, len(e.Inline))
		}
	}
	return nil
}
