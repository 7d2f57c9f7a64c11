package shmqueue

import (
	"sync/atomic"
	"unsafe"
)

// The ring in memory. All words little endian; lines of 128 bytes, because the processor
// fetches pairs of 64-byte lines.
//
//	  0  | magic u64 | version u32 | header size u32 | capacity u64 | nonce u64 | created ms u64 | creator pid u64 |
//	128  | producer: epoch u64 | pid u64 | since ms u64 |
//	256  | tail u64 |
//	384  | head u64 | records u64 |
//	512  | consumer: epoch u64 | pid u64 | since ms u64 |
//	640  | bell: sleeping u32 | 0 u32 | waits u64 | wakes u64 |
//	768  | wantSpace u64 |
//	896  | full u64 | cuts u64 | cut bytes u64 |
//	1024 | word 0 u64 | … 16 words, a line each
//	3072 | 0 …
//	4096 | data area, capacity bytes
//
// A record, aligned to 16 bytes, never split at the end of the area:
//
//	| stamp u64 | length u32 | type u16 | flags u16 | payload … | to the next multiple of 16 |
//
// stamp = (position+1) XOR nonce, stored last. The length counts payload bytes. Type 0 is a
// pad: it fills the area's end, or a claim that was given up, and readers pass over it.
//
// Nothing carries a checksum: the memory is that of processes of one user, and batches bear
// their own. Version ladder: 1, the first.
const (
	// Version of the layout. A change of any offset or meaning raises it.
	Version = 1

	// HeaderSize is where the data area begins.
	HeaderSize = 4096

	// RecordHeader is what a record takes besides its payload and the padding to RecordAlign.
	RecordHeader = 16
	RecordAlign  = 16

	// MinCapacity and MaxCapacity bound the data area in bytes.
	MinCapacity = 256
	MaxCapacity = 1 << 32

	lineSize = 128

	ringMagic = 0x474e52514d495254 // "TRIMQRNG"

	// maxPosition bounds the cursors of a sane header: 146 years at 1 GB/s.
	maxPosition = 1 << 62

	// nonceBit is set in every nonce: (position+1) XOR nonce is never 0, so that memory
	// which was never written holds no stamp.
	nonceBit = 1 << 63

	// padType is the type of pad records.
	padType = 0
)

// identity is the first line of every segment.
type identity struct {
	magic    atomic.Uint64 // stored last by the creator
	version  atomic.Uint32
	size     atomic.Uint32
	capacity atomic.Uint64
	nonce    atomic.Uint64
	created  atomic.Uint64
	creator  atomic.Uint64
	_        [lineSize - 48]byte
}

// owner is the line that says who holds an end of the ring.
type owner struct {
	epoch atomic.Uint64 // how often this end was taken over
	pid   atomic.Uint64
	since atomic.Uint64 // ms since 1970
	_     [lineSize - 24]byte
}

// bellLine is a bell in shared memory.
type bellLine struct {
	sleeping atomic.Uint32 // futex word: 1 while the sleeper wants to be rung
	_        uint32
	waits    atomic.Uint64 // owned by the sleeper
	wakes    atomic.Uint64 // added by ringers
	_        [lineSize - 24]byte
}

// word is one shared word on its own line.
type word struct {
	v atomic.Uint64
	_ [lineSize - 8]byte
}

// header overlays the first bytes of a ring.
type header struct {
	identity

	producer owner

	tail atomic.Uint64 // SYNC: claims pair with each other by CAS, and with repair
	_    [lineSize - 8]byte

	head    atomic.Uint64 // SYNC: Consumer.Release pairs with Producer.refresh
	records atomic.Uint64 // records read; those read again after a restart count again
	_       [lineSize - 16]byte

	consumer owner

	bell bellLine

	wantSpace atomic.Uint64 // SYNC: Producer.WantSpace pairs with Consumer.Release
	_         [lineSize - 8]byte

	full     atomic.Uint64 // claims refused for want of room
	cuts     atomic.Uint64 // take-overs that had to cut the tail
	cutBytes atomic.Uint64
	_        [lineSize - 24]byte

	words [wordCount]word
}

// The overlay must lie exactly as the ruler says.
const (
	_ = uint(unsafe.Offsetof(header{}.producer) - 128)
	_ = uint(128 - unsafe.Offsetof(header{}.producer))
	_ = uint(unsafe.Offsetof(header{}.words) - 1024)
	_ = uint(1024 - unsafe.Offsetof(header{}.words))
	_ = uint(unsafe.Sizeof(header{}) - 3072)
	_ = uint(3072 - unsafe.Sizeof(header{}))
)

// RecordSize is how many bytes of the ring a record with n payload bytes takes.
func RecordSize(n int) uint64 {
	return (uint64(n) + RecordHeader + RecordAlign - 1) &^ (RecordAlign - 1)
}

// stampFor is the stamp of a published record at pos.
func stampFor(pos, nonce uint64) uint64 { return (pos + 1) ^ nonce }

// packMeta packs the second word of a record.
func packMeta(n int, typ, flags uint16) uint64 {
	return uint64(uint32(n)) | uint64(typ)<<32 | uint64(flags)<<48
}

// stampAt and metaAt address the two header words of the record whose bytes begin at p.
func stampAt(p unsafe.Pointer) *atomic.Uint64 { return (*atomic.Uint64)(p) }
func metaAt(p unsafe.Pointer) *uint64         { return (*uint64)(unsafe.Add(p, 8)) }
