package batch

import (
	"hash/crc32"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// CRC32C is the checksum used by every format of TriMQ.
func CRC32C(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// Checksum computes the CRC that belongs into a batch's header.
//
// REQUIRES: b is a whole batch.
func Checksum(b []byte) uint32 { return crc32.Checksum(b[OffAttributes:], castagnoli) }

// Validate checks a batch that a client sent: magic, exact length, CRC, count, codec,
// no control records, producer fields. It does not look at the records. Errors are
// *errcode.Error with CorruptBatch, InvalidBatch or BatchTooLarge.
func Validate(b []byte) (ipc.BatchMeta, error) {
	m, err := Inspect(b)
	if err != nil {
		return m, err
	}
	if got := Checksum(b); got != m.CRC {
		return m, fail(errcode.CorruptBatch, "batch CRC is %08x, its bytes give %08x", m.CRC, got)
	}
	return m, nil
}

// Inspect is Validate without the CRC: for a header whose bytes are known to be sound.
func Inspect(b []byte) (ipc.BatchMeta, error) {
	if len(b) < HeaderSize {
		return ipc.BatchMeta{}, fail(errcode.InvalidBatch, "batch of %d bytes is shorter than its header", len(b))
	}
	if len(b) > MaxBytes {
		return ipc.BatchMeta{}, fail(errcode.BatchTooLarge, "batch of %d bytes, at most %d", len(b), MaxBytes)
	}
	h := Header(b)
	m := ipc.BatchMeta{
		Count: uint32(h.Count()), CRC: h.CRC(), MaxTimeMS: h.MaxTimeMS(),
		ProducerID: h.ProducerID(), Epoch: h.ProducerEpoch(), BaseSeq: h.BaseSequence(),
		Length: uint32(len(b)),
	}
	if h.Magic() != Magic {
		return m, fail(errcode.InvalidBatch, "batch magic is %d, not %d", h.Magic(), Magic)
	}
	if h.Size() != len(b) {
		return m, fail(errcode.InvalidBatch, "batch claims %d bytes and has %d", h.Size(), len(b))
	}
	return m, checkFields(h)
}

func checkFields(h Header) error {
	count, last := h.Count(), h.LastOffsetDelta()
	switch {
	case count <= 0 || int64(last)+1 != int64(count):
		return fail(errcode.InvalidBatch, "batch of %d records with last offset delta %d", count, last)
	case h.Codec() > Zstd:
		return fail(errcode.InvalidBatch, "batch codec %d is unknown", h.Codec())
	case h.Codec() == None && int(count) > (len(h)-HeaderSize)/MinRecordBytes:
		return fail(errcode.InvalidBatch, "batch of %d records in %d bytes", count, len(h)-HeaderSize)
	case h.Control():
		return fail(errcode.InvalidBatch, "control batches come from brokers only")
	}
	pid := h.ProducerID()
	if pid < NoProducer || pid >= 0 && (h.ProducerEpoch() < 0 || h.BaseSequence() < 0) {
		return fail(errcode.InvalidBatch, "producer %d with epoch %d and sequence %d", pid, h.ProducerEpoch(), h.BaseSequence())
	}
	return nil
}

// Split cuts the first whole batch off a run of batches, as a FETCH response holds them.
// It checks the length field only.
func Split(b []byte) (first, rest []byte, err error) {
	if len(b) < HeaderSize {
		return nil, nil, fail(errcode.InvalidBatch, "batch of %d bytes is shorter than its header", len(b))
	}
	n := Header(b).Size()
	if n < HeaderSize || n > MaxBytes {
		return nil, nil, fail(errcode.InvalidBatch, "batch claims %d bytes", n)
	}
	if n > len(b) {
		return nil, nil, fail(errcode.InvalidBatch, "batch claims %d bytes, %d are there", n, len(b))
	}
	return b[:n:n], b[n:], nil
}
