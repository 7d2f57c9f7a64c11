package hash_test

import (
	"bytes"
	"math/bits"
	"testing"

	"github.com/trimq/trimq/protocol/hash"
)

// The values are those of Kafka's own UtilsTest.testMurmur2.
func TestMurmur2AsKafka(t *testing.T) {
	for key, want := range map[string]int32{
		"21":                         -973932308,
		"foobar":                     -790332482,
		"a-little-bit-long-string":   -985981536,
		"a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		if got := int32(hash.Murmur2([]byte(key))); got != want {
			t.Errorf("Murmur2(%q) = %d, want %d", key, got, want)
		}
	}
}

func TestMurmur3IsFrozen(t *testing.T) {
	for _, c := range []struct {
		in   string
		want uint64
	}{
		{"", 0},
		{"hello", 0xcbd8a7b341bd9b02},
		{"hello, world", 0x342fac623a5ebc8e},
		{"The quick brown fox jumps over the lazy dog.", 0xcd99481f9ee902c9},
	} {
		if got := hash.Murmur3([]byte(c.in)); got != c.want {
			t.Errorf("Murmur3(%q) = %#x, want %#x", c.in, got, c.want)
		}
	}
}

// The values are those of the finalizer in the reference code of murmur3, fmix64.
func TestMixIsFrozen(t *testing.T) {
	for in, want := range map[uint64]uint64{0: 0, 1: 0xb456bcfc34c2cb2c, 2: 0x3abf2a20650683e7} {
		if got := hash.Mix(in); got != want {
			t.Errorf("Mix(%#x) = %#x, want %#x", in, got, want)
		}
	}
}

// A bit of the number that differs changes about half of the bits of its hash.
func TestMixSpreads(t *testing.T) {
	for bit := range 64 {
		changed := 0
		for v := range uint64(64) {
			changed += bits.OnesCount64(hash.Mix(v) ^ hash.Mix(v^1<<bit))
		}
		if changed < 64*26 || changed > 64*38 {
			t.Errorf("bit %d changes %d bits of 64 numbers", bit, changed)
		}
	}
}

func TestNoPlacesGiveZero(t *testing.T) {
	if hash.Partition([]byte("a"), 0) != 0 || hash.Spread(7, 0) != 0 || hash.SpreadName("a", 0) != 0 {
		t.Fatal("a place out of none")
	}
}

// Consecutive numbers and names fall about evenly: each place gets within a fifth of its share.
func TestSpreadIsEven(t *testing.T) {
	const places, each = 16, 2000
	var numbers, names, keys [places]int
	for i := range places * each {
		name := string(bytes.Repeat([]byte{byte('a' + i%7)}, 1+i%5)) + string(rune(0x100+i))
		numbers[hash.Spread(uint64(i), places)]++
		names[hash.SpreadName(name, places)]++
		keys[hash.Partition([]byte(name), places)]++
	}
	for i := range places {
		for what, n := range map[string]int{"numbers": numbers[i], "names": names[i], "keys": keys[i]} {
			if n < each*4/5 || n > each*6/5 {
				t.Errorf("place %d got %d %s of %d", i, n, what, each)
			}
		}
	}
}

func TestPartitionDoesNotAllocate(t *testing.T) {
	key := []byte("customer-4711")
	if n := testing.AllocsPerRun(100, func() { hash.Partition(key, 12) }); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func BenchmarkPartition(b *testing.B) {
	key := []byte("customer-4711-0123456789")
	b.ReportAllocs()
	for b.Loop() {
		hash.Partition(key, 12)
	}
}
