package drill

import (
	"fmt"
	"time"

	"github.com/trimq/trimq/clients/trimq"
)

// The ledger of a run: what was posted to queues that can do more than hand out messages, what it was
// to be there, and who saw what of it. ledger_judge.go decides afterwards. It knows nothing of the
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
	answered time.Time
	sights   []*viewing
}

// viewing is one sight of a letter.
type viewing struct {
	n             int
	queue         string
	index, offset uint64
	at            time.Time
	since         time.Time // it was not given out before; zero: its consumer does not know
	attempts      uint16
	priority      uint8
	deaths        []trimq.Death
	holder        *holder // who got it; nil: a lease, or after all was over
	lease         *lease
	drained       bool // seen when all was over
	blind         bool // by a protocol that tells no index and offset, and of attempts only whether there were any

	nacked   time.Time // it was put back then; zero: it was not
	rejected bool      // a reject was tried
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
	n       int
	name    string
	ends    outcome
	letters []*letter
	parts   []part  // of Kafka's
	input   *letter // which it acknowledges; nil: none
}

// mail is what a queue of the ledger is.
type mail struct {
	limit     int             // how often a message may come back; -1: any number of times
	ttl       time.Duration   // 0: none
	graves    string          // where its dead go; empty: nowhere
	confirmed map[string]bool // acknowledgements that were answered, by value
}

// ledger is everything. Its history guards it.
type ledger struct {
	h *history // where violations are noted, and when the daemons were killed

	letters map[string]*letter
	deals   []*deal
	queues  map[string]*mail
	sights  []*viewing
	named   int
}

func newLedger(h *history) *ledger {
	return &ledger{h: h, letters: map[string]*letter{}, queues: map[string]*mail{}}
}

// post notes a letter before it is sent.
func (l *ledger) post(x *letter) {
	o := &opPosted{Value: x.value, Places: x.places, Priority: x.priority, TTL: x.ttl, Deal: -1}
	if !x.due.IsZero() {
		due := l.h.since(x.due)
		o.Due = &due
	}
	if x.deal != nil {
		o.Deal = x.deal.n
	}
	l.h.note(o)
}

// answered notes what became of it.
func (l *ledger) answered(value string, f fate) { l.h.note(&opAnswered{value, f}) }

// open notes a transaction before it begins. Its producer may know how it must end.
func (l *ledger) open(name string, ends outcome, input string) *deal {
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	n := len(l.deals)
	l.h.do(&opDeal{N: n, Name: name, Ends: ends, Input: input})
	return l.deals[n]
}

// end notes how it went.
func (l *ledger) end(d *deal, how outcome) { l.h.note(&opDealEnds{d.n, how}) }

// saw notes one message of a parcel; v is what is known of all of them.
func (l *ledger) saw(p *trimq.Parcel, m *trimq.Record, v opSaw) *viewing {
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	v.N, v.Value = len(l.sights), string(m.Value)
	v.Queue, v.Index, v.Offset = p.Queue, p.Index, m.Offset
	v.Attempts, v.Priority, v.Deaths = p.Attempts, p.Priority, p.Deaths
	l.h.do(&v)
	return l.sights[v.N]
}

// sawAll notes a parcel that came to a consumer, and was not given out before a time; zero: it is not known.
func (l *ledger) sawAll(m *trimq.Deliveries, who int, since time.Time) []*viewing {
	all := make([]*viewing, len(m.Messages))
	for i := range m.Messages {
		o := opSaw{Holder: &who}
		if !since.IsZero() {
			o.Since = new(l.h.since(since))
		}
		all[i] = l.saw(&m.Parcel, &m.Messages[i], o)
	}
	return all
}

// putBack notes that a message is about to be given back, reject that it is about to be rejected.
func (l *ledger) putBack(v *viewing) { l.h.note(&opVerdict{N: v.n}) }
func (l *ledger) reject(v *viewing)  { l.h.note(&opVerdict{N: v.n, Reject: true}) }

// lasts notes that a lease ends no earlier than then.
func (l *ledger) lasts(v *viewing, least time.Time) {
	l.h.note(&opLease{N: v.n, Least: l.h.since(least)})
}

// deleted notes that the delete of a leased message, sent at a time, was answered.
func (l *ledger) deleted(v *viewing, sent time.Time) {
	l.h.note(&opLease{N: v.n, Deleted: true, Sent: l.h.since(sent)})
}

// confirm notes that an acknowledgement was answered.
func (l *ledger) confirm(queue, value string) { l.h.note(&opTaken{queue, value}) }

// missing counts what was acknowledged and has not been seen where it belongs.
func (l *ledger) missing() (n int) {
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	for _, x := range l.letters {
		for _, place := range x.places {
			if x.expected() && !x.arrived(place) {
				n++
			}
		}
	}
	return n
}

// expected tells whether a letter must have come to all its places. REQUIRES: h.mu held.
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

// mailbox makes a queue known.
func (l *ledger) mailbox(name string, m mail) {
	l.h.note(&opMailbox{Name: name, Limit: m.limit, TTL: m.ttl, Graves: m.graves})
}

// name makes a value that no other letter has.
func (l *ledger) name(scene string) string {
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	l.named++
	return fmt.Sprintf("%s %d", scene, l.named)
}
