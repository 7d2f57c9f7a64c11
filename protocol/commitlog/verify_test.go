package commitlog

import (
	"bytes"
	"strings"
	"testing"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// refLog is a log whose first entry stores a batch of five records in index 1, with a note, and
// whose second makes the records 1 to 3 of it index 2; with both indexes. change may spoil the
// second entry before it is stored.
func refLog(change func(first, second *journal.Entry)) memFS {
	h := SegmentHeader{BaseLSN: 1, Capacity: 1 << 20, Salt: 5}
	var bb batch.Builder
	for range 5 {
		bb.Add(1, nil, []byte("value"), nil)
	}
	raw := bytes.Clone(bb.Seal(batch.None, -1, -1, -1))
	body := journal.Body{Length: uint32(len(raw)), CRC: batch.Header(raw).CRC(), Note: journal.NoteAt(0)}
	first := journal.Entry{
		LSN: 1, Term: 1, Level: ipc.LevelDisk, Events: journal.AppendNote(nil, journal.EvRouted, 1, []byte("note")),
		Bodies: []journal.Body{body}, Items: []journal.IndexItem{{Index: 1, Count: 5}},
	}
	second := journal.Entry{
		LSN: 2, Term: 1, Level: ipc.LevelDisk,
		Refs: []journal.Ref{{
			Index: 2, Source: 1, SourceOffset: 1, Count: 3, Flags: journal.RefPartial | journal.RefRebase,
			Position: first.BodyOffset(0), NotePosition: journal.NotePosition(0, body.Note), Length: body.Length, Skip: 1,
		}},
	}
	change(&first, &second)
	m := memFS{}
	b := h.Append(nil)
	b = append(first.AppendDisk(b, 0, h.EntrySalt(0)), raw...)
	b = append(b, make([]byte, -len(b)&7)...)
	prefix := first.Bodies[0].Prefix()
	copy(b[SegmentHeaderSize+first.BodyOffset(0):], prefix[:])
	at := uint64(len(b) - SegmentHeaderSize)
	m[SegmentName(0)] = second.AppendDisk(b, 1, h.EntrySalt(at))
	item := ItemEntry(&first, &first.Items[0], 0, first.BodyOffset(0))
	m.index(1, item)
	if len(second.Refs) > 0 {
		m.index(2, RefEntry(&second, &second.Refs[0], at))
	}
	return m
}

// index stores an index of one entry.
func (m memFS) index(id uint64, e Entry) {
	h := IndexHeader{Slots: 4, Index: id, Base: e.Offset}
	m[IndexName(id, e.Offset)] = e.Append(h.Append(nil))
}

// TestVerifyRefs: what references lead to is looked at, and their notes.
func TestVerifyRefs(t *testing.T) {
	for name, c := range map[string]struct {
		change func(first, second *journal.Entry)
		spoil  func(m memFS)
		want   string // part of the one error; empty: none
	}{
		"sound": {},
		"damaged already": {change: func(_, e *journal.Entry) {
			e.Refs[0] = journal.Ref{Index: 2, Source: 1, Count: 3, Flags: journal.RefDamaged}
		}},
		"to no batch": {
			change: func(_, e *journal.Entry) { e.Refs[0].Position += 8 }, want: "leads to no batch",
		},
		"beyond the log": {change: func(_, e *journal.Entry) { e.Refs[0].Position += 1 << 40 }, want: "leads to no batch"},
		"to more than there is": {
			change: func(_, e *journal.Entry) { e.Refs[0].Count = 5 }, want: "has 5 records, of which 1 are skipped and 5 taken",
		},
		"to no note":         {change: func(_, e *journal.Entry) { e.Refs[0].NotePosition += 8 }, want: "leads to no note"},
		"to a note far away": {change: func(_, e *journal.Entry) { e.Refs[0].NotePosition = 1 << 40 }, want: "leads to no note"},
		"a note that is none": {
			change: func(e, ref *journal.Entry) {
				e.Events = (&journal.Appended{}).Append(nil)
				ref.Refs[0].Position, ref.Refs[0].NotePosition = e.BodyOffset(0), 0
			}, want: "lsn 1: malformed event",
		},
		"another skip in the index": {
			spoil: func(m memFS) {
				_, entries, _ := ReadIndex(m, 2)
				entries[0].Skip--
				m.index(2, entries[0])
			}, want: "says {Offset:0",
		},
		"an entry of no origin": {
			spoil: func(m memFS) {
				_, entries, _ := ReadIndex(m, 2)
				e := entries[0]
				e.Offset = e.End()
				name := IndexName(2, 0)
				m[name] = e.Append(m[name])
			}, want: "where the log has no such entry",
		},
		"found damaged later": {
			spoil: func(m memFS) {
				_, entries, _ := ReadIndex(m, 2)
				entries[0].Flags |= FlagDamaged
				m.index(2, entries[0])
			},
		},
	} {
		if c.change == nil {
			c.change = func(*journal.Entry, *journal.Entry) {}
		}
		m := refLog(c.change)
		if c.spoil != nil {
			c.spoil(m)
		}
		var errs []string
		sum, err := Verify(m, func(f Finding) {
			if f.Severity == Error {
				errs = append(errs, f.What)
			}
		})
		if err != nil || sum.Entries != 2 || sum.IndexEntries < 2 {
			t.Fatalf("%s: %+v %v", name, sum, err)
		}
		if ok := len(errs) == 1 && strings.Contains(errs[0], c.want); ok != (c.want != "") || c.want == "" && len(errs) > 0 {
			t.Errorf("%s: %q, want %q", name, errs, c.want)
		}
	}
}
