// Package drill lets clients of every kind work at a broker of its own while a seeded nemesis does to
// it what may happen to one, and holds what the clients saw against docs/guarantees.md.
//
// It knows the broker from outside only: the programs in bin/, the Go client, and what an operator
// may do. Called by: `trimq drill` and scripts/e2e.
//
// Invariants:
//
//  1. What is judged is the history, and nothing else. An operation is noted (record.go) before it is
//     applied (ops.go, ops_ledger.go), live and when a file is read again by the same code; so the
//     file tells all that the run knew, and Check decides from it alone.
//  2. An operation that asks for something is noted before it is asked, one that tells of an answer
//     behind the answer. All times are of one monotonic clock, in nanoseconds since the run began.
//  3. Numbers that decide what is done follow from the seed: settings, faults, what each client does.
//     Their timing does not.
//
// Goroutines: one for each client (world.go: employ, queues.go: employ), which end when the run does;
// the nemesis is the caller's. If the process dies here, broker.Broker says how to end what is left.
package drill
