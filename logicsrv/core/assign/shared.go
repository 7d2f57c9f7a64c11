package assign

// Shared is for share groups, in which several members may have a partition. Where there are no more
// members than partitions each partition goes to one of them, else each member gets one; so nobody is
// idle, and every partition is worked off. It need not be sticky: nothing is handed over by who loses
// a partition.
func Shared(p *Problem) [][]uint64 {
	s := make(shares, len(p.Members))
	for t, members := range p.subscribers() {
		ids := p.Topics[t].Partitions
		if len(members) == 0 || len(ids) == 0 {
			continue
		}
		for i := range max(len(members), len(ids)) {
			m := members[i%len(members)]
			s[m] = append(s[m], ids[i%len(ids)])
		}
	}
	return s.done()
}
