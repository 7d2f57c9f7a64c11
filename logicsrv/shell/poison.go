package shell

import (
	"fmt"

	"github.com/trimq/trimq/logicsrv/core"
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/shmqueue"
)

// maxDeaths is how often the core may die of an input before the input is given up.
const maxDeaths = 3

// Parked describes an input that was given up. Payload aliases ring 12345.
type Parked struct {
	Nonce, Pos uint64
	Type       ipc.Type
	Payload    []byte
}

// stepInput lets the core decide one input.
//
// A panic of the core is ours, not the client's: the process dies of it and its successor
// meets the same input again. The count of such deaths is kept in ring 12345's words, which
// outlive us; an input that reaches maxDeaths is refused instead of being decided. The refusal
// is journaled like any other, so it stays refused, and the words are free for the next one.
func (s *Shell) stepInput(r *shmqueue.Record) {
	in := core.Input{Pos: r.Pos, PayloadPos: r.PayloadPos, Type: ipc.Type(r.Type), Payload: r.Payload}
	if s.known != nil {
		if failpoint.Broken("read-from-position") && r.Pos < s.knownEnd {
			return
		}
		if r.Pos < s.knownEnd {
			in.Known, in.Passed = s.known[r.Pos], true
			s.redone = s.redone || in.Known != nil
		} else {
			s.known = nil
		}
	}
	if in.Known == nil && s.deaths(r.Pos) >= maxDeaths {
		in.Refuse = fmt.Sprintf("the broker failed %d times on this request", maxDeaths)
		s.n.parked++
		if s.opt.Log != nil {
			s.opt.Log.Error("input given up", "pos", r.Pos, "type", r.Type, "bytes", len(r.Payload))
		}
		if s.opt.Park != nil {
			s.opt.Park(Parked{Nonce: s.opt.RingA.Nonce(), Pos: r.Pos, Type: in.Type, Payload: r.Payload})
		}
	}
	s.decide(&in)
}

// decide is core.Step with a note of the input that the core died of.
func (s *Shell) decide(in *core.Input) {
	done := false
	defer func() {
		if !done {
			s.noteDeath(in.Pos)
		}
	}()
	s.step(s.now, *in)
	done = true
}

// deaths is how often the core has died of the input at pos. The word holds pos + 1.
func (s *Shell) deaths(pos uint64) uint64 {
	if s.opt.RingA.Word(shmqueue.WordPoisonPos).Load() != pos+1 {
		return 0
	}
	return s.opt.RingA.Word(shmqueue.WordPoisonCount).Load()
}

func (s *Shell) noteDeath(pos uint64) {
	n := s.deaths(pos) + 1
	s.opt.RingA.Word(shmqueue.WordPoisonCount).Store(0)
	s.opt.RingA.Word(shmqueue.WordPoisonPos).Store(pos + 1)
	failpoint.Hit("logic.poison")
	s.opt.RingA.Word(shmqueue.WordPoisonCount).Store(n)
}
