package batch

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"

	"github.com/trimq/trimq/protocol/ipc"
)

// Stamp gives a batch the time at which it came: all its records bear it from then on, whatever their
// producer has said. The records are not read: CRCs are linear, so the new one follows from the old one,
// from the bits that change, and from how many bytes lie behind them.
//
// REQUIRES: b is a whole batch, and m what Validate has found of it; m is changed as b is.
func Stamp(b []byte, m *ipc.BatchMeta, timeMS int64) {
	var changed [OffMaxTime + 8 - OffAttributes]byte
	copy(changed[:], b[OffAttributes:])
	b[OffAttributes+1] |= attrLogAppendTime
	binary.BigEndian.PutUint64(b[OffMaxTime:], uint64(timeMS))
	for i := range changed {
		changed[i] ^= b[OffAttributes+i]
	}
	m.MaxTimeMS = timeMS
	m.CRC ^= behind(^crc32.Update(^uint32(0), castagnoli, changed[:]), len(b)-OffMaxTime-8)
	binary.BigEndian.PutUint32(b[OffCRC:], m.CRC)
}

// behind is the remainder of bytes with so many zeros behind them, from the remainder of the bytes.
func behind(remainder uint32, zeros int) uint32 {
	for i := 0; zeros>>i != 0; i++ {
		if zeros>>i&1 == 1 {
			remainder = timesMod(zeroBytes[i], remainder)
		}
	}
	return remainder
}

// zeroBytes are the factors by which 1, 2, 4, … zero bytes multiply a remainder.
var zeroBytes = func() (powers [31]uint32) {
	powers[0] = 1 << (31 - 8) // x⁸; the highest power of a polynomial is its lowest bit
	for i := range powers[1:] {
		powers[i+1] = timesMod(powers[i], powers[i])
	}
	return powers
}()

// timesMod multiplies two polynomials modulo that of the CRC.
func timesMod(a, b uint32) (product uint32) {
	for a = bits.Reverse32(a); a != 0; a >>= 1 {
		if a&1 == 1 {
			product ^= b
		}
		carry := b & 1
		if b >>= 1; carry == 1 {
			b ^= crc32.Castagnoli
		}
	}
	return product
}
