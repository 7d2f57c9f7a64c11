// Package passtest notices fields that a hand-over would forget.
//
// Callers: the tests of reactor, session and the rooms, for each of their structs that is passed on.
//
// Invariants:
//
//  1. A struct that gets a field fails its test until the field is set in a sample, whose way there
//     and back the test compares, or is named as one that is not passed on.
//  2. A name of no field, or of one that is set after all, fails too: the lists stay true.
//
// No goroutines, no state, no part of the product.
package passtest
