package drill

import (
	"time"

	"github.com/trimq/trimq/clients/trimq"
)

func init() {
	register(
		func() operation { return new(opMailbox) }, func() operation { return new(opPosted) },
		func() operation { return new(opAnswered) }, func() operation { return new(opDeal) },
		func() operation { return new(opDealEnds) }, func() operation { return new(opSaw) },
		func() operation { return new(opVerdict) }, func() operation { return new(opLease) },
		func() operation { return new(opTaken) },
	)
}

// opMailbox says what a queue of the ledger is.
type opMailbox struct {
	Name   string        `json:"name"`
	Limit  int           `json:"limit"`
	TTL    time.Duration `json:"ttl,omitempty"`
	Graves string        `json:"graves,omitempty"`
}

func (*opMailbox) kind() string { return "mailbox" }
func (o *opMailbox) apply(h *history, _ time.Time) {
	h.ledger.queues[o.Name] = &mail{limit: o.Limit, ttl: o.TTL, graves: o.Graves, confirmed: map[string]bool{}}
}

// opPosted is a letter that is about to be sent.
type opPosted struct {
	Value    string         `json:"v"`
	Places   []string       `json:"l"`
	Priority uint8          `json:"prio,omitempty"`
	Due      *time.Duration `json:"due,omitempty"`
	TTL      time.Duration  `json:"ttl,omitempty"`
	Deal     int            `json:"deal"` // -1: none
}

func (*opPosted) kind() string { return "post" }
func (o *opPosted) apply(h *history, at time.Time) {
	x := &letter{value: o.Value, places: o.Places, priority: o.Priority, sent: at, ttl: o.TTL}
	if o.Due != nil {
		x.due = h.began.Add(*o.Due)
	}
	if x.deal = h.deal(o.Deal); x.deal != nil {
		x.deal.letters = append(x.deal.letters, x)
	}
	h.ledger.letters[o.Value] = x
}

// deal is the transaction of a number; nil where there is none. REQUIRES: h.mu held.
func (h *history) deal(n int) *deal {
	if n < 0 || n >= len(h.ledger.deals) {
		return nil
	}
	return h.ledger.deals[n]
}

// opAnswered is what became of a letter.
type opAnswered struct {
	Value string `json:"v"`
	Fate  fate   `json:"f"`
}

func (*opAnswered) kind() string { return "answered" }
func (o *opAnswered) apply(h *history, at time.Time) {
	if x := h.ledger.letters[o.Value]; x != nil {
		if x.fate, x.answered = o.Fate, at; x.fate == acked {
			h.traffic.acked(h.since(at), at.Sub(x.sent))
		}
	} else {
		h.violation("%s was answered and never posted", o.Value)
	}
}

// opDeal is a transaction that is about to begin; Input is the letter that it acknowledges, or empty.
type opDeal struct {
	N     int     `json:"n"`
	Name  string  `json:"name"`
	Ends  outcome `json:"ends,omitempty"`
	Input string  `json:"input,omitempty"`
}

func (*opDeal) kind() string { return "deal" }
func (o *opDeal) apply(h *history, _ time.Time) {
	h.ledger.deals = append(h.ledger.deals, &deal{n: o.N, name: o.Name, ends: o.Ends, input: h.ledger.letters[o.Input]})
}

// opDealEnds says how a transaction ended.
type opDealEnds struct {
	N    int     `json:"n"`
	Ends outcome `json:"ends"`
}

func (*opDealEnds) kind() string { return "dealends" }
func (o *opDealEnds) apply(h *history, _ time.Time) {
	if d := h.deal(o.N); d != nil {
		d.ends = o.Ends
	} else {
		h.violation("there is no transaction %d", o.N)
	}
}

// opSaw is one sight of a letter.
type opSaw struct {
	N        int            `json:"n"`
	Value    string         `json:"v"`
	Queue    string         `json:"q"`
	Index    uint64         `json:"i"`
	Offset   uint64         `json:"o"`
	Attempts uint16         `json:"a,omitempty"`
	Priority uint8          `json:"prio,omitempty"`
	Deaths   []trimq.Death  `json:"deaths,omitempty"`
	Holder   *int           `json:"h,omitempty"`
	Since    *time.Duration `json:"since,omitempty"`   // before which it was not given out
	Granted  *time.Duration `json:"granted,omitempty"` // of a lease, with its end
	Least    time.Duration  `json:"least,omitempty"`
	Drained  bool           `json:"drained,omitempty"`
	Blind    bool           `json:"blind,omitempty"` // index and offset are not known, attempts are 0 or 1
}

func (*opSaw) kind() string { return "saw" }
func (o *opSaw) apply(h *history, at time.Time) {
	v := &viewing{
		n: o.N, queue: o.Queue, index: o.Index, offset: o.Offset, at: at, attempts: o.Attempts,
		priority: o.Priority, deaths: o.Deaths, drained: o.Drained, blind: o.Blind,
	}
	if o.Holder != nil {
		v.holder = h.holder(*o.Holder)
	}
	if o.Since != nil {
		v.since = h.began.Add(*o.Since)
	}
	if o.Granted != nil {
		v.lease = &lease{granted: h.began.Add(*o.Granted), least: h.began.Add(o.Least)}
	}
	h.ledger.sights = append(h.ledger.sights, v)
	h.traffic.came(h.since(at), 1)
	if x := h.ledger.letters[o.Value]; x != nil {
		x.sights = append(x.sights, v)
	} else {
		h.violation("queue %s offset %d: nobody posted %.60q", o.Queue, o.Offset, o.Value)
	}
}

// sight is one sight of a letter; nil, with a violation, where there is none of that number.
// REQUIRES: h.mu held.
func (h *history) sightOf(n int) *viewing {
	if n < 0 || n >= len(h.ledger.sights) {
		h.violation("there is no sight %d", n)
		return nil
	}
	return h.ledger.sights[n]
}

// opVerdict says that a message is about to be put back, or rejected.
type opVerdict struct {
	N      int  `json:"n"`
	Reject bool `json:"reject,omitempty"`
}

func (*opVerdict) kind() string { return "verdict" }
func (o *opVerdict) apply(h *history, at time.Time) {
	switch v := h.sightOf(o.N); {
	case v == nil:
	case o.Reject:
		v.rejected = true
	default:
		v.nacked = at
	}
}

// opLease says that a lease lasts until a time at least, or that the delete of its message was answered.
type opLease struct {
	N       int           `json:"n"`
	Least   time.Duration `json:"least,omitempty"`
	Deleted bool          `json:"deleted,omitempty"`
	Sent    time.Duration `json:"sent,omitempty"` // of the delete
}

func (*opLease) kind() string { return "lease" }
func (o *opLease) apply(h *history, _ time.Time) {
	v := h.sightOf(o.N)
	switch {
	case v == nil:
	case v.lease == nil:
		h.violation("sight %d is of no lease", o.N)
	case o.Deleted:
		v.lease.deleted, v.lease.sent = true, h.began.Add(o.Sent)
	default:
		v.lease.least = h.began.Add(o.Least)
	}
}

// opTaken says that the acknowledgement of a letter was answered.
type opTaken struct {
	Queue string `json:"q"`
	Value string `json:"v"`
}

func (*opTaken) kind() string { return "taken" }
func (o *opTaken) apply(h *history, _ time.Time) {
	if m := h.ledger.queues[o.Queue]; m != nil {
		m.confirmed[o.Value] = true
	} else {
		h.violation("there is no queue %s", o.Queue)
	}
}
