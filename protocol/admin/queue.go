package admin

// Queues' bodies, in the terms of codec.go; opt is a number that may be left out, | given bool | n u64 |
// with n 0 where it is not given:
//
//	CreateQueue  | name string | level u8 | durable bool | exclusive bool | autoDelete bool | singleActive bool
//	             | maxPriority u8 | overflow u8 | maxMessages opt | maxBytes opt | messageTTLMS opt | expiresMS opt
//	             | deliveryLimit opt | rewindMS opt | deadLetter bool | deadLetterExchange string
//	             | keepKey bool | deadLetterKey string | topic string | filterKind u8 | filter string
//	             | type u8 | arguments string
//	             | from u8 | list of offset u64 |
//	Purge        | name string |
//	Seek         | name string | list of (index u64 | offset u64) |

import (
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/wire"
)

// Opt is a number that may be left out; its zero value is left out.
type Opt struct {
	Given bool
	N     uint64
}

// Some is a number that is given.
func Some(n uint64) Opt { return Opt{true, n} }

// Overflow is what a queue does that has reached its maximum.
type Overflow uint8

const (
	DropHead         Overflow = 0 // the oldest ready messages make room
	RejectPublish    Overflow = 1 // the new message is not taken
	RejectDeadLetter Overflow = 2 // … and goes to the dead-letter exchange
)

// FilterKind says how a filter is written.
type FilterKind uint8

const (
	FilterNone     FilterKind = 0
	FilterSelector FilterKind = 1 // a condition over headers, see docs/selectors.md
	FilterTags     FilterKind = 2 // a || b
)

// QueueType is what AMQP's clients asked for with x-queue-type. All of them are the same queues
// here; what a type forbids is its front end's matter.
type QueueType uint8

const (
	ClassicQueue QueueType = 0
	QuorumQueue  QueueType = 1
	StreamQueue  QueueType = 2
)

// From is where a queue over a topic begins.
type From uint8

const (
	FromEarliest From = 0
	FromLatest   From = 1
	FromOffsets  From = 2 // given for partitions 0, 1, …; what is missing begins at the earliest
	FromNowhere  From = 3 // the queue is there: it is not made, only compared, and its time to expire begins anew
)

// CreateQueue: as CreateExchange. The reply is a Created with the queue's id and name.
type CreateQueue struct {
	Name  string    // empty: the broker chooses one
	Level ipc.Level // LevelUnset: the broker's default, or the topic's
	QueueSettings
	From    From     // only with Topic, and only at creation: it makes no two queues unequal
	Offsets []uint64 // FromOffsets
}

// QueueSettings are the properties of a queue by which two are equal. docs/queues.md says what
// each of them does. Times are in ms.
type QueueSettings struct {
	Durable      bool
	Exclusive    bool // to the connection that made it
	AutoDelete   bool
	SingleActive bool
	MaxPriority  uint8
	Overflow     Overflow

	MaxMessages   Opt
	MaxBytes      Opt
	MessageTTLMS  Opt
	ExpiresMS     Opt
	DeliveryLimit Opt
	RewindMS      Opt

	DeadLetter         bool // dead messages go to DeadLetterExchange; otherwise they are dropped
	DeadLetterExchange string
	KeepKey            bool // dead messages keep the keys they came with
	DeadLetterKey      string

	Topic      string // whose messages it holds; empty: its own
	FilterKind FilterKind
	Filter     string

	Type      QueueType
	Arguments string // as an AMQP client gave them, a field table; kept, and not compared
}

// Purge drops all that is ready in a queue. The Created that answers it says how many messages.
type Purge struct{ Name string }

// Seek sets a queue to offsets: all from there on is ready again, all below done with.
type Seek struct {
	Name string
	To   []SeekTo
}

// SeekTo is the new position in one of the indexes of a queue or topic.
type SeekTo struct{ Index, Offset uint64 }

func appendOpt(b []byte, o Opt) []byte { return wire.AppendU64(wire.AppendBool(b, o.Given), o.N) }

func readOpt(c *wire.Cursor) Opt {
	o := Opt{c.Bool(), c.U64()}
	if !o.Given && o.N != 0 {
		c.Fail(wire.ErrPadding)
	}
	return o
}

// AppendSettings appends the properties of a queue; the journal and the checkpoint use it too.
func (m *QueueSettings) AppendSettings(b []byte) []byte {
	for _, v := range [...]bool{m.Durable, m.Exclusive, m.AutoDelete, m.SingleActive} {
		b = wire.AppendBool(b, v)
	}
	b = append(b, m.MaxPriority, byte(m.Overflow))
	for _, o := range [...]Opt{m.MaxMessages, m.MaxBytes, m.MessageTTLMS, m.ExpiresMS, m.DeliveryLimit, m.RewindMS} {
		b = appendOpt(b, o)
	}
	b = wire.AppendString(wire.AppendBool(b, m.DeadLetter), m.DeadLetterExchange)
	b = wire.AppendString(wire.AppendBool(b, m.KeepKey), m.DeadLetterKey)
	b = append(wire.AppendString(b, m.Topic), byte(m.FilterKind))
	return wire.AppendString(append(wire.AppendString(b, m.Filter), byte(m.Type)), m.Arguments)
}

// ReadSettings reads the properties of a queue.
func ReadSettings(c *wire.Cursor) QueueSettings {
	m := QueueSettings{
		Durable: c.Bool(), Exclusive: c.Bool(), AutoDelete: c.Bool(), SingleActive: c.Bool(),
		MaxPriority: c.U8(), Overflow: Overflow(c.U8()),
	}
	for _, o := range [...]*Opt{&m.MaxMessages, &m.MaxBytes, &m.MessageTTLMS, &m.ExpiresMS, &m.DeliveryLimit, &m.RewindMS} {
		*o = readOpt(c)
	}
	m.DeadLetter, m.DeadLetterExchange = c.Bool(), c.String()
	m.KeepKey, m.DeadLetterKey = c.Bool(), c.String()
	m.Topic, m.FilterKind, m.Filter = c.String(), FilterKind(c.U8()), c.String()
	m.Type, m.Arguments = QueueType(c.U8()), c.String()
	if m.Overflow > RejectDeadLetter || m.FilterKind > FilterTags || m.Type > StreamQueue {
		c.Fail(wire.ErrOutOfRange)
	}
	return m
}

// Append appends the encoded body.
func (m *CreateQueue) Append(b []byte) []byte {
	b = append(wire.AppendString(b, m.Name), byte(m.Level))
	b = append(m.AppendSettings(b), byte(m.From))
	b = wire.AppendUvarint(b, uint64(len(m.Offsets)))
	for _, o := range m.Offsets {
		b = wire.AppendU64(b, o)
	}
	return b
}

// DecodeCreateQueue reads a body.
func DecodeCreateQueue(b []byte) (CreateQueue, error) {
	c := wire.Read(b)
	m := CreateQueue{Name: c.String(), Level: readLevel(&c), QueueSettings: ReadSettings(&c), From: From(c.U8())}
	if n := c.Count(8, MaxElements); n > 0 {
		m.Offsets = make([]uint64, n)
	}
	for i := range m.Offsets {
		m.Offsets[i] = c.U64()
	}
	if m.From > FromNowhere {
		c.Fail(wire.ErrOutOfRange)
	}
	return m, c.Done("create queue")
}

// Append appends the encoded body.
func (m *Purge) Append(b []byte) []byte { return wire.AppendString(b, m.Name) }

// DecodePurge reads a body.
func DecodePurge(b []byte) (Purge, error) {
	c := wire.Read(b)
	m := Purge{c.String()}
	return m, c.Done("purge")
}

// Append appends the encoded body.
func (m *Seek) Append(b []byte) []byte {
	return appendSeeks(wire.AppendString(b, m.Name), m.To)
}

// DecodeSeek reads a body.
func DecodeSeek(b []byte) (Seek, error) {
	c := wire.Read(b)
	m := Seek{c.String(), readSeeks(&c)}
	return m, c.Done("seek")
}

func appendSeeks(b []byte, to []SeekTo) []byte {
	b = wire.AppendUvarint(b, uint64(len(to)))
	for _, t := range to {
		b = wire.AppendU64(wire.AppendU64(b, t.Index), t.Offset)
	}
	return b
}

func readSeeks(c *wire.Cursor) []SeekTo {
	n := c.Count(16, MaxElements)
	if n == 0 {
		return nil
	}
	to := make([]SeekTo, n)
	for i := range to {
		to[i] = SeekTo{c.U64(), c.U64()}
	}
	return to
}
