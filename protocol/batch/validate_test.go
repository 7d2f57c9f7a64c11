package batch_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/errcode"
)

func resum(b []byte) { binary.BigEndian.PutUint32(b[batch.OffCRC:], batch.Checksum(b)) }

func TestValidateRefuses(t *testing.T) {
	put16 := binary.BigEndian.PutUint16
	put32 := binary.BigEndian.PutUint32
	put64 := binary.BigEndian.PutUint64
	for _, c := range []struct {
		name   string
		change func(b []byte) []byte
		resum  bool
		want   errcode.Code
	}{
		{"nothing", func(b []byte) []byte { return b }, false, errcode.OK},
		{"base offset", func(b []byte) []byte { put64(b, 99); return b }, false, errcode.OK},
		{"leader epoch", func(b []byte) []byte { put32(b[12:], 99); return b }, false, errcode.OK},
		{"empty", func([]byte) []byte { return nil }, false, errcode.InvalidBatch},
		{"header cut", func(b []byte) []byte { return b[:60] }, false, errcode.InvalidBatch},
		{"cut", func(b []byte) []byte { return b[:len(b)-1] }, false, errcode.InvalidBatch},
		{"longer", func(b []byte) []byte { return append(b, 0) }, false, errcode.InvalidBatch},
		{"length negative", func(b []byte) []byte { put32(b[8:], 0xffffffff); return b }, false, errcode.InvalidBatch},
		{"magic 1", func(b []byte) []byte { b[16] = 1; return b }, false, errcode.InvalidBatch},
		{"crc", func(b []byte) []byte { b[17] ^= 1; return b }, false, errcode.CorruptBatch},
		{"payload", func(b []byte) []byte { b[len(b)-1] ^= 1; return b }, false, errcode.CorruptBatch},
		{"count 0", func(b []byte) []byte { put32(b[57:], 0); put32(b[23:], 0xffffffff); return b }, true, errcode.InvalidBatch},
		{"count negative", func(b []byte) []byte { put32(b[57:], 0x80000000); put32(b[23:], 0x7fffffff); return b }, true, errcode.InvalidBatch},
		{"count above the bytes", func(b []byte) []byte { put32(b[57:], 100); put32(b[23:], 99); return b }, true, errcode.InvalidBatch},
		{"last delta", func(b []byte) []byte { put32(b[23:], 3); return b }, true, errcode.InvalidBatch},
		{"codec 4 passes", func(b []byte) []byte { put16(b[21:], 4); return b }, true, errcode.OK},
		{"codec 5", func(b []byte) []byte { put16(b[21:], 5); return b }, true, errcode.InvalidBatch},
		{"control", func(b []byte) []byte { put16(b[21:], 0x20); return b }, true, errcode.InvalidBatch},
		{"transactional passes", func(b []byte) []byte { put16(b[21:], 0x10); return b }, true, errcode.OK},
		{"high attribute bits pass", func(b []byte) []byte { put16(b[21:], 0xff80); return b }, true, errcode.OK},
		{"producer -2", func(b []byte) []byte { put64(b[43:], ^uint64(1)); return b }, true, errcode.InvalidBatch},
		{"sequence -1 of a producer", func(b []byte) []byte { put32(b[53:], 0xffffffff); return b }, true, errcode.InvalidBatch},
		{"epoch -1 of a producer", func(b []byte) []byte { put16(b[51:], 0xffff); return b }, true, errcode.InvalidBatch},
		{"sequence -1 of nobody", func(b []byte) []byte { put64(b[43:], ^uint64(0)); put32(b[53:], 0xffffffff); return b }, true, errcode.OK},
	} {
		b := bytes.Clone(goldenBuilder().Seal(batch.None, 4, 5, 6))
		b = c.change(b)
		if c.resum {
			resum(b)
		}
		if _, err := batch.Validate(b); codeOf(err) != c.want {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// Every bit but those that the broker patches is guarded.
func TestValidateFindsEveryFlippedBit(t *testing.T) {
	b := bytes.Clone(goldenBuilder().Seal(batch.None, 4, 5, 6))
	for i := range b {
		for bit := range 8 {
			b[i] ^= 1 << bit
			_, err := batch.Validate(b)
			patched := i < batch.OffLength || i >= batch.OffLeaderEpoch && i < batch.OffMagic
			if (err == nil) != patched {
				t.Errorf("byte %d bit %d: %v", i, bit, err)
			}
			b[i] ^= 1 << bit
		}
	}
}

func TestValidateMeta(t *testing.T) {
	b := goldenBuilder().Seal(batch.None, 4, 5, 6)
	m, err := batch.Validate(b)
	if err != nil {
		t.Fatal(err)
	}
	if m.Count != 3 || m.MaxTimeMS != 1700000000250 || m.ProducerID != 4 || m.Epoch != 5 || m.BaseSeq != 6 ||
		int(m.Length) != len(b) || m.CRC != batch.CRC32C(b[batch.OffAttributes:]) {
		t.Fatalf("%+v", m)
	}
}

func TestSplit(t *testing.T) {
	a := bytes.Clone(goldenBuilder().Seal(batch.None, 4, 5, 6))
	run := append(bytes.Clone(a), a...)
	first, rest, err := batch.Split(run)
	if err != nil || !bytes.Equal(first, a) || !bytes.Equal(rest, a) || cap(first) != len(first) {
		t.Fatalf("%d and %d bytes, %v", len(first), len(rest), err)
	}
	if _, rest, err = batch.Split(rest); err != nil || len(rest) != 0 {
		t.Fatalf("%d bytes left, %v", len(rest), err)
	}
	for name, bad := range map[string][]byte{
		"nothing":     nil,
		"header only": a[:61],
		"cut":         a[:len(a)-1],
		"length 0":    append(make([]byte, 12), a[12:]...),
		"length huge": append(append(make([]byte, 8), 0x7f, 0xff, 0xff, 0xff), a[12:]...),
	} {
		if _, _, err := batch.Split(bad); codeOf(err) != errcode.InvalidBatch {
			t.Errorf("%s: %v", name, err)
		}
	}
}
