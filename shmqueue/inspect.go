package shmqueue

import (
	"errors"
	"time"
)

// Owner is who holds an end of a ring.
type Owner struct {
	Epoch uint64 // how often the end was taken over; 0: never
	PID   int
	Since time.Time
}

// Snapshot is a ring's header at one moment. The ring may be in use: words that belong
// together may have been read an instant apart.
type Snapshot struct {
	Capacity uint64
	Nonce    uint64
	Created  time.Time
	Creator  int // pid
	Producer Owner
	Consumer Owner

	Head, Tail uint64
	Records    uint64 // read; those read again after a restart count again
	Sleeping   bool   // the bell's flag
	Waits      uint64 // times the bell's sleeper went to sleep
	Wakes      uint64 // times it was rung
	WantSpace  bool
	Full       uint64 // claims refused for want of room
	Cuts       uint64 // take-overs that cut the tail
	CutBytes   uint64
	Words      [wordCount]uint64
}

// Used is how many bytes are claimed or published and not released.
func (s *Snapshot) Used() uint64 { return s.Tail - min(s.Head, s.Tail) }

// Snapshot reads the header.
func (r *Ring) Snapshot() Snapshot {
	h := r.h
	s := Snapshot{
		Capacity:  r.capacity,
		Nonce:     r.nonce,
		Created:   time.UnixMilli(int64(h.created.Load())),
		Creator:   int(h.creator.Load()),
		Producer:  h.producer.load(),
		Consumer:  h.consumer.load(),
		Head:      h.head.Load(),
		Records:   h.records.Load(),
		Sleeping:  h.bell.sleeping.Load() != 0,
		Waits:     h.bell.waits.Load(),
		Wakes:     h.bell.wakes.Load(),
		WantSpace: h.wantSpace.Load() != 0,
		Full:      h.full.Load(),
		Cuts:      h.cuts.Load(),
		CutBytes:  h.cutBytes.Load(),
	}
	s.Tail = h.tail.Load() // after head, so that Used is never negative but for a cut
	for i := range s.Words {
		s.Words[i] = h.words[i].v.Load()
	}
	return s
}

func (o *owner) load() Owner {
	return Owner{
		Epoch: o.epoch.Load(),
		PID:   int(o.pid.Load()),
		Since: time.UnixMilli(int64(o.since.Load())),
	}
}

// ErrPassed says that a record's place has been claimed again: what it held is gone.
var ErrPassed = errors.New("the record's place in the ring was claimed again")

// Look copies the record at pos into buf and changes nothing. It works on a ring in use, and on
// records that are released already, as long as nobody has claimed their place again (ErrPassed).
// false without an error: nothing is published there now. A record that cannot be right is a
// *RecordError. A pad is a record of type 0.
func (r *Ring) Look(pos uint64, buf []byte) (rec Record, ok bool, err error) {
	if pos%RecordAlign != 0 || pos > maxPosition {
		return Record{}, false, &RecordError{Pos: pos, Head: r.Head(), Tail: r.Tail(), Why: "no record begins at this position"}
	}
	epoch := r.h.producer.epoch.Load()
	if pos >= r.h.tail.Load() || !r.published(pos) {
		return Record{}, false, r.passed(pos)
	}
	meta := *metaAt(r.at(pos))
	n, size := uint64(uint32(meta)), RecordSize(int(uint32(meta)))
	tail := r.h.tail.Load()
	fits := size <= r.capacity-pos&r.mask && size <= tail-min(pos, tail)
	if fits {
		off := pos&r.mask + RecordHeader
		buf = append(buf[:0], r.bytes[off:off+n]...)
	}
	// What was read counts only if nobody has claimed, or cut, the place meanwhile.
	if err := r.passed(pos); err != nil {
		return Record{}, false, err
	}
	if r.h.producer.epoch.Load() != epoch || !r.published(pos) {
		return Record{}, false, nil
	}
	if !fits {
		return Record{}, false, damaged(pos, meta, r.h.head.Load(), tail)
	}
	return Record{
		Pos: pos, End: pos + size, PayloadPos: pos + RecordHeader,
		Type: uint16(meta >> 32), Flags: uint16(meta >> 48), Payload: buf[:n:n],
	}, true, nil
}

// passed is ErrPassed where the place of pos has been claimed again.
func (r *Ring) passed(pos uint64) error {
	if r.h.tail.Load() > pos+r.capacity {
		return ErrPassed
	}
	return nil
}

// Walk shows the published records from head on, with copies of their payloads that are good until
// show returns, and changes nothing. It works on a ring in use: a record whose place was claimed
// again is left out. It ends at the first unpublished record, at a damaged one (with a
// *RecordError), or when show returns false.
func (r *Ring) Walk(show func(Record) bool) error {
	var buf []byte
	for pos := r.h.head.Load(); ; {
		rec, ok, err := r.Look(pos, buf)
		switch {
		case err != nil && r.h.head.Load() > pos: // released while we read: no longer of interest
			pos = r.h.head.Load()
			continue
		case err != nil || !ok:
			return err
		}
		buf, pos = rec.Payload, rec.End
		if rec.Type != padType && !show(rec) {
			return nil
		}
	}
}
