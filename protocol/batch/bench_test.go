package batch_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/trimq/trimq/protocol/batch"
)

// sampleValues are JSON messages of n bytes that compress about as real ones do.
func sampleValues(count, n int) [][]byte {
	rnd := rand.New(rand.NewPCG(7, 11))
	values := make([][]byte, count)
	for i := range values {
		v := fmt.Appendf(nil, `{"id":%d,"user":"u%08x","price":%.4f,"tags":["a%d","b%d"],"note":"`,
			i, rnd.Uint32(), rnd.Float64()*1000, rnd.IntN(50), rnd.IntN(50))
		for len(v) < n-2 {
			v = append(v, "abcdefghijklmnopqrstuvwxyz0123456789 .,"[rnd.IntN(39)])
		}
		values[i] = append(v, `"}`...)
	}
	return values
}

func BenchmarkBuilderAdd(b *testing.B) {
	for _, size := range []int{16, 250, 4096} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			values := sampleValues(256, size)
			var bl batch.Builder
			bl.Reserve(64, 256<<10)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if bl.Len() > 240<<10 {
					bl.Reset()
				}
				bl.Add(1700000000000, nil, values[i&255], nil)
			}
		})
	}
}

func filled(total, size int) *batch.Builder {
	values := sampleValues(256, size)
	bl := new(batch.Builder)
	for i := 0; bl.Len() < total; i++ {
		bl.Add(1700000000000+int64(i), nil, values[i&255], nil)
	}
	return bl
}

func BenchmarkSeal(b *testing.B) {
	for _, codec := range []batch.Codec{batch.None, batch.Zstd} {
		b.Run(codec.String(), func(b *testing.B) {
			bl := filled(64<<10, 250)
			b.SetBytes(int64(bl.Len()))
			b.ReportAllocs()
			for b.Loop() {
				bl.Seal(codec, -1, -1, -1)
			}
		})
	}
}

func BenchmarkValidate(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			sealed := filled(size, 250).Seal(batch.None, -1, -1, -1)
			b.SetBytes(int64(len(sealed)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := batch.Validate(sealed); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkReader(b *testing.B) {
	for _, codec := range []batch.Codec{batch.None, batch.Zstd} {
		b.Run(codec.String(), func(b *testing.B) {
			bl := filled(64<<10, 250)
			count := bl.Count()
			sealed := bl.Seal(codec, -1, -1, -1)
			var r batch.Reader
			var rec batch.Record
			b.ReportAllocs()
			records := 0
			for b.Loop() {
				if err := r.Reset(sealed); err != nil {
					b.Fatal(err)
				}
				for r.Next(&rec) {
					records++
				}
			}
			if records != b.N*count {
				b.Fatalf("%d records of %d", records, b.N*count)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(records), "ns/record")
		})
	}
}
