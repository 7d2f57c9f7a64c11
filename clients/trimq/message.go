package trimq

import (
	"math"
	"time"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/ipc"
)

// Level is a durability level: what an acknowledgement waits for.
type Level = ipc.Level

// The levels, from the fastest to the safest.
const (
	LevelUnset  = ipc.LevelUnset  // the topic's or queue's own
	LevelMemory = ipc.LevelMemory // nothing: acknowledged when decided
	LevelPage   = ipc.LevelPage   // the page cache: survives any process
	LevelDisk   = ipc.LevelDisk   // the disk: survives power loss
	LevelQuorum = ipc.LevelQuorum // a cluster's majority
)

// Header is one property of a message. For routing by a headers exchange its value is
// compared as a string.
type Header = batch.RecordHeader

// Choice names the partition that a message goes to. Its zero value lets the client choose:
// by murmur2 of the key (as Kafka's clients do), or, without a key, one that it sticks to
// until a batch is full.
type Choice uint32

// ToPartition chooses a partition by number.
func ToPartition(n uint32) Choice { return Choice(n + 1) }

// TTL says how long a message may wait in a queue before it expires. Its zero value is for ever.
type TTL int64

// ExpireAfter is a time to live in ms, rounded up. With 0 the message expires unless it can be
// delivered at once.
func ExpireAfter(d time.Duration) TTL { return TTL(min(ceilMS(d), math.MaxInt64-1)) + 1 }

// ms is the time to live as the protocol has it.
func (t TTL) ms() int64 { return int64(max(t, 0)) + ipc.NoTTL }

// Message is what a producer sends: to a topic, or through an exchange.
//
// Produce encodes it before it returns and keeps nothing of it, so that the caller may use
// the same Message, and the memory behind it, again at once.
type Message struct {
	Topic     string // a topic; empty: by Exchange and RoutingKey
	Partition Choice // of the topic

	// With Topic empty.
	Exchange   string
	RoutingKey string
	Mandatory  bool          // reaching no queue is ErrUnroutable instead of success
	Priority   uint8         // for queues with priorities: higher ones are delivered first
	TTL        TTL           // how long it may wait in a queue
	Delay      time.Duration // nobody sees it before: counted from when the broker has it, in ms, rounded up
	DeliverAt  time.Time     // instead of Delay, the time until which nobody sees it

	Key     []byte
	Value   []byte
	Headers []Header
	Time    time.Time // zero: when its batch was begun

	// Tag comes back in the Result, so that one function can serve as callback of many
	// messages without a closure for each.
	Tag uint64
}

// check refuses what makes no sense, or the broker has no place for.
func (m *Message) check() error {
	switch {
	case m.Topic != "" && (m.Priority != 0 || m.TTL != 0 || m.Delay != 0 || !m.DeliverAt.IsZero()):
		return invalid("a message to topic %q with priority, delay or time to live: only what is published through an exchange has them", m.Topic)
	case m.Delay != 0 && !m.DeliverAt.IsZero():
		return invalid("a message with both Delay and DeliverAt: give one of them")
	}
	return nil
}

// Result tells what has become of a message.
type Result struct {
	Tag       uint64 // the Message's
	Partition uint32 // of a topic
	Full      uint32 // through an exchange: how many queues did not take it, for they are full: the error is ErrQueueFull then, whatever Queues is
	Queues    uint32 // through an exchange: how many queues and partitions it reached; 0 also for a Duplicate so old that this is forgotten
	Offset    uint64 // in the partition, or UnknownOffset, as in a transaction; 0 through an exchange
	Duplicate bool   // the broker had it already: an earlier try had arrived after all
}

// UnknownOffset is the offset of a duplicate so old that the broker knows only that it has it, and
// of what is part of a transaction: its commit decides.
const UnknownOffset = math.MaxUint64

// Record is a stored message as a consumer sees it. Key, Value and the headers' values alias
// the buffer in which they came: see Fetch.Release.
type Record struct {
	Offset  uint64
	TimeMS  int64 // Unix time in milliseconds, as the producer set it
	Key     []byte
	Value   []byte
	Headers []Header
}

// Time is the record's time.
func (r *Record) Time() time.Time { return time.UnixMilli(r.TimeMS) }
