package ipc

// What is told of a message besides its batch, in the log, in the native protocol, and to
// consumers of other protocols:
//
//	note   | exchange string | key string | list of (key string | value string) | priority u8 | list of death |
//	death  | queue string | reason u8 | count u64 | firstMS i64 | exchange string | list of key string |
//
// Version ladder: that of what it stands in.

import "github.com/trimq/trimq/protocol/wire"

// Reason says why a message is done with, or why it came back. The first ones are verdicts.
type Reason uint8

const (
	ReasonAcked                = Reason(VerdictAck)
	ReasonRequeued             = Reason(VerdictRequeue)
	ReasonRejected             = Reason(VerdictReject)
	ReasonSkipped              = Reason(VerdictSkip)
	ReasonExpired       Reason = 5  // its time in the queue is over
	ReasonMaxLength     Reason = 6  // it made room for another, or the queue did not take it
	ReasonDeliveryLimit Reason = 7  // it came back too often
	ReasonTimeout       Reason = 8  // its consumer held it for too long
	ReasonEnded         Reason = 9  // its consumer ended
	ReasonLeaseOver     Reason = 10 // its visibility time-out is over
	ReasonUnsent        Reason = 11 // it was not sent to who had it, which is no attempt
	ReasonLost          Reason = 12 // who may have had it is gone, and nobody knows whether he saw it
)

var reasonNames = [...]string{
	ReasonAcked: "acked", ReasonRequeued: "requeued", ReasonRejected: "rejected", ReasonSkipped: "skipped",
	ReasonExpired: "expired", ReasonMaxLength: "maxlen", ReasonDeliveryLimit: "delivery_limit",
	ReasonTimeout: "timeout", ReasonEnded: "consumer-ended", ReasonLeaseOver: "lease-over", ReasonUnsent: "unsent", ReasonLost: "lost",
}

// String is the reason as RabbitMQ's x-death has it where it has one.
func (r Reason) String() string {
	if r == 0 || int(r) >= len(reasonNames) {
		return "unknown"
	}
	return reasonNames[r]
}

// Kills tells whether messages die of it: they are dropped, or go to a dead-letter exchange.
func (r Reason) Kills() bool {
	return r == ReasonRejected || r == ReasonExpired || r == ReasonMaxLength || r == ReasonDeliveryLimit
}

// Returns tells whether messages come back of it.
func (r Reason) Returns() bool {
	return r == ReasonRequeued || r >= ReasonTimeout && r <= ReasonLost
}

// Note is how the messages of a batch came to where they are: what their consumers are told
// besides the batch. It stands in the event that put them there, and index entries refer to it.
type Note struct {
	Exchange string // name
	Key      string
	Headers  []Header // those given for routing
	Priority uint8
	Deaths   []Death // latest first; RabbitMQ's x-death
	// More are the keys by which it is routed besides (AMQP's CC and BCC). They stand in the log, in front of
	// the note, for transactions and dead letters are routed later; consumers are not told.
	More []string
}

// Death is one row of a message's deaths: in one queue, of one reason.
type Death struct {
	Queue    string
	Reason   Reason
	Count    uint64
	FirstMS  int64  // Unix time of the first
	Exchange string // to which it had been published
	Keys     []string
}

// MaxDeaths bounds the rows of a note: a message that has died in more queues or of more
// reasons keeps the latest ones.
const MaxDeaths = 64

// maxDeathKeys bounds the keys of a death.
const maxDeathKeys = 1 << 12

// Append appends a note, without More.
func (n *Note) Append(b []byte) []byte {
	b = wire.AppendString(wire.AppendString(b, n.Exchange), n.Key)
	b = append(AppendHeaders(b, n.Headers), n.Priority)
	b = wire.AppendUvarint(b, uint64(len(n.Deaths)))
	for i := range n.Deaths {
		d := &n.Deaths[i]
		b = wire.AppendU64(append(wire.AppendString(b, d.Queue), byte(d.Reason)), d.Count)
		b = wire.AppendString(wire.AppendU64(b, uint64(d.FirstMS)), d.Exchange)
		b = wire.AppendUvarint(b, uint64(len(d.Keys)))
		for _, key := range d.Keys {
			b = wire.AppendString(b, key)
		}
	}
	return b
}

// ReadNote reads a note, without More.
func ReadNote(c *wire.Cursor) Note {
	n := Note{Exchange: c.String(), Key: c.String(), Headers: ReadHeaders(c), Priority: c.U8()}
	if rows := c.Count(20, MaxDeaths); rows > 0 {
		n.Deaths = make([]Death, rows)
	}
	for i := range n.Deaths {
		n.Deaths[i] = readDeath(c)
	}
	return n
}

func readDeath(c *wire.Cursor) Death {
	d := Death{Queue: c.String(), Reason: Reason(c.U8()), Count: c.U64(), FirstMS: c.I64(), Exchange: c.String()}
	if keys := c.Count(1, maxDeathKeys); keys > 0 {
		d.Keys = make([]string, keys)
	}
	for i := range d.Keys {
		d.Keys[i] = c.String()
	}
	if !d.Reason.Kills() {
		c.Fail(wire.ErrOutOfRange)
	}
	return d
}
