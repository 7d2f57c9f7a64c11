package e2e

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"
)

// slack is how much later than it happened a client may notice the loss of its connection.
const slack = 2 * time.Second

// judge holds the history against what TriMQ promises and returns what is wrong.
func (h *history) judge() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.judgeFates()
	found := map[string]map[string][]uint64{} // by place and value: its offsets
	for where, records := range h.final {
		h.judgePartition(where, records, found)
	}
	for name, q := range h.queues {
		h.judgeQueue(name, q, found)
	}
	h.judgeLoss(found)
	return h.wrong
}

func (h *history) judgeFates() {
	for _, s := range h.senders {
		for n, m := range s.messages {
			if m.fate == pending {
				h.violation("message %d of %s was never answered", n, s.name)
			}
			if m.fate == acked && m.topic == "" && !m.forgotten && int(m.reached) != len(m.places) {
				h.violation("message %d of %s reached %d places instead of %v", n, s.name, m.reached, m.places)
			}
		}
	}
}

// place judges one stored message and notes where it was found. REQUIRES: h.mu held.
func (h *history) place(where, place, value string, offset uint64, found map[string]map[string][]uint64, last map[*sender]int) {
	s, n, m := h.lookup(value)
	if m == nil {
		h.violation("%s offset %d: nobody sent %q", where, offset, value)
		return
	}
	switch {
	case m.fate == refused:
		h.violation("%s offset %d: %s was refused", where, offset, value)
	case m.topic != "" && where != fmt.Sprintf("%s/%d", m.topic, m.partition), m.topic == "" && !slices.Contains(m.places, place):
		h.violation("%s offset %d: %s was sent to %s/%d %v", where, offset, value, m.topic, m.partition, m.places)
	}
	if found[place] == nil {
		found[place] = map[string][]uint64{}
	}
	found[place][value] = append(found[place][value], offset)
	if was, ok := last[s]; s.idempotent && ok && n <= was {
		h.violation("%s offset %d: %s behind its successor %d", where, offset, value, was)
	}
	last[s] = max(last[s], n)
}

// judgePartition: offsets without gaps, nothing that readers saw otherwise, the order of each
// producer.
func (h *history) judgePartition(where string, records []sight, found map[string]map[string][]uint64) {
	topic, _, _ := strings.Cut(where, "/")
	seen, last := h.seen[where], map[*sender]int{}
	for i, r := range records {
		if r.offset != uint64(i) {
			h.violation("%s: offset %d at place %d", where, r.offset, i)
		}
		if was, ok := seen[r.offset]; ok && was != r.value {
			h.violation("%s offset %d held %q for a reader, and %q in the end", where, r.offset, was, r.value)
		}
		h.place(where, topic, r.value, r.offset, found, last)
	}
	for o, v := range seen {
		if o >= uint64(len(records)) {
			h.violation("%s: a reader saw %q at offset %d, where nothing is in the end", where, v, o)
		}
	}
}

// judgeQueue: one message an offset, the order of each producer, and each delivery.
func (h *history) judgeQueue(name string, q *queueHistory, found map[string]map[string][]uint64) {
	order := make([]uint64, 0, len(q.deliveries))
	for o := range q.deliveries {
		order = append(order, o)
	}
	slices.Sort(order)
	last := map[*sender]int{}
	for _, o := range order {
		list := q.deliveries[o]
		h.place(name, name, list[0].value, o, found, last)
		sort.SliceStable(list, func(i, k int) bool { return list[i].at.Before(list[k].at) })
		for i := 1; i < len(list); i++ {
			h.judgeAgain(name, q, o, list[i-1], list[i])
		}
		if q.confirmed[o] && q.drained[o] {
			h.violation("queue %s: message %d came again after its acknowledgement was confirmed", name, o)
		}
	}
}

// judgeAgain: a message comes again only after it was put back, or its consumer or its
// connection ended, and it says so.
func (h *history) judgeAgain(name string, q *queueHistory, offset uint64, first, again delivery) {
	if first.value != again.value {
		h.violation("queue %s offset %d was %q and then %q", name, offset, first.value, again.value)
	}
	c := h.holders[first.consumer]
	back := !c.closed.IsZero() && !c.closed.After(again.at)
	for _, at := range q.nacked[offset] {
		back = back || !at.Before(first.at) && !at.After(again.at)
	}
	lost := c.client.lostBetween(first.at.Add(-slack), again.at.Add(slack))
	if q.autoAck && !lost { // with the connection the acknowledgement may be lost
		h.violation("queue %s offset %d, acknowledged by being delivered, came again", name, offset)
	}
	if !back && !lost {
		h.violation("queue %s offset %d came to consumer %d at %s, while consumer %d had it since %s", name, offset,
			again.consumer, again.at.Format("05.000"), first.consumer, first.at.Format("05.000"))
	}
	ended := lost || !c.closed.IsZero() && !c.closed.After(again.at)
	if again.attempts > 0 || h.uncounted(first.at, again.at, ended) {
		return
	}
	h.violation("queue %s offset %d came again without being flagged, after %s", name, offset, again.at.Sub(first.at))
}

// judgeLoss: what was acknowledged is everywhere it must be, once.
func (h *history) judgeLoss(found map[string]map[string][]uint64) {
	for _, s := range h.senders {
		for n, m := range s.messages {
			value := fmt.Sprintf("%s %d", s.name, n)
			places := m.places
			if m.topic != "" {
				places = []string{m.topic}
			}
			for _, p := range places {
				at := found[p][value]
				if q := h.queues[p]; len(at) == 0 && m.fate == acked && (q == nil || !q.autoAck) {
					h.violation("LOST: %s, acknowledged at offset %d (%v), is not in %s", value, m.offset, m.hasOffset, p)
				}
				if len(at) > 1 && s.idempotent {
					h.violation("DOUBLE: %s is in %s at offsets %v", value, p, at)
				}
				if m.hasOffset && len(at) > 0 && !slices.Contains(at, m.offset) {
					h.violation("%s was acknowledged at offset %d of %s/%d and is at %v", value, m.offset, p, m.partition, at)
				}
			}
		}
	}
}

// sound is a small history in which all is well.
func sound() *history {
	h := newHistory()
	s := h.sender("p", true)
	for n := range 3 {
		h.send(s, sentMessage{topic: "t", fate: acked, offset: uint64(n), hasOffset: true})
		h.final["t/0"] = append(h.final["t/0"], sight{uint64(n), fmt.Sprintf("p %d", n)})
	}
	e := h.sender("e", true)
	q := h.queue("q")
	c := h.hold(&party{})
	for n := range 3 {
		h.send(e, sentMessage{places: []string{"q"}, fate: acked, reached: 1})
		h.delivered(q, c, 0, false, []sight{{uint64(n), fmt.Sprintf("e %d", n)}})
	}
	h.confirm(q, []uint64{0, 1, 2})
	h.send(s, sentMessage{topic: "t", fate: refused})
	h.read("t/0", 0, true, h.final["t/0"])
	h.committing("g", "t/0", 2)
	h.committed("g", "t/0", 2)
	h.found("g", "t/0", 2)
	return h
}

// The judge finds each kind of wrong, and nothing in a history where all is well.
func TestJudge(t *testing.T) {
	if wrong := sound().judge(); len(wrong) > 0 {
		t.Fatalf("all is well, and yet: %q", wrong)
	}
	for want, spoil := range map[string]func(h *history){
		"LOST":                    func(h *history) { h.final["t/0"] = h.final["t/0"][:2]; delete(h.seen, "t/0") },
		"is not in q":             func(h *history) { delete(h.queues["q"].deliveries, 1) },
		"DOUBLE":                  func(h *history) { h.final["t/0"] = append(h.final["t/0"], sight{3, "p 1"}) },
		"behind its successor":    func(h *history) { f := h.final["t/0"]; f[0].value, f[1].value = f[1].value, f[0].value },
		"nobody sent":             func(h *history) { h.final["t/0"] = append(h.final["t/0"], sight{3, "p 77"}) },
		"was refused":             func(h *history) { h.final["t/0"] = append(h.final["t/0"], sight{3, "p 3"}) },
		"never answered":          func(h *history) { h.senders["p"].messages[1].fate = pending },
		"acknowledged at offset":  func(h *history) { h.senders["p"].messages[1].offset = 2 },
		"reached 2 places":        func(h *history) { h.senders["e"].messages[1].reached = 2 },
		"was sent to":             func(h *history) { h.final["t/1"] = []sight{{0, "p 1"}} },
		"where nothing is":        func(h *history) { h.read("t/0", 3, true, []sight{{3, "p 3"}}) },
		"got offset 2":            func(h *history) { h.read("t/0", 1, true, []sight{{2, "p 2"}}) },
		"and later":               func(h *history) { h.read("t/0", 1, true, []sight{{1, "p 2"}}) },
		"confirmed, 2 was tried":  func(h *history) { h.found("g", "t/0", 1) },
		"went back":               func(h *history) { h.mark("m", 2); h.mark("m", 1) },
		"while consumer 0 had it": func(h *history) { h.delivered(h.queue("q"), 0, 1, false, []sight{{1, "e 1"}}) },
		"without being flagged": func(h *history) {
			h.nack(h.queue("q"), 1)
			h.delivered(h.queue("q"), 0, 0, false, []sight{{1, "e 1"}})
		},
		"came again after its acknowledgement": func(h *history) { h.delivered(h.queue("q"), 0, 1, true, []sight{{1, "e 1"}}) },
		"acknowledged by being delivered": func(h *history) {
			h.queue("q").autoAck = true
			h.delivered(h.queue("q"), 0, 1, false, []sight{{1, "e 1"}})
		},
	} {
		h := sound()
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
