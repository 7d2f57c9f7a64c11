package core

import (
	"testing"

	"pgregory.net/rapid"
)

// TestDeadlines compares deadlines with a map from offset to time, through a floor that rises:
// every message comes up once when it is due, unless the floor has passed it, and not before.
func TestDeadlines(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var d deadlines
		due := map[uint64]int64{}
		waits := map[uint64]bool{}
		next, floor, now := uint64(0), uint64(0), int64(1)
		for range rapid.IntRange(1, 50).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0, 1:
				next += rapid.Uint64Range(0, 3).Draw(t, "gap")
				end := next + rapid.Uint64Range(1, 4).Draw(t, "count")
				at := now + rapid.Int64Range(0, 20).Draw(t, "ttl")
				d.add(next, end, at)
				for ; next < end; next++ {
					due[next], waits[next] = at, true
				}
			case 2:
				floor = rapid.Uint64Range(floor, next).Draw(t, "floor")
				d.dropBelow(floor)
			case 3:
				now += rapid.Int64Range(0, 15).Draw(t, "on")
				comeUp(t, &d, now, floor, due, waits)
			}
			for x := floor; x < next+2; x++ {
				got, until := d.at(x)
				if want := due[x]; got != want || until <= x {
					t.Fatalf("%d is due at %d, until %d; want %d", x, got, until, want)
				}
			}
		}
	})
}

func comeUp(t *rapid.T, d *deadlines, now int64, floor uint64, due map[uint64]int64, waits map[uint64]bool) {
	for {
		first, ok := d.next()
		if !ok || first > now {
			break
		}
		run, ok := d.popDue()
		if !ok {
			continue
		}
		for x := run.first; x < run.next; x++ {
			if due[x] > now || x < floor {
				t.Fatalf("%d comes up at %d, due at %d, floor %d", x, now, due[x], floor)
			}
			delete(waits, x)
		}
	}
	for x := range waits {
		if x >= floor && due[x] <= now {
			t.Fatalf("%d is due since %d and did not come up by %d", x, due[x], now)
		}
	}
}

// TestDeadlineOfATimeToLive: a thousand runs do for a queue's time to live, and none of its messages
// expires early, or late by more than a 1024th.
func TestDeadlineOfATimeToLive(t *testing.T) {
	const ttl = 600_000
	var d deadlines
	for ms := range int64(2 * ttl) {
		at, _ := deadline(true, ttl, -1, ms)
		if at < ms+ttl || at > ms+ttl+ttl/1024 {
			t.Fatalf("what came at %d expires at %d", ms, at)
		}
		d.add(uint64(ms), uint64(ms)+1, at)
		if ms >= ttl {
			d.dropBelow(uint64(ms) - ttl)
		}
	}
	if n := len(d.runs); n > 1100 {
		t.Fatalf("%d runs", n)
	}
}
