package shmqueue

import "time"

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

// Walk shows the published records from head on, with copies of their payloads, and changes
// nothing. It works on a ring in use: a record that was released while it was copied is left
// out. It ends at the first unpublished record, at a damaged one (with a *RecordError), or
// when show returns false.
func (r *Ring) Walk(show func(Record) bool) error {
	for pos := r.h.head.Load(); pos < r.h.tail.Load() && r.published(pos); {
		meta := *metaAt(r.at(pos))
		n, size := int(uint32(meta)), RecordSize(int(uint32(meta)))
		tail := r.h.tail.Load()
		fits := size <= r.capacity-pos&r.mask && size <= tail-pos
		var payload []byte
		if fits {
			off := pos&r.mask + RecordHeader
			payload = append(payload, r.bytes[off:off+uint64(n)]...)
		}
		if head := r.h.head.Load(); head > pos { // what we read may have been overwritten
			pos = head
			continue
		}
		if !fits {
			return damaged(pos, meta, r.h.head.Load(), tail)
		}
		rec := Record{
			Pos: pos, End: pos + size, PayloadPos: pos + RecordHeader,
			Type: uint16(meta >> 32), Flags: uint16(meta >> 48), Payload: payload,
		}
		if rec.Type != padType && !show(rec) {
			return nil
		}
		pos = rec.End
	}
	return nil
}
