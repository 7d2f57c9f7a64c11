package assign

import "slices"

// inTurn deals all partitions of all topics out like cards, one to each member in turn; a member
// that does not subscribe to the topic is passed over.
func inTurn(p *Problem) [][]uint64 {
	out := make(shares, len(p.Members))
	turn := 0 // the member whose turn it is, if it subscribes
	for t, members := range p.subscribers() {
		if len(members) == 0 {
			continue
		}
		for _, id := range p.Topics[t].Partitions {
			i, _ := slices.BinarySearch(members, turn)
			if i == len(members) { // round
				i = 0
			}
			m := members[i]
			out[m] = append(out[m], id)
			turn = m + 1
		}
	}
	return out.done()
}
