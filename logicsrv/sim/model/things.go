package model

import (
	"slices"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// standing is what has become of a message in its queue.
type standing uint8

const (
	ready  standing = iota
	held            // in the hand of a consumer
	leased          // pulled, and invisible
	dead            // on its way to the dead-letter exchange
	done
)

// message is one record in one queue.
type message struct {
	lane   *lane
	offset uint64
	letter *letter
	weight uint64
	cameMS int64
	lsn    uint64 // of the entry that brought it
	// It may expire from dueMS on, and must at lateMS; 0: never.
	dueMS, lateMS int64

	is       standing
	why      ipc.Reason // of the dead and done
	attempts int
	lease    lease
	holder   *consumer
	sinceMS  int64 // when it was handed to its holder

	condemned bool // a full queue has taken it for its dead-letter exchange alone

	touched uint64 // number of the last turn that did something to it
	asked   uint64 // number of the turn in which a verdict put it back
	owed    bool   // it was put back, and is still in the hand
	late    int    // turns in which something that is due has not been done to it
}

// lease is what a pull with a visibility time-out was given.
type lease struct {
	number     uint64
	untilMS    int64
	epoch, req uint64 // of the pull
	ring       uint64 // in which it was; a later one's connsrv counts from 1 on again
	turn       uint64 // in which it was given
}

// letter is how messages came to where they are.
type letter struct {
	exchange, key string
	more          []string // keys besides
	headers       []ipc.Header
	priority      uint8
	history       []demise // oldest first
	weight        uint64   // of all its records
	count         uint32
	vague         bool // nobody has said what it weighs
}

// demise is one death.
type demise struct {
	queue         string
	reason        ipc.Reason
	atMS          int64
	exchange, key string
}

// lane is one index of a queue: of a priority, or of a partition of its topic.
type lane struct {
	queue    *queue
	index    uint64
	number   uint32
	messages []*message // by offset
	first    int        // all below it are done
	had      uint64     // there were so many when the term began
	given    uint64     // connsrv tells that those below were given out
}

// alive are the messages of a lane from the first one on that is not done.
func (l *lane) alive() []*message {
	for l.first < len(l.messages) && l.messages[l.first].is == done {
		l.first++
	}
	return l.messages[l.first:]
}

// queue is one queue.
type queue struct {
	id    uint64
	name  string
	level ipc.Level
	set   admin.QueueSettings // what counts
	// declared is what it was created with.
	declared admin.QueueSettings
	owner    journal.Owner
	lanes    []*lane // in order of number
	used     bool    // it had a consumer once
	doomed   bool    // its owner, or the memory in which it was, is gone
	evicted  bool    // its vhost is
	lease    uint64  // the last one given
	vague    bool    // what it weighs is not known: something was sought back

	// What is learned of its users.

	consumers []*consumer // in order of joining
	pullers   []*consumer
	pulls     []*pull
	active    *consumer // who gets messages, where that is one at a time
	succeeded bool      // the one before it has ended, and it has got nothing yet
	unusedMS  int64     // since when nobody has used it

	// Of this turn.

	taken   []*message // given to somebody
	dropped []*message // for another to have room
	late    int        // turns in which it should have been gone
	idle    int        // turns in which it has not handed out what it could
	heavy   int        // turns in which it has held too much
}

func (q *queue) lane(index uint64) *lane {
	for _, l := range q.lanes {
		if l.index == index {
			return l
		}
	}
	return nil
}

func (q *queue) laneOf(number uint32) *lane {
	for _, l := range q.lanes {
		if l.number == number {
			return l
		}
	}
	return nil
}

func (q *queue) addLane(index uint64, number uint32) *lane {
	l := &lane{queue: q, index: index, number: number}
	at, _ := slices.BinarySearchFunc(q.lanes, number, func(l *lane, n uint32) int { return int(l.number) - int(n) })
	q.lanes = slices.Insert(q.lanes, at, l)
	return l
}

// each calls f for all messages that are not done.
func (q *queue) each(f func(x *message)) {
	for _, l := range q.lanes {
		for _, x := range l.alive() {
			if x.is != done {
				f(x)
			}
		}
	}
}

// count is how many messages stand so.
func (q *queue) count(is standing) (n uint64) {
	q.each(func(x *message) {
		if x.is == is {
			n++
		}
	})
	return n
}

// bytes is what all ready messages weigh.
func (q *queue) bytes() (n uint64) {
	q.each(func(x *message) {
		if x.is == ready {
			n += x.weight
		}
	})
	return n
}

// fits tells whether a queue stays within its limits with so much more.
func (q *queue) fits(count uint32, weight uint64) bool {
	if n := q.set.MaxMessages; n.Given && q.count(ready)+uint64(count) > n.N {
		return false
	}
	n := q.set.MaxBytes
	return !n.Given || q.vague || q.bytes()+weight <= n.N
}

// consumer is one consumer of a queue, or who pulls from it into a hand.
type consumer struct {
	epoch, conn, sub uint64
	queue            *queue
	wants            ipc.Consumer
	limit, delivered uint64
	gone             bool
	lost             bool              // nobody knows who it was
	restarted        bool              // it was told again: who is older than whom is not known any more
	passed           int               // times that others got something though it had credit
	recalls          uint16            // Recalls that it was told
	crossing         map[*message]bool // recalled, and not known to have heard of it
	unaware          []*message        // which it holds, and another one has settled
}

func (k *consumer) credit() uint64 { return k.limit - min(k.limit, k.delivered) }

// pull is a Pull that waits.
type pull struct{ ipc.Pull }

// topic is a topic, partition a part of it.
type topic struct {
	id         uint64
	name       string
	level      ipc.Level
	configs    []ipc.Header // in order of their keys
	partitions []*partition
}

type partition struct {
	topic   *topic
	index   uint64
	start   uint64 // what lies below was deleted
	records []record
}

// record is one record of a partition.
type record struct {
	lsn    uint64
	cameMS int64
	letter *letter
}

// held is a batch that belongs to nobody yet: delayed, or part of a transaction.
type heldBatch struct {
	limbo, offset uint64
	dueMS         int64 // 0: part of a transaction
	ttlMS         int64
	letter        *letter
	dests         []uint64 // ids of queues, indexes of partitions; of a delayed one
	partition     uint64   // index that a part of a transaction is for; 0: it goes through its exchange
	order         uint64   // of coming
	released      bool
	late          int
}

// txn is a transaction that has not ended.
type txn struct {
	id, lsn    uint64
	group, key string
	owner      journal.Owner
	begunMS    int64
	checkMS    int64
	nextMS     int64
	checks     uint32
	parts      []*heldBatch
	doomed     bool
	aloneMS    int64 // when nobody could be asked last
	late       int
}

// ending is how a transaction has ended.
type ending struct {
	committed bool
	queues    uint32
}

// exchange is what was created under an id.
type exchange struct {
	id   uint64
	spec admin.CreateExchange
}
