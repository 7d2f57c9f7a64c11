package batch

import (
	"bytes"
	"encoding/binary"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/pierrec/lz4/v4"

	"github.com/trimq/trimq/protocol/errcode"
)

// Encoders of gzip and lz4 hold windows and tables; they are shared through pools.
var (
	gzippers = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}
	lz4ers   = sync.Pool{New: func() any { return new(lz4.CompressorHC) }}
)

// compress appends src as a codec packs it: the counterpart of decompress, for batches of which
// records were left out.
//
// REQUIRES: codec is not None.
func compress(dst, src []byte, codec Codec) ([]byte, error) {
	switch codec {
	case Gzip:
		return gzipped(dst, src)
	case Snappy:
		return append(dst, s2.EncodeSnappy(nil, src)...), nil
	case LZ4:
		return lz4Framed(dst, src)
	case Zstd:
		return zstdCompress(dst, src), nil
	}
	return dst, fail(errcode.InvalidBatch, "codec %d is unknown", codec)
}

// gzipped is compress for gzip.
func gzipped(dst, src []byte) ([]byte, error) {
	z := gzippers.Get().(*gzip.Writer)
	defer gzippers.Put(z)
	out := bytes.NewBuffer(dst)
	z.Reset(out)
	if _, err := z.Write(src); err != nil {
		return dst, fail(errcode.InvalidBatch, "gzip: %v", err)
	}
	if err := z.Close(); err != nil {
		return dst, fail(errcode.InvalidBatch, "gzip: %v", err)
	}
	return out.Bytes(), nil
}

// A frame of lz4 that is written here has the independent blocks of 64 KiB that all of Kafka's clients
// read, and no checksums but that of its head.
const (
	lz4WrittenFlags = 1<<6 | lz4Independent
	lz4WrittenBlock = 4 << 4
	lz4WrittenSize  = 64 << 10
	// lz4HeadSum is the second byte of the xxhash32 of the two bytes above, which are always the same.
	lz4HeadSum = 0x82
)

// lz4Framed is compress for lz4.
func lz4Framed(dst, src []byte) ([]byte, error) {
	c := lz4ers.Get().(*lz4.CompressorHC)
	defer lz4ers.Put(c)
	dst = binary.LittleEndian.AppendUint32(dst, lz4Magic)
	dst = append(dst, lz4WrittenFlags, lz4WrittenBlock, lz4HeadSum)
	packed := make([]byte, lz4.CompressBlockBound(lz4WrittenSize))
	for len(src) > 0 {
		block := src[:min(len(src), lz4WrittenSize)]
		src = src[len(block):]
		n, err := c.CompressBlock(block, packed)
		if err != nil {
			return dst, fail(errcode.InvalidBatch, "lz4: %v", err)
		}
		if n == 0 || n >= len(block) { // it does not become smaller
			dst = binary.LittleEndian.AppendUint32(dst, uint32(len(block))|lz4Uncompressed)
			dst = append(dst, block...)
			continue
		}
		dst = binary.LittleEndian.AppendUint32(dst, uint32(n))
		dst = append(dst, packed[:n]...)
	}
	return binary.LittleEndian.AppendUint32(dst, 0), nil
}
