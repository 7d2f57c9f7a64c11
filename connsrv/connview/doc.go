// Package connview says how a connection shows itself to those who look after a broker.
//
// Called by connsrv's rooms, which fill it in on their event loops, and by the management API, which
// tells it on.
//
// Invariants:
//  1. A Conn is a copy: who holds one disturbs nobody.
//
// No goroutines, no state.
package connview
