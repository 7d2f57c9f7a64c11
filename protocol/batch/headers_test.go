package batch

import (
	"bytes"
	"strings"
	"testing"
)

// TestHeaders walks over headers with names and values of all kinds of lengths, whole and
// with some lengths only.
func TestHeaders(t *testing.T) {
	var headers []RecordHeader
	for _, n := range []int{0, 1, 5, 62, 63, 64, 65, 200, 5} {
		headers = append(headers, RecordHeader{Key: strings.Repeat("k", n), Value: bytes.Repeat([]byte{byte(n)}, n)},
			RecordHeader{Key: strings.Repeat("n", n)})
	}
	var b Builder
	b.Add(1, nil, nil, headers)
	var r Reader
	var rec Record
	if err := r.Reset(b.Seal(None, NoProducer, 0, 0)); err != nil || !r.Next(&rec) {
		t.Fatal(err, r.Err())
	}
	for _, lengths := range [][]int{nil, {0}, {5}, {1, 62}, {63}, {0, 1, 5, 62, 63}, {7}} {
		wanted := func(n int) bool { return false }
		set := uint64(0)
		for _, n := range lengths {
			before := wanted
			wanted = func(k int) bool { return before(k) || k == n || n == 63 && k > 63 }
			set |= LengthBit(n)
		}
		h := rec.Headers()
		for _, want := range headers {
			if !wanted(len(want.Key)) {
				continue
			}
			key, value, ok := h.NextOf(set)
			if !ok || string(key) != want.Key || !bytes.Equal(value, want.Value) || (value == nil) != (want.Value == nil) {
				t.Fatalf("%v: %q %q %v, want %q", lengths, key, value, ok, want.Key)
			}
			if again := h.Bytes(h.At()-len(value), h.At()); value != nil && !bytes.Equal(again, value) {
				t.Fatalf("%v: %q at %d", lengths, again, h.At())
			}
		}
		if key, _, ok := h.NextOf(set); ok {
			t.Fatalf("%v: %q behind the last one", lengths, key)
		}
	}
	if got := rec.AppendHeaders(nil); len(got) != len(headers) {
		t.Fatalf("%d headers of %d", len(got), len(headers))
	}
	seen := 0
	rec.EachHeader(func(_, _ []byte) bool { seen++; return seen < 3 })
	if seen != 3 {
		t.Fatalf("%d headers seen, 3 wanted", seen)
	}
	var none Record
	if h := none.Headers(); h.left != 0 {
		t.Fatal("a record without headers has some")
	}
}
