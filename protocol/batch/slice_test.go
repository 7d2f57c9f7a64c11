package batch

import (
	"bytes"
	"fmt"
	"testing"
)

// sliceable makes a batch of n records that differ.
func sliceable(n int) []byte {
	var b Builder
	for i := range n {
		var key []byte
		if i%3 == 0 {
			key = fmt.Appendf(nil, "key %d", i)
		}
		b.Add(1000+int64(i*i), key, bytes.Repeat([]byte{byte(i)}, i%200), []RecordHeader{{Key: "h", Value: fmt.Append(nil, i)}})
	}
	return append([]byte(nil), b.Seal(None, 77, 3, 1<<31-10)...)
}

// list tells all records of a batch, with offsets from base on.
func list(t *testing.T, b []byte, base uint64) (records []string) {
	t.Helper()
	var r Reader
	if err := r.Reset(b); err != nil {
		t.Fatal(err)
	}
	r.Rebase(base)
	var rec Record
	for r.Next(&rec) {
		records = append(records, fmt.Sprintf("%d %d %q %q %v", rec.Offset, rec.TimeMS, rec.Key, rec.Value, rec.AppendHeaders(nil)))
	}
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	return records
}

func TestSlice(t *testing.T) {
	const n = 300
	whole := sliceable(n)
	want := list(t, whole, 5000)
	prefix := []byte("before")
	place := Place{}
	for _, cut := range []struct{ first, count int }{{0, 1}, {1, 10}, {11, 100}, {111, 188}, {299, 1}, {0, 300}, {50, 3}, {40, 2}} {
		out, next, err := Slice(prefix, whole, place, cut.first, cut.count)
		if err != nil {
			t.Fatalf("%+v: %v", cut, err)
		}
		if !bytes.HasPrefix(out, prefix) {
			t.Fatal("what stood before is gone")
		}
		piece := out[len(prefix):]
		meta, err := Validate(piece)
		if err != nil || int(meta.Count) != cut.count || meta.ProducerID != 77 || meta.Epoch != 3 ||
			meta.BaseSeq != NextSequence(1<<31-10, cut.first) {
			t.Fatalf("%+v: %+v %v", cut, meta, err)
		}
		got := list(t, piece, 5000+uint64(cut.first))
		for i := range got {
			if got[i] != want[cut.first+i] {
				t.Fatalf("%+v: record %d is %s, want %s", cut, i, got[i], want[cut.first+i])
			}
		}
		if len(got) != cut.count || next.Record != cut.first+cut.count {
			t.Fatalf("%+v: %d records, next %+v", cut, len(got), next)
		}
		place = next
	}
}

func TestSliceRefuses(t *testing.T) {
	whole := sliceable(10)
	var b Builder
	for range 100 {
		b.Add(1, nil, bytes.Repeat([]byte("x"), 100), nil)
	}
	packed := append([]byte(nil), b.Seal(Zstd, NoProducer, 0, 0)...)
	broken := append([]byte(nil), whole...)
	broken[HeaderSize] = 0xff
	for name, tc := range map[string]struct {
		b            []byte
		first, count int
	}{
		"no records": {whole, 0, 0}, "beyond the end": {whole, 9, 2}, "negative": {whole, -1, 2},
		"compressed": {packed, 0, 1}, "short": {whole[:20], 0, 1}, "broken": {broken, 3, 1}, "cut off": {whole[:HeaderSize+5], 0, 1},
	} {
		if out, _, err := Slice([]byte("x"), tc.b, Place{}, tc.first, tc.count); err == nil || string(out) != "x" {
			t.Errorf("%s: %q %v", name, out, err)
		}
	}
}

// FuzzSlice: whatever the records are, a slice is a valid batch or an error; and of records
// that can be read, it holds the same.
func FuzzSlice(f *testing.F) {
	f.Add(sliceable(20), 3, 5, 0, 0)
	f.Add(sliceable(3), 0, 3, 1, 9)
	f.Fuzz(func(t *testing.T, b []byte, first, count, record, off int) {
		if _, err := Inspect(b); err != nil {
			return
		}
		out, next, err := Slice(nil, b, Place{record, off}, first, count)
		if err != nil {
			return
		}
		if meta, err := Validate(out); err != nil || int(meta.Count) != count || next.Record != first+count {
			t.Fatalf("%+v %+v %v", meta, next, err)
		}
	})
}
