package journal

// A checkpoint file is logicsrv's state after an LSN, opaque here, in an envelope
// (little-endian, no alignment asked of the blob):
//
//	| magic "TMQCKPT\n" | crc u32 | version u16 | 0 ×2      |  0
//	| lsn u64 | resultsFrom u64 | length u64                | 16
//	| blob, length bytes, to the end of the file            | 40
//
// crc is the CRC32C of bytes 12 … the end. Version ladder: 1.

import (
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

const (
	// CheckpointHeaderSize is what comes before the blob.
	CheckpointHeaderSize = 40
	// CheckpointVersion is the version that is written.
	CheckpointVersion = 1
	// CheckpointMagic begins the file.
	CheckpointMagic = "TMQCKPT\n"

	checkpointPrefix = "checkpoint-"
	checkpointSuffix = ".ckpt"
)

// ErrCheckpoint is wrapped by every error of a checkpoint's decoding.
var ErrCheckpoint = errors.New("damaged checkpoint")

// CheckpointHeader is the envelope's front for a blob whose pieces, one behind the other, are
// blob. The state is that after lsn; entries from resultsFrom on may bear results of inputs that
// were not yet released.
func CheckpointHeader(lsn, resultsFrom uint64, blob ...[]byte) []byte {
	h := make([]byte, CheckpointHeaderSize)
	copy(h, CheckpointMagic)
	length := 0
	for _, piece := range blob {
		length += len(piece)
	}
	le.PutUint16(h[12:], CheckpointVersion)
	le.PutUint64(h[16:], lsn)
	le.PutUint64(h[24:], resultsFrom)
	le.PutUint64(h[32:], uint64(length))
	crc := crc32.Update(0, castagnoli, h[12:])
	for _, piece := range blob {
		crc = updateCRC(crc, piece)
	}
	le.PutUint32(h[8:], crc)
	return h
}

// updateCRC is crc32.Update in pieces: the runtime cannot stop a goroutine within one call, and
// whoever waits for it to stop, which is everybody, would wait for all of a large blob.
func updateCRC(crc uint32, b []byte) uint32 {
	const piece = 256 << 10
	for len(b) > piece {
		crc = crc32.Update(crc, castagnoli, b[:piece])
		b = b[piece:]
	}
	return crc32.Update(crc, castagnoli, b)
}

// AppendCheckpoint appends the envelope with the blob in it, see CheckpointHeader.
func AppendCheckpoint(b []byte, lsn, resultsFrom uint64, blob []byte) []byte {
	return append(append(b, CheckpointHeader(lsn, resultsFrom, blob)...), blob...)
}

// DecodeCheckpoint reads a whole checkpoint file; the blob aliases b.
func DecodeCheckpoint(b []byte) (lsn, resultsFrom uint64, blob []byte, err error) {
	if len(b) < CheckpointHeaderSize {
		return 0, 0, nil, fmt.Errorf("%w: %d bytes are less than its header", ErrCheckpoint, len(b))
	}
	if string(b[:8]) != CheckpointMagic {
		return 0, 0, nil, fmt.Errorf("%w: magic %q", ErrCheckpoint, b[:8])
	}
	if have, want := updateCRC(0, b[12:]), le.Uint32(b[8:]); have != want {
		return 0, 0, nil, fmt.Errorf("%w: CRC %08x, its bytes give %08x", ErrCheckpoint, want, have)
	}
	if v := le.Uint16(b[12:]); v != CheckpointVersion || le.Uint16(b[14:]) != 0 {
		return 0, 0, nil, fmt.Errorf("%w: version %d", ErrCheckpoint, v)
	}
	if n := le.Uint64(b[32:]); n != uint64(len(b)-CheckpointHeaderSize) {
		return 0, 0, nil, fmt.Errorf("%w: says %d bytes, has %d",
			ErrCheckpoint, n, len(b)-CheckpointHeaderSize)
	}
	return le.Uint64(b[16:]), le.Uint64(b[24:]), b[CheckpointHeaderSize:], nil
}

// CheckpointName is the file name of the checkpoint after lsn.
func CheckpointName(lsn uint64) string {
	return fmt.Sprintf("%s%020d%s", checkpointPrefix, lsn, checkpointSuffix)
}

// ParseCheckpointName is the reverse; false for other files' names.
func ParseCheckpointName(name string) (lsn uint64, ok bool) {
	digits, ok := strings.CutPrefix(name, checkpointPrefix)
	if !ok {
		return 0, false
	}
	digits, ok = strings.CutSuffix(digits, checkpointSuffix)
	if !ok || len(digits) != 20 {
		return 0, false
	}
	lsn, err := strconv.ParseUint(digits, 10, 64)
	return lsn, err == nil
}
