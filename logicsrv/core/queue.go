package core

// The whole of a queue, but for its name, is a few numbers and two sets, in hard state, and what
// consumers hold, in soft state. A queue of ten million messages costs as much as an empty one,
// as long as they are acknowledged from the front; what is acknowledged out of order costs a bit
// each. That is what makes a restart fast: there is nothing to load.

// queue is the cursor of a work queue over its index. No message has an object: what is
// acknowledged, in hand and tried before are sets of offsets.
//
//	0 ……… floor ……………………… visible ……… next
//	acked   │ acked, in hand, ready │ not yet │
//
// Invariant: floor <= next; no member of acked is below floor or equal to it; every member
// of acked is below next.
type queue struct {
	// Hard state.

	name     string
	durable  bool
	floor    uint64    // all below is done with
	acked    offsetSet // done with, above the floor
	attempts attemptRuns
	dest     *destination

	// Soft state, see consumer.go.

	inHand    offsetSet
	scan      uint64 // everything in [floor, scan) is acked or in hand
	consumers []*consumer
	turn      int  // whose turn it is
	dirty     bool // listed in Core.dirty
	trimmed   uint64
}

// depth is how many messages are not done with.
func (q *queue) depth(next uint64) uint64 { return next - q.floor - q.acked.n }

// ack takes [first, next) out of the queue for good. REQUIRES: next is not beyond the
// index's next, and the set can hold it.
func (q *queue) ack(first, next uint64) {
	first = max(first, q.floor)
	if first >= next {
		return // acknowledged before
	}
	q.attempts = q.attempts.drop(first, next)
	if first > q.floor {
		q.acked.add(first, next)
		return
	}
	// The range touches the floor: the floor moves over it, and over what was acknowledged
	// behind it before. In a queue that is worked off in order the set is never touched.
	q.floor = q.acked.nextClear(next)
	q.acked.remove(0, q.floor)
}

// pending yields the parts of [first, next) that are not acknowledged.
func (q *queue) pending(first, next uint64, yield func(first, next uint64)) {
	for at := q.acked.nextClear(max(first, q.floor)); at < next; {
		end := min(q.acked.nextSet(at), next)
		yield(at, end)
		at = q.acked.nextClear(end)
	}
}

// nextReady finds the first message in [from, limit) that is neither done with nor in
// hand, and the run of at most max such messages with equal attempts that starts there.
func (q *queue) nextReady(from, limit, max uint64) (first, next uint64, attempts uint16, ok bool) {
	first = from
	if first < q.floor {
		first = q.floor
	}
	// The first offset that is in neither set: what is free in one may be taken in the other,
	// so look in turn until both agree. Full chunks are skipped, and scan remembers how far.
	for {
		free := q.inHand.nextClear(q.acked.nextClear(first))
		if free == first {
			break
		}
		first = free
	}
	if first >= limit {
		return first, first, 0, false
	}
	attempts, next = q.attempts.at(first)
	next = min(next, limit, first+max, q.acked.nextSet(first), q.inHand.nextSet(first))
	return first, next, attempts, true
}

// ready is how many messages below visible wait for a consumer.
func (q *queue) ready(visible uint64) uint64 {
	if visible <= q.floor {
		return 0
	}
	taken := q.acked.n + q.inHand.n
	if taken >= visible-q.floor {
		return 0
	}
	return visible - q.floor - taken
}
