package commitlog

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/journal"
)

// The part of Verify that compares log and indexes, entry by entry.

// items compares the index entries that an entry of the log asks for with those that are there,
// and looks at what they lead to.
func (v *verifier) items(e *journal.Entry, p Place) error {
	for i := range e.Ops {
		if e.Ops[i].Kind == journal.OpDelete {
			delete(v.cursors, e.Ops[i].Index)
			delete(v.lost, e.Ops[i].Index)
		}
	}
	for i := range e.Bodies {
		v.ownNote(e, e.Bodies[i].Note, p)
	}
	for i, ref := range e.InOrder() {
		index, want := uint64(0), Entry{}
		if ref {
			v.ownNote(e, e.Refs[i].Note, p)
			index, want = e.Refs[i].Index, RefEntry(e, &e.Refs[i], p.Position)
		} else {
			it := &e.Items[i]
			index, want = it.Index, ItemEntry(e, it, p.Position, p.Position+e.BodyOffset(int(it.Body)))
		}
		c, err := v.cursor(index)
		if err != nil {
			return err
		}
		if c == nil || want.End() <= c.start || c.covers(want.Offset) {
			continue
		}
		c.compare(v, want)
		if ref {
			v.leadsTo(p, i, &want)
		}
	}
	return nil
}

// ownNote checks a note in the entry itself.
func (v *verifier) ownNote(e *journal.Entry, note uint32, p Place) {
	at := journal.NotePosition(0, note)
	if note == 0 || e.LSN == v.noteless {
		return
	}
	if _, err := journal.ReadNote(e.Events[at-journal.DiskHeaderSize:]); err != nil {
		v.found(Error, p.Segment, p.Position+at, "lsn %d: %v", e.LSN, err)
		v.noteless = e.LSN // one finding for each entry is enough
	}
}

// leadsTo checks what a reference that is still needed leads to: a whole batch with enough
// records, and a note. What lies in a hole of the log is reported already.
func (v *verifier) leadsTo(p Place, i int, x *Entry) {
	if x.Flags&FlagDamaged != 0 {
		v.found(Note, p.Segment, p.Position, "ref %d leads to nothing: the records had been lost before", i)
		return
	}
	if !v.damaged(x.Position) {
		if err := v.batch(x); err != nil && !errors.Is(err, fs.ErrNotExist) { // removed while we read: no longer needed
			v.found(Error, p.Segment, p.Position, "ref %d leads to no batch of %d bytes at position %d: %v", i, x.Length, x.Position, err)
		}
	}
	if x.Note != 0 && !v.damaged(x.Note) {
		if err := v.note(x.Note); err != nil && !errors.Is(err, fs.ErrNotExist) {
			v.found(Error, p.Segment, p.Position, "ref %d leads to no note at position %d: %v", i, x.Note, err)
		}
	}
}

// batch checks the batch that a reference leads to.
func (v *verifier) batch(x *Entry) error {
	b, err := v.bytes.readAgain(x.Position, int(x.Length))
	if err != nil {
		return err
	}
	if err = batch.Check(b); err != nil { // of one in a pack records may be gone
		return err
	}
	if n := batch.Header(b).Count(); uint64(n) < uint64(x.Skip)+uint64(x.Count) {
		return fmt.Errorf("it has %d records, of which %d are skipped and %d taken", n, x.Skip, x.Count)
	}
	return nil
}

// note checks the note at a log position.
func (v *verifier) note(position uint64) error {
	b, err := v.bytes.readAgain(position, journal.EventHeaderSize)
	if err != nil {
		return err
	}
	size, err := journal.PeekNote(b)
	if err != nil {
		return err
	}
	if b, err = v.bytes.readAgain(position, size); err != nil {
		return err
	}
	_, err = journal.ReadNote(b)
	return err
}

// indexCursor follows an index while the log is read.
type indexCursor struct {
	id      uint64
	name    string
	start   uint64
	entries []Entry
	slot    int
	broken  bool      // one finding for each index is enough
	packed  []offsets // that compaction has put into packs: the log says nothing of them any more
}

// offsets are those from first to before end.
type offsets struct{ first, end uint64 }

// covers tells whether compaction has put an offset into a pack.
func (c *indexCursor) covers(offset uint64) bool {
	return slices.ContainsFunc(c.packed, func(o offsets) bool { return o.first <= offset && offset < o.end })
}

// cursor opens an index; nil if it is not there.
func (v *verifier) cursor(id uint64) (*indexCursor, error) {
	if c := v.cursors[id]; c != nil {
		return c, nil
	}
	if v.lost[id] {
		return nil, nil
	}
	bases, err := ListIndexFiles(v.fs, id)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(bases) == 0 {
		v.lost[id] = true
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	c := &indexCursor{id: id, name: IndexPath(id)}
	v.cursors[id] = c
	covered := uint64(0)
	for i, base := range bases {
		if base < covered {
			continue // on its way out
		}
		h, entries, used, err := ReadIndexFile(v.fs, id, base)
		if err != nil {
			v.found(Error, IndexName(id, base), 0, "%v", err)
			c.broken = true
			return c, nil
		}
		if i == 0 {
			c.start = h.Start
		}
		if i+1 < len(bases) && len(entries) < used && !v.closedEarly(IndexName(id, base), entries, bases[i+1]) {
			v.found(Error, IndexName(id, base), uint64(len(entries)), "entry fails its check")
			c.broken = true
		}
		if h.Compacted {
			if covered, err = v.packed(id, &h, entries); err != nil {
				return nil, err
			}
			c.packed = append(c.packed, offsets{base, max(covered, base+1)})
			continue
		}
		c.entries = append(c.entries, entries...)
	}
	c.entries = slices.DeleteFunc(c.entries, func(e Entry) bool { return e.End() <= c.start })
	return c, nil
}

// closedEarly tells whether a file has slots that are not in use for the reason that compaction has begun the
// next one before it was full: recovery may have zeroed slots in it before that.
func (v *verifier) closedEarly(name string, entries []Entry, next uint64) bool {
	b, err := readWhole(v.fs, name)
	if err != nil || len(entries) == 0 || entries[len(entries)-1].End() != next {
		return false
	}
	rest := b[min(len(b), IndexHeaderSize+len(entries)*IndexEntrySize):]
	return !slices.ContainsFunc(rest, func(c byte) bool { return c != 0 })
}

// compare takes the next entry of the index, which must be the wanted one. Entries of which a
// hole of the log has swallowed the origin cannot be compared.
func (c *indexCursor) compare(v *verifier, want Entry) {
	for c.slot < len(c.entries) && v.inHole(c.entries[c.slot].Origin) {
		c.slot++
	}
	if c.broken {
		return
	}
	if c.slot == len(c.entries) {
		v.found(Error, c.name, uint64(c.slot), "ends at entry %d; the log has one more, for offset %d at position %d", c.slot, want.Offset, want.Position)
		c.broken = true
		return
	}
	got := c.entries[c.slot]
	c.slot++
	want.MaxTimeMS = got.MaxTimeMS
	want.Flags |= got.Flags & FlagDamaged // may have been found later
	if got != want {
		v.found(Error, c.name, uint64(c.slot-1), "says %+v, the log %+v", got, want)
		c.broken = true
	}
}

func (v *verifier) inHole(position uint64) bool {
	for _, d := range v.holes {
		if position >= d.Position && position < d.End {
			return true
		}
	}
	return false
}

// damaged is inHole for holes that damage has torn: of segments that are gone nothing may be needed.
func (v *verifier) damaged(position uint64) bool {
	for _, d := range v.holes {
		if !d.Removed && position >= d.Position && position < d.End {
			return true
		}
	}
	return false
}
