package journal

import (
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
)

// EventType is the first thing in an event. Types are part of the log's format: never renumber.
type EventType uint8

const (
	EvAppended         EventType = 1  // Appended
	EvRouted           EventType = 2  // Routed
	EvAcked            EventType = 3  // Acked
	EvReturned         EventType = 4  // Returned
	EvProducerCreated  EventType = 5  // ProducerCreated
	EvOffsetsCommitted EventType = 6  // OffsetsCommitted
	EvRejected         EventType = 7  // Rejected
	EvDuplicate        EventType = 8  // Duplicate
	EvUnchanged        EventType = 9  // Unchanged
	EvTopicCreated     EventType = 10 // TopicCreated
	EvTopicDeleted     EventType = 11 // TopicDeleted
	EvPartitionsAdded  EventType = 12 // PartitionsAdded
	EvExchangeCreated  EventType = 13 // ExchangeCreated
	EvExchangeDeleted  EventType = 14 // ExchangeDeleted
	EvQueueCreated     EventType = 15 // QueueCreated
	EvQueueDeleted     EventType = 16 // QueueDeleted
	EvBindingCreated   EventType = 17 // BindingCreated
	EvBindingDeleted   EventType = 18 // BindingDeleted
)

// NoProducer is the ProducerID of a batch that is not idempotent.
const NoProducer = -1

// Each event begins with Pos: the position in ring 12345 (under the entry's Nonce) of the
// input that caused it; NoInput where none did.

// Appended: a batch became offsets [Base, Base+Count) of a partition.
type Appended struct {
	Pos        uint64
	Index      uint64
	Base       uint64
	Count      uint32
	BaseSeq    int32
	ProducerID int64
	Epoch      int16
}

// Target is where a routed batch went.
type Target struct {
	Index uint64
	Base  uint64
}

// Routed: a batch went through an exchange and became offsets [Base, Base+Count) of each
// target. No targets: it was unroutable and not mandatory, or all queues that it reached are full.
type Routed struct {
	Pos uint64
	Sent
	Full    uint32 // how many queues did not take it, for they are full
	Dying   uint32 // how many of those are targets all the same: it dies there, for their dead-letter exchange
	Targets []Target
	Note    ipc.Note // Decode leaves it out: see DecodeNote
}

// Acked: offsets of a queue are done with, for good.
type Acked struct {
	Pos    uint64
	Queue  uint64
	Index  uint64 // one of the queue's
	Reason ipc.Reason
	Conn   uint64 // whose verdict it was; 0: nobody's
	Sub    uint64
	Ranges []ipc.Range
}

// Returned: offsets of a queue came back undone; each counts one more attempt.
type Returned struct {
	Pos    uint64
	Queue  uint64
	Index  uint64
	Reason ipc.Reason
	Ranges []ipc.Range
}

// ProducerCreated: the id is in use, with this epoch (also where the epoch was raised).
type ProducerCreated struct {
	Pos        uint64
	ProducerID int64
	Epoch      int16
}

// OffsetsCommitted: positions of a group.
type OffsetsCommitted struct {
	Pos     uint64
	Group   string
	Offsets []ipc.OffsetCommit
}

// Rejected: the input was refused and changed nothing; it must stay refused.
type Rejected struct {
	Pos  uint64
	Code errcode.Code
	Text string
}

// Duplicate: the input repeats a batch of an idempotent producer; the first one's result.
type Duplicate struct {
	Pos    uint64
	Index  uint64 // of Appended; 0 where it was routed
	Base   uint64
	Queues uint32 // of Published
	Full   uint32
}

// Unchanged: the input asked for what is so already (a create of an equal thing, an ack of
// what is acknowledged) and succeeded.
type Unchanged struct {
	Pos   uint64
	Index uint64 // of an existing queue
}

// TopicCreated: the topic's partitions 0 … are these indexes. It was created at the entry's time.
type TopicCreated struct {
	Pos     uint64
	ID      uint64
	UUID    [16]byte
	Name    string
	Level   ipc.Level
	Configs []ipc.Header // as package topicconf has them
	Indexes []uint64
}

// TopicDeleted ends a topic, its partitions and the offsets committed for them.
type TopicDeleted struct {
	Pos uint64
	ID  uint64
}

// PartitionsAdded: these indexes are the topic's next partitions.
type PartitionsAdded struct {
	Pos     uint64
	ID      uint64
	Indexes []uint64
}

// ExchangeCreated makes an exchange.
type ExchangeCreated struct {
	Pos      uint64
	ID       uint64
	Exchange admin.CreateExchange
}

// ExchangeDeleted ends an exchange and the bindings from it and to it. Where that takes the last
// binding from another exchange that is deleted automatically, that one ends too, without an event
// of its own; so it is with the other events that end a binding.
type ExchangeDeleted struct {
	Pos uint64
	ID  uint64
}

// QueueCreated makes a queue.
type QueueCreated struct {
	Pos      uint64
	Queue    uint64 // its id; also its index, unless it holds the messages of a topic
	Name     string
	Level    ipc.Level
	Settings admin.QueueSettings
	Owner    Owner          // of an exclusive one
	Starts   []admin.SeekTo // of one over a topic: the first offset in each partition
}

// QueueDeleted ends a queue, its messages and its bindings.
type QueueDeleted struct {
	Pos      uint64
	Queue    uint64
	Messages uint64 // that it held ready
}

// BindingCreated binds a queue, topic or exchange, by name, to an exchange.
type BindingCreated struct {
	Pos     uint64
	Binding admin.CreateBinding
}

// BindingDeleted takes a binding away.
type BindingDeleted struct {
	Pos     uint64
	Binding admin.CreateBinding
}
