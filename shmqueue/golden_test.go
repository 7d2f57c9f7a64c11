package shmqueue

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew (a change of them needs a new Version)")

// golden compares got with a golden file.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name)
	if *rewrite {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%s differs: the format has changed without a new version", path)
	}
}

// goldenRing makes the ring of the golden file: three records, a pad at the end of the area, a
// claim that is not published, and every header word with a value of its own.
func goldenRing(t *testing.T) *Ring {
	t.Helper()
	r := heapRing(t, 256, 0x1122334455667788)
	r.h.creator.Store(4711)
	r.h.created.Store(1_700_000_000_000)
	p, c := ends(t, r)
	put := func(typ, flags uint16, payload string) {
		t.Helper()
		if _, err := p.Put(typ, flags, []byte(payload)); err != nil {
			t.Fatal(err)
		}
	}
	put(1, 2, strings.Repeat("released ", 5))
	put(3, 0x8004, strings.Repeat("read ", 9))
	put(5, 6, strings.Repeat("published ", 3))
	for range 2 {
		if _, ok := c.Next(); !ok {
			t.Fatal(c.Err())
		}
	}
	c.Release(64)
	put(7, 8, strings.Repeat("before the end ", 3))
	put(9, 10, strings.Repeat("round the end ", 3))
	if _, err := p.Claim(5, 9, 10); err == nil {
		t.Fatal("the golden ring has room left")
	}
	c.Release(c.Read())
	if _, err := p.Claim(5, 9, 10); err != nil {
		t.Fatal(err)
	}
	p.WantSpace()
	r.Bell().Arm()
	for i := range Word(wordCount) {
		r.Word(i).Store(uint64(i)<<32 | 0xabcd)
	}
	for _, o := range []*owner{&r.h.producer, &r.h.consumer} {
		o.pid.Store(42)
		o.since.Store(1_700_000_000_001)
	}
	r.h.cuts.Store(3)
	r.h.cutBytes.Store(99)
	return r
}

func TestGoldenRing(t *testing.T) {
	golden(t, "ring_v1_in_use.bin", goldenRing(t).mem)
}

// TestGoldenRingOpens reads the file as a successor reads what a predecessor left.
func TestGoldenRingOpens(t *testing.T) {
	mem, err := os.ReadFile(filepath.Join("testdata", "golden", "ring_v1_in_use.bin"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := Open(mem)
	if err != nil {
		t.Fatal(err)
	}
	s := r.Snapshot()
	if s.Head != 128 || s.Full != 1 || s.Cuts != 3 || s.Producer.PID != 42 || s.Words[15] != 15<<32|0xabcd || !s.Sleeping || !s.WantSpace {
		t.Fatalf("snapshot %+v", s)
	}
	tail := s.Tail
	p, c := ends(t, r)
	if p.Epoch() != 2 || c.Epoch() != 2 || r.Tail() >= tail {
		t.Fatalf("epochs %d and %d, tail %d was %d", p.Epoch(), c.Epoch(), r.Tail(), tail)
	}
	var seen []string
	for rec, ok := c.Next(); ok; rec, ok = c.Next() {
		seen = append(seen, fmt.Sprintf("%d %d %q", rec.Type, rec.Flags, rec.Payload[:5]))
	}
	if want := `[5 6 "publi" 7 8 "befor" 9 10 "round"]`; fmt.Sprint(seen) != want {
		t.Fatalf("records %v, want %v", seen, want)
	}
}

// TestGoldenHex keeps a text beside the file that shows where what lies.
func TestGoldenHex(t *testing.T) {
	mem := goldenRing(t).mem
	names := map[int]string{
		0: "identity", 128: "producer", 256: "tail", 384: "head, records", 512: "consumer",
		640: "bell", 768: "wantSpace", 896: "full, cuts", 1024: "words", 4096: "data area",
	}
	var text strings.Builder
	for at := 0; at < len(mem); at += 16 {
		if name, ok := names[at]; ok {
			fmt.Fprintf(&text, "# %s\n", name)
		}
		if line := mem[at : at+16]; !isZero(line) {
			fmt.Fprintf(&text, "%04x  % x  % x\n", at, line[:8], line[8:])
		}
	}
	golden(t, "ring_v1_in_use.txt", []byte(text.String()))
}

// TestGoldenConstants fixes every number that another process relies on.
func TestGoldenConstants(t *testing.T) {
	var text strings.Builder
	for _, c := range []struct {
		name  string
		value uint64
	}{
		{"Version", Version},
		{"HeaderSize", HeaderSize},
		{"RecordHeader", RecordHeader},
		{"RecordAlign", RecordAlign},
		{"MinCapacity", MinCapacity},
		{"MaxCapacity", MaxCapacity},
		{"ringMagic", ringMagic},
		{"metricsMagic", metricsMagic},
		{"nonceBit", nonceBit},
		{"wordCount", wordCount},
		{"tierSlots", tierSlots},
		{"WordWritten", uint64(WordWritten)},
		{"WordSynced", uint64(WordSynced)},
		{"WordStatus", uint64(WordStatus)},
		{"WordTerm", uint64(WordTerm)},
		{"WordFirstLSN", uint64(WordFirstLSN)},
		{"WordRead", uint64(WordRead)},
		{"WordIdentity", uint64(WordIdentity)},
		{"WordPoisonPos", uint64(WordPoisonPos)},
		{"WordPoisonCount", uint64(WordPoisonCount)},
		{"StatusDiskFull", StatusDiskFull},
		{"StatusSyncFailed", StatusSyncFailed},
		{"StatusRecovered", StatusRecovered},
	} {
		fmt.Fprintf(&text, "%s %#x\n", c.name, c.value)
	}
	golden(t, "constants_v1.txt", []byte(text.String()))
}
