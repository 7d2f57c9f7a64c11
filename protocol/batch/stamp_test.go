package batch_test

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"github.com/trimq/trimq/protocol/batch"
)

// TestStamp: a stamped batch is valid, its records bear the time, and nothing else is different.
func TestStamp(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var b batch.Builder
		for range rapid.IntRange(1, 30).Draw(rt, "records") {
			b.Add(rapid.Int64Range(0, 1<<41).Draw(rt, "time"), nil, rapid.SliceOfN(rapid.Byte(), 0, 3000).Draw(rt, "value"), nil)
		}
		codec := rapid.SampledFrom([]batch.Codec{batch.None, batch.Zstd}).Draw(rt, "codec")
		sealed := bytes.Clone(b.Seal(codec, 7, 1, 5))
		m, err := batch.Validate(sealed)
		if err != nil {
			rt.Fatal(err)
		}
		now := rapid.Int64().Draw(rt, "now")
		stamped := bytes.Clone(sealed)
		batch.Stamp(stamped, &m, now)
		again, err := batch.Validate(stamped)
		if err != nil || again != m || m.MaxTimeMS != now {
			rt.Fatalf("%+v, %+v, %v", m, again, err)
		}
		if err := batch.Iterate(stamped, func(r *batch.Record) error {
			if r.TimeMS != now {
				rt.Errorf("a record of time %d", r.TimeMS)
			}
			return nil
		}); err != nil {
			rt.Fatal(err)
		}
		copy(stamped[batch.OffMaxTime:], sealed[batch.OffMaxTime:batch.OffProducerID])
		copy(stamped[batch.OffCRC:], sealed[batch.OffCRC:batch.OffLastOffsetDelta])
		if !bytes.Equal(stamped, sealed) {
			rt.Error("more than the time has changed")
		}
	})
}

func BenchmarkStamp(b *testing.B) {
	var builder batch.Builder
	builder.Add(1, nil, make([]byte, 1<<20), nil)
	sealed := builder.Seal(batch.None, -1, -1, -1)
	m, err := batch.Validate(sealed)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		batch.Stamp(sealed, &m, int64(i))
	}
}
