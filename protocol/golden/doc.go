// Package golden freezes formats: a test gives it the bytes that a codec makes today, and it
// compares them with the file that was committed when the format was released.
//
// Called by the tests of the codec packages alone.
//
// Each case is two files in testdata/golden: <format>_v<N>_<case>.bin, the bytes, and
// <format>_v<N>_<case>.txt, the same with every field named. The fields come from a layout
// string which the test writes down independently of the codec (see Check).
//
// Invariants:
//  1. `go test -update` writes files that are missing and never rewrites one: what a released
//     version wrote stays readable, so a changed format takes a new version number. A list of
//     constants may grow, but no line of it may change.
//  2. A layout must use up all bytes exactly.
//  3. Constants lists every package-level constant of the package under test, found by
//     parsing it, so none can be forgotten or renumbered unseen.
//
// No goroutines, no state.
package golden
