// Package broker runs a whole broker in a scratch directory, with keys and ports of its
// own, for the demo, the end-to-end tests and the benchmarks. It drives the programs in
// bin/ by the commands that an operator uses.
//
// Called by: scripts/demo, scripts/e2e, scripts/drill, scripts/bench, scripts/scenarios, scripts/points, scripts/power. It starts no goroutine. If the calling process
// dies, the broker goes on: Cleanup is for its end, and `mq_server stop` with the printed
// configuration file ends one that was left.
package broker
