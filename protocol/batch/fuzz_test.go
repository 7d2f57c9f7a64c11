package batch_test

import (
	"bytes"
	"testing"

	"github.com/trimq/trimq/protocol/batch"
)

func seeds(f *testing.F) {
	b := goldenBuilder()
	f.Add(bytes.Clone(b.Seal(batch.None, -1, -1, -1)))
	f.Add(bytes.Clone(b.Seal(batch.None, 1, 2, 3)))
	for range 30 {
		b.Add(1, []byte("k"), []byte("a text that repeats itself"), nil)
	}
	f.Add(bytes.Clone(b.Seal(batch.Zstd, -1, -1, -1)))
	for _, p := range packers {
		f.Add(packed(f, p, []byte("a text that repeats itself"), []byte("a text that repeats itself"), nil))
	}
	f.Add([]byte{})
}

// FuzzReader: any bytes, the CRC not looked at. No panic; no more records than the header
// says; offsets not below the base; what is read and built again reads the same.
func FuzzReader(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		r := batch.Reader{SkipCRC: true, Limit: 1 << 20}
		if r.Reset(b) != nil {
			return
		}
		base := batch.Header(b).BaseOffset()
		var rec batch.Record
		var again batch.Builder
		var recs []plain
		for r.Next(&rec) {
			p := plain{rec.TimeMS, bytes.Clone(rec.Key), bytes.Clone(rec.Value), rec.AppendHeaders(nil)}
			if rec.Offset-base > 1<<31 {
				t.Fatalf("offset %d with base %d", rec.Offset, base)
			}
			recs = append(recs, p)
			if !again.Add(p.ts, p.key, p.value, p.headers) {
				t.Fatal("what was read cannot be built")
			}
		}
		if len(recs) > r.Count() || r.Err() == nil && len(recs) != r.Count() {
			t.Fatalf("%d records of %d, %v", len(recs), r.Count(), r.Err())
		}
		if len(recs) > 0 {
			compareRecords(t, again.Seal(batch.None, -1, -1, -1), 0, recs)
		}
	})
}

// FuzzValidate: no panic; what it accepts has the length and count it reports, splits into
// itself, and stays valid when patched.
func FuzzValidate(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= batch.HeaderSize {
			b = bytes.Clone(b)
			resum(b) // or nothing would ever be accepted
		}
		m, err := batch.Validate(b)
		if err != nil {
			return
		}
		if int(m.Length) != len(b) || m.Count == 0 || m.CRC != batch.Checksum(b) {
			t.Fatalf("%+v of %d bytes", m, len(b))
		}
		if first, rest, err := batch.Split(b); err != nil || len(first) != len(b) || len(rest) != 0 {
			t.Fatalf("Split: %d and %d bytes, %v", len(first), len(rest), err)
		}
		batch.PatchBase(b, 1<<63, -1)
		if _, err := batch.Validate(b); err != nil {
			t.Fatalf("patched: %v", err)
		}
	})
}

// FuzzSplit: no panic; the parts are the whole.
func FuzzSplit(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		first, rest, err := batch.Split(b)
		if err == nil && !bytes.Equal(append(bytes.Clone(first), rest...), b) {
			t.Fatal("the parts are not the whole")
		}
		if err == nil && len(first) < batch.HeaderSize {
			t.Fatalf("first has %d bytes", len(first))
		}
	})
}
