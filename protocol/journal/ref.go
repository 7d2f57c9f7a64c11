package journal

// A reference, a row behind the bodies' (little-endian):
//
//	| index u64 | base u64 | source u64 | sourceOffset u64 | maxTimeMS i64                |  0
//	| count u32 | note u32 | before u32                                                    | 40
//	| flags u32 | position u64 | notePosition u64 | length u32 | skip u32                  | 52
//	                                                                                         80
//
// From flags on it is what persistsrv has found, so that an index can be made anew from the log
// alone; in the ring form that is zero. Version ladder: the entry's.

import (
	"fmt"
	"iter"
)

// Ref makes records that are stored already part of another index: the records that have
// offsets [SourceOffset, SourceOffset+Count) in Source become [Base, Base+Count) of Index. No
// byte of them is stored again. They lie within one batch of Source, which an earlier entry,
// or an earlier item or reference of this one, has put there, and which is trimmed at the
// earliest by an op of this entry.
type Ref struct {
	Index        uint64
	Base         uint64
	Source       uint64
	SourceOffset uint64
	Count        uint32
	Note         uint32 // NoteAt of the event that tells how they came here; 0: what the source has for a note
	Before       uint32 // how many of Entry.Items come before it; it does not fall from one reference to the next
	MaxTimeMS    int64  // negative: the entry's time

	// What persistsrv finds before it stores the entry. Position is 0 before that, and where
	// RefDamaged is set.
	Flags        uint32 // RefRebase, RefDamaged, RefPartial
	Position     uint64 // log position of the batch's first byte
	NotePosition uint64 // log position of the note; 0: there is none
	Length       uint32 // bytes of the batch
	Skip         uint32 // records of the batch that come before the first one
}

// Flags of a reference that was stored. They go into its index entry.
const (
	RefRebase  = 1 // the base offset inside the batch is not Base - Skip
	RefDamaged = 2 // the source has no such records, or they are damaged: reading them is an error
	RefPartial = 4 // the batch has other records too
)

// MaxCount bounds the records of a batch, and so of a reference.
const MaxCount = 1 << 24

// Where the parts of a row begin that the ring form has zero.
const refFoundAt = 52

func (r *Ref) append(b []byte, found bool) []byte {
	var e [RefSize]byte
	le.PutUint64(e[0:], r.Index)
	le.PutUint64(e[8:], r.Base)
	le.PutUint64(e[16:], r.Source)
	le.PutUint64(e[24:], r.SourceOffset)
	le.PutUint64(e[32:], uint64(r.MaxTimeMS))
	le.PutUint32(e[40:], r.Count)
	le.PutUint32(e[44:], r.Note)
	le.PutUint32(e[48:], r.Before)
	if found {
		le.PutUint32(e[52:], r.Flags)
		le.PutUint64(e[56:], r.Position)
		le.PutUint64(e[64:], r.NotePosition)
		le.PutUint32(e[72:], r.Length)
		le.PutUint32(e[76:], r.Skip)
	}
	return append(b, e[:]...)
}

func readRef(b []byte) Ref {
	return Ref{
		Index: le.Uint64(b), Base: le.Uint64(b[8:]), Source: le.Uint64(b[16:]), SourceOffset: le.Uint64(b[24:]),
		MaxTimeMS: int64(le.Uint64(b[32:])), Count: le.Uint32(b[40:]), Note: le.Uint32(b[44:]), Before: le.Uint32(b[48:]),
		Flags: le.Uint32(b[52:]), Position: le.Uint64(b[56:]), NotePosition: le.Uint64(b[64:]),
		Length: le.Uint32(b[72:]), Skip: le.Uint32(b[76:]),
	}
}

// decodeRefs reads the references, which fill b. REQUIRES: events and items are decoded.
func (e *Entry) decodeRefs(b []byte, onDisk bool) error {
	before := uint32(0)
	for i := 0; len(b) > 0; i, b = i+1, b[RefSize:] {
		r := readRef(b)
		switch {
		case r.Count == 0 || r.Count > MaxCount:
			return fmt.Errorf("%w: ref %d of %d records", ErrEntry, i, r.Count)
		case !e.holdsNote(r.Note):
			return fmt.Errorf("%w: ref %d with its note at %d, events of %d bytes", ErrEntry, i, r.Note, len(e.Events))
		case r.Before < before || uint64(r.Before) > uint64(len(e.Items)):
			return fmt.Errorf("%w: ref %d behind %d of %d items, the one before behind %d", ErrEntry, i, r.Before, len(e.Items), before)
		case onDisk && !r.found():
			return fmt.Errorf("%w: ref %d leads to %d bytes at position %d, flags %d, skip %d", ErrEntry, i, r.Length, r.Position, r.Flags, r.Skip)
		case !onDisk && [RefSize - refFoundAt]byte(b[refFoundAt:RefSize]) != [RefSize - refFoundAt]byte{}:
			return fmt.Errorf("%w: ref %d leads into the log already", ErrEntry, i)
		}
		before = r.Before
		e.Refs = append(e.Refs, r)
	}
	return nil
}

// found says whether what persistsrv has found is whole and fits together.
func (r *Ref) found() bool {
	if r.Flags&RefDamaged != 0 {
		return r.Flags == RefDamaged && r.Position == 0 && r.Length == 0 && r.Skip == 0
	}
	return r.Flags&^uint32(RefRebase|RefPartial) == 0 && r.Position != 0 && r.Length >= minBody &&
		uint64(r.Skip)+uint64(r.Count) <= MaxCount && (r.Skip == 0 || r.Flags&RefPartial != 0)
}

// InOrder yields the numbers of all items and references in the order in which indexes take
// them: those of an item with ref false, those of a reference with true.
func (e *Entry) InOrder() iter.Seq2[int, bool] {
	return func(yield func(i int, ref bool) bool) {
		item := 0
		for i := range e.Refs {
			for ; item < int(e.Refs[i].Before); item++ {
				if !yield(item, false) {
					return
				}
			}
			if !yield(i, true) {
				return
			}
		}
		for ; item < len(e.Items); item++ {
			if !yield(item, false) {
				return
			}
		}
	}
}
