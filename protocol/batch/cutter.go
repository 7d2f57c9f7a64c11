package batch

import (
	"encoding/binary"

	"github.com/trimq/trimq/protocol/errcode"
)

// Cutter takes records out of stored batches, compressed ones too, as batches of their own. It
// remembers the batch that it took some of last: the next records of it cost no more than
// themselves. Its zero value is ready.
type Cutter struct {
	Batches int // that it has turned to; grows

	id    uint64
	have  bool
	place Place  // behind the last record taken
	recs  []byte // of the batch, decompressed; empty where they are not compressed
}

// Size is how many bytes the records of the last batch have been decompressed to.
func (c *Cutter) Size() int { return len(c.recs) }

// keptBytes bounds the memory that a Cutter keeps between two batches.
const keptBytes = 1 << 20

// Take appends to dst a batch with count records of b, from the one with number first, or with
// as many of them as make no more than max bytes, but with one at least; how many tells taken. It
// is not compressed, whatever b is; for the rest it is as Slice makes it. id names b: where it is
// the same as in the call before, so is b. On an error dst comes back as it was.
//
// REQUIRES: Validate, or whoever stored b, has found its header sound.
func (c *Cutter) Take(dst, b []byte, id uint64, first, count, max int) (out []byte, taken int, err error) {
	h := Header(b)
	if len(b) < HeaderSize || h.Control() || first < 0 || count <= 0 || first+count > int(h.Count()) {
		return dst, 0, fail(errcode.InvalidBatch, "records %d to %d cannot be taken out", first, first+count)
	}
	if !c.have || c.id != id {
		if err := c.begin(b); err != nil {
			return dst, 0, err
		}
		c.id, c.have = id, true
	}
	recs := b[HeaderSize:]
	if h.Codec() != None {
		recs = c.recs
	}
	start := len(dst)
	out, next, err := slice(dst, h, recs, c.place, first, count, max)
	if err != nil {
		return dst, 0, err
	}
	if h.Codec() != None {
		out[start+OffAttributes+1] &^= attrCodecMask
		binary.BigEndian.PutUint32(out[start+OffCRC:], Checksum(out[start:]))
	}
	c.place = next
	return out, next.Record - first, nil
}

// begin turns to another batch.
func (c *Cutter) begin(b []byte) (err error) {
	c.have, c.place = false, Place{}
	c.Batches++
	if c.recs = c.recs[:0]; cap(c.recs) > keptBytes {
		c.recs = nil
	}
	if codec := Header(b).Codec(); codec != None {
		c.recs, err = decompress(c.recs, b[HeaderSize:], codec, DefaultLimit)
	}
	return err
}
