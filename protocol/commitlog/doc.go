// Package commitlog holds the formats of the commit log, its indexes and its checkpoints on
// disk, and their readers.
//
// Written by persistsrv/seglog. Read by persistsrv in recovery, by logicsrv at its start
// (Reader, LatestCheckpoint), by connsrv for every fetch (View), and by the inspection tool
// (Dump, Verify). docs/formats/segment.md and index.md draw the bytes.
//
// In a data directory:
//
//	TRIMQ                                     marker: this directory is ours, format version
//	LOCK                                      flock of the one persistsrv
//	commitlog/<position %020d>.log            segments of the commit log
//	index/<index id %016x>/<offset %020d>.idx segments of an index
//	index.ckpt                                index checkpoint: where recovery begins
//	checkpoint/checkpoint-<lsn %020d>.ckpt    logicsrv's checkpoints, the last two
//
// A log position counts the bytes of entries since the log began; segment headers do not
// count. The segment named P begins with the byte at position P, at file offset 64, and ends
// where the next one begins, even if its file is longer.
//
// Invariants:
//  1. Entries in the log have consecutive LSNs, but where a whole dead segment was removed
//     or damage is reported.
//  2. An index's entries are sorted by offset, and by where the log entries lie that they came
//     from, but not by where their batches lie. They are a prefix of its slots: the first slot
//     whose CRC does not fit ends them.
//  3. Files of an index never shrink and are never written below what a reader may use, so
//     that a reader in another process needs no lock: it must only stay below what logicsrv
//     has told it is visible.
//  4. Nothing that a client has sent is taken for an entry: the checks of entries are salted by
//     segment and place.
//  5. Who reads an index is never shown records of a batch that are not in it: a partial span
//     says which are.
//  6. Damage is an error of its own kind with segment and position; a reader can go on behind it.
//
// View is safe for many goroutines; the other readers belong to one. No goroutines of its own.
// Readers have no state outside their process; if it dies nothing is left to repair.
package commitlog
