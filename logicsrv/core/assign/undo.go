package assign

// What a chain has moved may be needless once another chain has run. Every partition that went
// from one member to another leads back from the one to the other; where such steps lead round
// in a circle, nobody's load changes if all are undone, and where they lead from a member to one
// that has one less, the two change places, and the balance is the same. So undo looks for such
// paths until there are none.

// undo takes needless moves back.
func (b *board) undo() {
	for b.undoOne() {
	}
}

// undoOne takes one path of moves back; false: none is needless.
func (b *board) undoOne() bool {
	for m := range b.held {
		if end := b.wayBack(m); end != none {
			b.takeBack(m, end)
			return true
		}
	}
	return false
}

// moved tells whether a partition has gone from a member that still wants it.
func (b *board) moved(part int) bool { return b.had[part] != none && b.had[part] != b.now[part] }

// wayBack finds the member at which a path of moves that can be undone ends, m itself for a
// circle; none where there is no such path. by then holds the partition that leads to each member.
func (b *board) wayBack(m int) int {
	s := &b.search
	s.round++
	s.queue = append(s.queue[:0], m)
	for i := 0; i < len(s.queue); i++ {
		x := s.queue[i]
		for _, part := range b.held[x] {
			home := b.had[part]
			if !b.moved(part) || s.member[home] == s.round {
				continue
			}
			s.member[home], s.by[home], s.from[home] = s.round, part, x
			if home == m || b.load[home] < b.load[m] {
				return home
			}
			s.queue = append(s.queue, home)
		}
	}
	return none
}

// takeBack brings the partitions of a path home.
func (b *board) takeBack(m, end int) {
	at := end
	for {
		part, from := b.by[at], b.from[at]
		b.give(part, at)
		if at = from; at == m {
			return
		}
	}
}
