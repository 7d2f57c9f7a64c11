package core

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// ringer notes what fell due, and when it should have.
type ringer struct {
	name int
	into *[]int
}

func (r *ringer) passed(_ *Core, _ int64) { *r.into = append(*r.into, r.name) }

// TestTimersAgainstModel: whatever is armed, moved and taken back, timers fall due in order of
// their moments, those of equal moments in order of arming, and none that was taken back.
func TestTimersAgainstModel(t *testing.T) {
	type armed struct {
		due int64
		seq int
	}
	rapid.Check(t, func(t *rapid.T) {
		var s timers
		var all [12]timer
		var got []int
		model := map[int]armed{}
		now, seq := int64(0), 0
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			i := rapid.IntRange(0, len(all)-1).Draw(t, "timer")
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0, 1:
				seq++
				due := now + rapid.Int64Range(-3, 20).Draw(t, "due")
				s.arm(&all[i], due, &ringer{i, &got})
				model[i] = armed{due, seq}
			case 2:
				s.disarm(&all[i])
				delete(model, i)
			case 3:
				now += rapid.Int64Range(0, 15).Draw(t, "pass")
				var want []int
				for k := range all {
					if a, ok := model[k]; ok && a.due <= now {
						want = append(want, k)
					}
				}
				slices.SortFunc(want, func(a, b int) int {
					if d := model[a].due - model[b].due; d != 0 {
						return int(d)
					}
					return model[a].seq - model[b].seq
				})
				got = got[:0]
				for what, _, ok := s.pop(now); ok; what, _, ok = s.pop(now) {
					what.passed(nil, 0)
				}
				if !slices.Equal(got, want) {
					t.Fatalf("at %d ms: %v fell due, want %v", now, got, want)
				}
				for _, k := range want {
					delete(model, k)
				}
			}
			ms, ok := s.next()
			first := int64(1 << 60)
			for _, a := range model {
				first = min(first, a.due)
			}
			if ok != (len(model) > 0) || ok && ms != first {
				t.Fatalf("the next is at %d (%t), want %d of %d", ms, ok, first, len(model))
			}
		}
	})
}

// TestTimersWithinTurn: EndTurn does what has fallen due by the turn's time, and NextTimer says
// when to come again.
func TestTimersWithinTurn(t *testing.T) {
	w := newWorld(t, Config{})
	var got []int
	var a, b timer
	if _, ok := w.c.NextTimer(); ok {
		t.Fatal("a new core has a timer")
	}
	w.c.timers.arm(&a, w.now+10, &ringer{1, &got})
	w.c.timers.arm(&b, w.now+20, &ringer{2, &got})
	w.end()
	if ms, ok := w.c.NextTimer(); !ok || ms != w.now+10 || len(got) != 0 {
		t.Fatalf("next at %d, %t; %v has fallen due at %d", ms, ok, got, w.now)
	}
	w.now += 10
	w.end()
	w.now += 9
	w.end()
	if !slices.Equal(got, []int{1}) {
		t.Fatalf("%v has fallen due, want 1", got)
	}
	w.now++
	w.end()
	if _, ok := w.c.NextTimer(); ok || !slices.Equal(got, []int{1, 2}) {
		t.Fatalf("%v has fallen due, another is armed: %t", got, ok)
	}
}

func BenchmarkTimers(b *testing.B) {
	var s timers
	all := make([]timer, 100_000)
	var r ringer
	for i := range all {
		s.arm(&all[i], int64(i), &r)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s.arm(&all[i%len(all)], int64(i+len(all)), &r)
	}
}
