package drill

import "time"

// What is noted of compacted topics, and how they are judged: of what was told of a subject the last that counts
// has to be there, and what comes before it may be.

func init() { register(func() operation { return new(opTable) }) }

// opTable says that a topic is compacted, and for how long deletions stay in it.
type opTable struct {
	Topic string        `json:"t"`
	Kept  time.Duration `json:"kept"`
}

func (*opTable) kind() string { return "table" }
func (o *opTable) apply(h *history, _ time.Time) {
	h.tables[o.Topic] = &table{kept: o.Kept, last: map[subject]uint64{}, deletions: map[subject][]*sentMessage{}}
}

// table is a compacted topic.
type table struct {
	kept      time.Duration              // for so long deletions stay
	last      map[subject]uint64         // offset of the last that is there in the end
	deletions map[subject][]*sentMessage // that may count
}

// subject is what messages of a partition are about.
type subject struct {
	partition uint32
	name      string
}

// mayCount tells whether a message is, or was, perhaps there, for readers of what is committed.
func (m *sentMessage) mayCount() bool {
	return m.fate != refused && (m.deal == nil || m.deal.ends != rolledBack)
}

// surveyTables finds what there is of compacted topics. REQUIRES: h.mu held.
func (h *history) surveyTables() {
	for _, records := range h.final {
		for _, r := range records {
			if _, _, m := h.lookup(r.Value); m != nil && m.subject != "" && h.tables[m.topic] != nil {
				t, s := h.tables[m.topic], subject{m.partition, m.subject}
				t.last[s] = max(t.last[s], r.Offset)
			}
		}
	}
	for _, s := range h.senders {
		for n := range s.messages {
			if m := &s.messages[n]; m.deletes && m.mayCount() && h.tables[m.topic] != nil {
				t, about := h.tables[m.topic], subject{m.partition, m.subject}
				t.deletions[about] = append(t.deletions[about], m)
			}
		}
	}
}

// replaced tells whether a message of a compacted topic, at an offset if that is known, need not be there: a later one
// of its subject is, or a deletion has had its time, this one itself or a later one. REQUIRES: h.mu held.
func (h *history) replaced(m *sentMessage, offset uint64, known bool) bool {
	t := h.tables[m.topic]
	if t == nil || m.subject == "" {
		return false
	}
	about := subject{m.partition, m.subject}
	if last, there := t.last[about]; there && (!known || last > offset) {
		return true
	}
	for _, d := range t.deletions[about] {
		same := d.hasOffset && known && d.offset == offset
		if h.over.Sub(d.at) >= t.kept && (same || !known || !d.hasOffset || d.offset > offset) {
			return true
		}
	}
	return false
}

// mayBeGone is replaced for what a reader has seen. REQUIRES: h.mu held.
func (h *history) mayBeGone(value string, offset uint64) bool {
	_, _, m := h.lookup(value)
	return m != nil && h.replaced(m, offset, true)
}

// judgeTables: what was deleted does not come back. REQUIRES: h.mu held.
func (h *history) judgeTables() {
	for topic, t := range h.tables {
		for about, deletions := range t.deletions {
			for _, d := range deletions {
				if last, there := t.last[about]; there && d.expected() && d.hasOffset && last < d.offset {
					h.violation("%s: %s was deleted at offset %d, and the last of it is at offset %d", place(topic, about.partition), about.name, d.offset, last)
				}
			}
		}
	}
}
