package batch

import (
	"encoding/binary"

	"github.com/pierrec/lz4/v4"

	"github.com/trimq/trimq/protocol/errcode"
)

// LZ4 in a batch is a frame of LZ4's own format, little endian:
//
//	0  magic        u32   184D2204
//	4  flags        u8    bits 7–6 version (01), 5 blocks are independent, 4 block checksums,
//	                      3 content size, 2 content checksum, 0 dictionary id
//	5  block size   u8    bits 6–4: 4 is 64 KiB, 5 256 KiB, 6 1 MiB, 7 4 MiB
//	   content size u64   where flagged
//	   checksum     u8    of the frame's head
//	   blocks             length u32 (bit 31: not compressed) | bytes | checksum u32 where flagged
//	   end          u32   0
//	   checksum     u32   of the content, where flagged
//
// Frames may follow each other. Checksums are not looked at: the batch has one of its own.
const (
	lz4Magic        = 0x184D2204
	lz4Independent  = 0x20
	lz4BlockSums    = 0x10
	lz4ContentSize  = 0x08
	lz4ContentSum   = 0x04
	lz4Dictionary   = 0x01
	lz4Uncompressed = 1 << 31
	lz4Window       = 64 << 10 // how far back a block refers to those before it
	// lz4Ratio is how many bytes come out of one at most.
	lz4Ratio = 255
)

// lz4Frame is what is left to read of a frame.
type lz4Frame struct {
	src      []byte
	flags    byte
	maxBlock int
	start    int // where in the output it begins
}

// unlz4 is decompress for lz4.
func unlz4(dst, src []byte, limit int) ([]byte, error) {
	for len(src) > 0 {
		f, ok := beginLZ4(src, len(dst))
		if !ok {
			return dst, fail(errcode.InvalidBatch, "lz4: %d bytes are not the head of a frame", len(src))
		}
		for more := true; more; {
			var err error
			if dst, more, err = f.block(dst, limit); err != nil {
				return dst, err
			}
		}
		src = f.src
	}
	return dst, nil
}

// beginLZ4 reads the head of a frame.
func beginLZ4(src []byte, start int) (f lz4Frame, ok bool) {
	if len(src) < 7 || binary.LittleEndian.Uint32(src) != lz4Magic {
		return f, false
	}
	f.flags, f.start = src[4], start
	size := src[5] >> 4 & 7
	head := 7
	if f.flags&lz4ContentSize != 0 {
		head += 8
	}
	if f.flags>>6 != 1 || f.flags&lz4Dictionary != 0 || size < 4 || len(src) < head {
		return f, false
	}
	f.maxBlock = 1 << (8 + 2*size)
	f.src = src[head:]
	return f, true
}

// take cuts n bytes off what is left.
func (f *lz4Frame) take(n int) (b []byte, ok bool) {
	if n > len(f.src) {
		return nil, false
	}
	b, f.src = f.src[:n], f.src[n:]
	return b, true
}

// block appends what the next block decompresses to; more is false behind the last one.
func (f *lz4Frame) block(dst []byte, limit int) (out []byte, more bool, err error) {
	head, ok := f.take(4)
	if !ok {
		return dst, false, fail(errcode.InvalidBatch, "lz4: the frame has no end")
	}
	word := binary.LittleEndian.Uint32(head)
	if word == 0 {
		if _, ok = f.take(int(f.flags & lz4ContentSum)); !ok { // the flag is as large as the checksum
			return dst, false, fail(errcode.InvalidBatch, "lz4: the frame's checksum is cut off")
		}
		return dst, false, nil
	}
	size := int(word &^ lz4Uncompressed)
	packed, ok := f.take(size)
	if ok && f.flags&lz4BlockSums != 0 {
		_, ok = f.take(4)
	}
	if !ok || size > f.maxBlock {
		return dst, false, fail(errcode.InvalidBatch, "lz4: a block claims %d bytes", size)
	}
	if word&lz4Uncompressed != 0 {
		if len(dst)+size > limit {
			return dst, false, tooLarge(LZ4, limit)
		}
		return append(dst, packed...), true, nil
	}
	out, err = f.unpack(dst, packed, limit)
	return out, err == nil, err
}

// unpack appends what the bytes of a compressed block decompress to.
func (f *lz4Frame) unpack(dst, packed []byte, limit int) ([]byte, error) {
	room := min(f.maxBlock, lz4Ratio*len(packed), limit-len(dst))
	if cap(dst)-len(dst) < room {
		dst = larger(dst, len(dst)+room)
	}
	var before []byte
	if f.flags&lz4Independent == 0 {
		before = dst[max(f.start, len(dst)-lz4Window):]
	}
	n, err := lz4.UncompressBlockWithDict(packed, dst[len(dst):len(dst)+room], before)
	switch {
	case err != nil && room == limit-len(dst):
		return dst, tooLarge(LZ4, limit)
	case err != nil:
		return dst, fail(errcode.InvalidBatch, "lz4: %v", err)
	}
	return dst[:len(dst)+n], nil
}
