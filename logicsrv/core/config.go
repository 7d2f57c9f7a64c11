package core

import (
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// Config bounds the state. A zero field takes the default beside it.
type Config struct {
	Shard        uint32
	DefaultLevel ipc.Level // of topics and durable queues that name none; disk

	MaxTopics             int // 20,000 topics
	MaxPartitionsPerTopic int // 10,000 partitions
	MaxPartitions         int // 200,000 partitions of all topics together
	MaxQueues             int // 200,000 queues
	MaxExchanges          int // 20,000 exchanges, the predeclared ones left out
	MaxBindings           int // 1,000,000 bindings of all exchanges together
	MaxTargets            int // 4,096 queues and partitions that one batch may reach
	MaxProducers          int // 100,000 idempotent producers remembered
	MaxGroups             int // 20,000 groups with committed offsets
	MaxGroupOffsets       int // 20,000 committed offsets of one group
	MaxConsumers          int // 1,000,000 consumers of all queues together
	MaxWaits              int // 1,000,000 parked waits
	MaxDelayed            int // 5,000,000 batches held back until they are due
	MaxTxns               int // 10,000 open transactions
	MaxTxnals             int // 20,000 transactional ids
	MaxAborted            int // 1,000,000 aborted transactions that are remembered of one partition

	MaxEntryBytes    int   // 1 MiB: TurnFull at half of it; one input adds less than the other half
	ProducerExpiryMS int64 // 86,400,000 ms: a producer silent for so long is forgotten
	TxnCheckMS       int64 // 60,000 ms until the first check of a group's transaction, and between two
	TxnChecks        int   // 15 checks without a decision roll it back
	TxnMaxMS         int64 // 259,200,000 ms: it is rolled back although nobody could be asked

	TxnalTimeoutMaxMS int64 // 900,000 ms: the longest time-out that a transactional producer may ask for
	TxnalExpiryMS     int64 // 604,800,000 ms: a transactional id that nobody uses is forgotten

	MaxGroupMembers     int   // 5,000 members of one group
	MaxGroupPartitions  int   // 16,000 partitions that the members of one group share
	GroupSessionMS      int32 // 45,000 ms: session time-out of members that ask for none
	GroupSessionMinMS   int32 // 6,000 ms: the shortest that a member gets
	GroupSessionMaxMS   int32 // 1,800,000 ms: the longest
	GroupRebalanceMS    int32 // 60,000 ms: rebalance time-out of members that ask for none
	GroupHeartbeatMS    int32 // 5,000 ms: time between the heartbeats of a modern group's member
	GroupInitialDelayMS int64 // 3,000 ms: an empty classic group waits so long for more members; below 0: not at all
	OffsetRetentionMS   int64 // 604,800,000 ms: positions of a group without members are kept so long; below 0: for ever
}

// Each limit answers with errcode.LimitExceeded, or InvalidArgument where the request could
// never be right, and says the limit in its text. A limit that is lowered below what exists
// takes nothing away: it only refuses more.

// Limits that are no matter of configuration, with their units.
const (
	maxNameBytes     = 255  // names of queues, exchanges, groups; routing keys
	maxTopicName     = 249  // bytes, as Kafka's
	maxHeaders       = 64   // headers of a binding
	maxHeaderBytes   = 1024 // key and value of one together
	maxMetadataBytes = 4096 // of a committed offset
	maxRanges        = ipc.MaxRanges
	maxCommits       = 4096      // offsets of one commit
	maxCount         = 1 << 24   // records of a batch
	maxOffset        = 1 << 62   // no index grows beyond
	maxLoops         = 256       // event loops of connsrv: a connection names its own in 8 bits
	maxReplyBytes    = 512 << 10 // body of a Description
	minBatchBytes    = 61        // header of a RecordBatch

	maxTurnOutputBytes = 1 << 20 // records of one turn, before it asks for its end
	maxTurnDeliveries  = 4096    // Deliver records of one turn
	maxTurnReturns     = 8192    // ranges that go back to their queues in one turn
	maxRun             = 4096    // messages of one Deliver

	targetBytes = 16 // of one target in an event
)

// turnReturns and turnDeliveries are what a turn adds at its end, in ranges that go back and
// in deliveries (of which each may be acknowledged by an event): an eighth of an entry each.
func (cfg *Config) turnReturns() int    { return max(1, min(maxTurnReturns, cfg.MaxEntryBytes/128)) }
func (cfg *Config) turnDeliveries() int { return max(1, min(maxTurnDeliveries, cfg.MaxEntryBytes/256)) }

// maxNote is how long a note may be that is published, so that there is room for its deaths and
// for all that a batch may reach.
func (cfg *Config) maxNote() int { return cfg.MaxEntryBytes / 8 }

// turnPulled is how many runs of messages one pull can get: no more than an eighth of an entry takes,
// where one that is leased is 20 bytes.
func (cfg *Config) turnPulled() int { return max(1, min(ipc.MaxPull, cfg.MaxEntryBytes/160)) }

// tooLong tells whether an input that the journal repeats in its event is too long for an
// entry. Batches are not repeated there.
func (cfg *Config) tooLong(in *Input) bool {
	switch in.Type {
	case ipc.TypeTxnAdd, ipc.TypeTxnOffsets, ipc.TypeAck, ipc.TypeCommit, ipc.TypeAdmin, ipc.TypeGroupCommit, ipc.TypeGroupLeave:
		return len(in.Payload) > cfg.MaxEntryBytes/2
	}
	return false
}

// orDefault gives a field that is not set its default.
func orDefault[T int | int32 | int64](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// orDefault fills the fields that are not set. A level that this broker cannot keep (quorum
// needs a cluster) is none.
func (cfg Config) orDefault() Config {
	if cfg.DefaultLevel < ipc.LevelMemory || cfg.DefaultLevel > ipc.LevelDisk {
		cfg.DefaultLevel = ipc.LevelDisk
	}
	orDefault(&cfg.MaxTopics, 20_000)
	orDefault(&cfg.MaxPartitionsPerTopic, 10_000)
	orDefault(&cfg.MaxPartitions, 200_000)
	orDefault(&cfg.MaxQueues, 200_000)
	orDefault(&cfg.MaxExchanges, 20_000)
	orDefault(&cfg.MaxBindings, 1_000_000)
	orDefault(&cfg.MaxTargets, 4096)
	orDefault(&cfg.MaxProducers, 100_000)
	orDefault(&cfg.MaxGroups, 20_000)
	orDefault(&cfg.MaxGroupOffsets, 20_000)
	orDefault(&cfg.MaxConsumers, 1_000_000)
	orDefault(&cfg.MaxWaits, 1_000_000)
	orDefault(&cfg.MaxDelayed, 5_000_000)
	orDefault(&cfg.MaxTxns, 10_000)
	orDefault(&cfg.TxnCheckMS, 60_000)
	orDefault(&cfg.TxnChecks, 15)
	orDefault(&cfg.TxnMaxMS, 3*24*60*60*1000)
	orDefault(&cfg.MaxTxnals, 20_000)
	orDefault(&cfg.MaxAborted, 1_000_000)
	orDefault(&cfg.TxnalTimeoutMaxMS, 15*60*1000)
	orDefault(&cfg.TxnalExpiryMS, 7*24*60*60*1000)
	orDefault(&cfg.MaxEntryBytes, 1<<20)
	orDefault(&cfg.ProducerExpiryMS, 24*60*60*1000)
	cfg.groupsOrDefault()
	// What one input can add to an entry is less than half of it, so that a turn which is not
	// full yet always has room for one more: a small ring means small limits.
	half := cfg.MaxEntryBytes / 2
	cfg.MaxTargets = max(1, min(cfg.MaxTargets, half/(targetBytes+journal.RefSize)))
	cfg.MaxPartitionsPerTopic = max(1, min(cfg.MaxPartitionsPerTopic, half/(8+journal.OpSize)))
	// A target takes a quarter of an entry at most: up to 10 bytes for a partition, 3 for a member.
	cfg.MaxGroupPartitions = max(1, min(cfg.MaxGroupPartitions, cfg.MaxEntryBytes/64))
	cfg.MaxGroupMembers = max(1, min(cfg.MaxGroupMembers, cfg.MaxEntryBytes/128))
	return cfg
}

// groupsOrDefault fills what concerns groups. There, below 0 means something where 0 means unset.
func (cfg *Config) groupsOrDefault() {
	orDefault(&cfg.MaxGroupMembers, 5000)
	orDefault(&cfg.MaxGroupPartitions, 16_000)
	orDefault(&cfg.GroupSessionMS, 45_000)
	orDefault(&cfg.GroupSessionMinMS, 6000)
	orDefault(&cfg.GroupSessionMaxMS, 30*60*1000)
	orDefault(&cfg.GroupRebalanceMS, 60_000)
	orDefault(&cfg.GroupHeartbeatMS, 5000)
	if cfg.GroupInitialDelayMS == 0 {
		cfg.GroupInitialDelayMS = 3000
	}
	if cfg.OffsetRetentionMS == 0 {
		cfg.OffsetRetentionMS = 7 * 24 * 60 * 60 * 1000
	}
}
