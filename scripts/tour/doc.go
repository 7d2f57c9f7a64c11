// Package tour is a client that does a little of everything, checks all that it gets against what it
// was promised, and leaves nothing behind. Whatever happens to the broker meanwhile, a tour has to end
// well: its messages are all acknowledged, as the client sends them again for as long as it takes.
//
// Called by: scripts/points, which kills daemons at exact places under it, and scripts/soak.
//
// Invariants:
//  1. What is expected follows from what was sent, and from the answers of the client library: no
//     code of the broker is asked.
//  2. A tour makes only things that begin with its name, and removes them. Tours of different names do
//     not see each other.
//
// Goroutines: one for each stop of a tour, which Go waits for.
package tour
