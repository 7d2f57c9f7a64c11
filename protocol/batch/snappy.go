package batch

import (
	"encoding/binary"

	"github.com/klauspost/compress/s2"

	"github.com/trimq/trimq/protocol/errcode"
)

// Snappy in a batch comes in one of two forms: as one block (franz-go, librdkafka), or as the stream
// of blocks of a Java library (Apache's client, sarama), big endian:
//
//	 0  magic       8 bytes   82 'SNAPPY' 00
//	 8  version     i32       1
//	12  compatible  i32       1
//	16  blocks                length i32 | block, to the end
const (
	xerialMagic  = "\x82SNAPPY\x00"
	xerialHeader = len(xerialMagic) + 8
)

// snappyRatio is how many bytes come out of one at most: a copy of 64 bytes takes three.
const snappyRatio = 22

// unsnap is decompress for snappy.
func unsnap(dst, src []byte, limit int) ([]byte, error) {
	if len(src) < xerialHeader || string(src[:len(xerialMagic)]) != xerialMagic {
		return appendBlock(dst, src, limit)
	}
	for src = src[xerialHeader:]; len(src) > 0; {
		if len(src) < 4 {
			return dst, fail(errcode.InvalidBatch, "snappy: %d bytes behind the last block", len(src))
		}
		n := binary.BigEndian.Uint32(src)
		src = src[4:]
		if int64(n) > int64(len(src)) {
			return dst, fail(errcode.InvalidBatch, "snappy: a block claims %d bytes, %d are there", n, len(src))
		}
		var err error
		if dst, err = appendBlock(dst, src[:n], limit); err != nil {
			return dst, err
		}
		src = src[n:]
	}
	return dst, nil
}

// appendBlock appends what one block decompresses to.
func appendBlock(dst, block []byte, limit int) ([]byte, error) {
	size, err := s2.DecodedLen(block)
	switch {
	case err != nil || int64(size) > snappyRatio*int64(len(block)):
		return dst, fail(errcode.InvalidBatch, "snappy: a block of %d bytes is none", len(block))
	case size > limit-len(dst):
		return dst, tooLarge(Snappy, limit)
	}
	if cap(dst)-len(dst) < size {
		dst = larger(dst, len(dst)+size)
	}
	out, err := s2.Decode(dst[len(dst):len(dst)+size:len(dst)+size], block)
	if err != nil {
		return dst, fail(errcode.InvalidBatch, "snappy: %v", err)
	}
	return dst[:len(dst)+len(out)], nil
}
