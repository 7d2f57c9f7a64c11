package drill

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// lineHistory is a history of a few clients at a line: each thing takes effect at an instant between its
// question and its answer.
func lineHistory(t *rapid.T) *history {
	h := newHistory()
	h.run.Version = formatVersion
	s := &sender{name: "p"}
	h.senders["p"] = s
	where, length := place(lineTopics[0], 0), uint64(0)
	for now := 10; now < 10*rapid.IntRange(2, 40).Draw(t, "length"); now += 10 {
		early, late := rapid.IntRange(0, 35).Draw(t, "early"), rapid.IntRange(0, 35).Draw(t, "late")
		from, to := h.began.Add(time.Duration(now-early)), h.began.Add(time.Duration(now+late))
		switch rapid.IntRange(0, 3).Draw(t, "what") {
		case 0:
			h.looks[where] = append(h.looks[where], look{from, to, length, length})
		case 1:
			h.reads[where] = append(h.reads[where], look{asked: from, told: to, next: length / 2})
		default:
			m := sentMessage{topic: lineTopics[0], fate: acked, offset: length, hasOffset: true, at: from, end: to}
			if rapid.IntRange(0, 9).Draw(t, "answered") == 0 {
				m.fate, m.end = unknown, from
			}
			h.final[where] = append(h.final[where], sight{length, fmt.Sprintf("p %d", len(s.messages))})
			s.messages = append(s.messages, m)
			length++
		}
	}
	return h
}

func linesWrong(h *history) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.judgeLines()
	return strings.Join(h.wrong, "\n")
}

// TestLinesThatAreLinearizable: whatever the clients do at once.
func TestLinesThatAreLinearizable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		if wrong := linesWrong(lineHistory(t)); wrong != "" {
			t.Fatal(wrong)
		}
	})
}

// TestLinesThatAreNot: each way in which a log can betray who asks is found, and the two who see it are named.
func TestLinesThatAreNot(t *testing.T) {
	where := place(lineTopics[0], 0)
	for want, spoil := range map[string]func(h *history, at func(int) time.Time){
		// What was acknowledged is not there yet for who asks afterwards.
		"by its next offset: drill.appended{offset:1} was over": func(h *history, at func(int) time.Time) {
			h.looks[where] = append(h.looks[where], look{at(28), at(29), 1, 2})
		},
		"by its visible end: drill.appended{offset:1} was over": func(h *history, at func(int) time.Time) {
			h.looks[where] = append(h.looks[where], look{at(28), at(29), 2, 1})
		},
		// Somebody is told of what nobody has sent yet.
		"by its visible end: drill.lookedAt{next:3} was over": func(h *history, at func(int) time.Time) {
			h.looks[where] = append(h.looks[where], look{at(25), at(26), 2, 3})
		},
		"by its visible end: drill.least{next:3} was over": func(h *history, at func(int) time.Time) {
			h.reads[where] = append(h.reads[where], look{asked: at(25), told: at(26), next: 3})
		},
		// One that was sent when another had been acknowledged stands before it.
		"drill.appended{offset:1} was over": func(h *history, _ func(int) time.Time) {
			f := h.final[where]
			f[0].Value, f[1].Value = f[1].Value, f[0].Value
		},
		// The length goes back.
		"by its next offset: drill.lookedAt{next:3} was over": func(h *history, at func(int) time.Time) {
			h.looks[where] = append(h.looks[where], look{at(30), at(33), 3, 2}, look{at(34), at(36), 2, 2})
		},
	} {
		h := newHistory()
		at := func(n int) time.Time { return h.began.Add(time.Duration(n)) }
		s := &sender{name: "p"}
		h.senders["p"] = s
		for n := range 3 {
			s.messages = append(s.messages, sentMessage{topic: lineTopics[0], fate: acked, at: at(10 * (n + 1)), end: at(10*(n+1) + 4 + n*3)})
			h.final[where] = append(h.final[where], sight{uint64(n), fmt.Sprintf("p %d", n)})
		}
		h.looks[where] = []look{{at(1), at(2), 0, 0}, {at(45), at(46), 3, 3}}
		spoil(h, at)
		if wrong := linesWrong(h); !strings.Contains(wrong, want) {
			t.Errorf("%q was not found: %s", want, wrong)
		}
	}
}
