package batch

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"

	"github.com/trimq/trimq/protocol/errcode"
)

// decompress appends to dst, which is empty, what src decompresses to: at most limit bytes.
// Memory is taken in proportion to what can really come out of src, whatever it claims.
//
// REQUIRES: codec is not None.
func decompress(dst, src []byte, codec Codec, limit int) ([]byte, error) {
	switch codec {
	case Gzip:
		return gunzip(dst, src, limit)
	case Snappy:
		return unsnap(dst, src, limit)
	case LZ4:
		return unlz4(dst, src, limit)
	case Zstd:
		return zstdDecompress(dst, src, limit)
	}
	return dst, fail(errcode.InvalidBatch, "codec %d is unknown", codec)
}

// tooLarge says of a batch that there is more in it than its reader takes.
func tooLarge(codec Codec, limit int) error {
	return fail(errcode.InvalidBatch, "%s: more than %d bytes come out of the batch", codec, limit)
}

// Decoders of gzip hold a window of 32 KiB and tables; they are shared through a pool.
var gunzippers = sync.Pool{New: func() any { return new(gzip.Reader) }}

// errFull says that there is more than may be taken.
var errFull = errors.New("full")

// gunzip is decompress for gzip: one member, or several.
func gunzip(dst, src []byte, limit int) ([]byte, error) {
	z := gunzippers.Get().(*gzip.Reader)
	defer gunzippers.Put(z)
	err := z.Reset(bytes.NewReader(src))
	if err == nil {
		dst, err = readUpTo(dst, z, 4*len(src)+1024, limit)
	}
	switch {
	case errors.Is(err, errFull):
		return dst, tooLarge(Gzip, limit)
	case err != nil:
		return dst, fail(errcode.InvalidBatch, "gzip: %v", err)
	}
	return dst, nil
}

// readUpTo appends what a reader gives; guess is a first guess at how much that is. errFull: it is
// more than limit bytes.
func readUpTo(dst []byte, z io.Reader, guess, limit int) ([]byte, error) {
	for {
		if len(dst) == cap(dst) {
			dst = larger(dst, min(guess, limit+1))
		}
		n, err := z.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		switch {
		case len(dst) > limit:
			return dst, errFull
		case errors.Is(err, io.EOF):
			return dst, nil
		case err != nil:
			return dst, err
		}
	}
}

// larger moves what dst holds into twice the memory, or into want bytes where that is more.
func larger(dst []byte, want int) []byte {
	bigger := make([]byte, len(dst), max(want, 2*cap(dst), 512))
	copy(bigger, dst)
	return bigger
}
