// Package access knows who may come in and what they may do: users, vhosts and permissions, as a
// copy of the definitions that logicsrv has; and who is in, where that is limited.
//
// Called by connsrv's rooms and its management API, which look things up in a Table; by connsrv/server,
// which makes a new Table whenever logicsrv tells that something was defined.
//
// Invariants:
//  1. A Table never changes: who holds one sees one moment. A change is in the next one.
//  2. Where there is no Table yet nobody is let in; who asks waits.
//  3. The user guest comes in from the same machine alone, as RabbitMQ has it.
//  4. Who is counted in an Attendance leaves it once.
//
// No goroutines; an Attendance has a mutex, for all event loops ask it. If the process dies the copy is
// read anew, and nobody is in.
package access
