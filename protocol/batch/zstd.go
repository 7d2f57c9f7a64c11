package batch

import (
	"errors"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/trimq/trimq/protocol/errcode"
)

// Coders are large (about 1 MiB each) and are shared through pools. Each works in the
// goroutine that calls it; several calls in parallel take several coders.
var (
	encoders = sync.Pool{New: func() any {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest),
			zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
		if err != nil {
			panic("batch: zstd encoder: " + err.Error()) // constant options: cannot fail
		}
		return e
	}}
	decoders = sync.Pool{New: func() any {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxMemory(MaxBytes), zstd.WithDecoderMaxWindow(MaxBytes),
			zstd.WithDecodeAllCapLimit(true))
		if err != nil {
			panic("batch: zstd decoder: " + err.Error())
		}
		return d
	}}
)

// maxBlock is what one zstd block may decode to; the smallest block takes minBlock bytes.
const (
	maxBlock = 128 << 10
	minBlock = 3
)

func zstdCompress(dst, src []byte) []byte {
	e := encoders.Get().(*zstd.Encoder)
	dst = e.EncodeAll(src, dst)
	encoders.Put(e)
	return dst
}

// zstdDecompress appends what src decompresses to, at most limit bytes. Memory is taken in
// proportion to what was really decoded, whatever the frame claims.
func zstdDecompress(dst, src []byte, limit int) ([]byte, error) {
	if bound := (len(src)/minBlock + 1) * maxBlock; bound < limit {
		limit = bound
	}
	want := min(limit, claimedSize(src, limit))
	d := decoders.Get().(*zstd.Decoder)
	defer decoders.Put(d)
	for {
		if cap(dst) < want {
			dst = make([]byte, 0, want)
		}
		// The decoder never grows the slice (cap limit), so that a lying frame costs what
		// we gave it and no more.
		out, err := d.DecodeAll(src, dst[:0:min(cap(dst), limit)])
		if err == nil {
			return out, nil
		}
		if !errors.Is(err, zstd.ErrDecoderSizeExceeded) || cap(dst) >= limit {
			return dst, fail(errcode.InvalidBatch, "zstd: %v (at most %d bytes)", err, limit)
		}
		want = min(limit, 4*max(1024, cap(dst)))
	}
}

// claimedSize is a first guess at the decompressed size: the frame's own claim where it is
// plausible (a ratio up to 32), a multiple of the input otherwise.
func claimedSize(src []byte, limit int) int {
	guess := 8*len(src) + 1024
	var h zstd.Header
	if h.Decode(src) == nil && h.HasFCS && h.FrameContentSize <= uint64(min(limit, 32*len(src)+4096)) {
		guess = int(h.FrameContentSize)
	}
	return guess
}
