package batch

import "math/bits"

// Zigzag varints, least significant group first: 7 bits a byte, the high bit says that
// more follow. Written by hand because a record has six of them and most are one byte.

func zigzag(v int64) uint64   { return uint64(v<<1) ^ uint64(v>>63) }
func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

// uvarintLen is the encoded size of u: ⌈bits/7⌉, at least 1.
func uvarintLen(u uint64) int { return (bits.Len64(u|1)*9 + 64) >> 6 }

// putUvarint writes u at b[i:] and gives the index behind it.
//
// REQUIRES: uvarintLen(u) bytes of room.
func putUvarint(b []byte, i int, u uint64) int {
	for u >= 0x80 {
		b[i] = byte(u) | 0x80
		u >>= 7
		i++
	}
	b[i] = byte(u)
	return i + 1
}

// varint32 reads an i32 at b[i:]; next is 0 where the varint is cut off, longer than five
// bytes, or out of range.
func varint32(b []byte, i int) (v int32, next int) {
	if uint(i) >= uint(len(b)) {
		return 0, 0
	}
	c := b[i]
	if c < 0x80 {
		return int32(c>>1) ^ -int32(c&1), i + 1
	}
	if i+1 < len(b) && b[i+1] < 0x80 { // most lengths take two bytes
		u := uint32(c&0x7f) | uint32(b[i+1])<<7
		return int32(u>>1) ^ -int32(u&1), i + 2
	}
	u, next := uvarint(b, i, 5)
	if next == 0 || u > 1<<32-1 {
		return 0, 0
	}
	return int32(unzigzag(u)), next
}

// varint64 reads an i64 at b[i:]; next as for varint32.
func varint64(b []byte, i int) (v int64, next int) {
	if uint(i) >= uint(len(b)) {
		return 0, 0
	}
	if c := b[i]; c < 0x80 {
		return int64(c>>1) ^ -int64(c&1), i + 1
	}
	u, next := uvarint(b, i, 10)
	return unzigzag(u), next
}

// uvarint reads at most maxLen bytes; next is 0 where the number does not end within
// them, or does not fit 64 bits.
func uvarint(b []byte, i, maxLen int) (u uint64, next int) {
	var shift uint
	for n := 0; n < maxLen; n++ {
		if i >= len(b) {
			return 0, 0
		}
		c := b[i]
		i++
		if n == 9 && c > 1 {
			return 0, 0
		}
		u |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return u, i
		}
		shift += 7
	}
	return 0, 0
}
