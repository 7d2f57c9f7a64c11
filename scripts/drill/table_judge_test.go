package drill

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// newsOf is a small history of a compacted topic in which all is well: of a only the last news are there in the end, of
// b the deletion, and of c nothing, for its deletion has had its time.
func newsOf(begin func(h *history)) *history {
	h := newHistory()
	begin(h)
	h.noteAt(&opBegan{Version: formatVersion, Seed: 7, Wall: h.began}, 0)
	h.noteAt(&opDealt{"t"}, 0)
	h.noteAt(&opTable{"t", time.Minute}, 0)
	h.noteAt(&opSender{Name: "p", Idempotent: true}, 0)
	at := time.Second
	for n, m := range []sentMessage{
		{subject: "c"}, {subject: "c", deletes: true}, {subject: "a"}, {subject: "b"}, {subject: "a"}, {subject: "b", deletes: true},
	} {
		if n == 2 {
			at += 2 * time.Minute
		}
		h.noteAt(&opSent{Who: "p", N: n, Topic: "t", Subject: m.subject, Deletes: m.deletes}, at)
		h.noteAt(&opSettled{Who: "p", N: n, Fate: acked, Offset: new(uint64(n))}, at)
	}
	h.noteAt(&opRead{Where: "t/0", Records: []sight{{0, "p 0"}, {1, "p 1"}, {2, "p 2"}}}, at)
	h.noteAt(&opRead{Where: "t/0", Next: 3, Records: []sight{{4, "p 4"}}}, at) // 3 had gone before it was read
	h.noteAt(&opFinal{"t/0", []sight{{4, "p 4"}, {5, "p 5"}}}, at)
	h.noteAt(&opEnded{}, at)
	return h
}

// The judge finds each kind of wrong with a compacted topic, and nothing where all is well.
func TestJudgeOfTables(t *testing.T) {
	if wrong := newsOf(func(*history) {}).judge(); len(wrong) > 0 {
		t.Fatalf("all is well, and yet: %q", wrong)
	}
	final := func(h *history, offsets ...uint64) {
		h.final["t/0"] = nil
		for _, o := range offsets {
			h.final["t/0"] = append(h.final["t/0"], sight{o, fmt.Sprintf("p %d", o)})
		}
	}
	for want, spoil := range map[string]func(h *history){
		"LOST: p 4":                 func(h *history) { final(h, 5) },
		"saw \"p 4\" at offset 4":   func(h *history) { final(h, 5) },
		"LOST: p 5":                 func(h *history) { final(h, 4) },
		"c was deleted at offset 1": func(h *history) { final(h, 0, 4, 5) },
		"LOST: p 1":                 func(h *history) { h.over = h.began.Add(30 * time.Second) },
		"between them is \"p 3\"":   func(h *history) { final(h, 3, 4); h.senders["p"].messages[5].fate = unknown },
		"there are [p 4 in t], but not [p 5 in t]": func(h *history) {
			d := h.ledger.open("d", undecided, "")
			for n := 4; n < 6; n++ {
				m := &h.senders["p"].messages[n]
				m.deal, d.parts = d, append(d.parts, part{h.senders["p"], n})
			}
			final(h, 4)
		},
	} {
		h := newsOf(func(*history) {})
		spoil(h)
		if wrong := strings.Join(h.judge(), "\n"); !strings.Contains(wrong, want) {
			t.Errorf("want %q, the judge says:\n%s", want, wrong)
		}
	}
}
