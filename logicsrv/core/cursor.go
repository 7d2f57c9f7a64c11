package core

import (
	"github.com/trimq/trimq/protocol/ipc"
)

// cursor is how far a queue has got in one index. No message has an object: what is
// acknowledged, in somebody's hand, dead and tried before are sets of offsets.
//
//	0 ……… floor ……………………… visible ……… next
//	acked   │ acked, taken, ready   │ not yet │
//
// Invariant: floor <= next; no member of acked is below floor or equal to it; every member
// of acked is below next; what is leased or dead is taken, and not acked.
type cursor struct {
	queue  *queue
	ix     *index
	number uint32 // the priority, or the number of the partition

	// Hard state.

	floor    uint64    // all below is done with
	acked    offsetSet // done with, above the floor
	attempts attemptRuns
	leases   leases    // pulled, and invisible for a time
	dead     graves    // on their way to the dead-letter exchange
	expiry   deadlines // when messages expire; only in a queue in which some do
	sizes    weights   // what messages weigh; only in a queue with a limit of bytes
	ages     ages      // when messages came; only in a queue that keeps them

	// Derived and soft state.

	taken    offsetSet // in consumers' hands, leased or dead: nobody else gets it
	asked    offsetSet // dead, and their notes have been asked for
	ends     dueHeap   // of leases
	scan     uint64    // everything in [floor, scan) is acked or taken
	idle     bool      // nothing is ready: not looked at before touch
	trimmed  uint64
	hidden   []dueRun // have expired, and are not visible yet
	inGraves bool     // listed in Core.graves
	timer    timer
	had      uint64 // the index ended here when the term began
	given    uint64 // connsrv tells that all below was ready before, and given to somebody
}

// depth is how many messages are not done with.
func (k *cursor) depth() uint64 { return k.ix.next - k.floor - k.acked.n }

// settle takes [first, next) out of the queue for good. REQUIRES: next is not beyond the
// index's next, and the set can hold it.
func (k *cursor) settle(first, next uint64) {
	first = max(first, k.floor)
	if first >= next {
		return // done with before
	}
	k.attempts = k.attempts.drop(first, next)
	k.leases.drop(first, next)
	k.dead.drop(first, next)
	if !k.asked.empty() {
		k.asked.remove(first, next) // a seek may bring it back, to die again
	}
	if first > k.floor {
		k.acked.add(first, next)
		return
	}
	// The range touches the floor: the floor moves over it, and over what was acknowledged
	// behind it before. In a queue that is worked off in order the set is never touched.
	k.floor = k.acked.nextClear(next)
	k.acked.remove(0, k.floor)
	k.expiry.dropBelow(k.floor)
	k.sizes.dropBelow(k.floor)
}

// pending yields the parts of [first, next) that are not done with.
func (k *cursor) pending(first, next uint64, yield func(first, next uint64)) {
	for at := k.acked.nextClear(max(first, k.floor)); at < next; {
		end := min(k.acked.nextSet(at), next)
		yield(at, end)
		at = k.acked.nextClear(end)
	}
}

// readyIn yields the parts of [first, next) that are neither done with nor taken, until yield
// returns false.
func (k *cursor) readyIn(first, next uint64, yield func(first, next uint64) bool) {
	for at := max(first, k.floor); ; {
		at = k.nextFree(at)
		if at >= next {
			return
		}
		end := min(next, k.acked.nextSet(at), k.taken.nextSet(at))
		if !yield(at, end) {
			return
		}
		at = end
	}
}

// nextFree is the first offset from at on that is neither done with nor taken. What is free in
// one set may be in the other, so it looks in turn until both agree; full chunks are skipped.
func (k *cursor) nextFree(at uint64) uint64 {
	for {
		free := k.taken.nextClear(k.acked.nextClear(at))
		if free == at {
			return at
		}
		at = free
	}
}

// nextReady finds the first message in [scan, limit) that is ready, and the run of at most most
// such messages with equal attempts that starts there. It remembers how far it has looked.
func (k *cursor) nextReady(limit, most uint64) (first, next uint64, attempts uint16, ok bool) {
	first = k.nextFree(max(k.scan, k.floor))
	if first >= limit {
		k.scan = first
		return first, first, 0, false
	}
	attempts, next = k.attempts.at(first)
	next = min(next, limit, first+most, k.acked.nextSet(first), k.taken.nextSet(first))
	return first, next, attempts, true
}

// limit is up to where messages can be handed out. The sets are bounded, so what lies far above
// the oldest message waits for that. An ack is refused beyond the same border, so nothing can be
// delivered that cannot be acked.
func (k *cursor) limit() uint64 { return min(k.ix.readable(), k.floor+maxSpan/2) }

// ready is how many messages could be handed out.
func (k *cursor) ready() uint64 {
	limit := k.limit()
	if limit <= k.floor {
		return 0
	}
	// A count that is off, for what is taken or acknowledged above the limit, costs fairness alone.
	out := k.acked.n + k.taken.n
	if out >= limit-k.floor {
		return 0
	}
	return limit - k.floor - out
}

// take takes [first, next) out of what is ready.
func (k *cursor) take(first, next uint64) { k.taken.add(first, next) }

// free makes [first, next) ready again, but for what is leased or dead.
func (k *cursor) free(first, next uint64) {
	k.taken.remove(first, next)
	k.leases.within(first, next, k.take)
	k.dead.within(first, next, k.take)
	k.scan = min(k.scan, first)
	k.idle = false
}

// beyond tells whether a range is empty, or lies where no message has been handed out.
func (k *cursor) beyond(r ipc.Range) bool {
	next := r.First + uint64(r.Count) // may wrap: then First is not below the end either
	return r.Count == 0 || r.First >= k.ix.next || next > k.ix.next || (next > k.floor && next-k.floor > maxSpan/2)
}

// gone tells whether the cursor's queue has been deleted.
func (k *cursor) gone() bool { return k.queue.gone }

// keptFrom is up to where persistsrv need not keep the queue's messages: below the floor and,
// where acknowledged ones are kept for a time, older than that.
func (k *cursor) keptFrom(nowMS int64) uint64 {
	if keep := k.queue.set.RewindMS; keep.Given {
		return min(k.floor, k.ages.before(nowMS-int64(min(keep.N, maxDelayMS))))
	}
	return k.floor
}
