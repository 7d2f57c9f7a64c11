// Command logicsrv is the only sequencer of a broker: it reads requests from ring 12345,
// decides them, puts what must be kept into ring 65432 and what must be told into ring 54321.
//
// It is started by the supervisor (scripts/mq_server.start.sh). All of its work happens in
// shell.Run in one goroutine; another one listens to signals: 15 and 2 drain, write a
// checkpoint and exit, 1 reloads, 3 logs the state, 10 reopens the log; a third waits for
// children that make checkpoints.
//
// With the argument replay it is such a child: it takes no lock, attaches nothing, writes the
// checkpoint to its standard output and ends (package replay).
//
// If it dies, its successor recovers from the rings and the log; see docs/recovery.md.
package main
