package core

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestWheel compares the wheel with a list: what is due comes, in order of time, and nothing
// else; wake is never late, and seldom early enough to matter.
func TestWheel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w wheel[int]
		var waits []waiting[int]
		now := rapid.Int64Range(0, 1<<41).Draw(t, "start")
		w.advance(now, func(int) { t.Fatal("something is due in an empty wheel") })
		distance := rapid.OneOf(rapid.Int64Range(-5, 300), rapid.Int64Range(0, 1<<17), rapid.Int64Range(0, 1<<40))
		for i := range rapid.IntRange(1, 60).Draw(t, "steps") {
			if rapid.IntRange(0, 2).Draw(t, "what") > 0 {
				due := now + distance.Draw(t, "distance")
				w.add(due, i)
				waits = append(waits, waiting[int]{due, i})
				continue
			}
			if wake, ok := w.wake(); ok != (len(waits) > 0) || ok && wake > max(now, earliest(waits)) {
				t.Fatalf("wake at %d, %v; %d wait, the first until %d", wake, ok, len(waits), earliest(waits))
			}
			now += max(0, distance.Draw(t, "on"))
			last := int64(-1 << 62)
			w.advance(now, func(v int) {
				i := slices.IndexFunc(waits, func(e waiting[int]) bool { return e.v == v })
				if i < 0 || waits[i].due > now || waits[i].due < last {
					t.Fatalf("%d comes at %d, behind %d", v, now, last)
				}
				last = waits[i].due
				waits = slices.Delete(waits, i, i+1)
			})
			if len(waits) > 0 && earliest(waits) <= now {
				t.Fatalf("at %d something waits that was due at %d", now, earliest(waits))
			}
		}
	})
}

func earliest(waits []waiting[int]) int64 {
	if len(waits) == 0 {
		return 0
	}
	return slices.MinFunc(waits, func(a, b waiting[int]) int { return int(min(max(a.due-b.due, -1), 1)) }).due
}

// TestWheelAddsWhileItGivesOut: who is due may set his timer again, for now too, and is not called
// twice in one round.
func TestWheelAddsWhileItGivesOut(t *testing.T) {
	var w wheel[int]
	w.add(5, 1)
	calls := 0
	again := func(int) {
		calls++
		w.add(5, 1)
	}
	w.advance(10, again)
	if calls != 1 {
		t.Fatalf("called %d times", calls)
	}
	if wake, ok := w.wake(); !ok || wake != 10 {
		t.Fatalf("wake at %d, %v", wake, ok)
	}
	w.advance(10, again)
	if calls != 2 {
		t.Fatalf("called %d times", calls)
	}
}

// BenchmarkWheel adds and gives out with a million others waiting.
func BenchmarkWheel(b *testing.B) {
	var w wheel[int]
	for i := range 1_000_000 {
		w.add(int64(i)*7+1, i)
	}
	now := int64(0)
	b.ReportAllocs()
	for b.Loop() {
		now++
		w.add(now+10_000, 0)
		w.advance(now, func(int) {})
	}
}
