package batch_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/errcode"
)

// withRecords puts raw record bytes behind a sound header.
func withRecords(count int32, codec batch.Codec, recs []byte) []byte {
	b := append(make([]byte, batch.HeaderSize), recs...)
	binary.BigEndian.PutUint32(b[batch.OffLength:], uint32(len(b)-batch.LengthPrefix))
	b[batch.OffMagic] = batch.Magic
	b[batch.OffAttributes+1] = byte(codec)
	binary.BigEndian.PutUint32(b[batch.OffLastOffsetDelta:], uint32(count-1))
	binary.BigEndian.PutUint32(b[batch.OffCount:], uint32(count))
	resum(b)
	return b
}

func readAll(b []byte) error {
	return batch.Iterate(b, func(*batch.Record) error { return nil })
}

func TestReaderRefuses(t *testing.T) {
	pad := strings.Repeat("\x00", 64) // so that a count of 1 is plausible
	for _, c := range []struct{ name, recs, want string }{
		{"length cut", "\x80\x80\x80\x80\x80\x80\x80\x80", "record length"},
		{"length negative", "\x01" + pad, "record length"},
		{"length above the batch", "\xfe\x01" + pad, "record length"},
		{"no attributes", "\x00" + pad, "attributes"},
		{"time delta cut", "\x04\x00\x80" + pad, "timestamp delta"},
		{"offset delta negative", "\x0c\x00\x00\x01\x01\x01\x00" + pad, "offset delta"},
		{"offset delta of six bytes", "\x14\x00\x00\x80\x80\x80\x80\x80\x00\x01\x01\x00" + pad, "offset delta"},
		{"key length -2", "\x0c\x00\x00\x00\x03\x01\x00" + pad, "key"},
		{"key above the record", "\x0c\x00\x00\x00\x08\x01\x00" + pad, "key"},
		{"value above the record", "\x0c\x00\x00\x00\x01\x08\x00" + pad, "value"},
		{"header count negative", "\x0c\x00\x00\x00\x01\x01\x01" + pad, "header count"},
		{"header count above the bytes", "\x0c\x00\x00\x00\x01\x01\x7e" + pad, "header count"},
		{"header without key", "\x10\x00\x00\x00\x01\x01\x02\x01\x01" + pad, "headers"},
		{"header value cut", "\x12\x00\x00\x00\x01\x01\x02\x02h\x08" + pad, "headers"},
		{"bytes behind the headers", "\x14\x00\x00\x00\x01\x01\x02\x02h\x01\x00" + pad, "headers"},
		{"bytes behind the record's end", "\x0e\x00\x00\x00\x01\x01\x00\x00" + pad, "end of record"},
		{"bytes behind the last record", "\x0c\x00\x00\x00\x01\x01\x00" + pad, "behind the last record"},
		{"fewer bytes than records", "\x0c", "1 records in 1 bytes"},
	} {
		err := readAll(withRecords(1, batch.None, []byte(c.recs)))
		if codeOf(err) != errcode.InvalidBatch || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	if err := readAll(withRecords(1, batch.None, []byte("\x0c\x00\x00\x00\x01\x01\x00"))); err != nil {
		t.Errorf("the smallest record: %v", err)
	}
}

func TestReaderHeaderChecks(t *testing.T) {
	good := func() []byte { return bytes.Clone(goldenBuilder().Seal(batch.None, -1, -1, -1)) }
	for _, c := range []struct {
		name   string
		change func(b []byte)
		want   errcode.Code
	}{
		{"crc", func(b []byte) { b[70] ^= 1 }, errcode.CorruptBatch},
		{"magic", func(b []byte) { b[16] = 1 }, errcode.InvalidBatch},
		{"count above the last delta", func(b []byte) { b[60]++; resum(b) }, errcode.InvalidBatch},
		{"gzip", func(b []byte) { b[22] = 1; resum(b) }, errcode.InvalidBatch},
		{"not zstd", func(b []byte) { b[22] = 4; resum(b) }, errcode.InvalidBatch},
	} {
		b := good()
		c.change(b)
		if err := readAll(b); codeOf(err) != c.want {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if err := readAll(append(good(), 0)); codeOf(err) != errcode.InvalidBatch {
		t.Errorf("trailing byte: %v", err)
	}
	b := good()
	b[70] ^= 1
	r := batch.Reader{SkipCRC: true}
	if err := r.Reset(b); err != nil {
		t.Errorf("SkipCRC: %v", err)
	}
}

// Compaction leaves batches with fewer records than offsets.
func TestReaderAcceptsMissingRecords(t *testing.T) {
	b := withRecords(1, batch.None, []byte("\x0c\x00\x00\x08\x01\x01\x00")) // offset delta 4
	binary.BigEndian.PutUint32(b[batch.OffLastOffsetDelta:], 9)
	resum(b)
	batch.PatchBase(b, 100, 0)
	err := batch.Iterate(b, func(rec *batch.Record) error {
		if rec.Offset != 104 {
			t.Errorf("offset %d", rec.Offset)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestReaderLogAppendTime(t *testing.T) {
	b := bytes.Clone(goldenBuilder().Seal(batch.None, -1, -1, -1))
	b[batch.OffAttributes+1] |= 0x08
	resum(b)
	err := batch.Iterate(b, func(rec *batch.Record) error {
		if rec.TimeMS != 1700000000250 {
			t.Errorf("time %d", rec.TimeMS)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestIterateStopsAtTheCallersError(t *testing.T) {
	stop := errors.New("stop")
	n := 0
	err := batch.Iterate(goldenBuilder().Seal(batch.None, -1, -1, -1), func(*batch.Record) error { n++; return stop })
	if !errors.Is(err, stop) || n != 1 {
		t.Fatalf("%d records, %v", n, err)
	}
}

func TestReaderBuffers(t *testing.T) {
	pack := func(text string) []byte {
		var b batch.Builder
		for range 50 {
			b.Add(1, nil, []byte(text), nil)
		}
		return b.Seal(batch.Zstd, -1, -1, -1)
	}
	var r batch.Reader
	var first, second batch.Record
	if err := r.Reset(pack("aaaaaaaaaaaaaaaaaaaaaaaaa")); err != nil || !r.Next(&first) {
		t.Fatal(err)
	}
	r.TakeBuffer()
	if err := r.Reset(pack("bbbbbbbbbbbbbbbbbbbbbbbbb")); err != nil || !r.Next(&second) {
		t.Fatal(err)
	}
	if first.Value[0] != 'a' || second.Value[0] != 'b' {
		t.Fatalf("a taken buffer was used again: %q %q", first.Value, second.Value)
	}
	given := make([]byte, 0, 1<<16)
	r.GiveBuffer(given)
	if err := r.Reset(pack("ccccccccccccccccccccccccc")); err != nil || !r.Next(&second) {
		t.Fatal(err)
	}
	if got := r.TakeBuffer(); cap(got) != cap(given) || &got[:1][0] != &given[:1][0] {
		t.Fatal("the given buffer was not used")
	}
}

// A small input must neither decompress without bound nor take memory for what it claims.
func TestDecompressionIsBounded(t *testing.T) {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	bomb := withRecords(1, batch.Zstd, w.EncodeAll(make([]byte, 32<<20), nil))
	r := batch.Reader{Limit: 1 << 20}
	if err := r.Reset(bomb); codeOf(err) != errcode.InvalidBatch {
		t.Fatalf("32 MiB under a limit of 1 MiB: %v", err)
	}
	if err := (&batch.Reader{Limit: 32 << 20}).Reset(bomb); err != nil {
		t.Fatalf("32 MiB under a limit of 32 MiB: %v", err)
	}
	// A single-segment frame that claims 60 MiB and holds one raw byte.
	lying := []byte{0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0x00, 0x00, 0xc0, 0x03, 0x09, 0x00, 0x00, 'x'}
	liar := withRecords(1, batch.Zstd, lying)
	var before, after runtime.MemStats
	_ = r.Reset(liar) // fill the pool
	runtime.ReadMemStats(&before)
	if err := r.Reset(liar); codeOf(err) != errcode.InvalidBatch {
		t.Fatalf("lying frame: %v", err)
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 4<<20 {
		t.Fatalf("13 bytes made the reader allocate %d", took)
	}
}

// TestGoto: reading goes on at any place that the reader has given, in any order, and Skip
// comes by the same places as Next.
func TestGoto(t *testing.T) {
	for _, codec := range []batch.Codec{batch.None, batch.Zstd} {
		var b batch.Builder
		for i := range 40 {
			b.Add(int64(i), nil, bytes.Repeat([]byte("text "), 1+i*7%50), nil)
		}
		sealed := b.Seal(codec, batch.NoProducer, 0, 0)
		var r batch.Reader
		if err := r.Reset(sealed); err != nil {
			t.Fatal(err)
		}
		var rec batch.Record
		places := []batch.Place{r.Place()}
		for r.Next(&rec) {
			places = append(places, r.Place())
		}
		r.Goto(batch.Place{})
		for i := 1; r.Skip(); i++ {
			if r.Place() != places[i] {
				t.Fatalf("%s: Skip went to %+v, Next to %+v", codec, r.Place(), places[i])
			}
		}
		for _, i := range []int{39, 0, 20, 40, 3} {
			if err := r.Reset(sealed); err != nil {
				t.Fatal(err)
			}
			if r.Goto(places[i]); r.Next(&rec) != (i < 40) || i < 40 && rec.Offset != uint64(i) || r.Err() != nil {
				t.Errorf("%s: record %d is %d, %v", codec, i, rec.Offset, r.Err())
			}
		}
		for _, wild := range []batch.Place{{Record: -1}, {Record: 41}, {Off: -1}, {Off: 1 << 30}} {
			if r.Goto(wild); !r.Next(&rec) || rec.Offset != 0 {
				t.Errorf("%s: %+v led to record %d", codec, wild, rec.Offset)
			}
		}
		r.Goto(batch.Place{Record: 5, Off: 3}) // in the middle of a record: no panic, and an end
		for r.Next(&rec) {
		}
	}
	var r batch.Reader
	if err := r.Reset(withRecords(1, batch.None, []byte("\xfe\x01"+strings.Repeat("\x00", 64)))); err != nil {
		t.Fatal(err)
	}
	if r.Skip() || r.Err() == nil || r.Skip() {
		t.Error("a record was skipped whose length is wrong")
	}
}
