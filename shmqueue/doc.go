// Package shmqueue holds the rings of shared memory between the three daemons, the bells
// that wake a sleeping daemon, and the counters that survive a restart.
//
// Called by: the three daemons, the simulator (on heap memory) and bin/trimq (which looks
// but does not touch). It is a leaf: it knows nothing of what the records mean.
//
// # Memory map
//
// A ring is a header of HeaderSize bytes and a data area whose size is a power of two. The
// header's words lie on lines of 128 bytes, one owner to a line; docs/formats/ring.md and
// layout.go draw them.
//
// Positions count bytes since the ring was made. They never wrap and are never used for
// another published record. The byte at position p lies at p modulo the capacity.
//
//	head ........ read ........ tail ........ head+capacity
//	 | read, not  | published or  |  free
//	 | released   | claimed       |
//
// # Who owns which word, and who repairs it
//
//	word             written by                     repaired by
//	magic … creator  whoever creates the segment    any attacher completes the same values
//	tail             producers (CAS)                Ring.Producer cuts it back
//	head             the consumer                   nobody: it is right at every instant
//	stamps, headers  the producer that claimed them Ring.Producer scrubs what it cuts off
//	owner lines      the end that is taken over     the next take-over
//	bell flag        sleeper sets, ringer clears    the next sleeper or ringer; stale is harmless
//	wantSpace        producer sets, consumer clears the next Release; stale is harmless
//	words            as words.go names              their owner, at its start
//
// # Invariants
//
//  1. head <= read <= tail <= head+capacity, each a multiple of 16.
//  2. A record is published if and only if its stamp is (position+1) XOR nonce. The stamp is
//     stored last, and published bytes do not change until head has passed them.
//  3. In [tail, head+capacity) no stamp fits its position. Laps keep this by themselves, as a
//     stamp of an earlier lap fits another position; a cut keeps it by scrubbing.
//  4. One process produces and one consumes. Within the producing process any number of
//     goroutines may claim; within the consuming process one goroutine reads.
//  5. An end is taken over only by the holder of the daemon's lock file, which proves the
//     predecessor dead.
//  6. Nothing here blocks but Bell.Sleep, and nothing here allocates on the way of a record.
//
// The package starts no goroutine.
//
// # If the process dies here
//
//	died                                   successor finds               does
//	producer, before the CAS of a claim    nothing                       nothing
//	producer, between claim and publish    a claim without a stamp       cuts tail back to it
//	producer, behind an unpublished claim  published, but behind a gap   cuts it too: nobody has seen it
//	producer, after publish                a published record            keeps it
//	producer, in a cut                     the same gap                  cuts again
//	consumer, before Release               head unmoved                  reads from head again
//	consumer, after Release                head moved                    reads from the new head
//	sleeper, with the flag set             flag set, nobody asleep       one useless wake, then clear
//	ringer, before it woke the sleeper     flag set or clear             rings each of its bells once at start
//	creator, before the magic              half a header                 Attach completes it
package shmqueue
