// Package hash holds the two hash functions of TriMQ and what each is for.
//
// Murmur2 maps a message's key to a partition exactly as Kafka's Java client, franz-go and
// others do, so that all protocols agree about where a key lives. Murmur3 spreads
// everything internal (connections to event loops, queues to shards).
//
// Callers: clients/trimq and the front ends (Partition); connsrv and logicsrv (Spread).
//
// Invariants:
//
//  1. Both functions are part of stored truth (keys stay in their partition): frozen by tests.
//  2. Partition, which may be called for every message, does not allocate.
//  3. This package is the only one that imports murmur3.
//
// Goroutines: none. If the process dies here, nothing is lost: there is no state.
package hash
