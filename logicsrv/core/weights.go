package core

import "slices"

// What the messages of a queue weigh, for a queue whose bytes are limited. Runs of messages of
// equal weight are one. In a long backlog of different ones neighbours are thrown together, so
// that there are never more than maxWeights: the sum of the whole stays exact, that of a part is
// off by what one run weighs at most, a 256th of the queue.

// maxWeights is how many runs are kept; half of them remain when there are more.
const maxWeights = 1024

// weightRun says that the messages of [first, next) weigh bytes together.
type weightRun struct {
	first, next, bytes uint64
}

// weights is what the messages of a cursor weigh.
//
// Invariant: runs adjoin each other, but for the first they begin where the one before ends.
type weights []weightRun

// add enters messages behind all others.
func (w *weights) add(first, next, bytes uint64) {
	if n := len(*w); n > 0 {
		last := &(*w)[n-1]
		if last.next == first && last.bytes*(next-first) == bytes*(last.next-last.first) {
			last.next, last.bytes = next, last.bytes+bytes
			return
		}
	}
	*w = append(*w, weightRun{first, next, bytes})
	if len(*w) > maxWeights {
		w.halve()
	}
}

// halve throws neighbours together.
func (w *weights) halve() {
	kept := (*w)[:0]
	for i, run := range *w {
		if k := len(kept) - 1; i%2 == 1 {
			kept[k].next, kept[k].bytes = run.next, kept[k].bytes+run.bytes
		} else {
			kept = append(kept, run)
		}
	}
	*w = kept
}

// sum is what the messages of [first, next) weigh.
func (w weights) sum(first, next uint64) (bytes uint64) {
	i, _ := slices.BinarySearchFunc(w, first, func(run weightRun, x uint64) int {
		if run.next <= x {
			return -1
		}
		return 1
	})
	for ; i < len(w) && w[i].first < next; i++ {
		run := &w[i]
		part := min(next, run.next) - max(first, run.first)
		if n := run.next - run.first; part < n {
			bytes += run.bytes / n * part
			bytes += run.bytes % n * part / n
		} else {
			bytes += run.bytes
		}
	}
	return bytes
}

// dropBelow forgets what lies below the floor.
func (w *weights) dropBelow(floor uint64) {
	i := 0
	for i < len(*w) && (*w)[i].next <= floor {
		i++
	}
	*w = (*w)[i:]
	if len(*w) == 0 {
		*w = nil
		return
	}
	if run := &(*w)[0]; run.first < floor {
		run.bytes = w.sum(floor, run.next)
		run.first = floor
	}
}

// readyBytes is what the messages weigh that are neither done with nor taken.
func (k *cursor) readyBytes() uint64 {
	bytes := k.sizes.sum(k.floor, k.ix.next)
	for first, next := range k.acked.runs {
		bytes -= min(bytes, k.sizes.sum(first, next))
	}
	for first, next := range k.taken.runs {
		k.pending(first, next, func(first, next uint64) {
			bytes -= min(bytes, k.sizes.sum(first, next))
		})
	}
	return bytes
}

// ages is when the messages of a cursor came, roughly: at each of these times the index ended
// there. A queue that keeps what is acknowledged knows by it what it need not keep any longer.
type ages []age

type age struct {
	timeMS int64
	next   uint64
}

// ageSteps is into how many parts a queue divides the time that it keeps messages for.
const ageSteps = 256

// note enters that the index ends at next, if the last such entry is old enough, and forgets
// those that say nothing any more. It is part of apply.
func (a *ages) note(timeMS int64, next, keepMS uint64) {
	if n := len(*a); n > 0 && timeMS < (*a)[n-1].timeMS+int64(keepMS/ageSteps) {
		return
	}
	*a = append(*a, age{timeMS, next})
	i := 0
	for i+1 < len(*a) && (*a)[i+1].timeMS <= timeMS-int64(keepMS) {
		i++
	}
	*a = slices.Delete(*a, 0, i)
}

// before is up to where all messages came by a time.
func (a ages) before(timeMS int64) (offset uint64) {
	for _, e := range a {
		if e.timeMS > timeMS {
			break
		}
		offset = e.next
	}
	return offset
}

// covering is how many messages from first on weigh so many bytes, at least one.
func (w weights) covering(first, bytes uint64) (n uint64) {
	i, _ := slices.BinarySearchFunc(w, first, func(run weightRun, x uint64) int {
		if run.next <= x {
			return -1
		}
		return 1
	})
	for ; i < len(w) && bytes > 0; i++ {
		from := max(first, w[i].first)
		part := w.sum(from, w[i].next)
		if part >= bytes {
			each := max(1, part/(w[i].next-from))
			return n + min((bytes+each-1)/each, w[i].next-from)
		}
		bytes -= part
		n += w[i].next - from
	}
	return max(n, 1)
}
