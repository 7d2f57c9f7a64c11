package batch

import (
	"bytes"
	"testing"
)

// cuttable is what sliceable makes, compressed.
func cuttable(n int) (plain, packed []byte) {
	plain = sliceable(n)
	var b Builder
	var rec Record
	var r Reader
	if err := r.Reset(plain); err != nil {
		panic(err)
	}
	for r.Next(&rec) {
		b.Add(rec.TimeMS, rec.Key, rec.Value, rec.AppendHeaders(nil))
	}
	return plain, append([]byte(nil), b.Seal(Zstd, 77, 3, 1<<31-10)...)
}

// TestCutter takes records out of a batch and of the same compressed, in any order: what comes is
// what Slice makes of the first.
func TestCutter(t *testing.T) {
	plain, packed := cuttable(300)
	if len(packed) >= len(plain) || Header(packed).Codec() != Zstd {
		t.Fatal("the batch is not compressed")
	}
	prefix := []byte("before")
	for name, b := range map[string][]byte{"plain": plain, "packed": packed} {
		var c Cutter
		for i, cut := range []struct{ first, count int }{{0, 1}, {1, 10}, {11, 100}, {299, 1}, {0, 300}, {50, 3}, {40, 2}, {42, 1}} {
			want, _, err := Slice(prefix, plain, Place{}, cut.first, cut.count)
			if err != nil {
				t.Fatal(err)
			}
			out, taken, err := c.Take(prefix, b, uint64(i/4), cut.first, cut.count, 1<<30)
			if err != nil || taken != cut.count || !bytes.Equal(out, want) {
				t.Errorf("%s, %+v: %d taken, %v", name, cut, taken, err)
			}
			if c.place.Record != cut.first+cut.count {
				t.Errorf("%s, %+v: goes on at %+v", name, cut, c.place)
			}
		}
	}
}

// TestCutterBounds: as many records as make so many bytes, but one at least; the rest follows.
func TestCutterBounds(t *testing.T) {
	plain, packed := cuttable(100)
	whole := list(t, plain, 0)
	for _, max := range []int{0, 61, 300, 1000, 5000, 1 << 20} {
		var c Cutter
		var got []string
		for first := 0; first < 100; {
			out, taken, err := c.Take(nil, packed, 1, first, 100-first, max)
			if err != nil || taken < 1 || taken > 1 && len(out) > max {
				t.Fatalf("at most %d bytes: %d records in %d bytes, %v", max, taken, len(out), err)
			}
			if meta, err := Validate(out); err != nil || int(meta.Count) != taken {
				t.Fatalf("%+v %v", meta, err)
			}
			got = append(got, list(t, out, uint64(first))...)
			first += taken
		}
		if len(got) != len(whole) || got[99] != whole[99] || got[50] != whole[50] {
			t.Errorf("at most %d bytes at once: %d records", max, len(got))
		}
	}
}

func TestCutterRefuses(t *testing.T) {
	plain, packed := cuttable(100)
	gzip := append([]byte(nil), plain...)
	gzip[OffAttributes+1] |= byte(Gzip)
	cut := packed[:len(packed)-3]
	more := append([]byte(nil), packed...)
	more[OffCount+3] = 101 // than there are
	for name, tc := range map[string]struct {
		b            []byte
		first, count int
	}{
		"no records": {packed, 0, 0}, "beyond the end": {packed, 99, 2}, "negative": {packed, -1, 2}, "short": {packed[:20], 0, 1},
		"another codec": {gzip, 0, 1}, "cut off": {cut, 0, 1}, "fewer than it says": {more, 100, 1},
	} {
		var c Cutter
		if out, _, err := c.Take([]byte("x"), tc.b, 1, tc.first, tc.count, 1000); err == nil || string(out) != "x" {
			t.Errorf("%s: %q %v", name, out, err)
		}
		// It is of use all the same.
		if out, _, err := c.Take(nil, plain, 1, 3, 2, 1000); err != nil || len(list(t, out, 0)) != 2 {
			t.Errorf("after %s: %v", name, err)
		}
	}
	// A large batch is not kept for ever.
	var b Builder
	b.Add(1, nil, make([]byte, 2*keptBytes), nil)
	var c Cutter
	if _, _, err := c.Take(nil, b.Seal(Zstd, NoProducer, 0, 0), 1, 0, 1, 1<<30); err != nil || cap(c.recs) < keptBytes {
		t.Fatal(cap(c.recs), err)
	}
	if _, _, err := c.Take(nil, packed, 2, 0, 1, 1<<30); err != nil || cap(c.recs) > keptBytes {
		t.Error(cap(c.recs), err)
	}
}

// FuzzCutter: whatever the records are, what is taken is a valid batch or an error.
func FuzzCutter(f *testing.F) {
	plain, packed := cuttable(20)
	f.Add(plain, 3, 5, 100)
	f.Add(packed, 0, 3, 1000)
	f.Fuzz(func(t *testing.T, b []byte, first, count, max int) {
		if _, err := Inspect(b); err != nil {
			return
		}
		var c Cutter
		for range 2 {
			out, taken, err := c.Take(nil, b, 1, first, count, max)
			if err != nil {
				return
			}
			if meta, err := Validate(out); err != nil || int(meta.Count) != taken || taken > count {
				t.Fatalf("%d taken: %+v %v", taken, meta, err)
			}
		}
	})
}
