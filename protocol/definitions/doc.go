// Package definitions speaks RabbitMQ's JSON of what a broker holds: users, vhosts, permissions,
// policies, queues, exchanges, bindings, and turns it into the broker's administrative commands, and
// descriptions of the broker into it.
//
// Called by connsrv's management API and by trimq import, which so understand the same things; by
// connsrv/access, which checks passwords.
//
// Invariants:
//  1. What is not understood is an error that names the thing; nothing is left out silently.
//  2. A thing that was exported makes an equal one when it is read again.
//  3. Passwords are kept as salted hashes alone: that of RabbitMQ, and SCRAM's for Kafka's clients.
//
// No goroutines, no state.
package definitions
