package shell

import (
	"fmt"

	"github.com/trimq/trimq/logicsrv/core"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/shmqueue"
)

// counts are this process's; publishCounters adds what is new to the shared ones.
type counts struct {
	inputs, inputBytes uint64
	turns, events      uint64
	entries, outputs   uint64
	checkpoints        uint64
	checkpointBytes    uint64 // of the last one
	replayMS           uint64 // that it took to make
	replayFailures     uint64
	parked             uint64
	malformed          uint64
	deliveries         uint64
	responseFull       uint64
}

// publishCounters shows the counts in the metrics segment. Nothing in the message path touches
// shared counters: once per loop is enough.
func (s *Shell) publishCounters() {
	c := s.opt.Counters
	if c == nil {
		return
	}
	n := s.n
	s.n = counts{}
	add := func(id shmqueue.CounterID, v uint64) {
		if v != 0 {
			c.Add(id, v)
		}
	}
	add(shmqueue.LogicInputs, n.inputs)
	add(shmqueue.LogicInputBytes, n.inputBytes)
	add(shmqueue.LogicTurns, n.turns)
	add(shmqueue.LogicEvents, n.events)
	add(shmqueue.LogicEntries, n.entries)
	add(shmqueue.LogicReplies, n.outputs)
	add(shmqueue.LogicCheckpoints, n.checkpoints)
	add(shmqueue.LogicReplayFailures, n.replayFailures)
	add(shmqueue.LogicParked, n.parked)
	add(shmqueue.LogicMalformed, n.malformed)
	add(shmqueue.LogicDeliveries, n.deliveries)
	add(shmqueue.LogicResponseFull, n.responseFull)
	if n.checkpoints != 0 {
		c.Set(shmqueue.LogicCheckpointed, n.checkpointBytes)
		c.Set(shmqueue.LogicCheckpointLSN, s.checkpoint.lsn)
	}
	if n.replayMS != 0 {
		c.Set(shmqueue.LogicReplayNS, n.replayMS*1e6)
	}
	if longest, changed := s.longest.show(); changed {
		c.Set(shmqueue.LogicLongestTurnNS, uint64(longest))
	}
	if n.inputs|n.outputs != 0 {
		c.Set(shmqueue.LogicLSN, s.lastLSN)
		c.Set(shmqueue.LogicGateWaiting, uint64(s.gate.count))
		c.Set(shmqueue.LogicUnreleased, uint64(s.turns.len()))
		c.Set(shmqueue.LogicTerm, s.rec.Term)
		s.publishStats(c)
	}
}

// publishStats shows what the core holds now and, of what it has counted, what is new.
func (s *Shell) publishStats(c *shmqueue.Counters) {
	now, before := s.core.Stats(), s.shown
	s.shown = now
	c.Add(shmqueue.LogicDuplicates, now.Duplicates-before.Duplicates)
	c.Add(shmqueue.LogicRejected, now.Rejected-before.Rejected)
	c.Add(shmqueue.LogicSettled, now.Acked-before.Acked)
	c.Add(shmqueue.LogicReturned, now.Returned-before.Returned)
	c.Add(shmqueue.LogicRecalled, now.Recalled-before.Recalled)
	c.Add(shmqueue.LogicDied, now.Died-before.Died)
	c.Add(shmqueue.LogicDeadLettered, now.DeadLettered-before.DeadLettered)
	c.Add(shmqueue.LogicReleased, now.Released-before.Released)
	c.Add(shmqueue.LogicTxnChecks, now.TxnChecks-before.TxnChecks)
	c.Add(shmqueue.LogicTxnsGivenUp, now.TxnsGivenUp-before.TxnsGivenUp)
	c.Add(shmqueue.LogicExpelled, now.Expelled-before.Expelled)
	c.Set(shmqueue.LogicPulls, now.Pulls)
	c.Set(shmqueue.LogicDelayed, now.Delayed)
	c.Set(shmqueue.LogicTxns, now.Txns)
	c.Set(shmqueue.LogicTopics, now.Topics)
	c.Set(shmqueue.LogicPartitions, now.Partitions)
	c.Set(shmqueue.LogicQueues, now.Queues)
	c.Set(shmqueue.LogicExchanges, now.Exchanges)
	c.Set(shmqueue.LogicBindings, now.Bindings)
	c.Set(shmqueue.LogicGroups, now.Groups)
	c.Set(shmqueue.LogicConsumers, now.Consumers)
	c.Set(shmqueue.LogicWaits, now.Waits)
	c.Set(shmqueue.LogicProducers, now.Producers)
}

// countOutput counts what the metrics tell apart.
func (n *counts) countOutput(o *core.Output) {
	switch o.Type {
	case ipc.TypeDeliver:
		if m, err := ipc.DecodeDeliver(o.Record); err == nil {
			n.deliveries += uint64(m.Count)
		}
	case ipc.TypeError:
		if m, err := ipc.DecodeError(o.Record); err == nil && errcode.Code(m.Code) == errcode.Malformed {
			n.malformed++
		}
	}
}

// started shows that this logicsrv is running, and how long it took to get there.
func (s *Shell) started() {
	r := &s.rec.Recovery
	if c := s.opt.Counters; c != nil {
		c.Add(shmqueue.LogicStarts, 1)
		c.Set(shmqueue.LogicRecoveryNS, uint64(r.WaitMS+r.LoadMS+r.ReplayMS+r.SettleMS)*1e6)
		c.Set(shmqueue.LogicTerm, r.Term)
		c.Set(shmqueue.LogicLSN, r.LastLSN)
		c.Set(shmqueue.LogicCheckpointLSN, r.CheckpointLSN)
		s.publishStats(c)
	}
	if s.opt.Log != nil {
		s.opt.Log.Info("recovered", "term", r.Term, "checkpoint_lsn", r.CheckpointLSN, "lsn", r.LastLSN, "entries", r.Entries,
			"known", r.Known, "head", r.Head, "pos", r.Position,
			"wait_ms", r.WaitMS, "load_ms", r.LoadMS, "replay_ms", r.ReplayMS, "settle_ms", r.SettleMS)
		if r.CheckpointErr != nil {
			s.opt.Log.Warn("a newer checkpoint was passed over", "err", r.CheckpointErr)
		}
	}
	if s.opt.Running != nil {
		s.opt.Running(*r)
	}
}

// Standing describes in one line where everything stands.
func (s *Shell) Standing() string {
	return fmt.Sprintf("phase=%d term=%d lsn=%d cursors=%v read=%d head=%d tail=%d held=%d held_bytes=%d turns=%d entry_waits=%d checkpoint_lsn=%d replaying=%t parts=%d/%d",
		s.phase, s.rec.Term, s.lastLSN, s.cur, s.readPos, s.opt.RingA.Head(), s.opt.RingA.Tail(),
		s.gate.count, s.gate.bytes, s.turns.len(), s.entryLSN, s.checkpoint.lsn,
		s.checkpoint.ordered, s.checkpoint.out.part, s.checkpoint.out.total)
}

// logState writes it to the log, for signal 3.
func (s *Shell) logState() {
	if s.opt.Log != nil {
		s.opt.Log.Info("state", "standing", s.Standing())
	}
}
