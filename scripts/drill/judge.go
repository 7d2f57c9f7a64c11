package drill

import (
	"fmt"
	"slices"
	"sort"
	"time"
)

// slack is how much later than it happened a client may notice the loss of its connection.
const slack = 2 * time.Second

// judge holds the history against what TriMQ promises and returns what is wrong.
func (h *history) judge() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.ended { // nobody has looked at what is there
		h.violation("the run did not come to its end")
		return h.wrong
	}
	h.judgeFates()
	h.surveyTables()
	found := map[string]map[string][]uint64{} // by place and value: its offsets
	for where, records := range h.final {
		h.judgePartition(where, records, found)
	}
	for name, q := range h.queues {
		h.judgeQueue(name, q, found)
	}
	h.judgeLoss(found)
	h.judgeParts(found)
	h.judgeMoved(found)
	h.judgeTables()
	h.judgeLines()
	h.judgeConnections()
	h.ledger.judge()
	return h.wrong
}

// judgeConnections: a connection is lost only where connsrv was down or the nemesis cut it.
// REQUIRES: h.mu held.
func (h *history) judgeConnections() {
	for name, p := range h.parties {
		for _, loss := range p.lost {
			within := func(s span) bool { return s.touches(loss.from, loss.to) }
			cut := func(c time.Time) bool { return within(span{c, c.Add(slack)}) }
			down := func(d span) bool { return within(span{d.from, d.to.Add(slack)}) }
			if !slices.ContainsFunc(p.cuts, cut) && !slices.ContainsFunc(h.down, down) {
				h.violation("%s lost a connection at %s, when connsrv was up", name, clock(loss.to))
			}
		}
	}
}

func (h *history) judgeFates() {
	for _, s := range h.senders {
		for n, m := range s.messages {
			if m.fate == pending && !s.killed {
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
	case m.key != "":
		h.judgeKey(where, place, value, m)
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

// judgeKey: all messages of a key are in one partition, so that their order is the partition's.
// REQUIRES: h.mu held.
func (h *history) judgeKey(where, topic, value string, m *sentMessage) {
	key := topic + " " + m.key
	was, ok := h.keys[key]
	if h.keys[key] = where; ok && was != where || m.topic != topic {
		h.violation("%s, with key %s for %s, is in %s; the key was in %s", value, m.key, m.topic, where, was)
	}
}

// judgePartition: offsets without gaps, nothing that readers saw otherwise, the order of each
// producer.
func (h *history) judgePartition(where string, records []sight, found map[string]map[string][]uint64) {
	topic, seen, last := topicOf(where), h.seen[where], map[*sender]int{}
	for i, r := range records {
		if r.Offset != uint64(i) && !h.dealt[topic] || i > 0 && r.Offset <= records[i-1].Offset {
			h.violation("%s: offset %d at place %d", where, r.Offset, i)
		}
		if was, ok := seen[r.Offset]; ok && was != r.Value {
			h.violation("%s offset %d held %q for a reader, and %q in the end", where, r.Offset, was, r.Value)
		}
		h.place(where, topic, r.Value, r.Offset, found, last)
	}
	for o, v := range seen {
		if _, there := recordAt(records, o); !there && !h.mayBeGone(v, o) {
			h.violation("%s: a reader saw %q at offset %d, where nothing is in the end", where, v, o)
		}
	}
	h.judgePassed(where, records)
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
// connection ended, and it says so. Of two deliveries the one with fewer attempts is the earlier: it may
// have lain in its client, or on the way to it, when the other one came.
func (h *history) judgeAgain(name string, q *queueHistory, offset uint64, seen, next delivery) {
	first, again := seen, next
	if next.attempts < seen.attempts {
		first, again = next, seen
	}
	if first.value != again.value {
		h.violation("queue %s offset %d was %q and then %q", name, offset, first.value, again.value)
	}
	c := h.holders[first.consumer]
	back := c.ended(again.at)
	for _, at := range q.nacked[offset] {
		back = back || !at.Before(first.at) && !at.After(again.at)
	}
	lost := h.lostBetween(c.client, seen.at.Add(-slack), next.at.Add(slack))
	if q.autoAck && !lost { // with the connection the acknowledgement may be lost
		h.violation("queue %s offset %d, acknowledged by being delivered, came again", name, offset)
	}
	if !back && !lost {
		h.violation("queue %s offset %d came to consumer %d at %s, while consumer %d had it since %s", name, offset,
			again.consumer, again.at.Format("05.000"), first.consumer, first.at.Format("05.000"))
	}
	if again.attempts == 0 {
		h.violation("queue %s offset %d came again without being flagged, after %s", name, offset, again.at.Sub(first.at))
	}
}

// mayDouble tells whether a message may be stored more than once: its producer, which is not idempotent, has
// lost a connection while it was under way. REQUIRES: h.mu held.
func (h *history) mayDouble(s *sender, m *sentMessage) bool {
	return !s.idempotent && h.lostBetween(s.name, m.at.Add(-slack), m.end.Add(slack))
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
				if q := h.queues[p]; len(at) == 0 && m.expected() && (q == nil || !q.autoAck) && !h.replaced(&m, m.offset, m.hasOffset) {
					h.violation("LOST: %s, acknowledged at offset %d (%v), is not in %s", value, m.offset, m.hasOffset, p)
				}
				if len(at) > 1 && !h.mayDouble(s, &m) {
					h.violation("DOUBLE: %s is in %s at offsets %v", value, p, at)
				}
				if m.hasOffset && len(at) > 0 && !slices.Contains(at, m.offset) {
					h.violation("%s was acknowledged at offset %d of %s/%d and is at %v", value, m.offset, p, m.partition, at)
				}
			}
		}
	}
}
