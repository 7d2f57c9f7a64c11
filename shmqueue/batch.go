package shmqueue

import (
	"unsafe"

	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/invariant"
)

// Batch is a run of records under one claim, which become visible together. Its first stamp
// is stored last, and nobody looks behind a record that is not published: so the others need
// no atomic store of their own.
type Batch struct {
	p     *Producer
	first uint64 // position of the claim
	next  uint64 // where the next record goes
	end   uint64
}

// Message is one record for PutBatch.
type Message struct {
	Type, Flags uint16
	Payload     []byte
}

// MaxBatch is the largest claim for a batch in bytes: the sum of its RecordSize.
func (p *Producer) MaxBatch() uint64 { return p.largest }

// ClaimBatch takes size bytes for records that Add will place; size is the sum of their
// RecordSize, and may be too large: Publish gives back the rest as a pad.
func (p *Producer) ClaimBatch(size uint64) (Batch, error) {
	size = (size + RecordAlign - 1) &^ (RecordAlign - 1)
	if size > p.largest {
		return Batch{}, ErrTooLarge
	}
	invariant.Check(size >= RecordHeader, "batch claim of %d bytes", size)
	pos, err := p.reserve(size)
	if err != nil {
		return Batch{}, err
	}
	return Batch{p: p, first: pos, next: pos, end: pos + size}, nil
}

// Room is how many bytes of the claim are left for Add.
func (b *Batch) Room() uint64 { return b.end - b.next }

// Next is the position of the record that the next Add will place.
func (b *Batch) Next() uint64 { return b.next }

// Add places one record and returns its payload to be filled; false: the claim is used up.
func (b *Batch) Add(n int, typ, flags uint16) ([]byte, bool) {
	size := RecordSize(n)
	if n < 0 || typ == padType {
		invariant.Fail("batch record of %d bytes, type %d", n, typ)
	}
	if size > b.end-b.next {
		return nil, false
	}
	return b.place(n, size, typ, flags), true
}

// place writes a record's header, and its stamp unless it is the first.
func (b *Batch) place(n int, size uint64, typ, flags uint16) []byte {
	pos := b.next
	off := pos & b.p.mask
	at := unsafe.Add(b.p.area, off)
	*metaAt(at) = packMeta(n, typ, flags)
	failpoint.Hit("ring.batch")
	if pos != b.first || mutantEarlyStamp {
		*(*uint64)(at) = stampFor(pos, b.p.nonce)
		failpoint.Hit("ring.batch")
	}
	b.next = pos + size
	off += RecordHeader
	return b.p.bytes[off : off+uint64(n) : off+uint64(n)]
}

// Publish makes all records of the batch visible at once.
func (b *Batch) Publish() {
	if rest := b.end - b.next; rest > 0 {
		b.place(int(rest-RecordHeader), rest, padType, 0)
	}
	// SYNC: pairs with Consumer.Next, as Slot.Publish does, for all records of the batch.
	stampAt(unsafe.Add(b.p.area, b.first&b.p.mask)).Store(stampFor(b.first, b.p.nonce))
	failpoint.Hit("ring.publish")
}

// PutBatch puts as many of the messages as fit, many under one claim, and says how many it
// was. err is nil if all went in, otherwise why the next one did not.
func (p *Producer) PutBatch(messages []Message) (n int, err error) {
	for n < len(messages) {
		count, size := p.group(messages[n:])
		if count == 0 {
			return n, ErrTooLarge
		}
		b, err := p.ClaimBatch(size)
		if err != nil {
			return n, err
		}
		for i := range messages[n : n+count] {
			m := &messages[n+i]
			payload, ok := b.Add(len(m.Payload), m.Type, m.Flags)
			if !ok {
				invariant.Fail("batch of %d bytes has no room for its record %d", size, i)
			}
			copy(payload, m.Payload)
			failpoint.Hit("ring.payload")
		}
		b.Publish()
		n += count
	}
	return n, nil
}

// group says how many of the messages go into one claim, and its size. A claim takes up a
// sixteenth of the ring at most, so that the consumer can begin while the next is filled,
// unless a single record is larger.
func (p *Producer) group(messages []Message) (count int, size uint64) {
	limit := min(p.largest, p.capacity/16)
	for i := range messages {
		s := RecordSize(len(messages[i].Payload))
		if count > 0 && size+s > limit || s > p.largest {
			break
		}
		count++
		size += s
	}
	return count, size
}
