package core

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/trimq/trimq/protocol/invariant"
)

// Why a set of its own. Consumers acknowledge in any order, so what a queue has to remember
// above its floor is a set of offsets with three habits:
//
//   - it is mostly one moving window, and the window's edges are ragged;
//   - one message that nobody acknowledges holds the floor down, while millions above it are
//     done with: long full runs;
//   - acknowledged at random it is noise: one bit an offset is then the least there is.
//
// A map pays some 40 bytes and a lookup for each offset. A list of intervals is small for runs
// and pays 16 bytes and a memmove for each bit of noise. So: chunks of 1,024 offsets in an array
// that is indexed by (offset / 1,024 - first), and in each chunk nothing (none of them), nothing
// (all of them) or a bitmap. Lookups, additions and removals touch one chunk; a scan skips full
// and empty chunks at 1,024 offsets a step.
//
//	chunks:   [ bitmap | all | all | none | bitmap ]
//	          first

// chunkOffsets is how many offsets a chunk stands for: its bitmap is two cache lines.
const (
	chunkOffsets = 1024
	chunkWords   = chunkOffsets / 64
)

// noOffset is the end of every offset range.
const noOffset = ^uint64(0)

// maxSpan bounds how far the lowest and highest member of a set may lie apart, in offsets,
// and with it the memory of a set: 16 bytes for each 1,024 offsets of the span.
const maxSpan = 1 << 32

// chunk stands for 1,024 consecutive offsets. bits is nil where all or none are in the set.
//
// Invariant: bits != nil ⇔ 0 < n < chunkOffsets, and n is the number of its one bits.
type chunk struct {
	bits *[chunkWords]uint64
	n    uint32
}

// offsetSet is a set of offsets: those acknowledged above a queue's floor, those in the
// hands of consumers. It costs at most one bit for each offset of its span, and next to
// nothing where long runs are in it or not in it; there is no object per offset.
//
// Invariant: the first and the last chunk are not empty; chunks[i] stands for the offsets
// from (first+i)·1024 on.
type offsetSet struct {
	first  uint64 // number of chunks[0]
	chunks []chunk
	n      uint64              // members
	spare  *[chunkWords]uint64 // the last bitmap that fell free, so that a moving set allocates nothing
}

// empty tells whether there is no member.
func (s *offsetSet) empty() bool { return s.n == 0 }

// span is the range of offsets that the chunks stand for.
func (s *offsetSet) span() (from, to uint64) {
	return s.first * chunkOffsets, (s.first + uint64(len(s.chunks))) * chunkOffsets
}

// fits tells whether [first, next) can be added within maxSpan.
func (s *offsetSet) fits(first, next uint64) bool {
	if len(s.chunks) > 0 {
		from, to := s.span()
		first, next = min(first, from), max(next, to)
	}
	return next-first <= maxSpan
}

// has tells whether x is a member.
func (s *offsetSet) has(x uint64) bool {
	i := x/chunkOffsets - s.first
	if x/chunkOffsets < s.first || i >= uint64(len(s.chunks)) {
		return false
	}
	k := &s.chunks[i]
	if k.bits == nil {
		return k.n != 0
	}
	return k.bits[x%chunkOffsets/64]>>(x%64)&1 == 1
}

// add puts [first, next) in and returns how many were not in it. REQUIRES: fits.
func (s *offsetSet) add(first, next uint64) (added uint64) {
	if first >= next {
		return 0
	}
	if !s.fits(first, next) {
		invariant.Fail("set of %d chunks from %d cannot hold [%d,%d)", len(s.chunks), s.first, first, next)
	}
	s.cover(first/chunkOffsets, (next-1)/chunkOffsets)
	for first < next {
		end := min(next, (first/chunkOffsets+1)*chunkOffsets)
		added += uint64(s.addChunk(&s.chunks[first/chunkOffsets-s.first], uint32(first%chunkOffsets), uint32(end-first)))
		first = end
	}
	s.n += added
	return added
}

// cover makes chunks for the numbers lo … hi.
func (s *offsetSet) cover(lo, hi uint64) {
	if len(s.chunks) == 0 {
		s.first = lo
	}
	if lo < s.first {
		s.chunks = slices.Insert(s.chunks, 0, make([]chunk, s.first-lo)...)
		s.first = lo
	}
	for s.first+uint64(len(s.chunks)) <= hi {
		s.chunks = append(s.chunks, chunk{})
	}
}

// addChunk puts [from, from+count) of one chunk in. A chunk that becomes full gives its bitmap
// back: runs of thousands of acknowledged messages above a stuck floor cost 16 bytes each 1,024.
func (s *offsetSet) addChunk(k *chunk, from, count uint32) (added uint32) {
	if k.n == chunkOffsets {
		return 0
	}
	if count == chunkOffsets {
		added = chunkOffsets - k.n
		s.keep(k.bits)
		*k = chunk{n: chunkOffsets}
		return added
	}
	if k.bits == nil {
		k.bits = s.bitmap()
	}
	for w, mask := range masks(from, count) {
		added += uint32(bits.OnesCount64(mask &^ k.bits[w]))
		k.bits[w] |= mask
	}
	if k.n += added; k.n == chunkOffsets {
		s.keep(k.bits)
		k.bits = nil
	}
	return added
}

// remove takes [first, next) out and returns how many were in it.
func (s *offsetSet) remove(first, next uint64) (removed uint64) {
	from, to := s.span()
	first, next = max(first, from), min(next, to)
	for first < next {
		end := min(next, (first/chunkOffsets+1)*chunkOffsets)
		removed += uint64(s.removeChunk(&s.chunks[first/chunkOffsets-s.first], uint32(first%chunkOffsets), uint32(end-first)))
		first = end
	}
	s.n -= removed
	s.trim()
	return removed
}

// removeChunk takes [from, from+count) of one chunk out. A full chunk gets its bitmap back
// first, an emptied one gives it up.
func (s *offsetSet) removeChunk(k *chunk, from, count uint32) (removed uint32) {
	if k.n == 0 {
		return 0
	}
	if count == chunkOffsets {
		removed = k.n
		s.keep(k.bits)
		*k = chunk{}
		return removed
	}
	if k.bits == nil { // a full one
		k.bits = s.bitmap()
		for w := range k.bits {
			k.bits[w] = ^uint64(0)
		}
	}
	for w, mask := range masks(from, count) {
		removed += uint32(bits.OnesCount64(mask & k.bits[w]))
		k.bits[w] &^= mask
	}
	if k.n -= removed; k.n == 0 {
		s.keep(k.bits)
		k.bits = nil
	}
	return removed
}

// masks yields the words of a chunk that [from, from+count) touches, with its bits in each.
func masks(from, count uint32) func(yield func(w int, mask uint64) bool) {
	return func(yield func(w int, mask uint64) bool) {
		for count > 0 {
			shift := from % 64
			n := min(count, 64-shift)
			mask := ^uint64(0) >> (64 - n) << shift
			if !yield(int(from/64), mask) {
				return
			}
			from, count = from+n, count-n
		}
	}
}

// trim restores the invariant of the first and last chunk.
func (s *offsetSet) trim() {
	for len(s.chunks) > 0 && s.chunks[0].n == 0 {
		s.chunks = s.chunks[1:]
		s.first++
	}
	for len(s.chunks) > 0 && s.chunks[len(s.chunks)-1].n == 0 {
		s.chunks = s.chunks[:len(s.chunks)-1]
	}
}

// clear takes all members out.
func (s *offsetSet) clear() { *s = offsetSet{spare: s.spare} }

// bitmap returns an empty one.
func (s *offsetSet) bitmap() *[chunkWords]uint64 {
	b := s.spare
	if b == nil {
		return new([chunkWords]uint64)
	}
	s.spare = nil
	*b = [chunkWords]uint64{}
	return b
}

// keep holds one bitmap back for the next chunk that needs one. A queue that is worked off in
// order needs a bitmap at its front while it gives one up at its back: so it allocates nothing.
func (s *offsetSet) keep(b *[chunkWords]uint64) {
	if b != nil {
		s.spare = b
	}
}

// nextSet returns the lowest member that is not below from; noOffset where there is none.
func (s *offsetSet) nextSet(from uint64) uint64 {
	lo, hi := s.span()
	for x := max(from, lo); x < hi; x = (x/chunkOffsets + 1) * chunkOffsets {
		k := &s.chunks[x/chunkOffsets-s.first]
		switch {
		case k.n == 0:
		case k.bits == nil:
			return x
		default:
			if i, ok := scan(k.bits, uint32(x%chunkOffsets), 0); ok {
				return x - x%chunkOffsets + uint64(i)
			}
		}
	}
	return noOffset
}

// nextClear returns the lowest offset that is not below from and no member.
func (s *offsetSet) nextClear(from uint64) uint64 {
	lo, hi := s.span()
	if from < lo {
		return from
	}
	for x := from; x < hi; x = (x/chunkOffsets + 1) * chunkOffsets {
		k := &s.chunks[x/chunkOffsets-s.first]
		switch {
		case k.n == 0:
			return x
		case k.bits == nil:
		default:
			if i, ok := scan(k.bits, uint32(x%chunkOffsets), ^uint64(0)); ok {
				return x - x%chunkOffsets + uint64(i)
			}
		}
	}
	return max(from, hi)
}

// scan finds the first one bit of bits XOR flip that is not below from.
func scan(b *[chunkWords]uint64, from uint32, flip uint64) (at uint32, ok bool) {
	w := from / 64
	word := (b[w] ^ flip) >> (from % 64) << (from % 64)
	for {
		if word != 0 {
			return w*64 + uint32(bits.TrailingZeros64(word)), true
		}
		if w++; w == chunkWords {
			return 0, false
		}
		word = b[w] ^ flip
	}
}

// runs yields the members as ranges [first, next), in order, adjacent ones as one.
func (s *offsetSet) runs(yield func(first, next uint64) bool) {
	for first := s.nextSet(0); first != noOffset; {
		next := s.nextClear(first)
		if !yield(first, next) {
			return
		}
		first = s.nextSet(next)
	}
}

// load fills an empty set from a bitmap of little-endian words; its first bit stands for
// base, a multiple of 64.
func (s *offsetSet) load(base uint64, words []byte) {
	n := uint64(len(words) / 8)
	s.cover(base/chunkOffsets, (base+64*n-1)/chunkOffsets)
	for i := range n {
		word := binary.LittleEndian.Uint64(words[8*i:])
		if word == 0 {
			continue
		}
		x := base + 64*i
		k := &s.chunks[x/chunkOffsets-s.first]
		if k.bits == nil {
			k.bits = new([chunkWords]uint64)
		}
		k.bits[x%chunkOffsets/64] = word
		ones := uint32(bits.OnesCount64(word))
		k.n += ones
		s.n += uint64(ones)
		if k.n == chunkOffsets {
			k.bits = nil
		}
	}
	s.trim()
}
