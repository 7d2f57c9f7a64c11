package hash

import (
	"encoding/binary"

	"github.com/spaolacci/murmur3"
)

// Murmur2 is the 32-bit hash of Kafka's org.apache.kafka.common.utils.Utils.murmur2.
func Murmur2(key []byte) uint32 {
	const (
		seed = 0x9747b28c
		m    = 0x5bd1e995
		r    = 24
	)
	h := uint32(seed) ^ uint32(len(key))
	for len(key) >= 4 {
		k := binary.LittleEndian.Uint32(key)
		k *= m
		k ^= k >> r
		k *= m
		h *= m
		h ^= k
		key = key[4:]
	}
	switch len(key) {
	case 3:
		h ^= uint32(key[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(key[1]) << 8
		fallthrough
	case 1:
		h ^= uint32(key[0])
		h *= m
	}
	h ^= h >> 13
	h *= m
	h ^= h >> 15
	return h
}

// Partition is the partition of n that a key belongs to, as Kafka's default partitioner
// chooses it for records with a key. It gives 0 where n is 0.
func Partition(key []byte, n uint32) uint32 {
	if n == 0 {
		return 0
	}
	return (Murmur2(key) & 0x7fffffff) % n
}

// Murmur3 is the first half of the 128-bit murmur3 of b, seed 0.
func Murmur3(b []byte) uint64 { return murmur3.Sum64(b) }

// Murmur3Wide is Murmur3 with 128 bits, for those who take two things of the same hash for the same.
func Murmur3Wide(b []byte) (wide [2]uint64) {
	wide[0], wide[1] = murmur3.Sum128(b)
	return wide
}

// Spread maps a number (a connection, an index) evenly to one of n places; 0 where n is 0.
func Spread(v uint64, n uint32) uint32 {
	if n == 0 {
		return 0
	}
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v)
	return uint32(murmur3.Sum64(b[:]) % uint64(n))
}

// SpreadName maps a name evenly to one of n places; 0 where n is 0.
func SpreadName(name string, n uint32) uint32 {
	if n == 0 {
		return 0
	}
	return uint32(murmur3.Sum64([]byte(name)) % uint64(n))
}

// Mix is the last step of murmur3: it spreads the bits of a number over all 64. Different
// numbers stay different.
func Mix(v uint64) uint64 {
	v ^= v >> 33
	v *= 0xff51afd7ed558ccd
	v ^= v >> 33
	v *= 0xc4ceb9fe1a85ec53
	return v ^ v>>33
}
