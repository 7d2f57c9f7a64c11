package drill

import (
	"fmt"
	"strings"
	"time"
)

func init() {
	register(
		func() operation { return new(opBegan) }, func() operation { return new(opEnded) },
		func() operation { return new(opWrong) }, func() operation { return new(opDown) },
		func() operation { return new(opFault) }, func() operation { return new(opParty) },
		func() operation { return new(opLost) }, func() operation { return new(opSender) },
		func() operation { return new(opSent) }, func() operation { return new(opSettled) },
		func() operation { return new(opQueue) }, func() operation { return new(opHolds) },
		func() operation { return new(opLetsGo) }, func() operation { return new(opGot) },
		func() operation { return new(opConfirmed) }, func() operation { return new(opNacked) },
		func() operation { return new(opRead) }, func() operation { return new(opFinal) },
		func() operation { return new(opCommits) }, func() operation { return new(opMark) },
		func() operation { return new(opLooked) },
	)
}

// opBegan is the first operation: what the run is.
type opBegan struct {
	Version  int               `json:"version"`
	Wall     time.Time         `json:"wall"` // the machine's clock
	Seed     uint64            `json:"seed"`
	Duration time.Duration     `json:"duration"`
	Load     string            `json:"load"`
	Faults   []string          `json:"faults"`
	Settings map[string]string `json:"settings"`
	Build    string            `json:"build,omitempty"`
}

func (*opBegan) kind() string { return "began" }
func (o *opBegan) apply(h *history, _ time.Time) {
	h.run = *o
	if o.Version != formatVersion {
		h.violation("the history has version %d, this program knows %d", o.Version, formatVersion)
	}
}

// opEnded says that the run came to its end, and all that is there was looked at.
type opEnded struct{}

func (*opEnded) kind() string                   { return "ended" }
func (*opEnded) apply(h *history, at time.Time) { h.ended, h.over = true, at }

// opWrong is what a client, or the nemesis, says is wrong.
type opWrong struct {
	Kind string `json:"kind"` // of each a few are told
	Text string `json:"text"`
}

func (*opWrong) kind() string { return "wrong" }
func (o *opWrong) apply(h *history, at time.Time) {
	if h.kinds[o.Kind]++; h.kinds[o.Kind] <= 8 {
		h.wrong = append(h.wrong, clock(at)+": "+o.Text)
	}
}

// opDown says that daemons may have been away since a time.
type opDown struct {
	From  time.Duration `json:"from"`
	Tiers []string      `json:"tiers"`
}

func (*opDown) kind() string { return "down" }
func (o *opDown) apply(h *history, at time.Time) {
	h.tiersDown(span{h.began.Add(o.From), at}, o.Tiers)
}

// opFault says that the nemesis begins something, or that it is over and all is healed.
type opFault struct {
	Name string `json:"name"`
	Over bool   `json:"over,omitempty"`
}

func (*opFault) kind() string { return "fault" }
func (o *opFault) apply(h *history, at time.Time) {
	if !o.Over {
		h.faults = append(h.faults, &faultSpan{o.Name, span{at, at}})
	} else if n := len(h.faults); n > 0 {
		h.faults[n-1].to = at
	}
}

// opParty says that a client is there.
type opParty struct {
	Name string `json:"name"`
}

func (*opParty) kind() string { return "party" }
func (o *opParty) apply(h *history, _ time.Time) {
	h.parties[o.Name] = &wires{}
}

// opLost says that a party has lost a connection; Cut, that the nemesis takes it away. Alive is when it was
// seen to be whole for the last time; 0: just now.
type opLost struct {
	Party string        `json:"party"`
	Cut   bool          `json:"cut,omitempty"`
	Why   string        `json:"why,omitempty"`
	Alive time.Duration `json:"alive,omitempty"`
}

func (*opLost) kind() string { return "lost" }
func (o *opLost) apply(h *history, at time.Time) {
	w := h.parties[o.Party]
	switch {
	case w == nil:
		h.violation("%s, which is not there, has lost a connection", o.Party)
	case o.Cut:
		w.cuts = append(w.cuts, at)
	case o.Alive > 0:
		w.lost = append(w.lost, span{h.began.Add(o.Alive), at})
	default:
		w.lost = append(w.lost, span{at, at})
	}
}

// opSender begins a producer. Killed, it ends one: what was not answered will not be.
type opSender struct {
	Name       string `json:"name"`
	Idempotent bool   `json:"idempotent,omitempty"`
	Killed     bool   `json:"killed,omitempty"`
}

func (*opSender) kind() string { return "sender" }
func (o *opSender) apply(h *history, _ time.Time) {
	s := h.senders[o.Name]
	switch {
	case !o.Killed:
		h.senders[o.Name] = &sender{name: o.Name, idempotent: o.Idempotent}
	case s != nil:
		s.killed = true
	}
}

// opSent is a message that is about to be sent.
type opSent struct {
	Who       string   `json:"w"`
	N         int      `json:"n"`
	Topic     string   `json:"t,omitempty"`
	Partition uint32   `json:"p,omitempty"`
	Key       string   `json:"key,omitempty"` // which decides the partition
	Places    []string `json:"l,omitempty"`
	Deal      *int     `json:"d,omitempty"`   // the transaction that it is part of
	Source    string   `json:"src,omitempty"` // the message of which it was made
	Subject   string   `json:"s,omitempty"`   // its key in a compacted topic
	Deletes   bool     `json:"del,omitempty"` // … which it deletes
}

func (*opSent) kind() string { return "send" }
func (o *opSent) apply(h *history, at time.Time) {
	s := h.senders[o.Who]
	if s == nil || o.N != len(s.messages) {
		h.violation("message %d of %s is not its next one", o.N, o.Who)
		return
	}
	m := sentMessage{topic: o.Topic, partition: o.Partition, key: o.Key, places: o.Places, source: o.Source, subject: o.Subject, deletes: o.Deletes, at: at}
	if o.Deal != nil {
		m.deal = h.deal(*o.Deal)
	}
	if m.deal != nil {
		m.deal.parts = append(m.deal.parts, part{s, o.N})
	}
	s.messages = append(s.messages, m)
}

// opSettled is what became of a message.
type opSettled struct {
	Who       string  `json:"w"`
	N         int     `json:"n"`
	Fate      fate    `json:"f"`
	Offset    *uint64 `json:"o,omitempty"`
	Reached   uint32  `json:"r,omitempty"`
	Forgotten bool    `json:"x,omitempty"`
}

func (*opSettled) kind() string { return "done" }
func (o *opSettled) apply(h *history, at time.Time) {
	s := h.senders[o.Who]
	if s == nil || o.N < 0 || o.N >= len(s.messages) {
		h.violation("message %d of %s was reported and never sent", o.N, o.Who)
		return
	}
	m := &s.messages[o.N]
	if m.fate != pending {
		h.violation("message %d of %s was reported twice", o.N, o.Who)
	}
	m.fate, m.reached, m.forgotten, m.end = o.Fate, o.Reached, o.Forgotten, at
	if m.fate == acked {
		h.traffic.acked(h.since(at), at.Sub(m.at))
	}
	if m.hasOffset = o.Offset != nil; m.hasOffset {
		m.offset = *o.Offset
	}
	if m.fate == acked && m.topic == "" && len(m.places) == 0 {
		h.violation("message %d of %s reached nothing and was not refused", o.N, o.Who)
	}
}

// opQueue says how the consumers of a queue are.
type opQueue struct {
	Name    string `json:"name"`
	AutoAck bool   `json:"autoAck,omitempty"`
}

func (*opQueue) kind() string                    { return "queue" }
func (o *opQueue) apply(h *history, _ time.Time) { h.queue(o.Name).autoAck = o.AutoAck }

// opHolds begins an incarnation of a consumer.
type opHolds struct {
	N       int           `json:"n"`
	Party   string        `json:"party"`
	Timeout time.Duration `json:"timeout,omitempty"`
}

func (*opHolds) kind() string { return "holds" }
func (o *opHolds) apply(h *history, _ time.Time) {
	h.holders = append(h.holders, &holder{client: o.Party, timeout: o.Timeout})
}

// opLetsGo says that an incarnation is about to end.
type opLetsGo struct {
	N int `json:"n"`
}

func (*opLetsGo) kind() string { return "letsgo" }
func (o *opLetsGo) apply(h *history, at time.Time) {
	if k := h.holder(o.N); k != nil {
		k.closed = at
	}
}

// holder is an incarnation of a consumer; nil, with a violation, where there is none of that number.
// REQUIRES: h.mu held.
func (h *history) holder(n int) *holder {
	if n < 0 || n >= len(h.holders) {
		h.violation("there is no consumer %d", n)
		return nil
	}
	return h.holders[n]
}

// opGot is a parcel of messages that came to a consumer.
type opGot struct {
	Queue    string  `json:"q"`
	Holder   int     `json:"h"`
	Attempts uint16  `json:"a,omitempty"`
	Drain    bool    `json:"d,omitempty"`
	Records  []sight `json:"r"`
}

func (*opGot) kind() string { return "got" }
func (o *opGot) apply(h *history, at time.Time) {
	q := h.queue(o.Queue)
	if h.holder(o.Holder) == nil {
		return
	}
	h.traffic.came(h.since(at), len(o.Records))
	for _, m := range o.Records {
		q.deliveries[m.Offset] = append(q.deliveries[m.Offset], delivery{o.Holder, at, o.Attempts, m.Value})
		if o.Drain {
			q.drained[m.Offset] = true
		}
	}
}

// opConfirmed says that verdicts were answered.
type opConfirmed struct {
	Queue   string   `json:"q"`
	Offsets []uint64 `json:"o"`
}

func (*opConfirmed) kind() string { return "confirmed" }
func (o *opConfirmed) apply(h *history, _ time.Time) {
	q := h.queue(o.Queue)
	for _, at := range o.Offsets {
		q.confirmed[at] = true
	}
}

// opNacked says that messages are about to be put back.
type opNacked struct {
	Queue   string   `json:"q"`
	Offsets []uint64 `json:"o"`
}

func (*opNacked) kind() string { return "nack" }
func (o *opNacked) apply(h *history, at time.Time) {
	q := h.queue(o.Queue)
	for _, offset := range o.Offsets {
		q.nacked[offset] = append(q.nacked[offset], at)
	}
}

// opRead is a run of records that a reader got, which stood at Next and had asked at a time.
type opRead struct {
	Where   string        `json:"p"`
	Asked   time.Duration `json:"asked,omitempty"`
	Next    uint64        `json:"n"`
	Records []sight       `json:"r"`
}

func (*opRead) kind() string { return "read" }
func (o *opRead) apply(h *history, at time.Time) {
	h.traffic.came(h.since(at), len(o.Records))
	seen := h.seen[o.Where]
	if seen == nil {
		seen = map[uint64]string{}
		h.seen[o.Where] = seen
	}
	next := o.Next
	for _, r := range o.Records {
		switch {
		case r.Offset > next && h.dealt[topicOf(o.Where)]:
			h.passed[o.Where] = append(h.passed[o.Where], gap{next, r.Offset})
		case r.Offset != next:
			h.violation("%s: a reader at offset %d got offset %d", o.Where, next, r.Offset)
		}
		next = r.Offset + 1
		if was, ok := seen[r.Offset]; ok && was != r.Value {
			h.violation("%s offset %d held %q, and later %q", o.Where, r.Offset, was, r.Value)
		}
		seen[r.Offset] = r.Value
	}
	if o.Asked > 0 {
		h.reads[o.Where] = append(h.reads[o.Where], look{asked: h.began.Add(o.Asked), told: at, next: next})
	}
}

// opFinal is what a partition holds when all is over.
type opFinal struct {
	Where   string  `json:"p"`
	Records []sight `json:"r"`
}

func (*opFinal) kind() string { return "final" }
func (o *opFinal) apply(h *history, _ time.Time) {
	h.final[o.Where] = append(h.final[o.Where], o.Records...)
}

// opCommits is a commit of a group: about to be sent, answered, or found when none was under way.
type opCommits struct {
	Group  string `json:"g"`
	Where  string `json:"p"`
	Offset uint64 `json:"o"`
	Step   step   `json:"s"`
}

// step is how far a commit is.
type step uint8

const (
	stepTried step = iota
	stepAnswered
	stepFound
)

func (*opCommits) kind() string { return "commit" }
func (o *opCommits) apply(h *history, _ time.Time) {
	key := o.Group + " " + o.Where
	c := h.commits[key]
	if c == nil {
		c = &offsets{}
		h.commits[key] = c
	}
	switch o.Step {
	case stepTried:
		c.tried = max(c.tried, o.Offset)
	case stepAnswered:
		c.confirmed = max(c.confirmed, o.Offset)
	case stepFound:
		if o.Offset < c.confirmed || o.Offset > c.tried {
			h.violation("group %s has offset %d in %s; %d was confirmed, %d was tried", o.Group, o.Offset, o.Where, c.confirmed, c.tried)
		}
	}
}

// opMark is a number that must not go back.
type opMark struct {
	Name string `json:"name"`
	N    uint64 `json:"n"`
}

func (*opMark) kind() string { return "mark" }
func (o *opMark) apply(h *history, _ time.Time) {
	if was := h.marks[o.Name]; o.N < was {
		h.violation("%s went back from %d to %d", o.Name, was, o.N)
	}
	h.marks[o.Name] = o.N
}

// opLooked is the length of a partition, as somebody was told it who had asked at a time.
type opLooked struct {
	Where   string        `json:"p"`
	Asked   time.Duration `json:"asked"`
	Next    uint64        `json:"n"`
	Visible uint64        `json:"v"`
}

func (*opLooked) kind() string { return "looked" }
func (o *opLooked) apply(h *history, at time.Time) {
	h.looks[o.Where] = append(h.looks[o.Where], look{h.began.Add(o.Asked), at, o.Next, o.Visible})
}

// place is where a partition is, as all of the history names it.
func place(topic string, partition uint32) string { return fmt.Sprintf("%s/%d", topic, partition) }

// topicOf is the topic of such a place.
func topicOf(where string) string {
	topic, _, _ := strings.Cut(where, "/")
	return topic
}
