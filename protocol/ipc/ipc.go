package ipc

// Type is the type word of a ring record (shmqueue keeps 0 for its own pad records).
type Type uint16

// Records from connsrv to logicsrv (ring 12345).
const (
	TypeHello        Type = 1  // Hello: a connsrv has attached
	TypeSkip         Type = 2  // no payload that means anything: a claim that had to be given up
	TypeAppend       Type = 3  // Append: one RecordBatch for one partition
	TypePublish      Type = 4  // Publish: one RecordBatch for an exchange
	TypeInitProducer Type = 5  // InitProducer
	TypeAdmin        Type = 6  // Admin: create, delete, describe …
	TypeWait         Type = 7  // Wait: park until more than Beyond is visible
	TypeUnwait       Type = 8  // Unwait
	TypeSubscribe    Type = 9  // Subscribe: a consumer of a queue
	TypeUnsubscribe  Type = 10 // Unsubscribe
	TypeCredit       Type = 11 // Credit
	TypeAck          Type = 12 // Ack: ack, nack or reject of offset ranges
	TypeCommit       Type = 13 // CommitOffsets
	TypeOffsets      Type = 14 // FetchOffsets
	TypeConnClosed   Type = 15 // ConnClosed
	TypeSubState     Type = 16 // SubState: part of the answer to a Marker
	TypeResyncEnd    Type = 17 // ResyncEnd: the last part of it, one for each event loop
	TypePull         Type = 40 // Pull: messages of a queue for who asks
	TypePullEnd      Type = 41 // PullEnd: a Pull shall wait no longer
	TypeExtend       Type = 42 // Extend: another end for the lease of a message
	TypeBeginTxn     Type = 43 // BeginTxn
	TypeEndTxn       Type = 44 // EndTxn: commit or roll back
	TypeTxnMember    Type = 45 // TxnMember: a connection answers for a producer group
)

// Records from logicsrv to connsrv (ring 54321).
const (
	TypeMarker     Type = 64  // Marker: tell all soft state again
	TypeError      Type = 65  // Error: the refusal of a request
	TypeAppended   Type = 66  // Appended: answers Append
	TypePublished  Type = 67  // Published: answers Publish
	TypeProducer   Type = 68  // Producer: answers InitProducer
	TypeAdminReply Type = 69  // AdminReply
	TypeVisible    Type = 70  // Visible: answers Wait
	TypeSubscribed Type = 71  // Subscribed: answers Subscribe
	TypeSubClosed  Type = 72  // SubClosed: the queue of a consumer is gone, or Unsubscribe is done
	TypeDeliver    Type = 73  // Deliver: hand these offsets to this consumer
	TypeAcked      Type = 74  // Done: answers Ack, where an answer was asked for
	TypeCommitted  Type = 75  // Done: answers CommitOffsets
	TypeOffsetList Type = 76  // OffsetList: answers FetchOffsets
	TypeIndexGone  Type = 77  // IndexGone: forget what you know of this index
	TypeDefined    Type = 92  // Defined: users, policies and the like are others now
	TypeRecall     Type = 100 // Recall: a consumer's time for these offsets is over
	TypePulled     Type = 101 // Pulled: answers Pull
	TypeTxnBegun   Type = 102 // TxnBegun: answers BeginTxn
	TypeTxnEnded   Type = 103 // TxnEnded: answers EndTxn
	TypeCheckTxn   Type = 104 // CheckTxn: what has become of this transaction?
	TypeExtended   Type = 105 // Done: answers Extend
)

// Records from logicsrv to persistsrv (ring 65432).
const (
	TypeEntry      Type = 128 // Entry: append this to the commit log (journal.Entry with body references)
	TypeCheckpoint Type = 129 // CheckpointPart
	TypeConfigure  Type = 130 // Configure: index settings told again at each start of logicsrv

	TypeConfigureCompacted Type = 131 // ConfigureCompacted: the same, where one of the indexes is compacted
)

// Level is a durability level: the name of the cursor that an acknowledgement waits for.
type Level uint8

const (
	LevelUnset  Level = 0
	LevelMemory Level = 1 // none: acknowledged when decided, visible when written
	LevelPage   Level = 2 // written: in the page cache, survives any process
	LevelDisk   Level = 3 // synced: survives power loss
	LevelQuorum Level = 4 // committed by a cluster; refused by a broker that stands alone
)

// Head begins every record between connsrv and logicsrv.
// Epoch is connsrv's (its successor drops what bears another), Conn the connection
// (event loop in the low 8 bits, a counter above, never reused within an epoch), Req
// the number that connsrv gave the request (unique within its epoch; 0: no answer wanted).
type Head struct {
	Epoch uint64
	Conn  uint64
	Req   uint64
}

// Hello says that a connsrv has attached with Head.Epoch. Answered by a Marker.
type Hello struct {
	Head
	Loops uint32 // how many ResyncEnd records answer a Marker
}

// BatchMeta is what logicsrv needs to know of a RecordBatch without touching its bytes;
// connsrv has read it from the batch after it verified magic, length, count and CRC.
type BatchMeta struct {
	Count      uint32 // records in it; lastOffsetDelta + 1
	CRC        uint32 // the batch's own CRC32C, of bytes 21…
	MaxTimeMS  int64
	ProducerID int64 // -1: not idempotent
	Epoch      int16
	BaseSeq    int32
	Length     uint32 // bytes of the whole batch, header included
}

// Append asks for a batch to be stored in a partition.
// Its record's payload: the encoded Append (AppendSize bytes), then the batch.
type Append struct {
	Head
	Index uint64 // the partition's index
	Level Level  // what the acknowledgement waits for; LevelUnset: the topic's
	Txn   uint64 // the transaction that it is part of; 0: none
	Batch BatchMeta
	Txnal AppendTxnal
}

// AppendTxnal says whether a batch is one of a transactional producer's transaction.
type AppendTxnal uint8

const (
	TxnalNone  AppendTxnal = 0 // it is not
	TxnalAdded AppendTxnal = 1 // it is, and its partition was added before
	TxnalJoins AppendTxnal = 2 // it is, and adds its partition where that was not done
)

// Publish asks for a batch to be routed through an exchange. All its records share the
// routing key and the headers that a headers exchange looks at.
// Payload: the encoded Publish (a multiple of 8 bytes), then the batch.
type Publish struct {
	Head
	Level      Level // LevelUnset: the highest level of the queues it reaches
	Mandatory  bool  // unroutable is an error (errcode.Unroutable) instead of success with 0 queues
	Priority   uint8
	Weight     uint32 // payload bytes, which count towards a queue's limit
	Txn        uint64 // the transaction that it is part of; 0: none
	DueMS      int64  // Unix time before which nobody sees it; 0: at once
	TTLMS      int64  // for so long it may wait in a queue; NoTTL: for ever
	Batch      BatchMeta
	Exchange   string
	RoutingKey string
	Headers    []Header
	MoreKeys   []string // by which it is routed, too; what several of them lead to is reached once

	DelayedOnly bool // DueMS counts only where the exchange delays
	Whole       bool // if a queue that rejects could take a part of its records only, none is taken: errcode.QueueFull
	Keyless     bool // a record has no key: a compacted topic does not take it. Not told of batches that clients have made
	NoHeaders   bool // its records have headers that are not in Headers: if they are looked at, errcode.NeedHeaders
}

// NoTTL as Publish.TTLMS: the message does not expire by itself.
const NoTTL = -1

// Header is one message header, for routing by a headers exchange.
type Header struct{ Key, Value string }

// InitProducer asks for an id for an idempotent producer.
type InitProducer struct {
	Head
	ProducerID int64 // -1: a new id; otherwise the epoch of this one is raised
	Epoch      int16
}

// Admin carries one command of package admin.
type Admin struct {
	Head
	Command uint16 // admin.Command
	Body    []byte // as package admin encodes it
}

// Wait asks to be told once the visible end of an index is greater than Beyond
// (at once where it is already). Parked in logicsrv until then; told again after a Marker.
type Wait struct {
	Head
	Index  uint64
	Beyond uint64
}

// WaitNow as Wait.Beyond parks nothing: the visible end is answered at once, whatever it is.
const WaitNow = ^uint64(0)

// WaitStored as Wait.Beyond waits until all is visible that is in the index when logicsrv reads the record: who
// was told that something is stored, at whatever level, is not shown an end below it.
const WaitStored = WaitNow - 1

// Unwait takes a Wait back: Target is its Req.
type Unwait struct {
	Head
	Target uint64
}

// Subscribe makes a consumer of a queue. Sub is unique within the connection.
type Subscribe struct {
	Head
	Sub      uint64
	Queue    uint64 // its id
	Limit    uint64 // as Credit.Limit
	Consumer Consumer
}

// Consumer is what a consumer wants to be, told with Subscribe and again with SubState.
type Consumer struct {
	AutoAck      bool // delivered is acknowledged
	Exclusive    bool
	Puller       bool   // gets messages by Pull alone; it was never subscribed
	Priority     int32  // higher ones are served first
	AckTimeoutMS uint64 // for so long it may hold a message; 0: for ever
	Tag          string // who it is, for people: in descriptions and in the log; at most MaxTag bytes
}

// MaxTag bounds the tag of a consumer.
const MaxTag = 512

// Unsubscribe ends a consumer; what it holds goes back to the queue or, with Keep, stays in its
// hand: it is one that pulls from then on.
type Unsubscribe struct {
	Head
	Sub  uint64
	Keep bool
}

// Credit sets how many messages may be delivered to a consumer in all, counted from its
// Subscribe. Absolute, so that telling it twice is harmless.
type Credit struct {
	Head
	Sub   uint64
	Limit uint64
}

// Verdict is what a consumer says of delivered messages.
type Verdict uint8

const (
	VerdictAck     Verdict = 1 // done
	VerdictRequeue Verdict = 2 // back to its place in the queue
	VerdictReject  Verdict = 3 // dead: to the dead-letter exchange, where there is one
	VerdictSkip    Verdict = 4 // done without having been seen: its filter does not match, or it is gone
	VerdictUnsent  Verdict = 5 // back to its place, for it was not sent: that counts as no attempt. Only with a lease
)

// Range is offsets [First, First+Count).
type Range struct {
	First uint64
	Count uint32
}

// Ack passes a verdict on offsets of one index of a queue; it describes itself, so that no
// table of deliveries is needed to apply it.
type Ack struct {
	Head
	Sub     uint64
	Queue   uint64
	Index   uint64 // one of the queue's
	Lease   uint64 // of messages that were pulled with one; 0: they were in hand
	Verdict Verdict
	// Recalls is how many Recalls connsrv had seen of this consumer, modulo 65,536, since it has
	// told it last with SubState, or since its Subscribe. A verdict that crosses with a Recall is
	// known by it.
	Recalls uint16
	Ranges  []Range
}

// Pull asks for up to Max ready messages of a queue.
type Pull struct {
	Head
	Sub         uint64 // the puller's: connsrv gives each (connection, queue) that pulls one; 0 with a lease
	Queue       uint64
	Max         uint32
	Wait        bool   // until there is at least one; otherwise the answer may be empty
	AutoAck     bool   // connsrv acknowledges what it gets
	InvisibleMS uint64 // they are leased for so long; 0: they are in the hand of the puller
}

// PullEnd asks for the answer to a Pull that waits, Target being its Req. Where messages are on
// their way already they are the answer.
type PullEnd struct {
	Head
	Target uint64
}

// Extend sets the end of the lease of one message, counted from now; 0: it comes back at once.
type Extend struct {
	Head
	Queue       uint64
	Index       uint64
	Offset      uint64
	Lease       uint64
	InvisibleMS uint64
}

// BeginTxn opens a transaction.
type BeginTxn struct {
	Head
	Group   string // of producers, who are asked if no decision comes; empty: it ends with its connection
	Key     string // the client's name for it, told with each CheckTxn
	CheckMS uint64 // time until the first check, and between two; 0: the broker's default
}

// EndTxn commits a transaction or rolls it back. Verdicts take effect with the commit.
type EndTxn struct {
	Head
	Txn      uint64
	Commit   bool
	Unheld   bool // verdicts were asked for on what is in no hand: only an end that was decided before is answered
	Verdicts []TxnVerdict
}

// TxnVerdict is a verdict that is part of a transaction.
type TxnVerdict struct {
	Sub     uint64
	Queue   uint64
	Index   uint64
	Verdict Verdict
	Range   Range
}

// TxnMember says that a connection answers (or no longer answers) checks for a producer group.
type TxnMember struct {
	Head
	Group string
	Join  bool
}

// OffsetCommit is one committed position of a group.
type OffsetCommit struct {
	Index    uint64
	Offset   uint64 // the next offset to read
	Metadata string
	Leader   uint32 // leader epoch of the last message read, as Kafka's clients tell it, plus 1; 0: not told
}

// CommitOffsets stores positions of a group.
type CommitOffsets struct {
	Head
	Group   string
	Level   Level // LevelUnset: the topic's
	Offsets []OffsetCommit
}

// FetchOffsets asks for committed positions; no Indexes: all of the group.
type FetchOffsets struct {
	Head
	Group   string
	Indexes []uint64
}

// ConnClosed says that a connection is gone: its waits and consumers end, what it held goes back.
type ConnClosed struct{ Head }

// SubState tells one consumer again, in answer to a Marker.
type SubState struct {
	Head
	Term, Ask uint64 // of the Marker
	Sub       uint64
	Queue     uint64
	Limit     uint64
	Delivered uint64 // messages delivered to it so far
	Consumer  Consumer
	InHand    []Held // delivered, no verdict put into the ring yet
}

// Held is a range of one of a queue's indexes.
type Held struct {
	Index uint64
	Range Range
}

// ResyncEnd ends one event loop's answer to a Marker.
type ResyncEnd struct {
	Head
	Term, Ask uint64
	Loop      uint32
	Loops     uint32
}

// Marker asks connsrv for all its soft state. All that earlier logicsrvs sent lies before it.
type Marker struct {
	Term uint64 // logicsrv's
	Ask  uint64 // counts the markers of a term; only the answer to the latest counts
}

// Error refuses a request.
type Error struct {
	Head
	Code uint16 // errcode.Code
	Text string
}

// Appended answers Append.
type Appended struct {
	Head
	Index     uint64
	Base      uint64 // offset of the first record
	Duplicate bool   // stored before, at Base
}

// Published answers Publish.
type Published struct {
	Head
	Queues    uint32 // how many queues and partitions it reached
	Full      uint32 // how many more did not take it, for they are full
	Duplicate bool
}

// Producer answers InitProducer.
type Producer struct {
	Head
	ProducerID int64
	Epoch      int16
}

// AdminReply answers Admin with the encoded reply of package admin.
type AdminReply struct {
	Head
	Command uint16
	Body    []byte
}

// Visible answers Wait: offsets below End may be read.
type Visible struct {
	Head
	Index uint64
	End   uint64
}

// Subscribed answers Subscribe.
type Subscribed struct {
	Head
	Sub    uint64
	Filter Filter // the queue's
}

// Filter is what a queue over a topic wants of its messages: connsrv hands on what matches, and
// skips the rest.
type Filter struct {
	Kind uint8 // selector.Kind; 0: it wants all
	Text string
}

// SubClosed says that a consumer has ended. Req is 0 where nobody asked.
type SubClosed struct {
	Head
	Sub  uint64
	Code uint16 // errcode.OK after Unsubscribe
	Text string
}

// Deliver hands offsets [First, First+Count) of an index of its queue to a consumer. Attempts
// is how often they have been delivered before (0: the first time).
type Deliver struct {
	Head
	Sub      uint64
	Index    uint64
	First    uint64
	Count    uint32
	Attempts uint16
}

// Recall tells that a consumer has held offsets for too long: they have gone back.
type Recall struct {
	Head
	Sub    uint64
	Index  uint64
	Ranges []Range
}

// Pulled answers Pull. Nothing in it: there was nothing.
type Pulled struct {
	Head
	Queue   uint64
	Lease   uint64 // 0: the messages are in the puller's hand
	UntilMS int64  // Unix time at which the lease ends
	Filter  Filter // the queue's
	Runs    []PulledRun
}

// PulledRun is offsets [First, First+Count) of one of the queue's indexes.
type PulledRun struct {
	Index    uint64
	First    uint64
	Count    uint32
	Attempts uint16
}

// TxnBegun answers BeginTxn.
type TxnBegun struct {
	Head
	Txn uint64
}

// TxnEnded answers EndTxn.
type TxnEnded struct {
	Head
	Committed bool
	Queues    uint32 // how many queues and partitions its messages reached
}

// CheckTxn asks a producer group's connection what has become of a transaction.
type CheckTxn struct {
	Head
	Txn    uint64
	Group  string
	Key    string
	Checks uint32 // how often it was asked before
}

// Done answers a request that has no result of its own.
type Done struct{ Head }

// OffsetList answers FetchOffsets; an index without a commit is left out.
type OffsetList struct {
	Head
	Offsets []OffsetCommit
}

// Defined is told to every event loop when something was defined or is no longer: users, permissions,
// policies and the like. Who keeps a copy reads them anew.
type Defined struct{ Count uint64 } // of changes since logicsrv began

// IndexGone is told to every event loop after a topic or queue was deleted.
type IndexGone struct{ Index uint64 }

// CheckpointPart carries a piece of logicsrv's checkpoint; once persistsrv has the last one, it
// stores them as one file.
type CheckpointPart struct {
	LSN         uint64 // the state is that after this LSN
	ResultsFrom uint64 // entries from this LSN on may bear results of inputs not yet released
	Part, Parts uint32
	Bytes       []byte
}

// IndexSettings is what persistsrv needs to know of an index.
type IndexSettings struct {
	Index          uint64
	RetentionBytes int64 // 0: no limit
	RetentionMS    int64 // 0: no limit
	Compaction     Compaction
}

// Compaction says how an index is compacted: of each key the last record stays.
type Compaction struct {
	On           bool
	DirtyPPM     int64 // how much of the index must be new for it, in millionths
	MinLagMS     int64 // how young a record is that is not touched yet
	MaxLagMS     int64 // how old a record that has not been looked at makes it due
	TombstoneMS  int64 // how long a record without a value stays after it was first looked at
	ClosingMS    int64 // at that age what is new is looked at, however little it is
	ClosingBytes int64 // … or when it is so much
}

// Configure tells settings of existing indexes again, and, in its last part, that an
// index which was in no part is no longer wanted.
type Configure struct {
	Term        uint64
	Part, Parts uint32
	Settings    []IndexSettings
}

// ConfigureCompacted is a Configure with all of the settings.
type ConfigureCompacted Configure
