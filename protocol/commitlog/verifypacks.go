package commitlog

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/trimq/trimq/protocol/batch"
)

// The part of Verify that looks at what compaction has made: packs, and the index files that lead into
// them. The log does not bear them out: what it said of those offsets may be gone.

// packs reads all packs: their entries, batches and notes.
func (v *verifier) packs() error {
	packs, err := ListPacks(v.fs)
	if err != nil {
		return err
	}
	v.sum.Packs = uint64(len(packs))
	for i := range packs {
		p := &packs[i]
		v.sum.Bytes += uint64(p.Size)
		if p.HeaderErr != nil {
			v.found(Error, p.Name, p.Position, "%v", p.HeaderErr)
			continue
		}
		if err := v.pack(p); err != nil && !errors.Is(err, fs.ErrNotExist) { // removed while we read: no longer needed
			return err
		}
	}
	return nil
}

// pack reads one pack.
func (v *verifier) pack(p *PackFile) error {
	entries, err := ReadPackEntries(v.fs, p)
	var format *FormatError
	if errors.As(err, &format) {
		v.found(Error, p.Name, p.Position, "%v", err)
		return nil
	}
	if err != nil {
		return err
	}
	for i := range entries {
		e := &entries[i]
		if e.Flags&FlagDamaged != 0 {
			v.found(Note, p.Name, e.Position, "offset %d: its batch had been damaged before it came here", e.Offset)
			continue
		}
		v.sum.Batches++
		err := v.packedBatch(e)
		if err == nil && e.Note != 0 {
			err = v.note(e.Note)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err != nil {
			v.found(Error, p.Name, e.Position, "offset %d: %v", e.Offset, err)
		}
	}
	return nil
}

// packedBatch checks a batch in a pack.
func (v *verifier) packedBatch(e *Entry) error {
	b, err := v.bytes.readAgain(e.Position, int(e.Length))
	if err != nil {
		return err
	}
	if err := batch.Check(b); err != nil {
		return err
	}
	h := batch.Header(b)
	switch {
	case e.Flags&FlagPartial != 0:
		return nil
	case h.BaseOffset() != e.Offset || uint64(h.LastOffsetDelta())+1 != uint64(e.Count):
		return fmt.Errorf("its batch has offsets from %d on, %d of them, its entry %d", h.BaseOffset(), h.LastOffsetDelta()+1, e.Count)
	case h.Sparse() != (e.Flags&FlagSparse != 0):
		return fmt.Errorf("its batch has %d records of %d, which its entry does not say", h.Count(), e.Count)
	}
	return nil
}

// packed compares an index file that was compacted with its pack, and returns up to where it stands for
// what other files held.
func (v *verifier) packed(id uint64, h *IndexHeader, entries []Entry) (covered uint64, err error) {
	name := IndexName(id, h.Base)
	v.sum.IndexEntries += uint64(len(entries))
	if len(entries) < int(h.Slots) {
		v.found(Error, name, uint64(len(entries)), "entry fails its check")
	}
	if len(entries) == 0 {
		return 0, nil
	}
	p, err := lookAtPack(v.fs, entries[0].Origin)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		v.found(Error, name, 0, "leads to %s, which is missing", PackName(entries[0].Origin))
		return 0, nil
	case err != nil:
		return 0, err
	case p.HeaderErr != nil: // told by packs
		return entries[len(entries)-1].End(), nil
	}
	if p.Header.Index != id || p.Header.Base != h.Base {
		v.found(Error, name, 0, "leads to %s, which is of index %#x from offset %d", p.Name, p.Header.Index, p.Header.Base)
	}
	in, err := ReadPackEntries(v.fs, &p)
	if err == nil && !slices.Equal(in, entries) {
		v.found(Error, name, 0, "has other entries than %s", p.Name)
	}
	return p.Header.End, nil
}
