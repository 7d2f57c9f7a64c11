package shmqueue

import (
	"fmt"
	"os"
	"time"

	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/invariant"
)

// Producer takes the writing end over.
// REQUIRES: the caller holds the lock file of the producing daemon, so no predecessor lives.
//
// The tail is cut back to the first unpublished record. What a dead predecessor had published
// behind that gap goes too: no consumer can have passed the gap, so nobody has seen it.
func (r *Ring) Producer() (*Producer, error) {
	epoch := takeOver(&r.h.producer)
	if !mutantNoRepair && !failpoint.Broken("no-tail-repair") {
		if err := r.cut(); err != nil {
			return nil, err
		}
	}
	return r.produce(epoch), nil
}

// produce makes the writing end, and rings: the predecessor may have died between publishing and
// ringing.
func (r *Ring) produce(epoch uint64) *Producer {
	p := &Producer{
		r:        r,
		area:     r.area,
		bytes:    r.bytes,
		mask:     r.mask,
		nonce:    r.nonce,
		capacity: r.capacity,
		largest:  r.capacity / 4,
		tail:     &r.h.tail,
		epoch:    epoch,
	}
	p.limit.Store(r.h.head.Load() + r.capacity)
	if !mutantNoRing {
		r.bell.Ring()
	}
	return p
}

// ContinueProducer takes the writing end over from an earlier program of this very process, which
// has left no claim unpublished: the epoch goes on. Another epoch than that is refused.
// REQUIRES: as Producer; the process has held the lock all the while.
func (r *Ring) ContinueProducer(epoch uint64) (*Producer, error) {
	if now := r.h.producer.epoch.Load(); now != epoch {
		return nil, &FormatError{Field: "producer's epoch", Got: now, Want: fmt.Sprint(epoch), Mend: "start anew"}
	}
	if err := r.cut(); err != nil {
		return nil, err
	}
	r.h.producer.since.Store(uint64(time.Now().UnixMilli()))
	failpoint.Hit("ring.owner")
	return r.produce(epoch), nil
}

// Consumer takes the reading end over; it starts at head. Ring the producer's bell once
// afterwards: the predecessor may have died between releasing and ringing.
// REQUIRES: the caller holds the lock file of the consuming daemon.
func (r *Ring) Consumer() (*Consumer, error) {
	if err := checkCursors(r.h); err != nil {
		return nil, err
	}
	epoch := takeOver(&r.h.consumer)
	head := r.h.head.Load()
	return &Consumer{
		r:        r,
		area:     r.area,
		bytes:    r.bytes,
		mask:     r.mask,
		nonce:    r.nonce,
		capacity: r.capacity,
		read:     head,
		head:     head,
		tail:     head,
		count:    r.h.records.Load(),
		epoch:    epoch,
	}, nil
}

// takeOver writes the owner's line and returns the new epoch.
func takeOver(o *owner) uint64 {
	epoch := o.epoch.Add(1)
	failpoint.Hit("ring.owner")
	o.pid.Store(uint64(os.Getpid()))
	failpoint.Hit("ring.owner")
	o.since.Store(uint64(time.Now().UnixMilli()))
	failpoint.Hit("ring.owner")
	return epoch
}

// cut moves tail back to the first unpublished record.
//
// The positions behind it will be claimed again, with other boundaries: so every stamp in
// there that fits its position is wiped first (invariant 3). A death in between leaves the
// same gap for the next take-over, because the gap's own stamp is not among them. A live
// consumer may read all the while: it stops at the gap.
func (r *Ring) cut() error {
	if err := checkCursors(r.h); err != nil {
		return err
	}
	head, tail := r.h.head.Load(), r.h.tail.Load()
	gap, err := r.firstGap(head, tail)
	if err != nil || gap == tail {
		return err
	}
	invariant.Check(gap >= head && gap < tail, "cut at %d outside [%d, %d)", gap, head, tail)
	for pos := gap; pos < tail && !mutantNoScrub; pos += RecordAlign {
		if r.published(pos) {
			stampAt(r.at(pos)).Store(0)
			failpoint.Hit("ring.scrub")
		}
	}
	r.h.cuts.Add(1)
	failpoint.Hit("ring.cut")
	r.h.cutBytes.Add(tail - gap)
	failpoint.Hit("ring.cut")
	r.h.tail.Store(gap)
	failpoint.Hit("ring.cut")
	return nil
}

// firstGap walks the published records from head and returns where they end.
func (r *Ring) firstGap(head, tail uint64) (uint64, error) {
	pos := head
	for pos < tail && r.published(pos) {
		meta := *metaAt(r.at(pos))
		size := RecordSize(int(uint32(meta)))
		if size > r.capacity-pos&r.mask || size > tail-pos {
			return 0, damaged(pos, meta, head, tail)
		}
		pos += size
	}
	return pos, nil
}
