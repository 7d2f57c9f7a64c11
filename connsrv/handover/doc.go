// Package handover reads and writes what a connsrv passes to the program that replaces it
// (docs/formats/handover.md): the small parts of which session, the rooms, reactor and server
// make the states of their things.
//
// Callers: those. It knows nothing of them.
//
// Invariants:
//
//  1. One function goes over the fields of a thing, for writing and for reading, so that the
//     two cannot differ in order or width.
//  2. What is read is not believed: a length or count is compared with the bytes that are left
//     before anything is allocated, and after the first error all reads are empty.
//  3. What can be read is written as the same bytes again.
//
// No goroutines, no state. If the process dies here its sockets die with it, as at any other time.
package handover
