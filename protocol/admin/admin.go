package admin

import "github.com/trimq/trimq/protocol/ipc"

// Command numbers an administrative command; native frames and ring records share them.
type Command uint16

const (
	CmdCreateExchange Command = 1
	CmdCreateQueue    Command = 2
	CmdCreateBinding  Command = 3
	CmdCreateTopic    Command = 17
	CmdDeleteTopic    Command = 18
	CmdAddPartitions  Command = 19
	CmdDeleteExchange Command = 20
	CmdDeleteQueue    Command = 21
	CmdDeleteBinding  Command = 22
	CmdPurge          Command = 23
	CmdSeek           Command = 24
	CmdAlterTopic     Command = 25
	CmdDeleteRecords  Command = 26
	CmdDescribe       Command = 16
)

// CreateExchange: an equal one that exists already is success, an unequal one errcode.Inequivalent.
type CreateExchange struct {
	Name       string
	Type       ExchangeType
	Durable    bool   // otherwise it goes when the rings are made anew
	AutoDelete bool   // it goes with the last binding that leads from it
	Internal   bool   // clients cannot publish to it
	Alternate  string // the exchange that gets what matches no binding; it need not exist. Empty: none
	HashHeader string // ConsistentHash: the header that is hashed; empty: the routing key
	Delayed    bool   // AMQP's x-delayed-message: its front end reads the header x-delay of what is published
	Arguments  string // as an AMQP client gave them, a field table; kept, and not compared
}

// CreateBinding binds a queue, a topic as a whole, or another exchange to an exchange. Its last
// four fields are for a headers exchange.
type CreateBinding struct {
	Exchange   string
	Queue      string // or topic, by name; an exchange with ToExchange
	ToExchange bool
	RoutingKey string       // ConsistentHash: the weight, a number from 1 on
	MatchAny   bool         // any instead of all
	WithX      bool         // headers whose names begin with x- count too
	Headers    []ipc.Header // wanted with these values
	Present    []string     // names of headers that are wanted with any value
	Arguments  string       // as in CreateExchange; no part of the identity
}

// DeleteBinding names a binding by all that CreateBinding gave.
type DeleteBinding CreateBinding

// AddPartitions raises the number of partitions to Total.
type AddPartitions struct {
	Name  string
	Total uint32
}

// Delete names what is to be deleted (DeleteTopic, DeleteExchange, DeleteQueue).
type Delete struct {
	Name     string
	IfUnused bool
	IfEmpty  bool
}

// Created answers all commands but Describe: Existed tells that it was so before.
type Created struct {
	Index    uint64 // id of a queue; 0 for others
	Existed  bool
	Name     string // of a queue
	Messages uint64 // that a purge or the end of a queue has dropped
}

// Kind is what Describe lists.
type Kind uint8

const (
	KindTopic    Kind = 1
	KindExchange Kind = 2
	KindQueue    Kind = 3
	KindBinding  Kind = 4
	KindGroup    Kind = 5
	KindConsumer Kind = 6 // Names are those of queues
	KindTxn      Kind = 7 // open transactions; Names are groups of producers
	KindTopicID  Kind = 8 // topics; Names are their ids, 16 bytes each, and After a name. What is not there is left out. The reply is of KindTopic
)

// Describe lists things in order of name: the ones in Names, or all whose name is > After.
type Describe struct {
	Kind  Kind
	Names []string
	After string
	Max   uint32 // 0: as many as fit into a reply
}

// Description is the reply; the slice that belongs to the Kind is filled.
type Description struct {
	Kind      Kind
	More      bool // ask again with After = the last name
	Topics    []TopicInfo
	Exchanges []ExchangeInfo
	Queues    []QueueInfo
	Bindings  []BindingInfo
	Groups    []GroupInfo
	Consumers []ConsumerInfo
	Txns      []TxnInfo
	Missing   []string // names that were asked for and are not there

	Definitions []Definition

	Memberships []Membership
	Summaries   []GroupSummary
	Configs     []GroupConfig
	Txnals      []TxnalInfo
	Producers   []ProducersInfo
	Held        []HeldInfo
}

// TopicInfo describes a topic.
type TopicInfo struct {
	Name           string
	UUID           [16]byte
	Level          ipc.Level
	RetentionBytes int64
	RetentionMS    int64
	CreatedMS      int64
	Partitions     []PartitionInfo
	Configs        []ipc.Header // all that was set, see package topicconf
}

// PartitionInfo describes a partition: Next is the offset that the next record gets,
// Visible the end of what consumers may read.
type PartitionInfo struct {
	Index   uint64
	Next    uint64
	Visible uint64
}

// ExchangeInfo describes an exchange: what it was created with, and how many bindings lead from it.
type ExchangeInfo struct {
	CreateExchange
	Bindings  uint32
	Exchanges uint32 // how many of the bindings lead to exchanges
	Policy    string // the name of the policy that counts for it; empty: none
	Published uint64 // messages that it was given since logicsrv began, by publishers or as dead letters
	Reached   uint64 // how often one of them has reached a queue or topic
}

// ByHeaders tells whether headers of a message may take part in its routing: here, or in an
// exchange that gets it from here.
func (x *ExchangeInfo) ByHeaders() bool {
	return x.Type == Headers || x.HashHeader != "" || x.Alternate != "" || x.Exchanges > 0
}

// QueueInfo describes a queue.
type QueueInfo struct {
	Name      string
	Queue     uint64 // its id
	Level     ipc.Level
	Settings  QueueSettings // as it was created
	Effective QueueSettings // under the policies below
	Policy    string        // names of what counts for it; empty: none
	Operator  string        // … of operators' policies
	Ready     uint64        // messages to be delivered, or on their way to be visible
	Unacked   uint64        // … in consumers' hands
	Leased    uint64        // … pulled, and invisible for a time
	Dead      uint64        // … on their way to the dead-letter exchange
	Settled   uint64        // … done with since the queue began
	Consumers uint32
	Pulls     uint32 // that wait for a message
	Indexes   []QueueIndex
}

// QueueIndex is one index of a queue: of a priority, or of a partition of its topic.
type QueueIndex struct {
	Index   uint64
	Number  uint32 // the priority, or the partition
	Next    uint64
	Visible uint64
	Floor   uint64 // all below is done with
	Oldest  uint64 // offset of the oldest message that is not done with; Next where there is none
}

// ConsumerInfo describes a consumer of a queue.
type ConsumerInfo struct {
	Queue    string
	Conn     uint64
	Sub      uint64
	Consumer ipc.Consumer
	Active   bool   // gets messages: not one that waits behind a single active consumer
	Credit   uint64 // messages that it may still be given
	Held     uint64 // messages in its hand

	Delivered uint64 // messages that it was given in all
}

// TxnInfo describes a transaction that has not ended.
type TxnInfo struct {
	Txn     uint64
	Group   string
	Key     string
	Begun   int64 // Unix time in ms
	Batches uint32
	Checks  uint32
	CheckMS int64 // Unix time of the next check; 0: it ends with its connection
}

// BindingInfo describes a binding.
type BindingInfo CreateBinding

// GroupInfo describes a group's committed offsets.
type GroupInfo struct {
	Name    string
	Offsets []ipc.OffsetCommit
}
