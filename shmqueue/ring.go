package shmqueue

import (
	"fmt"
	"math/bits"
	"sync/atomic"
	"unsafe"

	"github.com/trimq/trimq/protocol/invariant"
)

// mendRing is the advice for a header that cannot be repaired.
const mendRing = "stop all three daemons and remove the segment (ipcrm -M KEY): what is not yet durable in it is lost, and clients send it again"

// Ring is one process's view of a ring. It may be shared by goroutines.
type Ring struct {
	mem      []byte
	h        *header
	area     unsafe.Pointer // the data area, for stamps and headers
	bytes    []byte         // the same, for payloads: Go checks its bounds
	capacity uint64
	mask     uint64
	nonce    uint64
	bell     Bell
}

// MemorySize is how many bytes a ring of this capacity takes.
func MemorySize(capacity uint64) int { return HeaderSize + int(capacity) }

// Format makes mem an empty ring. The top bit of the nonce is set by Format.
// It clears all of mem; no other process may have it mapped. (Attach formats segments by
// another way, which another attacher may complete.)
func Format(mem []byte, capacity, nonce uint64) error {
	if err := checkShape(mem, capacity); err != nil {
		return err
	}
	clear(mem)
	complete((*identity)(unsafe.Pointer(&mem[0])), ringMagic, capacity, nonce|nonceBit)
	return nil
}

// checkShape checks what must hold of the memory itself.
func checkShape(mem []byte, capacity uint64) error {
	if capacity < MinCapacity || capacity > MaxCapacity || bits.OnesCount64(capacity) != 1 {
		return &FormatError{
			Field: "capacity", Got: capacity,
			Want: fmt.Sprintf("a power of two from %d to %d", MinCapacity, uint64(MaxCapacity)),
			Mend: "choose another ring size",
		}
	}
	if len(mem) != MemorySize(capacity) {
		return &FormatError{
			Field: "memory size", Got: uint64(len(mem)),
			Want: fmt.Sprintf("%d for a capacity of %d", MemorySize(capacity), capacity), Mend: mendRing,
		}
	}
	if uintptr(unsafe.Pointer(&mem[0]))%8 != 0 {
		return &FormatError{Field: "address", Got: uint64(uintptr(unsafe.Pointer(&mem[0]))), Want: "a multiple of 8", Mend: "align the memory"}
	}
	return nil
}

// Open looks at memory that holds a ring. It changes nothing and takes no end over.
func Open(mem []byte) (*Ring, error) {
	if len(mem) < HeaderSize+MinCapacity {
		return nil, &FormatError{Field: "memory size", Got: uint64(len(mem)), Want: fmt.Sprintf("%d at least", HeaderSize+MinCapacity), Mend: mendRing}
	}
	if uintptr(unsafe.Pointer(&mem[0]))%8 != 0 {
		return nil, checkShape(mem, uint64(len(mem)-HeaderSize))
	}
	h := (*header)(unsafe.Pointer(&mem[0]))
	if err := h.identity.check(ringMagic); err != nil {
		return nil, err
	}
	if err := checkShape(mem, h.capacity.Load()); err != nil {
		return nil, err
	}
	if err := checkCursors(h); err != nil {
		return nil, err
	}
	capacity := uint64(len(mem) - HeaderSize)
	r := &Ring{
		mem:      mem,
		h:        h,
		area:     unsafe.Pointer(&mem[HeaderSize]),
		bytes:    mem[HeaderSize:],
		capacity: capacity,
		mask:     capacity - 1,
		nonce:    h.nonce.Load(),
	}
	r.bell.line = &h.bell
	return r, nil
}

// checkCursors checks invariant 1. Head is loaded first: a live consumer moves it up, never
// past the tail that is loaded after it.
func checkCursors(h *header) error {
	head := h.head.Load()
	tail := h.tail.Load()
	capacity := h.capacity.Load()
	if head%RecordAlign != 0 || head > maxPosition {
		return &FormatError{Field: "head", Got: head, Want: "a multiple of 16 below 2^62", Mend: mendRing}
	}
	if tail%RecordAlign != 0 || tail > maxPosition || tail < head {
		return &FormatError{Field: "tail", Got: tail, Want: fmt.Sprintf("a multiple of 16 from head %d on", head), Mend: mendRing}
	}
	if tail-head > capacity && tail-h.head.Load() > capacity {
		return &FormatError{Field: "tail", Got: tail, Want: fmt.Sprintf("%d at most, head %d + capacity %d", head+capacity, head, capacity), Mend: mendRing}
	}
	return nil
}

// Nonce is the random number that tells this ring from every other one.
func (r *Ring) Nonce() uint64 { return r.nonce }

// Capacity is the size of the data area in bytes.
func (r *Ring) Capacity() uint64 { return r.capacity }

// Head is the position up to which the consumer has released.
func (r *Ring) Head() uint64 { return r.h.head.Load() }

// Tail is the position up to which producers have claimed.
func (r *Ring) Tail() uint64 { return r.h.tail.Load() }

// MaxRecord is the largest payload of a record: a quarter of the capacity with its header,
// so that the pad before a record never makes it unplaceable.
func (r *Ring) MaxRecord() int { return int(r.capacity/4) - RecordHeader }

// Word is a shared word of the header.
func (r *Ring) Word(i Word) *atomic.Uint64 {
	invariant.Check(i >= 0 && i < wordCount, "ring has no word %d", int(i))
	return &r.h.words[i].v
}

// Bell is the bell in this ring's header.
func (r *Ring) Bell() *Bell { return &r.bell }

// At is the n bytes at a position, for a reader that was given a reference to them. It is nil
// where they do not lie in [head, tail) in one piece: a reference comes from another process.
func (r *Ring) At(pos uint64, n int) []byte {
	head, tail := r.h.head.Load(), r.h.tail.Load()
	off := pos & r.mask
	if n < 0 || pos < head || pos > tail || uint64(n) > tail-pos || uint64(n) > r.capacity-off {
		return nil
	}
	return r.bytes[off : off+uint64(n) : off+uint64(n)]
}

// at is where the byte at pos lies.
func (r *Ring) at(pos uint64) unsafe.Pointer { return unsafe.Add(r.area, pos&r.mask) }

// published says whether the record at pos is published.
func (r *Ring) published(pos uint64) bool {
	return stampAt(r.at(pos)).Load() == stampFor(pos, r.nonce)
}
