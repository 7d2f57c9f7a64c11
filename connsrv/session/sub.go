package session

import "github.com/trimq/trimq/protocol/batch"

// Sub is one consumer of a connection: of a queue, where logicsrv decides what it gets, or
// of a partition, from which connsrv pushes by itself.
type Sub struct {
	ID    uint64 // the client's number, unique within the connection
	Index uint64

	Queue     bool
	AutoAck   bool // connsrv acknowledges what it has sent; logicsrv sees an ordinary consumer
	Exclusive bool
	Closing   bool // an Unsubscribe is in the ring: tell it no more
	Answered  bool // Subscribed has come

	Limit     uint64 // what the client lets us deliver in all: messages of a queue, bytes of a partition
	Told      uint64 // queue: the limit that logicsrv knows; never above Limit
	Delivered uint64 // in all, in the same unit

	InHand InHand // queue

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

// TopUp returns the limit that logicsrv should know, when the connection has room; false:
// it knows it.
func (s *Sub) TopUp(r *Rings) (limit uint64, tell bool) {
	ahead := r.Ahead()
	limit = min(s.Limit, s.Delivered+ahead)
	// Telling each small step would cost a record per delivery.
	if limit <= s.Told || limit < s.Limit && limit-s.Told < ahead/2 || s.InHand.Gaps() > r.MaxGaps() {
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
	TimeMS     int64
}
