// Package tier holds what the three daemons' mains share: configuration, the lock that
// proves a predecessor dead, pid and ready files, logging, signals, and attaching to the
// broker's shared memory.
//
// connsrv, logicsrv and persistsrv call [Main]; the supervisor and the command line tools
// use [Load] and the file names of [Paths].
//
// Invariants:
//
//  1. A daemon holds an exclusive flock on run_dir/<name>.lock for as long as it lives; the
//     kernel frees it at any death. Only its holder takes over ring ends.
//  2. A segment belongs to one broker: the identity word in each ring is derived from the
//     broker id in data_dir and from run_dir, and a daemon refuses another broker's.
//  3. run_dir/<name>.ready exists only while the daemon of that name, whose pid it holds,
//     serves. A leftover of a dead one is recognised by the free lock.
//  4. A hand-over (signal 12) gives nothing up before the new program has shown that it starts.
//  5. Every setting has a default, a unit and a limit; they are checked at start, and an
//     unknown key stops the start with the nearest known one.
//
// Goroutines: Main starts one that turns signals into calls; it ends with the process.
// If the process dies here: the lock is free, the pid and ready files are stale and are
// replaced by the successor.
package tier
