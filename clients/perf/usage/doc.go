// Package usage measures what the processes of a broker, and the one that asks, use: processor time
// and memory, from /proc. The daemons are found by the pid files in the broker's run_dir.
//
// Callers: clients/perf, scripts/scenarios. Watch runs one goroutine until it is told to stop.
package usage
