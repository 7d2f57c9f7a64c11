// Package repair mends a damaged data directory as far as that can be done without guessing, and says
// beforehand what it is going to do: `trimq log repair`.
//
// Called by bin/trimq, on the directory of a broker that is stopped; it holds the directory's lock
// meanwhile. Look makes the plan and changes nothing; Plan.Do does its steps and nothing else.
//
// # Invariants
//
//  1. Nothing is destroyed: what is changed or set aside lies as it was below before-repair/N,
//     under the name that it had, before the first byte is changed.
//  2. Nothing is given up unseen: entries that are lost are named by their LSNs in the plan, and from
//     then on in damage.known. Whole entries are given up only where Options say so.
//  3. What persistsrv mends by itself at its next start is left to it, and said: indexes, the torn
//     end of the log, a lost index checkpoint.
//  4. A death in the middle leaves steps undone, none half done in a way that another Look does not
//     find: files are written under another name, synced, and renamed into place.
//
// No goroutines.
package repair
