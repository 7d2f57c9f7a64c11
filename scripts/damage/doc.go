// Package damage harms a stopped broker's files on purpose, as a failing disk, a careless hand or a
// bad copy does: it flips bits, wipes blocks, truncates, removes, and swaps. What it does follows
// from a seed, and it says what it has done.
//
// Called by the end-to-end tests and by scripts/damage/cmd/damage, for rehearsals. It knows of
// TriMQ's files no more than where they lie. No goroutines.
package damage
