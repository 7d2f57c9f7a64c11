package session

import (
	"fmt"
	"testing"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/selector"
)

// Equal filters are one, so that what is remembered of batches under one serves all its consumers.
func TestFiltersAreShared(t *testing.T) {
	l := NewLane(&Rings{}, 0)
	get := func(kind selector.Kind, text string) *selector.Filter {
		t.Helper()
		f, err := l.Filter(ipc.Filter{Kind: uint8(kind), Text: text})
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	a := get(selector.KindTags, "a || b")
	if a == nil || get(selector.KindTags, "a || b") != a || get(selector.KindTags, "c") == a || get(selector.KindSelector, "a = 1") == a {
		t.Error("filters are mixed up")
	}
	for _, all := range []*selector.Filter{get(0, ""), get(selector.KindTags, "*"), get(selector.KindSelector, " ")} {
		if all != nil {
			t.Errorf("%s looks at messages", all)
		}
	}
	for i := range 3 * maxFilters {
		get(selector.KindTags, fmt.Sprint("t", i))
		if len(l.filters) > maxFilters {
			t.Fatalf("%d filters are kept", len(l.filters))
		}
	}
	if f := get(selector.KindTags, "a || b"); f == nil || f.String() != a.String() {
		t.Error("it is made anew")
	}
	for _, bad := range []ipc.Filter{{Kind: 1, Text: "price >"}, {Kind: 9, Text: "x"}} {
		if f, err := l.Filter(bad); err == nil || f != nil {
			t.Errorf("%+v was read", bad)
		}
	}
}

// TestSieveBelowZero: the first records of a batch may not be in the index, which begins behind
// them: then its base lies below 0.
func TestSieveBelowZero(t *testing.T) {
	var s Sieve
	b := filterable(10, batch.None)
	id := BatchID{Index: 1, Base: ^uint64(0) - 3} // record 4 has offset 0
	runs, err := s.Runs(nil, filter(t, "price >= 6"), id, b, ipc.Range{First: 0, Count: 6})
	want := []Run{{ipc.Range{First: 0, Count: 2}, false}, {ipc.Range{First: 2, Count: 4}, true}}
	if err != nil || fmt.Sprint(runs) != fmt.Sprint(want) {
		t.Errorf("%v %v", runs, err)
	}
	for _, r := range []ipc.Range{{First: 0, Count: 7}, {First: 6, Count: 1}, {First: 1 << 40, Count: 1}, {First: 0, Count: 0}} {
		if _, err := s.Runs(nil, filter(t, "price >= 6"), id, b, r); err == nil {
			t.Errorf("%+v is within the batch", r)
		}
	}
}
