package journal

// The front of a body (RecordBatch v2, big-endian as Kafka has it), which is patched when
// the body is written and which its own CRC does not cover:
//
//	| baseOffset i64 | batchLength i32 | partitionLeaderEpoch i32 | magic i8 | crc u32 | CRC covers from here |
//	0                8                 12                         16         17        21
//
// protocol/batch draws the rest.

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

const (
	// BodyPrefixSize is how much of a body's front depends on where it is stored.
	BodyPrefixSize = 16
	batchMagicAt   = 16
	batchCRCAt     = 17
	batchCovered   = 21
	batchMagic     = 2
	// minBody is the length of an empty RecordBatch; shorter ones cannot be.
	minBody = 61
)

// Prefix is the first BodyPrefixSize bytes of the body as they are to be stored.
func (x *Body) Prefix() (p [BodyPrefixSize]byte) {
	binary.BigEndian.PutUint64(p[0:], x.Base)
	binary.BigEndian.PutUint32(p[8:], x.Length-12)
	binary.BigEndian.PutUint32(p[12:], uint32(x.Epoch))
	return p
}

// Verify says whether stored is this body, whole and undamaged.
func (x *Body) Verify(stored []byte) error {
	if uint64(len(stored)) != uint64(x.Length) || len(stored) < minBody {
		return fmt.Errorf("%w: %d bytes, the table says %d", ErrBody, len(stored), x.Length)
	}
	if p := x.Prefix(); string(stored[:BodyPrefixSize]) != string(p[:]) {
		return fmt.Errorf("%w: front %x, the table says %x", ErrBody, stored[:BodyPrefixSize], p)
	}
	if stored[batchMagicAt] != batchMagic {
		return fmt.Errorf("%w: magic %d", ErrBody, stored[batchMagicAt])
	}
	if crc := binary.BigEndian.Uint32(stored[batchCRCAt:]); crc != x.CRC {
		return fmt.Errorf("%w: CRC %08x, the table says %08x", ErrBody, crc, x.CRC)
	}
	if crc := crc32.Checksum(stored[batchCovered:], castagnoli); crc != x.CRC {
		return fmt.Errorf("%w: its bytes give CRC %08x, not %08x", ErrBody, crc, x.CRC)
	}
	return nil
}
