package shell

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/journal"
)

// References in a script, and what indexes are like that have some.

// stock is what the indexes of a script hold that may be referred to: half open ranges of offsets
// that lie within one batch, or within what an earlier reference has of one.
type stock map[uint64][][2]uint64

// add notes what an entry has put into an index.
func (s stock) add(index, base uint64, count uint32) {
	s[index] = append(s[index], [2]uint64{base, base + uint64(count)})
}

// addItems adds those that a turn has got since the last time.
func (s stock) addItems(t *turn) {
	for _, it := range t.entry.Items[t.stocked:] {
		s.add(it.Index, it.Base, it.Count)
	}
	t.stocked = len(t.entry.Items)
}

// settle ends a turn: what its ops have trimmed or deleted could be referred to for the last time.
func (s stock) settle(t *turn) {
	s.addItems(t)
	for _, op := range t.entry.Ops {
		switch op.Kind {
		case journal.OpTrim:
			s[op.Index] = slices.DeleteFunc(s[op.Index], func(r [2]uint64) bool { return r[0] < op.Offset })
		case journal.OpDelete:
			delete(s, op.Index)
		}
	}
}

// addNote appends a note to the turn's events.
func (t *turn) addNote(text []byte) uint32 {
	at := len(t.entry.Events)
	t.entry.Events = journal.AppendNote(t.entry.Events, journal.EvRouted, t.entry.LSN, text)
	return journal.NoteAt(at)
}

// addRef adds a reference to something that is in an index or comes to one with this turn, whole
// or in part, now and then with a note of its own.
func (t *turn) addRef(rng *rand.Rand, live []uint64, next map[uint64]uint64, all stock) {
	all.addItems(t)
	source := uint64(0)
	for range 5 {
		if id := uint64(1 + rng.IntN(40)); len(all[id]) > 0 {
			source = id
		}
	}
	if source == 0 {
		return
	}
	from := all[source][rng.IntN(len(all[source]))]
	first := from[0] + uint64(rng.IntN(int(from[1]-from[0])))
	r := journal.Ref{
		Index: live[rng.IntN(len(live))], Source: source, SourceOffset: first, Count: uint32(1 + rng.IntN(int(from[1]-first))),
		Before: uint32(len(t.entry.Items)), MaxTimeMS: -1,
	}
	r.Base = next[r.Index]
	if rng.IntN(3) == 0 {
		r.Note = t.addNote(fmt.Appendf(nil, "came from %d with lsn %d", source, t.entry.LSN))
	}
	next[r.Index] += uint64(r.Count)
	all.add(r.Index, r.Base, r.Count)
	t.entry.Refs = append(t.entry.Refs, r)
}

// sameRefs compares references but for what persistsrv finds.
func sameRefs(stored, sent []journal.Ref) bool {
	return slices.EqualFunc(stored, sent, func(a, b journal.Ref) bool {
		a.Flags, a.Position, a.NotePosition, a.Length, a.Skip = 0, 0, 0, 0, 0
		return a == b
	})
}

// modelIndex is an index as the script's first n turns make it: the model is these few lines.
type modelIndex struct {
	start   uint64
	next    uint64
	entries []modelEntry
}

// modelEntry is an index entry, its positions 0, with the bytes that it must lead to.
type modelEntry struct {
	commitlog.Entry
	raw  []byte // of the batch
	note []byte // the event; nil: there is none
}

func (r *rig) model(n int) map[uint64]*modelIndex {
	m := map[uint64]*modelIndex{}
	for i := range r.turns[:n] {
		t := &r.turns[i]
		e := &t.entry
		before := map[uint64]*modelIndex{}
		for _, op := range e.Ops {
			switch op.Kind {
			case journal.OpCreate:
				m[op.Index] = &modelIndex{}
			case journal.OpDelete:
				before[op.Index] = m[op.Index]
				delete(m, op.Index)
			case journal.OpTrim:
				m[op.Index].start = max(m[op.Index].start, op.Offset)
			}
		}
		for i, ref := range e.InOrder() {
			index, en := uint64(0), modelEntry{}
			if ref {
				source := m[e.Refs[i].Source]
				if source == nil {
					source = before[e.Refs[i].Source]
				}
				index, en = e.Refs[i].Index, t.modelRef(&e.Refs[i], source)
			} else {
				index, en = e.Items[i].Index, t.modelItem(&e.Items[i])
			}
			m[index].entries = append(m[index].entries, en)
			m[index].next = en.End()
		}
	}
	return m
}

func (t *turn) modelItem(it *journal.IndexItem) modelEntry {
	b := &t.entry.Bodies[it.Body]
	en := modelEntry{raw: t.bodies[it.Body], note: t.note(b.Note)}
	en.Offset, en.Length, en.Count, en.MaxTimeMS = it.Base, b.Length, it.Count, it.MaxTimeMS
	if it.Base != b.Base {
		en.Flags = commitlog.FlagRebase
	}
	return en
}

func (t *turn) modelRef(r *journal.Ref, source *modelIndex) modelEntry {
	i := slices.IndexFunc(source.entries, func(e modelEntry) bool { return e.End() > r.SourceOffset })
	en := source.entries[i]
	if r.SourceOffset > en.Offset || r.Count < en.Count {
		en.Flags |= commitlog.FlagPartial
	}
	was := en.Base()
	en.Skip += uint32(r.SourceOffset - en.Offset)
	en.Offset, en.Count, en.MaxTimeMS = r.Base, r.Count, t.entry.TimeMS
	if was != en.Base() {
		en.Flags |= commitlog.FlagRebase
	}
	if r.Note != 0 {
		en.note = t.note(r.Note)
	}
	return en
}

// note is the event that a body or a reference names.
func (t *turn) note(note uint32) []byte {
	if note == 0 {
		return nil
	}
	ev, err := journal.ReadNote(t.entry.Events[8*(note-1):])
	if err != nil {
		panic(err)
	}
	return ev.Raw
}

// compareNote compares what lies at a log position with an event.
func compareNote(log *commitlog.BatchReader, position uint64, want []byte) error {
	if (position != 0) != (want != nil) {
		return fmt.Errorf("at position %d, the model has %q", position, want)
	}
	if position == 0 {
		return nil
	}
	got, err := log.Bytes(position, len(want))
	if err == nil && !bytes.Equal(got, want) {
		err = fmt.Errorf("%q at position %d, the model has %q", got, position, want)
	}
	return err
}
