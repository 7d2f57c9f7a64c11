package core

import "github.com/trimq/trimq/protocol/ipc"

// redeemed is what a commit has settled that is answered during a resync: connsrv, which has not read
// the answer when it tells what is in hand, tells of that as well. It would stay in hand, should a seek
// have brought it back.
type redeemed struct {
	subID
	index uint64
	r     ipc.Range
}

func (c *Core) redeem(m *ipc.EndTxn) {
	if !m.Commit || c.resynced {
		return
	}
	for _, v := range m.Verdicts {
		c.redeemed = append(c.redeemed, redeemed{subID{m.Conn, v.Sub}, v.Index, v.Range})
	}
}

// unredeemed calls f for the parts of a range that no commit has settled for a consumer.
func (c *Core) unredeemed(id subID, index uint64, r ipc.Range, f func(r ipc.Range)) {
	for r.Count > 0 {
		next, end := r.First+uint64(r.Count), r.First
		for _, d := range c.redeemed {
			if d.subID != id || d.index != index {
				continue
			}
			switch first := d.r.First; {
			case first <= r.First:
				end = max(end, min(next, first+uint64(d.r.Count)))
			default:
				next = min(next, first)
			}
		}
		if end == r.First {
			f(ipc.Range{First: r.First, Count: uint32(next - r.First)})
			end = next
		}
		r.Count -= uint32(end - r.First)
		r.First = end
	}
}
