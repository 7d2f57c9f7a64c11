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
	CmdDescribe       Command = 16
)

// ExchangeType is the way an exchange routes.
type ExchangeType uint8

const (
	Fanout  ExchangeType = 1
	Direct  ExchangeType = 2
	Topic   ExchangeType = 3
	Headers ExchangeType = 4
)

// CreateExchange: an equal one that exists already is success, an unequal one errcode.Inequivalent.
type CreateExchange struct {
	Name    string
	Type    ExchangeType
	Durable bool
}

// CreateQueue: as CreateExchange. The reply is a Created with the queue's index.
type CreateQueue struct {
	Name    string
	Level   ipc.Level // LevelUnset: the broker's default
	Durable bool
}

// CreateBinding binds a queue (or one partition-less topic, by name) to an exchange.
type CreateBinding struct {
	Exchange   string
	Queue      string
	RoutingKey string
	MatchAny   bool         // headers exchange: any instead of all
	Headers    []ipc.Header // headers exchange
}

// DeleteBinding names a binding by all that CreateBinding gave.
type DeleteBinding CreateBinding

// CreateTopic makes a topic with partitions 0 … Partitions-1.
type CreateTopic struct {
	Name           string
	Partitions     uint32
	Level          ipc.Level
	RetentionBytes int64 // each partition; 0: no limit
	RetentionMS    int64
}

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

// Created answers the create commands: Existed tells that an equal one was there before.
type Created struct {
	Index   uint64 // of a queue; 0 for others
	Existed bool
}

// Kind is what Describe lists.
type Kind uint8

const (
	KindTopic    Kind = 1
	KindExchange Kind = 2
	KindQueue    Kind = 3
	KindBinding  Kind = 4
	KindGroup    Kind = 5
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
	Missing   []string // names that were asked for and are not there

	Memberships []Membership
	Summaries   []GroupSummary
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
}

// PartitionInfo describes a partition: Next is the offset that the next record gets,
// Visible the end of what consumers may read.
type PartitionInfo struct {
	Index   uint64
	Next    uint64
	Visible uint64
}

// ExchangeInfo describes an exchange.
type ExchangeInfo struct {
	Name     string
	Type     ExchangeType
	Durable  bool
	Bindings uint32
}

// QueueInfo describes a queue.
type QueueInfo struct {
	Name      string
	Index     uint64
	Level     ipc.Level
	Durable   bool
	Ready     uint64 // messages to be delivered
	Unacked   uint64 // messages in consumers' hands
	Next      uint64
	Floor     uint64 // all below is acknowledged
	Consumers uint32
}

// BindingInfo describes a binding.
type BindingInfo CreateBinding

// GroupInfo describes a group's committed offsets.
type GroupInfo struct {
	Name    string
	Offsets []ipc.OffsetCommit
}
