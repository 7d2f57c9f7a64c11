package core

import (
	"math/bits"
	"slices"
)

// A hierarchical timing wheel (Varghese, Lauck 1987): what is due at some millisecond waits in a
// slot of the level that its distance from now asks for, and moves down a level whenever the
// hand of that level reaches its slot:
//
//	level 0   256 slots of 1 ms        due within this 256 ms
//	level 1   256 slots of 256 ms      … within this 65 s
//	level 2   256 slots of 65 s        … within these 4.6 h
//	…
//
// The level of an entry is that of the highest byte in which its time differs from now. To add
// costs the same whatever waits, and nothing is ever searched; where the next entry is, a bit a
// slot tells.

const (
	wheelLevels = 8
	wheelSlots  = 256
)

// wheel holds values until they are due. Its zero value is empty and stands at time 0.
type wheel[T any] struct {
	now    int64 // all that was due by then has been given out, but for late
	late   []waiting[T]
	levels [wheelLevels]*[wheelSlots][]waiting[T]
	used   [wheelLevels][wheelSlots / 64]uint64 // slots that hold something
	passed []waiting[T]                         // scratch of advance
}

// waiting is a value with its time, in Unix ms.
type waiting[T any] struct {
	due int64
	v   T
}

// add lets v wait until due; what is due already comes with the next advance.
func (w *wheel[T]) add(due int64, v T) {
	if due <= w.now {
		w.late = append(w.late, waiting[T]{due, v})
		return
	}
	level := (bits.Len64(uint64(due^w.now)) - 1) / 8
	slot := uint8(due >> (8 * level))
	if w.levels[level] == nil {
		w.levels[level] = new([wheelSlots][]waiting[T])
	}
	at := &w.levels[level][slot]
	*at = append(*at, waiting[T]{due, v})
	w.used[level][slot/64] |= 1 << (slot % 64)
}

// advance moves the hands to now and gives out what is due, in order of time.
func (w *wheel[T]) advance(now int64, due func(v T)) {
	if now < w.now || (now == w.now && len(w.late) == 0) {
		return
	}
	// Whatever lies in slots that a hand passes or reaches is looked at anew from the new time.
	// Above the level of the highest byte that changes no hand moves.
	over := append(w.passed[:0], w.late...)
	w.late = w.late[:0]
	for level := range wheelLevels {
		if (w.now^now)>>(8*level) == 0 {
			break
		}
		from, to := uint8(w.now>>(8*level)), uint8(now>>(8*level))
		if (w.now^now)>>(8*level) > 255 { // once round at least: to the end, and the level above moves
			to = wheelSlots - 1
		}
		over = w.empty(level, int(from)+1, int(to), over)
	}
	w.now = now
	rest := over[:0:len(over)]
	for _, e := range over {
		if e.due <= now {
			rest = append(rest, e)
		} else {
			w.add(e.due, e.v)
		}
	}
	slices.SortStableFunc(rest, func(a, b waiting[T]) int {
		if a.due < b.due {
			return -1
		}
		return int(min(a.due-b.due, 1))
	})
	w.passed = nil // due may add, and be called from within another advance it may not
	for i := range rest {
		due(rest[i].v)
	}
	clear(over)
	w.passed = over[:0]
}

// empty takes out what the slots from … to of a level hold.
func (w *wheel[T]) empty(level, from, to int, out []waiting[T]) []waiting[T] {
	for slot := w.next(level, from); slot >= 0 && slot <= to; slot = w.next(level, slot+1) {
		at := &w.levels[level][slot]
		out = append(out, *at...)
		clear(*at)
		if *at = (*at)[:0]; cap(*at) > 64 {
			*at = nil
		}
		w.used[level][slot/64] &^= 1 << (slot % 64)
	}
	return out
}

// next is the first slot of a level, from one on, that holds something; -1: none does.
func (w *wheel[T]) next(level, from int) int {
	for i := from / 64; i < wheelSlots/64; i++ {
		word := w.used[level][i]
		if i == from/64 {
			word = word >> (from % 64) << (from % 64)
		}
		if word != 0 {
			return 64*i + bits.TrailingZeros64(word)
		}
	}
	return -1
}

// wake is when advance has to be called next: no later than the first entry is due, and
// seldom earlier. False: nothing waits.
func (w *wheel[T]) wake() (ms int64, ok bool) {
	if len(w.late) > 0 {
		return w.now, true
	}
	for level := range wheelLevels {
		shift := 8 * level
		if slot := w.next(level, int(uint8(w.now>>shift))+1); slot >= 0 {
			// The higher bytes are those of now, the lower ones 0: the slot's first millisecond.
			above := int64(0)
			if shift+8 < 64 {
				above = w.now >> (shift + 8) << (shift + 8)
			}
			return above | int64(slot)<<shift, true
		}
	}
	return 0, false
}
