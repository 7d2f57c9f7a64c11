package journal

import (
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
)

// Events of what messages go through in queues: leases, death, delays, transactions.
const (
	EvLaneAdded      EventType = 20 // LaneAdded
	EvDied           EventType = 21 // Died
	EvDeadLettered   EventType = 22 // DeadLettered
	EvLeased         EventType = 23 // Leased
	EvLeaseMoved     EventType = 24 // LeaseMoved
	EvPurged         EventType = 25 // Purged
	EvSought         EventType = 26 // Sought
	EvDelayed        EventType = 27 // Delayed
	EvReleased       EventType = 28 // Released
	EvLimboAdded     EventType = 29 // LimboAdded
	EvTxnBegun       EventType = 30 // TxnBegun
	EvTxnHeld        EventType = 31 // TxnHeld
	EvTxnEnded       EventType = 32 // TxnEnded
	EvTxnChecked     EventType = 33 // TxnChecked
	EvJoined         EventType = 34 // Joined
	EvOwnerGone      EventType = 35 // OwnerGone
	EvTransientsGone EventType = 36 // TransientsGone
	EvHanding        EventType = 37 // Handing
)

// LaneAdded: a queue has an index for messages of this priority.
type LaneAdded struct {
	Pos      uint64
	Queue    uint64
	Index    uint64
	Priority uint8
}

// Died: offsets of a queue are dead; they wait to be dead-lettered.
type Died struct {
	Pos    uint64
	Queue  uint64
	Index  uint64
	Reason ipc.Reason
	Conn   uint64 // whose verdict it was; 0: nobody's
	Sub    uint64
	Ranges []ipc.Range
}

// DeadLettered: dead messages, all of one batch, were published to the dead-letter exchange of
// their queue, where they have become offsets of the targets, and are done with in the queue.
// No targets: they were dropped.
type DeadLettered struct {
	Pos     uint64
	Queue   uint64
	Index   uint64
	Offset  uint64 // of the first
	Count   uint32
	Weight  uint32 // payload bytes
	Full    uint32 // how many queues did not take them
	Targets []Target
	Note    ipc.Note
}

// Run is consecutive offsets of an index.
type Run struct {
	Index uint64
	Range ipc.Range
}

// Leased: offsets of a queue were pulled, and are invisible until a time.
type Leased struct {
	Pos     uint64
	Epoch   uint64 // of the Pull that it answers
	Req     uint64
	Queue   uint64
	Lease   uint64 // number of the lease, within the queue
	UntilMS int64
	Runs    []Run
}

// LeaseMoved: the lease of one message ends at another time.
type LeaseMoved struct {
	Pos     uint64
	Queue   uint64
	Index   uint64
	Offset  uint64
	Lease   uint64
	UntilMS int64
}

// Purged: all that was ready in a queue is done with: in each index what lies below Next, less
// what was kept, for it was in hand, leased or dead.
type Purged struct {
	Pos      uint64
	Queue    uint64
	Messages uint64
	Indexes  []PurgedIndex
}

// PurgedIndex is one index of a purged queue.
type PurgedIndex struct {
	Index uint64
	Next  uint64
	Kept  []ipc.Range
}

// Sought: a queue goes on from these offsets.
type Sought struct {
	Pos   uint64
	Queue uint64
	To    []admin.SeekTo
}

// Sent is what events of a batch that an exchange has taken have in common.
type Sent struct {
	Exchange   uint64 // id
	Count      uint32
	BaseSeq    int32
	ProducerID int64
	Epoch      int16
	Weight     uint32 // payload bytes, for queues with a limit of bytes
	TTLMS      int64  // time that it may wait in a queue; ipc.NoTTL
}

// Later is where a batch waits, and until when.
type Later struct {
	Limbo  uint64 // index that holds it
	Offset uint64 // of its first record there
	DueMS  int64  // Unix time; 0: it does not wait for a time
}

// Delayed: a batch is held back until it is due, and then becomes part of the queues and
// partitions that it was routed to.
type Delayed struct {
	Pos uint64
	Sent
	Later
	Dests []uint64 // ids of queues, indexes of partitions
	Note  ipc.Note
}

// Released: a batch that was held back has become part of its targets: it is due, or its
// transaction is committed.
type Released struct {
	Pos     uint64
	Limbo   uint64
	Offset  uint64
	Count   uint32
	Weight  uint32
	TTLMS   int64
	Full    uint32 // how many queues did not take it
	Targets []Target
}

// LimboAdded: an index for batches that are held back.
type LimboAdded struct {
	Pos   uint64
	Index uint64
	Class uint8
}

// Owner is a connection, named so that it is not taken for another: under this connsrv of
// these rings.
type Owner struct {
	Nonce uint64 // of ring 12345
	Epoch uint64
	Conn  uint64
}

// TxnBegun opens a transaction.
type TxnBegun struct {
	Pos     uint64
	Txn     uint64
	Group   string
	Key     string
	CheckMS int64 // time until the first check and between two; 0: it ends with its owner
	Owner   Owner
}

// TxnHeld: a batch is part of a transaction.
type TxnHeld struct {
	Pos       uint64
	Txn       uint64
	Partition uint64 // index that it is for; 0: it goes through the exchange
	Mandatory bool
	Sent
	Later
	Note ipc.Note
}

// TxnEnded ends a transaction. Where it is committed, its batches have been released by the
// events before it in the same entry.
type TxnEnded struct {
	Pos       uint64
	Txn       uint64
	Committed bool
	Queues    uint32 // how many queues and partitions its batches reached
}

// TxnChecked: a producer group was asked about a transaction; it is asked again at a time.
type TxnChecked struct {
	Pos    uint64
	Txn    uint64
	NextMS int64
}

// Joined: a queue has a consumer.
type Joined struct {
	Pos   uint64
	Queue uint64
	Conn  uint64
	Sub   uint64
	Tag   string
}

// OwnerGone: a connection has ended, or, with Conn 0, all those of connsrvs before this one have.
// What belonged to them is to go.
type OwnerGone struct {
	Pos   uint64
	Owner Owner
}

// TransientsGone: the rings were made anew: what is not durable is to go.
type TransientsGone struct {
	Pos   uint64
	Nonce uint64 // of the new ones
}

// Handing: from now on it is the connections of this connsrv that may hold messages; what those of
// the ones before held has come back. Epoch 0: nobody holds any.
type Handing struct {
	Pos   uint64
	Nonce uint64 // of ring 12345, whose epoch it is
	Epoch uint64
}
