package batch_test

import (
	"fmt"
	"testing"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/golden"
)

// headerLayout is the header as docs/formats/batch.md draws it.
const headerLayout = `baseOffset:8 batchLength:4 leaderEpoch:4 magic:1 crc32c:4 attributes:2
	lastOffsetDelta:4 baseTimestamp:8 maxTimestamp:8 producerId:8 producerEpoch:2 baseSequence:4 count:4 `

func goldenBuilder() *batch.Builder {
	b := new(batch.Builder)
	b.Add(1700000000000, []byte("key"), []byte("value"), []batch.RecordHeader{{Key: "h", Value: []byte("1")}, {Key: "none"}})
	b.Add(1700000000250, nil, []byte{}, nil)
	b.Add(1699999999999, []byte{}, nil, nil)
	return b
}

func TestGoldenPlain(t *testing.T) {
	golden.Check(t, "batch_v2_plain", headerLayout+`
		record0.length=24:1 attributes:1 timestampDelta=0:1 offsetDelta=0:1 keyLength=3:1 key:3 valueLength=5:1 value:5
		headers=2:1 nameLength=1:1 name:1 valueLength=1:1 value:1 nameLength=4:1 name:4 valueLength=-1:1
		record1.length=7:1 attributes:1 timestampDelta=250:2 offsetDelta=1:1 keyLength=-1:1 valueLength=0:1 headers=0:1
		record2.length=6:1 attributes:1 timestampDelta=-1:1 offsetDelta=2:1 keyLength=0:1 valueLength=-1:1 headers=0:1`,
		goldenBuilder().Seal(batch.None, -1, -1, -1))
}

func TestGoldenIdempotentPatched(t *testing.T) {
	got := goldenBuilder().Seal(batch.None, 0x1122334455667788, 3, 2147483647)
	batch.PatchBase(got, 0x0102030405060708, 9)
	golden.Check(t, "batch_v2_idempotent", headerLayout+"records:*", got)
}

// What zstd writes may change with its library, so this file is read, never compared.
func TestGoldenZstdStaysReadable(t *testing.T) {
	var r batch.Reader
	if err := r.Reset(golden.Read(t, "batch_v2_zstd")); err != nil {
		t.Fatal(err)
	}
	var rec batch.Record
	n := 0
	for r.Next(&rec) {
		if want := fmt.Sprintf("the same text again and again %d", n); string(rec.Value) != want {
			t.Fatalf("record %d is %q", n, rec.Value)
		}
		n++
	}
	if r.Err() != nil || n != 20 {
		t.Fatalf("%d records, then %v", n, r.Err())
	}
}

func TestGoldenConstants(t *testing.T) { golden.Constants(t, "batch_v2_constants") }
