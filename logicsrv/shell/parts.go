package shell

import (
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/ipc"
)

const (
	// maxPart is the most of a checkpoint that travels in one record: what is copied in one turn.
	maxPart = 256 << 10
	// partsUnderWay is how many parts may lie in ring 65432, so that most of it stays free for
	// entries, however large the checkpoint is.
	partsUnderWay = 4
)

// parts is a checkpoint on its way through ring 65432.
type parts struct {
	blob        []byte
	sent        int
	part, total uint32 // total 0: none is on its way
	resultsFrom uint64
	ends        [partsUnderWay]uint64 // in ring 65432, of the latest parts
	head        []byte
}

// beginSending begins to send the state at lsn.
func (s *Shell) beginSending(lsn uint64, blob []byte) {
	size := s.partSize()
	s.checkpoint.lsn = lsn
	s.checkpoint.out = parts{
		blob: blob, total: uint32((len(blob) + size - 1) / size),
		resultsFrom: s.resultsFrom(), head: s.checkpoint.out.head,
	}
	failpoint.Hit("logic.checkpoint.begin")
}

func (s *Shell) partSize() int { return min(maxPart, s.opt.RingC.MaxRecord()/2) }

// sendPart puts the next part into ring 65432: one in a turn, and none before the entry that
// waits for room.
func (s *Shell) sendPart() bool {
	c, p := &s.checkpoint, &s.checkpoint.out
	if s.entryLSN != 0 || !s.partMayFollow() {
		return false
	}
	piece := p.blob[p.sent:min(len(p.blob), p.sent+s.partSize())]
	m := ipc.CheckpointPart{LSN: c.lsn, ResultsFrom: p.resultsFrom, Part: p.part, Parts: p.total}
	p.head = m.Append(p.head[:0])
	if !s.put(s.logOut, uint16(ipc.TypeCheckpoint), p.head, piece) {
		return false
	}
	failpoint.Hit("logic.checkpoint.part")
	s.ringLog = true
	p.ends[p.part%partsUnderWay] = s.opt.RingC.Tail()
	p.sent += len(piece)
	if p.part++; p.part == p.total {
		s.n.checkpoints++
		s.n.checkpointBytes = uint64(len(p.blob))
		c.spare = p.blob
		c.out = parts{head: p.head}
	}
	return true
}

// partMayFollow tells whether few enough parts are still in ring 65432. If not, persistsrv rings
// once it has released some.
func (s *Shell) partMayFollow() bool {
	p := &s.checkpoint.out
	end := p.ends[p.part%partsUnderWay]
	if s.opt.RingC.Head() >= end {
		return true
	}
	s.logOut.WantSpace()
	return s.opt.RingC.Head() >= end // it may have been released between our look and our wish
}

// resultsFrom is the first entry that may bear the outcome of an input still in ring 12345. Asked
// at any time after the state of a checkpoint, it is right for that checkpoint from then on:
// inputs only ever leave the ring, and one that has no outcome yet will have it in an entry behind
// the state.
func (s *Shell) resultsFrom() uint64 {
	if failpoint.Broken("results-forgotten") {
		return s.lastLSN + 1
	}
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
