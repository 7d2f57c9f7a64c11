package batch_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/errcode"
)

// packer is one form in which a client of Kafka compresses a batch.
type packer struct {
	name  string
	codec batch.Codec
	pack  func(t testing.TB, b []byte) []byte
}

var packers = []packer{
	{"gzip", batch.Gzip, packGzip},
	{"gzip in members", batch.Gzip, func(t testing.TB, b []byte) []byte {
		return append(packGzip(t, b[:len(b)/2]), packGzip(t, b[len(b)/2:])...)
	}},
	{"snappy", batch.Snappy, func(_ testing.TB, b []byte) []byte { return snappy.Encode(nil, b) }},
	{"snappy of Java", batch.Snappy, packXerial},
	{"lz4", batch.LZ4, func(t testing.TB, b []byte) []byte { return packLZ4(t, b) }},
	{"lz4 with checksums and size", batch.LZ4, func(t testing.TB, b []byte) []byte {
		return packLZ4(t, b, lz4.BlockChecksumOption(true), lz4.ChecksumOption(true), lz4.SizeOption(uint64(len(b))))
	}},
	{"lz4 in frames", batch.LZ4, func(t testing.TB, b []byte) []byte {
		return append(packLZ4(t, b[:len(b)/3]), packLZ4(t, b[len(b)/3:], lz4.BlockSizeOption(lz4.Block4Mb))...)
	}},
	{"zstd", batch.Zstd, func(t testing.TB, b []byte) []byte {
		w, err := zstd.NewWriter(nil)
		if err != nil {
			t.Fatal(err)
		}
		return w.EncodeAll(b, nil)
	}},
}

func packGzip(t testing.TB, b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// packXerial cuts as Java's library does, which takes 32 KiB at a time.
func packXerial(_ testing.TB, b []byte) []byte {
	out := []byte("\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01")
	for len(b) > 0 {
		n := min(len(b), 32<<10)
		block := snappy.Encode(nil, b[:n])
		out = append(binary.BigEndian.AppendUint32(out, uint32(len(block))), block...)
		b = b[n:]
	}
	return out
}

func packLZ4(t testing.TB, b []byte, options ...lz4.Option) []byte {
	var out bytes.Buffer
	w := lz4.NewWriter(&out)
	if err := w.Apply(append([]lz4.Option{lz4.BlockSizeOption(lz4.Block64Kb), lz4.ChecksumOption(false)}, options...)...); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// packed is a batch with values of these sizes, in a form.
func packed(t testing.TB, p packer, values ...[]byte) []byte {
	var b batch.Builder
	for _, v := range values {
		b.Add(1, nil, v, nil)
	}
	plain := b.Seal(batch.None, -1, -1, -1)
	return withRecords(int32(len(values)), p.codec, p.pack(t, plain[batch.HeaderSize:]))
}

// TestReadsAllCodecs: the same records come out of each form, large and small.
func TestReadsAllCodecs(t *testing.T) {
	var noise []byte // of which nothing can be made smaller
	for i := range 40000 {
		noise = binary.LittleEndian.AppendUint32(noise, uint32(i)*2654435761>>3)
	}
	values := [][]byte{[]byte("a"), bytes.Repeat([]byte("again and "), 20000), noise, nil, []byte("end")}
	for _, p := range packers {
		var r batch.Reader
		for round := range 2 { // with another's buffer, too
			if err := r.Reset(packed(t, p, values...)); err != nil {
				t.Fatalf("%s: %v", p.name, err)
			}
			var rec batch.Record
			for i, want := range values {
				if !r.Next(&rec) || !bytes.Equal(rec.Value, want) || (rec.Value == nil) != (want == nil) {
					t.Fatalf("%s, round %d, record %d: %d bytes, %v", p.name, round, i, len(rec.Value), r.Err())
				}
			}
			if r.Next(&rec) || r.Err() != nil {
				t.Fatalf("%s: behind the last record: %v", p.name, r.Err())
			}
		}
	}
}

// TestReadsLinkedLZ4: blocks that refer to those before them, as liblz4's program writes them.
func TestReadsLinkedLZ4(t *testing.T) {
	frame, err := os.ReadFile("testdata/linked.lz4")
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for i := 0; text.Len() < 70000; i++ {
		fmt.Fprintf(&text, "line %d; ", i%100)
	}
	recs := func(frames ...[]byte) int {
		var r batch.Reader
		_ = r.Reset(withRecords(1, batch.LZ4, bytes.Join(frames, nil)))
		return r.Size()
	}
	if n := recs(frame); n != 70000 {
		t.Fatalf("%d bytes came out of %q...", n, text.String()[:9])
	}
	if n := recs(frame, frame); n != 140000 {
		t.Fatalf("%d bytes came out of two frames", n)
	}
}

// TestDecompressionRefuses: what is cut off or damaged is an error of the batch, never a panic;
// what is there in full is not half of it.
func TestDecompressionRefuses(t *testing.T) {
	for _, p := range packers {
		b := packed(t, p, bytes.Repeat([]byte("text "), 1000), []byte("end"))
		for n := batch.HeaderSize; n < len(b)-1; n += 7 {
			cut := withRecords(2, p.codec, b[batch.HeaderSize:n])
			if err := readAll(cut); codeOf(err) != errcode.InvalidBatch {
				t.Fatalf("%s, cut to %d of %d bytes: %v", p.name, n, len(b), err)
			}
		}
	}
	for _, c := range []struct {
		name  string
		codec batch.Codec
		recs  string
		want  string
	}{
		{"snappy of 4 GiB", batch.Snappy, "\xff\xff\xff\xff\x0f....", "snappy: a block of 9 bytes is none"},
		{"xerial block beyond the end", batch.Snappy, "\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x01\x00abc", "claims 256 bytes"},
		{"xerial rest", batch.Snappy, "\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00", "behind the last block"},
		{"lz4 magic", batch.LZ4, "\x04\x22\x4d\x19\x60\x40\x82\x00\x00\x00\x00", "head of a frame"},
		{"lz4 version", batch.LZ4, "\x04\x22\x4d\x18\xa0\x40\x82\x00\x00\x00\x00", "head of a frame"},
		{"lz4 dictionary", batch.LZ4, "\x04\x22\x4d\x18\x61\x40\x82\x00\x00\x00\x00", "head of a frame"},
		{"lz4 block size", batch.LZ4, "\x04\x22\x4d\x18\x60\x30\x82\x00\x00\x00\x00", "head of a frame"},
		{"lz4 block above its size", batch.LZ4, "\x04\x22\x4d\x18\x60\x40\x82\x01\x00\x01\x80" + strings.Repeat("x", 65537), "a block claims 65537 bytes"},
		{"lz4 without an end", batch.LZ4, "\x04\x22\x4d\x18\x60\x40\x82\x01\x00\x00\x80x", "no end"},
		{"lz4 sum cut off", batch.LZ4, "\x04\x22\x4d\x18\x64\x40\x82\x00\x00\x00\x00abc", "cut off"},
		{"lz4 offset before the start", batch.LZ4, "\x04\x22\x4d\x18\x60\x40\x82\x04\x00\x00\x00\x04\xff\xff\x00\x00\x00\x00\x00", "lz4"},
	} {
		if err := readAll(withRecords(1, c.codec, []byte(c.recs))); codeOf(err) != errcode.InvalidBatch || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// TestEachCodecIsBounded: a batch of a few bytes neither yields without bound nor takes memory for
// what it claims.
func TestEachCodecIsBounded(t *testing.T) {
	zeros := make([]byte, 16<<20)
	for _, p := range packers {
		bomb := withRecords(1, p.codec, p.pack(t, zeros))
		r := batch.Reader{Limit: 1 << 20}
		_ = r.Reset(bomb) // the pools are filled
		var before, after runtime.MemStats
		r.TakeBuffer()
		runtime.ReadMemStats(&before)
		if err := r.Reset(bomb); codeOf(err) != errcode.InvalidBatch {
			t.Errorf("%s: 16 MiB under a limit of 1 MiB: %v", p.name, err)
		}
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > 6<<20 {
			t.Errorf("%s: took %d bytes under a limit of 1 MiB", p.name, took)
		}
		whole := batch.Reader{Limit: 16 << 20}
		if _ = whole.Reset(bomb); whole.Size() != len(zeros) {
			t.Errorf("%s: %d bytes under a limit of 16 MiB: %v", p.name, whole.Size(), whole.Err())
		}
	}
}

// TestCutterReadsAllCodecs: parts are cut out of batches of any codec.
func TestCutterReadsAllCodecs(t *testing.T) {
	for _, p := range packers {
		b := packed(t, p, []byte("a"), bytes.Repeat([]byte("b"), 3000), []byte("c"))
		var c batch.Cutter
		out, taken, err := c.Take(nil, b, 1, 2, 1, 1000)
		if err != nil || taken != 1 || batch.Header(out).Codec() != batch.None {
			t.Fatalf("%s: %d taken, %v", p.name, taken, err)
		}
		compareRecords(t, out, 0, []plain{{value: []byte("c")}})
	}
}

func BenchmarkDecompress(b *testing.B) {
	values := make([][]byte, 100)
	for i := range values {
		values[i] = fmt.Appendf(nil, "%0250d", i)
	}
	for _, p := range packers {
		b.Run(strings.ReplaceAll(p.name, " ", "_"), func(b *testing.B) {
			packed := packed(b, p, values...)
			var r batch.Reader
			b.ReportAllocs()
			for b.Loop() {
				if err := r.Reset(packed); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(int64(r.Size()))
		})
	}
}
