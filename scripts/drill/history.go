package drill

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// The history of a run, as its clients saw it, and nothing of the broker's code: what was
// sent and what became of it, what was received, settled and committed, and when the
// daemons, and clients, were killed. judge.go decides afterwards.

// fate is what a producer was told of a message.
type fate uint8

const (
	pending fate = iota // nothing yet; at the end that is a violation
	acked
	refused
	unknown // its producer was killed
)

// sentMessage is one message; it goes to a partition, or to places by an exchange.
type sentMessage struct {
	topic     string
	partition uint32
	key       string   // which decides the partition; empty: the partition was chosen
	places    []string // through an exchange: the queues and topics it must reach
	fate      fate
	offset    uint64 // in the partition
	hasOffset bool
	reached   uint32 // through an exchange
	forgotten bool   // … but so long ago that the broker does not know any more
	deal      *deal  // the transaction that it is part of; nil: none
	source    string // the message of which it was made; empty: none
	subject   string // its key in a compacted topic; empty: it is for another one
	deletes   bool   // it says that there is nothing to be told of the subject any more, and has no value
	at, end   time.Time
}

// sender is one producer. Its messages are numbered from 0; the number is in the value.
type sender struct {
	name       string
	idempotent bool
	killed     bool // its process was: what was not answered never will be
	messages   []sentMessage
}

// sight is one message that a consumer got: its place's offset, and its value, which is "sender
// number", or what is wrong with it.
type sight struct {
	Offset uint64 `json:"o"`
	Value  string `json:"v"`
}

// delivery is one message of a queue in one consumer's hands.
type delivery struct {
	consumer int
	at       time.Time
	attempts uint16
	value    string
}

// span is a time in which something was down.
type span struct{ from, to time.Time }

func (s span) touches(from, to time.Time) bool { return !to.Before(s.from) && !from.After(s.to) }

// holder is one incarnation of a queue's consumer.
type holder struct {
	client  string        // the party
	timeout time.Duration // of its acknowledgements; 0: none
	closed  time.Time     // when it began to close; zero: never
}

// ended tells whether it was about to end at some time.
func (k *holder) ended(at time.Time) bool { return !k.closed.IsZero() && !k.closed.After(at) }

// offsets is a group's commits in one partition.
type offsets struct {
	confirmed uint64 // the highest that was acknowledged
	tried     uint64 // the highest that was sent
}

// queueHistory is what consumers of one queue did.
type queueHistory struct {
	autoAck    bool
	deliveries map[uint64][]delivery
	nacked     map[uint64][]time.Time
	confirmed  map[uint64]bool // ack or reject, answered
	drained    map[uint64]bool // delivered after all was over
}

// wires are a party's connections: when they were cut by the nemesis, and when one was lost: between the
// last sign of life and the time at which the party noticed.
type wires struct {
	cuts []time.Time
	lost []span
}

// history is everything. Its methods may be called by any goroutine.
type history struct {
	began time.Time // with the monotonic clock, in the run itself
	out   *recorder // nil: nothing is written

	mu      sync.Mutex
	run     opBegan // what the run is
	senders map[string]*sender
	queues  map[string]*queueHistory
	seen    map[string]map[uint64]string // by "topic/partition": what anybody has read there
	final   map[string][]sight           // by "topic/partition": what is there at the end
	commits map[string]*offsets          // by "group topic/partition"
	marks   map[string]uint64            // numbers that must not go back, by name
	holders []*holder
	parties map[string]*wires
	looks   map[string][]look // by "topic/partition": how long it was
	reads   map[string][]look // … or had to be for what was read
	keys    map[string]string // by "topic key": the partition in which it was found
	dealt   map[string]bool   // topics with transactions in them, some of whose offsets nobody is given
	moved   map[string]bool   // topics of each of whose messages one other must have been made
	tables  map[string]*table // compacted topics
	passed  map[string][]gap  // by "topic/partition" of those: what committed readers have passed over
	down    []span            // connsrv was not there
	deaf    []span            // logicsrv was not there
	both    []span            // connsrv and logicsrv were killed together
	faults  []*faultSpan
	ledger  *ledger
	traffic traffic
	wrong   []string
	kinds   map[string]int // of what is wrong
	ended   bool
	over    time.Time // when it was
}

// faultSpan is one thing that the nemesis did.
type faultSpan struct {
	name string
	span
}

// look is one question for the length of a partition.
type look struct {
	asked, told   time.Time
	next, visible uint64
}

func newHistory() *history {
	h := &history{
		began: time.Now(), senders: map[string]*sender{}, queues: map[string]*queueHistory{},
		seen: map[string]map[uint64]string{}, final: map[string][]sight{}, parties: map[string]*wires{},
		commits: map[string]*offsets{}, marks: map[string]uint64{}, kinds: map[string]int{}, looks: map[string][]look{}, reads: map[string][]look{}, keys: map[string]string{},
		dealt: map[string]bool{}, moved: map[string]bool{}, tables: map[string]*table{}, passed: map[string][]gap{},
	}
	h.ledger = newLedger(h)
	return h
}

// note writes an operation down and applies it.
func (h *history) note(op operation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.do(op)
}

// noteAt is note of what was done somewhere else at a time since the run began.
func (h *history) noteAt(op operation, since time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.doAt(op, since)
}

// do is note. REQUIRES: h.mu held.
func (h *history) do(op operation) { h.doAt(op, time.Since(h.began)) }

func (h *history) doAt(op operation, since time.Duration) {
	if h.out != nil {
		h.out.write(op, since)
	}
	op.apply(h, h.began.Add(since))
}

// since is a time as operations have it.
func (h *history) since(t time.Time) time.Duration { return t.Sub(h.began) }

// violation notes what must not be; of each kind a few are enough. REQUIRES: h.mu held.
func (h *history) violation(format string, args ...any) {
	if h.kinds[format]++; h.kinds[format] <= 8 {
		h.wrong = append(h.wrong, fmt.Sprintf(format, args...))
	}
}

// report notes what a client says is wrong.
func (h *history) report(format string, args ...any) {
	h.note(&opWrong{Kind: format, Text: fmt.Sprintf(format, args...)})
}

// send notes a message before it is sent, and gives its number.
func (h *history) send(who string, m sentMessage) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := len(h.senders[who].messages)
	o := &opSent{Who: who, N: n, Topic: m.topic, Partition: m.partition, Key: m.key, Places: m.places, Source: m.source, Subject: m.subject, Deletes: m.deletes}
	if m.deal != nil {
		o.Deal = &m.deal.n
	}
	h.do(o)
	return n
}

// queue is what is known of a queue. REQUIRES: h.mu held.
func (h *history) queue(name string) *queueHistory {
	q := h.queues[name]
	if q == nil {
		q = &queueHistory{
			deliveries: map[uint64][]delivery{}, nacked: map[uint64][]time.Time{},
			confirmed: map[uint64]bool{}, drained: map[uint64]bool{},
		}
		h.queues[name] = q
	}
	return q
}

// hold begins an incarnation of a consumer, with a time-out of its acknowledgements (0: none).
func (h *history) hold(party string, timeout time.Duration) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := len(h.holders)
	h.do(&opHolds{N: n, Party: party, Timeout: timeout})
	return n
}

// letGo notes that an incarnation is about to end.
func (h *history) letGo(consumer int) { h.note(&opLetsGo{N: consumer}) }

// delivered notes messages of a queue.
func (h *history) delivered(queue string, consumer int, attempts uint16, drain bool, messages []sight) {
	h.note(&opGot{Queue: queue, Holder: consumer, Attempts: attempts, Drain: drain, Records: messages})
}

// read notes a run of records that one consumer read; next is where it stood.
func (h *history) read(where string, next uint64, records []sight) {
	h.note(&opRead{Where: where, Next: next, Records: records})
}

// mark notes a number that must not go back.
func (h *history) mark(name string, n uint64) { h.note(&opMark{Name: name, N: n}) }

// wereDown notes that daemons were not there, until now.
func (h *history) wereDown(from time.Time, tiers ...string) {
	h.note(&opDown{From: h.since(from), Tiers: tiers})
}

// lostBetween tells whether a party's connection was lost in that time. REQUIRES: h.mu held.
func (h *history) lostBetween(party string, from, to time.Time) bool {
	w := h.parties[party]
	if w == nil {
		return false
	}
	within := func(at time.Time) bool { return !at.Before(from) && !at.After(to) }
	return slices.ContainsFunc(w.lost, func(s span) bool { return s.touches(from, to) }) || slices.ContainsFunc(w.cuts, within)
}

// broke is lostBetween for those who do not hold the lock.
func (h *history) broke(party string, from, to time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lostBetween(party, from, to)
}

// uncounted tells whether the attempt that began at first need not be counted at again: who had the
// message ended without logicsrv, of which one attempt is told, whatever number it was. REQUIRES: h.mu held.
func (h *history) uncounted(first, again time.Time) bool {
	touches := func(s span) bool { return s.touches(first.Add(-slack), again.Add(slack)) }
	return slices.ContainsFunc(h.both, touches) || slices.ContainsFunc(h.deaf, touches)
}

// valueFor is the value of a message: its name, and bytes that follow from it.
func valueFor(sender string, n, size int) []byte {
	name := fmt.Sprintf("%s %d %d ", sender, n, size)
	return append([]byte(name), filler(name, size)...)
}

func filler(name string, size int) []byte {
	f := fnv.New64a()
	f.Write([]byte(name))
	r := rand.New(rand.NewPCG(f.Sum64(), 1))
	b := make([]byte, size)
	for i := range b {
		b[i] = "abcdefghijklmnopqrstuvwxyz012345"[r.Uint32()%32]
	}
	return b
}

// nameOf checks every byte of a value and gives "sender number".
func nameOf(value []byte) string {
	var s string
	var n, size int
	if _, err := fmt.Sscanf(string(value[:min(len(value), 100)]), "%s %d %d ", &s, &n, &size); err != nil || size > 1<<20 || size < 0 {
		return fmt.Sprintf("not a message: %.60q", value)
	}
	if !bytes.Equal(value, valueFor(s, n, size)) {
		return fmt.Sprintf("changed bytes: %.60q", value)
	}
	return fmt.Sprintf("%s %d", s, n)
}

// lookup finds the message that a value names. REQUIRES: h.mu held.
func (h *history) lookup(value string) (*sender, int, *sentMessage) {
	name, number, _ := strings.Cut(value, " ")
	s := h.senders[name]
	var n int
	if _, err := fmt.Sscanf(number, "%d", &n); err != nil || s == nil || n < 0 || n >= len(s.messages) {
		return nil, 0, nil
	}
	return s, n, &s.messages[n]
}

// tiersDown sorts a time in which daemons were away into what judges ask for. REQUIRES: h.mu held.
func (h *history) tiersDown(s span, tiers []string) {
	conn, logic := slices.Contains(tiers, "connsrv"), slices.Contains(tiers, "logicsrv")
	if conn {
		h.down = append(h.down, s)
	}
	if logic {
		h.deaf = append(h.deaf, s)
	}
	if conn && logic {
		h.both = append(h.both, s)
	}
}
