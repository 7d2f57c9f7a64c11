package batch

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/pierrec/lz4/v4"
)

// keyedBatch has n records with the keys 0 … n-1; every third one stands for a deletion.
func keyedBatch(n int, codec Codec) []byte {
	var b Builder
	for i := range n {
		value := fmt.Appendf(nil, "value of %d, which goes on for a while, and on", i)
		if i%3 == 2 {
			value = nil
		}
		b.Add(1000+int64(i), fmt.Append(nil, i), value, []RecordHeader{{Key: "h", Value: []byte("v")}})
	}
	raw := bytes.Clone(b.Seal(None, 7, 1, 100))
	PatchBase(raw, 500, 3)
	if codec == None {
		return raw
	}
	raw[OffAttributes+1] |= byte(codec)
	packed, err := compress(bytes.Clone(raw[:HeaderSize]), raw[HeaderSize:], codec)
	if err != nil {
		panic(err)
	}
	binary.BigEndian.PutUint32(packed[OffLength:], uint32(len(packed)-LengthPrefix))
	binary.BigEndian.PutUint32(packed[OffCRC:], Checksum(packed))
	return packed
}

// offsetsOf lists the offsets and times of a batch's records.
func offsetsOf(t *testing.T, b []byte) (offsets []uint64, times []int64) {
	t.Helper()
	err := Iterate(b, func(rec *Record) error {
		offsets, times = append(offsets, rec.Offset), append(times, rec.TimeMS)
		if want := fmt.Append(nil, rec.Offset-500); !bytes.Equal(rec.Key, want) || (rec.Value == nil) != ((rec.Offset-500)%3 == 2) || rec.HeaderCount != 1 {
			t.Errorf("offset %d holds %q = %q", rec.Offset, rec.Key, rec.Value)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return offsets, times
}

// TestThin leaves records out of batches of all codecs, and gives them a delete horizon or none.
func TestThin(t *testing.T) {
	var thinner Thinner
	for codec := None; codec <= Zstd; codec++ {
		for _, horizon := range []int64{NoHorizon, 1_700_000_000_000} {
			whole := keyedBatch(40, codec)
			out, kept, err := thinner.Thin(nil, whole, horizon, func(rec *Record) bool { return rec.Offset%7 == 0 })
			if err != nil {
				t.Fatal(codec, err)
			}
			h := Header(out)
			if err := Check(out); err != nil || !h.Sparse() || h.BaseOffset() != 500 || h.LastOffsetDelta() != 39 || h.Codec() != codec ||
				h.ProducerID() != 7 || h.BaseSequence() != 100 || h.LeaderEpoch() != 3 {
				t.Errorf("%s: %v, %+v", codec, err, out[:HeaderSize])
			}
			if ms, set := h.DeleteHorizonMS(); set != (horizon != NoHorizon) || set && ms != horizon {
				t.Errorf("%s: delete horizon %d, %v", codec, ms, set)
			}
			offsets, times := offsetsOf(t, out)
			if want := []uint64{504, 511, 518, 525, 532, 539}; !slices.Equal(offsets, want) || kept != len(want) {
				t.Errorf("%s: %v, %d kept", codec, offsets, kept)
			}
			for i, at := range times {
				if at != 500+int64(offsets[i]) {
					t.Errorf("%s: offset %d was sent at %d", codec, offsets[i], at)
				}
			}
			if h.MaxTimeMS() != 1039 {
				t.Errorf("%s: the latest record is of %d", codec, h.MaxTimeMS())
			}
			empty, kept, err := thinner.Thin(nil, out, NoHorizon, func(*Record) bool { return false })
			if h := Header(empty); err != nil || kept != 0 || Check(empty) != nil || h.Count() != 0 || h.LastOffsetDelta() != 39 || len(empty) != HeaderSize {
				t.Errorf("%s: without records: %v %+v", codec, err, empty)
			}
		}
	}
}

// TestOthersReadWhatIsCompressed has other programs' decoders read what compress writes.
func TestOthersReadWhatIsCompressed(t *testing.T) {
	for _, size := range []int{0, 1, 100, 64 << 10, 200 << 10} {
		src := bytes.Repeat([]byte("some bytes, and some more of them. "), size/35+1)[:size]
		for codec, read := range map[Codec]func(b []byte) ([]byte, error){
			Gzip: func(b []byte) ([]byte, error) {
				z, err := gzip.NewReader(bytes.NewReader(b))
				if err != nil {
					return nil, err
				}
				return io.ReadAll(z)
			},
			Snappy: func(b []byte) ([]byte, error) { return s2.Decode(nil, b) },
			LZ4:    func(b []byte) ([]byte, error) { return io.ReadAll(lz4.NewReader(bytes.NewReader(b))) },
			Zstd:   func(b []byte) ([]byte, error) { return zstdDecompress(nil, b, DefaultLimit) },
		} {
			packed, err := compress([]byte("front"), src, codec)
			if err != nil || string(packed[:5]) != "front" {
				t.Fatal(codec, err)
			}
			if got, err := read(packed[5:]); err != nil || !bytes.Equal(got, src) {
				t.Errorf("%s, %d bytes: %v", codec, size, err)
			}
			if got, err := decompress(nil, packed[5:], codec, DefaultLimit); err != nil || !bytes.Equal(got, src) {
				t.Errorf("%s, %d bytes, by ourselves: %v", codec, size, err)
			}
		}
	}
}

func TestDeleteHorizonOfControlBatch(t *testing.T) {
	b := AppendControl(nil, 7, 1, true, 1000)
	SetDeleteHorizon(b, 1_700_000_000_000)
	commit, err := ParseControl(b)
	if ms, set := Header(b).DeleteHorizonMS(); err != nil || !commit || !set || ms != 1_700_000_000_000 || Check(b) != nil {
		t.Errorf("%v %v %d %v", commit, err, ms, set)
	}
}

func TestRunsOfSparseBatch(t *testing.T) {
	var thinner Thinner
	out, _, err := thinner.Thin(nil, keyedBatch(20, Zstd), NoHorizon, func(rec *Record) bool { return (rec.Offset-500)/3%2 == 1 })
	if err != nil {
		t.Fatal(err)
	}
	var r Reader
	var got []uint32
	if err := r.Runs(out, func(delta, record, count uint32) bool {
		got = append(got, delta, record, count)
		return len(got) < 9
	}); err != nil || !slices.Equal(got, []uint32{3, 0, 3, 9, 3, 3, 15, 6, 3}) {
		t.Errorf("%v %v", got, err)
	}
}

func TestKeyed(t *testing.T) {
	var b Builder
	b.Add(1, []byte("k"), nil, nil)
	var r Reader
	if keyed, err := r.Keyed(b.Seal(Zstd, -1, -1, -1)); !keyed || err != nil {
		t.Error(keyed, err)
	}
	b.Add(1, nil, []byte("v"), nil)
	if keyed, err := r.Keyed(b.Seal(Zstd, -1, -1, -1)); keyed || err != nil {
		t.Error(keyed, err)
	}
	if _, err := r.Keyed([]byte("no batch")); err == nil {
		t.Error("no batch has keys")
	}
}

// FuzzThin leaves every second record out of whatever passes for a stored batch.
func FuzzThin(f *testing.F) {
	for codec := None; codec <= Zstd; codec++ {
		f.Add(keyedBatch(9, codec))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		t1 := Thinner{reader: Reader{SkipCRC: true, Limit: 1 << 20}}
		n := 0
		out, kept, err := t1.Thin(nil, b, 5, func(*Record) bool { n++; return n%2 == 0 })
		if err != nil {
			return
		}
		if Check(out) != nil || int(Header(out).Count()) != kept || kept != n/2 {
			t.Fatalf("%d of %d records: %v", kept, n, Check(out))
		}
	})
}
