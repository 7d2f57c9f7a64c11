// Package errcode numbers the errors that TriMQ reports to its clients. The same numbers
// stand in native error frames, in ipc.Error records and in journal.Rejected events.
//
// Called by every tier and by the clients.
//
// Invariants:
//  1. A number, once released, keeps its meaning for ever (a golden file lists them).
//  2. Retriable says only that the same request may be sent again as it is; what is
//     retriable had no effect, or an effect that sending again does not double.
//
// No goroutines, no state.
package errcode
