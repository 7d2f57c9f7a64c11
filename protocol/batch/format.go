package batch

// A record batch, all integers big endian (the format is Kafka's, magic 2):
//
//	 0  baseOffset        u64   patched by the broker
//	 8  batchLength       i32   bytes after this field: total = 12 + batchLength
//	12  leaderEpoch       i32   patched by the broker
//	16  magic             i8    2
//	17  crc               u32   CRC32C (Castagnoli) of bytes 21 … end
//	21  attributes        i16   bits 0–2 codec, 3 log append time, 4 transactional, 5 control, 6 delete horizon
//	23  lastOffsetDelta   i32   records − 1
//	27  baseTimestamp     i64   Unix ms of the first record
//	35  maxTimestamp      i64
//	43  producerId        i64   −1: not idempotent
//	51  producerEpoch     i16
//	53  baseSequence      i32   of the first record; wraps from 2³¹−1 to 0
//	57  count             i32   records
//	61  records                 compressed as a whole by the codec
//
// A record; every varint is zigzag coded, i32 unless noted:
//
//	length varint          bytes after this field
//	attributes i8          0
//	timestampDelta varint  i64, to baseTimestamp
//	offsetDelta varint     to baseOffset
//	keyLength varint       −1: no key; then the key
//	valueLength varint     −1: no value; then the value
//	headers varint         their number; each: key length, key, value length (−1: none), value
//
// Version ladder: magic 2 is the only one spoken; 0 and 1 are refused.

import "encoding/binary"

// Offsets of the header's fields, and sizes.
const (
	OffBaseOffset      = 0
	OffLength          = 8
	OffLeaderEpoch     = 12
	OffMagic           = 16
	OffCRC             = 17
	OffAttributes      = 21 // the CRC covers from here on
	OffLastOffsetDelta = 23
	OffBaseTime        = 27
	OffMaxTime         = 35
	OffProducerID      = 43
	OffProducerEpoch   = 51
	OffBaseSequence    = 53
	OffCount           = 57
	HeaderSize         = 61
	LengthPrefix       = 12 // bytes that batchLength does not count

	Magic = 2

	// MaxBytes bounds a whole batch, built or read. A ring record holds less by default.
	MaxBytes = 64 << 20
	// MinRecordBytes is the smallest record: seven fields of one byte.
	MinRecordBytes = 7
)

// NoProducer is the producer id of a batch that is not idempotent.
const NoProducer = -1

// Attribute bits.
const (
	attrCodecMask     = 0x07
	attrLogAppendTime = 0x08
	attrTransactional = 0x10
	attrControl       = 0x20
)

// Codec is how the records of a batch are compressed.
type Codec uint8

// Codecs. All are read here; None and Zstd are built.
const (
	None   Codec = 0
	Gzip   Codec = 1
	Snappy Codec = 2
	LZ4    Codec = 3
	Zstd   Codec = 4
)

var codecNames = [...]string{"none", "gzip", "snappy", "lz4", "zstd"}

// String gives the codec's name as options and tools write it.
func (c Codec) String() string {
	if int(c) < len(codecNames) {
		return codecNames[c]
	}
	return "unknown"
}

// ParseCodec reads a codec's name.
func ParseCodec(s string) (Codec, bool) {
	for i, n := range codecNames {
		if n == s {
			return Codec(i), true
		}
	}
	return None, false
}

// Header is a batch seen through its header.
//
// REQUIRES: at least HeaderSize bytes; Validate and Split have checked that.
type Header []byte

// BaseOffset is the offset of the first record, as patched.
func (h Header) BaseOffset() uint64 { return binary.BigEndian.Uint64(h[OffBaseOffset:]) }

// Size is the number of bytes of the whole batch, as its length field claims.
func (h Header) Size() int { return int(int32(binary.BigEndian.Uint32(h[OffLength:]))) + LengthPrefix }

// LeaderEpoch is the partition leader epoch, as patched.
func (h Header) LeaderEpoch() int32 { return int32(binary.BigEndian.Uint32(h[OffLeaderEpoch:])) }

// Magic is the version of the format.
func (h Header) Magic() int8 { return int8(h[OffMagic]) }

// CRC is the checksum as stored.
func (h Header) CRC() uint32 { return binary.BigEndian.Uint32(h[OffCRC:]) }

// Attributes are the flag bits.
func (h Header) Attributes() uint16 { return binary.BigEndian.Uint16(h[OffAttributes:]) }

// Codec is the compression of the records.
func (h Header) Codec() Codec { return Codec(h[OffAttributes+1] & attrCodecMask) }

// LogAppendTime tells that all records bear the max timestamp.
func (h Header) LogAppendTime() bool { return h[OffAttributes+1]&attrLogAppendTime != 0 }

// Transactional tells that the batch is part of a transaction.
func (h Header) Transactional() bool { return h[OffAttributes+1]&attrTransactional != 0 }

// Control tells that the batch holds transaction markers instead of messages.
func (h Header) Control() bool { return h[OffAttributes+1]&attrControl != 0 }

// LastOffsetDelta is the last record's offset minus the base offset.
func (h Header) LastOffsetDelta() int32 {
	return int32(binary.BigEndian.Uint32(h[OffLastOffsetDelta:]))
}

// BaseTimeMS is the Unix time of the first record.
func (h Header) BaseTimeMS() int64 { return int64(binary.BigEndian.Uint64(h[OffBaseTime:])) }

// MaxTimeMS is the greatest Unix time of the records.
func (h Header) MaxTimeMS() int64 { return int64(binary.BigEndian.Uint64(h[OffMaxTime:])) }

// ProducerID is the id of an idempotent producer, or NoProducer.
func (h Header) ProducerID() int64 { return int64(binary.BigEndian.Uint64(h[OffProducerID:])) }

// ProducerEpoch is that of the producer id.
func (h Header) ProducerEpoch() int16 {
	return int16(binary.BigEndian.Uint16(h[OffProducerEpoch:]))
}

// BaseSequence is the sequence number of the first record.
func (h Header) BaseSequence() int32 { return int32(binary.BigEndian.Uint32(h[OffBaseSequence:])) }

// Count is the number of records.
func (h Header) Count() int32 { return int32(binary.BigEndian.Uint32(h[OffCount:])) }

// PatchBase sets what the broker may set: base offset and leader epoch. The CRC stays right.
func PatchBase(hdr []byte, base uint64, epoch int32) {
	binary.BigEndian.PutUint64(hdr[OffBaseOffset:], base)
	binary.BigEndian.PutUint32(hdr[OffLeaderEpoch:], uint32(epoch))
}

// PatchProducer gives a sealed batch another producer id, epoch and sequence, and
// computes its CRC again. For a producer that got a new epoch with batches unsent.
func PatchProducer(b []byte, pid int64, epoch int16, seq int32) {
	binary.BigEndian.PutUint64(b[OffProducerID:], uint64(pid))
	binary.BigEndian.PutUint16(b[OffProducerEpoch:], uint16(epoch))
	binary.BigEndian.PutUint32(b[OffBaseSequence:], uint32(seq))
	binary.BigEndian.PutUint32(b[OffCRC:], Checksum(b))
}

// NextSequence is the sequence number count records after seq.
func NextSequence(seq int32, count int) int32 {
	return int32((int64(seq) + int64(count)) & 0x7fffffff)
}
