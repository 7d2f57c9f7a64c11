package wire

import (
	"bytes"
	"errors"
	"testing"
)

func TestCursorReadsWhatWasAppended(t *testing.T) {
	b := []byte{7}
	b = AppendU16(b, 0x0102)
	b = AppendU32(b, 0x01020304)
	b = AppendU64(b, 0x0102030405060708)
	b = AppendBool(AppendBool(b, true), false)
	b = AppendUvarint(b, 300)
	b = AppendString(b, "name")
	b = AppendBytes(b, nil)
	b = AppendString(b, "alias")
	b = AppendPad8(b, 0)
	c := Read(b)
	if c.U8() != 7 || c.U16() != 0x0102 || c.U32() != 0x01020304 || c.U64() != 0x0102030405060708 ||
		!c.Bool() || c.Bool() || c.Uvarint() != 300 || c.String() != "name" || c.Bytes() != nil ||
		c.Alias() != "alias" {
		t.Errorf("stopped at byte %d: %v", c.Offset(), c.Err())
	}
	c.Pad8()
	if err := c.Done("all"); err != nil || len(b)%8 != 0 {
		t.Errorf("%v, %d bytes", err, len(b))
	}
}

func TestCursorSigned(t *testing.T) {
	c := Read(AppendU64(AppendU32(AppendU16(nil, 0xfffe), 0xfffffffd), ^uint64(3)))
	if c.I16() != -2 || c.I32() != -3 || c.I64() != -4 {
		t.Error("signs are lost")
	}
}

func TestCursorErrors(t *testing.T) {
	for _, x := range []struct {
		name string
		b    []byte
		read func(c *Cursor)
		want error
	}{
		{"nothing there", nil, func(c *Cursor) { c.U64() }, ErrShort},
		{"a byte too few", make([]byte, 3), func(c *Cursor) { c.U32() }, ErrShort},
		{"a byte too many", make([]byte, 3), func(c *Cursor) { c.U16() }, ErrTrailing},
		{"bool of 2", []byte{2}, func(c *Cursor) { c.Bool() }, ErrBool},
		{"uvarint cut short", []byte{0x80}, func(c *Cursor) { c.Uvarint() }, ErrShort},
		{"uvarint too long", []byte{0x81, 0}, func(c *Cursor) { c.Uvarint() }, ErrNotUnique},
		{"uvarint of 11 bytes", bytes.Repeat([]byte{0x80}, 11), func(c *Cursor) { c.Uvarint() }, ErrShort},
		{"string longer than the rest", []byte{5, 'a'}, func(c *Cursor) { _ = c.String() }, ErrShort},
		{"huge string", AppendUvarint(nil, 1<<63), func(c *Cursor) { _ = c.String() }, ErrShort},
		{"more elements than bytes", []byte{9, 0, 0}, func(c *Cursor) { c.Count(1, 100) }, ErrShort},
		{"more elements than allowed", append([]byte{9}, make([]byte, 9)...), func(c *Cursor) { c.Count(1, 8) }, ErrTooMany},
		{"padding that is not zero", []byte{1, 0, 0, 0, 0, 0, 0, 1}, func(c *Cursor) { c.U8(); c.Pad8() }, ErrPadding},
		{"padding that is not there", []byte{1, 0, 0}, func(c *Cursor) { c.U8(); c.Pad8() }, ErrShort},
		{"negative raw", []byte{1}, func(c *Cursor) { c.Raw(-1) }, ErrShort},
	} {
		c := Read(x.b)
		x.read(&c)
		if err := c.Done("thing"); !errors.Is(err, x.want) {
			t.Errorf("%s: %v, want %v", x.name, err, x.want)
		}
	}
}

// The first error sticks: everything after it is zero, and Done reports the first.
func TestCursorErrorSticks(t *testing.T) {
	c := Read([]byte{2, 1, 1, 1, 1, 1, 1, 1, 1})
	c.Bool()
	if c.U8() != 0 || c.U64() != 0 || c.Uvarint() != 0 || c.Count(1, 10) != 0 || c.Alias() != "" || c.Raw(1) != nil {
		t.Error("reads on after an error")
	}
	if err := c.Done("thing"); !errors.Is(err, ErrBool) {
		t.Error(err)
	}
}

func TestCountMakesAllocationSafe(t *testing.T) {
	b := append(AppendUvarint(nil, 3), make([]byte, 24)...)
	c := Read(b)
	if n := c.Count(8, 100); n != 3 {
		t.Errorf("%d elements, %v", n, c.Err())
	}
}
