package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"
)

// What a Cursor may find wrong. Done wraps one of them with the position.
var (
	ErrShort      = errors.New("ends too early")
	ErrTrailing   = errors.New("has bytes behind its end")
	ErrNotUnique  = errors.New("is not in its shortest form")
	ErrBool       = errors.New("has a bool that is neither 0 nor 1")
	ErrPadding    = errors.New("has padding that is not zero")
	ErrTooMany    = errors.New("has a count above its limit")
	ErrOutOfRange = errors.New("has a value out of range")
)

// Cursor reads from a slice, front to back. Its zero value reads nothing.
type Cursor struct {
	b   []byte
	off int
	err error
	at  int // where err was found
}

// Read begins at the front of b.
func Read(b []byte) Cursor { return Cursor{b: b} }

// Fail makes err the cursor's error unless it has one.
func (c *Cursor) Fail(err error) {
	if c.err == nil {
		c.err, c.at = err, c.off
		c.b = c.b[:c.off] // all later reads come up short
	}
}

// Err is the first error, without its position.
func (c *Cursor) Err() error { return c.err }

// Offset is how many bytes have been read.
func (c *Cursor) Offset() int { return c.off }

// Left is how many bytes have not been read.
func (c *Cursor) Left() int { return len(c.b) - c.off }

// Done says what went wrong, if anything did; bytes that were not read are an error.
func (c *Cursor) Done(what string) error {
	if c.err == nil && c.off != len(c.b) {
		c.Fail(ErrTrailing)
	}
	return c.Ok(what)
}

// Ok is Done for a reader that leaves the rest to another.
func (c *Cursor) Ok(what string) error {
	if c.err == nil {
		return nil
	}
	return fmt.Errorf("%s %w (byte %d)", what, c.err, c.at)
}

// take returns the next n bytes, or nil and the error set.
func (c *Cursor) take(n int) []byte {
	if n < 0 || n > len(c.b)-c.off {
		c.Fail(ErrShort)
		return nil
	}
	s := c.b[c.off : c.off+n : c.off+n]
	c.off += n
	return s
}

// U8 reads one byte.
func (c *Cursor) U8() uint8 {
	if s := c.take(1); s != nil {
		return s[0]
	}
	return 0
}

// U16 reads a little-endian integer, as do U32 and U64.
func (c *Cursor) U16() uint16 {
	if s := c.take(2); s != nil {
		return binary.LittleEndian.Uint16(s)
	}
	return 0
}

// U32 reads four bytes.
func (c *Cursor) U32() uint32 {
	if s := c.take(4); s != nil {
		return binary.LittleEndian.Uint32(s)
	}
	return 0
}

// U64 reads eight bytes.
func (c *Cursor) U64() uint64 {
	if s := c.take(8); s != nil {
		return binary.LittleEndian.Uint64(s)
	}
	return 0
}

// I16 reads a signed integer, as do I32 and I64.
func (c *Cursor) I16() int16 { return int16(c.U16()) }

// I32 reads four bytes.
func (c *Cursor) I32() int32 { return int32(c.U32()) }

// I64 reads eight bytes.
func (c *Cursor) I64() int64 { return int64(c.U64()) }

// Bool reads a byte that must be 0 or 1.
func (c *Cursor) Bool() bool {
	v := c.U8()
	if v > 1 {
		c.Fail(ErrBool)
	}
	return v == 1
}

// Uvarint reads an unsigned integer of 1 to 10 bytes, refusing a longer form than needed.
func (c *Cursor) Uvarint() uint64 {
	v, n := binary.Uvarint(c.b[c.off:])
	if n <= 0 {
		c.Fail(ErrShort)
		return 0
	}
	if n > 1 && c.b[c.off+n-1] == 0 {
		c.Fail(ErrNotUnique)
		return 0
	}
	c.off += n
	return v
}

// Count reads the number of elements that follow, each of which takes minBytes or more, and
// of which there are at most limit. It is safe to allocate so many.
func (c *Cursor) Count(minBytes, limit int) int {
	v := c.Uvarint()
	if c.err != nil {
		return 0
	}
	if v > uint64(limit) {
		c.Fail(ErrTooMany)
		return 0
	}
	if v > uint64(c.Left()/minBytes) {
		c.Fail(ErrShort)
		return 0
	}
	return int(v)
}

// Bytes reads a length and so many bytes, which alias the cursor's slice. Empty is nil.
func (c *Cursor) Bytes() []byte {
	n := c.Uvarint()
	if c.err != nil || n == 0 {
		return nil
	}
	if n > uint64(c.Left()) {
		c.Fail(ErrShort)
		return nil
	}
	return c.take(int(n))
}

// String reads a length and a copy of so many bytes.
func (c *Cursor) String() string { return string(c.Bytes()) }

// Alias is String without the copy: the string is valid, and unchanging, only as long as
// the cursor's slice is.
func (c *Cursor) Alias() string {
	s := c.Bytes()
	return unsafe.String(unsafe.SliceData(s), len(s))
}

// Raw reads n bytes, which alias the cursor's slice.
func (c *Cursor) Raw(n int) []byte { return c.take(n) }

// Zero skips n bytes that must be zero.
func (c *Cursor) Zero(n int) {
	for _, v := range c.take(n) {
		if v != 0 {
			c.Fail(ErrPadding)
			return
		}
	}
}

// Pad8 skips zeros up to a multiple of 8 from the front.
func (c *Cursor) Pad8() { c.Zero(-c.off & 7) }
