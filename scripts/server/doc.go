// Command mq_server starts, supervises, stops and shows the three daemons of a broker. The
// scripts mq_server.start.sh, mq_server.stop.sh and mq_server.status.sh call it, and the
// systemd unit runs it in the foreground.
//
// Invariants:
//
//  1. A process is signalled only while it holds its daemon's lock: a pid that was reused
//     is never hit, and nothing is matched by name.
//  2. The supervisor may die at any moment and the daemons go on; its successor finds them
//     by their locks and adopts them.
//  3. A daemon that dies is started again at once; one that dies again and again without
//     having served is given up after maxFailures, and the state says so and why.
//  4. After an orderly stop no process, segment or pid file of the broker is left.
//
// Goroutines: one watcher for each daemon waits for its end; the supervisor's loop owns
// everything else.
package main
