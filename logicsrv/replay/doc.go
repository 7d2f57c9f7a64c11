// Package replay makes logicsrv's checkpoints without its core: it does what a recovery does,
// loads the newest checkpoint, applies the log's entries behind it up to an LSN that persistsrv has
// written, and encodes the state that comes of it. The live core is neither looked at nor stopped,
// and each checkpoint is a proof that the one before can be started from.
//
//	Maker    the work itself, a step at a time
//	Process  the same in a process of its own, for as long as one checkpoint takes
//
// The daemon uses a process: beside the loop, in one process, a state of 100 MB that is built and
// thrown away costs the loop pauses of ten milliseconds, whenever the garbage collector wants both
// processors or one thread to stand still (docs/decisions/005-checkpoints.md).
//
// Callers: logicsrv/shell (recovery, checkpoints), logicsrv's main, and the simulator, which takes
// the steps itself.
//
// Invariants:
//
//  1. The state at an LSN is a function of the log, so its encoding is byte by byte that of the
//     live core when it was there.
//  2. Nothing behind the LSN that was asked for is read: it may be half written.
//  3. Nothing is written here. persistsrv keeps the log behind its checkpoints (seglog, needed); if
//     it should be in the way all the same, the result is an error, and the next attempt another one.
//
// Goroutines: Process.Make has one of os/exec's, which ends with it. If the process dies here,
// nothing was promised: the checkpoint before stays the newest. A child dies with its parent.
package replay
