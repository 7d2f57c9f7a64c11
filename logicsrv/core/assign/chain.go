package assign

// Chains of hand-overs. From a member a partition can go to any subscriber of its topic, so each
// topic need be looked at once in a search, from the first member reached that has some of it.

// search is the memory of a breadth-first search, used again by the next one.
type search struct {
	round  int   // numbers the searches, so that nothing need be cleared
	member []int // the last search that has reached each member,
	topic  []int // and looked at each topic
	by     []int // the topic by which it reached the member
	from   []int // and the member from which
	queue  []int
}

func newSearch(members, topics int) search {
	return search{
		member: make([]int, members), topic: make([]int, topics),
		by: make([]int, members), from: make([]int, members), queue: make([]int, 0, members),
	}
}

// reach finds the lightest member that a chain from m leads to, by the shortest chain; m itself
// where it leads to none that is lighter.
func (b *board) reach(m int) int {
	s := &b.search
	s.round++
	s.member[m] = s.round
	s.queue = append(s.queue[:0], m)
	best := m
	for i := 0; i < len(s.queue); i++ {
		x := s.queue[i]
		for _, part := range b.held[x] {
			t := b.topic[part]
			if s.topic[t] == s.round {
				continue
			}
			s.topic[t] = s.round
			for _, y := range b.subscribers[t] {
				if s.member[y] == s.round {
					continue
				}
				s.member[y], s.by[y], s.from[y] = s.round, t, x
				s.queue = append(s.queue, y)
				if b.load[y] < b.load[best] {
					best = y
				}
			}
		}
	}
	return best
}

// shift moves one partition along each link of the chain that reach has found.
func (b *board) shift(from, to int) {
	for at := to; at != from; at = b.from[at] {
		b.give(b.spare(b.from[at], b.by[at]), at)
	}
}

// spare chooses which of a member's partitions of a topic goes: one that it did not have before,
// if there is one; of these the last.
func (b *board) spare(m, topic int) int {
	best := none
	for _, part := range b.held[m] {
		if b.topic[part] != topic {
			continue
		}
		if best == none {
			best = part
			continue
		}
		moved, bestMoved := b.had[part] != m, b.had[best] != m
		if moved != bestMoved {
			if moved {
				best = part
			}
		} else if part > best {
			best = part
		}
	}
	return best
}
