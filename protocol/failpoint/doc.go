// Package failpoint names the places where a process may die.
//
// A release build holds an empty, inlined Hit: nothing is left of it in the machine code. A
// build with the tag failpoints calls Handler at each place, and the crash tests and the
// simulator decide there whether the process (or the simulated one) goes on.
//
// Called by: every package that stores to shared memory or to a file in an order that matters.
//
// Invariants:
//  1. A Hit stands directly behind the store it names, never before it: dying "at" a place
//     means that the store has happened and nothing after it has.
//  2. Hit has no effect on the state of its caller. A Handler that returns leaves no trace.
//
// The package starts no goroutine. If the process dies here, that was the purpose.
//
// With the tag, and no Handler set by the program, the environment decides:
// TRIMQ_DIE_AT="name:n" kills the process with SIGKILL at the n-th crossing (from 1) of that
// place; the name * counts the crossings of all places together. TRIMQ_BREAK="rule" breaks a rule
// (broken_on.go), so that a drill can show that it would notice. TRIMQ_FAIL_IO=FILE takes orders to fail a
// call of the file layer from there (fail_on.go).
//
// TRIMQ_POINTS=DIR has the crossings counted in a table there, DIR/PROGRAM, in which scripts/points,
// from outside, says at which crossing to die.
package failpoint
