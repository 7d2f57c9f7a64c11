package core

import (
	"fmt"
	"strings"

	"github.com/cockroachdb/datadriven"

	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// noteAt finds what the log says of how a record came to its index, as the shell would: in the
// body or the reference that put it there.
func (w *world) noteAt(index, offset uint64) (n Noted, ok bool) {
	for _, e := range w.log {
		for i := range e.Items {
			if it := &e.Items[i]; it.Index == index && it.Base <= offset && offset < it.Base+uint64(it.Count) {
				n = Noted{Index: index, First: it.Base, Count: it.Count, Note: eventNote(e, e.Bodies[it.Body].Note), Weight: e.Bodies[it.Body].Length}
				return n, true
			}
		}
		for i := range e.Refs {
			r := &e.Refs[i]
			if r.Index != index || offset < r.Base || offset >= r.Base+uint64(r.Count) {
				continue
			}
			source, found := w.noteAt(r.Source, r.SourceOffset)
			if !found {
				w.tb.Fatalf("reference %+v leads nowhere", *r)
			}
			n = Noted{Index: index, First: r.Base, Count: r.Count, Note: source.Note, Weight: source.Weight}
			if r.Note != 0 {
				n.Note = eventNote(e, r.Note)
			}
			return n, true
		}
	}
	return n, false
}

func eventNote(e *journal.Entry, note uint32) ipc.Note {
	if note == 0 {
		return ipc.Note{}
	}
	r := journal.Events(e.Events[8*(note-1):])
	ev, _ := r.Next()
	n, err := journal.DecodeNote(ev)
	if err != nil {
		panic(err)
	}
	return n
}

// tellNotes answers what the core wants to know.
func (w *world) tellNotes() (wanted []Wanted) {
	wanted = w.c.Wanted(nil, 100)
	for _, want := range wanted {
		for at, end := want.First, want.First+uint64(want.Count); at < end; {
			n, ok := w.noteAt(want.Index, at)
			if !ok {
				w.tb.Fatalf("nothing is stored at %d of index %d", at, want.Index)
			}
			next := min(end, n.First+uint64(n.Count))
			n.Queue, n.First, n.Count = want.Queue, at, uint32(next-at)
			w.c.Noted(n)
			at = next
		}
	}
	return wanted
}

func (s *script) readNotes(b *strings.Builder, _ *datadriven.TestData) {
	for _, w := range s.tellNotes() {
		fmt.Fprintf(b, "wanted queue=%d index=%d [%d,%d)\n", w.Queue, w.Index, w.First, w.First+uint64(w.Count))
	}
}
