package session

import (
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/selector"
)

// Sub is one consumer of a connection: of a queue, where logicsrv decides what it gets; of a
// partition, from which connsrv pushes by itself; or the one in whose hand is what the connection
// pulls from a queue.
type Sub struct {
	ID    uint64 // the client's number, or a puller's; unique within the connection
	Index uint64 // of the partition; the queue's id

	Queue    bool         // of a queue
	Puller   bool         // … that gets messages by pulls alone: it was never subscribed
	Closing  bool         // an Unsubscribe is in the ring: tell it no more
	Answered bool         // Subscribed has come
	Consumer ipc.Consumer // queue: what it wants to be. With AutoAck connsrv acknowledges what it has sent

	Filter *selector.Filter // queue: what it wants of the messages; nil: all
	Wanted ipc.Filter       // queue: what Filter was compiled from

	Limit     uint64 // what the client lets us deliver in all: messages of a queue, bytes of a partition
	Told      uint64 // queue: the limit that logicsrv knows; never above Limit and Skipped
	Delivered uint64 // in all, in the same unit; with what was skipped
	Skipped   uint64 // queue: messages that the client does not get to see, and that use up none of its credit

	// What a consumer of a queue holds: delivered, and no verdict put into the ring yet. Pledged is
	// the part of it on which an END_TXN has passed one that counts if it is committed.
	InHand  Hands
	Pledged Hands
	// Recalls is how many Recalls have come for the consumer, modulo 65,536, since it was told last:
	// each verdict says so (ipc.Ack).
	Recalls uint16

	Asked uint64 // puller: messages that pulls which are not answered ask for

	// CutAt and Cut tell where the last delivery has ended within a batch of a queue: its log
	// position, and the place in it.
	CutAt uint64
	Cut   batch.Place

	Next uint64 // partition: the offset to push next
	Wait uint64 // partition: the number of the Wait that is parked for it, or 0
}

// Bounds of what a consumer may hold, so that its state fits a record when it is told again.
const (
	// aheadMessages bounds what logicsrv may deliver to one consumer beyond what its
	// connection has sent on: a client that gives endless credit and does not read costs
	// that much memory.
	aheadMessages = 4096
	// maxGaps bounds the separate ranges of what is in hand: a client that acknowledges
	// every second message is stopped there.
	maxGaps = 32768
)

// Ahead is how far logicsrv may deliver ahead, in this size of ring.
func (r *Rings) Ahead() uint64 { return uint64(min(aheadMessages, r.MaxRecord/64)) }

// MaxGaps is how many separate ranges a consumer may make of what it holds. Together with
// what may be delivered ahead they take less than a record of SubState.
func (r *Rings) MaxGaps() int { return min(maxGaps, r.MaxRecord/32) }

// Gaps is how many separate ranges the consumer holds.
func (s *Sub) Gaps() int { return s.InHand.Gaps() + s.Pledged.Gaps() }

// Room is how many messages a puller may ask for, so that its state fits a record whatever comes.
func (s *Sub) Room(r *Rings) uint64 {
	most, have := uint64(r.MaxGaps())+r.Ahead(), uint64(s.Gaps())+s.Asked
	return most - min(most, have)
}

// State is what the consumer is told as again, in answer to a Marker.
func (s *Sub) State(h ipc.Head, m ipc.Marker) ipc.SubState {
	state := ipc.SubState{
		Head: h, Term: m.Term, Ask: m.Ask, Sub: s.ID, Queue: s.Index, Limit: s.Told, Delivered: s.Delivered, Consumer: s.Consumer,
	}
	if n := s.Gaps(); n > 0 && !failpoint.Broken("in-hand-not-retold") {
		state.InHand = s.Pledged.Held(s.InHand.Held(make([]ipc.Held, 0, n)))
	}
	return state
}

// TopUp returns the limit that logicsrv should know, when the connection has room; false:
// it knows it.
func (s *Sub) TopUp(r *Rings) (limit uint64, tell bool) {
	ahead := r.Ahead()
	last := s.Limit + min(s.Skipped, ^s.Limit)
	limit = min(last, s.Delivered+ahead)
	// Telling each small step would cost a record per delivery.
	if limit <= s.Told || limit < last && limit-s.Told < ahead/2 || s.Gaps() > r.MaxGaps() {
		return s.Told, false
	}
	return limit, true
}

// Park is a fetch that waits for more to become visible.
type Park struct {
	Req        uint64 // of its Wait; changes when it waits on
	Index      uint64
	Offset     uint64
	Beyond     uint64 // of its Wait
	MaxBytes   int
	MinBytes   int
	DeadlineMS int64
	Asking     bool // its Wait is a WaitNow
	Times      bool // LIST_OFFSETS by time or end instead of a fetch
	Line       bool // no fetch: what stands in line has to know what was aborted from Offset on
	TimeMS     int64
}
