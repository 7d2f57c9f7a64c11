package shell

import (
	"github.com/trimq/trimq/logicsrv/core"
	"github.com/trimq/trimq/protocol/journal"
)

// Turn is what a turn took in, decided and is about to tell. All of it is valid until Turned
// returns.
type Turn struct {
	Term            uint64
	Nonce           uint64 // of ring 12345
	LSN             uint64 // of the last entry before this turn's
	NowMS           int64
	Written, Synced uint64       // the cursors that the core has been told of
	Inputs          []core.Input // in the order of the ring; Pos, Type and Payload
	Entry           *journal.Entry
	Outputs         []core.Output
}

// showTurn shows Turned the turn that has just ended.
func (s *Shell) showTurn(entry *journal.Entry, outputs []core.Output) {
	s.opt.Turned(&Turn{
		Term: s.rec.Term, Nonce: s.opt.RingA.Nonce(), LSN: s.lastLSN, NowMS: s.now,
		Written: s.told[0], Synced: s.told[1], Inputs: s.seen, Entry: entry, Outputs: outputs,
	})
	s.seen = s.seen[:0]
}
