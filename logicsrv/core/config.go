package core

import "github.com/trimq/trimq/protocol/ipc"

// Config bounds the state. A zero field takes the default that its constant names.
type Config struct {
	Shard        uint32
	DefaultLevel ipc.Level // of topics and durable queues that name none

	MaxTopics             int // topics
	MaxPartitionsPerTopic int // partitions
	MaxPartitions         int // partitions of all topics together
	MaxQueues             int // queues
	MaxExchanges          int // exchanges, predeclared ones included
	MaxBindings           int // bindings of all exchanges together
	MaxProducers          int // idempotent producers remembered
	MaxGroups             int // groups with committed offsets
	MaxGroupOffsets       int // committed offsets of one group
	MaxConsumers          int // consumers of all queues together
	MaxWaits              int // parked waits

	ProducerExpiryMS int64 // a producer that was silent for so long is forgotten
}
