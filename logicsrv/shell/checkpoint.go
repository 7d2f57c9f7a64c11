package shell

import (
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/invariant"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// checkpoint knows when the next one is due, has it made beside the loop (replayer.go), and sends
// it (parts.go).
//
// Twice it is made of the live core between two turns, which takes as long as its state is large:
// when the process is about to end, because nobody waits for a turn then and it is the quickest;
// and when the log behind the last checkpoint can again and again not be replayed. The state in
// memory is then the only whole one, and a pause is better than a broker that cannot be started.
type checkpoint struct {
	lsn     uint64 // state of the last one
	bytes   uint64 // of inputs since then
	events  uint64 // since then
	sinceMS int64
	wanted  bool
	live    bool // wanted at once, of the live core

	ordered   bool // the replayer is at work
	orderedMS int64
	restMS    int64  // nothing is ordered before this time
	failures  int    // orders in a row of which nothing came
	why       error  // of the last of them
	spare     []byte // memory for the next blob

	out parts
}

const (
	// maxReplays is how often in a row a replay may fail before the live core is encoded.
	maxReplays = 3
	// replayRetryMS is the time between two of them: persistsrv may be writing files anew.
	replayRetryMS = 1000
)

func (c *checkpoint) begin(lsn uint64, now int64) { c.lsn, c.sinceMS = lsn, now }

// count adds what one entry leaves to be replayed.
func (c *checkpoint) count(events int, inputBytes int) {
	c.bytes += uint64(inputBytes)
	c.events += uint64(events)
}

// restart counts from here on: a checkpoint of the state until now is under way.
func (c *checkpoint) restart(now int64) {
	c.bytes, c.events, c.sinceMS, c.wanted = 0, 0, now, false
}

// countEvents walks over an entry's events.
func countEvents(b []byte) (n int) {
	events := journal.Events(b)
	for _, ok := events.Next(); ok; _, ok = events.Next() {
		n++
	}
	return n
}

func (c *checkpoint) due(lim *CheckpointLimits, now int64) bool {
	return now >= c.restMS &&
		(c.wanted || c.bytes >= lim.CheckpointBytes || c.events >= lim.CheckpointEvents || now-c.sinceMS >= lim.CheckpointMS)
}

// stepCheckpoint does the next thing about a checkpoint, if there is any.
func (s *Shell) stepCheckpoint() bool {
	c := &s.checkpoint
	if l := s.reload.Load(); l != nil {
		s.reload.CompareAndSwap(l, nil)
		s.opt.Limits.CheckpointLimits = l.orDefault()
	}
	switch {
	case c.live:
		return s.encodeLive()
	case c.out.total > 0:
		return s.sendPart()
	case c.ordered:
		return s.takeMade()
	case s.lastLSN == c.lsn:
		c.sinceMS, c.wanted = s.now, false
		return false
	case c.due(&s.opt.Limits.CheckpointLimits, s.now):
		return s.orderCheckpoint()
	}
	return false
}

// orderCheckpoint asks for the state that is written by now. What comes later counts for the next
// one already, so the time that it takes adds to what a restart has to replay, and to no more.
func (s *Shell) orderCheckpoint() bool {
	c := &s.checkpoint
	if c.failures >= maxReplays {
		return s.encodeLive()
	}
	written := s.cur[ipc.LevelPage]
	if written <= c.lsn || !s.logReadable() {
		return false
	}
	s.replay.orders <- order{written, c.spare}
	c.ordered, c.orderedMS, c.spare = true, s.now, nil
	c.restart(s.now)
	failpoint.Hit("logic.checkpoint.order")
	return true
}

// takeMade takes what came of the order, once it is there.
func (s *Shell) takeMade() bool {
	c := &s.checkpoint
	var m made
	select {
	case m = <-s.replay.made:
	default:
		return false
	}
	c.ordered = false
	took := s.now - c.orderedMS
	switch {
	case m.err != nil:
		c.failures, c.why = c.failures+1, m.err
		c.wanted, c.restMS = true, s.now+replayRetryMS
		s.n.replayFailures++
		s.warn("no checkpoint: the log behind the last one could not be replayed", m.err)
		return true
	case m.lsn <= c.lsn: // one of the live core has come before it
		c.spare = m.Blob
		return true
	}
	busy := took
	if m.Processor > 0 { // and not the time that it waited for one
		busy = m.Processor.Milliseconds()
	}
	lim := &s.opt.Limits
	c.failures, c.restMS = 0, c.orderedMS+max(lim.CheckpointGapMS, busy*100/int64(lim.ReplayShare))
	if m.Passed != nil {
		s.warn("a checkpoint was made from an older one, the newest is damaged", m.Passed)
	}
	if s.opt.Log != nil {
		s.opt.Log.Debug("checkpoint made", "lsn", m.lsn, "bytes", len(m.Blob), "took_ms", took, "processor_ms", busy)
	}
	s.n.replayMS = uint64(took)
	s.beginSending(m.lsn, m.Blob)
	return true
}

func (s *Shell) warn(text string, err error) {
	if s.opt.Log != nil {
		s.opt.Log.Warn(text, "err", err)
	}
}

// encodeLive makes a checkpoint of the live core, in place of any that is under way. Its parts
// follow the entry of its LSN in ring 65432, so persistsrv has appended that first.
// REQUIRES: between two turns.
func (s *Shell) encodeLive() bool {
	c := &s.checkpoint
	if s.entryLSN != 0 {
		return false
	}
	if c.failures >= maxReplays {
		s.warn("the loop stands still for a checkpoint of what is in memory", c.why)
	}
	blob := s.core.Checkpoint(c.spare[:0])
	invariant.Check(len(blob) > 0, "empty checkpoint at lsn=%d", s.lastLSN)
	c.live, c.failures, c.spare = false, 0, nil
	c.restart(s.now)
	s.beginSending(s.lastLSN, blob)
	return true
}

// SetCheckpointLimits changes them while the shell runs. Safe from any goroutine.
func (s *Shell) SetCheckpointLimits(l CheckpointLimits) { s.reload.Store(&l) }
