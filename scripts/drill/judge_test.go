package drill

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// sound is a small history in which all is well; begin is called before anything is noted.
func sound(begin func(h *history)) *history {
	h := newHistory()
	begin(h)
	h.note(&opBegan{Version: formatVersion, Seed: 7, Wall: h.began})
	h.note(&opSender{Name: "p", Idempotent: true})
	for n := range 3 {
		h.send("p", sentMessage{topic: "t"})
		h.settled("p", n, opSettled{Fate: acked, Offset: new(uint64(n))})
		h.note(&opFinal{"t/0", []sight{{uint64(n), fmt.Sprintf("p %d", n)}}})
	}
	h.note(&opSender{Name: "e", Idempotent: true})
	h.note(&opParty{Name: "worker"})
	c := h.hold("worker", 0)
	for n := range 3 {
		h.send("e", sentMessage{places: []string{"q"}})
		h.settled("e", n, opSettled{Fate: acked, Reached: 1})
		h.delivered("q", c, 0, false, []sight{{uint64(n), fmt.Sprintf("e %d", n)}})
	}
	h.note(&opConfirmed{"q", []uint64{0, 1, 2}})
	h.send("p", sentMessage{topic: "t"})
	h.settled("p", 3, opSettled{Fate: refused})
	h.read("t/0", 0, slices.Clone(h.final["t/0"]))
	h.note(&opCommits{"g", "t/0", 2, stepTried})
	h.note(&opCommits{"g", "t/0", 2, stepAnswered})
	h.note(&opCommits{"g", "t/0", 2, stepFound})
	h.note(&opEnded{})
	return h
}

func (h *history) settled(who string, n int, o opSettled) {
	o.Who, o.N = who, n
	h.note(&o)
}

// The judge finds each kind of wrong, and nothing in a history where all is well.
func TestJudge(t *testing.T) {
	if wrong := sound(func(*history) {}).judge(); len(wrong) > 0 {
		t.Fatalf("all is well, and yet: %q", wrong)
	}
	for want, spoil := range map[string]func(h *history){
		"LOST":        func(h *history) { h.final["t/0"] = h.final["t/0"][:2]; delete(h.seen, "t/0") },
		"is not in q": func(h *history) { delete(h.queues["q"].deliveries, 1) },
		"DOUBLE":      func(h *history) { h.note(&opFinal{"t/0", []sight{{3, "p 1"}}}) },
		"DOUBLE: plain 0 is in t": func(h *history) {
			h.note(&opSender{Name: "plain"})
			h.settled("plain", h.send("plain", sentMessage{topic: "t"}), opSettled{Fate: acked})
			h.note(&opFinal{"t/0", []sight{{3, "plain 0"}, {4, "plain 0"}}})
		},
		"behind its successor":    func(h *history) { f := h.final["t/0"]; f[0].Value, f[1].Value = f[1].Value, f[0].Value },
		"nobody sent":             func(h *history) { h.note(&opFinal{"t/0", []sight{{3, "p 77"}}}) },
		"was refused":             func(h *history) { h.note(&opFinal{"t/0", []sight{{3, "p 3"}}}) },
		"never answered":          func(h *history) { h.senders["p"].messages[1].fate = pending },
		"acknowledged at offset":  func(h *history) { h.senders["p"].messages[1].offset = 2 },
		"reached 2 places":        func(h *history) { h.senders["e"].messages[1].reached = 2 },
		"reached nothing":         func(h *history) { h.settled("e", h.send("e", sentMessage{}), opSettled{Fate: acked}) },
		"reported twice":          func(h *history) { h.settled("e", 0, opSettled{Fate: acked, Reached: 1}) },
		"reported and never sent": func(h *history) { h.settled("e", 77, opSettled{Fate: acked}) },
		"not its next one":        func(h *history) { h.note(&opSent{Who: "p", N: 77}) },
		"was sent to":             func(h *history) { h.note(&opFinal{"t/1", []sight{{0, "p 1"}}}) },
		"where nothing is":        func(h *history) { h.read("t/0", 3, []sight{{3, "p 3"}}) },
		"got offset 2":            func(h *history) { h.read("t/0", 1, []sight{{2, "p 2"}}) },
		"and later":               func(h *history) { h.read("t/0", 1, []sight{{1, "p 2"}}) },
		"confirmed, 2 was tried":  func(h *history) { h.note(&opCommits{"g", "t/0", 1, stepFound}) },
		"went back":               func(h *history) { h.mark("m", 2); h.mark("m", 1) },
		"while consumer 0 had it": func(h *history) { h.delivered("q", 0, 1, false, []sight{{1, "e 1"}}) },
		"there is no consumer 7":  func(h *history) { h.delivered("q", 7, 1, false, []sight{{1, "e 1"}}) },
		"when connsrv was up":     func(h *history) { h.note(&opLost{Party: "worker"}) },
		"which is not there":      func(h *history) { h.note(&opLost{Party: "nobody"}) },
		"with key a for k, is in": func(h *history) {
			for n := range 2 {
				h.send("p", sentMessage{topic: "k", key: "a"})
				h.settled("p", 4+n, opSettled{Fate: acked})
				h.note(&opFinal{fmt.Sprintf("k/%d", n), []sight{{0, fmt.Sprintf("p %d", 4+n)}}})
			}
		},
		"says so":         func(h *history) { h.report("somebody %s", "says so") },
		"come to its end": func(h *history) { h.ended = false },
		"without being flagged": func(h *history) {
			h.note(&opNacked{"q", []uint64{1}})
			h.delivered("q", 0, 0, false, []sight{{1, "e 1"}})
		},
		"came again after its acknowledgement": func(h *history) { h.delivered("q", 0, 1, true, []sight{{1, "e 1"}}) },
		"acknowledged by being delivered": func(h *history) {
			h.note(&opQueue{"q", true})
			h.delivered("q", 0, 1, false, []sight{{1, "e 1"}})
		},
	} {
		h := sound(func(*history) {})
		spoil(h)
		if wrong := strings.Join(h.judge(), "\n"); !strings.Contains(wrong, want) {
			t.Errorf("%q was not found:\n%s", want, wrong)
		}
	}
	for _, damaged := range []string{"", "p 1 5 abcde", "x", string(valueFor("p", 1, 9)[1:])} {
		if v := nameOf([]byte(damaged)); !strings.Contains(v, ":") {
			t.Errorf("%q passes as %q", damaged, v)
		}
	}
	if v := nameOf(valueFor("p", 1, 100)); v != "p 1" {
		t.Error(v)
	}
}

// What lay in a client when its connection broke may come to light behind the delivery that followed.
func TestCrossedDeliveries(t *testing.T) {
	for _, broke := range []bool{true, false} {
		h := sound(func(*history) {})
		h.note(&opParty{Name: "slow"})
		c := h.hold("slow", 0)
		h.send("e", sentMessage{places: []string{"q"}})
		h.settled("e", 3, opSettled{Fate: acked, Reached: 1})
		if broke {
			h.note(&opDown{From: h.since(h.began), Tiers: []string{"connsrv"}})
			h.note(&opLost{Party: "slow"})
		}
		h.delivered("q", 0, 1, false, []sight{{3, "e 3"}})
		h.delivered("q", c, 0, false, []sight{{3, "e 3"}})
		h.note(&opConfirmed{"q", []uint64{3}})
		if wrong := h.judge(); (len(wrong) == 0) != broke {
			t.Errorf("connection lost: %v: %q", broke, wrong)
		}
	}
}
