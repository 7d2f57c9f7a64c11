package shell

import (
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/invariant"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// maxPart is the most of a checkpoint that travels in one record.
const maxPart = 256 << 10

// checkpoint knows when the next one is due and sends the one that is under way.
type checkpoint struct {
	lsn     uint64 // state of the last one
	bytes   uint64 // of inputs since then
	events  uint64 // since then
	sinceMS int64
	wanted  bool

	blob        []byte // of the one under way
	sent        int
	part, parts uint32
	resultsFrom uint64
	record      []byte
}

func (c *checkpoint) begin(lsn uint64, now int64) { c.lsn, c.sinceMS = lsn, now }

// count adds what one entry leaves to be replayed.
func (c *checkpoint) count(events int, inputBytes int) {
	c.bytes += uint64(inputBytes)
	c.events += uint64(events)
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
	return c.wanted || c.bytes >= lim.CheckpointBytes || c.events >= lim.CheckpointEvents || now-c.sinceMS >= lim.CheckpointMS
}

// stepCheckpoint starts a checkpoint that is due, or sends the next part of the one under way.
// Its parts follow the entry of its LSN in ring 65432, so persistsrv has appended that first.
func (s *Shell) stepCheckpoint() bool {
	c := &s.checkpoint
	if s.entryLSN != 0 {
		return false
	}
	if l := s.reload.Load(); l != nil {
		s.reload.CompareAndSwap(l, nil)
		s.opt.Limits.CheckpointLimits = l.orDefault()
	}
	if c.parts == 0 {
		if s.lastLSN == c.lsn {
			c.sinceMS, c.wanted = s.now, false
			return false
		}
		if !c.due(&s.opt.Limits.CheckpointLimits, s.now) {
			return false
		}
		s.beginCheckpoint()
	}
	size := min(s.partSize(), len(c.blob)-c.sent)
	m := ipc.CheckpointPart{LSN: c.lsn, ResultsFrom: c.resultsFrom, Part: c.part, Parts: c.parts, Bytes: c.blob[c.sent : c.sent+size]}
	c.record = m.Append(c.record[:0])
	if !s.put(s.logOut, uint16(ipc.TypeCheckpoint), c.record) {
		return false
	}
	failpoint.Hit("logic.checkpoint.part")
	s.ringLog = true
	c.sent += size
	if c.part++; c.part == c.parts {
		c.parts = 0
		s.n.checkpoints++
	}
	return true
}

func (s *Shell) beginCheckpoint() {
	c := &s.checkpoint
	c.blob = s.core.Checkpoint(c.blob[:0])
	invariant.Check(len(c.blob) > 0, "empty checkpoint at lsn=%d", s.lastLSN)
	c.lsn, c.resultsFrom = s.lastLSN, s.resultsFrom()
	c.bytes, c.events, c.sinceMS, c.wanted = 0, 0, s.now, false
	c.sent, c.part = 0, 0
	c.parts = uint32((len(c.blob) + s.partSize() - 1) / s.partSize())
	failpoint.Hit("logic.checkpoint.begin")
}

func (s *Shell) partSize() int { return min(maxPart, s.opt.RingC.MaxRecord()/2) }

// resultsFrom is the first entry that may bear the outcome of an input still in ring 12345.
func (s *Shell) resultsFrom() uint64 {
	if s.opt.RingA.Head() < s.knownEnd && s.rec.knownFrom <= s.lastLSN && !failpoint.Broken("results-of-own-only") {
		return s.rec.knownFrom // our predecessor's, answered again or about to be
	}
	for i := s.turns.first; i < len(s.turns.items); i++ {
		if lsn := s.turns.items[i].lsn; lsn != 0 {
			return lsn
		}
	}
	return s.lastLSN + 1
}

// SetCheckpointLimits changes them while the shell runs. Safe from any goroutine.
func (s *Shell) SetCheckpointLimits(l CheckpointLimits) { s.reload.Store(&l) }
