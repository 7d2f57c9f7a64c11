// Package server puts connsrv together: event loops, their lanes to logicsrv, the reading
// end of ring 54321, and what the process tells of itself.
//
// Callers: connsrv's main, and tests that run a connsrv on rings in plain memory.
//
// Invariants:
//
//  1. Hello is the first record of its epoch in ring 12345; nobody is accepted before it stands
//     there. A program that takes over from another one goes on with its epoch (handover.go).
//  2. Ring 54321 is always drained, whatever happens to requests: the first loop reads it,
//     hands each record to the loop of its connection, and releases it at once. What it
//     held is soft state from then on, and is told again in answer to a Marker.
//  3. A record of another epoch is dropped.
//  4. A loop that waits for room in ring 12345 is woken when there is some: the first loop
//     asks logicsrv to ring, and nudges it.
//  5. Who may come in is looked up in a copy of the definitions that logicsrv has, read anew whenever
//     it tells of a change or has begun (definitions.go).
//
// Goroutines: one for each event loop, from Run until its context ends and connections are
// drained. If the process dies here, see package session; the bell's flag may stay set,
// which costs one useless byte in the FIFO.
package server
