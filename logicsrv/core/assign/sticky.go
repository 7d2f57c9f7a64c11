package assign

import (
	"cmp"
	"slices"
)

// Sticky: everybody keeps what it has; what nobody has goes to who has least; and then partitions
// are handed over, as few as balance demands.
//
// Balance, for any mixture of subscriptions: a member can give a partition to any other subscriber
// of its topic, which can give one of another topic further on. A chain of such hand-overs from a
// member to one that has two less, or lesser still, brings both closer together. When there is no
// such chain left, the loads are as even as they can be. Always the heaviest member gives, and the
// lightest that it can reach gets; chains are taken by the shortest way.
//
// What was given along the way may turn out to have been needless: undo.go takes it back.

// none is the owner of a partition that nobody has.
const none = -1

// board is where partitions are moved about. Partitions are numbered through, topic by topic.
type board struct {
	p           *Problem
	subscribers [][]int // of each topic
	topic       []int   // of each partition
	id          []uint64
	had         []int   // who had it, and still subscribes to its topic; or none
	now         []int   // who has it now, or none
	held        [][]int // the partitions of each member
	load        []int   // how many that are

	search
}

// sticky shares out with as few moves as it can.
func sticky(p *Problem) [][]uint64 {
	b := newBoard(p)
	b.fill()
	b.level()
	b.undo()
	out := make(shares, len(p.Members))
	for m, held := range b.held {
		out[m] = make([]uint64, len(held))
		for i, part := range held {
			out[m][i] = b.id[part]
		}
	}
	return out.done()
}

// newBoard sets the partitions up with those that have them.
func newBoard(p *Problem) *board {
	b := &board{p: p, subscribers: p.subscribers(), held: make([][]int, len(p.Members)), load: make([]int, len(p.Members))}
	n := partitions(p, b.subscribers)
	b.topic, b.id = make([]int, 0, n), make([]uint64, 0, n)
	number := make(map[uint64]int, n)
	for t := range p.Topics {
		if len(b.subscribers[t]) == 0 {
			continue
		}
		for _, id := range p.Topics[t].Partitions {
			number[id] = len(b.id)
			b.topic, b.id = append(b.topic, t), append(b.id, id)
		}
	}
	b.had = slices.Repeat([]int{none}, n)
	b.now = slices.Repeat([]int{none}, n)
	for m := range p.Members {
		for _, id := range p.Members[m].Has {
			part, ok := number[id]
			if ok && b.now[part] == none && b.subscribes(m, b.topic[part]) {
				b.had[part] = m
				b.give(part, m)
			}
		}
	}
	b.search = newSearch(len(p.Members), len(p.Topics))
	return b
}

// subscribes tells whether a member wants a topic.
func (b *board) subscribes(m, topic int) bool {
	_, ok := slices.BinarySearch(b.p.Members[m].Topics, topic)
	return ok
}

// give makes m the owner of a partition, whoever was it before.
func (b *board) give(part, m int) {
	if from := b.now[part]; from != none {
		held := b.held[from]
		i := slices.Index(held, part)
		held[i] = held[len(held)-1]
		b.held[from] = held[:len(held)-1]
		b.load[from]--
	}
	b.now[part] = m
	b.held[m] = append(b.held[m], part)
	b.load[m]++
}

// fill gives what nobody has to the subscriber that has least; of equal ones to the one that has
// least of that topic. Topics with few subscribers come first: they have less of a choice.
func (b *board) fill() {
	first := 0 // partition 0 of the topic
	var open []span
	for part := 0; part < len(b.id); part = first {
		t := b.topic[part]
		first = part + len(b.p.Topics[t].Partitions)
		open = append(open, span{part, first})
	}
	slices.SortStableFunc(open, func(x, y span) int {
		return cmp.Compare(len(b.subscribers[b.topic[x.first]]), len(b.subscribers[b.topic[y.first]]))
	})
	of := make([]int, len(b.load)) // partitions of the topic that a member has
	for _, s := range open {
		b.fillTopic(s, of)
	}
}

// span is the partitions [first, next) of one topic.
type span struct{ first, next int }

// fillTopic is fill for one topic. of is for counting; it is zero before and after.
func (b *board) fillTopic(s span, of []int) {
	missing := false
	for part := s.first; part < s.next; part++ {
		if m := b.now[part]; m != none {
			of[m]++
		} else {
			missing = true
		}
	}
	members := b.subscribers[b.topic[s.first]]
	if missing {
		q := slices.Clone(members)
		less := func(x, y int) bool {
			return cmp.Or(cmp.Compare(b.load[x], b.load[y]), cmp.Compare(of[x], of[y]), cmp.Compare(x, y)) < 0
		}
		for i := len(q)/2 - 1; i >= 0; i-- {
			siftDown(q, i, less)
		}
		for part := s.first; part < s.next; part++ {
			if b.now[part] == none {
				b.give(part, q[0])
				of[q[0]]++
				siftDown(q, 0, less)
			}
		}
	}
	for _, m := range members {
		of[m] = 0
	}
}

// siftDown restores the order of a heap whose element i has become larger.
func siftDown(q []int, i int, less func(x, y int) bool) {
	for {
		child := 2*i + 1
		if child >= len(q) {
			return
		}
		if child+1 < len(q) && less(q[child+1], q[child]) {
			child++
		}
		if !less(q[child], q[i]) {
			return
		}
		q[i], q[child] = q[child], q[i]
		i = child
	}
}

// level hands partitions over until no chain brings two members closer together. A member from
// which none does is settled for good: later chains end with members that were as light as any
// that it could reach.
func (b *board) level() {
	settled := make([]bool, len(b.load))
	for {
		from := none
		least := int(^uint(0) >> 1)
		for m, load := range b.load {
			least = min(least, load)
			if !settled[m] && (from == none || load > b.load[from]) {
				from = m
			}
		}
		if from == none || b.load[from] <= least+1 {
			return
		}
		to := b.reach(from)
		if b.load[to] > b.load[from]-2 {
			settled[from] = true
			continue
		}
		b.shift(from, to)
	}
}
