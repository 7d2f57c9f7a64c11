package shell

import (
	"fmt"
	"slices"
	"testing"

	"github.com/trimq/trimq/protocol/ipc"
	"pgregory.net/rapid"
)

// TestGateAgainstModel compares the gate with a list that is searched from the front.
func TestGateAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type output struct {
			level ipc.Level
			lsn   uint64
			text  string
		}
		var g gate
		var c cursors
		var model []output
		highest := [levels]uint64{}
		for i := range rapid.IntRange(1, 200).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "hold") {
				o := output{ipc.Level(rapid.IntRange(1, 4).Draw(t, "level")), rapid.Uint64Range(0, 50).Draw(t, "lsn"), fmt.Sprint(i)}
				g.hold(o.level, heldOutput{lsn: o.lsn, typ: ipc.TypeError}, []byte(o.text))
				if slices.ContainsFunc(model, func(m output) bool { return m.level == o.level }) {
					o.lsn = max(o.lsn, highest[o.level])
				}
				highest[o.level] = o.lsn
				model = append(model, o)
				continue
			}
			level := ipc.Level(rapid.IntRange(1, 4).Draw(t, "cursor"))
			c[level] += rapid.Uint64Range(0, 10).Draw(t, "moved")
			room := rapid.IntRange(0, 20).Draw(t, "room")
			var got, want []string
			g.flush(&c, func(_ heldOutput, record []byte) bool {
				if len(got) == room {
					return false
				}
				got = append(got, string(record))
				return true
			})
			for l := ipc.Level(1); l <= ipc.LevelQuorum; l++ {
				for k := 0; k < len(model) && len(want) < room; {
					if o := model[k]; o.level != l {
						k++
					} else if o.lsn > c[l] {
						break
					} else {
						want = append(want, o.text)
						model = slices.Delete(model, k, k+1)
					}
				}
			}
			if !slices.Equal(got, want) {
				t.Fatalf("the gate passed %v, the model %v", got, want)
			}
			if g.count != len(model) {
				t.Fatalf("%d outputs held, the model holds %d", g.count, len(model))
			}
		}
	})
}

// TestTurnQueueNumbers: a number leads to its turn, however many were pushed and popped.
func TestTurnQueueNumbers(t *testing.T) {
	var q turnQueue
	next, first := uint64(1), uint64(1)
	for i := range 1000 {
		for range i % 7 {
			if n := q.push(turn{pos: next * 16}); n != next {
				t.Fatalf("turn %d is numbered %d", next, n)
			}
			next++
		}
		for range i % 5 {
			if q.len() == 0 {
				break
			}
			if q.front().pos != first*16 {
				t.Fatalf("turn %d ends at %d", first, q.front().pos)
			}
			q.pop()
			first++
		}
		for n := first; n < next; n++ {
			if q.at(n).pos != n*16 {
				t.Fatalf("number %d leads to the turn that ends at %d", n, q.at(n).pos)
			}
		}
	}
}
