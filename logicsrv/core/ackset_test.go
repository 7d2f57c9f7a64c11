package core

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// model is a set of offsets as one would write it down.
type model map[uint64]bool

func (m model) set(first, next uint64, in bool) (changed uint64) {
	for x := first; x < next; x++ {
		if m[x] != in {
			changed++
		}
		if in {
			m[x] = true
		} else {
			delete(m, x)
		}
	}
	return changed
}

func (m model) next(from, limit uint64, in bool) uint64 {
	for x := from; x < limit; x++ {
		if m[x] == in {
			return x
		}
	}
	return noOffset
}

// checkSet compares a set with its model over [0, limit), beyond which it has no members,
// and looks at its invariants.
func checkSet(t *rapid.T, s *offsetSet, m model, limit uint64) {
	if s.n != uint64(len(m)) {
		t.Fatalf("%d members, want %d", s.n, len(m))
	}
	if k := len(s.chunks); k > 0 && (s.chunks[0].n == 0 || s.chunks[k-1].n == 0) {
		t.Fatalf("an empty chunk at an end")
	}
	for i, k := range s.chunks {
		if (k.bits != nil) != (k.n > 0 && k.n < chunkOffsets) {
			t.Fatalf("chunk %d has n=%d, bitmap %t", i, k.n, k.bits != nil)
		}
	}
	for _, from := range []uint64{0, 1, limit / 3, limit / 2, limit - 1} {
		if got, want := s.nextSet(from), m.next(from, limit, true); got != want {
			t.Fatalf("nextSet(%d) = %d, want %d", from, got, want)
		}
		if got, want := s.nextClear(from), min(m.next(from, limit, false), limit); got != want {
			t.Fatalf("nextClear(%d) = %d, want %d", from, got, want)
		}
		if s.has(from) != m[from] {
			t.Fatalf("has(%d) = %t", from, s.has(from))
		}
	}
	var runs uint64
	covered := model{}
	last := uint64(0)
	for first, next := range s.runs {
		if runs > 0 && first <= last {
			t.Fatalf("run [%d,%d) touches the one before", first, next)
		}
		runs++
		last = next
		covered.set(first, next, true)
	}
	if len(covered) != len(m) || runs != s.countRuns() {
		t.Fatalf("%d runs of %d members, %d counted", runs, len(covered), s.countRuns())
	}
}

// TestOffsetSet drives a set and a map with the same random changes: single offsets, short
// and long ranges, across the borders of words and chunks.
func TestOffsetSet(t *testing.T) {
	const limit = 6 * chunkOffsets
	rapid.Check(t, func(t *rapid.T) {
		s, m := &offsetSet{}, model{}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			first := rapid.Uint64Range(0, limit-1).Draw(t, "first")
			if rapid.Bool().Draw(t, "aligned") {
				first -= first % rapid.SampledFrom([]uint64{64, chunkOffsets}).Draw(t, "to")
			}
			length := rapid.SampledFrom([]uint64{0, 1, 1, 2, 63, 64, 65, chunkOffsets - 1, chunkOffsets, chunkOffsets + 1, 2 * chunkOffsets}).Draw(t, "length")
			next := min(first+length, limit)
			in := rapid.Bool().Draw(t, "in")
			var got uint64
			if in {
				got = s.add(first, next)
			} else {
				got = s.remove(first, next)
			}
			if want := m.set(first, next, in); got != want {
				t.Fatalf("[%d,%d) in=%t changed %d, want %d", first, next, in, got, want)
			}
			checkSet(t, s, m, limit)
		}
	})
}

// TestSetEncoding writes random sets and reads them back.
func TestSetEncoding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		floor := rapid.Uint64Range(0, 5000).Draw(t, "floor")
		ix := &index{next: floor + 1 + rapid.Uint64Range(0, 5000).Draw(t, "depth")}
		k := &cursor{ix: ix, floor: floor}
		for range rapid.IntRange(0, 200).Draw(t, "acks") {
			first := floor + rapid.Uint64Range(0, ix.next-floor).Draw(t, "first")
			k.settle(first, min(ix.next, first+rapid.Uint64Range(1, 30).Draw(t, "length")))
		}
		b := appendSet(nil, k.floor, &k.acked)
		back := &cursor{ix: ix, floor: k.floor}
		l := newLoader(Config{}, b)
		l.set(&back.acked, back.floor, ix.next)
		if err := l.Done("set"); err != nil {
			t.Fatal(err)
		}
		if got, want := slices.Collect(asPairs(&back.acked)), slices.Collect(asPairs(&k.acked)); !slices.Equal(got, want) {
			t.Fatalf("read %v, wrote %v", got, want)
		}
		if again := appendSet(nil, floor, &back.acked); floor == k.floor && string(again) != string(b) {
			t.Fatalf("encoded %x, then %x", b, again)
		}
	})
}

func asPairs(s *offsetSet) func(yield func([2]uint64) bool) {
	return func(yield func([2]uint64) bool) {
		for first, next := range s.runs {
			if !yield([2]uint64{first, next}) {
				return
			}
		}
	}
}

// TestQueueAck compares a queue's floor and set with a map of all that was acknowledged.
func TestQueueAck(t *testing.T) {
	const limit = 3 * chunkOffsets
	rapid.Check(t, func(t *rapid.T) {
		q, m := &cursor{ix: &index{next: limit}}, model{}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			first := rapid.Uint64Range(0, limit-1).Draw(t, "first")
			if rapid.Bool().Draw(t, "low") {
				first = q.floor
			}
			next := min(limit, first+rapid.SampledFrom([]uint64{1, 2, 70, chunkOffsets}).Draw(t, "length"))
			if rapid.IntRange(0, 3).Draw(t, "return") == 0 {
				q.pending(first, next, func(a, b uint64) { q.attempts = q.attempts.raise(a, b) })
			}
			q.settle(first, next)
			m.set(first, next, true)
			floor := min(m.next(0, limit, false), limit)
			if q.floor != floor || q.depth() != limit-uint64(len(m)) {
				t.Fatalf("floor %d depth %d, want %d and %d", q.floor, q.depth(), floor, limit-uint64(len(m)))
			}
			for _, run := range q.attempts {
				for x := run.first; x < run.next; x++ {
					if m[x] {
						t.Fatalf("attempts of %d, which is acknowledged", x)
					}
				}
			}
			above := model{}
			for x := range m {
				if x > floor {
					above[x] = true
				}
			}
			checkSet(t, &q.acked, above, limit)
		}
	})
}

// TestAttempts compares the runs with a map of counts.
func TestAttempts(t *testing.T) {
	const limit = 60
	rapid.Check(t, func(t *rapid.T) {
		var r attemptRuns
		m := map[uint64]uint16{}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			first := rapid.Uint64Range(0, limit-1).Draw(t, "first")
			next := min(limit, first+rapid.Uint64Range(0, 12).Draw(t, "length"))
			raise := rapid.IntRange(0, 2).Draw(t, "raise") > 0
			if raise {
				r = r.raise(first, next)
			} else {
				r = r.drop(first, next)
			}
			for x := first; x < next; x++ {
				if m[x]++; !raise {
					delete(m, x)
				}
			}
			for x := uint64(0); x < limit; x++ {
				n, until := r.at(x)
				if n != m[x] || until <= x {
					t.Fatalf("at(%d) = %d until %d, want %d in %v", x, n, until, m[x], r)
				}
				for y := x; y < min(until, limit); y++ {
					if m[y] != n {
						t.Fatalf("at(%d) says %d until %d, but %d has %d", x, n, until, y, m[y])
					}
				}
			}
			for i := 1; i < len(r); i++ {
				if r[i-1].next > r[i].first || (r[i-1].next == r[i].first && r[i-1].attempts == r[i].attempts) {
					t.Fatalf("not in one form: %v", r)
				}
			}
		}
	})
}

// TestAttemptsSaturate: the count stays at its end.
func TestAttemptsSaturate(t *testing.T) {
	r := attemptRuns{{0, 2, maxAttempts - 1}}
	r = r.raise(0, 1).raise(0, 2)
	if fmt.Sprint(r) != fmt.Sprint(attemptRuns{{0, 2, maxAttempts}}) {
		t.Fatal(r)
	}
}

// TestSetMemory: what moves through a set leaves nothing behind, and a long run costs 16
// bytes for 1,024 offsets.
func TestSetMemory(t *testing.T) {
	s := &offsetSet{}
	for x := uint64(0); x < 1<<20; x += 7 {
		s.add(x, x+7)
		s.remove(x, x+7)
	}
	if len(s.chunks) != 0 || s.n != 0 {
		t.Fatalf("%d chunks of an empty set", len(s.chunks))
	}
	s.add(0, 1<<24)
	for _, k := range s.chunks {
		if k.bits != nil {
			t.Fatal("a full chunk has a bitmap")
		}
	}
	if allocs := testing.AllocsPerRun(100, func() { s.remove(5, 6); s.add(5, 6) }); allocs > 0 {
		t.Errorf("%v allocations for one offset out and in", allocs)
	}
}
