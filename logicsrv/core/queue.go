package core

import (
	"slices"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// A queue hands messages to consumers. Where they lie, and how far each has got, is the matter of
// its cursors, one for each index that holds messages for it:
//
//	queue                    one index of its own, whose id is the queue's
//	queue with priorities    one more for each priority that was used: what is ready in the
//	                         highest is delivered first, so no message has to be sorted
//	queue over a topic       the topic's partitions, which it shares with everybody else
//
// The whole of a queue is a few numbers and sets, in hard state, and what consumers hold, in
// soft state. A queue of ten million messages costs as much as an empty one, as long as they are
// acknowledged from the front; what is acknowledged out of order costs a bit each. That is what
// makes a restart fast: there is nothing to load.

// queue is one queue.
//
// Invariant: cursors stand in order of number, and there is at least one unless the queue is
// over a topic.
type queue struct {
	// Hard state.

	id       uint64
	name     string
	level    ipc.Level            // of its own messages, and of what is decided about it
	declared *admin.QueueSettings // what it was created with; shared among queues that have equal ones
	owner    journal.Owner        // of an exclusive queue
	used     bool                 // it had a consumer once
	doomed   bool                 // its owner, or the machine's memory, is gone: it is about to be deleted
	lease    uint64               // the last one given
	topic    *topic               // whose messages it holds; nil: its own
	cursors  []*cursor
	dest     *destination // nil for a queue over a topic, to which nothing can be published
	own      cursor       // cursors[0] of a queue that has messages of its own

	// Derived and soft state, see policy.go, consumer.go, deliver.go and pull.go.

	set              *admin.QueueSettings // what counts: declared, under the policies
	policy, operator *policy

	consumers []*consumer // in order of priority, highest first, then of joining
	pullers   []*consumer // in whose hands pulled messages are
	active    *consumer   // the one that gets messages, where that is only one
	turn      int         // whose turn it is among consumers
	first     int         // whose turn it is among cursors, of a queue over a topic
	pulls     pullList
	dirty     bool // listed in Core.dirty
	over      bool // listed in Core.over
	gone      bool
	unusedMS  int64 // since when nobody has used it
	expiry    timer
}

// cursor finds the queue's cursor in an index; nil where it has none there.
func (q *queue) cursor(index uint64) *cursor {
	if len(q.cursors) == 1 {
		if k := q.cursors[0]; k.ix.id == index {
			return k
		}
		return nil
	}
	// Indexes are numbered as they come, and so do partitions; priorities come in any order.
	if q.topic != nil {
		i, ok := slices.BinarySearchFunc(q.cursors, index, func(k *cursor, index uint64) int {
			switch {
			case k.ix.id < index:
				return -1
			case k.ix.id > index:
				return 1
			}
			return 0
		})
		if ok {
			return q.cursors[i]
		}
		return nil
	}
	for _, k := range q.cursors {
		if k.ix.id == index {
			return k
		}
	}
	return nil
}

// filter is what connsrv is told that consumers of the queue want; a queue that is gone has none.
func (q *queue) filter() ipc.Filter {
	if q == nil {
		return ipc.Filter{}
	}
	return ipc.Filter{Kind: uint8(q.set.FilterKind), Text: q.set.Filter}
}

// lane is the cursor of a priority; nil where no message had it yet.
func (q *queue) lane(priority uint8) *cursor {
	for _, k := range q.cursors {
		if k.number == uint32(priority) {
			return k
		}
	}
	return nil
}

// clip is a message's priority in this queue.
func (q *queue) clip(priority uint8) uint8 { return min(priority, q.set.MaxPriority) }

// addCursor enters a cursor at its place.
func (q *queue) addCursor(k *cursor) {
	i, _ := slices.BinarySearchFunc(q.cursors, k.number, func(k *cursor, number uint32) int {
		return int(k.number) - int(number)
	})
	q.cursors = slices.Insert(q.cursors, i, k)
}

// counts is how many messages of a queue are in which state.
type counts struct{ ready, held, leased, dead, settled uint64 }

// counts adds up what the cursors hold. Ready includes what is not visible yet.
func (q *queue) counts() (n counts) {
	for _, k := range q.cursors {
		pending := k.depth()
		leased, dead := k.leases.count(), k.dead.count()
		n.ready += pending - min(pending, k.taken.n)
		n.held += k.taken.n - leased - dead
		n.leased += leased
		n.dead += dead
		n.settled += k.ix.next - pending
	}
	return n
}

// readyNow is how many messages wait for a consumer, visible or not yet.
func (q *queue) readyNow() (n uint64) {
	for _, k := range q.cursors {
		pending := k.depth()
		n += pending - min(pending, k.taken.n)
	}
	return n
}

// intern makes queues with equal settings share them: there may be a hundred thousand.
func (c *Core) intern(set *admin.QueueSettings) *admin.QueueSettings {
	if s := c.settings[*set]; s != nil {
		return s
	}
	s := new(admin.QueueSettings)
	*s = *set
	c.settings[*s] = s
	return s
}
