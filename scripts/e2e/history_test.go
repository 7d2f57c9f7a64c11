package e2e

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
// daemons, and clients, were killed. judge_test.go decides afterwards.

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
	places    []string // through an exchange: the queues and topics it must reach
	fate      fate
	offset    uint64 // in the partition
	hasOffset bool
	reached   uint32 // through an exchange
	forgotten bool   // … but so long ago that the broker does not know any more
}

// sender is one producer. Its messages are numbered from 0; the number is in the value.
type sender struct {
	name       string
	idempotent bool
	messages   []sentMessage
}

// sight is one message that a consumer got: its place's offset, and its value.
type sight struct {
	offset uint64
	value  string // "sender number", or what is wrong with the value
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
	client *party
	closed time.Time // when it began to close; zero: never
}

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

// history is everything. Its methods may be called by any goroutine.
type history struct {
	mu      sync.Mutex
	senders map[string]*sender
	queues  map[string]*queueHistory
	seen    map[string]map[uint64]string // by "topic/partition": what anybody has read there
	final   map[string][]sight           // by "topic/partition": what is there at the end
	commits map[string]*offsets          // by "group topic/partition"
	marks   map[string]uint64            // numbers that must not go back, by name
	holders []*holder
	down    []span // connsrv was not there
	deaf    []span // logicsrv was not there
	both    []span // connsrv and logicsrv were killed together
	wrong   []string
	kinds   map[string]int // of what is wrong
}

func newHistory() *history {
	return &history{
		senders: map[string]*sender{}, queues: map[string]*queueHistory{},
		seen: map[string]map[uint64]string{}, final: map[string][]sight{},
		commits: map[string]*offsets{}, marks: map[string]uint64{}, kinds: map[string]int{},
	}
}

// violation notes what must not be; of each kind a few are enough. REQUIRES: h.mu held.
func (h *history) violation(format string, args ...any) {
	if h.kinds[format]++; h.kinds[format] <= 8 {
		h.wrong = append(h.wrong, fmt.Sprintf(format, args...))
	}
}

// report is violation for those who do not hold the lock.
func (h *history) report(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.violation("%s: "+format, append([]any{time.Now().Format("05.000")}, args...)...)
}

func (h *history) sender(name string, idempotent bool) *sender {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := &sender{name: name, idempotent: idempotent}
	h.senders[name] = s
	return s
}

// send notes a message before it is sent, and gives its number.
func (h *history) send(s *sender, m sentMessage) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.messages = append(s.messages, m)
	return len(s.messages) - 1
}

// settle notes what became of a message.
func (h *history) settle(s *sender, n int, change func(*sentMessage)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.messages[n].fate != pending {
		h.violation("message %d of %s was reported twice", n, s.name)
	}
	change(&s.messages[n])
}

func (h *history) queue(name string) *queueHistory {
	h.mu.Lock()
	defer h.mu.Unlock()
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

// hold begins an incarnation of a consumer.
func (h *history) hold(p *party) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.holders = append(h.holders, &holder{client: p})
	return len(h.holders) - 1
}

// letGo notes that an incarnation is about to end.
func (h *history) letGo(consumer int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.holders[consumer].closed = time.Now()
}

// delivered notes messages of a queue.
func (h *history) delivered(q *queueHistory, consumer int, attempts uint16, drain bool, messages []sight) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	for _, m := range messages {
		q.deliveries[m.offset] = append(q.deliveries[m.offset], delivery{consumer, now, attempts, m.value})
		if drain {
			q.drained[m.offset] = true
		}
	}
}

// confirm notes that verdicts were answered.
func (h *history) confirm(q *queueHistory, offsets []uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, o := range offsets {
		q.confirmed[o] = true
	}
}

func (h *history) nack(q *queueHistory, offset uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	q.nacked[offset] = append(q.nacked[offset], time.Now())
}

// read notes a run of records that one consumer read; next is where it stood, known tells
// that it stood somewhere.
func (h *history) read(where string, next uint64, known bool, records []sight) {
	h.mu.Lock()
	defer h.mu.Unlock()
	seen := h.seen[where]
	if seen == nil {
		seen = map[uint64]string{}
		h.seen[where] = seen
	}
	for _, r := range records {
		if known && r.offset != next {
			h.violation("%s: a reader at offset %d got offset %d", where, next, r.offset)
		}
		next, known = r.offset+1, true
		if was, ok := seen[r.offset]; ok && was != r.value {
			h.violation("%s offset %d held %q, and later %q", where, r.offset, was, r.value)
		}
		seen[r.offset] = r.value
	}
}

// committing notes a commit before it is sent, committed after its answer.
func (h *history) committing(group, where string, offset uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.commits[group+" "+where]
	if c == nil {
		c = &offsets{}
		h.commits[group+" "+where] = c
	}
	c.tried = max(c.tried, offset)
}

func (h *history) committed(group, where string, offset uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.commits[group+" "+where]
	c.confirmed = max(c.confirmed, offset)
}

// found notes a committed offset that the broker told while no commit was under way.
func (h *history) found(group, where string, offset uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.commits[group+" "+where]
	if c == nil {
		c = &offsets{}
	}
	if offset < c.confirmed || offset > c.tried {
		h.violation("group %s has offset %d in %s; %d was confirmed, %d was tried", group, offset, where, c.confirmed, c.tried)
	}
}

// mark notes a number that must not go back.
func (h *history) mark(name string, n uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if was := h.marks[name]; n < was {
		h.violation("%s went back from %d to %d", name, was, n)
	}
	h.marks[name] = n
}

// wereDown notes that daemons were not there.
func (h *history) wereDown(from, to time.Time, tiers ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	conn, logic := slices.Contains(tiers, "connsrv"), slices.Contains(tiers, "logicsrv")
	if conn {
		h.down = append(h.down, span{from, to})
	}
	if logic {
		h.deaf = append(h.deaf, span{from, to})
	}
	if conn && logic {
		h.both = append(h.both, span{from, to})
	}
}

// uncounted tells whether the attempt that began at first need not be told at again: nobody knew of
// the consumer's end when logicsrv came back, be it that connsrv had died as well, or that the
// consumer ended meanwhile. REQUIRES: h.mu held.
func (h *history) uncounted(first, again time.Time, ended bool) bool {
	touches := func(s span) bool { return s.touches(first.Add(-slack), again.Add(slack)) }
	return slices.ContainsFunc(h.both, touches) || ended && slices.ContainsFunc(h.deaf, touches)
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
