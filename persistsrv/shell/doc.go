// Package shell is persistsrv's loop: it drains ring 65432 into the commit log and moves the
// cursors that say how far it is.
//
// Called by persistsrv's main (Step and SyncAtOnce in one goroutine, SyncLog and Maintain in one
// each) and by logicsrv/sim (Step and SyncStep in one).
//
// Invariants:
//  1. A record of ring 65432 is released only when all that it asks for has happened: an
//     entry up to level page when written has passed it, one of level disk when synced has;
//     settings and parts of checkpoints when the entries before them are written.
//  2. WordWritten, WordSynced and WordRead only grow.
//  3. WordSynced moves only after a sync that succeeded. StatusSyncing is set before a sync
//     begins and cleared when it has succeeded: whoever finds it set at his start does not
//     know how the sync ended, and writes again what it was to cover.
//  4. There is no timer in group commit: while one sync runs, Step gathers what the next one
//     will cover. A sync begins when an entry of level disk waits for it; otherwise, in the
//     background, some time after the bytes were written.
//  5. A full disk is waited out. Every other error of the file system ends the process, and
//     its successor begins at the ring's head.
//
// No goroutines of its own.
//
// If the process dies here, nothing is lost that a cursor has told: ring 65432's head is
// behind it, and New begins there, answering by the cursors what stands in the log already.
package shell
