package batch

import "encoding/binary"

// RecordHeader is one header of a record. A nil Value is no value.
type RecordHeader struct {
	Key   string
	Value []byte
}

// Builder makes a batch: records are appended one by one in their final form, Seal adds
// header and checksum. The zero Builder is ready; Reset makes it ready again and keeps its
// memory. After Seal records may still be added and Seal called again.
type Builder struct {
	buf      []byte // [0, headroom) free, then a header, then the records
	packed   []byte // as buf, with the records compressed; made by the first Seal with a codec
	sealed   []byte // the one of both that the last Seal chose
	headroom int
	count    int
	baseMS   int64
	maxMS    int64
}

// Reserve sets how many free bytes the batch is to have before it (for a frame header
// and a prefix, see Framed) and how large the batch is likely to become.
//
// REQUIRES: no record added since Reset.
func (b *Builder) Reserve(headroom, capacity int) {
	b.headroom = headroom
	if want := headroom + HeaderSize + capacity; cap(b.buf) < want {
		b.buf = make([]byte, 0, want)
	}
	b.Reset()
}

// Reset forgets the records and keeps the memory. Batches that Seal gave become invalid.
func (b *Builder) Reset() {
	b.count = 0
	// Add looks at the capacity alone, so it must not exceed what a batch may hold.
	b.buf = b.buf[:0:min(cap(b.buf), b.headroom+MaxBytes)]
	b.sealed = nil
}

// Len is the size of the batch if it were sealed now without compression; 0 without records.
func (b *Builder) Len() int {
	if b.count == 0 {
		return 0
	}
	return len(b.buf) - b.headroom
}

// Count is the number of records added.
func (b *Builder) Count() int { return b.count }

// Add appends a record: a nil key or value is stored as none. It copies what it is given.
// False: the batch would exceed MaxBytes, and nothing was added.
func (b *Builder) Add(tsMS int64, key, value []byte, headers []RecordHeader) bool {
	if b.count == 0 {
		b.begin(tsMS)
	}
	delta, seq := zigzag(tsMS-b.baseMS), uint64(b.count)<<1
	size := 1 + uvarintLen(delta) + uvarintLen(seq) + fieldLen(key) + fieldLen(value)
	if len(headers) == 0 {
		size++
	} else {
		size += headersLen(headers)
	}
	n := len(b.buf)
	end := n + size + uvarintLen(uint64(size)<<1)
	if end > cap(b.buf) && !b.grow(end) {
		return false
	}
	p := b.buf[:end]
	i := putUvarint(p, n, uint64(size)<<1)
	p[i] = 0
	i = putUvarint(p, i+1, delta)
	i = putUvarint(p, i, seq)
	i = putField(p, i, key)
	i = putField(p, i, value)
	if len(headers) == 0 {
		p[i] = 0
	} else {
		putHeaders(p, i, headers)
	}
	b.buf = p
	b.count++
	if tsMS > b.maxMS {
		b.maxMS = tsMS
	}
	return true
}

func (b *Builder) begin(tsMS int64) {
	start := b.headroom + HeaderSize
	if cap(b.buf) < start {
		b.buf = make([]byte, 0, start+512)
	}
	b.buf = b.buf[:start]
	b.baseMS, b.maxMS = tsMS, tsMS
}

// grow makes room for end bytes in all; false where the batch would be too large.
func (b *Builder) grow(end int) bool {
	if end-b.headroom > MaxBytes {
		return false
	}
	bigger := make([]byte, len(b.buf), max(end, min(2*cap(b.buf), b.headroom+MaxBytes)))
	copy(bigger, b.buf)
	b.buf = bigger
	return true
}

// Seal completes the batch: compresses (None and Zstd only; a result that is not smaller
// is dropped), fills the header with base offset 0, and computes the CRC. Without records
// it gives nil. The bytes stay valid until the next Add, Seal or Reset.
func (b *Builder) Seal(codec Codec, pid int64, epoch int16, seq int32) []byte {
	if b.count == 0 {
		return nil
	}
	b.sealed = b.buf
	used := None
	if codec != None {
		if codec != Zstd {
			panic("batch: Seal with codec " + codec.String() + ", which this package does not write")
		}
		if b.compress() {
			b.sealed, used = b.packed, Zstd
		}
	}
	out := b.sealed[b.headroom:]
	b.fillHeader(out, used, pid, epoch, seq)
	return out
}

func (b *Builder) compress() bool {
	start := b.headroom + HeaderSize
	if cap(b.packed) < start {
		b.packed = make([]byte, start, cap(b.buf)/2+start)
	}
	b.packed = zstdCompress(b.packed[:start], b.buf[start:])
	return len(b.packed) < len(b.buf)
}

func (b *Builder) fillHeader(out []byte, codec Codec, pid int64, epoch int16, seq int32) {
	h := out[:HeaderSize]
	binary.BigEndian.PutUint64(h[OffBaseOffset:], 0)
	binary.BigEndian.PutUint32(h[OffLength:], uint32(len(out)-LengthPrefix))
	binary.BigEndian.PutUint32(h[OffLeaderEpoch:], 0)
	h[OffMagic] = Magic
	binary.BigEndian.PutUint16(h[OffAttributes:], uint16(codec))
	binary.BigEndian.PutUint32(h[OffLastOffsetDelta:], uint32(b.count-1))
	binary.BigEndian.PutUint64(h[OffBaseTime:], uint64(b.baseMS))
	binary.BigEndian.PutUint64(h[OffMaxTime:], uint64(b.maxMS))
	binary.BigEndian.PutUint64(h[OffProducerID:], uint64(pid))
	binary.BigEndian.PutUint16(h[OffProducerEpoch:], uint16(epoch))
	binary.BigEndian.PutUint32(h[OffBaseSequence:], uint32(seq))
	binary.BigEndian.PutUint32(h[OffCount:], uint32(b.count))
	binary.BigEndian.PutUint32(h[OffCRC:], Checksum(out))
}

// Framed gives the sealed batch together with the n bytes before it, to be filled with
// what precedes it on the wire.
//
// REQUIRES: Seal since the last Add or Reset; n ≤ the reserved headroom.
func (b *Builder) Framed(n int) []byte { return b.sealed[b.headroom-n:] }

func fieldLen(f []byte) int {
	if f == nil {
		return 1
	}
	return uvarintLen(uint64(len(f))<<1) + len(f)
}

func putField(p []byte, i int, f []byte) int {
	if f == nil {
		p[i] = 1 // −1 in zigzag
		return i + 1
	}
	i = putUvarint(p, i, uint64(len(f))<<1)
	return i + copy(p[i:], f)
}

func headersLen(headers []RecordHeader) int {
	n := uvarintLen(uint64(len(headers)) << 1)
	for i := range headers {
		h := &headers[i]
		n += uvarintLen(uint64(len(h.Key))<<1) + len(h.Key) + fieldLen(h.Value)
	}
	return n
}

func putHeaders(p []byte, i int, headers []RecordHeader) {
	i = putUvarint(p, i, uint64(len(headers))<<1)
	for k := range headers {
		h := &headers[k]
		i = putUvarint(p, i, uint64(len(h.Key))<<1)
		i += copy(p[i:], h.Key)
		i = putField(p, i, h.Value)
	}
}
