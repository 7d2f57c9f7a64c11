package batch

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"
)

func TestVarintsAgainstTheStandardLibrary(t *testing.T) {
	values := []int64{0, 1, -1, 63, -64, 64, 8191, -8192, 8192, math.MaxInt32, math.MinInt32, math.MaxInt32 + 1, math.MaxInt64, math.MinInt64}
	for shift := range 63 {
		values = append(values, 1<<shift, -1<<shift, 1<<shift-1)
	}
	for _, v := range values {
		want := binary.AppendVarint(nil, v)
		got := make([]byte, uvarintLen(zigzag(v)))
		if n := putUvarint(got, 0, zigzag(v)); n != len(got) || !bytes.Equal(got, want) {
			t.Fatalf("%d: % x, want % x", v, got, want)
		}
		if back, n := varint64(got, 0); back != v || n != len(got) {
			t.Fatalf("varint64(%d) = %d, %d", v, back, n)
		}
		back, n := varint32(got, 0)
		if fits := v >= math.MinInt32 && v <= math.MaxInt32; fits != (n != 0) || fits && int64(back) != v {
			t.Fatalf("varint32(%d) = %d, %d", v, back, n)
		}
	}
}

func TestVarintsAreBounded(t *testing.T) {
	for _, c := range []struct {
		name  string
		bytes string
		n32   int
		n64   int
	}{
		{"empty", "", 0, 0},
		{"cut", "\x80", 0, 0},
		{"five bytes", "\xff\xff\xff\xff\x0f", 5, 5},
		{"five bytes, 33 bits", "\xff\xff\xff\xff\x1f", 0, 5},
		{"six bytes", "\x80\x80\x80\x80\x80\x01", 0, 6},
		{"longer than needed", "\x80\x00", 2, 2},
		{"ten bytes", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 0, 10},
		{"65 bits", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 0, 0},
		{"eleven bytes", "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 0, 0},
	} {
		if _, n := varint32([]byte(c.bytes), 0); n != c.n32 {
			t.Errorf("%s: varint32 ends at %d, want %d", c.name, n, c.n32)
		}
		if _, n := varint64([]byte(c.bytes), 0); n != c.n64 {
			t.Errorf("%s: varint64 ends at %d, want %d", c.name, n, c.n64)
		}
	}
}
