package shmqueue

import (
	"fmt"
	"os"
	"time"

	"github.com/trimq/trimq/protocol/failpoint"
)

// complete stores the identity of a segment, the magic last.
//
// Two processes may do this at once, and one may finish what a dead one began: all but the
// nonce, the time and the pid are the same from everyone, and those are settled by CAS. So
// creating a segment needs no lock and has no instant at which a death leaves it unusable.
// The rest of the header is 0 in fresh memory, which is right for an empty ring.
func complete(id *identity, magic, capacity, nonce uint64) {
	id.nonce.CompareAndSwap(0, nonce)
	failpoint.Hit("segment.create")
	id.creator.CompareAndSwap(0, uint64(os.Getpid()))
	failpoint.Hit("segment.create")
	id.created.CompareAndSwap(0, uint64(time.Now().UnixMilli()))
	failpoint.Hit("segment.create")
	id.version.Store(Version)
	failpoint.Hit("segment.create")
	id.size.Store(HeaderSize)
	failpoint.Hit("segment.create")
	id.capacity.Store(capacity)
	failpoint.Hit("segment.create")
	id.magic.Store(magic)
	failpoint.Hit("segment.create")
}

// check checks what every finished segment has.
func (id *identity) check(magic uint64) error {
	if got := id.magic.Load(); got != magic {
		return &FormatError{Field: "magic", Got: got, Want: fmt.Sprintf("%#x", magic), Mend: "this memory belongs to another program, or was never formatted"}
	}
	if got := id.version.Load(); got != Version {
		return &FormatError{Field: "version", Got: uint64(got), Want: fmt.Sprint(Version), Mend: "another version of TriMQ made it: start that version, or " + mendRing}
	}
	if got := id.size.Load(); got != HeaderSize {
		return &FormatError{Field: "header size", Got: uint64(got), Want: fmt.Sprint(HeaderSize), Mend: mendRing}
	}
	if got := id.nonce.Load(); got&nonceBit == 0 {
		return &FormatError{Field: "nonce", Got: got, Want: "a number with the top bit set", Mend: mendRing}
	}
	return nil
}

// begun says whether the line holds nothing, or what a creator that died in complete leaves.
func (id *identity) begun(capacity uint64) bool {
	nonce, version, size, c := id.nonce.Load(), id.version.Load(), id.size.Load(), id.capacity.Load()
	return (nonce == 0 || nonce&nonceBit != 0) &&
		(version == 0 || version == Version) &&
		(size == 0 || size == HeaderSize) &&
		(c == 0 || c == capacity)
}
