package batch_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/errcode"
)

// plain is a record as a model holds it.
type plain struct {
	ts         int64
	key, value []byte
	headers    []batch.RecordHeader
}

// reference encodes a batch from the format's description, with none of the package's code.
func reference(recs []plain, pid int64, epoch int16, seq int32) []byte {
	var body []byte
	maxTS := recs[0].ts
	field := func(b, f []byte) []byte {
		if f == nil {
			return binary.AppendVarint(b, -1)
		}
		return append(binary.AppendVarint(b, int64(len(f))), f...)
	}
	for i, r := range recs {
		rec := []byte{0}
		rec = binary.AppendVarint(rec, r.ts-recs[0].ts)
		rec = binary.AppendVarint(rec, int64(i))
		rec = field(field(rec, r.key), r.value)
		rec = binary.AppendVarint(rec, int64(len(r.headers)))
		for _, h := range r.headers {
			rec = field(field(rec, []byte(h.Key)), h.Value)
		}
		body = append(binary.AppendVarint(body, int64(len(rec))), rec...)
		maxTS = max(maxTS, r.ts)
	}
	var b []byte
	b = binary.BigEndian.AppendUint16(b, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(recs)-1))
	b = binary.BigEndian.AppendUint64(b, uint64(recs[0].ts))
	b = binary.BigEndian.AppendUint64(b, uint64(maxTS))
	b = binary.BigEndian.AppendUint64(b, uint64(pid))
	b = binary.BigEndian.AppendUint16(b, uint16(epoch))
	b = binary.BigEndian.AppendUint32(b, uint32(seq))
	b = binary.BigEndian.AppendUint32(b, uint32(len(recs)))
	b = append(b, body...)
	front := make([]byte, 21)
	binary.BigEndian.PutUint32(front[8:], uint32(len(front)+len(b)-12))
	front[16] = 2
	binary.BigEndian.PutUint32(front[17:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	return append(front, b...)
}

func drawRecords(t *rapid.T) []plain {
	bytesOrNil := rapid.Custom(func(t *rapid.T) []byte {
		if rapid.Bool().Draw(t, "nil") {
			return nil
		}
		return rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "bytes")
	})
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) plain {
		p := plain{ts: rapid.Int64Range(-1<<40, 1<<44).Draw(t, "ts"), key: bytesOrNil.Draw(t, "key"), value: bytesOrNil.Draw(t, "value")}
		for range rapid.IntRange(0, 3).Draw(t, "headers") {
			p.headers = append(p.headers, batch.RecordHeader{Key: rapid.StringN(0, 20, 80).Draw(t, "name"), Value: bytesOrNil.Draw(t, "hv")})
		}
		return p
	}), 1, 40).Draw(t, "records")
}

func build(b *batch.Builder, recs []plain) {
	b.Reset()
	for _, r := range recs {
		if !b.Add(r.ts, r.key, r.value, r.headers) {
			panic("Add refused")
		}
	}
}

func same(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

func compareRecords(t interface{ Fatalf(string, ...any) }, sealed []byte, base uint64, want []plain) {
	var r batch.Reader
	if err := r.Reset(sealed); err != nil {
		t.Fatalf("Reset: %v", err)
	}
	r.Rebase(base)
	var rec batch.Record
	n := 0
	for r.Next(&rec) {
		w := want[n]
		if rec.Offset != base+uint64(n) || rec.TimeMS != w.ts || !same(rec.Key, w.key) || !same(rec.Value, w.value) || rec.HeaderCount != len(w.headers) {
			t.Fatalf("record %d is %+v, want %+v", n, rec, w)
		}
		for i, h := range rec.AppendHeaders(nil) {
			if h.Key != w.headers[i].Key || !same(h.Value, w.headers[i].Value) {
				t.Fatalf("record %d header %d is %+v, want %+v", n, i, h, w.headers[i])
			}
		}
		n++
	}
	if r.Err() != nil || n != len(want) || r.Count() != n {
		t.Fatalf("%d of %d records, then %v", n, len(want), r.Err())
	}
}

// The builder writes what the format's description says, and the reader gets it back,
// whatever memory they have used before.
func TestBuilderAgainstReference(t *testing.T) {
	var b batch.Builder
	rapid.Check(t, func(t *rapid.T) {
		recs := drawRecords(t)
		if rapid.Bool().Draw(t, "reserve") {
			b.Reserve(rapid.IntRange(0, 64).Draw(t, "headroom"), rapid.IntRange(0, 5000).Draw(t, "capacity"))
		}
		build(&b, recs)
		pid := rapid.Int64Range(-1, 1<<50).Draw(t, "pid")
		epoch, seq := rapid.Int16Min(0).Draw(t, "epoch"), rapid.Int32Min(0).Draw(t, "seq")
		want := reference(recs, pid, epoch, seq)
		if b.Len() != len(want) || b.Count() != len(recs) {
			t.Fatalf("Len %d, Count %d; want %d, %d", b.Len(), b.Count(), len(want), len(recs))
		}
		got := b.Seal(batch.None, pid, epoch, seq)
		if !bytes.Equal(got, want) {
			t.Fatalf("got  %x\nwant %x", got, want)
		}
		compareRecords(t, got, 77, recs)
		packed := b.Seal(batch.Zstd, pid, epoch, seq)
		if len(packed) > len(want) {
			t.Fatalf("compression made %d bytes of %d", len(packed), len(want))
		}
		compareRecords(t, packed, 78, recs)
		m, err := batch.Validate(packed)
		if err != nil || m.Count != uint32(len(recs)) || m.ProducerID != pid || m.Epoch != epoch || m.BaseSeq != seq || int(m.Length) != len(packed) {
			t.Fatalf("Validate: %+v, %v", m, err)
		}
	})
}

func TestBuilderEmptyAndFramed(t *testing.T) {
	var b batch.Builder
	if b.Seal(batch.None, -1, -1, -1) != nil || b.Len() != 0 || b.Count() != 0 {
		t.Fatal("an empty builder is not empty")
	}
	b.Reserve(32, 100)
	for _, codec := range []batch.Codec{batch.None, batch.Zstd} {
		b.Reset()
		for range 100 {
			b.Add(1, nil, []byte("again and again"), nil)
		}
		sealed := b.Seal(codec, -1, -1, -1)
		if batch.Header(sealed).Codec() != codec {
			t.Fatalf("codec %v, want %v", batch.Header(sealed).Codec(), codec)
		}
		framed := b.Framed(24)
		if len(framed) != len(sealed)+24 || &framed[24] != &sealed[0] {
			t.Fatalf("%s: the frame does not end with the batch", codec)
		}
		copy(framed, "0123456789abcdef01234567")
		if _, err := batch.Validate(sealed); err != nil {
			t.Fatalf("%s: writing the frame's front changed the batch: %v", codec, err)
		}
	}
}

func TestBuilderRefusesMoreThanMaxBytes(t *testing.T) {
	var b batch.Builder
	big := make([]byte, batch.MaxBytes/2)
	if !b.Add(1, nil, big, nil) || b.Add(1, nil, big, nil) || b.Count() != 1 {
		t.Fatalf("after two halves of MaxBytes and more: %d records", b.Count())
	}
	if !b.Add(1, nil, []byte("small"), nil) || b.Count() != 2 {
		t.Fatal("a small record was refused after a large one")
	}
	if b.Reset(); b.Add(1, big, big, nil) || b.Count() != 0 || b.Seal(batch.None, -1, -1, -1) != nil {
		t.Fatal("a first record above MaxBytes left something behind")
	}
}

func TestSealUnknownCodecPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Fatal("no panic")
		}
	}()
	var b batch.Builder
	b.Add(1, nil, nil, nil)
	b.Seal(batch.LZ4, -1, -1, -1)
}

func TestPatches(t *testing.T) {
	b := goldenBuilder()
	got := bytes.Clone(b.Seal(batch.None, 5, 6, 7))
	batch.PatchBase(got, 1<<40, 12)
	h := batch.Header(got)
	if _, err := batch.Validate(got); err != nil || h.BaseOffset() != 1<<40 || h.LeaderEpoch() != 12 {
		t.Fatalf("base %d epoch %d: %v", h.BaseOffset(), h.LeaderEpoch(), err)
	}
	batch.PatchBase(got, 0, 0)
	batch.PatchProducer(got, 50, 60, 70)
	if want := b.Seal(batch.None, 50, 60, 70); !bytes.Equal(got, want) {
		t.Fatalf("patched %x\nsealed  %x", got, want)
	}
}

func TestNextSequenceWraps(t *testing.T) {
	for _, c := range []struct {
		seq   int32
		count int
		want  int32
	}{{0, 1, 1}, {2147483647, 1, 0}, {2147483646, 1, 2147483647}, {2147483640, 10, 2}} {
		if got := batch.NextSequence(c.seq, c.count); got != c.want {
			t.Errorf("NextSequence(%d, %d) = %d, want %d", c.seq, c.count, got, c.want)
		}
	}
}

func TestCodecNames(t *testing.T) {
	for c := batch.None; c <= batch.Zstd; c++ {
		if got, ok := batch.ParseCodec(c.String()); !ok || got != c {
			t.Errorf("ParseCodec(%q) = %v, %v", c.String(), got, ok)
		}
	}
	if _, ok := batch.ParseCodec("brotli"); ok || batch.Codec(5).String() != "unknown" {
		t.Error("an unknown codec has a name")
	}
}

// Coders come from shared pools; many goroutines must not disturb each other.
func TestCodersInParallel(t *testing.T) {
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			var b batch.Builder
			for round := range 20 {
				recs := make([]plain, 50)
				for i := range recs {
					recs[i] = plain{ts: int64(i), value: bytes.Repeat([]byte{byte(g), byte(round)}, 20+i)}
				}
				build(&b, recs)
				var r batch.Reader
				if err := r.Reset(b.Seal(batch.Zstd, -1, -1, -1)); err != nil {
					t.Error(err)
				}
				var rec batch.Record
				for i := 0; r.Next(&rec); i++ {
					if !bytes.Equal(rec.Value, recs[i].value) {
						t.Errorf("goroutine %d round %d record %d differs", g, round, i)
					}
				}
			}
		})
	}
	wg.Wait()
}

func TestAddDoesNotAllocate(t *testing.T) {
	var b batch.Builder
	b.Reserve(64, 1<<16)
	value, headers := make([]byte, 250), []batch.RecordHeader{{Key: "k", Value: []byte("v")}}
	if n := testing.AllocsPerRun(100, func() {
		if b.Len() > 60000 {
			b.Reset()
		}
		b.Add(1, value[:8], value, headers)
	}); n != 0 {
		t.Fatalf("%v allocations per Add", n)
	}
}

func codeOf(err error) errcode.Code {
	var e *errcode.Error
	if errors.As(err, &e) {
		return e.Code
	}
	if err != nil {
		return 0xffff
	}
	return errcode.OK
}
