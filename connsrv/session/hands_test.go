package session

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/trimq/trimq/protocol/ipc"
)

// heldMessage names one message of a model of Hands, which is a set of them.
type heldMessage struct{ index, offset uint64 }

// TestHandsAgainstModel: hands over several indexes are a set of messages.
func TestHandsAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h Hands
		model := map[heldMessage]bool{}
		put := func(index uint64, r ipc.Range, in bool) {
			for o := r.First; o < r.First+uint64(r.Count); o++ {
				if delete(model, heldMessage{index, o}); in {
					model[heldMessage{index, o}] = true
				}
			}
		}
		all := func(index uint64, r ipc.Range, in bool) bool {
			for o := r.First; o < r.First+uint64(r.Count); o++ {
				if model[heldMessage{index, o}] != in {
					return false
				}
			}
			return true
		}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			index := rapid.Uint64Range(1, 3*idleHands).Draw(t, "index")
			r := ipc.Range{First: rapid.Uint64Range(0, 30).Draw(t, "first"), Count: rapid.Uint32Range(1, 6).Draw(t, "count")}
			switch rapid.IntRange(0, 8).Draw(t, "what") {
			case 0, 1, 2, 3:
				want := all(index, r, false)
				if got := h.Add(index, r.First, r.Count); got != want {
					t.Fatalf("add %+v of %d: %v", r, index, got)
				}
				if want {
					put(index, r, true)
				}
			case 4, 5:
				want := all(index, r, true)
				if h.Holds(index, r) != want || h.Remove(index, r) != want {
					t.Fatalf("remove %+v of %d: not %v", r, index, want)
				}
				if want {
					put(index, r, false)
				}
			case 6, 7:
				var want []ipc.Range
				for o := r.First; o < r.First+uint64(r.Count); o++ {
					if model[heldMessage{index, o}] {
						want = joined(want, o)
					}
				}
				before := []ipc.Range{{First: 99, Count: 9}}
				if got := h.Take(before, index, r); !slices.Equal(got[1:], want) || got[0] != before[0] {
					t.Fatalf("take %+v of %d: %+v, want %+v", r, index, got, want)
				}
				put(index, r, false)
			default:
				h.Drop(index)
				for m := range model {
					if m.index == index {
						delete(model, m)
					}
				}
			}
			checkHands(t, &h, model)
		}
	})
}

// joined appends an offset to ranges.
func joined(ranges []ipc.Range, offset uint64) []ipc.Range {
	if n := len(ranges) - 1; n >= 0 && ranges[n].First+uint64(ranges[n].Count) == offset {
		ranges[n].Count++
		return ranges
	}
	return append(ranges, ipc.Range{First: offset, Count: 1})
}

func checkHands(t *rapid.T, h *Hands, model map[heldMessage]bool) {
	held := h.Held(nil)
	n := 0
	for i, x := range held {
		if i > 0 && (held[i-1].Index > x.Index || held[i-1].Index == x.Index && held[i-1].Range.First+uint64(held[i-1].Range.Count) >= x.Range.First) {
			t.Fatalf("out of order: %+v", held)
		}
		for o := x.Range.First; o < x.Range.First+uint64(x.Range.Count); o++ {
			if !model[heldMessage{x.Index, o}] {
				t.Fatalf("%d of %d is not in hand", o, x.Index)
			}
			n++
		}
	}
	if n != len(model) || h.Count() != uint64(n) || h.Gaps() != len(held) {
		t.Fatalf("%d in hand in %d ranges, it says %d in %d, want %d", n, len(held), h.Count(), h.Gaps(), len(model))
	}
}
