package trimq

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/trimq/trimq/protocol/ipc"
)

// handModel says of each offset in which of a hand's sets it is.
type handModel struct {
	held, recalled, behind map[uint64]bool
	verdicts, stale        [4]map[uint64]bool
}

func newHandModel() *handModel {
	m := &handModel{held: map[uint64]bool{}, recalled: map[uint64]bool{}, behind: map[uint64]bool{}}
	for v := range m.verdicts {
		m.verdicts[v], m.stale[v] = map[uint64]bool{}, map[uint64]bool{}
	}
	return m
}

func (m *handModel) settle(v ipc.Verdict, o uint64) (settled, late uint64) {
	behind := m.behind[o]
	delete(m.behind, o)
	switch {
	case behind && v == ipc.VerdictRequeue:
		return 0, 0
	case m.held[o]:
		delete(m.held, o)
		m.verdicts[v][o] = true
		return 1, 0
	case m.recalled[o]:
		return 0, 1
	case v != ipc.VerdictRequeue:
		m.stale[v][o] = true
	}
	return 0, 0
}

func (m *handModel) recall(o uint64) (held, late uint64) {
	if m.held[o] {
		held = 1
	}
	delete(m.held, o)
	for v := range m.verdicts {
		if m.verdicts[v][o] {
			late++
		}
		delete(m.verdicts[v], o)
	}
	m.recalled[o] = true
	return held, late
}

func (m *handModel) forget() {
	for v := range m.verdicts {
		for o := range m.verdicts[v] {
			if ipc.Verdict(v) != ipc.VerdictRequeue {
				m.stale[v][o] = true
			}
		}
		clear(m.verdicts[v])
	}
	for o := range m.held {
		m.behind[o] = true
	}
	clear(m.held)
}

func (m *handModel) check(t *rapid.T, h *hand) {
	same := func(what string, r *rangeSet, set map[uint64]bool) {
		if got := r.count(); got != uint64(len(set)) {
			t.Fatalf("%s: %v, the model has %v", what, r.list, set)
		}
		for o := range set {
			if !r.has(o) {
				t.Fatalf("%s: %d is missing in %v", what, o, r.list)
			}
		}
	}
	same("held", &h.held, m.held)
	same("recalled", &h.recalled, m.recalled)
	same("behind", &h.behind, m.behind)
	for v := range m.verdicts {
		same("verdicts", &h.verdicts[v], m.verdicts[v])
		same("stale", &h.stale[v], m.stale[v])
	}
}

// TestHand compares with sets of single offsets.
func TestHand(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, m := &hand{}, newHandModel()
		span := func(t *rapid.T) (first, next uint64) {
			first = rapid.Uint64Range(0, 40).Draw(t, "first")
			return first, first + rapid.Uint64Range(1, 9).Draw(t, "count")
		}
		t.Repeat(map[string]func(*rapid.T){
			"deliver": func(t *rapid.T) {
				first, next := span(t)
				want := uint64(0)
				for o := first; o < next; o++ {
					if !m.held[o] {
						want++
					}
					m.held[o] = true
					delete(m.recalled, o)
				}
				if got := h.deliver(first, next); got != want {
					t.Fatalf("delivered %d, not %d", got, want)
				}
			},
			"settle": func(t *rapid.T) {
				first, next := span(t)
				v := ipc.Verdict(rapid.IntRange(int(ipc.VerdictAck), int(ipc.VerdictReject)).Draw(t, "verdict"))
				var settled, late uint64
				for o := first; o < next; o++ {
					s, l := m.settle(v, o)
					settled, late = settled+s, late+l
				}
				if s, l := h.settle(v, first, next); s != settled || l != late {
					t.Fatalf("settled %d, late %d; not %d and %d", s, l, settled, late)
				}
			},
			"recall": func(t *rapid.T) {
				first, next := span(t)
				var held, late uint64
				for o := first; o < next; o++ {
					x, y := m.recall(o)
					held, late = held+x, late+y
				}
				if x, y := h.recall(first, next); x != held || y != late {
					t.Fatalf("recalled %d held, %d late; not %d and %d", x, y, held, late)
				}
			},
			"receive": func(t *rapid.T) {
				first, next := span(t)
				h.received(first, next)
				for o := first; o < next; o++ {
					delete(m.behind, o)
				}
			},
			"break": func(*rapid.T) { h.forget(); m.forget() },
			"":      func(t *rapid.T) { m.check(t, h) },
		})
	})
}

// TestRecalledAreBounded: of the recalled messages the latest are remembered.
func TestRecalledAreBounded(t *testing.T) {
	var h hand
	for o := range uint64(2 * maxRecalled) {
		h.recall(2*o, 2*o+1)
	}
	if n := len(h.recalled.list); n != maxRecalled || !h.recalled.has(2*(2*maxRecalled-1)) {
		t.Fatalf("%d ranges are remembered of %d; the limit is %d", n, 2*maxRecalled, maxRecalled)
	}
}

// TestLateAck: an ACK that was refused for what was recalled is sent again for the rest.
func TestLateAck(t *testing.T) {
	h := &hand{}
	a := &ackRequest{h: h, verdict: ipc.VerdictAck, ranges: []ipc.Range{{First: 10, Count: 5}, {First: 20, Count: 1}, {First: 30, Count: 10}}}
	a.recall(12, 33)
	a.putBack()
	if got := h.verdicts[ipc.VerdictAck].list; len(got) != 2 || got[0] != (span{10, 12}) || got[1] != (span{33, 40}) {
		t.Fatalf("to be sent again: %v", got)
	}
	if n := a.late.count(); n != 3+1+3 {
		t.Fatalf("%d come too late", n)
	}
}
