package shmqueue

import (
	"sync/atomic"
	"unsafe"

	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/invariant"
)

// Producer is the writing end of a ring. All its goroutines share one.
type Producer struct {
	r        *Ring
	area     unsafe.Pointer
	bytes    []byte
	mask     uint64
	nonce    uint64
	capacity uint64
	largest  uint64 // the largest claim, header included
	tail     *atomic.Uint64

	// limit is a head seen earlier, plus the capacity: claims up to it are safe, as head
	// only moves up. It saves most claims the look at the consumer's line.
	limit atomic.Uint64
	epoch uint64
}

// Slot is a claimed record. Fill Payload, then Publish or Discard; a slot that is forgotten
// stops the ring for ever.
type Slot struct {
	Pos        uint64 // of the record
	PayloadPos uint64 // of its payload, for references
	Payload    []byte

	stamp *atomic.Uint64
	value uint64
}

// Epoch counts the take-overs of this end: the first producer has 1.
func (p *Producer) Epoch() uint64 { return p.epoch }

// Claim takes room for a record with n payload bytes. It never waits.
// REQUIRES: typ != 0, and the payload's bytes are at hand (a claim stands before everything
// that is claimed after it).
func (p *Producer) Claim(n int, typ, flags uint16) (Slot, error) {
	size := RecordSize(n)
	if n < 0 || size > p.largest || typ == padType {
		return Slot{}, p.refuse(n, typ)
	}
	pos, err := p.reserve(size)
	if err != nil {
		return Slot{}, err
	}
	off := pos & p.mask
	at := unsafe.Add(p.area, off)
	*metaAt(at) = packMeta(n, typ, flags)
	failpoint.Hit("ring.header")
	off += RecordHeader
	return Slot{
		Pos:        pos,
		PayloadPos: pos + RecordHeader,
		Payload:    p.bytes[off : off+uint64(n) : off+uint64(n)],
		stamp:      stampAt(at),
		value:      stampFor(pos, p.nonce),
	}, nil
}

// refuse says why a claim cannot be made.
//
//go:noinline
func (p *Producer) refuse(n int, typ uint16) error {
	invariant.Check(n >= 0, "claim of %d bytes", n)
	invariant.Check(typ != padType, "claim of type %d, which is the pad's", typ)
	return ErrTooLarge
}

// reserve takes size bytes in one piece and returns their position. Where the area's end is
// too near, the piece before it goes into the same claim and becomes a pad.
func (p *Producer) reserve(size uint64) (uint64, error) {
	for {
		tail := p.tail.Load()
		pos, end := tail, tail+size
		rest := p.capacity - tail&p.mask
		if size > rest {
			pos, end = tail+rest, tail+rest+size
		}
		if end > p.limit.Load() && !p.refresh(end) {
			return 0, ErrFull
		}
		// SYNC: pairs with the CAS of other goroutines; Ring.Producer reads it after a death.
		if !p.tail.CompareAndSwap(tail, end) {
			continue
		}
		failpoint.Hit("ring.claim")
		if pos != tail {
			p.pad(tail, rest)
		}
		return pos, nil
	}
}

// pad publishes a pad record of size bytes at pos.
//
//go:noinline
func (p *Producer) pad(pos, size uint64) {
	at := unsafe.Add(p.area, pos&p.mask)
	*metaAt(at) = packMeta(int(size-RecordHeader), padType, 0)
	failpoint.Hit("ring.pad")
	stampAt(at).Store(stampFor(pos, p.nonce))
	failpoint.Hit("ring.pad")
}

// refresh looks at head and says whether a claim up to end fits now.
//
//go:noinline
func (p *Producer) refresh(end uint64) bool {
	// SYNC: pairs with Consumer.Release: what lies below head is no longer read.
	limit := p.r.h.head.Load() + p.capacity
	p.limit.Store(limit)
	if end <= limit {
		return true
	}
	p.r.h.full.Add(1)
	failpoint.Hit("ring.full")
	return false
}

// Publish makes the record visible to the consumer. It does not ring the bell.
func (s Slot) Publish() {
	// SYNC: pairs with Consumer.Next: whoever sees the stamp sees header and payload.
	s.stamp.Store(s.value)
	failpoint.Hit("ring.publish")
}

// Discard gives a claim up: the consumer passes over it.
func (s Slot) Discard() {
	*metaAt(unsafe.Pointer(s.stamp)) = packMeta(len(s.Payload), padType, 0)
	failpoint.Hit("ring.discard")
	s.Publish()
}

// Put claims a record, copies the parts into it one behind the other, and publishes it.
func (p *Producer) Put(typ, flags uint16, parts ...[]byte) (pos uint64, err error) {
	n := 0
	for _, part := range parts {
		n += len(part)
	}
	s, err := p.Claim(n, typ, flags)
	if err != nil {
		return 0, err
	}
	if mutantEarlyStamp {
		s.Publish()
	}
	rest := s.Payload
	for _, part := range parts {
		rest = rest[copy(rest, part):]
		failpoint.Hit("ring.payload")
	}
	s.Publish()
	return s.Pos, nil
}

// WantSpace asks the consumer to ring the producer's bell after its next Release.
//
// A producer that sleeps because its claim failed calls it when its bell is armed, in Sleep's
// stillIdle, and looks at Room or Head after it:
//
//	head := r.Head()                      // before the claim that fails
//	bell.Sleep(func() bool { p.WantSpace(); return r.Head() == head }, …)
//
// Asked before the bell is armed, a consumer that releases in between takes the wish, finds
// the bell not armed, and nobody rings again.
func (p *Producer) WantSpace() {
	// SYNC: pairs with Consumer.Release, which stores head and then looks here.
	p.r.h.wantSpace.Store(1)
	failpoint.Hit("ring.want")
}

// Room is how many bytes could be claimed now, records' headers included.
func (p *Producer) Room() uint64 {
	tail := p.tail.Load()
	limit := p.r.h.head.Load() + p.capacity
	if tail > limit { // claims went on between the two loads
		return 0
	}
	return limit - tail
}
