package e2e

import (
	"fmt"
	"sync"
	"time"

	"github.com/trimq/trimq/clients/trimq"
)

// The ledger of a run: what was posted to queues that can do more than hand out messages, what it was
// to be there, and who saw what of it. ledger_judge_test.go decides afterwards. It knows nothing of the
// broker's code, and takes the machine's clock for the broker's, which it is.

// letter is one message.
type letter struct {
	value    string
	places   []string // the queues that must have it: each may give it on to its dead letters
	priority uint8
	sent     time.Time     // before it was handed to the client
	due      time.Time     // nobody sees it before
	ttl      time.Duration // of the message; 0: it has none
	deal     *deal         // of which it is a part
	fate     fate
	sights   []*viewing
}

// viewing is one sight of a letter.
type viewing struct {
	queue         string
	index, offset uint64
	at            time.Time
	attempts      uint16
	priority      uint8
	deaths        []trimq.Death
	holder        *keeper // who got it; nil: a lease, or after all was over
	lease         *lease
	drained       bool // seen when all was over

	nacked   time.Time // it was put back then; zero: it was not
	rejected bool      // a reject was tried
}

// keeper is one incarnation of a consumer.
type keeper struct {
	client  *party
	timeout time.Duration // of its acknowledgements; 0: none
	closed  time.Time     // when it began to close; zero: never
}

// lease is one message that was pulled for a time.
type lease struct {
	granted time.Time // by the broker's clock
	least   time.Time // it does not end before, as far as its holder knows
	deleted bool      // a delete was answered
	sent    time.Time // when that delete was sent
}

// outcome is how a transaction ended, as far as its producer knows.
type outcome uint8

const (
	undecided outcome = iota // or nobody knows
	committed
	rolledBack
)

// deal is one transaction.
type deal struct {
	name    string
	ends    outcome
	letters []*letter
	input   *letter // which it acknowledges; nil: none
}

// mail is what a queue of the ledger is.
type mail struct {
	limit     int             // how often a message may come back; -1: any number of times
	ttl       time.Duration   // 0: none
	graves    string          // where its dead go; empty: nowhere
	confirmed map[string]bool // acknowledgements that were answered, by value
}

// ledger is everything. Its methods may be called by any goroutine.
type ledger struct {
	h *history // where violations are noted, and when the daemons were killed

	mu      sync.Mutex
	letters map[string]*letter
	deals   []*deal
	queues  map[string]*mail
	named   int
}

func newLedger(h *history) *ledger {
	return &ledger{h: h, letters: map[string]*letter{}, queues: map[string]*mail{}}
}

// post notes a letter before it is sent.
func (l *ledger) post(x *letter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if x.deal != nil {
		x.deal.letters = append(x.deal.letters, x)
	}
	l.letters[x.value] = x
}

// answered notes what became of it.
func (l *ledger) answered(x *letter, f fate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	x.fate = f
}

// open notes a transaction before it begins, end how it went.
func (l *ledger) open(d *deal) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deals = append(l.deals, d)
}

func (l *ledger) end(d *deal, how outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d.ends = how
}

// letGo notes that an incarnation of a consumer is about to end.
func (l *ledger) letGo(k *keeper) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k.closed = time.Now()
}

// saw notes one message of a parcel; v is what is known of all of them.
func (l *ledger) saw(p *trimq.Parcel, m *trimq.Record, v viewing) *viewing {
	l.mu.Lock()
	defer l.mu.Unlock()
	v.queue, v.index, v.offset, v.at = p.Queue, p.Index, m.Offset, time.Now()
	v.attempts, v.priority, v.deaths = p.Attempts, p.Priority, p.Deaths
	x := l.letters[string(m.Value)]
	if x == nil {
		l.h.report("queue %s offset %d: nobody posted %.60q", p.Queue, m.Offset, m.Value)
		return &v
	}
	x.sights = append(x.sights, &v)
	return &v
}

// sawAll notes a parcel that came to a consumer.
func (l *ledger) sawAll(m *trimq.Deliveries, who *keeper) []*viewing {
	all := make([]*viewing, len(m.Messages))
	for i := range m.Messages {
		all[i] = l.saw(&m.Parcel, &m.Messages[i], viewing{holder: who})
	}
	return all
}

// change changes what is noted of a sight.
func (l *ledger) change(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

// confirm notes that an acknowledgement was answered.
func (l *ledger) confirm(queue, value string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queues[queue].confirmed[value] = true
}

// missing counts what was acknowledged and has not been seen where it belongs.
func (l *ledger) missing() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, x := range l.letters {
		for _, place := range x.places {
			if x.expected() && !x.arrived(place) {
				n++
			}
		}
	}
	return n
}

// expected tells whether a letter must have come to all its places. REQUIRES: l.mu held.
func (x *letter) expected() bool {
	return x.fate == acked && (x.deal == nil || x.deal.ends == committed)
}

// arrived tells whether it was seen in a queue, or among that queue's dead letters.
func (x *letter) arrived(place string) bool {
	for _, v := range x.sights {
		if v.of() == place {
			return true
		}
	}
	return false
}

// of is the queue of which a sight tells: a dead letter's is where it died.
func (v *viewing) of() string {
	if len(v.deaths) > 0 {
		return v.deaths[0].Queue
	}
	return v.queue
}

// place makes a queue known.
func (l *ledger) place(name string, m mail) {
	m.confirmed = map[string]bool{}
	l.queues[name] = &m
}

// name makes a value that no other letter has.
func (l *ledger) name(scene string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.named++
	return fmt.Sprintf("%s %d", scene, l.named)
}

// find is the letter of a value that was seen.
func (l *ledger) find(value string) *letter {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.letters[value]
}
