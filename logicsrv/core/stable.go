package core

import (
	"slices"

	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/invariant"
	"github.com/trimq/trimq/protocol/ipc"
)

// What committed readers of a partition have to know, of the transactions that have batches in it. The
// stable end is where the first batch lies of which it is not known whether it counts:
//
//	min(visible, first batch of each open transaction, first batch of each that has ended, but whose
//	control batch is not visible yet)
//
// The last of the three is what keeps a reader from a commit that a power cut could take back. The
// stable end never falls: what opens later begins behind the visible end.

// partitionTxns is that of one partition. One in which no transaction ever had a batch has none.
type partitionTxns struct {
	// Hard state.

	open    []openTxn        // in order of first
	aborted []ipc.AbortedTxn // in order of Last; what lies below the log's start is dropped

	// Derived.

	ended  []endedPart // in order of marker
	stable uint64      // Invariant: stable <= the index's visible
}

// openTxn is a transaction that has a batch in the partition.
type openTxn struct {
	producer int64
	first    uint64
}

// endedPart has ended at marker, which is not visible yet.
type endedPart struct{ first, marker uint64 }

// readable is the end of what consumers of queues over the partition get.
func (ix *index) readable() uint64 {
	if ix.txns == nil {
		return ix.visible
	}
	return ix.txns.stable
}

// transactional makes sure that the partition keeps account. It is part of apply.
func (ix *index) transactional() *partitionTxns {
	if ix.txns == nil {
		ix.txns = &partitionTxns{stable: ix.visible}
	}
	return ix.txns
}

// enter notes the first batch of a transaction. It is part of apply.
func (t *partitionTxns) enter(producer int64, first uint64) {
	t.open = append(t.open, openTxn{producer, first})
}

// finish notes the end of a transaction at marker; first is its first batch, noOffset where it has
// none here. It is part of apply.
func (t *partitionTxns) finish(producer int64, first, marker uint64, committed bool) {
	if first == noOffset {
		return
	}
	t.open = slices.DeleteFunc(t.open, func(o openTxn) bool { return o.producer == producer })
	if !committed && !failpoint.Broken("aborts-forgotten") || failpoint.Broken("commits-hidden") && marker%5 == 0 {
		t.aborted = append(t.aborted, ipc.AbortedTxn{ProducerID: producer, First: first, Last: marker})
	}
	t.ended = append(t.ended, endedPart{first, marker})
}

// trim forgets what was aborted below the start of the partition's log. It is part of apply.
func (t *partitionTxns) trim(start uint64) {
	n := 0
	for n < len(t.aborted) && t.aborted[n].Last < start {
		n++
	}
	if n == len(t.aborted) {
		t.aborted = nil
		return
	}
	t.aborted = t.aborted[n:]
}

// settle moves the stable end, given the visible one, and tells whether it has moved.
func (t *partitionTxns) settle(visible uint64) (moved bool) {
	n := 0
	for n < len(t.ended) && (t.ended[n].marker < visible || failpoint.Broken("stable-early")) {
		n++
	}
	if t.ended = t.ended[n:]; len(t.ended) == 0 {
		t.ended = nil
	}
	end := visible
	if !failpoint.Broken("open-is-stable") {
		if len(t.open) > 0 {
			end = min(end, t.open[0].first)
		}
		for _, e := range t.ended {
			end = min(end, e.first)
		}
	}
	if end < t.stable {
		invariant.Fail("stable up to %d, then up to %d", t.stable, end)
	}
	moved = end > t.stable
	t.stable = end
	return moved
}

// maxAbortedTold is how many aborted transactions one answer tells of.
const maxAbortedTold = 2000

// abortedFrom lists what a reader from an offset on has to know, in order of First, and the range that
// the list is good for. A reader comes to its end, and asks again from there.
func (t *partitionTxns) abortedFrom(from uint64) (list []ipc.AbortedTxn, begin, to uint64) {
	at, _ := slices.BinarySearchFunc(t.aborted, from, func(a ipc.AbortedTxn, from uint64) int {
		if a.Last < from {
			return -1
		}
		return 1
	})
	// It is good from behind the end of the last one that is left out.
	if at > 0 {
		begin = t.aborted[at-1].Last + 1
	}
	to = t.stable
	begin = min(begin, to)
	for _, a := range t.aborted[at:] {
		if a.First < to {
			list = append(list, a)
		}
	}
	slices.SortFunc(list, func(a, b ipc.AbortedTxn) int {
		if a.First < b.First {
			return -1
		}
		return 1
	})
	for n := maxAbortedTold; n < len(list); n++ {
		if list[n].First > from { // what begins before it has to be there
			return list[:n], begin, list[n].First
		}
	}
	return list, begin, to
}
