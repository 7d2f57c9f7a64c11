package reactor

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestTimersComeInOrder(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	var h timers
	var want []int64
	for i := range 5000 {
		at := rnd.Int64N(100_000)
		h.push(at, uint64(i))
		want = append(want, (at+roundMS-1)/roundMS*roundMS)
		if i%3 == 0 {
			slices.Sort(want)
			if got := h.pop().atMS; got != want[0] {
				t.Fatalf("popped %d, want %d", got, want[0])
			}
			want = want[1:]
		}
	}
	slices.Sort(want)
	for _, at := range want {
		if h.next() != at || h.pop().atMS != at {
			t.Fatalf("want %d", at)
		}
	}
	if h.next() != -1 {
		t.Error("not empty")
	}
}

func TestPoolGivesWhatIsAskedFor(t *testing.T) {
	var p pool
	for _, n := range []int{1, 4096, 4097, 1 << 20, 16<<20 + 1} {
		b := p.get(n)
		if len(b) < n {
			t.Fatalf("%d bytes for %d", len(b), n)
		}
		p.put(b)
	}
	for c, free := range p.free {
		if len(free)<<c > poolKeepBytes+1<<c {
			t.Errorf("class %d keeps %d", c, len(free))
		}
	}
}
