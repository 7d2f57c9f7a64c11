package journal

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// exampleNote is an event that can be a note.
func exampleNote() []byte {
	return AppendNote(nil, EvRouted, 4096, []byte("orders to eu"))
}

func TestNote(t *testing.T) {
	b := exampleNote()
	ev, err := ReadNote(append(bytes.Clone(b), 1, 2, 3)) // whatever follows
	if err != nil || ev.Type != EvRouted || ev.Pos != 4096 || !bytes.Equal(ev.Raw, b) {
		t.Fatalf("%+v %v", ev, err)
	}
	if ev, err = ev.noted(); err != nil || string(ev.Body) != "orders to eu" {
		t.Fatalf("%q %v", ev.Body, err)
	}
	if size, err := PeekNote(b[:EventHeaderSize]); err != nil || size != len(b) {
		t.Fatal(size, err)
	}
	for i := range 8 * len(b) {
		b[i/8] ^= 1 << (i % 8)
		if _, err := ReadNote(b); !errors.Is(err, ErrEvent) {
			t.Fatalf("bit %d of byte %d: %v", i%8, i/8, err)
		}
		b[i/8] ^= 1 << (i % 8)
	}
	for n := range b {
		if _, err := ReadNote(b[:n]); !errors.Is(err, ErrEvent) {
			t.Fatalf("%d of %d bytes: %v", n, len(b), err)
		}
	}
	if _, err := ReadNote((&Appended{}).Append(nil)); !errors.Is(err, ErrEvent) {
		t.Errorf("an event without a check: %v", err)
	}
	if _, err := ReadNote(beginEvent(nil, EvRouted, 1)); !errors.Is(err, ErrEvent) {
		t.Errorf("an event without a body: %v", err)
	}
	if _, err := PeekNote([]byte{15: 0, 2: 0x10}); !errors.Is(err, ErrEvent) {
		t.Errorf("a note of 1 MiB and its header: %v", err)
	}
}

// TestNotePosition: the names that logicsrv gives to notes lead to them in the log.
func TestNotePosition(t *testing.T) {
	e := stored(exampleEntry())
	note := len(e.Events)
	e.Events = append(e.Events, exampleNote()...)
	e.Bodies[0].Note = NoteAt(note)
	const position = 8 << 20
	log := append(make([]byte, 8), e.AppendDisk(nil, 70, salt)...) // from position-8 on
	at := NotePosition(position, e.Bodies[0].Note)
	if ev, err := ReadNote(log[at-(position-8):]); err != nil || ev.Pos != 4096 {
		t.Fatalf("at %d: %+v %v", at, ev, err)
	}
	if at := NotePosition(position, 0); at != 0 {
		t.Errorf("no note is at %d", at)
	}
	for off, holds := range map[int]bool{0: true, note: true, note + 16: true, note + 24: false, len(e.Events): false} {
		if e.holdsNote(NoteAt(off)) != holds {
			t.Errorf("a note at byte %d of %d: %v", off, len(e.Events), !holds)
		}
	}
}

// TestNoteWithin: what is handed on of an event is its note, as it decodes.
func TestNoteWithin(t *testing.T) {
	notes := 0
	for _, c := range eventCodecs() {
		r := Events(c.encoded)
		ev, _ := r.Next()
		from, to, err := NoteWithin(ev)
		if !strings.Contains(c.layout, noteLayout) {
			if !errors.Is(err, ErrEvent) {
				t.Errorf("%s is a note: %v", c.name, err)
			}
			continue
		}
		notes++
		if err != nil || !bytes.Equal(ev.Raw[from:to], note.Append(nil)) {
			t.Errorf("%s: %x %v", c.name, ev.Raw[from:to], err)
		}
		ev.Body = ev.Body[:noteSumSize-1]
		if _, _, err := NoteWithin(ev); !errors.Is(err, ErrEvent) {
			t.Errorf("%s of 3 bytes: %v", c.name, err)
		}
	}
	if notes != 4 {
		t.Errorf("%d types of events are notes", notes)
	}
}
