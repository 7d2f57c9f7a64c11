package batch

import (
	"encoding/binary"
	"math"
)

// attrDeleteHorizon says that the base time is no time of a record but the one from which on records
// of the batch that stand for deletions may go.
const attrDeleteHorizon = 0x40

// DeleteHorizonMS is the Unix time from which on tombstones of the batch, or the marker that it is, may
// go; ok is false where none was set.
func (h Header) DeleteHorizonMS() (ms int64, ok bool) {
	return h.BaseTimeMS(), h[OffAttributes+1]&attrDeleteHorizon != 0
}

// SetDeleteHorizon gives a control batch a delete horizon, which its record's time becomes: nobody asks
// for that, and all of it stays where it is.
//
// REQUIRES: b is a whole control batch.
func SetDeleteHorizon(b []byte, ms int64) {
	b[OffAttributes+1] |= attrDeleteHorizon
	binary.BigEndian.PutUint64(b[OffBaseTime:], uint64(ms))
	binary.BigEndian.PutUint32(b[OffCRC:], Checksum(b))
}

// Sparse tells that the batch has fewer records than offsets, as compaction leaves them.
func (h Header) Sparse() bool { return int64(h.LastOffsetDelta())+1 != int64(h.Count()) }

// Check checks a batch as it may be stored: like Validate, but records may be missing, as after
// compaction, and control batches pass. Errors are *errcode.Error.
func Check(b []byte) error {
	var r Reader
	return r.check(b)
}

// Thinner makes stored batches of fewer records, for compaction. Its zero value is ready; it keeps its
// memory between batches and belongs to one goroutine.
type Thinner struct {
	reader  Reader
	records []byte // those that are kept, as they will be in the batch but for the compression
}

// NoHorizon is what Thin is told where a batch is to have no delete horizon that it has not.
const NoHorizon int64 = math.MinInt64

// Thin appends to dst the batch b with those of its records alone that keep wants. What it says of
// itself stays: offsets, producer, codec, kind; so a batch may have no records at all, and still tell
// which offsets it covers and how far its producer had come. horizonMS, if it is not NoHorizon, becomes
// its delete horizon. kept is how many records it has. On an error dst comes back as it was.
//
// REQUIRES: b was stored, so that its header is sound; keep does not keep what it is shown.
func (t *Thinner) Thin(dst, b []byte, horizonMS int64, keep func(rec *Record) bool) (out []byte, kept int, err error) {
	if err := t.reader.Reset(b); err != nil {
		return dst, 0, err
	}
	h := Header(b)
	shift := int64(0) // from times to the old base to times to the new one
	if horizonMS != NoHorizon {
		shift = h.BaseTimeMS() - horizonMS
	}
	kept, maxMS, err := t.gather(shift, keep)
	if err != nil {
		return dst, 0, err
	}
	start := len(dst)
	out = append(dst, h[:HeaderSize]...)
	if codec := h.Codec(); codec != None && kept > 0 {
		if out, err = compress(out, t.records, codec); err != nil {
			return dst, 0, err
		}
	} else {
		out[start+OffAttributes+1] &^= attrCodecMask
		out = append(out, t.records...)
	}
	piece := out[start:]
	if horizonMS != NoHorizon {
		piece[OffAttributes+1] |= attrDeleteHorizon
		binary.BigEndian.PutUint64(piece[OffBaseTime:], uint64(horizonMS))
	}
	if kept > 0 && !h.LogAppendTime() {
		binary.BigEndian.PutUint64(piece[OffMaxTime:], uint64(maxMS))
	}
	binary.BigEndian.PutUint32(piece[OffLength:], uint32(len(piece)-LengthPrefix))
	binary.BigEndian.PutUint32(piece[OffCount:], uint32(kept))
	binary.BigEndian.PutUint32(piece[OffCRC:], Checksum(piece))
	return out, kept, nil
}

// gather collects the records that keep wants; shift is added to what they tell of their times.
func (t *Thinner) gather(shift int64, keep func(rec *Record) bool) (kept int, maxMS int64, err error) {
	t.records, maxMS = t.records[:0], math.MinInt64
	var rec Record
	for {
		before := t.reader.recs
		if !t.reader.Next(&rec) {
			return kept, maxMS, t.reader.Err()
		}
		if !keep(&rec) {
			continue
		}
		kept++
		maxMS = max(maxMS, rec.TimeMS)
		raw := before[:len(before)-len(t.reader.recs)]
		if shift == 0 {
			t.records = append(t.records, raw...)
			continue
		}
		t.records = appendShifted(t.records, raw, shift)
	}
}

// appendShifted appends a record that Next has read, with another time delta.
func appendShifted(dst, raw []byte, shift int64) []byte {
	_, at := varint32(raw, 0)
	rec := raw[at:]
	delta, rest := varint64(rec, 1) // behind the attributes
	var b [10]byte
	coded := b[:putUvarint(b[:], 0, zigzag(delta+shift))]
	size := 1 + len(coded) + len(rec) - rest
	dst = binary.AppendUvarint(dst, zigzag(int64(size)))
	dst = append(dst, rec[0])
	dst = append(dst, coded...)
	return append(dst, rec[rest:]...)
}

// Runs yields, for a sparse batch, which offsets beyond its base it has: ranges of deltas in order, each
// with the number of its first record. It ends where yield gives false.
func (r *Reader) Runs(b []byte, yield func(delta, record, count uint32) bool) error {
	if err := r.Reset(b); err != nil {
		return err
	}
	base := Header(b).BaseOffset()
	var rec Record
	first, n, number := uint32(0), uint32(0), uint32(0)
	for ; r.Next(&rec); number++ {
		delta := uint32(rec.Offset - base)
		if n > 0 && delta == first+n {
			n++
			continue
		}
		if n > 0 && !yield(first, number-n, n) {
			return nil
		}
		first, n = delta, 1
	}
	if n > 0 && r.Err() == nil {
		yield(first, number-n, n)
	}
	return r.Err()
}

// Keyed tells whether all records of a batch have a key. An error says that they cannot be read.
func (r *Reader) Keyed(b []byte) (keyed bool, err error) {
	if err := r.Reset(b); err != nil {
		return false, err
	}
	var rec Record
	for r.Next(&rec) {
		if rec.Key == nil {
			return false, nil
		}
	}
	return true, r.Err()
}
