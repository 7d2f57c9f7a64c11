package batch

import (
	"encoding/binary"
	"math"

	"github.com/trimq/trimq/protocol/errcode"
)

// Place is where a record of a batch begins. Its zero value is the first one's.
type Place struct {
	Record int // its number in the batch
	Off    int // bytes behind the batch's header
}

// Slice appends to dst a batch of its own that holds count records of b, from the one with
// number first. Offsets in it count from the first of them (PatchBase sets where that is);
// times, keys, values, headers and attributes are those of b. from is the place of a record
// at or before first, as an earlier call has returned it, and saves the way there; next is
// the place behind the last record taken.
//
// Only a batch that is not compressed can be sliced. What dst holds is not looked at; on an
// error it comes back as it was.
//
// REQUIRES: Validate, or whoever stored b, has found its header sound.
func Slice(dst, b []byte, from Place, first, count int) (out []byte, next Place, err error) {
	h := Header(b)
	if len(b) < HeaderSize || h.Codec() != None || h.Control() || first < 0 || count <= 0 || first+count > int(h.Count()) {
		return dst, from, fail(errcode.InvalidBatch, "records %d to %d cannot be sliced off", first, first+count)
	}
	return slice(dst, h, b[HeaderSize:], from, first, count, math.MaxInt)
}

// slice is Slice for as many of the records as make no more than max bytes, but one at least.
// REQUIRES: what Slice checks; recs are the records behind h.
func slice(dst []byte, h Header, recs []byte, from Place, first, count, max int) (out []byte, next Place, err error) {
	at, start := from, len(dst)
	if at.Record > first || at.Off < 0 || at.Off > len(recs) {
		at = Place{}
	}
	for at.Record < first {
		if !at.skip(recs) {
			return dst, from, fail(errcode.InvalidBatch, "record %d: bad length", at.Record)
		}
	}
	out = append(dst, h[:HeaderSize]...)
	n := 0
	for n < count {
		was, whole := at, len(out)
		if out = at.copy(out, recs, n); out == nil {
			return dst, from, fail(errcode.InvalidBatch, "record %d: bad header", at.Record)
		}
		if n > 0 && len(out)-start > max {
			out, at = out[:whole], was
			break
		}
		n++
	}
	sealSlice(out[start:], h, first, n)
	return out, at, nil
}

// skip goes to the next record.
func (p *Place) skip(recs []byte) bool {
	size, i := varint32(recs, p.Off)
	if i == 0 || size < 0 || int(size) > len(recs)-i {
		return false
	}
	p.Record, p.Off = p.Record+1, i+int(size)
	return true
}

// copy appends the record with another offset delta, and goes to the next; nil: it is none.
func (p *Place) copy(out, recs []byte, offsetDelta int) []byte {
	_, i := varint32(recs, p.Off)
	if !p.skip(recs) {
		return nil
	}
	rec := recs[i:p.Off]
	_, delta := varint64(rec, 1) // behind attributes and time
	if delta == 0 {
		return nil
	}
	_, rest := varint32(rec, delta)
	if rest == 0 {
		return nil
	}
	var b [10]byte
	coded := b[:putUvarint(b[:], 0, zigzag(int64(offsetDelta)))]
	size := delta + len(coded) + len(rec) - rest
	out = binary.AppendUvarint(out, zigzag(int64(size)))
	out = append(out, rec[:delta]...)
	out = append(out, coded...)
	return append(out, rec[rest:]...)
}

// sealSlice makes the header fit the records behind it.
func sealSlice(out []byte, h Header, first, count int) {
	binary.BigEndian.PutUint32(out[OffLength:], uint32(len(out)-LengthPrefix))
	binary.BigEndian.PutUint32(out[OffLastOffsetDelta:], uint32(count-1))
	binary.BigEndian.PutUint32(out[OffCount:], uint32(count))
	if h.ProducerID() >= 0 {
		binary.BigEndian.PutUint32(out[OffBaseSequence:], uint32(NextSequence(h.BaseSequence(), first)))
	}
	binary.BigEndian.PutUint32(out[OffCRC:], Checksum(out))
}
