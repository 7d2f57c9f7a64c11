// Package adminhttp serves metrics, health and profiles of the broker over HTTP.
//
// Callers: connsrv's main.
//
// Invariants:
//
//  1. It reads shared counters and asks a few questions; it changes nothing, and no message
//     passes through it.
//  2. Profiles are served to the machine itself only.
//
// Goroutines: the HTTP server's, from Listen to Close. If the process dies here nothing is
// left behind; the counters lie in shared memory.
package adminhttp
