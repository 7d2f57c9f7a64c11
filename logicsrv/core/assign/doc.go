// Package assign shares partitions out among the members of a consumer group. It is pure: the
// same problem has the same solution, whatever process solves it.
//
// Called by logicsrv/core whenever a group's members, their subscriptions or the partitions of
// a topic change. The solution is journaled, so these algorithms may change from one build to
// the next.
//
// There are four: range, round-robin, sticky and consistent hash. Sticky is the one that looks
// at what members have; the others compute from names and numbers alone.
//
// Invariants, of all of them:
//
//  1. Each partition of a topic that somebody subscribes to is given to exactly one member, which
//     subscribes to it; nothing else is given.
//  2. Where all members subscribe to the same topics, the loads of two members differ by one
//     partition at most; under consistent hash no load is above a quarter more than the mean,
//     rounded up.
//  3. Sticky balances any mixture of subscriptions as far as it can be: no chain of hand-overs
//     could bring two members closer together. And it moves no partition between two members
//     that stay unless the balance demands it: to undo any of its moves, or any chain of them,
//     would make the balance worse. Where all subscribe to the same topics, no solution that is
//     as well balanced moves less.
//  4. What is given is listed in order of the index.
//
// Goroutines: none. If the process dies here, nothing is lost: there is no state.
package assign
