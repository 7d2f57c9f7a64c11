package core

// The counts are for people and metrics. They are no part of the state: they begin at zero with
// each process, and nothing is ever decided by them.

// Stats counts what this core has done since it was made, and what it holds now.
type Stats struct {
	Inputs     uint64 // Step calls
	Malformed  uint64 // inputs that could not be decoded
	Repeated   uint64 // inputs answered from the journal after a restart
	Batches    uint64 // stored in partitions by Append
	Routed     uint64 // batches that went through an exchange
	Records    uint64 // in both
	Duplicates uint64 // batches of idempotent producers that were stored before
	Rejected   uint64 // inputs refused with an event
	Commits    uint64 // of offsets
	Delivered  uint64 // messages handed to consumers
	Acked      uint64 // messages done with
	Returned   uint64 // messages that came back undone

	Recalled     uint64 // messages taken back from consumers that held them for too long
	Died         uint64 // messages that were rejected, expired, pushed out or returned too often
	DeadLettered uint64 // … of which it was decided where they go
	Released     uint64 // batches that came out of limbo
	TxnChecks    uint64 // questions to producer groups
	TxnsGivenUp  uint64 // transactions rolled back without a decision

	TxnsCommitted uint64 // of transactional producers
	TxnsAborted   uint64 // … also by time
	TxnsTimedOut  uint64
	Retargeted    uint64 // targets of modern groups
	Generations   uint64 // of classic groups
	Expelled      uint64 // members that were silent, or did not give up their partitions

	Topics, Partitions, Queues, Exchanges, Bindings uint64
	Producers, Groups, Consumers, Waits             uint64
	Pulls, Delayed, Txns                            uint64
	Resynced                                        bool // the latest marker has been answered
}

// Stats returns the counts.
func (c *Core) Stats() Stats {
	s := c.stats
	s.Topics, s.Partitions = uint64(c.topics.len()), uint64(c.partitions)
	s.Queues, s.Exchanges = uint64(c.queues.len()), uint64(c.exchanges.len())
	s.Bindings, s.Producers = uint64(c.bindings.len()), uint64(len(c.producers.byID))
	s.Groups, s.Consumers = uint64(c.groups.len()), uint64(len(c.consumers))
	s.Waits, s.Resynced = uint64(len(c.waits)), c.resynced
	s.Pulls, s.Delayed, s.Txns = uint64(len(c.pulls)), uint64(c.delayed), uint64(c.txns.len())
	return s
}
