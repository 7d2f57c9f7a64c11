package tour

import (
	"fmt"
	"strings"
	"testing"
)

func TestJudgeStream(t *testing.T) {
	sent := []string{"a", "b", "c"}
	sound := func() ([]uint64, []sight) {
		return []uint64{0, 1, 2}, []sight{{0, 0, "a"}, {0, 1, "b"}, {0, 2, "c"}}
	}
	offsets, found := sound()
	if wrong := judgeStream("t/0", sent, offsets, found); wrong != nil {
		t.Fatalf("all is well, and yet: %q", wrong)
	}
	for want, spoil := range map[string]func(offsets []uint64, found []sight) []sight{
		"3 messages were acknowledged, 2 are there": func(_ []uint64, f []sight) []sight { return f[:2] },
		"is one too many":                      func(_ []uint64, f []sight) []sight { return append(f, sight{0, 3, "a"}) },
		`holds "b", not "a"`:                   func(_ []uint64, f []sight) []sight { f[0].value, f[1].value = "b", "a"; return f },
		"offset 2 at place 1":                  func(_ []uint64, f []sight) []sight { return append(f[:1], f[2:]...) },
		"message 1 was acknowledged at offset": func(o []uint64, f []sight) []sight { o[1] = 7; return f },
	} {
		offsets, found := sound()
		found = spoil(offsets, found)
		if wrong := strings.Join(judgeStream("t/0", sent, offsets, found), "\n"); !strings.Contains(wrong, want) {
			t.Errorf("%q was not found:\n%s", want, wrong)
		}
	}
}

func TestBox(t *testing.T) {
	sound := func() *box {
		b := newBox("q")
		for i, v := range []string{"a", "b", "c"} {
			b.saw(sight{1, uint64(i), v})
		}
		b.settled[spot{1, 0}] = true
		b.saw(sight{1, 1, "b"}) // again, which may be
		return b
	}
	if wrong := sound().judge([]string{"a", "b"}, []string{"c"}); wrong != nil {
		t.Fatalf("all is well, and yet: %q", wrong)
	}
	if n := sound().has([]string{"a", "x", "c"}); n != 2 {
		t.Errorf("has %d", n)
	}
	for want, spoil := range map[string]func(b *box){
		`"b", and then "x"`: func(b *box) { b.saw(sight{1, 1, "x"}) },
		"is there twice":    func(b *box) { b.saw(sight{1, 9, "b"}) },
		"came again":        func(b *box) { b.saw(sight{1, 0, "a"}) },
		"and never came":    func(b *box) { delete(b.values, "a"); delete(b.places, spot{1, 0}) },
		"and should not":    func(b *box) { b.saw(sight{1, 5, "y"}) },
	} {
		b := sound()
		spoil(b)
		if wrong := strings.Join(b.judge([]string{"a", "b"}, []string{"c"}), "\n"); !strings.Contains(wrong, want) {
			t.Errorf("%q was not found:\n%s", want, wrong)
		}
	}
}

// Values of a place are all different, however short they are to be.
func TestValuesDiffer(t *testing.T) {
	seen := map[string]bool{}
	for n := range 200 {
		v := value("tour 1.disk", n, n%40)
		if seen[v] || !strings.HasPrefix(v, fmt.Sprintf("tour 1.disk %d ", n)) {
			t.Errorf("value %d is %q", n, v)
		}
		seen[v] = true
	}
}
