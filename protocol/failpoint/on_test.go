//go:build failpoints

package failpoint

import (
	"path/filepath"
	"testing"
)

func TestDieAtCountsItsPlace(t *testing.T) {
	for _, tt := range []struct {
		place    string
		n        uint64
		crossing []string
		wantAt   int // index of the crossing that ends it; -1: none
	}{
		{"a", 1, []string{"a"}, 0},
		{"a", 2, []string{"a", "b", "a"}, 2},
		{"*", 2, []string{"a", "b", "a"}, 1},
		{"a", 3, []string{"a", "b", "a"}, -1},
		{"c", 1, []string{"a", "b"}, -1},
	} {
		died, at := -1, 0
		h := dieAt(tt.place, tt.n, func() { died = at })
		for at = range tt.crossing {
			h(tt.crossing[at])
		}
		if died != tt.wantAt {
			t.Errorf("%s:%d over %v ended at %d, want %d", tt.place, tt.n, tt.crossing, died, tt.wantAt)
		}
	}
}

func TestParse(t *testing.T) {
	place, n, err := parse("ring.claim:17")
	if err != nil || place != "ring.claim" || n != 17 {
		t.Fatalf("parse gave %q, %d, %v", place, n, err)
	}
	for _, bad := range []string{"ring.claim", ":1", "x:", "x:0", "x:-1", "x:y"} {
		if _, _, err := parse(bad); err == nil {
			t.Errorf("parse(%q) accepted it", bad)
		}
	}
}

func TestHitCallsHandler(t *testing.T) {
	defer func(h func(string)) { Handler = h }(Handler)
	var got []string
	Handler = func(name string) { got = append(got, name) }
	Hit("one")
	Hit("two")
	if len(got) != 2 || got[0] != "one" || got[1] != "two" {
		t.Fatalf("handler saw %v", got)
	}
	Handler = nil
	Hit("three") // must not panic
}

func TestCountInDiesWhereTheTableSaysSo(t *testing.T) {
	table := openTable(t, filepath.Join(t.TempDir(), "x"))
	deaths := 0
	h := countIn(table, func() { deaths++ })
	h("a")
	if err := table.DieAt("a", 3); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{0, 1, 1} {
		if h("a"); deaths != want {
			t.Errorf("behind crossing %d: %d deaths, want %d", i+2, deaths, want)
		}
	}
}
