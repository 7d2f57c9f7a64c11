package shmqueue

// Counters of logicsrv. A new row goes to the end, with the next number.
const (
	LogicInputs       CounterID = 0
	LogicTurns        CounterID = 1
	LogicEntries      CounterID = 2
	LogicEvents       CounterID = 3
	LogicReplies      CounterID = 4
	LogicMalformed    CounterID = 5
	LogicDuplicates   CounterID = 6
	LogicDeliveries   CounterID = 7
	LogicStarts       CounterID = 8
	LogicRecoveryNS   CounterID = 9
	LogicLSN          CounterID = 10
	LogicTerm         CounterID = 11
	LogicGateWaiting  CounterID = 12
	LogicTopics       CounterID = 13
	LogicQueues       CounterID = 14
	LogicPartitions   CounterID = 15
	LogicCheckpoints  CounterID = 16
	LogicCheckpointed CounterID = 17
	LogicInputBytes   CounterID = 18
	LogicParked       CounterID = 19
	LogicResponseFull CounterID = 20
	LogicUnreleased   CounterID = 21
	LogicExchanges    CounterID = 22
	LogicBindings     CounterID = 23
	LogicGroups       CounterID = 24
	LogicConsumers    CounterID = 25
	LogicWaits        CounterID = 26
	LogicProducers    CounterID = 27
	LogicRejected     CounterID = 28

	LogicCheckpointLSN  CounterID = 29
	LogicReplayNS       CounterID = 30
	LogicReplayFailures CounterID = 31
	LogicLongestTurnNS  CounterID = 32

	LogicSettled      CounterID = 33
	LogicReturned     CounterID = 34
	LogicRecalled     CounterID = 35
	LogicDied         CounterID = 36
	LogicDeadLettered CounterID = 37
	LogicReleased     CounterID = 38
	LogicTxnChecks    CounterID = 39
	LogicTxnsGivenUp  CounterID = 40
	LogicExpelled     CounterID = 41
	LogicPulls        CounterID = 42
	LogicDelayed      CounterID = 43
	LogicTxns         CounterID = 44
)

var logicStats = [...]Row{
	LogicInputs:       {Name: "trimq_logic_inputs_total", Help: "Records read from the request ring.", Kind: KindCounter},
	LogicTurns:        {Name: "trimq_logic_turns_total", Help: "Turns of the core.", Kind: KindCounter},
	LogicEntries:      {Name: "trimq_logic_entries_total", Help: "Entries handed to persistsrv.", Kind: KindCounter},
	LogicEvents:       {Name: "trimq_logic_events_total", Help: "Events in those entries.", Kind: KindCounter},
	LogicReplies:      {Name: "trimq_logic_replies_total", Help: "Records put into the response ring.", Kind: KindCounter},
	LogicMalformed:    {Name: "trimq_logic_malformed_total", Help: "Inputs that could not be understood.", Kind: KindCounter},
	LogicDuplicates:   {Name: "trimq_logic_duplicates_total", Help: "Batches of idempotent producers that were stored before.", Kind: KindCounter},
	LogicDeliveries:   {Name: "trimq_logic_deliveries_total", Help: "Messages handed to consumers of queues.", Kind: KindCounter},
	LogicStarts:       {Name: "trimq_logic_starts_total", Help: "Starts of logicsrv.", Kind: KindCounter},
	LogicRecoveryNS:   {Name: "trimq_logic_recovery_seconds", Help: "How long the last recovery took.", Kind: KindGauge, Scale: 1e9},
	LogicLSN:          {Name: "trimq_logic_lsn", Help: "LSN of the last entry.", Kind: KindGauge},
	LogicTerm:         {Name: "trimq_logic_term", Help: "Term of logicsrv.", Kind: KindGauge},
	LogicGateWaiting:  {Name: "trimq_logic_gate_waiting", Help: "Replies that wait for a cursor.", Kind: KindGauge},
	LogicTopics:       {Name: "trimq_logic_topics", Help: "Topics.", Kind: KindGauge},
	LogicQueues:       {Name: "trimq_logic_queues", Help: "Queues.", Kind: KindGauge},
	LogicPartitions:   {Name: "trimq_logic_partitions", Help: "Partitions.", Kind: KindGauge},
	LogicCheckpoints:  {Name: "trimq_logic_checkpoints_total", Help: "Checkpoints taken.", Kind: KindCounter},
	LogicCheckpointed: {Name: "trimq_logic_checkpoint_bytes", Help: "Size of the last checkpoint.", Kind: KindGauge},
	LogicInputBytes:   {Name: "trimq_logic_input_bytes_total", Help: "Bytes of those records.", Kind: KindCounter},
	LogicParked:       {Name: "trimq_logic_parked_inputs_total", Help: "Inputs given up because the core died of them.", Kind: KindCounter},
	LogicResponseFull: {Name: "trimq_logic_response_ring_full_total", Help: "Times that a reply had to wait for room in the response ring.", Kind: KindCounter},
	LogicUnreleased:   {Name: "trimq_logic_unreleased_turns", Help: "Turns whose inputs still lie in the request ring.", Kind: KindGauge},
	LogicExchanges:    {Name: "trimq_logic_exchanges", Help: "Exchanges, the predeclared ones included.", Kind: KindGauge},
	LogicBindings:     {Name: "trimq_logic_bindings", Help: "Bindings.", Kind: KindGauge},
	LogicGroups:       {Name: "trimq_logic_groups", Help: "Groups with committed offsets.", Kind: KindGauge},
	LogicConsumers:    {Name: "trimq_logic_consumers", Help: "Consumers of queues.", Kind: KindGauge},
	LogicWaits:        {Name: "trimq_logic_waits", Help: "Parked requests.", Kind: KindGauge},
	LogicProducers:    {Name: "trimq_logic_producers", Help: "Idempotent producers that are remembered.", Kind: KindGauge},
	LogicRejected:     {Name: "trimq_logic_rejected_total", Help: "Inputs refused with an event.", Kind: KindCounter},

	LogicCheckpointLSN:  {Name: "trimq_logic_checkpoint_lsn", Help: "LSN of the last checkpoint; a restart replays what lies behind it.", Kind: KindGauge},
	LogicReplayNS:       {Name: "trimq_logic_checkpoint_seconds", Help: "How long the last checkpoint took to be made, beside the turns.", Kind: KindGauge, Scale: 1e9},
	LogicReplayFailures: {Name: "trimq_logic_checkpoint_failures_total", Help: "Checkpoints that were not made because the log could not be replayed.", Kind: KindCounter},
	LogicLongestTurnNS:  {Name: "trimq_logic_longest_turn_seconds", Help: "The longest turn of the last 30 to 60 seconds.", Kind: KindGauge, Scale: 1e9},

	LogicSettled:      {Name: "trimq_logic_acked_total", Help: "Messages of queues that are done with.", Kind: KindCounter},
	LogicReturned:     {Name: "trimq_logic_returned_total", Help: "Messages of queues that came back undone.", Kind: KindCounter},
	LogicRecalled:     {Name: "trimq_logic_recalled_total", Help: "Messages taken back from consumers that held them for too long.", Kind: KindCounter},
	LogicDied:         {Name: "trimq_logic_died_total", Help: "Messages of queues that were rejected, expired, pushed out or returned too often.", Kind: KindCounter},
	LogicDeadLettered: {Name: "trimq_logic_dead_lettered_total", Help: "Dead messages of which it was decided where they go.", Kind: KindCounter},
	LogicReleased:     {Name: "trimq_logic_released_total", Help: "Delayed and transactional batches that became visible.", Kind: KindCounter},
	LogicTxnChecks:    {Name: "trimq_logic_transaction_checks_total", Help: "Questions to producer groups about transactions.", Kind: KindCounter},
	LogicTxnsGivenUp:  {Name: "trimq_logic_transactions_given_up_total", Help: "Transactions rolled back without a decision.", Kind: KindCounter},
	LogicExpelled:     {Name: "trimq_logic_group_members_expelled_total", Help: "Members of consumer groups that were silent, or did not give up their partitions.", Kind: KindCounter},
	LogicPulls:        {Name: "trimq_logic_pulls", Help: "Parked pulls.", Kind: KindGauge},
	LogicDelayed:      {Name: "trimq_logic_delayed", Help: "Delayed batches that wait.", Kind: KindGauge},
	LogicTxns:         {Name: "trimq_logic_transactions", Help: "Open transactions.", Kind: KindGauge},
}
