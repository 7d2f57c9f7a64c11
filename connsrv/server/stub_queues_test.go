package server

import (
	"slices"

	"github.com/trimq/trimq/protocol/ipc"
)

// stubQueues is what the stub knows of pulls and transactions: it parks the one, to be answered by
// the test or from the queue's front, and believes the other.
type stubQueues struct {
	filter  ipc.Filter // of all queues
	pulls   []ipc.Pull
	pulled  map[uint64]uint64 // how far pulls have got, by queue
	members []ipc.TxnMember
	ended   []ipc.EndTxn
	keep    bool // EndTxns, unanswered
	extends []ipc.Extend
}

func (s *stubLogic) takeQueue(typ ipc.Type, b []byte) {
	switch typ {
	case ipc.TypePull:
		m, err := ipc.DecodePull(b)
		must(s.t, err)
		if !slices.ContainsFunc(s.pulls, func(p ipc.Pull) bool { return p.Req == m.Req }) {
			s.pulls = append(s.pulls, m)
		}
		s.answerPulls()
	case ipc.TypePullEnd:
		m, err := ipc.DecodePullEnd(b)
		must(s.t, err)
		for i := range s.pulls {
			s.pulls[i].Wait = s.pulls[i].Wait && s.pulls[i].Req != m.Target
		}
		s.answerPulls()
	case ipc.TypeExtend:
		m, err := ipc.DecodeExtend(b)
		must(s.t, err)
		s.extends = append(s.extends, m)
		s.put(ipc.TypeExtended, (&ipc.Done{Head: m.Head}).Append(nil))
	case ipc.TypeBeginTxn:
		m, err := ipc.DecodeBeginTxn(b)
		must(s.t, err)
		s.put(ipc.TypeTxnBegun, (&ipc.TxnBegun{Head: m.Head, Txn: 77}).Append(nil))
	case ipc.TypeEndTxn:
		m, err := ipc.DecodeEndTxn(b)
		must(s.t, err)
		s.ended = append(s.ended, m)
		if !s.keep {
			s.put(ipc.TypeTxnEnded, (&ipc.TxnEnded{Head: m.Head, Committed: m.Commit, Queues: 1}).Append(nil))
		}
	case ipc.TypeTxnMember:
		m, err := ipc.DecodeTxnMember(b)
		must(s.t, err)
		s.members = append(s.members, m)
		if m.Req != 0 {
			s.put(ipc.TypeAcked, (&ipc.Done{Head: m.Head}).Append(nil))
		}
	default:
		s.t.Errorf("the stub does not know records of type %d", typ)
	}
}

// answerPulls gives what each may have, from where pulls have got to; nothing, if it does not wait.
func (s *stubLogic) answerPulls() {
	if s.pulled == nil {
		s.pulled = map[uint64]uint64{}
	}
	kept := s.pulls[:0]
	for _, p := range s.pulls {
		ix := s.indexes[p.Queue]
		m := ipc.Pulled{Head: p.Head, Queue: p.Queue, Filter: s.filter}
		if n := min(ix.next-s.pulled[p.Queue], uint64(p.Max)); n > 0 {
			m.Runs = []ipc.PulledRun{{Index: p.Queue, First: s.pulled[p.Queue], Count: uint32(n)}}
			s.pulled[p.Queue] += n
			if p.InvisibleMS > 0 {
				m.Lease, m.UntilMS = 5, 6
			}
		} else if p.Wait {
			kept = append(kept, p)
			continue
		}
		s.put(ipc.TypePulled, m.Append(nil))
	}
	s.pulls = kept
}

// toSub sends a record to a connection that consumes.
func (s *stubLogic) toSub(typ ipc.Type, encode func(h ipc.Head) []byte) {
	for k, sub := range s.subs {
		s.put(typ, encode(ipc.Head{Epoch: sub.Epoch, Conn: k[0]}))
		return
	}
	s.t.Error("nobody consumes")
}
