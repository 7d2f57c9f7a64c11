package trimq

import (
	"fmt"
	"runtime"
	"sync"

	"github.com/trimq/trimq/protocol/batch"
)

// chunk is a run of batches that has arrived and is not decoded, or, with err, the end of
// its partition for now.
type chunk struct {
	p       *part
	gen     uint64
	from    uint64 // records below are not wanted
	end     uint64 // the offset behind the last batch
	batches []byte // alias s
	start   uint64
	visible uint64
	s       *slab
	err     error
}

// Fetch is a run of records of one partition.
type Fetch struct {
	Topic     string
	Partition uint32
	Records   []Record // in order of offset
	Start     uint64   // the oldest offset that is kept; 0 with push
	Visible   uint64   // the end of what could be read when they were sent

	s        *slab
	headers  []Header
	unpacked [][]byte // what compressed batches were decompressed into
	spare    [][]byte
	reader   batch.Reader
}

var fetches = sync.Pool{New: func() any { return new(Fetch) }}

// Release gives the memory of the records back to the client: after it neither the Fetch nor
// Key, Value and Headers of its records may be used. It need not be called; then the garbage
// collector does the work, at a price in speed.
func (f *Fetch) Release() {
	if f == nil || f.s == nil {
		return
	}
	f.s.release()
	f.s = nil
	f.Records = f.Records[:0]
	clear(f.headers)
	f.headers = f.headers[:0]
	f.spare = append(f.spare, f.unpacked...)
	clear(f.unpacked)
	f.unpacked = f.unpacked[:0]
	fetches.Put(f)
}

// maxWorkers is how many goroutines decode for one consumer at a time.
func maxWorkers() int { return runtime.GOMAXPROCS(0) }

// decode is a worker: it takes a partition, decodes all that has arrived for it, and goes on
// with the next; it ends when there is none. No two workers have the same partition, so that
// the order within one holds.
func (k *Consumer) decode() {
	defer k.work.Done()
	k.mu.Lock()
	defer k.mu.Unlock()
	for k.decoding.len() > 0 {
		p := k.decoding.pop()
		for p.undecoded.len() > 0 {
			ch := p.undecoded.pop()
			k.mu.Unlock()
			f, err := ch.decode()
			k.mu.Lock()
			k.decoded(ch, f, err)
		}
		p.busy = false
	}
	k.workers--
}

// decoded hands a chunk's records to Poll. REQUIRES: k.mu held.
func (k *Consumer) decoded(ch *chunk, f *Fetch, err error) {
	p := ch.p
	if ch.gen != p.gen {
		f.Release()
		return
	}
	if f != nil {
		end := ch.end
		if err != nil && len(f.Records) > 0 {
			end = f.Records[len(f.Records)-1].Offset + 1
		}
		if err == nil || len(f.Records) > 0 {
			k.ready.push(item{p: p, gen: ch.gen, fetch: f, end: end, bytes: len(ch.batches)})
		} else {
			f.Release()
		}
	}
	if err != nil {
		p.failed = true
		k.ready.push(item{p: p, gen: ch.gen, err: err})
	}
	k.ring()
}

// decode checks and unpacks a chunk. With an error the Fetch holds what was sound before it.
func (ch *chunk) decode() (*Fetch, error) {
	if ch.err != nil {
		return nil, ch.err
	}
	f := fetches.Get().(*Fetch)
	f.Topic, f.Partition, f.Start, f.Visible = ch.p.topic, ch.p.number, ch.start, ch.visible
	f.s = ch.s
	at := ch.from
	for rest := ch.batches; len(rest) > 0; {
		first, more, err := batch.Split(rest)
		if err == nil {
			err = f.unpack(first, ch.from)
		}
		if err != nil {
			return f, &PartitionError{Topic: f.Topic, Partition: f.Partition, Offset: at, Err: corrupt(err)}
		}
		h := batch.Header(first)
		at = h.BaseOffset() + uint64(h.LastOffsetDelta()) + 1
		rest = more
	}
	return f, nil
}

// unpack appends the records of a batch from offset from on.
func (f *Fetch) unpack(b []byte, from uint64) error {
	r := &f.reader
	packed := batch.Header(b).Codec() != batch.None
	if packed && len(f.spare) > 0 {
		r.GiveBuffer(f.spare[len(f.spare)-1])
		f.spare = f.spare[:len(f.spare)-1]
	}
	if err := r.Reset(b); err != nil {
		return err
	}
	if packed {
		f.unpacked = append(f.unpacked, r.TakeBuffer())
	}
	f.Records = appendRecords(f.Records, &f.headers, r, from, ^uint64(0))
	return r.Err()
}

// appendRecords appends the records with offsets in [from, end).
func appendRecords(dst []Record, headers *[]Header, r *batch.Reader, from, end uint64) []Record {
	if need := len(dst) + r.Count(); cap(dst) < need {
		grown := make([]Record, len(dst), max(need, 2*cap(dst)))
		copy(grown, dst)
		dst = grown
	}
	var rec batch.Record
	for r.Next(&rec) {
		if rec.Offset < from || rec.Offset >= end {
			continue
		}
		n := len(dst)
		dst = dst[:n+1]
		out := &dst[n]
		out.Offset, out.TimeMS, out.Key, out.Value, out.Headers = rec.Offset, rec.TimeMS, rec.Key, rec.Value, nil
		if rec.HeaderCount > 0 {
			at := len(*headers)
			*headers = rec.AppendHeaders(*headers)
			out.Headers = (*headers)[at:len(*headers):len(*headers)]
		}
	}
	return dst
}

// corrupt marks an error of a batch.
func corrupt(err error) error { return fmt.Errorf("%w: %w", ErrCorrupt, err) }
