package batch

import "github.com/trimq/trimq/protocol/errcode"

// DefaultLimit is what a Reader decompresses a batch to at most.
const DefaultLimit = MaxBytes

// Record is one record of a batch. Its slices alias the batch or the Reader's buffer.
type Record struct {
	Offset      uint64
	TimeMS      int64
	Key         []byte // nil: none
	Value       []byte // nil: none
	HeaderCount int
	headers     []byte // encoded, verified by Next
}

// Reader iterates over the records of a batch without allocating. The zero Reader is
// ready; Reset starts the next batch and keeps the buffer.
type Reader struct {
	Limit   int  // bytes that a batch may decompress to; 0: DefaultLimit
	SkipCRC bool // the caller knows that the batch is sound

	all       []byte // the records
	recs      []byte // those not read yet
	buf       []byte // decompressed records
	err       error
	count     int
	left      int
	base      uint64
	baseMS    int64
	appendMS  int64
	timeFixed bool
}

// Reset checks a batch (as Validate, but records may be missing, as after compaction, and
// control batches pass) and begins with its first record. An error leaves an empty Reader.
func (r *Reader) Reset(b []byte) error {
	r.all, r.recs, r.left, r.count, r.err = nil, nil, 0, 0, nil
	if err := r.check(b); err != nil {
		r.err = err
		return err
	}
	h := Header(b)
	recs := b[HeaderSize:]
	if h.Codec() != None {
		if r.buf, r.err = decompress(r.buf[:0], recs, h.Codec(), r.limit()); r.err != nil {
			return r.err
		}
		recs = r.buf
	}
	if int(h.Count()) > len(recs)/MinRecordBytes {
		r.err = fail(errcode.InvalidBatch, "batch of %d records in %d bytes", h.Count(), len(recs))
		return r.err
	}
	r.all, r.recs = recs, recs
	r.count = int(h.Count())
	r.left = r.count
	r.base, r.baseMS = h.BaseOffset(), h.BaseTimeMS()
	r.timeFixed, r.appendMS = h.LogAppendTime(), h.MaxTimeMS()
	return nil
}

func (r *Reader) limit() int {
	if r.Limit > 0 {
		return r.Limit
	}
	return DefaultLimit
}

func (r *Reader) check(b []byte) error {
	first, rest, err := Split(b)
	if err != nil {
		return err
	}
	h := Header(first)
	switch {
	case len(rest) != 0:
		return fail(errcode.InvalidBatch, "%d bytes behind the batch", len(rest))
	case h.Magic() != Magic:
		return fail(errcode.InvalidBatch, "batch magic is %d, not %d", h.Magic(), Magic)
	case h.Count() < 0 || int64(h.LastOffsetDelta())+1 < int64(h.Count()):
		return fail(errcode.InvalidBatch, "batch of %d records with last offset delta %d", h.Count(), h.LastOffsetDelta())
	case !r.SkipCRC && Checksum(b) != h.CRC():
		return fail(errcode.CorruptBatch, "batch CRC is %08x, its bytes give %08x", h.CRC(), Checksum(b))
	}
	return nil
}

// Rebase sets the offset of the batch's first record, where the place that the batch was
// read from knows better than its header (one body may lie in several queues).
func (r *Reader) Rebase(base uint64) { r.base = base }

// Count is the number of records of the batch.
func (r *Reader) Count() int { return r.count }

// Size is how many bytes the records of the batch have, decompressed.
func (r *Reader) Size() int { return len(r.all) }

// Err tells why Next gave false; nil after the last record.
func (r *Reader) Err() error { return r.err }

// TakeBuffer hands the memory over that batches are decompressed into: the records of the
// current batch, where it was compressed, then outlive the next Reset.
func (r *Reader) TakeBuffer() []byte {
	buf := r.buf
	r.buf = nil
	return buf
}

// GiveBuffer lets the Reader decompress into buf.
func (r *Reader) GiveBuffer(buf []byte) { r.buf = buf }

// Place is where the next record begins.
func (r *Reader) Place() Place { return Place{r.count - r.left, len(r.all) - len(r.recs)} }

// Goto makes the record at a place the next one, which Place has given for this batch: before
// a Reset too. The zero Place is the first record's. Where the place is none, reading goes
// wrong as with a bad batch.
func (r *Reader) Goto(p Place) {
	if p.Record < 0 || p.Record > r.count || p.Off < 0 || p.Off > len(r.all) {
		p = Place{}
	}
	r.recs, r.left, r.err = r.all[p.Off:], r.count-p.Record, nil
}

// Skip goes over the next record without a look into it; false at the end or at an error.
func (r *Reader) Skip() bool {
	if r.left == 0 {
		return false
	}
	var next Place
	if !next.skip(r.recs) {
		return r.bad("record length")
	}
	r.recs = r.recs[next.Off:]
	r.left--
	return true
}

// Next reads the next record into rec; false at the end or at an error (see Err).
func (r *Reader) Next(rec *Record) bool {
	if r.left == 0 {
		if len(r.recs) != 0 && r.err == nil {
			r.err = fail(errcode.InvalidBatch, "%d bytes behind the last record", len(r.recs))
			r.recs = nil
		}
		return false
	}
	size, i := varint32(r.recs, 0)
	if i == 0 || size < 0 || int(size) > len(r.recs)-i {
		return r.bad("record length")
	}
	p := r.recs[i : i+int(size)]
	if what := r.parse(p, rec); what != "" {
		return r.bad(what)
	}
	r.recs = r.recs[i+int(size):]
	r.left--
	return true
}

// parse reads the record p and names the field that is wrong.
func (r *Reader) parse(p []byte, rec *Record) string {
	if len(p) == 0 {
		return "attributes"
	}
	tsDelta, i := varint64(p, 1)
	if i == 0 {
		return "timestamp delta"
	}
	offDelta, i := varint32(p, i)
	if i == 0 || offDelta < 0 {
		return "offset delta"
	}
	if rec.Key, i = field(p, i); i == 0 {
		return "key"
	}
	if rec.Value, i = field(p, i); i == 0 {
		return "value"
	}
	n, i := varint32(p, i)
	if i == 0 || n < 0 || int(n) > (len(p)-i)/2 {
		return "header count"
	}
	rec.HeaderCount = int(n)
	rec.headers = p[i:]
	if n == 0 {
		if i != len(p) {
			return "end of record"
		}
	} else if !headersOK(p, i, int(n)) {
		return "headers"
	}
	rec.Offset = r.base + uint64(offDelta)
	if r.timeFixed {
		rec.TimeMS = r.appendMS
	} else {
		rec.TimeMS = r.baseMS + tsDelta
	}
	return ""
}

func (r *Reader) bad(what string) bool {
	r.err = fail(errcode.InvalidBatch, "record %d: bad %s", r.count-r.left, what)
	r.left, r.recs = 0, nil
	return false
}

// field reads a length and so many bytes; next is 0 where they are not there.
func field(p []byte, i int) (f []byte, next int) {
	if uint(i) < uint(len(p)) && isShort(p[i]) {
		start, end := i+1, i+1+int(p[i]>>1)
		if end <= len(p) {
			return p[start:end:end], end
		}
	}
	n, i := varint32(p, i)
	if i == 0 || n < -1 || int(n) > len(p)-i {
		return nil, 0
	}
	if n < 0 {
		return nil, i
	}
	end := i + int(n)
	return p[i:end:end], end
}

func headersOK(p []byte, i, n int) bool {
	for ; n > 0; n-- {
		var key []byte
		if key, i = field(p, i); i == 0 || key == nil {
			return false
		}
		if _, i = field(p, i); i == 0 {
			return false
		}
	}
	return i == len(p)
}

// Iterate calls fn for every record of a batch; fn must not keep rec or its slices.
func Iterate(b []byte, fn func(rec *Record) error) error {
	var r Reader
	if err := r.Reset(b); err != nil {
		return err
	}
	var rec Record
	for r.Next(&rec) {
		if err := fn(&rec); err != nil {
			return err
		}
	}
	return r.Err()
}
