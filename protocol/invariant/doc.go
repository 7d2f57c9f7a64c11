// Package invariant states what must hold in our own code.
//
// A failed check is a bug of ours, never the fault of a client or of the disk: bytes from
// outside are answered with errors. The process panics with the numbers, the supervisor
// restarts it, and restarting is practised.
//
// Called by: every package. The package starts no goroutine and keeps no state.
//
// Invariants:
//  1. Check and Fail are in every build. What is too dear for that stands behind Enabled,
//     which the build tag invariants sets.
package invariant
