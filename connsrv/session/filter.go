package session

import (
	"fmt"
	"runtime/debug"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/selector"
)

// BatchID says which batch of the log bytes are.
type BatchID struct {
	Index uint64
	Base  uint64 // the offset that its first record has in the index, or would have
}

// contents is a batch under an id. What was stored stays so; if it did not, other bytes would
// not be taken for it.
type contents struct {
	id    BatchID
	crc   uint32
	count int32
}

// Run is a range of offsets all of which match a filter, or none.
type Run struct {
	ipc.Range
	Match bool
}

// Bounds of what a Sieve remembers.
const (
	// sieveMarks is on how many pairs of filter and batch an event loop can be at work in
	// turn without looking at records twice.
	sieveMarks = 32
	// spareBytes is how much memory for decompressed records, and spareWords how much of a
	// mark, is kept for the next batch.
	spareBytes = 4 << 20
	spareWords = 1 << 10
)

// Sieve puts batches through filters, for all consumers of an event loop. Consumers get a
// batch in parts, so it remembers how far it has come in one: where the next record begins
// or, if the batch is compressed, the verdict on each record. The zero Sieve is ready.
type Sieve struct {
	Limit int    // bytes that a batch may decompress to; 0: batch.DefaultLimit
	Work  uint64 // bytes that were summed up or decompressed so far: what an evaluation costs

	reader   batch.Reader
	unpacked contents // the compressed batch that reader still holds; zero: none
	marks    [sieveMarks]mark
	oldest   int // the mark to be used next
}

// mark is what is remembered of a batch under a filter. The batch's CRC was right.
type mark struct {
	filter *selector.Filter // nil: the mark is free
	batch  contents
	place  batch.Place // not compressed: behind the last record looked at
	bits   []uint64    // compressed: for each record whether it matches
}

// Runs appends to dst how the offsets of r fall under the filter, in order; neighbouring runs
// differ in Match. b is the batch with this id, as the log has it: its CRC is checked before
// a filter looks into it for the first time, since nobody would ever miss a message that was
// damaged and therefore did not match. A control batch holds no messages: nothing matches.
//
// dst comes back as it was with an error: *errcode.Error where the range is not within the
// batch, or the batch is damaged; a fault where the disk
// cannot read a page of the mapped bytes.
//
// REQUIRES: no record of the batch is missing.
func (s *Sieve) Runs(dst []Run, f *selector.Filter, id BatchID, b []byte, r ipc.Range) (runs []Run, err error) {
	before := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(before)
		if fault := asFault(recover()); fault != nil {
			runs, err = dst, fmt.Errorf("mapped batch: %w", fault)
		}
	}()
	if !within(b, id, r) {
		return dst, errcode.New(errcode.InvalidBatch, "offsets from %d, %d of them, are not in the batch at %d", r.First, r.Count, id.Base)
	}
	h := batch.Header(b)
	c := contents{id, h.CRC(), h.Count()}
	switch {
	case h.Control():
		return append(dst, Run{r, false}), nil
	case f.All():
		return append(dst, Run{r, true}), nil
	case h.Codec() != batch.None:
		return s.unpack(dst, f, c, b, r)
	}
	return s.read(dst, f, c, b, r)
}

// within tells whether a batch claims to have the offsets of a range.
func within(b []byte, id BatchID, r ipc.Range) bool {
	if len(b) < batch.HeaderSize || r.Count == 0 {
		return false
	}
	// The base may lie below 0, where the batch's first records are not in the index; it wraps.
	first, count := r.First-id.Base, uint64(max(batch.Header(b).Count(), 0))
	return first < count && uint64(r.Count) <= count-first
}

// read looks at the records of a batch that is not compressed.
func (s *Sieve) read(dst []Run, f *selector.Filter, c contents, b []byte, r ipc.Range) ([]Run, error) {
	m := s.find(f, c)
	s.unpacked = contents{}
	s.reader.SkipCRC = m != nil
	if m == nil {
		s.Work += uint64(len(b))
	}
	if err := s.reader.Reset(b); err != nil {
		return dst, err
	}
	first := int(r.First - c.id.Base)
	if m != nil && m.place.Record <= first {
		s.reader.Goto(m.place)
	}
	for s.reader.Place().Record < first {
		if !s.reader.Skip() {
			return dst, s.reader.Err()
		}
	}
	out := dst
	var rec batch.Record
	for n := range uint64(r.Count) {
		if !s.reader.Next(&rec) {
			return dst, s.reader.Err()
		}
		out = extend(out, len(dst), r.First+n, f.Match(&rec))
	}
	if m == nil {
		m = s.mark(f, c)
	}
	m.place = s.reader.Place()
	return out, nil
}

// unpack looks at a compressed batch, all of it at once.
func (s *Sieve) unpack(dst []Run, f *selector.Filter, c contents, b []byte, r ipc.Range) ([]Run, error) {
	m := s.find(f, c)
	if m == nil {
		if err := s.hold(c, b); err != nil {
			return dst, err
		}
		m = s.mark(f, c)
		if err := m.judge(&s.reader); err != nil {
			m.filter = nil
			return dst, err
		}
		s.spare()
	}
	out := dst
	for n := range uint64(r.Count) {
		i := r.First - c.id.Base + n
		out = extend(out, len(dst), r.First+n, m.bits[i/64]>>(i%64)&1 == 1)
	}
	return out, nil
}

// hold makes the reader hold the records of a compressed batch, if it does not.
func (s *Sieve) hold(c contents, b []byte) error {
	if s.unpacked == c {
		s.reader.Goto(batch.Place{})
		return nil
	}
	s.unpacked = contents{}
	s.reader.Limit, s.reader.SkipCRC = s.Limit, false
	s.Work += uint64(len(b))
	if err := s.reader.Reset(b); err != nil {
		return err
	}
	s.Work += uint64(s.reader.Size())
	s.unpacked = c
	return nil
}

// spare gives memory back that an unusually large batch took.
func (s *Sieve) spare() {
	buf := s.reader.TakeBuffer()
	if cap(buf) <= spareBytes {
		s.reader.GiveBuffer(buf)
		return
	}
	s.reader, s.unpacked = batch.Reader{}, contents{}
}

// judge evaluates the mark's filter for all records of a batch.
func (m *mark) judge(r *batch.Reader) error {
	words := (r.Count() + 63) / 64
	if cap(m.bits) < words {
		m.bits = make([]uint64, words)
	}
	m.bits = m.bits[:words]
	clear(m.bits)
	var rec batch.Record
	for i := 0; r.Next(&rec); i++ {
		if m.filter.Match(&rec) {
			m.bits[i/64] |= 1 << (i % 64)
		}
	}
	return r.Err()
}

// find gives the mark of a batch under a filter; nil: there is none.
func (s *Sieve) find(f *selector.Filter, c contents) *mark {
	for i := range s.marks {
		if m := &s.marks[i]; m.filter == f && m.batch == c {
			return m
		}
	}
	return nil
}

// mark gives a new mark, in place of the oldest.
func (s *Sieve) mark(f *selector.Filter, c contents) *mark {
	m := &s.marks[s.oldest]
	s.oldest = (s.oldest + 1) % sieveMarks
	m.filter, m.batch, m.place = f, c, batch.Place{}
	if cap(m.bits) > spareWords {
		m.bits = nil
	}
	return m
}

// extend adds an offset to the runs; those before own are not this batch's.
func extend(runs []Run, own int, offset uint64, match bool) []Run {
	if last := len(runs) - 1; last >= own && runs[last].Match == match {
		runs[last].Count++
		return runs
	}
	return append(runs, Run{ipc.Range{First: offset, Count: 1}, match})
}
