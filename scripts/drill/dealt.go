package drill

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// What is noted of partitions with Kafka's transactions in them, and how it is judged. What is there in the
// end is what committed readers are given then.

func init() {
	register(func() operation { return new(opDealt) }, func() operation { return new(opMoved) })
}

// part is one message of a transaction.
type part struct {
	by *sender
	n  int
}

// gap is what lies between two offsets, [from, to).
type gap struct{ from, to uint64 }

// opDealt says that a topic has transactions in it, whose control records and aborted messages nobody is given.
type opDealt struct {
	Topic string `json:"t"`
}

func (*opDealt) kind() string                    { return "dealt" }
func (o *opDealt) apply(h *history, _ time.Time) { h.dealt[o.Topic] = true }

// opMoved says that of each message of a topic exactly one other is made.
type opMoved struct {
	Topic string `json:"t"`
}

func (*opMoved) kind() string                    { return "moved" }
func (o *opMoved) apply(h *history, _ time.Time) { h.moved[o.Topic] = true }

// expected tells whether a message must be there. REQUIRES: h.mu held.
func (m *sentMessage) expected() bool {
	return m.fate == acked && (m.deal == nil || m.deal.ends == committed)
}

// recordAt finds an offset among records, which are in order of them.
func recordAt(records []sight, offset uint64) (at int, there bool) {
	return slices.BinarySearchFunc(records, offset, func(r sight, offset uint64) int { return cmp.Compare(r.Offset, offset) })
}

// judgePassed: no committed reader passes over what is there in the end, unless it was compacted away, which a power cut may
// undo. REQUIRES: h.mu held.
func (h *history) judgePassed(where string, records []sight) {
	for _, g := range h.passed[where] {
		if at, _ := recordAt(records, g.from); at < len(records) && records[at].Offset < g.to && !h.mayBeGone(records[at].Value, records[at].Offset) {
			h.violation("%s: a reader at offset %d got offset %d, between them is %q", where, g.from, g.to, records[at].Value)
		}
	}
}

// judgeParts: a transaction is in all its partitions, or in none. REQUIRES: h.mu held.
func (h *history) judgeParts(found map[string]map[string][]uint64) {
	for _, d := range h.ledger.deals {
		var here, missing []string
		for _, p := range d.parts {
			m, value := &p.by.messages[p.n], fmt.Sprintf("%s %d", p.by.name, p.n)
			if len(found[m.topic][value]) > 0 {
				here = append(here, value+" in "+m.topic)
			} else if m.fate == acked && !h.replaced(m, m.offset, m.hasOffset) {
				missing = append(missing, value+" in "+m.topic)
			}
		}
		h.ledger.judgeWhole(d, here, missing)
	}
}

// judgeMoved: of each message of a topic that is moved there is one that was made of it. REQUIRES: h.mu held.
func (h *history) judgeMoved(found map[string]map[string][]uint64) {
	made := map[string]int{}
	for _, s := range h.senders {
		for n, m := range s.messages {
			if m.source != "" && len(found[m.topic][fmt.Sprintf("%s %d", s.name, n)]) > 0 {
				made[m.source]++
			}
		}
	}
	for where, records := range h.final {
		for _, r := range records {
			switch n := made[r.Value]; {
			case !h.moved[topicOf(where)]:
			case n == 0:
				h.violation("LOST: nothing was made of %s, which is at offset %d of %s", r.Value, r.Offset, where)
			case n > 1:
				h.violation("DOUBLE: of %s, at offset %d of %s, %d messages were made", r.Value, r.Offset, where, n)
			}
		}
	}
}
