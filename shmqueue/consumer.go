package shmqueue

import (
	"sync/atomic"
	"unsafe"

	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/invariant"
)

// Consumer is the reading end of a ring, for one goroutine.
type Consumer struct {
	r        *Ring
	area     unsafe.Pointer
	bytes    []byte
	mask     uint64
	nonce    uint64
	capacity uint64

	read  uint64 // Invariant: head <= read <= tail
	head  uint64 // what this consumer has released
	tail  uint64 // a tail seen earlier: no published record ends beyond the real one
	count uint64 // records read
	epoch uint64
	err   error
}

// Record is a published record. Its payload lies in the ring and stays as it is until the
// record is released; keep nothing of it beyond that.
type Record struct {
	Pos        uint64 // of the record
	End        uint64 // of the record: releasing this releases it and all before it
	PayloadPos uint64
	Type       uint16
	Flags      uint16
	Payload    []byte
}

// Epoch counts the take-overs of this end: the first consumer has 1.
func (c *Consumer) Epoch() uint64 { return c.epoch }

// Read is the private read position: behind the last record that Next returned and the pads
// that it passed.
func (c *Consumer) Read() uint64 { return c.read }

// Err says why Next stopped: a *RecordError where the next record is damaged, otherwise nil.
func (c *Consumer) Err() error { return c.err }

// Next returns the next published record; false: there is none now, or Err says why.
// It does not release anything.
func (c *Consumer) Next() (Record, bool) {
	for {
		pos := c.read
		off := pos & c.mask
		at := unsafe.Add(c.area, off)
		// SYNC: pairs with Slot.Publish and Batch.Publish.
		if stampAt(at).Load() != stampFor(pos, c.nonce) {
			return Record{}, false
		}
		meta := *metaAt(at)
		n := meta & 0xffffffff
		size := (n + RecordHeader + RecordAlign - 1) &^ (RecordAlign - 1)
		if size > c.capacity-off || pos+size > c.tail && !c.admit(pos, size) {
			return Record{}, c.fail(pos, meta)
		}
		c.read = pos + size
		if uint16(meta>>32) == padType {
			continue
		}
		c.count++
		if mutantEarlyHead {
			c.r.h.head.Store(c.read)
			failpoint.Hit("ring.release")
		}
		off += RecordHeader
		return Record{
			Pos:        pos,
			End:        pos + size,
			PayloadPos: pos + RecordHeader,
			Type:       uint16(meta >> 32),
			Flags:      uint16(meta >> 48),
			Payload:    c.bytes[off : off+n : off+n],
		}, true
	}
}

// Ready says whether Next would find something to look at.
func (c *Consumer) Ready() bool {
	return stampAt(unsafe.Add(c.area, c.read&c.mask)).Load() == stampFor(c.read, c.nonce)
}

// admit looks at the real tail and says whether a record may end at pos+size.
func (c *Consumer) admit(pos, size uint64) bool {
	c.tail = c.r.h.tail.Load()
	return pos+size <= c.tail && pos+size-c.head <= c.capacity
}

// fail records why the record at pos cannot be read. It returns false, for Next.
//
//go:noinline
func (c *Consumer) fail(pos, meta uint64) bool {
	c.err = damaged(pos, meta, c.head, c.r.h.tail.Load())
	return false
}

// Release frees everything below pos for the producers. It says whether the producer waits
// for room: then ring the producer's bell. Releasing what is already released does nothing.
// REQUIRES: pos is the End of a record read, or Read().
func (c *Consumer) Release(pos uint64) (wantSpace bool) {
	if pos <= c.head {
		return false
	}
	if pos > c.read || pos%RecordAlign != 0 {
		invariant.Fail("release of %d, read is %d", pos, c.read)
	}
	c.head = pos
	c.r.h.records.Store(c.count)
	failpoint.Hit("ring.release")
	// SYNC: pairs with Producer.refresh: all reads below pos are done.
	c.r.h.head.Store(pos)
	failpoint.Hit("ring.release")
	// SYNC: pairs with Producer.WantSpace: either we see the flag, or its second try sees head.
	return c.r.h.wantSpace.Load() != 0 && c.takeWant(&c.r.h.wantSpace)
}

// takeWant clears the flag and says whether it was set.
func (c *Consumer) takeWant(flag *atomic.Uint64) bool {
	taken := flag.CompareAndSwap(1, 0)
	failpoint.Hit("ring.want")
	return taken
}
