package shmqueue

import (
	"fmt"
	"time"
	"unsafe"
)

// Fault is something in a ring that should not be.
type Fault struct {
	Where string // the word, or the position
	What  string
	Mend  string
	// Claimed: no damage, but a claim that is not published. A live producer is about to publish it;
	// of a dead one the next take-over cuts it off.
	Claimed bool
}

// String is the fault in a line.
func (f Fault) String() string {
	s := f.Where + ": " + f.What
	if f.Mend != "" {
		s += "; " + f.Mend
	}
	return s
}

// settle is how long whatever looks wrong in a ring in use has time to come right: words that
// belong together are read an instant apart.
const settle = 20 * time.Millisecond

// Verify checks every invariant of doc.go that can be seen from outside, and the framing of all
// records in flight, and changes nothing. In a ring in use something may look wrong for a moment;
// so what is found counts only if it is found three times.
func (r *Ring) Verify() []Fault {
	faults := r.look()
	for range 2 {
		if len(faults) == 0 {
			break
		}
		time.Sleep(settle)
		again := map[Fault]bool{}
		for _, f := range r.look() {
			again[f] = true
		}
		kept := faults[:0]
		for _, f := range faults {
			if again[f] {
				kept = append(kept, f)
			}
		}
		faults = kept
	}
	return faults
}

// faults gathers what one look finds.
type faults []Fault

func (f *faults) add(where, format string, args ...any) {
	*f = append(*f, Fault{Where: where, What: fmt.Sprintf(format, args...), Mend: mendRing})
}

// look looks once.
func (r *Ring) look() []Fault {
	var f faults
	if err := checkCursors(r.h); err != nil {
		f.add("cursors", "%v", err)
		return f // nothing else can be followed
	}
	r.lookAtHeader(&f)
	r.lookAtRecords(&f)
	r.lookBehindTail(&f)
	return f
}

// lookAtHeader checks flags, owners, and what the header has between its words.
func (r *Ring) lookAtHeader(f *faults) {
	h := r.h
	if h.created.Load() == 0 || h.creator.Load() == 0 {
		f.add("identity", "made by pid %d at %d ms: a finished segment has both", h.creator.Load(), h.created.Load())
	}
	for _, end := range []struct {
		name string
		o    *owner
	}{{"producer", &h.producer}, {"consumer", &h.consumer}} {
		if o := end.o.load(); o.Epoch != 0 && o.PID == 0 {
			f.add(end.name, "taken over %d times, by no process", o.Epoch)
		}
	}
	if v := h.bell.sleeping.Load(); v > 1 {
		f.add("bell", "its flag is %d; it can be 0 or 1", v)
	}
	if v := h.wantSpace.Load(); v > 1 {
		f.add("wantSpace", "is %d; it can be 0 or 1", v)
	}
	if at, ok := r.strayByte(); ok {
		f.add(fmt.Sprintf("header byte %d", at), "is not 0, and belongs to no word")
	}
}

// strayByte finds a byte of the header that belongs to no word and is not 0.
func (r *Ring) strayByte() (at int, found bool) {
	used := map[int]int{ // where each line's words begin: how many bytes they are
		0: 48, 128: 24, 256: 8, 384: 16, 512: 24, 640: 24, 768: 8, 896: 24,
	}
	for i := range int(wordCount) {
		used[int(unsafe.Offsetof(r.h.words))+i*lineSize] = 8
	}
	for line := 0; line < HeaderSize; line += lineSize {
		for i := line + used[line]; i < line+lineSize; i++ {
			if r.mem[i] != 0 {
				return i, true
			}
		}
	}
	return 0, false
}

// lookAtRecords follows the records from head to tail. They must lie without a gap, but for what
// is claimed and not yet published.
func (r *Ring) lookAtRecords(f *faults) {
	pos := r.h.head.Load()
	for tail := r.h.tail.Load(); pos < tail; {
		size, ok, err := r.sizeAt(pos)
		switch {
		case r.h.head.Load() > pos: // released meanwhile
			pos = r.h.head.Load()
		case err != nil:
			f.add(fmt.Sprintf("record at %d", pos), "%s", err.Why)
			return
		case !ok:
			*f = append(*f, Fault{
				Where: fmt.Sprintf("position %d", pos), Claimed: true,
				What: "claimed and not published", Mend: "a live producer publishes it; of a dead one the next take-over cuts it off",
			})
			return
		default:
			pos += size
		}
	}
}

// sizeAt is the size of the published record at pos.
func (r *Ring) sizeAt(pos uint64) (size uint64, ok bool, err *RecordError) {
	if !r.published(pos) {
		return 0, false, nil
	}
	meta := *metaAt(r.at(pos))
	size = RecordSize(int(uint32(meta)))
	tail := r.h.tail.Load()
	if size > r.capacity-pos&r.mask || pos >= tail || size > tail-pos {
		return 0, false, damaged(pos, meta, r.h.head.Load(), tail)
	}
	return size, true, nil
}

// lookBehindTail checks invariant 3: free room holds no stamp that fits, or old bytes would be a
// record once the room is claimed.
func (r *Ring) lookBehindTail(f *faults) {
	tail, head := r.h.tail.Load(), r.h.head.Load()
	for pos := tail; pos < head+r.capacity; pos += RecordAlign {
		if r.published(pos) && r.h.tail.Load() <= pos {
			f.add(fmt.Sprintf("position %d", pos), "behind the tail, and a stamp there fits already")
			return
		}
	}
}
