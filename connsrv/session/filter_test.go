package session

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/selector"
)

// filter compiles a selector.
func filter(t testing.TB, text string) *selector.Filter {
	f, err := selector.CompileSelector(text)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// filterable makes a batch of n records with a number and an area each.
func filterable(n int, codec batch.Codec) []byte {
	var b batch.Builder
	for i := range n {
		b.Add(1700000000000+int64(i), fmt.Appendf(nil, "key-%d", i), bytes.Repeat([]byte("value "), 20), []batch.RecordHeader{
			{Key: "trace", Value: []byte("4bf92f3577b34da6a3ce929d0e0e4736")},
			{Key: "area", Value: []byte([]string{"hz", "sh", "bj"}[i%3])},
			{Key: "price", Value: fmt.Append(nil, i)},
		})
	}
	return bytes.Clone(b.Seal(codec, batch.NoProducer, 0, 0))
}

// reference evaluates a filter for every record, without any of the sieve's means.
func reference(f *selector.Filter, b []byte, id BatchID, r ipc.Range) (runs []Run, err error) {
	offset := id.Base
	err = batch.Iterate(b, func(rec *batch.Record) error {
		match := f.Match(rec)
		if offset >= r.First && offset < r.First+uint64(r.Count) {
			if n := len(runs); n > 0 && runs[n-1].Match == match {
				runs[n-1].Count++
			} else {
				runs = append(runs, Run{ipc.Range{First: offset, Count: 1}, match})
			}
		}
		offset++
		return nil
	})
	return runs, err
}

// TestSieve: consumers of several filters get parts of several batches, forwards and now
// and then from the front again; the runs are always those of the reference.
func TestSieve(t *testing.T) {
	filters := []*selector.Filter{
		filter(t, "area = 'hz'"), filter(t, "price >= 50 AND price < 60 OR price = 7"), filter(t, "FALSE"), filter(t, ""), filter(t, "$key LIKE '%3'"),
		filter(t, "$timestamp > 1700000000030"), filter(t, "nothing = 1"),
	}
	for i := range 30 { // more than there are marks
		filters = append(filters, filter(t, fmt.Sprintf("price < %d", i)))
	}
	var batches [][]byte
	for _, n := range []int{1, 2, 63, 64, 65, 200} {
		batches = append(batches, filterable(n, batch.None), filterable(n, batch.Zstd))
	}
	rapid.Check(t, func(t *rapid.T) {
		var s Sieve
		before := []Run{{ipc.Range{First: 5, Count: 1}, true}}
		position := map[[2]int]int{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			which, by := rapid.IntRange(0, len(batches)-1).Draw(t, "batch"), rapid.IntRange(0, len(filters)-1).Draw(t, "filter")
			id := BatchID{Index: uint64(which % 3), Base: 1000 + uint64(which)*500}
			b := batches[which]
			n := int(batch.Header(b).Count())
			at := position[[2]int{which, by}]
			if at >= n || rapid.IntRange(0, 9).Draw(t, "again") == 0 {
				at = rapid.IntRange(0, n-1).Draw(t, "at")
			}
			count := rapid.IntRange(1, n-at).Draw(t, "count")
			position[[2]int{which, by}] = at + count
			r := ipc.Range{First: id.Base + uint64(at), Count: uint32(count)}
			got, err := s.Runs(before, filters[by], id, b, r)
			if err != nil {
				t.Fatal(err)
			}
			want, _ := reference(filters[by], b, id, r)
			if !slices.Equal(got[1:], want) || got[0] != before[0] {
				t.Fatalf("%s of batch %d, %+v: %v, want %v", filters[by], which, r, got, want)
			}
		}
	})
}

// TestSieveRefuses what it cannot look into, and says why.
func TestSieveRefuses(t *testing.T) {
	f, id := filter(t, "area = 'hz'"), BatchID{Index: 1, Base: 100}
	plain, packed := filterable(10, batch.None), filterable(100, batch.Zstd)
	damaged := func(b []byte, at int) []byte {
		b = bytes.Clone(b)
		b[at] ^= 1
		return b
	}
	resummed := func(b []byte) []byte {
		binary.BigEndian.PutUint32(b[batch.OffCRC:], batch.Checksum(b))
		return b
	}
	gzip := bytes.Clone(packed)
	gzip[batch.OffAttributes+1] = byte(batch.Gzip)
	resummed(gzip)
	left := bytes.Clone(packed)
	binary.BigEndian.PutUint32(left[batch.OffCount:], 50)
	resummed(left)
	for name, tc := range map[string]struct {
		b            []byte
		first, count int
		code         errcode.Code
	}{
		"before the batch":     {plain, 99, 2, errcode.InvalidBatch},
		"behind the batch":     {plain, 110, 1, errcode.InvalidBatch},
		"over its end":         {plain, 105, 6, errcode.InvalidBatch},
		"no offsets":           {plain, 100, 0, errcode.InvalidBatch},
		"short":                {plain[:60], 100, 1, errcode.InvalidBatch},
		"cut off":              {plain[:len(plain)-1], 100, 1, errcode.InvalidBatch},
		"damaged":              {damaged(plain, len(plain)-3), 100, 1, errcode.CorruptBatch},
		"damaged, compressed":  {damaged(packed, len(packed)-3), 100, 1, errcode.CorruptBatch},
		"a record's length":    {resummed(damaged(plain, batch.HeaderSize)), 103, 1, errcode.InvalidBatch},
		"the same, looked at":  {resummed(damaged(plain, batch.HeaderSize)), 100, 4, errcode.InvalidBatch},
		"a frame that is none": {resummed(damaged(packed, batch.HeaderSize)), 100, 1, errcode.InvalidBatch},
		"another codec":        {gzip, 100, 1, errcode.InvalidBatch},
		"more records inside":  {left, 100, 1, errcode.InvalidBatch},
	} {
		var s Sieve
		for range 2 {
			got, err := s.Runs([]Run{{Match: true}}, f, id, tc.b, ipc.Range{First: uint64(tc.first), Count: uint32(tc.count)})
			if codeOf(err) != tc.code || len(got) != 1 {
				t.Errorf("%s: %v, %v", name, got, err)
			}
		}
	}
	var s Sieve
	s.Limit = 1000
	if _, err := s.Runs(nil, f, id, packed, ipc.Range{First: 100, Count: 1}); codeOf(err) != errcode.InvalidBatch {
		t.Errorf("a batch above the limit: %v", err)
	}
	if _, err := s.Runs(nil, f, BatchID{}, plain, ipc.Range{First: 1<<64 - 1, Count: 5}); codeOf(err) != errcode.InvalidBatch {
		t.Errorf("offsets that wrap: %v", err)
	}
}

func codeOf(err error) errcode.Code {
	if e, ok := err.(*errcode.Error); ok {
		return e.Code
	}
	return 0
}

// TestControlBatchMatchesNothing: it holds no messages.
func TestControlBatchMatchesNothing(t *testing.T) {
	b := filterable(3, batch.None)
	b[batch.OffAttributes+1] |= 0x20
	var s Sieve
	got, err := s.Runs(nil, filter(t, ""), BatchID{}, b, ipc.Range{First: 0, Count: 3})
	if want := []Run{{ipc.Range{First: 0, Count: 3}, false}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
}

// TestSieveForgetsOtherBytes: another batch under the same id is looked at anew.
func TestSieveForgetsOtherBytes(t *testing.T) {
	for _, codec := range []batch.Codec{batch.None, batch.Zstd} {
		var s Sieve
		f, id := filter(t, "price < 3"), BatchID{Index: 1, Base: 100}
		for _, n := range []int{50, 100, 40} {
			b := filterable(n, codec)
			r := ipc.Range{First: 100, Count: uint32(n)}
			want, _ := reference(f, b, id, r)
			if got, err := s.Runs(nil, f, id, b, r); err != nil || !slices.Equal(got, want) {
				t.Errorf("%s, %d records: %v, %v", codec, n, got, err)
			}
		}
	}
}

// TestSieveGivesMemoryBack after a large batch.
func TestSieveGivesMemoryBack(t *testing.T) {
	var b batch.Builder
	for range 150 {
		b.Add(1, nil, make([]byte, 40<<10), nil)
	}
	large := bytes.Clone(b.Seal(batch.Zstd, batch.NoProducer, 0, 0))
	many := filterable(70000, batch.Zstd)
	var s Sieve
	f := filter(t, "nothing IS NULL")
	for i, b := range [][]byte{large, many} {
		n := uint32(batch.Header(b).Count())
		for range 2 { // once from the records, once from the mark
			got, err := s.Runs(nil, f, BatchID{Base: uint64(i)}, b, ipc.Range{First: uint64(i), Count: n})
			if err != nil || len(got) != 1 || got[0].Count != n {
				t.Fatal(got, err)
			}
		}
		if buf := s.reader.TakeBuffer(); cap(buf) > spareBytes || i == 0 && s.reader.Count() > 0 {
			t.Errorf("%d bytes are kept", cap(buf))
		}
	}
	for i := range sieveMarks {
		if _, err := s.Runs(nil, f, BatchID{Index: 9, Base: uint64(i)}, filterable(3, batch.None), ipc.Range{First: uint64(i), Count: 1}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range s.marks {
		if cap(s.marks[i].bits) > spareWords {
			t.Errorf("mark %d keeps %d words", i, cap(s.marks[i].bits))
		}
	}
}

// TestSieveAllocatesNothing for a batch that is not compressed, nor for one that is known.
func TestSieveAllocatesNothing(t *testing.T) {
	f := filter(t, "area = 'hz' AND price > 10")
	for _, codec := range []batch.Codec{batch.None, batch.Zstd} {
		var s Sieve
		b := filterable(100, codec)
		runs, err := s.Runs(nil, f, BatchID{}, b, ipc.Range{Count: 100})
		if err != nil {
			t.Fatal(err)
		}
		at := uint64(0)
		n := testing.AllocsPerRun(100, func() {
			runs, err = s.Runs(runs[:0], f, BatchID{}, b, ipc.Range{First: at % 100, Count: 5})
			at += 5
		})
		if n != 0 || err != nil {
			t.Errorf("%s: %v allocations, %v", codec, n, err)
		}
	}
}

// TestSieveSurvivesAnUnreadablePage of a mapped batch.
func TestSieveSurvivesAnUnreadablePage(t *testing.T) {
	f := filter(t, "area = 'hz'")
	for _, codec := range []batch.Codec{batch.None, batch.Zstd} {
		whole := filterable(4000, codec)
		path := filepath.Join(t.TempDir(), "segment")
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		mem, err := unix.Mmap(int(file.Fd()), 0, len(whole), unix.PROT_READ, unix.MAP_SHARED)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Munmap(mem)
		var s Sieve
		if err := file.Truncate(4096); err != nil {
			t.Fatal(err)
		}
		before := []Run{{Match: true}}
		if got, err := s.Runs(before, f, BatchID{}, mem, ipc.Range{Count: 4000}); err == nil || len(got) != 1 {
			t.Errorf("%s: %d runs, %v", codec, len(got), err)
		}
		if got, err := s.Runs(nil, f, BatchID{}, whole, ipc.Range{Count: 4000}); err != nil || len(got) != 2667 {
			t.Errorf("%s afterwards: %d runs, %v", codec, len(got), err)
		}
	}
}

// FuzzSieve: any bytes with a right length and CRC. No panic; runs tile the range, and are those of the
// reference, whatever parts were asked for before.
func FuzzSieve(f *testing.F) {
	f.Add(filterable(5, batch.None), uint8(0), uint8(2), uint8(1))
	f.Add(filterable(9, batch.Zstd), uint8(3), uint8(4), uint8(2))
	f.Add(filterable(70, batch.Zstd), uint8(60), uint8(9), uint8(3))
	wanted := filter(f, "area = 'hz' AND price > 1 OR trace IS NULL")
	f.Fuzz(func(t *testing.T, b []byte, first, count, before uint8) {
		if len(b) >= batch.HeaderSize {
			b = bytes.Clone(b)
			binary.BigEndian.PutUint32(b[batch.OffLength:], uint32(len(b)-batch.LengthPrefix))
			binary.BigEndian.PutUint32(b[batch.OffCRC:], batch.Checksum(b))
		}
		s := Sieve{Limit: 1 << 20}
		id := BatchID{Index: 1, Base: 1000}
		_, _ = s.Runs(nil, wanted, id, b, ipc.Range{First: 1000, Count: uint32(before)})
		r := ipc.Range{First: 1000 + uint64(first), Count: uint32(count)}
		got, err := s.Runs(nil, wanted, id, b, r)
		if err != nil {
			return
		}
		next := r.First
		for i, run := range got {
			if run.First != next || run.Count == 0 || i > 0 && got[i-1].Match == run.Match {
				t.Fatalf("%v of %+v", got, r)
			}
			next += uint64(run.Count)
		}
		if next != r.First+uint64(r.Count) {
			t.Fatalf("%v of %+v", got, r)
		}
		if batch.Header(b).Control() {
			return
		}
		// The reference wants the whole batch to be sound, the sieve only what it was asked for.
		if want, err := reference(wanted, b, id, r); err == nil && !slices.Equal(got, want) {
			t.Fatalf("%v, want %v", got, want)
		}
	})
}

// BenchmarkSieve takes a batch of 1,000 records in parts; time is for each record.
func BenchmarkSieve(b *testing.B) {
	f := filter(b, "area = 'hz' AND price > 100")
	for _, codec := range []batch.Codec{batch.None, batch.Zstd} {
		whole := filterable(1000, codec)
		for _, part := range []int{1, 10, 1000} {
			b.Run(fmt.Sprintf("%s, parts of %d", codec, part), func(b *testing.B) {
				var s Sieve
				var runs []Run
				b.ReportAllocs()
				base, records := uint64(0), 0
				for b.Loop() {
					for at := 0; at < 1000; at += part {
						var err error
						id := BatchID{Base: base}
						if runs, err = s.Runs(runs[:0], f, id, whole, ipc.Range{First: base + uint64(at), Count: uint32(part)}); err != nil {
							b.Fatal(err)
						}
					}
					base += 1000 // the next batch
					records += 1000
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(records), "ns/record")
			})
		}
	}
}
