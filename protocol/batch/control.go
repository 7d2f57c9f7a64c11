package batch

import (
	"encoding/binary"

	"github.com/trimq/trimq/protocol/errcode"
)

// A control batch ends a transaction in a partition. It is one record, which no client sees as a
// message (big endian, Kafka's):
//
//	key    | version i16, 0 | type i16: 0 abort, 1 commit |
//	value  | version i16, 0 | coordinatorEpoch i32, 0 |

// ControlSize is the size of a control batch that AppendControl makes.
const ControlSize = HeaderSize + 1 + controlRecord

// controlRecord is what stands in its record: attributes, two deltas, key, value, no headers.
const controlRecord = 1 + 1 + 1 + 1 + 4 + 1 + 6 + 1

// Offsets in a control batch that is not compressed.
const (
	controlKeyAt  = HeaderSize + 5
	controlTypeAt = controlKeyAt + 2
	controlCommit = 1
)

// AppendControl appends the control batch that commits or aborts a producer's transaction. Its base
// offset is 0: it is patched where it is stored.
func AppendControl(dst []byte, pid int64, epoch int16, commit bool, timeMS int64) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, HeaderSize)...)
	b := dst[start:]
	binary.BigEndian.PutUint32(b[OffLength:], ControlSize-LengthPrefix)
	b[OffMagic] = Magic
	b[OffAttributes+1] = attrTransactional | attrControl
	binary.BigEndian.PutUint64(b[OffBaseTime:], uint64(timeMS))
	binary.BigEndian.PutUint64(b[OffMaxTime:], uint64(timeMS))
	binary.BigEndian.PutUint64(b[OffProducerID:], uint64(pid))
	binary.BigEndian.PutUint16(b[OffProducerEpoch:], uint16(epoch))
	binary.BigEndian.PutUint32(b[OffBaseSequence:], 1<<32-1) // -1: it bears no number
	binary.BigEndian.PutUint32(b[OffCount:], 1)
	kind := byte(0)
	if commit {
		kind = controlCommit
	}
	dst = append(dst, 2*controlRecord, 0, 0, 0, 2*4, 0, 0, 0, kind, 2*6, 0, 0, 0, 0, 0, 0, 0)
	b = dst[start:]
	binary.BigEndian.PutUint32(b[OffCRC:], Checksum(b))
	return dst
}

// ParseControl tells what a control batch says. Errors are *errcode.Error.
func ParseControl(b []byte) (commit bool, err error) {
	switch {
	case len(b) < controlTypeAt+2, !Header(b).Control(), Header(b).Codec() != None:
		return false, fail(errcode.InvalidBatch, "no control batch")
	case binary.BigEndian.Uint16(b[controlTypeAt:]) > controlCommit:
		return false, fail(errcode.InvalidBatch, "a control batch of type %d", binary.BigEndian.Uint16(b[controlTypeAt:]))
	}
	return b[controlTypeAt+1] == controlCommit, nil
}
