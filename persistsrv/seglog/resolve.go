package seglog

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"

	"github.com/trimq/trimq/persistsrv/vfs"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/invariant"
	"github.com/trimq/trimq/protocol/journal"
)

// Where references lead. A reference names records by another index and their offsets there.
// Before its entry is stored it is found out, by that index, where in the log they lie, so that
// what is stored can be understood without that index, which may be trimmed or deleted by then.
//
// The source may lie, in this order: in the index's files; in the round, whose index changes are
// not done yet: then it is flushed first; in the entry itself. What lies below the source's start is
// taken all the same as long as it is there: the entry may come a second time, after a failed
// sync, and have trimmed its own sources when it came first.

// resolving is what finding references needs from one to the next.
type resolving struct {
	pins []*segment // must not go before the round is through
	seen lookup
	own  ownOrder
}

// reset ends a round.
func (r *resolving) reset() {
	for _, s := range r.pins {
		s.pins--
	}
	clear(r.pins)
	r.pins = r.pins[:0]
	r.forget()
}

// forget says that what was read of indexes may have changed.
func (r *resolving) forget() { r.seen.entries = r.seen.entries[:0] }

// resolve finds where the references of an entry lead, which is about to be gathered. ready is
// false where the round must be flushed first. What cannot be found is damaged, and that is all
// that is known of it from then on.
func (l *Log) resolve(e *journal.Entry) (ready bool, err error) {
	if len(e.Refs) == 0 {
		return true, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	origin := l.end + uint64(l.round.bytes)
	l.round.refs.own.begin()
	lost, first := 0, 0
	for i := range e.Refs {
		r := &e.Refs[i]
		src, err := l.source(e, i, origin)
		if err == errLater {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("append lsn=%d: ref to index %#x offset %d: %w", e.LSN, r.Source, r.SourceOffset, err)
		}
		if !lead(r, &src) {
			if lost++; lost == 1 {
				first = i
			}
		}
		r.NotePosition = src.Note
		if r.Note != 0 {
			r.NotePosition = journal.NotePosition(origin, r.Note)
		}
		l.pin(r)
	}
	if lost > 0 {
		r := &e.Refs[first]
		l.stats.DamagedRefs += uint64(lost)
		l.log.Error("references lead to nothing that can be read: they are stored as damaged", "lsn", e.LSN, "refs", lost,
			"index", r.Index, "offset", r.Base, "source", r.Source, "source_offset", r.SourceOffset, "count", r.Count)
	}
	return true, nil
}

// lead puts into a reference where it leads, by the source's entry. false: it leads to nothing
// that can be read.
func lead(r *journal.Ref, src *commitlog.Entry) bool {
	within := src.Count > 0 && r.SourceOffset >= src.Offset && r.SourceOffset+uint64(r.Count) <= src.End()
	if !within || src.Flags&commitlog.FlagDamaged != 0 {
		r.Flags, r.Position, r.Length, r.Skip = journal.RefDamaged, 0, 0, 0
		return false
	}
	before := uint32(r.SourceOffset - src.Offset)
	r.Position, r.Length, r.Skip = src.Position, src.Length, src.Skip+before
	r.Flags = src.Flags & commitlog.FlagPartial
	if before > 0 || r.Count < src.Count {
		r.Flags |= journal.RefPartial
	}
	// What is inside a batch that was rebased already is not known here.
	if src.Flags&commitlog.FlagRebase != 0 || src.Base() != r.Base-uint64(r.Skip) {
		r.Flags |= journal.RefRebase
	}
	return true
}

// pin keeps the segments that a reference leads into until the round is through, and its index
// entry counts: the source may be trimmed meanwhile. REQUIRES: mu is held.
func (l *Log) pin(r *journal.Ref) {
	for _, position := range [2]uint64{r.Position, r.NotePosition} {
		if s := l.at(position); position != 0 && s != nil && s != l.cur {
			s.pins++
			l.round.refs.pins = append(l.round.refs.pins, s)
		}
	}
}

// errLater says that a source may be among what the round has gathered.
var errLater = errors.New("the source is not in its index yet")

// source finds the index entry of the records that reference i of an entry at a log position
// refers to; a zero one where there is none. REQUIRES: mu is held, and the references before
// it lead somewhere.
func (l *Log) source(e *journal.Entry, i int, origin uint64) (commitlog.Entry, error) {
	r := &e.Refs[i]
	x := l.indexes[r.Source]
	if x != nil && r.SourceOffset < x.next {
		src, err := l.round.refs.seen.find(l, x, r.SourceOffset)
		// Of what is trimmed already the segments may have gone.
		if l.at(src.Note) == nil {
			src.Note = 0
		}
		if l.at(src.Position) == nil {
			src.Flags |= commitlog.FlagDamaged
		}
		if err == nil && src.Flags&commitlog.FlagSparse != 0 {
			return l.dense(r, src)
		}
		return src, err
	}
	if src, ok := l.round.refs.own.find(e, i, origin); ok {
		return src, nil
	}
	if l.round.bytes > 0 {
		return commitlog.Entry{}, errLater
	}
	return commitlog.Entry{}, nil
}

// dense is the part of a sparse batch that holds all records that a reference refers to, as an entry of
// its own; a zero one where compaction has removed one of them. REQUIRES: mu is held.
func (l *Log) dense(r *journal.Ref, src commitlog.Entry) (part commitlog.Entry, err error) {
	p := l.packAt(src.Position)
	if p == nil {
		return part, nil
	}
	f, err := l.fs.Open(p.name())
	if err != nil {
		return part, err
	}
	defer f.Close()
	b := make([]byte, src.Length)
	if _, err := f.ReadAt(b, commitlog.PackHeaderSize+int64(src.Position-p.position)); err != nil && err != io.EOF {
		return part, fmt.Errorf("read %s: %w", p.name(), err)
	}
	var reader batch.Reader
	_ = reader.Runs(b, func(delta, record, count uint32) bool { // a batch that is broken has none
		first := src.Offset + uint64(delta)
		if r.SourceOffset < first || r.SourceOffset+uint64(r.Count) > first+uint64(count) {
			return true
		}
		part = src
		part.Offset, part.Skip, part.Count = first, record, count
		part.Flags = part.Flags&^commitlog.FlagSparse | commitlog.FlagPartial | commitlog.FlagRebase
		return false
	})
	return part, nil
}

// lookup reads entries of indexes, and remembers the ones that it has read last: references come
// in runs.
type lookup struct {
	index   uint64
	entries []commitlog.Entry
	buf     [lookupChunk * commitlog.IndexEntrySize]byte
}

// lookupChunk is how many entries are read at once.
const lookupChunk = 64

// find returns the entry of an index that contains an offset; a zero one where there is none, or
// it is damaged.
func (k *lookup) find(l *Log, x *index, offset uint64) (commitlog.Entry, error) {
	if k.index == x.id {
		if e := k.among(offset); e.Count > 0 {
			return e, nil
		}
	}
	invariant.Check(len(x.pending) == 0, "index %#x has %d bytes of entries that are not written", x.id, len(x.pending))
	i := sort.Search(len(x.files), func(i int) bool { return x.files[i].base > offset }) - 1
	if i < 0 {
		return commitlog.Entry{}, nil
	}
	k.index = x.id
	if err := k.read(l, x, &x.files[i], offset); err != nil {
		return commitlog.Entry{}, err
	}
	return k.among(offset), nil
}

// among looks among the entries that were read last.
func (k *lookup) among(offset uint64) commitlog.Entry {
	i := sort.Search(len(k.entries), func(i int) bool { return k.entries[i].End() > offset })
	if i == len(k.entries) || k.entries[i].Offset > offset {
		return commitlog.Entry{}
	}
	return k.entries[i]
}

// read reads the chunk of a file in which an offset must be, if it is there.
func (k *lookup) read(l *Log, x *index, f *indexFile, offset uint64) error {
	k.entries = k.entries[:0]
	file := x.file
	if file == nil || x.fileBase != f.base {
		var err error
		if file, err = l.fs.Open(commitlog.IndexName(x.id, f.base)); err != nil {
			return err
		}
		defer file.Close()
	}
	chunks := (int(f.count) + lookupChunk - 1) / lookupChunk
	var err error
	first := sort.Search(chunks, func(c int) bool {
		e, ok, readErr := k.slot(file, c*lookupChunk)
		if readErr != nil {
			err = readErr
		}
		return !ok || e.Offset > offset // behind a damaged one nothing is found
	}) - 1
	if err != nil || first < 0 {
		return err
	}
	slot := first * lookupChunk
	n := min(lookupChunk, int(f.count)-slot)
	b := k.buf[:n*commitlog.IndexEntrySize]
	if _, err := file.ReadAt(b, slotOffset(uint32(slot))); err != nil && err != io.EOF {
		return err
	}
	for ; len(b) > 0; b = b[commitlog.IndexEntrySize:] {
		if e, ok := commitlog.DecodeEntry(b); ok {
			k.entries = append(k.entries, e)
		}
	}
	return nil
}

// slot reads one entry of a file; ok tells whether it is whole.
func (k *lookup) slot(file vfs.File, slot int) (e commitlog.Entry, ok bool, err error) {
	b := k.buf[:commitlog.IndexEntrySize]
	clear(b)
	if _, err := file.ReadAt(b, slotOffset(uint32(slot))); err != nil && err != io.EOF {
		return e, false, err
	}
	e, ok = commitlog.DecodeEntry(b)
	return e, ok, nil
}

// ownOrder finds a reference's source in the entry itself: among its items and earlier references.
type ownOrder struct {
	made   bool
	places []ownPlace // by index; those of one index by offset, as these rise
	bodies []uint64   // where they begin in the entry
}

// ownPlace is an item or a reference of the entry.
type ownPlace struct {
	index, base, end uint64
	number           int
	ref              bool
}

// begin starts with another entry. Few references need what follows.
func (o *ownOrder) begin() { o.made, o.places, o.bodies = false, o.places[:0], o.bodies[:0] }

// find returns the index entry that contains the source of reference i, which is to come from an
// item or a reference before it.
func (o *ownOrder) find(e *journal.Entry, i int, origin uint64) (commitlog.Entry, bool) {
	if !o.made {
		o.make(e)
	}
	r := &e.Refs[i]
	k := sort.Search(len(o.places), func(k int) bool {
		p := &o.places[k]
		return p.index > r.Source || p.index == r.Source && p.end > r.SourceOffset
	})
	if k == len(o.places) || o.places[k].index != r.Source || o.places[k].base > r.SourceOffset {
		return commitlog.Entry{}, false
	}
	p := &o.places[k]
	switch {
	case p.ref && p.number < i:
		return commitlog.RefEntry(e, &e.Refs[p.number], origin), true
	case !p.ref && p.number < int(r.Before):
		it := &e.Items[p.number]
		return commitlog.ItemEntry(e, it, origin, origin+o.bodies[it.Body]), true
	}
	return commitlog.Entry{}, false
}

// make lists and sorts what the entry puts into indexes.
func (o *ownOrder) make(e *journal.Entry) {
	o.made = true
	at := uint64(e.HeadSize())
	for i := range e.Bodies {
		o.bodies = append(o.bodies, at)
		at += uint64(e.Bodies[i].Length)
	}
	for i, ref := range e.InOrder() {
		p := ownPlace{number: i, ref: ref}
		if ref {
			r := &e.Refs[i]
			p.index, p.base, p.end = r.Index, r.Base, r.Base+uint64(r.Count)
		} else {
			it := &e.Items[i]
			p.index, p.base, p.end = it.Index, it.Base, it.Base+uint64(it.Count)
		}
		o.places = append(o.places, p)
	}
	slices.SortStableFunc(o.places, func(a, b ownPlace) int { return cmp.Compare(a.index, b.index) })
}
