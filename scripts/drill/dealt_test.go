package drill

import (
	"strings"
	"testing"
)

// dealt is a small history with transactions in which all is well: of in's two messages one each was made, in
// a transaction that is committed and in one of which nobody knows that it is; one more was aborted between
// them, and one not even ended.
func dealt() *history {
	h := newHistory()
	h.note(&opBegan{Version: formatVersion, Wall: h.began})
	h.note(&opMoved{"in"})
	h.note(&opDealt{"out"})
	h.note(&opSender{Name: "p", Idempotent: true})
	for n := range 2 {
		h.settled("p", h.send("p", sentMessage{topic: "in"}), opSettled{Fate: acked, Offset: new(uint64(n))})
	}
	h.note(&opFinal{"in/0", []sight{{0, "p 0"}, {1, "p 1"}}})
	h.note(&opSender{Name: "m", Idempotent: true})
	for n, d := range []struct {
		ends   outcome
		source string
	}{{committed, "p 0"}, {rolledBack, "p 1"}, {undecided, "p 1"}, {rolledBack, ""}} {
		deal := h.ledger.open("deal", rolledBack, "")
		for k := range 2 {
			m := sentMessage{topic: "out", partition: uint32(k), deal: deal}
			if k == 0 {
				m.source = d.source
			}
			h.settled("m", h.send("m", m), opSettled{Fate: acked, Offset: new(uint64(2 * n))})
		}
		h.ledger.end(deal, d.ends)
	}
	h.note(&opFinal{"out/0", []sight{{0, "m 0"}, {4, "m 4"}}})
	h.note(&opFinal{"out/1", []sight{{0, "m 1"}, {4, "m 5"}}})
	h.read("out/0", 0, []sight{{0, "m 0"}, {4, "m 4"}})
	h.read("out/1", 3, []sight{{4, "m 5"}})
	h.note(&opEnded{})
	return h
}

// TestDealtJudge: each kind of wrong about transactions is found, and nothing where all is well.
func TestDealtJudge(t *testing.T) {
	if wrong := dealt().judge(); len(wrong) > 0 {
		t.Fatalf("all is well, and yet: %q", wrong)
	}
	for want, spoil := range map[string]func(h *history){
		"LOST: m 1":                           func(h *history) { h.final["out/1"], h.seen["out/1"] = h.final["out/1"][1:], nil },
		"deal: there are [m 4 in out], but":   func(h *history) { h.final["out/1"], h.seen["out/1"] = h.final["out/1"][:1], nil },
		"was rolled back, but there are [m 2": func(h *history) { h.final["out/0"] = append(h.final["out/0"], sight{6, "m 2"}) },
		"offset 2, where nothing is":          func(h *history) { h.read("out/0", 2, []sight{{2, "m 2"}}) },
		"got offset 6, between them is \"m 4\"": func(h *history) {
			h.final["out/0"] = append(h.final["out/0"], sight{6, "m 6"})
			h.read("out/0", 1, []sight{{6, "m 6"}})
		},
		"LOST: nothing was made of p 2, which is at offset 2 of in/0": func(h *history) {
			h.settled("p", h.send("p", sentMessage{topic: "in"}), opSettled{Fate: acked})
			h.note(&opFinal{"in/0", []sight{{2, "p 2"}}})
		},
		"DOUBLE: of p 0, at offset 0 of in/0, 2 messages": func(h *history) { h.senders["m"].messages[4].source = "p 0" },
		"in/0: a reader at offset 0 got offset 1":         func(h *history) { h.read("in/0", 0, []sight{{1, "p 1"}}) },
		"out/0: a reader at offset 1 got offset 0":        func(h *history) { h.read("out/0", 1, []sight{{0, "m 0"}}) },
		"out/0: offset 4 at place 2":                      func(h *history) { h.note(&opFinal{"out/0", []sight{{4, "m 4"}}}) },
	} {
		h := dealt()
		spoil(h)
		if wrong := strings.Join(h.judge(), "\n"); !strings.Contains(wrong, want) {
			t.Errorf("%q was not found:\n%s", want, wrong)
		}
	}
	h := dealt() // what was never asked to be committed, and is there
	h.note(&opFinal{"out/0", []sight{{6, "m 6"}}})
	h.note(&opFinal{"out/1", []sight{{6, "m 7"}}})
	if wrong := strings.Join(h.judge(), "\n"); !strings.Contains(wrong, "was rolled back, but there are [m 6 in out m 7 in out]") {
		t.Error(wrong)
	}
}
