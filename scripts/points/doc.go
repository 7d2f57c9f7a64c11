// Command points lets each daemon die at each of its failpoints, in a broker that works, and checks
// that nobody who was promised anything lacks it.
//
//	make drill-points                          all points of all daemons
//	go run ./scripts/points -time 20s          as many as fit, other ones every day
//	go run ./scripts/points -only 'logic\.' -later 3
//	go run ./scripts/points -break early-release-requests   the control: it has to fail
//
// Which points there are is read from the source; where they are crossed is found out by counting, so
// a new failpoint is walked without being entered anywhere. A step of the walk:
//
//  1. say in the daemon's table (protocol/failpoint) at which crossing to die: the next one, and in
//     another step one that comes later in the same tour;
//  2. take a tour of the broker (scripts/tour), and do to it what leads to the point, if a tour alone
//     does not: kill a daemon, stop all in an orderly way, restart as after a boot, tear the log's end,
//     or let the daemon die at another point first, so that it dies while it recovers;
//  3. the tour has to end well, all daemons have to serve again, and what earlier steps have stored has
//     to be there.
//
// The programs are built with -tags failpoints into a scratch directory. The exit code is 1 if anything
// was not as promised; a table says what was walked, and which points nothing has crossed.
package main
